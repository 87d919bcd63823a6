//! The data folder of a replica: `wal/`, `log/` and `snapshots/`, each a [`FileDisk`]; and `copy/`,
//! where the copy of the service is saved.

use crate::config::Config;
use quorate_ledger::{Disk, DiskError, FileDisk, Wal, WalError};
use std::path::Path;

/// The three folders.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    /// The write-ahead log.
    pub(crate) wal: FileDisk,
    /// The log of entries, exchanges and certificates.
    pub(crate) log: FileDisk,
    /// Snapshots.
    pub(crate) snapshots: FileDisk,
}

impl DataFolder {
    /// Makes the folder of a replica that never voted, with its empty vote log. For `init` alone.
    ///
    /// # Errors
    /// [`WalError`], [`WalError::Exists`] among them.
    pub(crate) fn create(config: &Config) -> Result<(), WalError> {
        let folder = Self::at(&config.data())?;
        Wal::create(folder.wal, config.owner()).map(drop)
    }

    /// Opens the folder, and shows that it can be written to now rather than at the first vote.
    ///
    /// # Errors
    /// [`DiskError`]: full, read-only, or worse.
    pub(crate) fn open(config: &Config) -> Result<Self, DiskError> {
        let folder = Self::at(&config.data())?;
        for disk in [&folder.wal, &folder.log, &folder.snapshots] {
            probe(disk)?;
        }
        Ok(folder)
    }

    /// Where snapshots of the copy of the service lie.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(crate) fn of_copy(path: &Path) -> Result<FileDisk, DiskError> {
        FileDisk::open(path.join("copy"))
    }

    fn at(path: &Path) -> Result<Self, DiskError> {
        let (log, snapshots) = Self::without_votes(path)?;
        Ok(Self { wal: FileDisk::open(path.join("wal"))?, log, snapshots })
    }

    /// The log's and the snapshots' folders alone: a replica that finds no others lost its disk.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(crate) fn without_votes(path: &Path) -> Result<(FileDisk, FileDisk), DiskError> {
        Ok((FileDisk::open(path.join("log"))?, FileDisk::open(path.join("snapshots"))?))
    }
}

fn probe(disk: &FileDisk) -> Result<(), DiskError> {
    const NAME: &str = "probe";
    // A file system without room refuses a page, if not a byte.
    let written = disk.append(NAME, &[0; 4096]).and_then(|()| disk.sync(NAME));
    match disk.remove(NAME) {
        Ok(()) | Err(DiskError::Missing { .. }) => written,
        Err(error) => written.and(Err(error)),
    }
}
