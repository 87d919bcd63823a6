//! `quorate snapshot`: a backup of what a quorum certified.
//!
//! | file | holds |
//! |---|---|
//! | this | arguments, and the copy |
//! | [`manifest`] | what lies in a backup, file by file, with hashes |
//!
//! ```text
//! BACKUP/log/           the log up to a certified head, and its certificates
//! BACKUP/snapshots/     the newest snapshot, if there is one
//! BACKUP/policy.txt     the policy of the cluster
//! BACKUP/manifest.json  whose it is, and every file with its SHA-256; written last
//! ```
//!
//! `log` and `snapshots` have the form of a data folder, so `quorate audit` reads a backup.

pub(super) mod manifest;

use super::{audit, block_on};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use manifest::{FORMAT, Manifest, file_names};
use quorate_ledger::FileDisk;
use quorate_node::{
    Config,
    backup::{self, BackupError, Folders},
};
use serde::Serialize;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often a copy of a folder that changes meanwhile is tried.
const TRIES: u32 = 3;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate snapshot --config cluster/r3/quorate.toml backup-r3\n  \
    quorate audit --policy policy.txt backup-r3\n  \
    quorate restore --config cluster/r3/quorate.toml backup-r3\n\n\
    Copies the log up to its newest certified head, its certificates, the newest snapshot and the\n\
    policy; no keys, no votes. The replica may run. The backup is then audited, with all requests\n\
    executed again, before it gets its name.")]
pub(crate) struct Snapshot {
    /// The replica's quorate.toml
    #[arg(long)]
    config: PathBuf,
    /// Do not execute everything again: check the form and the newest head only
    #[arg(long)]
    no_audit: bool,
    /// The folder to make; it must not be there
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
}

/// What was backed up.
#[derive(Serialize)]
struct Told<'a> {
    backup: &'a Path,
    #[serde(flatten)]
    manifest: &'a Manifest,
    audited: bool,
}

impl Snapshot {
    /// Makes it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let config =
            Config::load(&self.config).map_err(|error| Failure::config(&self.config, &error))?;
        let unfinished = self.unfinished()?;
        let made = self.make(&config, &unfinished, console);
        if made.is_err() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        let manifest = made?;
        if console.is_json() {
            let audited = !self.no_audit;
            console.json(&Told { backup: &self.backup, manifest: &manifest, audited });
        } else {
            let audited = if self.no_audit { "not audited" } else { "audited" };
            console.line(format_args!("backed up: {manifest}; {audited}"));
        }
        Ok(Exit::Done)
    }

    /// The new folder, beside the place where it is to be.
    fn unfinished(&self) -> Result<PathBuf, Failure> {
        let exists = || {
            let message = format!("{} is there already", self.backup.display());
            Failure::usage("backup-exists", message).hint("a backup is never overwritten")
        };
        if self.backup.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let Some(name) = self.backup.file_name() else { return Err(exists()) };
        let mut name = name.to_owned();
        name.push(".unfinished");
        let unfinished = self.backup.with_file_name(name);
        // Requests and answers are nobody else's business.
        let made = fs::DirBuilder::new().mode(0o700).create(&unfinished);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(
                "backup-exists",
                format_args!(
                    "{} is there: a backup under way, or broken off",
                    unfinished.display()
                ),
            )
            .hint("remove it unless another one runs"),
            _ => Failure::file(&unfinished, &error),
        })?;
        Ok(unfinished)
    }

    fn make(&self, config: &Config, dir: &Path, console: &Console) -> Result<Manifest, Failure> {
        let copied = copy(config, dir)?;
        write_policy(&dir.join("policy.txt"), config.policy().text())?;
        let (head, record) = (copied.certificate.head, copied.certificate.record);
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            origin: config.policy().origin_text().to_owned(),
            replica: config.me().0,
            service: config.file().service.clone(),
            size: head.size,
            root: quorate_proof::digest_value(&head.root),
            slot: record.slot.0,
            time: record.time.0,
            snapshot: copied.snapshot.map(|slot| slot.0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            files: file_names(dir)?,
        };
        if !self.no_audit {
            let service = Some(config.file().service.as_str());
            block_on(audit::of_folder(dir, config.policy(), service, console))??;
        }
        manifest.write(dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::rename(dir, &self.backup)
            .and_then(|()| fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all())
            .map_err(|error| Failure::file(&self.backup, &error))?;
        Ok(manifest)
    }
}

fn write_policy(path: &Path, text: &str) -> Result<(), Failure> {
    fs::File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure::file(path, &error))
}

/// Copies what is certified; once more where the folder was changed under the copy in a way that
/// looks like damage: a running replica replaces its mark, and drops old snapshots.
fn copy(config: &Config, dir: &Path) -> Result<backup::Copied, Failure> {
    let mut tries = 1;
    loop {
        match copy_once(config, dir) {
            Err(error) if error.is_damage() && tries < TRIES => {
                tries += 1;
                for part in ["log", "snapshots"] {
                    let part = dir.join(part);
                    fs::remove_dir_all(&part).map_err(|error| Failure::file(&part, &error))?;
                }
                thread::sleep(Duration::from_millis(300));
            }
            copied => return copied.map_err(|error| failure(&error)),
        }
    }
}

fn copy_once(config: &Config, dir: &Path) -> Result<backup::Copied, BackupError> {
    let to = Folders {
        log: FileDisk::open(dir.join("log"))?,
        snapshots: FileDisk::open(dir.join("snapshots"))?,
        owner: config.owner(),
    };
    backup::copy(&audit::read_only(&config.data(), config.owner())?, &to, config.policy())
}

/// Damage is exit 3, everything else exit 1 or 2.
pub(super) fn failure(error: &BackupError) -> Failure {
    match error {
        BackupError::Exists(_) => Failure::usage(error.code(), error),
        _ if error.is_damage() => Failure::not_verified(error.code(), error),
        _ => Failure::failed(error.code(), error),
    }
}
