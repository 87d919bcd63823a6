//! The write-ahead log: what a replica must not forget, made durable before it is said.
//!
//! # Files
//!
//! Segments `wal-NNNNNNNNNNNNNNNN` (hex, from 1), each a file header (chain, replica, number,
//! whether the log is whole) and records:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of the payload |
//! | 4 | CRC-32 of the payload |
//! | 1 + 8 | whether it has a slot, and the slot |
//! | 8 | how long the segment was known to be durable when the record was written |
//! | 4 | CRC-32 of segment number, offset and the 25 bytes above |
//! | | payload |
//!
//! # Torn or rotten
//!
//! Records are written in groups, one write and one `fdatasync` each, and a power loss may leave
//! any combination of an unsynced group's sectors. So a bad record is a *torn tail*, and is cut
//! off, as long as no sound record after it was written when the bad one was already durable; the
//! fifth field tells. If one was, or if the segment is not the newest, durable votes have been
//! damaged: that cannot be masked, and opening fails with `corrupt-log` (promise P8). Damage to
//! the last group alone looks like a torn tail; it is one of the f faults that the protocol bears.
//!
//! # Lost
//!
//! `init` writes an empty log ([`Wal::create`]). Where [`Wal::open`] finds none, the disk is lost
//! and earlier votes are unknown (rule 28a). It then starts a log that is marked as not whole, and
//! stays so, across restarts, until the replica has rejoined ([`Wal::rejoined`]).
//!
//! # Failure
//!
//! A failed fsync is fatal: bytes may be lost that a second fsync would call durable. The log
//! refuses everything from then on, and the process must end ([`WalError::is_fatal`]). The next one
//! may still read those bytes, from memory; so [`Wal::open`] writes the newest segment anew before
//! it calls anything durable. A full disk
//! met while writing is not: the group waits in memory, and [`Wal::sync`] may be called again when
//! there is room; it first cuts off what the failed write left.

use crate::{
    disk::{Disk, DiskError, cut, read_exactly, replace},
    format::{HEADER_BYTES, Header, HeaderFault, Kind, Owner, u32_at, u64_at},
};
use quorate_types::{
    Slot,
    bug::{Bug, seeded},
};
use std::collections::VecDeque;

/// The longest payload of one record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

const RECORD_HEADER_BYTES: usize = 29;
const NAME: &str = "wal-";
/// Where a segment is copied to before the copy takes its place.
const COPY: &str = "wal.new";
/// Header flag: the log lacks votes that the replica may have sent before it lost its disk.
const NOT_WHOLE: u8 = 1;

/// One record, as it was appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WalRecord {
    /// The slot that it is about, if it is about one.
    pub slot: Option<Slot>,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Why the write-ahead log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk refused. Full and read-only disks leave the log usable.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An fsync failed, now or before: end the process, never try again.
    #[error("{file} could not be made durable; votes must not be sent any more ({reason})")]
    FsyncFailed {
        /// The segment.
        file: String,
        /// What the disk said.
        reason: String,
    },
    /// The folder belongs to another chain or another replica.
    #[error("{file} belongs to {found}, not to {expected}")]
    Foreign {
        /// The segment.
        file: String,
        /// Whose it is.
        found: Owner,
        /// Whose it should be.
        expected: Owner,
    },
    /// Written by another version of Quorate.
    #[error("{file} has format version {version}, which this version of Quorate does not know")]
    Version {
        /// The segment.
        file: String,
        /// Its version.
        version: u16,
    },
    /// Durable records are damaged or missing: the replica must not vote (P8).
    #[error("{file} is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// The segment.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A record above [`RECORD_BYTES_MAX`].
    #[error("a record of {bytes} bytes; at most {RECORD_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A log was to be created where there is one: nothing is ever overwritten.
    #[error("there is a write-ahead log already")]
    Exists,
}

