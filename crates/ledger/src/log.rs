//! The log: entries as a Merkle tree in C2SP tiles, their exchanges, and certificates.
//!
//! # Files
//!
//! All only grow at their end, and none is synced on the request path.
//!
//! | file | holds |
//! |---|---|
//! | `log-entries` | header; each entry's length (2 bytes, big-endian) and text: C2SP entry bundles, end to end |
//! | `log-exchanges` | header; for each entry a frame with its exchange, or none, and its slot's opening, or none; the checksum covers the entry too |
//! | `log-certificates` | header; frames with stable certificates, by ascending size |
//! | `log-mark` | header; a frame that says how much of the other files is durable; replaced by renaming |
//! | `log-tiles-L` | 32-byte roots of complete subtrees of 256^L leaves, side by side: tiles, end to end |
//! | `log-entries-ends`, `log-exchanges-ends` | for each entry 8 bytes: where its record ends |
//! | `log-certificates-index` | for each certificate 24 bytes: size, slot, where its frame ends |
//!
//! The last three rows are derived: whatever of them is lost or short is made again from the
//! others when the log is opened.
//!
//! # Opening
//!
//! Up to the mark everything is durable: primary files that are shorter are an error
//! (`corrupt-log`), and the hashes must lead to the root in the mark. Behind it, a power loss may
//! have left anything: entries are read one by one with their exchanges, up to the first whose
//! checksum is wrong, and all files are cut there, so that they agree. They are written once more,
//! since an fsync that failed may have left them in memory alone. What is missing then is
//! executed again from the write-ahead log; so **[`Log::sync`] comes before a snapshot is saved,
//! and the write-ahead log is rotated below that snapshot only**.
//!
//! Rot in the durable part is found when it is read: every entry is checked with its leaf hash,
//! every exchange with its checksum, every full tile with its parent; [`LogReader::verify`] reads
//! everything. Nothing that fails is served.

mod grow;
mod mark;
mod reader;
mod recover;

pub use reader::{Items, LogReader};

use crate::{
    disk::{Disk, DiskError, cut},
    format::{HeaderFault, Owner, push_frame},
    tile::TILE_LEVELS,
};
use borsh::BorshSerialize as _;
use grow::{Growth, Pending};
use mark::Mark;
use quorate_proof::tree::Frontier;
use quorate_types::{
    Digest, LogItem, Slot, StableCertificate, Wire,
    bug::{Bug, seeded},
};
use reader::Shared;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The longest entry, in bytes: its length is written in two (C2SP `tlog-tiles`).
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// The longest exchange or certificate, in bytes of its wire form.
pub const EXCHANGE_BYTES_MAX: usize = 64 << 20;

const ENTRIES: &str = "log-entries";
const ENTRY_ENDS: &str = "log-entries-ends";
const EXCHANGES: &str = "log-exchanges";
const EXCHANGE_ENDS: &str = "log-exchanges-ends";
const CERTIFICATES: &str = "log-certificates";
const CERTIFICATE_INDEX: &str = "log-certificates-index";
const MARK: &str = "log-mark";
const TILES: [&str; TILE_LEVELS as usize] = [
    "log-tiles-0",
    "log-tiles-1",
    "log-tiles-2",
    "log-tiles-3",
    "log-tiles-4",
    "log-tiles-5",
    "log-tiles-6",
    "log-tiles-7",
];
/// Bytes of one end in the files of ends.
const END_BYTES: u64 = 8;
/// Bytes of one line of the certificates' index.
const INDEX_BYTES: u64 = 24;
const HASH_BYTES: u64 = Digest::SIZE as u64;

/// Why the log cannot do as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused. On a full or read-only disk the log stays as it was.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An fsync failed, now or before: end the process, never try again.
    #[error("the log could not be made durable ({reason})")]
    FsyncFailed {
        /// What the disk said.
        reason: String,
    },
    /// The folder belongs to another chain or another replica.
    #[error("{file} belongs to {found}, not to {expected}")]
    Foreign {
        /// The file.
        file: &'static str,
        /// Whose it is.
        found: Owner,
        /// Whose it should be.
        expected: Owner,
    },
    /// Written by another version of Quorate.
    #[error("{file} has format version {version}, which this version of Quorate does not know")]
    Version {
        /// The file.
        file: &'static str,
        /// Its version.
        version: u16,
    },
    /// What was durable is damaged or missing (P8).
    #[error("{file} is damaged at record {record}: {reason}")]
    Corrupt {
        /// The file.
        file: &'static str,
        /// The entry's index, the certificate's number, or the tile's first hash.
        record: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// An item that cannot be stored: an empty entry, or one above [`ENTRY_BYTES_MAX`], or an
    /// exchange above [`EXCHANGE_BYTES_MAX`].
    #[error("an item of {bytes} bytes cannot be stored in the log")]
    Item {
        /// The length of the part that is too long, or 0.
        bytes: usize,
    },
}

