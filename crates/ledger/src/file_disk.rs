//! Storage in a real folder.

use crate::disk::{Disk, DiskError};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

/// A folder of the file system.
///
/// Files are opened with `O_APPEND` and mode 0600 and stay open; their number is small and bounded
/// by the ledger. [`Disk::sync`] is `fdatasync`, plus an `fsync` of the folder when a name in it
/// has changed since the last one.
#[derive(Clone, Debug)]
pub struct FileDisk(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    writers: RwLock<BTreeMap<String, Arc<File>>>,
    readers: RwLock<BTreeMap<String, Arc<File>>>,
    /// Whether names changed since the folder was last synced. Held while it is: whoever syncs
    /// meanwhile must not return before the folder is durable.
    names_changed: Mutex<bool>,
}

impl FileDisk {
    /// Opens a folder, and creates it (mode 0700) with its parents where it does not exist.
    ///
    /// # Errors
    /// [`DiskError`] when it cannot be created or opened.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        let name = path.display().to_string();
        if !path.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| DiskError::from_io("create", &name, error))?;
            sync_parents(&path).map_err(|error| DiskError::from_io("sync", &name, error))?;
        }
        Ok(Self(Arc::new(Folder {
            path,
            writers: RwLock::default(),
            readers: RwLock::default(),
            // What an earlier process left unsynced is made durable by the first sync.
            names_changed: Mutex::new(true),
        })))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// A new folder is durable once its parent is; a parent that may not be opened is left alone.
fn sync_parents(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()).map(File::open) {
        Some(Ok(parent)) => parent.sync_all(),
        _ => Ok(()),
    }
}

impl Folder {
    fn writer(&self, file: &str, create: bool) -> Result<Arc<File>, DiskError> {
        if let Some(open) = self.writers.read().unwrap_or_else(PoisonError::into_inner).get(file) {
            return Ok(Arc::clone(open));
        }
        let path = self.path.join(file);
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600);
        let open = match options.open(&path) {
            Err(error) if create && error.kind() == std::io::ErrorKind::NotFound => {
                let made = options.create_new(true).open(&path);
                self.change_names();
                made
            }
            opened => opened,
        };
        let open = Arc::new(open.map_err(|error| DiskError::from_io("open", file, error))?);
        self.writers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(file.to_owned(), Arc::clone(&open));
        Ok(open)
    }

    /// Reading needs no permission to write: a read-only file system can still be read.
    fn reader(&self, file: &str) -> Result<Arc<File>, DiskError> {
        if let Some(open) = self.readers.read().unwrap_or_else(PoisonError::into_inner).get(file) {
            return Ok(Arc::clone(open));
        }
        let open = File::open(self.path.join(file))
            .map_err(|error| DiskError::from_io("open", file, error))?;
        let open = Arc::new(open);
        self.readers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(file.to_owned(), Arc::clone(&open));
        Ok(open)
    }

    fn close(&self, file: &str) {
        self.writers.write().unwrap_or_else(PoisonError::into_inner).remove(file);
        self.readers.write().unwrap_or_else(PoisonError::into_inner).remove(file);
    }

    fn change_names(&self) {
        *self.names_changed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Disk for FileDisk {
    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let open = self.0.writer(file, true)?;
        (&*open).write_all(bytes).map_err(|error| DiskError::from_io("append", file, error))
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        let failed = |error| DiskError::from_io("sync", file, error);
        self.0.writer(file, false)?.sync_data().map_err(failed)?;
        let mut changed = self.0.names_changed.lock().unwrap_or_else(PoisonError::into_inner);
        if *changed {
            File::open(&self.0.path).and_then(|folder| folder.sync_all()).map_err(failed)?;
            *changed = false;
        }
        Ok(())
    }

    fn read(&self, file: &str, offset: u64, out: &mut [u8]) -> Result<usize, DiskError> {
        let open = self.0.reader(file)?;
        let mut read = 0;
        while read < out.len() {
            match open.read_at(&mut out[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::from_io("read", file, error)),
            }
        }
        Ok(read)
    }

    fn truncate(&self, file: &str, length: u64) -> Result<(), DiskError> {
        let failed = |error| DiskError::from_io("truncate", file, error);
        let open = self.0.writer(file, false)?;
        if open.metadata().map_err(failed)?.len() > length {
            open.set_len(length).map_err(failed)?;
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let name = self.0.path.display().to_string();
        let failed = |error| DiskError::from_io("list", &name, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let about = entry.metadata().map_err(failed)?;
            // A name that is not UTF-8 is none of the ledger's.
            if let (true, Ok(file)) = (about.is_file(), entry.file_name().into_string()) {
                files.push((file, about.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.0.path.join(from), self.0.path.join(to))
            .map_err(|error| DiskError::from_io("rename", from, error))?;
        self.0.close(from);
        self.0.close(to);
        self.0.change_names();
        Ok(())
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        fs::remove_file(self.0.path.join(file))
            .map_err(|error| DiskError::from_io("remove", file, error))?;
        self.0.close(file);
        self.0.change_names();
        Ok(())
    }
}
