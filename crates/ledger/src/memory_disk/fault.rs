//! What may go wrong with a folder in memory, and how often it did.

use std::collections::BTreeMap;

/// What goes wrong, once, with one operation that a process asks for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// A read fails with EIO.
    ReadError,
    /// An append writes a part of its bytes and fails with EIO.
    WriteError,
    /// A sync fails with EIO. The bytes that it should have made durable stay readable, and are
    /// lost at the next crash whatever syncs follow.
    SyncError,
    /// An append is reported done, and its place holds zeros from the beginning.
    LostWrite,
    /// An append is reported done, and readable, and synced; at the next crash it is lost.
    ForgottenWrite,
    /// An append is reported done, and its place holds zeros: its bytes lie over others, elsewhere
    /// in the file or in another one.
    MisdirectedWrite,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ReadError,
        Self::WriteError,
        Self::SyncError,
        Self::LostWrite,
        Self::ForgottenWrite,
        Self::MisdirectedWrite,
    ];

    /// The name under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadError => "disk-read-error",
            Self::WriteError => "disk-write-error",
            Self::SyncError => "fsync-failed",
            Self::LostWrite => "disk-lost-write",
            Self::ForgottenWrite => "disk-forgotten-write",
            Self::MisdirectedWrite => "disk-misdirected",
        }
    }
}

/// How often something really went wrong, by its name: [`Fault::name`], and `disk-full`,
/// `disk-read-only` (operations that were refused), `fsync-ignored`, `disk-rot` (bits), `disk-torn`
/// (crashes that changed bytes that a process had seen).
pub type Struck = BTreeMap<&'static str, u64>;

/// What is to go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) room: Option<u64>,
    pub(super) read_only: bool,
    pub(super) ignores_syncs: bool,
    pub(super) writes_until_stop: Option<u64>,
    /// Of each planned fault, how many operations of its kind succeed before it.
    pub(super) planned: BTreeMap<Fault, u64>,
}

impl Faults {
    /// Counts a fault down; true when it strikes.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        match self.planned.get_mut(&fault) {
            Some(0) => {
                self.planned.remove(&fault);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Which of the faults that an append may meet strikes.
    pub(super) fn strike_append(&mut self) -> Option<Fault> {
        if self.planned.is_empty() {
            return None;
        }
        let met =
            [Fault::WriteError, Fault::LostWrite, Fault::ForgottenWrite, Fault::MisdirectedWrite];
        // Each counts this append, whether or not another strikes first.
        met.into_iter().filter(|&fault| self.strikes(fault)).min()
    }
}
