use super::*;
use quorate_ledger::{DiskError, MemoryDisk, Owner};
use quorate_types::{Chain, ReplicaId};
use std::{
    sync::{
        atomic::AtomicBool,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

const SOON: Duration = Duration::from_secs(5);
const NOT: Duration = Duration::from_millis(50);

/// A disk whose syncs wait for permission, and may be told to fail.
#[derive(Clone)]
struct SlowDisk {
    inner: MemoryDisk,
    permits: Arc<Mutex<Receiver<bool>>>,
    syncs: Arc<AtomicU64>,
}

impl Disk for SlowDisk {
    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.inner.append(file, bytes)
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        let permitted = self.permits.lock().unwrap().recv().unwrap_or(true);
        self.syncs.fetch_add(1, Relaxed);
        if permitted {
            return self.inner.sync(file);
        }
        let source = std::io::Error::other("the disk is broken");
        Err(DiskError::from_io("sync", file, source))
    }

    fn read(&self, file: &str, offset: u64, out: &mut [u8]) -> Result<usize, DiskError> {
        self.inner.read(file, offset, out)
    }

    fn truncate(&self, file: &str, length: u64) -> Result<(), DiskError> {
        self.inner.truncate(file, length)
    }

    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.inner.list()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.inner.rename(from, to)
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        self.inner.remove(file)
    }
}

/// Passes on what is released, and why the process would have ended.
struct Seen {
    released: Mutex<Sender<u32>>,
    halted: Mutex<Sender<&'static str>>,
    log_syncs: AtomicU64,
    log_broken: AtomicBool,
}

impl Outlet<u32> for Seen {
    fn release(&self, action: u32) {
        self.released.lock().unwrap().send(action).unwrap();
    }

    fn sync_log(&self) -> bool {
        self.log_syncs.fetch_add(1, Relaxed);
        !self.log_broken.load(Relaxed)
    }

    fn halt(&self, code: &'static str, _reason: String) {
        self.halted.lock().unwrap().send(code).unwrap();
    }
}

struct Bench {
    /// Dropped first: a sync that waits for permission then goes on, so that a failing test ends.
    permit: Sender<bool>,
    barrier: Barrier<u32, Seen>,
    seen: Arc<Seen>,
    disk: SlowDisk,
    released: Receiver<u32>,
    halted: Receiver<&'static str>,
}

fn owner() -> Owner {
    Owner { chain: Chain::parse("0123456789abcdef").unwrap(), replica: ReplicaId(0) }
}

fn bench() -> Bench {
    let (permit, permits) = channel();
    let disk = SlowDisk {
        inner: MemoryDisk::new(),
        permits: Arc::new(Mutex::new(permits)),
        syncs: Arc::default(),
    };
    (0..8).for_each(|_| permit.send(true).unwrap());
    let wal = Wal::create(disk.clone(), owner()).unwrap();
    while disk.permits.lock().unwrap().try_recv().is_ok() {}
    disk.syncs.store(0, Relaxed);
    let ((released, r), (halted, h)) = (channel(), channel());
    let seen = Arc::new(Seen {
        released: Mutex::new(released),
        halted: Mutex::new(halted),
        log_syncs: AtomicU64::new(0),
        log_broken: AtomicBool::new(false),
    });
    let barrier = Barrier::start(wal, Arc::clone(&seen), Arc::default()).unwrap();
    Bench { barrier, seen, disk, permit, released: r, halted: h }
}

fn persist(slot: u64) -> Step<u32> {
    Step::Persist { slot: Some(Slot(slot)), bytes: slot.to_be_bytes().to_vec() }
}

impl Bench {
    fn pass<const N: usize>(&self, steps: [Step<u32>; N]) {
        let mut steps = Vec::from(steps);
        self.barrier.pass(&mut steps);
        assert!(steps.is_empty());
    }

    fn next(&self) -> u32 {
        self.released.recv_timeout(SOON).expect("released in time")
    }

    fn nothing_leaves(&self) {
        assert!(self.released.recv_timeout(NOT).is_err(), "something left before the sync");
    }
}

