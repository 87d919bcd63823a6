//! Snapshots: the replicated state at a stable slot, as a manifest and chunks.
//!
//! A snapshot is one file `snapshot-NNNNNNNNNNNNNNNN` (the slot, in hex): a file header, frames for
//! the manifest and each chunk, and an end frame with their number, so that a file that lacks
//! anything is known as damaged. It is written under another name, synced, and renamed; a save
//! that a crash interrupts leaves nothing to be mistaken for a snapshot. The two newest are kept:
//! rot in one leaves the other.

use crate::{
    disk::{Disk, DiskError, cut, read_exactly},
    format::{
        FRAME_BYTES, HEADER_BYTES, Header, HeaderFault, Kind, Owner, push_frame, u32_at, u64_at,
        unframed,
    },
    source::Source,
};
use quorate_types::Slot;
use std::collections::BTreeSet;

/// The longest manifest or chunk, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1 << 30;
/// The most chunks of one snapshot.
pub const CHUNKS_MAX: usize = 65_536;

const NAME: &str = "snapshot-";
/// Where a snapshot is written before it takes its name.
const NEXT: &str = "snapshot.new";
const KEPT: usize = 2;

/// From how many bytes on frames are written.
const WRITE_BYTES: usize = 1 << 16;

/// From how many bytes on they are synced. What is synced in one piece keeps the disk from the
/// write-ahead log meanwhile, and a request waits for that.
const SYNC_BYTES: usize = 1 << 20;

/// What tells an end frame from a chunk: its checksum's context.
const CHUNK: &[u8] = b"chunk";
const END: &[u8] = b"end";

/// Why a snapshot was not saved or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused. A full or read-only disk leaves older snapshots as they were.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An fsync failed: end the process.
    #[error("the snapshot could not be made durable ({reason})")]
    FsyncFailed {
        /// What the disk said.
        reason: String,
    },
    /// The folder belongs to another chain or another replica.
    #[error("{file} belongs to {found}, not to {expected}")]
    Foreign {
        /// The file.
        file: String,
        /// Whose it is.
        found: Owner,
        /// Whose it should be.
        expected: Owner,
    },
    /// Written by another version of Quorate.
    #[error("{file} has format version {version}, which this version of Quorate does not know")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// A chunk is not what was saved; read again after [`Snapshots::newest`] found it sound.
    #[error("{file} is damaged: {reason}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// More than [`CHUNKS_MAX`] chunks, or one above [`CHUNK_BYTES_MAX`].
    #[error("a snapshot of more or larger chunks than allowed")]
    TooLarge,
}

impl SnapshotError {
    /// The stable word for this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disk(error) => error.code(),
            Self::FsyncFailed { .. } => "fsync-failed",
            Self::Foreign { .. } => "foreign-data",
            Self::Version { .. } => "unknown-format",
            Self::Corrupt { .. } => "corrupt-snapshot",
            Self::TooLarge => "snapshot-too-large",
        }
    }

    /// Whether the process has to end. A save refused by a full or read-only disk is tried again
    /// at a later slot, and a damaged chunk is not served.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::FsyncFailed { .. } | Self::Foreign { .. } | Self::Version { .. } => true,
            Self::Disk(error) => matches!(error, DiskError::Io { .. }),
            Self::Corrupt { .. } | Self::TooLarge => false,
        }
    }
}

/// A file that was passed over because it is damaged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SnapshotWarning {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The snapshots of one replica.
#[derive(Clone, Debug)]
pub struct Snapshots<D> {
    disk: D,
    owner: Owner,
    /// Found damaged; the next save removes them.
    damaged: BTreeSet<u64>,
}

/// The newest sound snapshot, with what was passed over to find it.
#[derive(Debug)]
pub struct LoadedSnapshot<D> {
    /// The snapshot; `None` where there is no sound one.
    pub snapshot: Option<Snapshot<D>>,
    /// Newer ones that are damaged.
    pub warnings: Vec<SnapshotWarning>,
}

/// The end of a snapshot that is being saved.
struct Open {
    /// Not written yet.
    frames: Vec<u8>,
    /// How many bytes were written since the last sync.
    unsynced: usize,
}

impl<D: Disk> Snapshots<D> {
    /// The snapshots in a folder; nothing is read yet.
    #[must_use]
    pub fn new(disk: D, owner: Owner) -> Self {
        Self { disk, owner, damaged: BTreeSet::new() }
    }

