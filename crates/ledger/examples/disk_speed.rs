//! How fast this machine's disk takes votes and entries.
//!
//! `cargo run --release -p quorate-ledger --example disk_speed -- [FOLDER]`, by default a temporary
//! folder below the current one. Prints, for several group sizes, groups and records a second of
//! the write-ahead log, and items a second of the log of entries.

use quorate_ledger::{FileDisk, Log, Owner, Snapshots, Wal};
use quorate_types::{Chain, Exchange, Index, LogItem, ReplicaId, Request, Response, Salt, Slot};
use std::{
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const ENOUGH: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir_in(".")?;
    let folder = std::env::args().nth(1).map_or(temporary.path().to_owned(), Into::into);
    let chain = Chain::parse("5f2c9a17d0e84b63")?;
    let owner = Owner { chain, replica: ReplicaId(0) };
    votes(&folder, owner)?;
    entries(&folder, owner)?;
    snapshots(&folder, owner)
}

fn votes(folder: &Path, owner: Owner) -> Result<(), Box<dyn Error>> {
    println!("write-ahead log: one write and one fdatasync a group");
    for (records, bytes) in [(1, 200), (10, 200), (100, 200), (1, 110_000), (4, 110_000)] {
        let disk = FileDisk::open(folder.join(format!("votes-{records}-{bytes}")))?;
        let mut wal = Wal::create(disk, owner)?;
        let payload = vec![0xa5; bytes];
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < ENOUGH {
            let group = Instant::now();
            for _ in 0..records {
                wal.append(Some(Slot(times.len() as u64)), &payload)?;
            }
            wal.sync()?;
            times.push(group.elapsed());
        }
        let seconds = start.elapsed().as_secs_f64();
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
        println!(
            "  {records:>3} x {bytes:>6} B: {:>7.0} groups/s {:>8.0} records/s {:>6.1} MB/s, \
             p50 {} us, p99 {} us",
            times.len() as f64 / seconds,
            (times.len() * records) as f64 / seconds,
            (times.len() * records * bytes) as f64 / seconds / 1e6,
            at(50),
            at(99),
        );
    }
    Ok(())
}

fn item(index: u64) -> LogItem {
    let entry = format!(
        "quorate-exchange/1\nindex {index}\nepoch 0\ntime 1763658123456\n\
         state sha-256=:S6aXNcpTdl7WpwnttWxuoja3GTo7KaazkMNG8PQ0Dk4=:\n\
         exchange sha-256=:S6aXNcpTdl7WpwnttWxuoja3GTo7KaazkMNG8PQ0Dk4=:\n"
    );
    let request = Request {
        method: "PUT".to_owned(),
        path: format!("/kv/{index}"),
        query: "?".to_owned(),
        fields: vec![("idempotency-key".to_owned(), "\"8e03978e-40d5-43e8\"".to_owned())],
        body: vec![0x5a; 512].into(),
        salt: Salt([1; 16]),
        signature: None,
    };
    let exchange = Exchange { request: Arc::new(request), response: Response::new(204) };
    LogItem { entry, exchange: Some(exchange), opening: None }
}

fn entries(folder: &Path, owner: Owner) -> Result<(), Box<dyn Error>> {
    println!("log of entries, 512 B a request: no fsync");
    for batch in [1, 10, 200] {
        let disk = FileDisk::open(folder.join(format!("log-{batch}")))?;
        let mut log = Log::open(disk.clone(), owner)?.log;
        let mut spent = Duration::ZERO;
        while spent < ENOUGH {
            let items: Vec<_> = (log.size()..log.size() + batch).map(item).collect();
            let start = Instant::now();
            log.append(&items)?;
            spent += start.elapsed();
        }
        let size = log.size();
        println!("  {batch:>3} a batch: {:>8.0} items/s", size as f64 / spent.as_secs_f64());
        let start = Instant::now();
        log.sync()?;
        println!("      sync of {size} items: {} ms", start.elapsed().as_millis());
        let reader = log.reader();
        let (start, reads) = (Instant::now(), 10_000);
        for n in 0..reads {
            reader.path(Index(n * 7919 % size), size)?;
        }
        println!("      path: {} us", start.elapsed().as_micros() / u128::from(reads));
        drop(log);
        let start = Instant::now();
        Log::open(disk.clone(), owner)?;
        println!("      open, all synced: {} us", start.elapsed().as_micros());
        std::fs::remove_file(disk.path().join("log-mark"))?;
        let start = Instant::now();
        Log::open(FileDisk::open(disk.path())?, owner)?;
        println!("      open, nothing synced: {} ms", start.elapsed().as_millis());
    }
    Ok(())
}

fn snapshots(folder: &Path, owner: Owner) -> Result<(), Box<dyn Error>> {
    let mut snapshots = Snapshots::new(FileDisk::open(folder.join("snapshots"))?, owner);
    let start = Instant::now();
    snapshots.save(Slot(1), b"manifest", (0..256).map(|_| vec![0x77; 400_000]))?;
    println!("snapshot of 100 MB: saved in {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    snapshots.newest()?;
    println!("                    checked in {} ms", start.elapsed().as_millis());
    Ok(())
}
