//! The write-ahead log on a disk that fills up, turns read-only, fails, tears and forgets.

use crate::{
    support::owner,
    wal::{append, open, record, records},
};
use proptest::prelude::*;
use quorate_ledger::{MemoryDisk, Wal, WalError, WalRecord, memory_disk::Fault};
use quorate_types::Slot;

#[test]
fn a_full_disk_loses_nothing_and_the_group_is_written_when_there_is_room() {
    for room in 0..400 {
        let disk = MemoryDisk::new();
        let mut wal = Wal::create(disk.clone(), owner()).unwrap();
        append(&mut wal, 0..3);
        wal.sync().unwrap();
        append(&mut wal, 3..9);
        disk.limit_room(Some(room));
        let Err(error) = wal.sync() else {
            assert!(room > 200, "{room} bytes were enough");
            continue;
        };
        assert_eq!(error.code(), "disk-full");
        assert!(!error.is_fatal());
        // Killed now, the log holds what was synced, perhaps more, and in order.
        let found = open(&disk.fork()).unwrap().records;
        assert!(found.len() >= 3 && found == records(0..found.len() as u64), "room {room}");
        // The caller goes on: nothing has to be appended again.
        append(&mut wal, 9..10);
        assert_eq!(wal.sync().unwrap_err().code(), "disk-full");
        disk.limit_room(None);
        wal.sync().unwrap();
        assert_eq!(open(&disk.crash(room)).unwrap().records, records(0..10), "room {room}");
    }
}

#[test]
fn a_disk_full_at_rotation_leaves_the_old_segment_in_use() {
    for room in 0..60 {
        let disk = MemoryDisk::new();
        let mut wal = Wal::create(disk.clone(), owner()).unwrap();
        append(&mut wal, 0..3);
        wal.sync().unwrap();
        disk.limit_room(Some(room));
        let full = wal.rotate(Slot(1)).is_err();
        assert_eq!(full, room < 56);
        disk.limit_room(None);
        append(&mut wal, 3..5);
        wal.sync().unwrap();
        assert_eq!(open(&disk.crash(room)).unwrap().records, records(0..5), "room {room}");
        wal.rotate(Slot(1)).unwrap();
        append(&mut wal, 5..6);
        wal.sync().unwrap();
        assert_eq!(open(&disk.crash(room)).unwrap().records, records(0..6), "room {room}");
    }
}

#[test]
fn a_read_only_disk_is_named_and_loses_nothing() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    append(&mut wal, 0..2);
    wal.sync().unwrap();
    disk.set_read_only(true);
    append(&mut wal, 2..4);
    for _ in 0..2 {
        assert_eq!(wal.sync().unwrap_err().code(), "read-only");
        assert_eq!(wal.rotate(Slot(1)).unwrap_err().code(), "read-only");
    }
    // A process that starts now cannot make what it finds durable, so it must not start.
    assert_eq!(open(&disk).unwrap_err().code(), "read-only");
    disk.set_read_only(false);
    wal.sync().unwrap();
    assert_eq!(open(&disk).unwrap().records, records(0..4));

    let empty = MemoryDisk::new();
    empty.set_read_only(true);
    assert_eq!(Wal::create(empty.clone(), owner()).unwrap_err().code(), "read-only");
    assert_eq!(open(&empty).unwrap_err().code(), "read-only");
}

#[test]
fn after_a_failed_fsync_the_log_refuses_everything_and_never_syncs_again() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    append(&mut wal, 0..3);
    wal.sync().unwrap();
    append(&mut wal, 3..5);
    disk.strike_after(0, Fault::SyncError);
    let error = wal.sync().unwrap_err();
    assert_eq!(error.code(), "fsync-failed");
    assert!(error.is_fatal());
    let syncs = disk.counts().syncs;
    for result in [
        wal.sync(),
        wal.append(None, b"vote"),
        wal.rotate(Slot(9)),
        wal.rejoined().and(wal.append(Some(Slot(1)), b"vote")),
    ] {
        assert!(matches!(result, Err(WalError::FsyncFailed { .. })));
    }
    assert_eq!(disk.counts().syncs, syncs);
    // The disk forgot the second group; the first is there, and nothing false.
    for seed in 0..20 {
        assert_eq!(open(&disk.crash(seed)).unwrap().records, records(0..3));
    }
}

#[test]
fn what_the_next_process_reads_after_a_failed_fsync_is_durable_although_the_machine_went_on() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    append(&mut wal, 0..3);
    wal.sync().unwrap();
    append(&mut wal, 3..5);
    disk.strike_after(0, Fault::SyncError);
    wal.sync().unwrap_err();
    // The pages are in memory, and held for clean.
    let next = disk.fork();
    let mut again = open(&next).unwrap();
    assert_eq!(again.records, records(0..5));
    append(&mut again.wal, 5..7);
    again.wal.sync().unwrap();
    for seed in 0..20 {
        assert_eq!(open(&next.crash(seed)).unwrap().records, records(0..7));
    }
}

