//! Counts what a process does, one by one, and says when it is to die.

use quorate_ledger::MemoryDisk;
use std::collections::BTreeMap;

/// What a process was at when it could have died: an effect, by its kind, or its start.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// Reading the disk at start, and mending what a crash left.
    Start,
    /// A group of records, before its fsync and after it.
    Persist,
    /// A record that the next group takes along.
    Note,
    /// Entries.
    Append,
    /// A certificate.
    Certify,
    /// Saving a snapshot.
    Snapshot,
    /// Dropping old records.
    Forget,
    /// Cutting the log.
    Truncate,
    /// A message, to one receiver after the other.
    Send,
    /// An answer to a client.
    Reply,
    /// The end of a return after a lost disk.
    Rejoined,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::Persist,
        Self::Note,
        Self::Append,
        Self::Certify,
        Self::Snapshot,
        Self::Forget,
        Self::Truncate,
        Self::Send,
        Self::Reply,
        Self::Rejoined,
    ];

    /// How people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Persist => "persist",
            Self::Note => "note",
            Self::Append => "append",
            Self::Certify => "certify",
            Self::Snapshot => "snapshot",
            Self::Forget => "forget",
            Self::Truncate => "truncate",
            Self::Send => "send",
            Self::Reply => "reply",
            Self::Rejoined => "rejoined",
        }
    }
}

/// Counts places: each operation that writes to the disk, each message to each receiver, each
/// answer. It goes with the replica from life to life.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Watch {
    /// How many places were passed.
    pub passed: u64,
    /// After how many the process dies; `None` to count only.
    pub limit: Option<u64>,
    /// How many were passed, by kind.
    pub places: BTreeMap<Place, u64>,
    /// Where the process died.
    pub died: Option<Place>,
}

impl Watch {
    /// One that has its process die after so many places.
    #[must_use]
    pub fn until(limit: Option<u64>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The places that are left.
    fn left(&self) -> u64 {
        match (self.died, self.limit) {
            (None, Some(limit)) => limit.saturating_sub(self.passed),
            _ => u64::MAX,
        }
    }

    /// Passes so many places at once; tells how many are passed, and whether the process dies.
    pub(crate) fn pass(&mut self, place: Place, count: u64) -> (u64, bool) {
        let (passed, left) = (count.min(self.left()), self.left());
        self.passed += passed;
        *self.places.entry(place).or_default() += passed;
        if left == u64::MAX || passed < left {
            return (passed, false);
        }
        self.died = Some(place);
        (passed, true)
    }

    /// Operations of the disk begin. Gives what [`Self::end`] wants to know.
    pub(crate) fn begin(&mut self, disk: &MemoryDisk) -> u64 {
        if self.left() < u64::MAX {
            disk.stop_after(self.left());
        }
        disk.counts().writes
    }

    /// They ended; tells whether the process died in the midst of them, or right after.
    pub(crate) fn end(&mut self, place: Place, disk: &MemoryDisk, before: u64) -> bool {
        self.pass(place, disk.counts().writes.saturating_sub(before)).1
    }
}
