//! What lies in a backup.
//!
//! The manifest is signed by nobody: it finds what rotted or got lost on the way, at once and file
//! by file. That nobody changed anything on purpose, the audit of log and snapshot shows.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The form of backups that this version writes, and the only one it reads.
pub(in crate::command) const FORMAT: &str = "quorate-backup/1";

/// The manifest's name in the backup.
pub(in crate::command) const NAME: &str = "manifest.json";

/// A manifest is smaller: a backup has some twenty files.
const BYTES_MAX: u64 = 1 << 20;

/// `manifest.json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::command) struct Manifest {
    /// [`FORMAT`].
    pub(in crate::command) format: String,
    /// The origin of the chain.
    pub(in crate::command) origin: String,
    /// Whose data it was.
    pub(in crate::command) replica: u16,
    /// What executes the requests.
    pub(in crate::command) service: String,
    /// How many entries there are, all of them certified.
    pub(in crate::command) size: u64,
    /// The certified root over them.
    pub(in crate::command) root: String,
    /// The slot of the last one.
    pub(in crate::command) slot: u64,
    /// Its agreed time, in Unix milliseconds.
    pub(in crate::command) time: u64,
    /// The slot of the snapshot, if there is one.
    pub(in crate::command) snapshot: Option<u64>,
    /// The version that wrote it.
    pub(in crate::command) version: String,
    /// All other files, by path.
    pub(in crate::command) files: Vec<Listed>,
}

/// One file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::command) struct Listed {
    /// Below the backup, with `/`.
    path: String,
    bytes: u64,
    /// In hexadecimal digits.
    sha256: String,
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        write!(f, "{} entries of {} up to slot {}", self.size, self.origin, self.slot)?;
        match self.snapshot {
            Some(slot) => write!(f, ", the snapshot of slot {slot}")?,
            None => write!(f, ", no snapshot")?,
        }
        write!(f, ", {bytes} bytes")
    }
}

impl Manifest {
    /// Whether a folder is a backup at all.
    pub(in crate::command) fn is_in(dir: &Path) -> bool {
        dir.join(NAME).is_file()
    }

    /// Writes it, durably, as the backup's last file.
    pub(in crate::command) fn write(&self, dir: &Path) -> Result<(), Failure> {
        let path = dir.join(NAME);
        let failed = |error: io::Error| Failure::file(&path, &error);
        let mut text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        text.push('\n');
        fs::write(&path, text).map_err(failed)?;
        for durable in [&path, dir] {
            fs::File::open(durable).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads it, and compares every file of the backup with what it says.
    pub(in crate::command) fn checked(dir: &Path) -> Result<Self, Failure> {
        let manifest = Self::read(dir)?;
        let damaged = |what: String| Failure::not_verified("backup-damaged", what);
        let found = file_names(dir)?;
        for listed in &manifest.files {
            match found.iter().find(|file| file.path == listed.path) {
                Some(file) if file == listed => {}
                Some(file) if file.bytes != listed.bytes => {
                    let (is, was) = (file.bytes, listed.bytes);
                    return Err(damaged(format!("{} has {is} bytes, not {was}", file.path)));
                }
                Some(file) => {
                    return Err(damaged(format!("{} is not what was written", file.path)));
                }
                None => return Err(damaged(format!("{} is missing", listed.path))),
            }
        }
        let strange = found.iter().find(|file| !manifest.files.iter().any(|l| l.path == file.path));
        match strange {
            Some(file) => Err(damaged(format!("{} does not belong to the backup", file.path))),
            None => Ok(manifest),
        }
    }

    fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(NAME);
        let mut text = String::new();
        fs::File::open(&path)
            .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Failure::usage(
                    "backup-format",
                    format_args!("{} is no backup: it holds no {NAME}", dir.display()),
                )
                .hint("`quorate snapshot` makes one"),
                _ => Failure::file(&path, &error),
            })?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            Failure::not_verified("backup-damaged", format!("{NAME} is no JSON: {error}"))
        })?;
        let format = value.get("format").and_then(serde_json::Value::as_str);
        if format != Some(FORMAT) {
            let format = format.unwrap_or("none");
            let message = format!("the backup's format is {format}; this version reads {FORMAT}");
            return Err(Failure::usage("backup-format", message));
        }
        serde_json::from_value(value)
            .map_err(|error| Failure::not_verified("backup-damaged", format!("{NAME}: {error}")))
    }
}

