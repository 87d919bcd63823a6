//! The Merkle log on a disk that fills up, turns read-only, fails, tears and forgets.

use crate::support::{assert_holds, certificate, item, items, log_of, open_log, owner};
use proptest::prelude::*;
use quorate_ledger::{Log, LogError, MemoryDisk, memory_disk::Fault};
use quorate_types::Index;

#[test]
fn a_full_disk_leaves_the_log_as_it_was_at_every_byte() {
    for room in 0..3000 {
        let disk = MemoryDisk::new();
        let mut log = log_of(&disk, 254);
        disk.limit_room(Some(room));
        let Err(error) = log.append(&items(254..260)) else {
            assert!(room > 1000);
            return;
        };
        assert_eq!(error.code(), "disk-full");
        assert!(!error.is_fatal());
        assert_eq!(log.size(), 254);
        assert_eq!(log.reader().entry(Index(254)).unwrap(), None);
        // Killed now, a prefix is found; going on, everything is.
        let found = open_log(&disk.fork());
        assert!((254..=260).contains(&found.size()), "room {room}");
        disk.limit_room(None);
        log.append(&items(254..260)).unwrap();
        if room % 50 == 0 {
            assert_holds(&log, 260);
        }
        assert_eq!(open_log(&disk).size(), 260, "room {room}");
    }
    panic!("the items never fitted");
}

#[test]
fn a_full_disk_refuses_certificates_and_marks_and_both_are_tried_again() {
    for room in 0..2000 {
        let disk = MemoryDisk::new();
        let mut log = log_of(&disk, 3);
        log.sync().unwrap();
        log.append(&[item(3)]).unwrap();
        disk.limit_room(Some(room));
        let stored = log.put_certificate(&certificate(4, 1));
        let synced = log.sync();
        let codes = [stored.as_ref().err().map(LogError::code), synced.err().map(|e| e.code())];
        if codes == [None, None] {
            return;
        }
        assert!(codes.iter().flatten().all(|code| *code == "disk-full"), "{codes:?}");
        assert!(open_log(&disk.crash(room)).size() >= 3);
        disk.limit_room(None);
        assert_eq!(log.put_certificate(&certificate(4, 1)).unwrap(), stored.is_err());
        log.sync().unwrap();
        let found = open_log(&disk.crash(room));
        assert_holds(&found, 4);
        let certificate = found.reader().newest_certificate().unwrap();
        assert_eq!(certificate, Some(crate::support::certificate(4, 1)));
    }
    panic!("the certificate never fitted");
}

#[test]
fn a_read_only_disk_is_named_and_can_still_be_read() {
    let disk = MemoryDisk::new();
    let mut log = log_of(&disk, 5);
    disk.set_read_only(true);
    assert_eq!(log.append(&[item(5)]).unwrap_err().code(), "read-only");
    assert_eq!(log.put_certificate(&certificate(5, 1)).unwrap_err().code(), "read-only");
    assert_eq!(log.append(&[item(5)]).unwrap_err().code(), "read-only");
    assert_eq!(log.reader().item(Index(4)).unwrap(), Some(item(4)));
    disk.set_read_only(false);
    log.append(&[item(5)]).unwrap();
    assert_holds(&open_log(&disk), 6);
}

#[test]
fn after_a_failed_fsync_the_log_refuses_to_grow() {
    for successes in 0..8 {
        let disk = MemoryDisk::new();
        let mut log = log_of(&disk, 5);
        disk.strike_after(successes, Fault::SyncError);
        let error = log.sync().unwrap_err();
        assert_eq!(error.code(), "fsync-failed", "after {successes}");
        assert!(error.is_fatal());
        for result in [
            log.append(&[item(5)]),
            log.sync(),
            log.put_certificate(&certificate(5, 1)).map(drop),
            log.truncate_to(1),
        ] {
            assert_eq!(result.unwrap_err().code(), "fsync-failed");
        }
        let found = open_log(&disk.crash(successes));
        assert_holds(&found, found.size());
    }
}

#[test]
fn what_the_next_process_reads_after_a_failed_fsync_can_be_made_durable() {
    for successes in 0..14 {
        let disk = MemoryDisk::new();
        let mut log = log_of(&disk, 5);
        log.sync().unwrap();
        log.append(&items(5..9)).unwrap();
        log.put_certificate(&certificate(9, 1)).unwrap();
        disk.strike_after(successes, Fault::SyncError);
        let _ = log.sync();
        // The pages are in memory, and held for clean.
        let next = disk.fork();
        let mut log = open_log(&next);
        assert_holds(&log, 9);
        log.sync().unwrap();
        for seed in 0..20 {
            let found = open_log(&next.crash(seed));
            assert_holds(&found, 9);
            assert_eq!(found.reader().newest_certificate().unwrap(), Some(certificate(9, 1)));
        }
    }
}

/// Somebody dies while the files are made, and the next one finds their headers in memory alone.
#[test]
fn headers_that_were_never_synced_are_made_durable_by_the_next_process() {
    for writes in 0..14 {
        let disk = MemoryDisk::new();
        disk.stop_after(writes);
        let _ = Log::open(disk.clone(), owner());
        let next = disk.fork();
        let mut log = open_log(&next);
        log.append(&items(0..3)).unwrap();
        for seed in 0..40 {
            assert!(open_log(&next.crash(seed)).size() <= 3, "after {writes} writes, {seed}");
        }
    }
}