impl WalError {
    /// The stable word for this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disk(error) => error.code(),
            Self::FsyncFailed { .. } => "fsync-failed",
            Self::Foreign { .. } => "foreign-data",
            Self::Version { .. } => "unknown-format",
            Self::Corrupt { .. } => "corrupt-log",
            Self::TooLarge { .. } => "record-too-large",
            Self::Exists => "log-exists",
        }
    }

    /// Whether the process has to end. Only a full or read-only disk and a refused record leave
    /// the log as it was.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(
            self,
            Self::Disk(DiskError::Full { .. } | DiskError::ReadOnly { .. })
                | Self::TooLarge { .. }
                | Self::Exists
        )
    }
}

/// The write-ahead log of one replica.
#[derive(Debug)]
pub struct Wal<D> {
    disk: D,
    owner: Owner,
    whole: bool,
    /// Segments that are complete, oldest first, and then the one being written.
    closed: VecDeque<Segment>,
    open: Segment,
    /// The open segment's name: each group is written and synced by it.
    file: String,
    /// Bytes of the open segment that are in its file, and durable.
    durable: u64,
    /// Whether a failed write may have left a part of the group behind these.
    untidy: bool,
    group: Vec<u8>,
    fsync_failure: Option<String>,
}

/// What rotation has to know of a segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    highest: Option<Slot>,
    has_slotless: bool,
    /// The lowest slot still needed at the rotation that closed it.
    closed_at: Option<Slot>,
}

impl Segment {
    fn new(number: u64) -> Self {
        Self { number, highest: None, has_slotless: false, closed_at: None }
    }

    fn note(&mut self, slot: Option<Slot>) {
        self.highest = self.highest.max(slot);
        self.has_slotless |= slot.is_none();
    }

    fn file(&self) -> String {
        format!("{NAME}{:016x}", self.number)
    }
}

/// A write-ahead log with what it held.
#[derive(Debug)]
pub struct Recovered<D> {
    /// The log, ready for more.
    pub wal: Wal<D>,
    /// All records that were not dropped, oldest first. All of them are durable.
    pub records: Vec<WalRecord>,
    /// False if the replica may have voted without a trace here: its disk was lost, and it has not
    /// rejoined since (rule 28a).
    pub existed: bool,
    /// Bytes of a torn tail that were cut off; 0 after an orderly end.
    pub cut: u64,
}

impl<D: Disk> Wal<D> {
    /// Writes the empty log of a replica that never voted. For `init` alone.
    ///
    /// # Errors
    /// [`WalError::Exists`] if there is one, [`WalError::Disk`], [`WalError::FsyncFailed`].
    pub fn create(disk: D, owner: Owner) -> Result<Self, WalError> {
        if !segments(&disk)?.is_empty() {
            return Err(WalError::Exists);
        }
        Self::start(disk, owner, true)
    }

    /// Opens the log, checks every record, cuts a torn tail and makes the rest durable, for which
    /// the newest segment is written once more.
    ///
    /// # Errors
    /// [`WalError`] as the module says.
    pub fn open(disk: D, owner: Owner) -> Result<Recovered<D>, WalError> {
        let mut segments = segments(&disk)?;
        drop_unfinished(&disk, owner, &mut segments)?;
        let Some(&(newest, _)) = segments.last() else {
            let existed = seeded(Bug::LostDiskUnnoticed);
            let wal = Self::start(disk, owner, existed)?;
            return Ok(Recovered { wal, records: Vec::new(), existed, cut: 0 });
        };
        let mut records = Vec::new();
        let mut closed = VecDeque::new();
        let (mut whole, mut durable, mut cut, mut oldest) = (false, 0, 0, 0);
        let mut newest_bytes = Vec::new();
        for (number, length) in segments {
            let mut segment = Segment::new(number);
            let file = segment.file();
            let bytes = read_exactly(&disk, &file, 0, usize::try_from(length).unwrap_or(0))?
                .unwrap_or_default();
            let header = parse_header(&bytes, &file, owner, number)?;
            if closed.back().is_some_and(|previous| !follows(previous, durable, &header)) {
                let reason = "the segment before this one is missing or too short";
                return Err(WalError::Corrupt { file, offset: 0, reason });
            }
            (whole, oldest) = (header.flags & NOT_WHOLE == 0, header.oldest);
            let sound = scan(&bytes, &mut segment, &mut records);
            if sound < bytes.len() {
                // A later segment is begun only when this one is durable.
                if number != newest || contradicted(&bytes, number, sound) {
                    let reason = "a record is damaged that was durable";
                    return Err(WalError::Corrupt { file, offset: sound as u64, reason });
                }
                cut = (bytes.len() - sound) as u64;
            }
            if number == newest {
                newest_bytes = bytes;
                newest_bytes.truncate(sound);
            }
            durable = sound as u64;
            closed.push_back(segment);
        }
        if closed.front().is_some_and(|first| first.number > oldest) {
            let (file, reason) = (Segment::new(oldest).file(), "it is missing");
            return Err(WalError::Corrupt { file, offset: 0, reason });
        }
        let open = closed.pop_back().unwrap_or(Segment::new(newest));
        let file = open.file();
        let wal = Self { whole, closed, open, file, durable, ..Self::blank(disk, owner) };
        wal.write_again(&newest_bytes)?;
        Ok(Recovered { wal, records, existed: whole, cut })
    }

