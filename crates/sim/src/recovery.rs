//! What a disk held when a process starts, as production reads it.

use crate::{cluster::Cluster, process::Engine, trouble::Halt};
use quorate_ledger::{Disk, DiskError, Log, LogError, MemoryDisk, SnapshotError, Snapshots, Wal};
use quorate_replica::{Recovered, Snapshot};
use quorate_types::{Index, ReplicaId, Wire};
use std::sync::Arc;

/// The largest record that a simulated log may hold, in bytes.
const RECORD_MAX: usize = 1 << 26;

/// What a disk held.
pub(crate) struct Opened {
    pub(crate) wal: Wal<MemoryDisk>,
    pub(crate) log: Log<MemoryDisk>,
    pub(crate) snapshots: Snapshots<MemoryDisk>,
    pub(crate) recovered: Recovered<<Engine as quorate_protocol::Protocol>::Record>,
}

impl Opened {
    pub(crate) fn open(
        cluster: &Cluster,
        me: ReplicaId,
        disk: &MemoryDisk,
        nonce: u64,
    ) -> Result<Self, Halt> {
        let owner = cluster.owner(me);
        probe(disk)?;
        let votes = Wal::open(disk.clone(), owner).map_err(|e| Halt::new(e.code(), e))?;
        let log = Log::open(disk.clone(), owner).map_err(|e| Halt::new(e.code(), e))?.log;
        let mut snapshots = Snapshots::new(disk.clone(), owner);
        let reader = log.reader();
        let snapshot = read_snapshot(&mut snapshots)?
            .filter(|snapshot| snapshot.certificate.head.size <= log.size());
        let base = snapshot.as_ref().map_or(1, |snapshot| snapshot.certificate.head.size);
        let coded = |error: LogError| Halt::new(error.code(), error);
        let items = reader.items(Index(base)).map_err(coded)?;
        let items = items.collect::<Result<Vec<_>, _>>().map_err(coded)?;
        let certificate = reader.certificate_within().map_err(coded)?.map(Arc::new);
        let record = |bytes: &[u8]| {
            Wire::from_wire(bytes, RECORD_MAX).map_err(|error| Halt::new("corrupt-log", error))
        };
        let records = votes.records.iter().map(|it| record(&it.bytes)).collect::<Result<_, _>>()?;
        let recovered = Recovered {
            records,
            lost: !votes.existed,
            log_size: log.size(),
            snapshot,
            items,
            certificate,
            nonce: quorate_proof::sha256(&nonce.to_be_bytes()),
        };
        Ok(Self { wal: votes.wal, log, snapshots, recovered })
    }
}

/// Shows that the disk can be written to now rather than at the first vote.
fn probe(disk: &MemoryDisk) -> Result<(), Halt> {
    const NAME: &str = "probe";
    let written = disk.append(NAME, &[0; 4096]).and_then(|()| disk.sync(NAME));
    let removed = match disk.remove(NAME) {
        Err(DiskError::Missing { .. }) => Ok(()),
        removed => removed,
    };
    written.and(removed).map_err(|error| Halt::new(error.code(), error))
}

fn read_snapshot(snapshots: &mut Snapshots<MemoryDisk>) -> Result<Option<Arc<Snapshot>>, Halt> {
    let coded = |error: SnapshotError| Halt::new(error.code(), error);
    let newest = snapshots.newest().map_err(coded)?.snapshot;
    let Some(saved) = newest else { return Ok(None) };
    let chunks = saved.all_chunks().map_err(coded)?;
    let snapshot = Snapshot::read(saved.manifest(), &chunks)
        .map_err(|error| Halt::new("corrupt-snapshot", error))?;
    Ok(Some(Arc::new(snapshot)))
}