#[test]
fn a_log_that_lost_its_tail_is_covered_by_the_newest_certificate_within_it() {
    let disk = MemoryDisk::new();
    let mut log = log_of(&disk, 9);
    assert_eq!(log.reader().certificate_within().unwrap(), None);
    for (size, slot) in [(3, 1), (5, 2), (9, 3)] {
        log.put_certificate(&certificate(size, slot)).unwrap();
    }
    for (size, within) in [(9, Some((9, 3))), (8, Some((5, 2))), (5, Some((5, 2))), (2, None)] {
        log.truncate_to(size).unwrap();
        let within = within.map(|(size, slot)| certificate(size, slot));
        assert_eq!(log.reader().certificate_within().unwrap(), within, "of {size} entries");
    }
}

#[test]
fn a_failed_read_is_an_error_and_not_an_absence() {
    let disk = MemoryDisk::new();
    let log = log_of(&disk, 5);
    disk.strike_after(0, Fault::ReadError);
    assert_eq!(log.reader().entry(Index(1)).unwrap_err().code(), "disk-failed");
    assert_eq!(log.reader().entry(Index(1)).unwrap(), Some(item(1).entry));
    for reads in 0..12 {
        disk.strike_after(reads, Fault::ReadError);
        if let Err(error) = Log::open(disk.fork(), owner()) {
            assert_eq!(error.code(), "disk-failed");
        }
    }
}

/// Every crash point of appending, certifying, syncing, cutting and appending again.
#[test]
fn a_crash_between_any_two_operations_leaves_a_prefix() {
    let mut finished = false;
    for stop in 0..200 {
        for seed in 0..6 {
            let disk = MemoryDisk::new();
            disk.stop_after(stop);
            let (mut durable, mut longest) = (0, 0);
            let mut run = || -> Result<(), LogError> {
                let mut log = Log::open(disk.clone(), owner())?.log;
                longest = 4;
                log.append(&items(0..4))?;
                log.put_certificate(&certificate(4, 1))?;
                log.sync()?;
                durable = 4;
                longest = 7;
                log.append(&items(4..7))?;
                log.put_certificate(&certificate(7, 2))?;
                log.sync()?;
                // From here on the cut may be found done, or not.
                durable = 2;
                log.truncate_to(2)?;
                log.append(&items(2..5))?;
                log.sync()?;
                durable = 5;
                Ok(())
            };
            finished = run().is_ok();
            let found = open_log(&disk.crash(seed));
            assert!((durable..=longest).contains(&found.size()), "stop {stop} seed {seed}");
            assert_holds(&found, found.size());
        }
    }
    assert!(finished, "the trace is longer than the stops");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Certify,
    Sync,
    Truncate(u64),
    Kill,
    Crash(u64, u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Through any history, what was synced comes back, and what comes back is a prefix.
    #[test]
    fn whatever_was_synced_comes_back(
        steps in prop::collection::vec(
            prop_oneof![
                4 => (1..60_u64).prop_map(Step::Append),
                2 => Just(Step::Certify),
                2 => Just(Step::Sync),
                1 => (0..80_u64).prop_map(Step::Truncate),
                1 => Just(Step::Kill),
                3 => (0..12_u64, any::<u64>()).prop_map(|(stop, seed)| Step::Crash(stop, seed)),
            ],
            1..30,
        )
    ) {
        let mut disk = MemoryDisk::new();
        let mut log = open_log(&disk);
        let (mut synced, mut longest, mut slot, mut certified) = (0, 0, 0, 0);
        for step in steps.into_iter().chain([Step::Crash(0, 9)]) {
            match step {
                Step::Append(count) => {
                    let size = log.size();
                    log.append(&items(size..size + count)).unwrap();
                }
                Step::Certify if log.size() > certified => {
                    slot += 1;
                    certified = log.size();
                    prop_assert!(log.put_certificate(&certificate(certified, slot)).unwrap());
                }
                Step::Certify => {}
                Step::Sync => {
                    log.sync().unwrap();
                    (synced, longest) = (log.size(), log.size());
                }
                Step::Truncate(back) => {
                    longest = longest.max(log.size());
                    let size = log.size().saturating_sub(back);
                    log.truncate_to(size).unwrap();
                    synced = synced.min(size);
                }
                Step::Kill | Step::Crash(..) => {
                    // Until the next sync, whatever was cut off may come back.
                    let size = log.size();
                    longest = longest.max(size + 3);
                    disk = match step {
                        Step::Crash(stop, seed) => {
                            disk.stop_after(stop);
                            let _ = log.append(&items(size..size + 3)).and_then(|()| log.sync());
                            disk.crash(seed)
                        }
                        _ => disk.fork(),
                    };
                    log = open_log(&disk);
                    let size_now = log.size();
                    prop_assert!(
                        (synced..=longest).contains(&size_now),
                        "{synced} {size_now} {longest}"
                    );
                    if matches!(step, Step::Kill) {
                        prop_assert_eq!(log.size(), size);
                    }
                    assert_holds(&log, log.size());
                    let newest = log.reader().newest_certificate().unwrap();
                    slot = newest.as_ref().map_or(0, |newest| newest.slot().0);
                    certified = newest.map_or(0, |newest| newest.head.size);
                }
            }
        }
    }
}
