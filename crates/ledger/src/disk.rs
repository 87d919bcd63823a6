//! The seam to storage: named byte files that only grow at their end.
//!
//! House rule: a seam has four methods. The four that move bytes are here ([`Disk::append`],
//! [`Disk::sync`], [`Disk::read`], [`Disk::truncate`]); three more move names, because a
//! segmented log and an atomic snapshot cannot be told without them: [`Disk::list`] finds the
//! segments and snapshots after a restart, [`Disk::rename`] gives a finished snapshot its name in
//! one step (so that an interrupted save is told from a damaged one), [`Disk::remove`] drops what
//! is no longer needed. Nothing is ever overwritten in place.

use std::io;

/// A folder of append-only files.
///
/// # The contract
///
/// - A clone is another handle of the same folder. Reads may run beside an append to the same
///   file and see its bytes from the moment the append returns; one thread at a time appends to a
///   file, truncates, renames or removes it.
/// - Only what was in a file when [`Self::sync`] returned survives a power loss. Later bytes may
///   be lost, kept, or torn: some of their sectors there and others zero, in any combination.
/// - Creating, renaming and removing are durable, in order, from the next `sync` of any file on.
/// - After a failed `sync` nothing is known about the file's bytes, and a second one may succeed
///   although they are lost. It is never tried again: the process ends.
/// - A failed `append` may have written a part.
pub trait Disk: Clone + Send + Sync + 'static {
    /// Writes at the end of a file, creating it if there is none.
    ///
    /// # Errors
    /// [`DiskError::Full`], [`DiskError::ReadOnly`], [`DiskError::Io`].
    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes the file, and all changes of names so far, durable.
    ///
    /// # Errors
    /// [`DiskError`]; none may be tried again.
    fn sync(&self, file: &str) -> Result<(), DiskError>;

    /// Reads from `offset` until `out` is full or the file ends; tells how many bytes were read.
    ///
    /// # Errors
    /// [`DiskError::Missing`], [`DiskError::Io`].
    fn read(&self, file: &str, offset: u64, out: &mut [u8]) -> Result<usize, DiskError>;

    /// Cuts a file to `length` bytes; a shorter one stays as it is.
    ///
    /// # Errors
    /// [`DiskError`].
    fn truncate(&self, file: &str, length: u64) -> Result<(), DiskError>;

    /// All files with their lengths in bytes, by name.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError>;

    /// Gives a file another name, atomically, replacing what had that name.
    ///
    /// # Errors
    /// [`DiskError`].
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`DiskError`].
    fn remove(&self, file: &str) -> Result<(), DiskError>;
}

/// Why storage did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No room is left, or a quota is used up.
    #[error("no space left on the device, writing {file}")]
    Full {
        /// The file concerned.
        file: String,
    },
    /// The file system is mounted read-only, or the file may not be written.
    #[error("the file system is read-only, writing {file}")]
    ReadOnly {
        /// The file concerned.
        file: String,
    },
    /// There is no such file.
    #[error("{file} does not exist")]
    Missing {
        /// The file concerned.
        file: String,
    },
    /// Anything else that the operating system reports.
    #[error("{operation} of {file} failed: {source}")]
    Io {
        /// What was being done: `append`, `sync`, `read`, ...
        operation: &'static str,
        /// The file concerned.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DiskError {
    /// The stable word for this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "disk-full",
            Self::ReadOnly { .. } => "read-only",
            Self::Missing { .. } => "file-missing",
            Self::Io { .. } => "disk-failed",
        }
    }

    /// Names an operating system's error.
    #[must_use]
    pub fn from_io(operation: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { file },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { file },
            io::ErrorKind::NotFound => Self::Missing { file },
            _ => Self::Io { operation, file, source },
        }
    }
}

/// Reads exactly `N` bytes at `offset`, or `None` where the file is shorter.
pub(crate) fn read_array<const N: usize>(
    disk: &impl Disk,
    file: &str,
    offset: u64,
) -> Result<Option<[u8; N]>, DiskError> {
    let mut bytes = [0; N];
    let read = disk.read(file, offset, &mut bytes)?;
    Ok((read == N).then_some(bytes))
}

/// Reads exactly `length` bytes at `offset`, or `None` where the file is shorter.
pub(crate) fn read_exactly<D: Disk>(
    disk: &D,
    file: &str,
    offset: u64,
    length: usize,
) -> Result<Option<Vec<u8>>, DiskError> {
    let mut bytes = vec![0; length];
    let read = disk.read(file, offset, &mut bytes)?;
    Ok((read == length).then_some(bytes))
}

/// Cuts a file; to cut one that does not exist to nothing is no error.
pub(crate) fn cut<D: Disk>(disk: &D, file: &str, length: u64) -> Result<(), DiskError> {
    match disk.truncate(file, length) {
        Err(DiskError::Missing { .. }) if length == 0 => Ok(()),
        done => done,
    }
}

/// Puts a file of these bytes in the place of another, atomically and durably: a crash leaves the
/// one or the other. It is written under the name `copy` first; `failed` says what an fsync that
/// failed comes to.
pub(crate) fn replace<D: Disk, E: From<DiskError>>(
    disk: &D,
    copy: &str,
    file: &str,
    bytes: &[u8],
    failed: impl Fn(DiskError) -> E,
) -> Result<(), E> {
    cut(disk, copy, 0)?;
    disk.append(copy, bytes)?;
    disk.sync(copy).map_err(&failed)?;
    disk.rename(copy, file)?;
    disk.sync(file).map_err(failed)
}
