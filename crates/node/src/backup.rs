//! What a backup holds of a replica, and how a data folder is made of it again.
//!
//! A backup holds what a quorum certified: the log up to a certified head, its certificates, and
//! the newest snapshot below it. It is copied item by item through the ledger, not file by file, so
//! it may be taken of a replica that runs, and restored for any replica of the chain: nothing in it
//! is one replica's own.
//!
//! It holds no votes. A vote log that comes back from a copy has forgotten the votes since, and a
//! replica that voted by it could vote twice. So a restored folder has none, and the replica that
//! finds none knows that its disk was lost (rule 28a): it neither votes, cosigns nor leads before
//! it has rejoined. What the backup spares it is to fetch what it holds.
//!
//! A restore that is interrupted leaves less of the log, every part of which is certified, and no
//! votes either: that is a lost disk, too.

use crate::{config::Config, data::DataFolder, run::load_keys};
use quorate_ledger::{Disk, DiskError, Log, LogError, LogReader, Owner, SnapshotError, Snapshots};
use quorate_proof::{Entry, Policy, Strict, state_digest, verify_stable};
use quorate_replica::{Signatures, Snapshot};
use quorate_types::{Index, LogItem, Slot, StableCertificate, StateRecord, UnixMillis};
use std::{fs, io, path::Path};

/// Items that are read before they are written.
const BATCH: usize = 64;

/// What a file system puts into an empty folder of its own.
const OF_THE_SYSTEM: &str = "lost+found";

/// Where a log and snapshots lie.
#[derive(Clone, Debug)]
pub struct Folders<D> {
    /// The log of entries.
    pub log: D,
    /// Snapshots.
    pub snapshots: D,
    /// Whose they are.
    pub owner: Owner,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The certificate of the newest head: nothing behind it was copied.
    pub certificate: StableCertificate,
    /// The slot of the snapshot, where there is one.
    pub snapshot: Option<Slot>,
}

/// Why nothing could be copied.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No head of the log is certified.
    #[error("the log holds no certified head, so there is nothing to vouch for a backup")]
    Uncertified,
    /// A certificate is not that of a quorum of this cluster, or not of this log.
    #[error("the log is not the one that was certified: {0}")]
    NotCertified(String),
    /// The snapshot is not what a snapshot should be.
    #[error("the snapshot is damaged: {0}")]
    SnapshotMalformed(String),
    /// There is something where a data folder is to be made.
    #[error("{0} is there already; restore never overwrites")]
    Exists(String),
    /// The keys of the replica cannot be used, or the replica runs.
    #[error("{message}")]
    Keys {
        /// A stable word.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// The folder cannot be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl BackupError {
    /// A stable code that `quorate explain` knows.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Uncertified => "backup-uncertified",
            Self::NotCertified(_) => "backup-not-certified",
            Self::SnapshotMalformed(_) => "corrupt-snapshot",
            Self::Exists(_) => "restore-exists",
            Self::Keys { code, .. } => code,
            Self::Disk(error) => error.code(),
        }
    }

    /// Whether what was read is damaged or forged, rather than the disk at fault.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::NotCertified(_)
                | Self::SnapshotMalformed(_)
                | Self::Log(LogError::Corrupt { .. })
                | Self::Snapshot(SnapshotError::Corrupt { .. })
        )
    }
}

/// Copies what a quorum certified into folders without a log.
///
/// The folder that is read may grow meanwhile: nothing behind the newest head that was certified
/// when it was opened is copied.
///
/// # Errors
/// [`BackupError`]; what was written so far stays.
pub fn copy<S: Disk, T: Disk>(
    from: &Folders<S>,
    to: &Folders<T>,
    policy: &Policy,
) -> Result<Copied, BackupError> {
    // First the snapshot: the log only grows, and is to reach it.
    let newest = Snapshots::new(from.snapshots.clone(), from.owner).newest()?.snapshot;
    let snapshot = match newest {
        None => None,
        Some(stored) => {
            let chunks = stored.all_chunks()?;
            let wrong = |error: &dyn ToString| BackupError::SnapshotMalformed(error.to_string());
            let read = Snapshot::read(stored.manifest(), &chunks).map_err(|e| wrong(&e))?;
            Some((stored.manifest().to_vec(), chunks, read))
        }
    };
    let reader = Log::open(from.log.clone(), from.owner)?.log.reader();
    let certificate = newest_certificate(&reader, policy)?;
    copy_log(&reader, &certificate, to)?;
    let within = |snapshot: &Snapshot| snapshot.frontier.size() <= certificate.head.size;
    let snapshot = snapshot.filter(|(_, _, read)| within(read));
    let slot = snapshot.as_ref().map(|(_, _, read)| read.slot());
    if let Some((manifest, chunks, read)) = snapshot {
        let mut snapshots = Snapshots::new(to.snapshots.clone(), to.owner);
        snapshots.save(read.slot(), &manifest, chunks)?;
    }
    Ok(Copied { certificate, snapshot: slot })
}

