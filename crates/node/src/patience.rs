//! Waits for room on a disk that is full, or for one that is read-only to be writable again.
//!
//! Nothing leaves meanwhile and nothing is lost: every write that is tried again begins by cutting
//! off what the one before left unfinished.

use quorate_ledger::{DiskError, LogError, WalError};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};
use tracing::{info, warn};

/// How long a full disk is left alone before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// An error that may be one of a disk without room.
pub(crate) trait DiskTrouble {
    /// The disk's own error, if that is all there is to it.
    fn of_disk(&self) -> Option<&DiskError>;

    /// The disk's error, if it is full or read-only: what was asked may be asked again.
    fn no_room(&self) -> Option<&DiskError> {
        self.of_disk().filter(|e| matches!(e, DiskError::Full { .. } | DiskError::ReadOnly { .. }))
    }
}

impl DiskTrouble for WalError {
    fn of_disk(&self) -> Option<&DiskError> {
        if let Self::Disk(error) = self { Some(error) } else { None }
    }
}

impl DiskTrouble for LogError {
    fn of_disk(&self) -> Option<&DiskError> {
        if let Self::Disk(error) = self { Some(error) } else { None }
    }
}

/// Tries again for as long as the disk is only full or read-only. `stuck` is 1 meanwhile.
pub(crate) fn patiently<E: DiskTrouble>(
    stuck: &AtomicU64,
    mut write: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let done = write();
        let Some(full) = done.as_ref().err().and_then(DiskTrouble::no_room) else {
            if stuck.swap(0, Relaxed) == 1 && done.is_ok() {
                info!("the disk takes writes again");
            }
            return done;
        };
        if stuck.swap(1, Relaxed) == 0 {
            warn!(error = %full, code = full.code(), "nothing can be written; waiting");
        }
        thread::sleep(PAUSE);
    }
}