    /// Puts a copy in the place of the newest segment.
    ///
    /// What was read may be in the page cache alone: a killed process had not synced it, or had
    /// tried to, in vain. It is acted upon from now on, so it must be durable from now on; and
    /// after a failed fsync the system holds pages for clean that are not on the disk, so that
    /// only writing them anew helps.
    fn write_again(&self, bytes: &[u8]) -> Result<(), WalError> {
        let failed = |error: DiskError| WalError::FsyncFailed {
            file: self.file.clone(),
            reason: error.to_string(),
        };
        replace(&self.disk, COPY, &self.file, bytes, failed)
    }

    fn start(disk: D, owner: Owner, whole: bool) -> Result<Self, WalError> {
        let mut wal = Self { whole, ..Self::blank(disk, owner) };
        wal.begin_segment(1)?;
        Ok(wal)
    }

    fn blank(disk: D, owner: Owner) -> Self {
        Self {
            disk,
            owner,
            whole: false,
            closed: VecDeque::new(),
            open: Segment::new(0),
            file: String::new(),
            durable: 0,
            untidy: false,
            group: Vec::new(),
            fsync_failure: None,
        }
    }

    /// Adds a record to the group that the next [`Self::sync`] makes durable.
    ///
    /// # Errors
    /// [`WalError::TooLarge`], [`WalError::FsyncFailed`] if an earlier fsync failed.
    pub fn append(&mut self, slot: Option<Slot>, payload: &[u8]) -> Result<(), WalError> {
        self.alive()?;
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= RECORD_BYTES_MAX)
            .ok_or(WalError::TooLarge { bytes: payload.len() })?;
        let offset = self.durable + self.group.len() as u64;
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        header[8] = u8::from(slot.is_some());
        header[9..17].copy_from_slice(&slot.map_or(0, |slot| slot.0).to_le_bytes());
        header[17..25].copy_from_slice(&self.durable.to_le_bytes());
        let crc = header_crc(self.open.number, offset, &header[..25]);
        header[25..].copy_from_slice(&crc.to_le_bytes());
        self.group.extend_from_slice(&header);
        self.group.extend_from_slice(payload);
        self.open.note(slot);
        Ok(())
    }

    /// Whether there are records that [`Self::sync`] has not made durable.
    #[must_use]
    pub fn has_unsynced(&self) -> bool {
        !self.group.is_empty()
    }

    /// Makes all appended records durable: one write, one `fdatasync`; nothing if there are none.
    ///
    /// # Errors
    /// [`WalError::Disk`] when the group could not be written: nothing is durable, and if the disk
    /// is full or read-only the call may be repeated. [`WalError::FsyncFailed`]: end the process.
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.alive()?;
        if self.group.is_empty() {
            return Ok(());
        }
        if self.untidy {
            self.disk.truncate(&self.file, self.durable)?;
        }
        self.untidy = true;
        self.disk.append(&self.file, &self.group)?;
        self.untidy = false;
        self.fsync()?;
        self.durable += self.group.len() as u64;
        self.group.clear();
        Ok(())
    }

    /// Starts a new segment, and drops the oldest ones as far as they hold nothing that is needed.
    ///
    /// A segment goes when every slot in it is `< below`, and it is either free of slotless records
    /// or was closed at an earlier rotation, with a lower `below`, and slotless records were
    /// written after it. Engines persist their slotless records anew right after each
    /// `Effect::Forget`; so this rule keeps the newest ones if rotations are carried out where
    /// `Forget` stands among the effects (perhaps with a lower slot, as far as the replica's own
    /// snapshot reaches), or later with the newest slot.
    ///
    /// # Errors
    /// As [`Self::sync`]; a log that could not begin its next segment goes on with the old one.
    pub fn rotate(&mut self, below: Slot) -> Result<(), WalError> {
        self.sync()?;
        let mut closed = self.closed.clone();
        closed.push_back(self.open);
        // Whether a segment found at opening was followed by newer slotless records nobody knows:
        // it counts as closed now.
        for segment in &mut closed {
            segment.closed_at.get_or_insert(below);
        }
        let newest_slotless = closed.iter().rev().find(|s| s.has_slotless).map_or(0, |s| s.number);
        let superseded = |segment: &&Segment| {
            let slotless_is = !segment.has_slotless
                || (segment.closed_at < Some(below) && segment.number < newest_slotless);
            slotless_is && segment.highest < Some(below)
        };
        let needless = closed.iter().take_while(superseded).count();
        let oldest = closed.get(needless).map_or(self.open.number + 1, |segment| segment.number);
        self.begin_segment(oldest)?;
        self.closed = closed;
        for _ in 0..needless {
            if let Some(segment) = self.closed.front() {
                self.disk.remove(&segment.file())?;
            }
            self.closed.pop_front();
        }
        Ok(())
    }

    /// The replica has rejoined: from now on the log holds every vote that binds it (rule 28a).
    ///
    /// Durable when it returns; from then on [`Self::open`] says that the log existed.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn rejoined(&mut self) -> Result<(), WalError> {
        if self.whole {
            return Ok(());
        }
        self.sync()?;
        self.whole = true;
        let closing = self.open;
        let oldest = self.closed.front().map_or(closing.number, |segment| segment.number);
        if let Err(error) = self.begin_segment(oldest) {
            self.whole = false;
            return Err(error);
        }
        self.closed.push_back(closing);
        Ok(())
    }

    /// Bytes in all segments' files and in the waiting group, an upper bound for memory at start.
    ///
    /// # Errors
    /// [`WalError::Disk`].
    pub fn bytes(&self) -> Result<u64, WalError> {
        let files: u64 = segments(&self.disk)?.iter().map(|(_, length)| length).sum();
        Ok(files + self.group.len() as u64)
    }

    fn begin_segment(&mut self, oldest: u64) -> Result<(), WalError> {
        self.alive()?;
        let segment = Segment::new(self.open.number + 1);
        let file = segment.file();
        let flags = if self.whole { 0 } else { NOT_WHOLE };
        let header = Header {
            flags,
            number: segment.number,
            oldest,
            before: self.durable,
            ..Header::new(Kind::Votes, self.owner)
        };
        // An earlier attempt may have left a part of the header.
        cut(&self.disk, &file, 0)?;
        self.disk.append(&file, &header.to_bytes())?;
        (self.open, self.file) = (segment, file);
        self.durable = HEADER_BYTES as u64;
        self.fsync()
    }

    fn fsync(&mut self) -> Result<(), WalError> {
        match self.disk.sync(&self.file) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error.to_string())),
        }
    }

    fn fail(&mut self, reason: String) -> WalError {
        self.fsync_failure = Some(reason.clone());
        WalError::FsyncFailed { file: self.file.clone(), reason }
    }

    fn alive(&self) -> Result<(), WalError> {
        match &self.fsync_failure {
            None => Ok(()),
            Some(reason) => {
                Err(WalError::FsyncFailed { file: self.file.clone(), reason: reason.clone() })
            }
        }
    }
}

