//! What the disk held at start.

use crate::{config::Config, data::DataFolder, run::RunError};
use quorate_ledger::{
    FileDisk, Log, LogError, LogReader, Snapshots, Wal, WalRecord, wal::RECORD_BYTES_MAX,
};
use quorate_proof::{Entry, EntryKind};
use quorate_replica::{Record, Recovered, Snapshot};
use quorate_types::{Digest, Index, LogItem, Wire};
use std::sync::Arc;
use tracing::{info, warn};

/// The three parts of the ledger, open, and what they held.
pub(crate) struct Opened<R> {
    pub(crate) wal: Wal<FileDisk>,
    pub(crate) log: Log<FileDisk>,
    pub(crate) snapshots: Snapshots<FileDisk>,
    pub(crate) recovered: Recovered<R>,
}

/// Opens the data folder, repairs what a crash left, and reads what the replica starts from.
pub(crate) fn open<R: Wire>(config: &Config) -> Result<Opened<R>, RunError> {
    let folder = DataFolder::open(config).map_err(|error| {
        RunError::new(error.code(), format!("{}: {error}", config.data().display()))
    })?;
    let owner = config.owner();
    let wal = Wal::open(folder.wal, owner).map_err(|e| RunError::new(e.code(), e))?;
    let opened = Log::open(folder.log, owner).map_err(|e| RunError::new(e.code(), e))?;
    let log = opened.log;
    let mut snapshots = Snapshots::new(folder.snapshots, owner);
    if wal.cut > 0 || opened.cut > 0 {
        info!(wal = wal.cut, log = opened.cut, "cut bytes that a crash had left unfinished");
    }
    if !wal.existed {
        warn!(code = "disk-lost", "no vote log: the disk was lost; this replica must rejoin");
    }
    let reader = log.reader();
    check_genesis(config, &reader)?;
    // A log that was lost, or cut below the snapshot, is fetched again from the others.
    let snapshot = newest_snapshot(&mut snapshots)?.filter(|snapshot| {
        let reached = snapshot.frontier.size() <= reader.size();
        if !reached {
            warn!(slot = %snapshot.slot(), "the log does not reach the snapshot: left out");
        }
        reached
    });
    // Entry 0 is genesis, which every replica makes by itself.
    let first = snapshot.as_ref().map_or(1, |snapshot| snapshot.frontier.size());
    let certificate = reader.certificate_within().map_err(|e| RunError::new(e.code(), e))?;
    let recovered = Recovered {
        records: records(wal.records)?,
        lost: !wal.existed,
        items: items(&reader, first)?,
        certificate: certificate.map(Arc::new),
        snapshot: snapshot.map(Arc::new),
        log_size: reader.size(),
        nonce: nonce()?,
    };
    let (records, items) = (recovered.records.len(), recovered.items.len());
    info!(records, items, size = reader.size(), "read the disk");
    Ok(Opened { wal: wal.wal, log, snapshots, recovered })
}

/// A log that begins with another policy is that of another cluster, or of this one under other
/// rules: what it holds could not be executed again.
fn check_genesis(config: &Config, reader: &LogReader<FileDisk>) -> Result<(), RunError> {
    if reader.size() == 0 {
        return Ok(());
    }
    let first = reader.item(Index(0)).map_err(|error| RunError::new(error.code(), error))?;
    match first.map(|item| Entry::parse(&item.entry)) {
        Some(Ok(Entry { kind: EntryKind::Policy(named), .. })) => {
            config.check_genesis(&named).map_err(|error| RunError::new(error.code(), error))
        }
        _ => Err(RunError::new("corrupt-log", "entry 0 of the log names no policy")),
    }
}

fn records<R: Wire>(records: Vec<WalRecord>) -> Result<Vec<Record<R>>, RunError> {
    let decode = |record: WalRecord| {
        Record::from_wire(&record.bytes, RECORD_BYTES_MAX).map_err(|error| {
            RunError::new("corrupt-log", format!("a record of the write-ahead log: {error}"))
        })
    };
    records.into_iter().map(decode).collect()
}

fn newest_snapshot(snapshots: &mut Snapshots<FileDisk>) -> Result<Option<Snapshot>, RunError> {
    let loaded = snapshots.newest().map_err(|e| RunError::new(e.code(), e))?;
    for warning in &loaded.warnings {
        warn!(?warning, "a snapshot cannot be used");
    }
    let Some(stored) = loaded.snapshot else { return Ok(None) };
    let chunks = stored.all_chunks().map_err(|e| RunError::new(e.code(), e))?;
    let snapshot = Snapshot::read(stored.manifest(), &chunks)
        .map_err(|error| RunError::new("corrupt-snapshot", error))?;
    Ok(Some(snapshot))
}

/// The log from a place on.
fn items(reader: &LogReader<FileDisk>, first: u64) -> Result<Vec<LogItem>, RunError> {
    let read = |error: LogError| RunError::new(error.code(), error);
    reader.items(Index(first)).map_err(read)?.map(|item| item.map_err(read)).collect()
}

fn nonce() -> Result<Digest, RunError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| RunError::new("key-randomness", error))?;
    Ok(Digest(random))
}
