//! How the log grows: what an item adds to each file.

use super::{
    END_BYTES, ENTRIES, ENTRY_ENDS, EXCHANGE_ENDS, EXCHANGES, HASH_BYTES, LogError, TILES, reader,
};
use crate::{
    disk::{Disk, DiskError, cut},
    format::{HEADER_BYTES, push_frame},
    tile::{TILE_LEVELS, TILE_WIDTH, hashes_in_level, subtree_root},
};
use quorate_proof::tree::{Frontier, leaf_hash};
use quorate_types::Digest;

/// Where the log ends, and what the next entry has to be joined with.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    pub(super) frontier: Frontier,
    /// Of each level, the hashes of its rightmost tile; fewer than 256.
    tails: [Vec<Digest>; TILE_LEVELS as usize],
    pub(super) entries_end: u64,
    pub(super) exchanges_end: u64,
}

/// What a log goes back to when items cannot be written.
#[derive(Debug)]
pub(super) struct Before {
    frontier: Frontier,
    /// How many hashes the lowest tail has.
    lowest: usize,
    /// All tails, where a tile would be filled and another tail change.
    tails: Option<[Vec<Digest>; TILE_LEVELS as usize]>,
    entries_end: u64,
    exchanges_end: u64,
}

/// Bytes that are to be appended to the files.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) entries: Vec<u8>,
    pub(super) exchanges: Vec<u8>,
    entry_ends: Vec<u8>,
    exchange_ends: Vec<u8>,
    tiles: [Vec<u8>; TILE_LEVELS as usize],
}

impl Growth {
    /// The empty log, whose primary files hold their headers.
    pub(super) fn empty() -> Self {
        let end = HEADER_BYTES as u64;
        Self { entries_end: end, exchanges_end: end, ..Self::default() }
    }

    /// Reads it back from the derived files of a log of that size.
    pub(super) fn load<D: Disk>(
        disk: &D,
        size: u64,
        entries_end: u64,
        exchanges_end: u64,
    ) -> Result<Self, LogError> {
        let mut tails: [Vec<Digest>; TILE_LEVELS as usize] = Default::default();
        for (level, tail) in (0..).zip(&mut tails) {
            let hashes = hashes_in_level(size, level);
            let partial = hashes % TILE_WIDTH;
            *tail = reader::hashes(disk, level, hashes - partial, partial)?;
        }
        let peaks = reader::peaks(disk, size)?;
        let frontier = Frontier::from_peaks(size, peaks).unwrap_or_default();
        Ok(Self { frontier, tails, entries_end, exchanges_end })
    }

    /// What to go back to if so many items cannot be written.
    pub(super) fn before(&self, items: usize) -> Before {
        let lowest = self.tails[0].len();
        let fills = lowest.saturating_add(items) as u64 >= TILE_WIDTH;
        Before {
            frontier: self.frontier.clone(),
            lowest,
            tails: fills.then(|| self.tails.clone()),
            entries_end: self.entries_end,
            exchanges_end: self.exchanges_end,
        }
    }

    /// Forgets what was pushed since.
    pub(super) fn go_back(&mut self, to: Before) {
        match to.tails {
            Some(tails) => self.tails = tails,
            None => self.tails[0].truncate(to.lowest),
        }
        self.frontier = to.frontier;
        (self.entries_end, self.exchanges_end) = (to.entries_end, to.exchanges_end);
    }

    /// Adds one item: `exchange` is the wire form of what stands in the exchanges file.
    pub(super) fn push(&mut self, entry: &[u8], exchange: &[u8], pending: &mut Pending) {
        let index = self.frontier.size();
        // The caller has checked that the length fits.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        pending.entries.extend_from_slice(&length.to_be_bytes());
        pending.entries.extend_from_slice(entry);
        let framed = pending.exchanges.len();
        push_frame(&mut pending.exchanges, index, entry, exchange);
        self.entries_end += 2 + entry.len() as u64;
        self.exchanges_end += (pending.exchanges.len() - framed) as u64;
        pending.entry_ends.extend_from_slice(&self.entries_end.to_le_bytes());
        pending.exchange_ends.extend_from_slice(&self.exchanges_end.to_le_bytes());

        let mut hash = leaf_hash(entry);
        self.frontier.push(hash);
        for (tail, bytes) in self.tails.iter_mut().zip(&mut pending.tiles) {
            bytes.extend_from_slice(&hash.0);
            tail.push(hash);
            if (tail.len() as u64) < TILE_WIDTH {
                break;
            }
            let Some(root) = subtree_root(tail) else { break };
            hash = root;
            tail.clear();
        }
    }

    /// Cuts all files of entries and exchanges to where this ends.
    pub(super) fn cut<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        cut(disk, ENTRIES, self.entries_end)?;
        cut(disk, EXCHANGES, self.exchanges_end)?;
        cut_derived(disk, self.frontier.size())
    }
}

/// Cuts the derived files of entries and exchanges to what belongs to a log of that size.
pub(super) fn cut_derived<D: Disk>(disk: &D, size: u64) -> Result<(), DiskError> {
    cut(disk, ENTRY_ENDS, size * END_BYTES)?;
    cut(disk, EXCHANGE_ENDS, size * END_BYTES)?;
    for (level, file) in (0..).zip(TILES) {
        cut(disk, file, hashes_in_level(size, level) * HASH_BYTES)?;
    }
    Ok(())
}

impl Pending {
    /// With room for so many items of the usual size.
    pub(super) fn of(items: usize) -> Self {
        let mut pending = Self {
            entries: Vec::with_capacity(items * 256),
            exchanges: Vec::with_capacity(items * 768),
            entry_ends: Vec::with_capacity(items * END_BYTES as usize),
            exchange_ends: Vec::with_capacity(items * END_BYTES as usize),
            ..Self::default()
        };
        pending.tiles[0].reserve(items * HASH_BYTES as usize);
        pending
    }

    /// Appends everything, the primary files first.
    pub(super) fn write<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        append(disk, ENTRIES, &self.entries)?;
        append(disk, EXCHANGES, &self.exchanges)?;
        self.write_derived(disk)
    }

    /// Appends to the derived files alone, where the primary ones have their bytes already.
    pub(super) fn write_derived<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        append(disk, ENTRY_ENDS, &self.entry_ends)?;
        append(disk, EXCHANGE_ENDS, &self.exchange_ends)?;
        for (file, bytes) in TILES.into_iter().zip(&self.tiles) {
            append(disk, file, bytes)?;
        }
        Ok(())
    }
}

fn append<D: Disk>(disk: &D, file: &str, bytes: &[u8]) -> Result<(), DiskError> {
    if bytes.is_empty() { Ok(()) } else { disk.append(file, bytes) }
}