    /// Saves a snapshot, durably and all or nothing, and drops those older than the two newest.
    ///
    /// [`crate::Log::sync`] comes first, so that the log is not behind its own snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`]; older snapshots stay.
    pub fn save(
        &mut self,
        slot: Slot,
        manifest: &[u8],
        chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), SnapshotError> {
        let saved = self.write(slot, manifest, chunks);
        if let Err(SnapshotError::Disk(DiskError::Full { .. })) = saved {
            // The write-ahead log needs the room more than half a snapshot does.
            let _ = self.disk.truncate(NEXT, 0);
        }
        saved
    }

    fn write(
        &mut self,
        slot: Slot,
        manifest: &[u8],
        chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), SnapshotError> {
        cut(&self.disk, NEXT, 0)?;
        let header = Header { number: slot.0, ..Header::new(Kind::Snapshot, self.owner) };
        // Small frames are written together.
        let mut open = Open { frames: Vec::with_capacity(WRITE_BYTES / 4), unsynced: 0 };
        open.frames.extend_from_slice(&header.to_bytes());
        self.append(&mut open, 0, CHUNK, manifest)?;
        let mut frames = 1_u64;
        for chunk in chunks {
            if frames > CHUNKS_MAX as u64 {
                return Err(SnapshotError::TooLarge);
            }
            self.append(&mut open, frames, CHUNK, chunk.as_ref())?;
            frames += 1;
        }
        self.append(&mut open, frames, END, &frames.to_le_bytes())?;
        self.disk.append(NEXT, &open.frames)?;
        self.sync(NEXT)?;
        let file = name(slot.0);
        self.disk.rename(NEXT, &file)?;
        self.sync(&file)?;
        self.damaged.remove(&slot.0);
        self.drop_old()
    }

    fn sync(&self, file: &str) -> Result<(), SnapshotError> {
        let failed = |error: DiskError| SnapshotError::FsyncFailed { reason: error.to_string() };
        self.disk.sync(file).map_err(failed)
    }

    /// Adds a frame to those that are open, writes them if they are many, and syncs what was
    /// written if it is much.
    fn append(
        &self,
        open: &mut Open,
        place: u64,
        context: &[u8],
        payload: &[u8],
    ) -> Result<(), SnapshotError> {
        if payload.len() > CHUNK_BYTES_MAX {
            return Err(SnapshotError::TooLarge);
        }
        push_frame(&mut open.frames, place, context, payload);
        if open.frames.len() >= WRITE_BYTES {
            self.disk.append(NEXT, &open.frames)?;
            open.unsynced += open.frames.len();
            open.frames.clear();
        }
        if open.unsynced >= SYNC_BYTES {
            self.sync(NEXT)?;
            open.unsynced = 0;
        }
        Ok(())
    }

    fn drop_old(&self) -> Result<(), SnapshotError> {
        let mut kept = 0;
        for slot in self.slots()? {
            if kept < KEPT && !self.damaged.contains(&slot) {
                kept += 1;
            } else {
                self.disk.remove(&name(slot))?;
            }
        }
        Ok(())
    }

    /// Slots of all files, newest first.
    fn slots(&self) -> Result<Vec<u64>, DiskError> {
        let slot = |file: &str| {
            let digits = file.strip_prefix(NAME).filter(|digits| digits.len() == 16)?;
            u64::from_str_radix(digits, 16).ok()
        };
        let mut slots: Vec<_> =
            self.disk.list()?.iter().filter_map(|(file, _)| slot(file)).collect();
        slots.sort_unstable();
        slots.reverse();
        Ok(slots)
    }

