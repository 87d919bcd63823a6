//! Storage in memory that fails on demand: for tests, and for the simulator.
//!
//! It keeps apart what a process sees and what a power loss would leave. Which part of the
//! unsynced bytes survives [`MemoryDisk::crash`] follows from a seed alone, so that a failing seed
//! can be run again.
//!
//! | fault | brought on by |
//! |---|---|
//! | one operation fails, or does something else than it says | [`MemoryDisk::strike_after`] |
//! | lost and torn writes at a loss of power | [`MemoryDisk::crash`] |
//! | bit rot of what was synced | [`MemoryDisk::rot`], [`MemoryDisk::flip`] |
//! | no room | [`MemoryDisk::limit_room`] |
//! | read-only | [`MemoryDisk::set_read_only`] |
//! | syncs that are reported done, and are not | [`MemoryDisk::ignore_syncs`] |
//! | death between two operations | [`MemoryDisk::stop_after`] |
//! | emptied | [`MemoryDisk::new`] |
//!
//! What really happened, [`MemoryDisk::take_struck`] says. How long a slow disk takes is for its
//! user to model.

mod content;
mod fault;

pub use fault::{Fault, Struck};

use crate::disk::{Disk, DiskError};
use content::{Content, SECTOR_BYTES};
use fault::Faults;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A folder in memory.
///
/// A clone is another handle of the same folder; [`Self::crash`] and [`Self::fork`] make folders
/// of their own. Bytes are shared until one side writes, so both are cheap.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Folder>>);

#[derive(Clone, Debug, Default)]
struct Folder {
    contents: BTreeMap<u64, Content>,
    next_content: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Renaming>,
    faults: Faults,
    counts: Counts,
    struck: Struck,
}

/// A change of names that the next sync makes durable.
#[derive(Clone, Debug)]
enum Renaming {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// How often each operation was carried out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Appends, failed ones included.
    pub appends: u64,
    /// Bytes appended.
    pub bytes: u64,
    /// Syncs, failed ones included.
    pub syncs: u64,
    /// Reads.
    pub reads: u64,
    /// Operations that write and that [`MemoryDisk::stop_after`] let pass.
    pub writes: u64,
}