/// Numbers and lengths of the segments, oldest first.
fn segments<D: Disk>(disk: &D) -> Result<Vec<(u64, u64)>, DiskError> {
    let number = |name: &str| {
        let digits = name.strip_prefix(NAME).filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(digits, 16).ok()
    };
    let files = disk.list()?;
    let mut found: Vec<_> =
        files.iter().filter_map(|(name, length)| Some((number(name)?, *length))).collect();
    found.sort_unstable();
    Ok(found)
}

/// Drops a newest segment whose creation a crash interrupted: records follow only when the header
/// is durable, so a damaged header with nothing behind it never had any.
fn drop_unfinished<D: Disk>(
    disk: &D,
    owner: Owner,
    segments: &mut Vec<(u64, u64)>,
) -> Result<(), WalError> {
    let Some(&(number, length)) = segments.last() else { return Ok(()) };
    let file = Segment::new(number).file();
    let unfinished = length <= HEADER_BYTES as u64
        && Header::read(disk, &file, Kind::Votes, owner)? == Err(HeaderFault::Damaged);
    if unfinished {
        disk.remove(&file)?;
        segments.pop();
    }
    Ok(())
}

fn parse_header(bytes: &[u8], file: &str, owner: Owner, number: u64) -> Result<Header, WalError> {
    let file = file.to_owned();
    match Header::parse(bytes, Kind::Votes, owner) {
        Ok(header) if header.number == number => Ok(header),
        Ok(_) => Err(WalError::Corrupt { file, offset: 0, reason: "it is another segment" }),
        Err(HeaderFault::Damaged) => {
            Err(WalError::Corrupt { file, offset: 0, reason: "the header is damaged" })
        }
        Err(HeaderFault::Version(version)) => Err(WalError::Version { file, version }),
        Err(HeaderFault::Foreign(found)) => Err(WalError::Foreign { file, found, expected: owner }),
    }
}