    /// The newest snapshot all of whose bytes are as they were saved.
    ///
    /// # Errors
    /// [`SnapshotError::Foreign`], [`SnapshotError::Version`], [`SnapshotError::Disk`]. Damage is
    /// no error: the next older one is taken, with a warning.
    pub fn newest(&mut self) -> Result<LoadedSnapshot<D>, SnapshotError> {
        let mut warnings = Vec::new();
        for slot in self.slots()? {
            match Snapshot::open(&self.disk, self.owner, slot) {
                Ok(snapshot) => return Ok(LoadedSnapshot { snapshot: Some(snapshot), warnings }),
                Err(SnapshotError::Corrupt { file, reason }) => {
                    self.damaged.insert(slot);
                    warnings.push(SnapshotWarning { file, reason });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(LoadedSnapshot { snapshot: None, warnings })
    }
}

/// A sound snapshot. Its chunks are read one at a time, when asked for.
#[derive(Clone, Debug)]
pub struct Snapshot<D> {
    disk: D,
    slot: Slot,
    file: String,
    manifest: Vec<u8>,
    /// Where each chunk's frame starts, and where the end frame does.
    starts: Vec<u64>,
}

impl<D: Disk> Snapshot<D> {
    /// The slot after which it is the state.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The manifest, as it was saved.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.starts.len() - 1
    }

    /// A chunk, by its place; `None` beyond the last.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`] if it is damaged, [`SnapshotError::Disk`], also when a newer
    /// snapshot has displaced this one.
    pub fn chunk(&self, n: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
        if n >= self.chunks() {
            return Ok(None);
        }
        let length = usize::try_from(self.starts[n + 1] - self.starts[n]).unwrap_or(usize::MAX);
        let frame = read_exactly(&self.disk, &self.file, self.starts[n], length)?;
        let chunk = frame.as_deref().and_then(|frame| unframed(frame, n as u64 + 1, CHUNK));
        chunk.map(|chunk| Some(chunk.to_vec())).ok_or_else(|| self.damaged())
    }

    /// All chunks, in order: in fewer reads than one by one.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn all_chunks(&self) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let first = self.starts.first().copied().unwrap_or(0);
        let mut source = Source::new(&self.disk, &self.file, first);
        let mut chunks = Vec::with_capacity(self.chunks());
        for place in 1..=self.chunks() as u64 {
            let chunk = next_frame(&mut source, place, CHUNK)?;
            chunks.push(chunk.ok_or_else(|| self.damaged())?.to_vec());
        }
        Ok(chunks)
    }

    fn damaged(&self) -> SnapshotError {
        SnapshotError::Corrupt { file: self.file.clone(), reason: "a chunk is damaged" }
    }

    /// Reads the whole file once, keeping a piece at a time.
    fn open(disk: &D, owner: Owner, slot: u64) -> Result<Self, SnapshotError> {
        let file = name(slot);
        let corrupt = |reason| SnapshotError::Corrupt { file: file.clone(), reason };
        match Header::read(disk, &file, Kind::Snapshot, owner)? {
            Ok(header) if header.number == slot => {}
            Ok(_) => return Err(corrupt("it is another slot's")),
            Err(HeaderFault::Damaged) => return Err(corrupt("the header is damaged")),
            Err(HeaderFault::Version(version)) => {
                return Err(SnapshotError::Version { file, version });
            }
            Err(HeaderFault::Foreign(found)) => {
                return Err(SnapshotError::Foreign { file, found, expected: owner });
            }
        }
        let mut start = HEADER_BYTES as u64;
        let mut source = Source::new(disk, &file, start);
        let manifest = next_frame(&mut source, 0, CHUNK)?
            .ok_or_else(|| corrupt("the manifest is damaged"))?
            .to_vec();
        start += (FRAME_BYTES + manifest.len()) as u64;
        let mut starts = vec![start];
        while let Some(chunk) = next_frame(&mut source, starts.len() as u64, CHUNK)? {
            start += (FRAME_BYTES + chunk.len()) as u64;
            starts.push(start);
        }
        let frames = starts.len() as u64;
        let end = next_frame(&mut source, frames, END)?;
        if end.is_none_or(|end| end.len() != 8 || u64_at(end, 0) != frames) {
            return Err(corrupt("a chunk is damaged or missing"));
        }
        Ok(Self { disk: disk.clone(), slot: Slot(slot), file, manifest, starts })
    }
}

/// The payload of the next frame, and past it, if it is sound at that place.
fn next_frame<'s, D: Disk>(
    source: &'s mut Source<'_, D>,
    place: u64,
    context: &[u8],
) -> Result<Option<&'s [u8]>, DiskError> {
    let Some(header) = source.peek(FRAME_BYTES)? else { return Ok(None) };
    let length = FRAME_BYTES + u32_at(header, 0) as usize;
    if length > FRAME_BYTES + CHUNK_BYTES_MAX {
        return Ok(None);
    }
    let sound = source.peek(length)?.is_some_and(|frame| unframed(frame, place, context).is_some());
    let frame = if sound { source.take(length)? } else { None };
    Ok(frame.map(|frame| &frame[FRAME_BYTES..]))
}

fn name(slot: u64) -> String {
    format!("{NAME}{slot:016x}")
}
