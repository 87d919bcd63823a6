//! Why a process cannot go on, as production tells it.

use quorate_ledger::{DiskError, LogError, SnapshotError, WalError};

/// Why a process ended by itself, or did not start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Halt {
    /// The stable word for it.
    pub code: &'static str,
    /// The sentence.
    pub reason: String,
}

impl Halt {
    pub(crate) fn new(code: &'static str, reason: impl ToString) -> Self {
        Self { code, reason: reason.to_string() }
    }

    /// Whether it is the disk's doing, as far as its errors say: what it holds is not said to be
    /// wrong.
    #[must_use]
    pub fn is_of_disk(&self) -> bool {
        ["fsync-failed", "disk-failed", "disk-full", "read-only"].contains(&self.code)
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

/// Why an operation was not carried out.
pub(crate) enum Trouble {
    /// There is no room. It may be tried again.
    NoRoom,
    /// The process has to end.
    Fatal(Halt),
    /// The process was watched, and dies here.
    Dies,
}

impl Trouble {
    fn of(code: &'static str, error: &impl ToString, disk: Option<&DiskError>) -> Self {
        match disk {
            Some(DiskError::Full { .. } | DiskError::ReadOnly { .. }) => Self::NoRoom,
            _ => Self::Fatal(Halt::new(code, error.to_string())),
        }
    }

    /// Where nothing is tried again, having no room is the end too.
    pub(crate) fn at_once(self, error: Halt) -> Self {
        match self {
            Self::NoRoom => Self::Fatal(error),
            other => other,
        }
    }
}

impl From<WalError> for Trouble {
    fn from(error: WalError) -> Self {
        let disk = if let WalError::Disk(disk) = &error { Some(disk) } else { None };
        Self::of(error.code(), &error, disk)
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        let disk = if let LogError::Disk(disk) = &error { Some(disk) } else { None };
        Self::of(error.code(), &error, disk)
    }
}

impl From<SnapshotError> for Trouble {
    fn from(error: SnapshotError) -> Self {
        match error.is_fatal() {
            true => Self::Fatal(Halt::new(error.code(), error)),
            false => Self::NoRoom,
        }
    }
}