#[test]
fn a_crash_while_opening_loses_nothing_that_was_durable() {
    for (stop, seed) in (0..8).flat_map(|stop| (0..20).map(move |seed| (stop, seed))) {
        let disk = MemoryDisk::new();
        let mut wal = Wal::create(disk.clone(), owner()).unwrap();
        append(&mut wal, 0..30);
        wal.sync().unwrap();
        append(&mut wal, 30..40);
        disk.stop_after(1);
        wal.sync().unwrap_err();
        let next = disk.fork();
        next.stop_after(stop);
        let opened = open(&next).is_ok();
        assert_eq!(opened, stop >= 5, "clear, copy, sync, name, sync");
        let found = open(&next.crash(seed)).unwrap().records;
        assert!(found.len() == 40 || (!opened && found.len() >= 30), "{stop} {}", found.len());
        assert_eq!(found, records(0..found.len() as u64));
    }
}

#[test]
fn a_failed_fsync_while_opening_creating_or_rotating_is_fatal_too() {
    for successes in 0..4 {
        let disk = MemoryDisk::new();
        disk.strike_after(successes, Fault::SyncError);
        let run = || -> Result<(), WalError> {
            let mut wal = Wal::create(disk.clone(), owner())?;
            append(&mut wal, 0..1);
            wal.rotate(Slot(0))?;
            open(&disk).map(drop)
        };
        let error = run().unwrap_err();
        assert_eq!(error.code(), "fsync-failed", "after {successes}");
    }
}

#[test]
fn a_failed_read_is_an_error_and_not_an_empty_log() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    append(&mut wal, 0..3);
    wal.sync().unwrap();
    disk.strike_after(0, Fault::ReadError);
    let error = open(&disk).unwrap_err();
    assert_eq!(error.code(), "disk-failed");
    assert!(error.is_fatal());
    assert_eq!(open(&disk).unwrap().records, records(0..3));
}

#[test]
fn what_a_killed_process_left_unsynced_is_durable_once_it_was_opened() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    append(&mut wal, 0..3);
    // Killed between write and fsync: the bytes are in the page cache alone.
    disk.stop_after(1);
    wal.sync().unwrap_err();
    let next = disk.fork();
    let found = open(&next).unwrap();
    assert_eq!(found.records, records(0..3));
    for seed in 0..20 {
        assert_eq!(open(&next.crash(seed)).unwrap().records, records(0..3));
    }
}

#[test]
fn a_rejoin_that_a_crash_interrupts_is_done_or_not() {
    let mut outcomes = std::collections::BTreeSet::new();
    for (stop, seed) in (0..6).flat_map(|stop| (0..20).map(move |seed| (stop, seed))) {
        let disk = MemoryDisk::new();
        let mut wal = open(&disk).unwrap().wal;
        append(&mut wal, 0..1);
        wal.sync().unwrap();
        append(&mut wal, 1..2);
        disk.stop_after(stop);
        let done = wal.rejoined().is_ok();
        let found = open(&disk.crash(seed)).unwrap();
        assert!(found.existed || !done, "a rejoin that returned is durable");
        assert!(found.records.len() == 2 || !found.existed);
        assert_eq!(found.records, records(0..found.records.len() as u64));
        outcomes.insert((done, found.existed));
    }
    assert!(outcomes.contains(&(true, true)) && outcomes.contains(&(false, false)));
}

/// One thing that happens to a log.
#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Sync,
    Rotate,
    Kill,
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_u64).prop_map(Step::Append),
        3 => Just(Step::Sync),
        1 => Just(Step::Rotate),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

/// A record long enough for groups to span sectors.
fn long(n: u64) -> WalRecord {
    let mut record = record(n);
    record.bytes.extend(std::iter::repeat_n(n as u8, (n * 37 % 700) as usize));
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Torn and lost unsynced writes never look like corruption, never invent or reorder a record,
    /// and never take one that was synced.
    #[test]
    fn whatever_was_synced_comes_back(steps in prop::collection::vec(step(), 1..40)) {
        let mut disk = MemoryDisk::new();
        let mut wal = Wal::create(disk.clone(), owner()).unwrap();
        let (mut appended, mut synced) = (0, 0);
        for step in steps.into_iter().chain([Step::Crash(1)]) {
            match step {
                Step::Append(count) => {
                    for n in appended..appended + count {
                        let record = long(n);
                        wal.append(record.slot, &record.bytes).unwrap();
                    }
                    appended += count;
                }
                Step::Sync => {
                    wal.sync().unwrap();
                    synced = appended;
                }
                Step::Rotate => {
                    wal.rotate(Slot(0)).unwrap();
                    synced = appended;
                }
                Step::Kill | Step::Crash(_) => {
                    // In the middle of a group: it is written, and not synced.
                    disk.stop_after(1);
                    let _ = wal.sync();
                    disk = match step {
                        Step::Crash(seed) => disk.crash(seed),
                        _ => disk.fork(),
                    };
                    let found = open(&disk).unwrap();
                    let kept = found.records.len() as u64;
                    prop_assert!((synced..=appended).contains(&kept), "{kept} of {synced}");
                    let expected: Vec<_> = (0..kept).map(long).collect();
                    prop_assert_eq!(found.records, expected);
                    prop_assert!(found.existed);
                    wal = found.wal;
                    (appended, synced) = (kept, kept);
                }
            }
        }
    }
}