/// Whether a segment is the one after another of that length.
fn follows(previous: &Segment, length: u64, header: &Header) -> bool {
    header.number == previous.number + 1 && header.before == length
}

fn header_crc(number: u64, offset: u64, header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(&offset.to_le_bytes());
    crc.update(header);
    crc.finalize()
}

/// The 29 bytes at `offset`, if they are a record's header there.
fn record_header(bytes: &[u8], number: u64, offset: usize) -> Option<&[u8]> {
    let header = bytes.get(offset..offset + RECORD_HEADER_BYTES)?;
    let slotless_is_zero = header[8] == 1 || (header[8] == 0 && u64_at(header, 9) == 0);
    let sound = slotless_is_zero
        && u32_at(header, 0) as usize <= RECORD_BYTES_MAX
        && u32_at(header, 25) == header_crc(number, offset as u64, &header[..25]);
    sound.then_some(header)
}

/// Collects records up to the first bad one; tells where that is, or the end.
fn scan(bytes: &[u8], segment: &mut Segment, records: &mut Vec<WalRecord>) -> usize {
    let mut offset = HEADER_BYTES;
    while let Some(header) = record_header(bytes, segment.number, offset) {
        let start = offset + RECORD_HEADER_BYTES;
        let end = start + u32_at(header, 0) as usize;
        let Some(payload) = bytes.get(start..end) else { break };
        if crc32fast::hash(payload) != u32_at(header, 4) {
            break;
        }
        let slot = (header[8] == 1).then(|| Slot(u64_at(header, 9)));
        segment.note(slot);
        records.push(WalRecord { slot, bytes: payload.to_vec() });
        offset = end;
    }
    offset
}

/// Whether a sound record header after the bad byte says that the bad byte was durable before it.
fn contradicted(bytes: &[u8], number: u64, bad: usize) -> bool {
    (bad + 1..bytes.len().saturating_sub(RECORD_HEADER_BYTES - 1)).any(|offset| {
        record_header(bytes, number, offset).is_some_and(|header| u64_at(header, 17) > bad as u64)
    })
}
