//! A folder that can be opened like any other, and of which no byte is ever changed.
//!
//! Opening a log cuts torn tails and makes derived files again. An audit must do that to nobody's
//! disk, least of all to that of a replica that runs: here the files keep the length that they had
//! when they were first seen, and whatever is written is kept in memory.

use quorate_ledger::{Disk, DiskError, FileDisk};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// A folder below, and what was written over it.
#[derive(Clone, Debug)]
pub(in crate::command) struct Overlay {
    below: FileDisk,
    files: Arc<Mutex<BTreeMap<String, File>>>,
}

/// The first bytes of a file below, and what follows them.
#[derive(Clone, Debug, Default)]
struct File {
    /// Its name below.
    name: String,
    kept: u64,
    tail: Vec<u8>,
}

impl Overlay {
    /// Over a folder, with the files as long as they are now.
    pub(super) fn over(below: FileDisk) -> Result<Self, DiskError> {
        let files = below
            .list()?
            .into_iter()
            .map(|(name, kept)| (name.clone(), File { name, kept, tail: Vec::new() }))
            .collect();
        Ok(Self { below, files: Arc::new(Mutex::new(files)) })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, File>) -> T) -> T {
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn missing(operation: &'static str, file: &str) -> DiskError {
    DiskError::from_io(operation, file, io::ErrorKind::NotFound.into())
}

impl Disk for Overlay {
    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.with(|files| {
            files.entry(file.to_owned()).or_default().tail.extend_from_slice(bytes);
        });
        Ok(())
    }

    fn sync(&self, _file: &str) -> Result<(), DiskError> {
        Ok(())
    }

    fn read(&self, file: &str, offset: u64, out: &mut [u8]) -> Result<usize, DiskError> {
        let (name, kept, from_tail) = self
            .with(|files| {
                let File { name, kept, tail } = files.get(file)?;
                let skipped = usize::try_from(offset.saturating_sub(*kept)).ok()?;
                let end =
                    usize::try_from((offset + out.len() as u64).saturating_sub(*kept)).ok()?;
                let part = tail.get(skipped.min(tail.len())..end.min(tail.len()));
                Some((name.clone(), *kept, part.unwrap_or_default().to_vec()))
            })
            .ok_or_else(|| missing("read", file))?;
        let below = usize::try_from(kept.saturating_sub(offset)).unwrap_or(usize::MAX);
        let below = below.min(out.len());
        let mut read = 0;
        if let Some(part) = out.get_mut(..below).filter(|part| !part.is_empty()) {
            read = self.below.read(&name, offset, part)?;
            if read < below {
                return Ok(read);
            }
        }
        let rest = out.get_mut(read..).unwrap_or_default();
        let length = rest.len().min(from_tail.len());
        for (to, from) in rest.iter_mut().zip(&from_tail) {
            *to = *from;
        }
        Ok(read + length)
    }

    fn truncate(&self, file: &str, length: u64) -> Result<(), DiskError> {
        self.with(|files| {
            let file = files.get_mut(file).ok_or_else(|| missing("truncate", file))?;
            let tail = usize::try_from(length.saturating_sub(file.kept)).unwrap_or(usize::MAX);
            file.tail.truncate(tail);
            file.kept = file.kept.min(length);
            Ok(())
        })
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        Ok(self.with(|files| {
            let length = |file: &File| file.kept + file.tail.len() as u64;
            files.iter().map(|(name, file)| (name.clone(), length(file))).collect()
        }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.with(|files| {
            let file = files.remove(from).ok_or_else(|| missing("rename", from))?;
            files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        self.with(|files| files.remove(file)).map(drop).ok_or_else(|| missing("remove", file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &Overlay, file: &str) -> Vec<u8> {
        let mut out = vec![0; 64];
        let read = disk.read(file, 0, &mut out).unwrap();
        out.truncate(read);
        out
    }

    #[test]
    fn what_is_written_over_a_folder_is_read_and_never_reaches_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = FileDisk::open(dir.path()).unwrap();
        below.append("a", b"hello").unwrap();
        let disk = Overlay::over(below).unwrap();
        disk.truncate("a", 4).unwrap();
        disk.append("a", b"! and more").unwrap();
        disk.append("b", b"new").unwrap();
        assert_eq!(read(&disk, "a"), b"hell! and more");
        let mut part = [0; 4];
        assert_eq!(disk.read("a", 3, &mut part).unwrap(), 4);
        assert_eq!(&part, b"l! a");
        assert_eq!(disk.read("a", 12, &mut part).unwrap(), 2);
        assert_eq!(disk.read("a", 99, &mut part).unwrap(), 0);
        disk.truncate("a", 5).unwrap();
        disk.rename("a", "c").unwrap();
        assert_eq!(read(&disk, "c"), b"hell!");
        assert_eq!(disk.list().unwrap(), [("b".to_owned(), 3), ("c".to_owned(), 5)]);
        disk.remove("b").unwrap();
        assert!(matches!(disk.remove("b"), Err(DiskError::Missing { .. })));
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"hello");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_grows_below_stays_as_long_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let below = FileDisk::open(dir.path()).unwrap();
        below.append("a", b"one").unwrap();
        let disk = Overlay::over(below.clone()).unwrap();
        below.append("a", b"two").unwrap();
        assert_eq!(read(&disk, "a"), b"one");
    }
}
