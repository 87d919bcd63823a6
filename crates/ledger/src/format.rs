//! What all files have in common: a header that names the owner, and framed bytes with a checksum.
//!
//! Header, 56 bytes, little-endian: magic `QRTE`, kind (1 byte), flags (1), format version (2),
//! chain (16), replica (2), two zero bytes, number (8), number of the oldest file still needed (8),
//! length of the file before this one (8), CRC-32 of the 52 bytes before. What a kind of file does
//! not need is zero.
//!
//! Frame: payload length (4), CRC-32 (4) of the frame's place, a context and the payload; so a
//! frame that was copied or moved to another place does not count there.

use crate::disk::{Disk, DiskError, read_array};
use quorate_types::{Chain, ReplicaId};

/// Bytes of a file header.
pub(crate) const HEADER_BYTES: usize = 56;
/// Bytes before a frame's payload.
pub(crate) const FRAME_BYTES: usize = 8;

const MAGIC: &[u8; 4] = b"QRTE";
const VERSION: u16 = 2;

/// Whose data it is: a folder of another chain or replica is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The chain.
    pub chain: Chain,
    /// The replica.
    pub replica: ReplicaId,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "replica {} of chain {}", self.replica, self.chain)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    Votes = 1,
    Entries = 2,
    Exchanges = 3,
    Certificates = 4,
    Mark = 5,
    Snapshot = 6,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) owner: Owner,
    /// Of a segment or a snapshot: which one it is.
    pub(crate) number: u64,
    /// Of a segment: the oldest one still needed when this one was begun.
    pub(crate) oldest: u64,
    /// Of a segment: how long the one before it is, all of it durable.
    pub(crate) before: u64,
}

/// Why a header is not the expected one.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum HeaderFault {
    /// Too short, or its checksum is wrong.
    Damaged,
    /// Written by a version of Quorate that this one does not know.
    Version(u16),
    /// Sound, and somebody else's.
    Foreign(Owner),
}

impl Header {
    pub(crate) fn new(kind: Kind, owner: Owner) -> Self {
        Self { kind, flags: 0, owner, number: 0, oldest: 0, before: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..24].copy_from_slice(self.owner.chain.as_bytes());
        bytes[24..26].copy_from_slice(&self.owner.replica.0.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.number.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[44..52].copy_from_slice(&self.before.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of this kind that should be `owner`'s.
    pub(crate) fn parse(bytes: &[u8], kind: Kind, owner: Owner) -> Result<Self, HeaderFault> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(HeaderFault::Damaged)?;
        if &bytes[..4] != MAGIC || u32_at(bytes, 52) != crc32fast::hash(&bytes[..52]) {
            return Err(HeaderFault::Damaged);
        }
        match u16::from_le_bytes([bytes[6], bytes[7]]) {
            VERSION => {}
            version => return Err(HeaderFault::Version(version)),
        }
        let chain = std::str::from_utf8(&bytes[8..24])
            .ok()
            .and_then(|chain| Chain::parse(chain).ok())
            .ok_or(HeaderFault::Damaged)?;
        let replica = ReplicaId(u16::from_le_bytes([bytes[24], bytes[25]]));
        let found = Owner { chain, replica };
        if found != owner {
            return Err(HeaderFault::Foreign(found));
        }
        if bytes[4] != kind as u8 {
            return Err(HeaderFault::Damaged);
        }
        Ok(Self {
            kind,
            flags: bytes[5],
            owner,
            number: u64_at(bytes, 28),
            oldest: u64_at(bytes, 36),
            before: u64_at(bytes, 44),
        })
    }

    /// Reads and checks a file's header.
    pub(crate) fn read<D: Disk>(
        disk: &D,
        file: &str,
        kind: Kind,
        owner: Owner,
    ) -> Result<Result<Self, HeaderFault>, DiskError> {
        let bytes = read_array::<HEADER_BYTES>(disk, file, 0)?;
        Ok(bytes.map_or(Err(HeaderFault::Damaged), |bytes| Self::parse(&bytes, kind, owner)))
    }
}

/// The checksum of a payload at a place: `context` tells apart what else must not be exchanged.
pub(crate) fn frame_crc(place: u64, context: &[u8], payload: &[u8]) -> u32 {
    let length = 8 + context.len() + payload.len();
    let mut short = [0; 64];
    if let Some(bytes) = short.get_mut(..length) {
        // Most chunks of a small state are empty: one step instead of three.
        let (start, rest) = bytes.split_at_mut(8);
        start.copy_from_slice(&place.to_le_bytes());
        rest[..context.len()].copy_from_slice(context);
        rest[context.len()..].copy_from_slice(payload);
        return crc32fast::hash(bytes);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&place.to_le_bytes());
    crc.update(context);
    crc.update(payload);
    crc.finalize()
}

/// Appends a frame to a buffer.
pub(crate) fn push_frame(out: &mut Vec<u8>, place: u64, context: &[u8], payload: &[u8]) {
    out.reserve(FRAME_BYTES + payload.len());
    // Callers bound payloads far below 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&frame_crc(place, context, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of a frame that fills `frame`, if its length and checksum are right.
pub(crate) fn unframed<'a>(frame: &'a [u8], place: u64, context: &[u8]) -> Option<&'a [u8]> {
    let payload = frame.get(FRAME_BYTES..)?;
    let sound = u32_at(frame, 0) as usize == payload.len()
        && u32_at(frame, 4) == frame_crc(place, context, payload);
    sound.then_some(payload)
}

/// The four bytes at an offset as a number; 0 beyond the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

/// The eight bytes at an offset as a number; 0 beyond the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
    eight.map_or(0, u64::from_le_bytes)
}