impl LogError {
    /// The stable word for this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disk(error) => error.code(),
            Self::FsyncFailed { .. } => "fsync-failed",
            Self::Foreign { .. } => "foreign-data",
            Self::Version { .. } => "unknown-format",
            Self::Corrupt { .. } => "corrupt-log",
            Self::Item { .. } => "item-too-large",
        }
    }

    /// Whether the process has to end. Only a full or read-only disk and a refused item leave the
    /// log as it was.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::Disk(DiskError::Full { .. } | DiskError::ReadOnly { .. }) | Self::Item { .. }
        )
    }

    fn header(fault: HeaderFault, file: &'static str, expected: Owner) -> Self {
        match fault {
            HeaderFault::Damaged => {
                Self::Corrupt { file, record: 0, reason: "the header is damaged" }
            }
            HeaderFault::Version(version) => Self::Version { file, version },
            HeaderFault::Foreign(found) => Self::Foreign { file, found, expected },
        }
    }
}

/// The log of one replica: the side that appends. [`LogReader`] is the other.
#[derive(Debug)]
pub struct Log<D> {
    shared: Arc<Shared<D>>,
    growth: Growth,
    certificates: Certificates,
    /// The newest durable mark's size.
    marked: Arc<AtomicU64>,
    /// Whether a failed write may have left bytes behind the ends.
    untidy: bool,
}

/// Where the certificates end.
#[derive(Clone, Copy, Debug)]
struct Certificates {
    count: u64,
    end: u64,
    size: u64,
    slot: Slot,
}

/// A log with what opening found.
#[derive(Debug)]
pub struct Opened<D> {
    /// The log, ready for more.
    pub log: Log<D>,
    /// Bytes of torn tails that were cut off; 0 after an orderly end.
    pub cut: u64,
    /// Whether derived files were made again from the first entry on.
    pub rebuilt: bool,
}

