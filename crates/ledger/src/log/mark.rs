//! The mark: how much of the log is durable.

use super::{LogError, MARK, reader::Shared};
use crate::{
    disk::{Disk, DiskError, read_exactly, replace},
    format::{
        FRAME_BYTES, HEADER_BYTES, Header, HeaderFault, Kind, Owner, frame_crc, push_frame, u32_at,
        u64_at,
    },
};
use quorate_types::Digest;

/// Where the next mark is written before it takes its name.
const NEXT_MARK: &str = "log-mark.new";
const MARK_BYTES: usize = 72;

/// Everything below these ends was durable before the mark was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) entries_end: u64,
    pub(super) exchanges_end: u64,
    pub(super) certificates: u64,
    pub(super) certificates_end: u64,
    pub(super) root: Digest,
}

impl Mark {
    /// The mark of a log of which nothing is known to be durable but the headers.
    pub(super) fn none() -> Self {
        let header = HEADER_BYTES as u64;
        Self {
            size: 0,
            entries_end: header,
            exchanges_end: header,
            certificates: 0,
            certificates_end: header,
            root: quorate_proof::tree::empty_root(),
        }
    }

    fn to_payload(self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(MARK_BYTES);
        for number in [
            self.size,
            self.entries_end,
            self.exchanges_end,
            self.certificates,
            self.certificates_end,
        ] {
            payload.extend_from_slice(&number.to_le_bytes());
        }
        payload.extend_from_slice(&self.root.0);
        payload
    }

    fn parse(frame: &[u8]) -> Option<Self> {
        let payload = frame.get(FRAME_BYTES..).filter(|payload| payload.len() == MARK_BYTES)?;
        let sound = u32_at(frame, 0) as usize == MARK_BYTES
            && u32_at(frame, 4) == frame_crc(0, b"mark", payload);
        let root = Digest(payload.get(40..)?.try_into().ok()?);
        sound.then(|| Self {
            size: u64_at(payload, 0),
            entries_end: u64_at(payload, 8),
            exchanges_end: u64_at(payload, 16),
            certificates: u64_at(payload, 24),
            certificates_end: u64_at(payload, 32),
            root,
        })
    }

    /// Puts this mark in the place of the one before, atomically and durably.
    pub(super) fn write<D: Disk>(self, shared: &Shared<D>) -> Result<(), LogError> {
        let header = Header::new(Kind::Mark, shared.owner);
        let mut bytes = header.to_bytes().to_vec();
        push_frame(&mut bytes, 0, b"mark", &self.to_payload());
        replace(&shared.disk, NEXT_MARK, MARK, &bytes, |error| shared.fail(&error))
    }

    /// The mark. A damaged or missing one counts as none: all is then checked from the start.
    pub(super) fn read<D: Disk>(disk: &D, owner: Owner) -> Result<Self, LogError> {
        let header = match Header::read(disk, MARK, Kind::Mark, owner) {
            Err(DiskError::Missing { .. }) => return Ok(Self::none()),
            header => header?,
        };
        match header {
            Ok(_) => {}
            Err(HeaderFault::Damaged) => return Ok(Self::none()),
            Err(fault) => return Err(LogError::header(fault, MARK, owner)),
        }
        let frame = read_exactly(disk, MARK, HEADER_BYTES as u64, FRAME_BYTES + MARK_BYTES)?;
        Ok(frame.as_deref().and_then(Self::parse).unwrap_or_else(Self::none))
    }
}
