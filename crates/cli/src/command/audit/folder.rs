//! A replica's data folder, as an audit reads it.

use super::{
    Finding, Stop,
    overlay::Overlay,
    source::{Exchanges, SlotProof},
};
use crate::failure::Failure;
use quorate_ledger::{
    Disk as _, FileDisk, Log, LogError, LogReader, Owner, SnapshotError, Snapshots, TileKind,
};
use quorate_proof::{Policy, Strict, Witnessed, verify_stable};
use quorate_replica::Snapshot;
use quorate_types::{Head, Index, ReplicaId, Slot, StableCertificate};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// A folder's log and newest snapshot. Nothing in the folder is changed.
pub(super) struct Folder {
    disk: FileDisk,
    reader: LogReader<Overlay>,
    /// Where snapshots lie, if the folder holds any.
    snapshots: Option<Snapshots<Overlay>>,
    cut: u64,
    uncertified: u64,
    /// The slot of the snapshot that was checked.
    snapshot: Option<Slot>,
}

impl Folder {
    /// Opens `DIR/log`, or `DIR/data/log` of a replica's folder.
    pub(super) fn open(dir: PathBuf, policy: &Policy) -> Result<Self, Stop> {
        let log = [dir.join("log"), dir.join("data/log"), dir.clone()];
        let has_log = |path: &&PathBuf| path.join("log-entries").is_file();
        let log = log.iter().find(has_log).ok_or_else(|| {
            let message = format!("{} is no data folder of a replica", dir.display());
            Failure::usage("audit-folder", message)
                .hint("name the folder that holds `log`, such as cluster/r0/data")
        })?;
        let unreadable = |error| Failure::failed("file", error);
        let disk = FileDisk::open(log).map_err(unreadable)?;
        let overlay = Overlay::over(disk.clone()).map_err(unreadable)?;
        let mut foreign = None;
        for replica in 0..policy.witnesses().len() {
            let replica = ReplicaId(u16::try_from(replica).unwrap_or(u16::MAX));
            let owner = Owner { chain: policy.origin().chain, replica };
            match Log::open(overlay.clone(), owner) {
                Ok(opened) => {
                    let snapshots = snapshots(log, owner)?;
                    let (reader, cut) = (opened.log.reader(), opened.cut);
                    let (uncertified, snapshot) = (0, None);
                    return Ok(Self { disk, reader, snapshots, cut, uncertified, snapshot });
                }
                Err(error @ LogError::Foreign { .. }) => foreign = Some(error),
                Err(error) => return Err(stop(error)),
            }
        }
        let reason = foreign.map_or_else(String::new, |error| error.to_string());
        Err(Finding { index: None, code: "foreign-data", reason }.into())
    }

    /// The newest certified head.
    pub(super) fn head(&mut self, policy: &Policy) -> Result<Witnessed, Stop> {
        let newest = self.reader.newest_certificate().map_err(stop)?;
        let Some(certificate) = newest else {
            return Err(Finding {
                index: None,
                code: "audit-head",
                reason: "the folder holds no certified head".to_owned(),
            }
            .into());
        };
        let size = self.reader.size();
        check(policy, &certificate, certificate.head.size.saturating_sub(1))?;
        if certificate.head.size > size {
            let reason = format!(
                "{} entries are certified, and the folder holds {size}",
                certificate.head.size
            );
            return Err(Finding::at(size, "audit-truncated", reason).into());
        }
        self.uncertified = size - certificate.head.size;
        let named = |replica: ReplicaId| policy.witnesses().get(replica.position());
        let signers = certificate.cosignatures.iter().filter_map(|one| named(one.replica));
        let names: Vec<String> = signers.map(|key| key.name.clone()).collect();
        Ok(Witnessed {
            head: certificate.head,
            signers: names.len(),
            replicas: policy.quorum_witnesses().count(),
            names,
        })
    }

    /// The head of the newest snapshot, whose maps are those that its certificate names.
    pub(super) fn snapshot_head(&mut self, policy: &Policy) -> Result<Option<Head>, Stop> {
        let Some(snapshots) = &mut self.snapshots else { return Ok(None) };
        let loaded = snapshots.newest().map_err(snapshot_stop)?;
        if let Some(damage) = loaded.warnings.first() {
            let reason = format!("{} is damaged: {}", damage.file, damage.reason);
            return Err(Finding { index: None, code: "corrupt-snapshot", reason }.into());
        }
        let Some(stored) = loaded.snapshot else { return Ok(None) };
        let chunks = stored.all_chunks().map_err(snapshot_stop)?;
        let wrong = |reason: String| Finding { index: None, code: "corrupt-snapshot", reason };
        let Snapshot { certificate, frontier, mut service, mut replay, signatures } =
            Snapshot::read(stored.manifest(), &chunks).map_err(|error| wrong(error.to_string()))?;
        let last = certificate.head.size.saturating_sub(1);
        check(policy, &certificate, last)?;
        let record = &certificate.record;
        if (frontier.size(), frontier.root()) != (certificate.head.size, certificate.head.root) {
            let reason = "the snapshot's frontier is not that of its head";
            return Err(Finding::at(last, "audit-state", reason).into());
        }
        let sealed = signatures.seal(&replay.root());
        if (service.root(), sealed) != (record.service, record.replay) {
            let reason = "the snapshot's state does not have the roots that were certified";
            return Err(Finding::at(last, "audit-state", reason).into());
        }
        self.snapshot = Some(record.slot);
        Ok(Some(certificate.head))
    }