impl MemoryDisk {
    /// An empty folder without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a power loss at this moment leaves, as a folder of its own, without faults.
    ///
    /// Of the changes of names since the last sync a prefix survives. Of a file's unsynced bytes
    /// the seed picks: all (in one case of eight), none, a prefix that ends anywhere, or any
    /// combination of its sectors with zeros, garbage or older bytes in place of the others. An
    /// unsynced cut has happened, or not. Bytes whose sync failed, and those that the disk only
    /// said to have written, are zeros, or the file ends before them.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let folder = self.lock();
        let mut seed = Seed(seed);
        let mut names = folder.durable_names.clone();
        let survivors = seed.below(folder.unsynced_names.len() + 1);
        let mut torn = survivors < folder.unsynced_names.len();
        for renaming in &folder.unsynced_names[..survivors] {
            renaming.apply(&mut names);
        }
        let mut left = Folder {
            next_content: folder.next_content,
            durable_names: names.clone(),
            names,
            ..Folder::default()
        };
        for id in left.names.values() {
            if let Some(content) = folder.contents.get(id) {
                let survived = content.crash(&mut seed);
                torn |= content.differs(&survived);
                left.contents.insert(*id, survived);
            }
        }
        if torn {
            left.struck.insert("disk-torn", 1);
        }
        Self(Arc::new(Mutex::new(left)))
    }

    /// An independent folder with the same bytes, durable or not: what the next process finds when
    /// this one is killed and the machine goes on. Faults are not taken over.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut folder = self.lock().clone();
        folder.faults = Faults::default();
        folder.counts = Counts::default();
        folder.struck = Struck::new();
        Self(Arc::new(Mutex::new(folder)))
    }

    /// From now on there is room for so many more bytes; an append that does not fit writes what
    /// fits and fails as [`DiskError::Full`]. Cutting and removing make room. `None` lifts it.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.lock().faults.room = bytes;
    }

    /// From now on nothing can be written ([`DiskError::ReadOnly`]), or again it can.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().faults.read_only = read_only;
    }

    /// From now on syncs are reported done and do nothing, as on a disk that keeps its cache for
    /// itself, or again they do something; then the first one of a file makes all of it durable.
    pub fn ignore_syncs(&self, ignored: bool) {
        self.lock().faults.ignores_syncs = ignored;
    }

    /// Lets so many more writing operations (append, sync, truncate, rename, remove) pass, and
    /// refuses all further ones, without effect: the machine has stopped between two of them.
    /// [`Self::crash`] then gives what is left; so every crash point of a trace can be visited.
    pub fn stop_after(&self, operations: u64) {
        self.lock().faults.writes_until_stop = Some(operations);
    }

    /// Lets so many more operations of its kind pass and has the fault strike the next one, once.
    /// A fault of this kind that waits already is forgotten.
    pub fn strike_after(&self, successes: u64, fault: Fault) {
        self.lock().faults.planned.insert(fault, successes);
    }

    /// Forgets all faults that wait, lifts the limit of room, and lets write again.
    pub fn heal(&self) {
        self.lock().faults = Faults::default();
    }

    /// Inverts one bit of what is durable, in a file that the seed picks; tells which. `None` where
    /// nothing is durable.
    pub fn rot(&self, seed: u64) -> Option<String> {
        let mut seed = Seed(seed);
        let mut folder = self.lock();
        let synced = |id: &u64| folder.contents.get(id).map_or(0, |content| content.synced);
        let files: Vec<(String, usize)> =
            folder.names.iter().map(|(name, id)| (name.clone(), synced(id))).collect();
        let full: Vec<_> = files.into_iter().filter(|(_, synced)| *synced > 0).collect();
        let (file, synced) = full.get(seed.below(full.len()))?.clone();
        let (byte, bit) = (seed.below(synced), seed.below(8));
        if let Some(content) = folder.content_mut(&file) {
            content.flip(byte, u8::try_from(bit).unwrap_or(0));
        }
        folder.strike("disk-rot");
        Some(file)
    }

    /// Inverts one bit, durably: bit rot. Nothing happens beyond the file's end.
    pub fn flip(&self, file: &str, byte: u64, bit: u8) {
        let mut folder = self.lock();
        if let Some(content) = folder.content_mut(file) {
            content.flip(usize::try_from(byte).unwrap_or(usize::MAX), bit);
        }
    }

    /// The bytes of a file as a process sees them.
    #[must_use]
    pub fn bytes(&self, file: &str) -> Option<Vec<u8>> {
        self.lock().content_mut(file).map(|content| content.bytes.to_vec())
    }

    /// Sets a file's bytes, durably, whatever the faults.
    pub fn place(&self, file: &str, bytes: impl Into<Vec<u8>>) {
        let mut folder = self.lock();
        let id = folder.create(file);
        folder.durable_names.insert(file.to_owned(), id);
        folder.contents.insert(id, Content::durable(bytes.into()));
    }

    /// How often each operation was carried out.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// What went wrong since this was last asked, by name.
    #[must_use]
    pub fn take_struck(&self) -> Struck {
        std::mem::take(&mut self.lock().struck)
    }

    fn lock(&self) -> MutexGuard<'_, Folder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folder {
    fn content_mut(&mut self, file: &str) -> Option<&mut Content> {
        self.names.get(file).and_then(|id| self.contents.get_mut(id))
    }

    fn existing(&mut self, file: &str) -> Result<&mut Content, DiskError> {
        self.content_mut(file).ok_or_else(|| DiskError::Missing { file: file.to_owned() })
    }

    /// Whether a writing operation may be carried out.
    fn writable(&mut self, operation: &'static str, file: &str) -> Result<(), DiskError> {
        match &mut self.faults.writes_until_stop {
            Some(0) => return Err(input_output_error(operation, file)),
            Some(left) => *left -= 1,
            None => {}
        }
        self.counts.writes += 1;
        if self.faults.read_only {
            self.strike("disk-read-only");
            return Err(DiskError::ReadOnly { file: file.to_owned() });
        }
        Ok(())
    }

    fn strike(&mut self, name: &'static str) {
        *self.struck.entry(name).or_default() += 1;
    }

    /// What the disk really does with bytes that are to go to the end of a file.
    fn write(&mut self, id: u64, bytes: &[u8], fault: Option<Fault>) {
        let mut chance = Seed(self.counts.appends ^ self.counts.bytes.rotate_left(32));
        let Some(content) = self.contents.get_mut(&id) else { return };
        match fault {
            Some(Fault::WriteError) => content.append(&bytes[..chance.below(bytes.len())]),
            Some(Fault::ForgottenWrite) => content.append_lost(bytes, true),
            Some(Fault::LostWrite) => content.append_lost(bytes, false),
            Some(Fault::MisdirectedWrite) => {
                content.append_lost(bytes, false);
                let targets: Vec<u64> = self.names.values().copied().collect();
                let target = match chance.below(2) {
                    0 => id,
                    _ => targets.get(chance.below(targets.len())).copied().unwrap_or(id),
                };
                if let Some(content) = self.contents.get_mut(&target) {
                    let sectors = content.bytes.len() / SECTOR_BYTES + 1;
                    content.overwrite(chance.below(sectors) * SECTOR_BYTES, bytes);
                }
            }
            _ => content.append(bytes),
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if let Some(room) = &mut self.faults.room {
            *room += bytes as u64;
        }
    }

    /// The identity of a file's content, made where there is none.
    fn create(&mut self, file: &str) -> u64 {
        if let Some(id) = self.names.get(file) {
            return *id;
        }
        let id = self.next_content;
        self.next_content += 1;
        self.contents.insert(id, Content::default());
        self.change_names(Renaming::Create(file.to_owned(), id));
        id
    }

    fn change_names(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.unsynced_names.push(renaming);
    }

    fn sync_names(&mut self) {
        if self.unsynced_names.is_empty() {
            return;
        }
        for renaming in self.unsynced_names.drain(..) {
            renaming.apply(&mut self.durable_names);
        }
        debug_assert_eq!(self.durable_names, self.names, "what is durable is what was done");
        // A name that was given away or removed leaves a content without any.
        if self.contents.len() > self.names.len() {
            let alive: BTreeSet<u64> = self.names.values().copied().collect();
            self.contents.retain(|id, _| alive.contains(id));
        }
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

fn input_output_error(operation: &'static str, file: &str) -> DiskError {
    /// EIO on Linux.
    const EIO: i32 = 5;
    DiskError::from_io(operation, file, io::Error::from_raw_os_error(EIO))
}

impl Disk for MemoryDisk {
    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut folder = self.lock();
        folder.counts.appends += 1;
        folder.writable("append", file)?;
        let id = folder.create(file);
        let room = folder.faults.room.unwrap_or(u64::MAX);
        let fitting = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        folder.counts.bytes += fitting as u64;
        if let Some(room) = &mut folder.faults.room {
            *room -= fitting as u64;
        }
        let fault = folder.faults.strike_append().filter(|_| !bytes.is_empty());
        folder.write(id, &bytes[..fitting], fault);
        if let Some(fault) = fault {
            folder.strike(fault.name());
        }
        if fault == Some(Fault::WriteError) {
            return Err(input_output_error("append", file));
        }
        if fitting < bytes.len() {
            folder.strike("disk-full");
            return Err(DiskError::Full { file: file.to_owned() });
        }
        Ok(())
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        let mut folder = self.lock();
        folder.counts.syncs += 1;
        folder.writable("sync", file)?;
        folder.existing(file)?;
        if folder.faults.strikes(Fault::SyncError) {
            folder.strike(Fault::SyncError.name());
            folder.existing(file)?.drop_unsynced();
            return Err(input_output_error("sync", file));
        }
        if folder.faults.ignores_syncs {
            folder.strike("fsync-ignored");
            return Ok(());
        }
        folder.existing(file)?.sync();
        folder.sync_names();
        Ok(())
    }

    fn read(&self, file: &str, offset: u64, out: &mut [u8]) -> Result<usize, DiskError> {
        let mut folder = self.lock();
        folder.counts.reads += 1;
        if folder.faults.strikes(Fault::ReadError) {
            folder.strike(Fault::ReadError.name());
            return Err(input_output_error("read", file));
        }
        let content = folder.existing(file)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.bytes.len());
        let there = &content.bytes[from..];
        let read = there.len().min(out.len());
        out[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn truncate(&self, file: &str, length: u64) -> Result<(), DiskError> {
        let mut folder = self.lock();
        folder.writable("truncate", file)?;
        let content = folder.existing(file)?;
        let before = content.bytes.len();
        content.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let freed = before - content.bytes.len();
        folder.make_room(freed);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let folder = self.lock();
        let length = |id| folder.contents.get(id).map_or(0, |content| content.bytes.len() as u64);
        Ok(folder.names.iter().map(|(name, id)| (name.clone(), length(id))).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut folder = self.lock();
        folder.writable("rename", from)?;
        folder.existing(from)?;
        folder.change_names(Renaming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        let mut folder = self.lock();
        folder.writable("remove", file)?;
        let freed = folder.existing(file)?.bytes.len();
        folder.make_room(freed);
        folder.change_names(Renaming::Remove(file.to_owned()));
        Ok(())
    }
}

/// A small generator (SplitMix64): what survives is a function of the seed.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&mut self, bound: usize) -> usize {
        match bound as u64 {
            0 => 0,
            bound => usize::try_from(self.next() % bound).unwrap_or(0),
        }
    }
}
