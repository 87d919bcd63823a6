//! One file's bytes: those that a process sees, and those that a crash leaves.

use super::Seed;
use std::{ops::Range, sync::Arc};

/// The unit that a torn write loses or keeps.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Arc<Vec<u8>>,
    /// How many bytes, from the start, a power loss cannot take.
    pub(super) synced: usize,
    /// What was durable before a cut below it that is not durable yet.
    uncut: Option<Arc<Vec<u8>>>,
    /// Ranges that no sync will keep: readable until the crash, and gone after it.
    dropped: Vec<Range<usize>>,
}

impl Content {
    /// Bytes that are all durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        let synced = bytes.len();
        Self { bytes: Arc::new(bytes), synced, ..Self::default() }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        Arc::make_mut(&mut self.bytes).extend_from_slice(bytes);
    }

    /// An append that is lost: at once, or, if it is to be `readable`, at the crash.
    pub(super) fn append_lost(&mut self, bytes: &[u8], readable: bool) {
        let start = self.bytes.len();
        match readable {
            true => {
                self.append(bytes);
                self.dropped.push(start..self.bytes.len());
            }
            false => Arc::make_mut(&mut self.bytes).resize(start + bytes.len(), 0),
        }
    }

    /// Bytes that were meant for another place. What does not fit is nowhere.
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let end = self.bytes.len().min(at.saturating_add(bytes.len()));
        if at < end {
            Arc::make_mut(&mut self.bytes)[at..end].copy_from_slice(&bytes[..end - at]);
        }
    }

    /// Inverts a bit; nothing happens beyond the end.
    pub(super) fn flip(&mut self, byte: usize, bit: u8) {
        if let Some(byte) = Arc::make_mut(&mut self.bytes).get_mut(byte) {
            *byte ^= 1 << (bit % 8);
        }
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.bytes.len();
        self.uncut = None;
    }

    /// A failed sync: the system forgets that the bytes were never written.
    pub(super) fn drop_unsynced(&mut self) {
        if self.synced < self.bytes.len() {
            self.dropped.push(self.synced..self.bytes.len());
        }
        self.sync();
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length >= self.bytes.len() {
            return;
        }
        if length < self.synced && self.uncut.is_none() {
            let mut durable = Arc::clone(&self.bytes);
            if self.synced < durable.len() {
                Arc::make_mut(&mut durable).truncate(self.synced);
            }
            self.uncut = Some(durable);
        }
        Arc::make_mut(&mut self.bytes).truncate(length);
        self.synced = self.synced.min(length);
        self.dropped.retain_mut(|range| {
            range.end = range.end.min(length);
            range.start < range.end
        });
    }

    /// What a power loss leaves.
    pub(super) fn crash(&self, seed: &mut Seed) -> Self {
        let mut bytes = match &self.uncut {
            Some(uncut) if seed.below(2) == 0 => Arc::clone(uncut),
            _ => self.tear(seed),
        };
        for range in self.dropped.iter().rev() {
            let end = range.end.min(bytes.len());
            if range.start >= end {
                continue;
            }
            // The new length may have reached the disk although the bytes did not.
            match end == bytes.len() && seed.below(2) == 0 {
                true => Arc::make_mut(&mut bytes).truncate(range.start),
                false => Arc::make_mut(&mut bytes)[range.start..end].fill(0),
            }
        }
        Self { synced: bytes.len(), bytes, ..Self::default() }
    }

    /// Whether [`Self::crash`] left something else than a process saw.
    pub(super) fn differs(&self, left: &Self) -> bool {
        !Arc::ptr_eq(&self.bytes, &left.bytes) && self.bytes != left.bytes
    }

    fn tear(&self, seed: &mut Seed) -> Arc<Vec<u8>> {
        let unsynced = self.bytes.len() - self.synced;
        let mut bytes = Arc::clone(&self.bytes);
        if unsynced == 0 {
            return bytes;
        }
        match seed.below(8) {
            0 => {}
            1 => Arc::make_mut(&mut bytes).truncate(self.synced),
            2 | 3 => Arc::make_mut(&mut bytes).truncate(self.synced + seed.below(unsynced)),
            kind => {
                let torn = Arc::make_mut(&mut bytes);
                torn.truncate(self.synced + seed.below(unsynced + 1));
                let stale = Arc::clone(&self.bytes);
                for (n, sector) in torn.chunks_mut(SECTOR_BYTES).enumerate() {
                    let from = self.synced.saturating_sub(n * SECTOR_BYTES);
                    if from < sector.len() && seed.below(2) == 0 {
                        match kind {
                            4 | 5 => sector[from..].fill(0),
                            6 => garble(&mut sector[from..], seed),
                            _ => stale_copy(&mut sector[from..], &stale, seed),
                        }
                    }
                }
            }
        }
        bytes
    }
}

/// What happened to lie on the device.
fn garble(bytes: &mut [u8], seed: &mut Seed) {
    for eight in bytes.chunks_mut(8) {
        let drawn = seed.next().to_le_bytes();
        eight.copy_from_slice(&drawn[..eight.len()]);
    }
}

/// An older version of the sector: what is written elsewhere in the same file.
fn stale_copy(bytes: &mut [u8], file: &[u8], seed: &mut Seed) {
    let from = seed.below(file.len().saturating_sub(bytes.len()) + 1);
    if let Some(stale) = file.get(from..from + bytes.len()) {
        bytes.copy_from_slice(stale);
    }
}
