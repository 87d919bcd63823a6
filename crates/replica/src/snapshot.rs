//! The replicated state at a stable head, as it is saved and transferred.

use crate::{message::StateMap, signatures::Signatures};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_proof::Frontier;
use quorate_service::{CHUNKS, Cursor, Next, Page, State};
use quorate_types::{Digest, Slot, StableCertificate, Wire};
use std::{fmt, sync::Arc};

/// A state that a quorum certified, with the log's frontier at it.
#[derive(Clone)]
pub struct Snapshot {
    /// Proves everything below.
    pub certificate: Arc<StableCertificate>,
    /// The log's right edge, from which it grows on.
    pub frontier: Frontier,
    /// The service's keys and values.
    pub service: State,
    /// The replay table.
    pub replay: State,
    /// The running hash over the clients' signatures.
    pub signatures: Signatures,
}

#[derive(BorshDeserialize, BorshSerialize)]
struct Description {
    certificate: StableCertificate,
    frontier: Frontier,
    signatures: Signatures,
}

/// Bytes that are no snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SnapshotError(&'static str);

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a snapshot: {}", self.0)
    }
}

impl std::error::Error for SnapshotError {}

impl Snapshot {
    /// The slot at whose end this is the state.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.certificate.slot()
    }

    /// The bytes of the description, for the disk.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let certificate = StableCertificate::clone(&self.certificate);
        let (frontier, signatures) = (self.frontier.clone(), self.signatures);
        Description { certificate, frontier, signatures }.to_wire()
    }

    /// The bytes of all chunks in order, the service's first, for the disk.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        [&self.service, &self.replay]
            .into_iter()
            .flat_map(|map| map.chunks().map(|items| chunk(&items)))
    }

    /// Reads what [`Self::manifest`] and [`Self::chunks`] wrote.
    ///
    /// # Errors
    /// [`SnapshotError`] when the bytes are no snapshot. Whether the roots are those of the
    /// certificate is checked when the snapshot is installed.
    pub fn read(manifest: &[u8], chunks: &[impl AsRef<[u8]>]) -> Result<Self, SnapshotError> {
        let description = Description::from_wire(manifest, 1 << 20)
            .map_err(|_| SnapshotError("its manifest is malformed"))?;
        let half = usize::from(CHUNKS);
        if chunks.len() != 2 * half {
            return Err(SnapshotError("it has another number of chunks"));
        }
        let (service, replay) = chunks.split_at(half);
        Ok(Self {
            certificate: Arc::new(description.certificate),
            frontier: description.frontier,
            service: read_map(service)?,
            replay: read_map(replay)?,
            signatures: description.signatures,
        })
    }

    /// One of the two maps.
    #[must_use]
    pub fn map(&self, map: StateMap) -> &State {
        match map {
            StateMap::Service => &self.service,
            StateMap::Replay => &self.replay,
        }
    }
}

/// The wire form of some items, which [`read_map`] reads.
fn chunk(items: &[(&[u8], &Bytes)]) -> Bytes {
    if items.is_empty() {
        return Bytes::from_static(&[0; 4]);
    }
    let length: usize = items.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
    let mut bytes = Vec::with_capacity(4 + length);
    // Appending to a Vec cannot fail; see `Wire::to_wire`.
    let _ = items.serialize(&mut bytes);
    Bytes::from(bytes)
}

fn read_map(chunks: &[impl AsRef<[u8]>]) -> Result<State, SnapshotError> {
    let mut map = State::new();
    for chunk in chunks {
        let items = Vec::<(Bytes, Bytes)>::from_wire(chunk.as_ref(), usize::MAX)
            .map_err(|_| SnapshotError("a chunk is malformed"))?;
        for (key, value) in items {
            map.put(key, value);
        }
    }
    Ok(map)
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.slot())
    }
}

/// Puts a map together from pieces, each verified on arrival.
#[derive(Debug)]
pub(crate) struct Assembly {
    map: State,
    /// Where the next piece begins; `None` when the map is whole.
    next: Option<Cursor>,
}

impl Default for Assembly {
    fn default() -> Self {
        Self { map: State::new(), next: Some(Cursor::START) }
    }
}

impl Assembly {
    /// Where the piece begins that comes next.
    pub(crate) fn next(&self) -> Option<Cursor> {
        self.next
    }

    /// Takes the piece at `from`; `false` if it is not one of the map with that root.
    pub(crate) fn push(&mut self, from: Cursor, page: Page, root: &Digest) -> bool {
        let Some(next) = page.verify(from, root) else { return false };
        self.map.extend(page.items);
        self.next = match next {
            Next::Page(cursor) => Some(cursor),
            Next::End => None,
        };
        true
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.next.is_none()
    }

    pub(crate) fn finish(self) -> State {
        self.map
    }
}