    /// The first hashes or entries of a tile. Hashes are read from the files themselves: what
    /// opening the log made again would tell nothing of them.
    pub(super) fn tile(&self, kind: TileKind, n: u64, width: u16) -> Result<Vec<u8>, Stop> {
        let first = n.saturating_mul(256);
        match kind {
            TileKind::Entries => {
                let bundle = self.reader.entry_bundle(n, width).map_err(stop)?;
                bundle.ok_or_else(|| Finding::at(first, "audit-entry", "it is missing").into())
            }
            TileKind::Hashes(level) => {
                let mut hashes = vec![0; usize::from(width) * 32];
                let file = format!("log-tiles-{level}");
                match self.disk.read(&file, first.saturating_mul(32), &mut hashes) {
                    Ok(read) => hashes.truncate(read),
                    Err(quorate_ledger::DiskError::Missing { .. }) => hashes.clear(),
                    Err(error) => return Err(Failure::failed(error.code(), error).into()),
                }
                Ok(hashes)
            }
        }
    }

    /// The exchanges of a run of entries.
    pub(super) fn exchanges(&self, run: Range<u64>, asked: &[bool]) -> Result<Exchanges, Stop> {
        let exchange = |(index, asked): (u64, &bool)| match asked {
            true => Ok(self.reader.exchange(Index(index)).map_err(stop)?.flatten()),
            false => Ok(None),
        };
        run.zip(asked).map(exchange).collect::<Result<_, Stop>>().map(Exchanges::Shown)
    }

    /// The head by which the slot that ends with this entry is certified.
    pub(super) fn proof(&self, policy: &Policy, last: u64) -> Result<SlotProof, Stop> {
        let certificate = self.reader.certificate_covering(Index(last)).map_err(stop)?;
        let certificate = certificate
            .ok_or_else(|| Finding::at(last, "audit-head", "no certified head covers it"))?;
        check(policy, &certificate, last)?;
        Ok(SlotProof::Head(certificate.head))
    }

    /// What else is to be said of the folder.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(slot) = self.snapshot {
            notes.push(format!("the snapshot of slot {slot} has the state that was certified"));
        }
        if self.uncertified > 0 {
            let count = self.uncertified;
            notes.push(format!("{count} entries behind the newest certified head are not checked"));
        }
        if self.cut > 0 {
            notes.push(format!(
                "{} bytes behind the last whole entry or certificate are passed over, as after a \
                 crash",
                self.cut
            ));
        }
        notes
    }
}

/// The folder of snapshots beside that of the log.
fn snapshots(log: &Path, owner: Owner) -> Result<Option<Snapshots<Overlay>>, Stop> {
    let Some(dir) = log.parent().map(|data| data.join("snapshots")).filter(|dir| dir.is_dir())
    else {
        return Ok(None);
    };
    let unreadable = |error| Failure::failed("file", error);
    let disk = FileDisk::open(dir).map_err(unreadable)?;
    Ok(Some(Snapshots::new(Overlay::over(disk).map_err(unreadable)?, owner)))
}

fn snapshot_stop(error: SnapshotError) -> Stop {
    match &error {
        SnapshotError::Disk(_) | SnapshotError::FsyncFailed { .. } | SnapshotError::TooLarge => {
            Failure::failed(error.code(), &error).into()
        }
        _ => Finding { index: None, code: error.code(), reason: error.to_string() }.into(),
    }
}

fn check(policy: &Policy, certificate: &StableCertificate, index: u64) -> Result<(), Stop> {
    verify_stable(policy, &Strict, certificate)
        .map_err(|error| Finding::at(index, error.code(), &error).into())
}

/// Damage is a finding; what the operating system refuses is a failure.
fn stop(error: LogError) -> Stop {
    match &error {
        LogError::Corrupt { file, record, .. } => {
            // The records of this file are certificates, not entries.
            let index = (!file.contains("certificates")).then_some(Index(*record));
            Finding { index, code: error.code(), reason: error.to_string() }.into()
        }
        LogError::Version { .. } | LogError::Foreign { .. } => {
            Finding { index: None, code: error.code(), reason: error.to_string() }.into()
        }
        _ => Failure::failed(error.code(), &error).into(),
    }
}
