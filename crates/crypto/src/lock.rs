//! The lock that keeps one key from being used by two processes.
//!
//! It is named after the key, not after a folder, so that a *copy* of a replica's folder started
//! beside the original is refused. It consists of several advisory locks (`flock`), because two
//! processes of one host may be started with different environments: one on the key's own file,
//! which also meets a second start from the same folder in another container, and one on
//! `quorate-<key hash>.lock` in each of `$XDG_RUNTIME_DIR`, the temporary folder and `/tmp`. The
//! kernel releases them when the process ends, however it ends.
//!
//! It does not reach across hosts: a copy started elsewhere is caught by its peers, if at all.

use crate::KeyError;
use quorate_types::PublicKey;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// How often a lock file is opened again when its holder removes it meanwhile.
const TRIES: usize = 16;

/// `O_NOFOLLOW`: in a folder that all may write to, a link could lead anywhere.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Held while a process uses a replica's keys; released when dropped, and when the process ends.
#[derive(Debug)]
pub struct KeyLock {
    _key_file: File,
    named: Vec<(PathBuf, File)>,
}

impl KeyLock {
    /// Takes the locks for a key, of which `key_file` is the open file at `key_path`.
    ///
    /// # Errors
    /// [`KeyError::InUse`] when any of them is held elsewhere; [`KeyError::Lock`] when no named
    /// lock can be made in any of the folders.
    pub fn take(key: &PublicKey, key_file: File, key_path: &Path) -> Result<Self, KeyError> {
        Self::take_in(&lock_folders(), key, key_file, key_path)
    }

    fn take_in(
        folders: &[PathBuf],
        key: &PublicKey,
        key_file: File,
        key_path: &Path,
    ) -> Result<Self, KeyError> {
        match flock(&key_file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(KeyError::InUse { key: *key, path: key_path.to_owned() });
            }
            // Some network file systems have no locks; the named ones below then stand alone.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => {}
            Err(error) => {
                return Err(KeyError::Lock { path: key_path.to_owned(), source: error.into() });
            }
        }
        let mut lock = Self { _key_file: key_file, named: Vec::new() };
        let name = lock_name(key);
        let mut failure = None;
        for folder in folders {
            let path = folder.join(&name);
            match exclusive(&path) {
                Ok(Some(file)) => lock.named.push((path, file)),
                Ok(None) => return Err(KeyError::InUse { key: *key, path }),
                // A lock file that this user may not open belongs to another user, who runs, or
                // ran, with the same key: not to be passed over.
                Err(source) if path.symlink_metadata().is_ok() => {
                    return Err(KeyError::Lock { path, source });
                }
                Err(source) => failure = Some((path, source)),
            }
        }
        match failure {
            Some((path, source)) if lock.named.is_empty() => Err(KeyError::Lock { path, source }),
            _ => Ok(lock),
        }
    }

    /// The lock files held.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.named.iter().map(|(path, _)| path.as_path())
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        for (path, _file) in &self.named {
            // Removed while still locked: whoever opened it before sees that it is gone.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `quorate-` and the first 16 bytes of a hash of the key, in hex.
fn lock_name(key: &PublicKey) -> String {
    let mut hash = Sha256::new();
    hash.update(b"quorate-key-lock/1");
    hash.update(key.0);
    let mut name = String::from("quorate-");
    for byte in hash.finalize().iter().take(16) {
        name.push_str(&format!("{byte:02x}"));
    }
    name + ".lock"
}

/// The folders that processes of this host are likely to share, each once.
fn lock_folders() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    let candidates =
        [runtime.map(PathBuf::from), Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
    let mut folders: Vec<PathBuf> = Vec::new();
    for candidate in candidates.into_iter().flatten() {
        // One folder under two names would make the process meet its own lock.
        let folder = candidate.canonicalize().unwrap_or(candidate);
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// The locked file, or `None` when another holds it.
fn exclusive(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..TRIES {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_FOLLOW)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The previous holder may have removed the file between our opening and locking it; a
        // lock on a file without a name excludes nobody.
        let ours = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                return Ok(Some(file));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([7; 32]);

    fn key_file(folder: &Path, name: &str) -> (File, PathBuf) {
        let path = folder.join(name);
        std::fs::write(&path, b"key").unwrap();
        (File::open(&path).unwrap(), path)
    }

    fn take(folders: &[&Path], home: &Path, name: &str) -> Result<KeyLock, KeyError> {
        let folders: Vec<PathBuf> = folders.iter().map(|&folder| folder.to_owned()).collect();
        let (file, path) = key_file(home, name);
        KeyLock::take_in(&folders, &KEY, file, &path)
    }

    #[test]
    fn a_copy_of_the_key_in_another_folder_meets_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock = take(&[folder.path()], folder.path(), "a").unwrap();
        let refused = take(&[folder.path()], folder.path(), "b").unwrap_err();
        assert_eq!(refused.code(), "key-in-use");
        drop(lock);
        take(&[folder.path()], folder.path(), "b").unwrap();
    }

    #[test]
    fn one_shared_folder_of_several_is_enough_to_meet_the_lock() {
        let (shared, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _lock = take(&[shared.path()], shared.path(), "a").unwrap();
        let refused = take(&[other.path(), shared.path()], other.path(), "b").unwrap_err();
        assert_eq!(refused.code(), "key-in-use");
    }

    #[test]
    fn the_key_file_itself_is_locked_when_no_folder_is_shared() {
        let (home, one, two) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        let _lock = take(&[one.path()], home.path(), "a").unwrap();
        let refused = take(&[two.path()], home.path(), "a").unwrap_err();
        assert_eq!(refused.code(), "key-in-use");
    }

    #[test]
    fn a_folder_that_is_not_there_is_passed_over_but_not_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        let lock = take(&[&absent, folder.path()], folder.path(), "a").unwrap();
        assert_eq!(lock.paths().count(), 1);
        assert_eq!(take(&[&absent], folder.path(), "b").unwrap_err().code(), "key-lock");
    }

    #[test]
    fn a_lock_file_left_behind_does_not_lock_and_none_is_left_after_use() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join(lock_name(&KEY));
        std::fs::write(&named, b"").unwrap();
        drop(take(&[folder.path()], folder.path(), "a").unwrap());
        assert!(!named.exists());
    }

    #[test]
    fn the_lock_is_named_after_the_key() {
        assert_eq!(lock_name(&KEY).len(), "quorate-.lock".len() + 32);
        assert_ne!(lock_name(&KEY), lock_name(&PublicKey([8; 32])));
    }
}