/// All files of a backup but the manifest, by path, with their hashes.
pub(in crate::command) fn file_names(dir: &Path) -> Result<Vec<Listed>, Failure> {
    let mut files = Vec::new();
    collect(dir, "", &mut files)?;
    files.retain(|file| file.path != NAME);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(dir: &Path, below: &str, files: &mut Vec<Listed>) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| Failure::file(path, error);
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, &error))? {
        let entry = entry.map_err(|error| failed(dir, &error))?;
        let path = entry.path();
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(|error| failed(&path, &error))?;
        // The folders of a backup lie directly in it.
        if kind.is_dir() && below.is_empty() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            files.push(hashed(path, name)?);
        } else {
            let message = format!("{name} does not belong to the backup");
            return Err(Failure::not_verified("backup-damaged", message));
        }
    }
    Ok(())
}

fn hashed(at: PathBuf, path: String) -> Result<Listed, Failure> {
    let mut hash = Sha256::new();
    let bytes = fs::File::open(&at)
        .and_then(|mut file| io::copy(&mut file, &mut hash))
        .map_err(|error| Failure::file(&at, &error))?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Listed { path, bytes, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/log-entries"), b"abc").unwrap();
        fs::write(dir.path().join("policy.txt"), b"").unwrap();
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            origin: "shop.example/quorate/5f2c9a17d0e84b63/bft".to_owned(),
            replica: 3,
            service: "kv".to_owned(),
            size: 17,
            root: "root".to_owned(),
            slot: 12,
            time: 1,
            snapshot: None,
            version: "0.1.0".to_owned(),
            files: file_names(dir.path()).unwrap(),
        };
        manifest.write(dir.path()).unwrap();
        (dir, manifest)
    }

    #[test]
    fn a_backup_is_what_its_manifest_says() {
        let (dir, manifest) = backup();
        assert_eq!(Manifest::checked(dir.path()).unwrap(), manifest);
        let listed: Vec<_> = manifest.files.iter().map(|file| &file.path[..]).collect();
        assert_eq!(listed, ["log/log-entries", "policy.txt"]);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((manifest.files[0].bytes, &manifest.files[0].sha256[..]), (3, abc));
    }

    #[test]
    fn whatever_is_changed_is_named() {
        type Change = fn(&Path);
        let changes: [(Change, &str); 7] = [
            (|dir| fs::write(dir.join("log/log-entries"), b"abd").unwrap(), "is not what was"),
            (|dir| fs::write(dir.join("log/log-entries"), b"ab").unwrap(), "has 2 bytes, not 3"),
            (|dir| fs::remove_file(dir.join("log/log-entries")).unwrap(), "is missing"),
            (|dir| fs::write(dir.join("log/more"), b"").unwrap(), "log/more does not belong"),
            (|dir| fs::create_dir_all(dir.join("log/deep")).unwrap(), "log/deep does not belong"),
            (|dir| fs::write(dir.join(NAME), b"{").unwrap(), "no JSON"),
            (
                |dir| {
                    let text = fs::read_to_string(dir.join(NAME)).unwrap();
                    fs::write(dir.join(NAME), text.replace("size", "sice")).unwrap();
                },
                "unknown field",
            ),
        ];
        for (change, expected) in changes {
            let (dir, _) = backup();
            change(dir.path());
            let failure = Manifest::checked(dir.path()).unwrap_err();
            assert_eq!(failure.code, "backup-damaged");
            assert!(failure.message.contains(expected), "{failure:?}");
        }
    }

    #[test]
    fn a_folder_that_is_no_backup_or_one_of_later_days_is_told_apart_from_damage() {
        let (dir, _) = backup();
        let text = fs::read_to_string(dir.path().join(NAME)).unwrap();
        fs::write(dir.path().join(NAME), text.replace(FORMAT, "quorate-backup/9")).unwrap();
        let failure = Manifest::checked(dir.path()).unwrap_err();
        assert_eq!(failure.code, "backup-format");
        assert!(failure.message.contains("quorate-backup/9"), "{failure:?}");
        fs::remove_file(dir.path().join(NAME)).unwrap();
        assert_eq!(Manifest::checked(dir.path()).unwrap_err().code, "backup-format");
        assert!(!Manifest::is_in(dir.path()));
    }
}