/// The newest certificate of the log's own entries, checked to be that.
fn newest_certificate<D: Disk>(
    reader: &LogReader<D>,
    policy: &Policy,
) -> Result<StableCertificate, BackupError> {
    let certificate = reader.certificate_within()?.ok_or(BackupError::Uncertified)?;
    let wrong = |error: &dyn ToString| BackupError::NotCertified(error.to_string());
    verify_stable(policy, &Strict, &certificate).map_err(|error| wrong(&error))?;
    match reader.root(certificate.head.size)? {
        Some(root) if root == certificate.head.root => Ok(certificate),
        _ => Err(wrong(&"its entries do not lead to the certified root")),
    }
}

/// Copies the log up to a certified head, so that at any time what is there is certified.
fn copy_log<S: Disk, T: Disk>(
    reader: &LogReader<S>,
    newest: &StableCertificate,
    to: &Folders<T>,
) -> Result<(), BackupError> {
    let mut log = Log::open(to.log.clone(), to.owner)?.log;
    if log.size() > 0 {
        return Err(BackupError::Exists("a log".to_owned()));
    }
    let mut items = reader.items(Index(0))?;
    let mut next = reader.certificate_from(Slot(0))?;
    let mut batch: Vec<LogItem> = Vec::with_capacity(BATCH);
    let mut opened = Opened { signatures: Signatures::NONE, waits: None };
    while log.size() < newest.head.size {
        let left = newest.head.size - log.size();
        for item in items.by_ref().take(BATCH.min(usize::try_from(left).unwrap_or(BATCH))) {
            let item = item?;
            opened.take(&item)?;
            batch.push(item);
        }
        if batch.is_empty() {
            return Err(BackupError::NotCertified("the log ends before its head".to_owned()));
        }
        log.append(&batch)?;
        batch.clear();
        while let Some(certificate) = next.take_if(|next| next.head.size <= log.size()) {
            log.put_certificate(&certificate)?;
            next = reader.certificate_from(certificate.slot().next())?;
        }
    }
    opened.end()?;
    Ok(log.sync()?)
}

/// The clients' signatures so far, which no exchange covers: each slot's opening leads by them to
/// the state that its entries state. Peers would take wrong ones for a lie of this replica.
struct Opened {
    signatures: Signatures,
    /// The slot whose opening is still to come, by its time: entries of one slot share it.
    waits: Option<UnixMillis>,
}

impl Opened {
    fn take(&mut self, item: &LogItem) -> Result<(), BackupError> {
        let entry = Entry::parse(&item.entry)
            .map_err(|error| BackupError::NotCertified(format!("an entry: {error}")))?;
        let wrong = |what| {
            let index = entry.index;
            Err(BackupError::NotCertified(format!("entry {index}: {what}")))
        };
        if self.waits.is_some_and(|time| time != entry.time) {
            return wrong("the slot before it has no opening");
        }
        let signature = item.exchange.as_ref().and_then(|it| it.request.signature.as_ref());
        if let Some(signature) = signature {
            self.signatures.add(entry.index, signature);
        }
        let Some(opening) = item.opening else {
            // Genesis answers nobody and is no slot's.
            self.waits = (entry.index > Index(0)).then_some(entry.time);
            return Ok(());
        };
        self.waits = None;
        let record = StateRecord {
            slot: opening.slot,
            next_index: entry.index.next(),
            epoch: entry.epoch,
            time: entry.time,
            service: opening.service,
            replay: self.signatures.seal(&opening.table),
            engine: opening.engine,
        };
        if state_digest(&record) != entry.state {
            return wrong("the clients' signatures and the opening are not those of its state");
        }
        Ok(())
    }

    fn end(&self) -> Result<(), BackupError> {
        match self.waits {
            None => Ok(()),
            Some(_) => Err(BackupError::NotCertified("the last slot has no opening".to_owned())),
        }
    }
}