#[test]
fn nothing_leaves_before_the_record_it_follows_is_durable() {
    let bench = bench();
    bench.pass([Step::Release(1), persist(1), Step::Release(2)]);
    assert_eq!(bench.next(), 1, "what stands before the record needs no sync");
    bench.nothing_leaves();
    // The driver goes on; what it hands over meanwhile keeps its place, records or not.
    bench.pass([Step::Release(3)]);
    bench.pass([persist(2), Step::Release(4), persist(3), Step::Release(5)]);
    bench.nothing_leaves();
    bench.permit.send(true).unwrap();
    assert_eq!((bench.next(), bench.next()), (2, 3));
    bench.nothing_leaves();
    bench.permit.send(true).unwrap();
    assert_eq!((bench.next(), bench.next()), (4, 5));
    assert_eq!(bench.disk.syncs.load(Relaxed), 2, "one sync serves all that waited");
}

#[test]
fn without_records_everything_leaves_at_once() {
    let bench = bench();
    bench.pass([Step::Release(1), Step::Release(2)]);
    assert_eq!(bench.released.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bench.disk.syncs.load(Relaxed), 0);
}

#[test]
fn after_a_failed_sync_nothing_leaves_any_more_and_the_process_ends() {
    let bench = bench();
    bench.pass([persist(1), Step::Release(1)]);
    bench.permit.send(false).unwrap();
    assert_eq!(bench.halted.recv_timeout(SOON), Ok("fsync-failed"));
    bench.pass([Step::Release(2), persist(2), Step::Release(3)]);
    bench.nothing_leaves();
    assert_eq!(bench.disk.syncs.load(Relaxed), 1, "a failed sync is not tried again");
}

#[test]
fn what_was_handed_over_is_durable_when_the_barrier_ends() {
    let bench = bench();
    (1..=20).for_each(|slot| bench.pass([persist(slot)]));
    (0..40).for_each(|_| bench.permit.send(true).unwrap());
    let disk = bench.disk.clone();
    drop(bench.barrier);
    let opened = Wal::open(disk, owner()).unwrap();
    let slots: Vec<_> = opened.records.iter().map(|record| record.slot.unwrap().0).collect();
    assert_eq!(slots, (1..=20).collect::<Vec<_>>());
    assert!(opened.existed);
}

#[test]
fn the_log_is_synced_before_the_write_ahead_log_forgets() {
    let bench = bench();
    (0..40).for_each(|_| bench.permit.send(true).unwrap());
    bench.pass([persist(1), Step::Release(1), Step::Forget { below: Slot(2) }]);
    bench.pass([persist(2), Step::Release(2)]);
    assert_eq!((bench.next(), bench.next()), (1, 2));
    assert_eq!(bench.seen.log_syncs.load(Relaxed), 1);
}

#[test]
fn a_full_disk_holds_everything_back_until_there_is_room() {
    let bench = bench();
    (0..40).for_each(|_| bench.permit.send(true).unwrap());
    bench.disk.inner.limit_room(Some(0));
    bench.pass([persist(1), Step::Release(1)]);
    bench.nothing_leaves();
    bench.disk.inner.limit_room(None);
    assert_eq!(bench.next(), 1);
    assert!(bench.halted.try_recv().is_err());
}

#[test]
fn a_note_holds_nothing_up_and_is_written_in_its_place() {
    let bench = bench();
    bench.pass([Step::Note { slot: None, bytes: b"note".to_vec() }, Step::Release(1)]);
    assert_eq!(bench.next(), 1);
    bench.pass([persist(1), Step::Release(2)]);
    bench.nothing_leaves();
    (0..8).for_each(|_| bench.permit.send(true).unwrap());
    assert_eq!(bench.next(), 2);
    assert_eq!(bench.disk.syncs.load(Relaxed), 1);
    let disk = bench.disk.clone();
    drop(bench.barrier);
    let opened = Wal::open(disk, owner()).unwrap();
    let slots: Vec<_> = opened.records.iter().map(|record| record.slot).collect();
    assert_eq!(slots, [None, Some(Slot(1))]);
}

#[test]
fn nothing_is_forgotten_and_nothing_leaves_when_the_log_cannot_be_synced() {
    let bench = bench();
    (0..40).for_each(|_| bench.permit.send(true).unwrap());
    bench.seen.log_broken.store(true, Relaxed);
    let forget = Step::Forget { below: Slot(2) };
    bench.pass([persist(1), Step::Release(1), forget, Step::Release(2)]);
    assert_eq!(bench.next(), 1);
    bench.nothing_leaves();
    let disk = bench.disk.clone();
    drop(bench.barrier);
    let opened = Wal::open(disk, owner()).unwrap();
    let slots: Vec<_> = opened.records.iter().map(|record| record.slot).collect();
    assert_eq!(slots, [Some(Slot(1))], "the votes can repeat what the log lost");
}