impl<D: Disk> Log<D> {
    /// Opens the log, or starts an empty one; repairs what the module says can be repaired.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(disk: D, owner: Owner) -> Result<Opened<D>, LogError> {
        recover::open(disk, owner)
    }

    /// How many entries there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.growth.frontier.size()
    }

    /// The frontier at [`Self::size`].
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.growth.frontier
    }

    /// A handle for reading, for any number of threads.
    #[must_use]
    pub fn reader(&self) -> LogReader<D> {
        LogReader(Arc::clone(&self.shared))
    }

    /// Appends items, all or none, and lets readers see them.
    ///
    /// The bytes are with the operating system when it returns, so they outlive the process, but
    /// not a power loss before the next [`Self::sync`].
    ///
    /// # Errors
    /// [`LogError::Item`], [`LogError::Disk`]; nothing was appended.
    pub fn append(&mut self, items: &[LogItem]) -> Result<(), LogError> {
        self.alive()?;
        self.tidy()?;
        let before = self.growth.before(items.len());
        let grown = self.grow(items);
        match grown {
            Ok(()) => self.publish(),
            Err(_) => self.growth.go_back(before),
        }
        grown
    }

    fn grow(&mut self, items: &[LogItem]) -> Result<(), LogError> {
        let mut pending = Pending::of(items.len());
        let mut exchange = Vec::with_capacity(1024);
        for item in items {
            // The wire form of both, one behind the other, is that of the pair. Appending to a Vec
            // cannot fail; see `Wire::to_wire`.
            exchange.clear();
            let _ = item.exchange.serialize(&mut exchange);
            let _ = item.opening.serialize(&mut exchange);
            let entry = item.entry.as_bytes();
            match (entry.len(), exchange.len()) {
                (1..=ENTRY_BYTES_MAX, 0..=EXCHANGE_BYTES_MAX) => {}
                (0..=ENTRY_BYTES_MAX, bytes) | (bytes, _) => return Err(LogError::Item { bytes }),
            }
            self.growth.push(entry, &exchange, &mut pending);
        }
        self.untidy = true;
        pending.write(&self.shared.disk)?;
        self.untidy = false;
        Ok(())
    }

    /// Stores a certificate that is newer than all stored ones; others are ignored (`false`).
    ///
    /// It may be ahead of the log. The caller has checked it.
    ///
    /// # Errors
    /// [`LogError::Disk`].
    pub fn put_certificate(&mut self, certificate: &StableCertificate) -> Result<bool, LogError> {
        self.alive()?;
        let known = self.certificates;
        let (size, slot) = (certificate.head.size, certificate.slot());
        if known.count > 0 && (size <= known.size || slot <= known.slot) {
            return Ok(false);
        }
        let bytes = certificate.to_wire();
        if bytes.len() > EXCHANGE_BYTES_MAX {
            return Err(LogError::Item { bytes: bytes.len() });
        }
        let mut frame = Vec::new();
        push_frame(&mut frame, known.count, b"", &bytes);
        let end = known.end + frame.len() as u64;
        let mut line = Vec::new();
        for number in [size, slot.0, end] {
            line.extend_from_slice(&number.to_le_bytes());
        }
        self.tidy()?;
        self.untidy = true;
        self.shared.disk.append(CERTIFICATES, &frame)?;
        self.shared.disk.append(CERTIFICATE_INDEX, &line)?;
        self.untidy = false;
        self.certificates = Certificates { count: known.count + 1, end, size, slot };
        self.publish();
        Ok(true)
    }

    /// Makes everything durable, and remembers it with a mark: opening reads from there on.
    ///
    /// A handful of fsyncs: for the time before a snapshot, not for the request path.
    ///
    /// # Errors
    /// [`LogError::FsyncFailed`]: end the process. [`LogError::Disk`] if the mark could not be
    /// written.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.tidy()?;
        self.sync_point().sync()
    }

    /// Whether nothing was appended since it was last synced.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.marked.load(Ordering::Acquire) == self.size()
    }

    /// What [`Self::sync`] would make durable now, to be synced on another thread while this one
    /// goes on appending. There must be one at a time, and no [`Self::truncate_to`] meanwhile.
    #[must_use]
    pub fn sync_point(&self) -> SyncPoint<D> {
        SyncPoint {
            shared: Arc::clone(&self.shared),
            marked: Arc::clone(&self.marked),
            mark: Mark {
                size: self.size(),
                entries_end: self.growth.entries_end,
                exchanges_end: self.growth.exchanges_end,
                certificates: self.certificates.count,
                certificates_end: self.certificates.end,
                root: self.growth.frontier.root(),
            },
        }
    }

    /// Cuts the log to its first `size` entries; a shorter log stays as it is. Certificates stay.
    ///
    /// Readers that are at work on what is cut off may see it as damaged.
    ///
    /// # Errors
    /// [`LogError`]; the log must then be opened anew.
    pub fn truncate_to(&mut self, size: u64) -> Result<(), LogError> {
        self.alive()?;
        if size >= self.size() {
            return Ok(());
        }
        self.tidy()?;
        let reader = self.reader();
        let (entries_end, exchanges_end) = reader::ends(&self.shared.disk, size)?;
        if size < self.marked.load(Ordering::Acquire) {
            // First the mark, then the cut: after a crash in between, the log is merely longer.
            let root = reader.root(size)?.unwrap_or(Digest::ZERO);
            let mark = Mark { size, entries_end, exchanges_end, root, ..self.sync_point().mark };
            SyncPoint { mark, ..self.sync_point() }.sync()?;
        }
        self.shared.size.store(size, Ordering::Release);
        self.growth = Growth::load(&self.shared.disk, size, entries_end, exchanges_end)?;
        self.untidy = true;
        self.tidy()
    }

    /// Cuts all files to where the log ends.
    fn tidy(&mut self) -> Result<(), LogError> {
        if !self.untidy {
            return Ok(());
        }
        self.growth.cut(&self.shared.disk)?;
        cut(&self.shared.disk, CERTIFICATES, self.certificates.end)?;
        cut(&self.shared.disk, CERTIFICATE_INDEX, self.certificates.count * INDEX_BYTES)?;
        self.untidy = false;
        Ok(())
    }

    fn publish(&self) {
        self.shared.size.store(self.size(), Ordering::Release);
        self.shared.certificates.store(self.certificates.count, Ordering::Release);
    }

    fn alive(&self) -> Result<(), LogError> {
        self.shared.alive()
    }
}

/// A moment of the log that can be made durable without holding up whoever appends.
#[derive(Debug)]
pub struct SyncPoint<D> {
    shared: Arc<Shared<D>>,
    marked: Arc<AtomicU64>,
    mark: Mark,
}

impl<D: Disk> SyncPoint<D> {
    /// The log's size at that moment.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mark.size
    }

    /// Makes it durable, and writes the mark that says so.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn sync(self) -> Result<(), LogError> {
        self.shared.alive()?;
        if seeded(Bug::LogSyncSkipped) {
            return Ok(());
        }
        let files = [ENTRIES, EXCHANGES, CERTIFICATES, ENTRY_ENDS, EXCHANGE_ENDS]
            .into_iter()
            .chain([CERTIFICATE_INDEX])
            .chain(TILES);
        for file in files {
            match self.shared.disk.sync(file) {
                // A derived file that nothing was written to does not exist.
                Ok(()) | Err(DiskError::Missing { .. }) => {}
                Err(error) => return Err(self.shared.fail(&error)),
            }
        }
        self.mark.write(&self.shared)?;
        self.marked.store(self.mark.size, Ordering::Release);
        Ok(())
    }
}

impl<D: Disk> Shared<D> {
    fn new(disk: D, owner: Owner) -> Self {
        Self {
            disk,
            owner,
            size: AtomicU64::new(0),
            certificates: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    fn fail(&self, error: &DiskError) -> LogError {
        self.failed.store(true, Ordering::Release);
        LogError::FsyncFailed { reason: error.to_string() }
    }

    fn alive(&self) -> Result<(), LogError> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(LogError::FsyncFailed { reason: "an earlier fsync failed".to_owned() }),
            false => Ok(()),
        }
    }
}