/// Makes the data folder of a replica of a backup, and no vote log: the replica lost its disk, and
/// rejoins when it is started.
///
/// # Errors
/// [`BackupError`]; [`BackupError::Exists`] where there is any data, [`BackupError::Keys`] while
/// the replica runs. When it fails half-way, what it wrote is removed again as far as possible.
pub fn restore<S: Disk>(config: &Config, from: &Folders<S>) -> Result<Copied, BackupError> {
    // Held until the end, so that nobody starts the replica meanwhile.
    let (_, _lock) = load_keys(config)
        .map_err(|error| BackupError::Keys { code: error.code, message: error.message })?;
    let data = config.data();
    check_empty(&data)?;
    let (log, snapshots) = DataFolder::without_votes(&data)?;
    let to = Folders { log, snapshots, owner: config.owner() };
    let copied = copy(from, &to, config.policy());
    if copied.is_err() {
        for path in [to.log.path(), to.snapshots.path()] {
            let _ = fs::remove_dir_all(path);
        }
    }
    copied
}

/// Refuses a folder in which anything lies.
///
/// # Errors
/// [`BackupError::Exists`], [`BackupError::Disk`].
pub fn check_empty(folder: &Path) -> Result<(), BackupError> {
    let unreadable = |error| DiskError::from_io("read", &folder.display().to_string(), error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error).into()),
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name() != OF_THE_SYSTEM {
            return Err(BackupError::Exists(entry.path().display().to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proof::EntryKind;
    use quorate_types::{
        ClientSignature, Digest, Epoch, Exchange, Opening, PublicKey, Request, Response, Salt,
        Signature,
    };
    use std::sync::Arc;

    /// A slot of one entry, of a request that a client signed, with its opening.
    fn slot(before: &mut Signatures, number: u64) -> LogItem {
        let signature = ClientSignature {
            key: PublicKey([7; 32]),
            params: format!("params {number}"),
            signature: Signature([9; 64]),
        };
        let index = Index(number);
        before.add(index, &signature);
        let digest = Digest([1; 32]);
        let slot = Slot(number);
        let opening = Opening { slot, service: digest, table: digest, engine: digest };
        let record = StateRecord {
            slot,
            next_index: index.next(),
            epoch: Epoch(0),
            time: UnixMillis(1000 + number),
            service: digest,
            replay: before.seal(&digest),
            engine: digest,
        };
        let entry = Entry {
            index,
            epoch: Epoch(0),
            time: record.time,
            state: state_digest(&record),
            kind: EntryKind::Exchange(digest),
        };
        let request = Request {
            method: "PUT".to_owned(),
            path: "/".to_owned(),
            query: "?".to_owned(),
            fields: Vec::new(),
            body: Default::default(),
            salt: Salt([0; 16]),
            signature: Some(signature),
        };
        let exchange = Exchange { request: Arc::new(request), response: Response::new(204) };
        LogItem { entry: entry.text(), exchange: Some(exchange), opening: Some(opening) }
    }

    fn check(items: &[LogItem]) -> Result<(), BackupError> {
        let mut opened = Opened { signatures: Signatures::NONE, waits: None };
        items.iter().try_for_each(|item| opened.take(item))?;
        opened.end()
    }

    #[test]
    fn signatures_that_do_not_lead_to_the_certified_state_are_refused() {
        let mut signatures = Signatures::NONE;
        let sound = [slot(&mut signatures, 1), slot(&mut signatures, 2)];
        assert!(check(&sound).is_ok());
        for place in 0..2 {
            let mut unsigned = sound.clone();
            let exchange = unsigned[place].exchange.as_mut().unwrap();
            Arc::make_mut(&mut exchange.request).signature = None;
            assert_eq!(check(&unsigned).unwrap_err().code(), "backup-not-certified", "{place}");
            let mut closed = sound.clone();
            closed[place].opening = None;
            assert!(check(&closed).unwrap_err().is_damage(), "{place}");
            let mut other = sound.clone();
            other[place].opening.as_mut().unwrap().table = Digest([2; 32]);
            assert!(check(&other).unwrap_err().is_damage(), "{place}");
        }
    }

    #[test]
    fn a_folder_is_empty_where_only_the_system_put_something() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        assert!(check_empty(&folder).is_ok(), "it need not be there");
        fs::create_dir_all(folder.join(OF_THE_SYSTEM)).unwrap();
        assert!(check_empty(&folder).is_ok());
        fs::create_dir(folder.join("wal")).unwrap();
        assert_eq!(check_empty(&folder).unwrap_err().code(), "restore-exists");
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert_eq!(check_empty(&file).unwrap_err().code(), "disk-failed");
    }
}
