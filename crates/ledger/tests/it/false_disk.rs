//! A disk that does not do what it says: writes that are lost, forgotten or land elsewhere, bits
//! that rot. Whatever is read then is what was written, or an error, or, at most, the end of the
//! write-ahead log is missing.

use crate::{
    support::{certificate, item, items, owner},
    wal::{append, records},
};
use quorate_ledger::{
    Log, LogError, MemoryDisk, SnapshotError, Snapshots, Wal, WalError, WalRecord,
    memory_disk::Fault,
};
use quorate_types::{Index, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// What a disk does that reports success.
const FALSE: [Fault; 3] = [Fault::LostWrite, Fault::ForgottenWrite, Fault::MisdirectedWrite];

/// How one false disk was met, by word.
type Met = BTreeMap<&'static str, u64>;

fn met(counts: &mut Met, word: &'static str) {
    *counts.entry(word).or_default() += 1;
}

/// Groups of records, of which rotations drop the oldest; tells how many were appended, and where
/// the last but one group begins, and the last.
fn write_votes(disk: &MemoryDisk) -> Result<(u64, [u64; 2]), WalError> {
    let mut wal = Wal::create(disk.clone(), owner())?;
    let (mut count, mut last) = (0, [0; 2]);
    for group in 0..12 {
        last = [last[1], count];
        append(&mut wal, count..count + 1 + group % 4 * 9);
        count += 1 + group % 4 * 9;
        wal.sync()?;
        if group % 5 == 4 {
            wal.rotate(Slot(count / 3))?;
        }
    }
    Ok((count, last))
}

/// Opens the log and compares; `count` records were synced, and those from `last` on may be lost.
fn judge_votes(disk: &MemoryDisk, count: u64, last: u64, counts: &mut Met) {
    let found = match Wal::open(disk.clone(), owner()) {
        Ok(found) => found,
        Err(error) => {
            assert!(error.is_fatal(), "{error}");
            return met(counts, error.code());
        }
    };
    if !found.existed {
        return met(counts, "lost");
    }
    let end = found.records.last().map_or(0, |record| number(record) + 1);
    let start = end - found.records.len() as u64;
    assert_eq!(found.records, records(start..end), "what is found is what was written, in order");
    assert!(start == 0 || start < count / 3, "what is needed is there: {start}");
    match end {
        _ if end == count => met(counts, "whole"),
        _ => {
            assert!(end >= last, "too much is missing: {end} of {last}..{count}");
            met(counts, "rolled-back");
        }
    }
}

/// The number from which [`crate::wal::record`] made a record.
fn number(found: &WalRecord) -> u64 {
    (0..).find(|&n| records(n..n + 1) == [found.clone()]).unwrap()
}

#[test]
fn a_false_write_of_votes_is_noticed_or_costs_the_end_at_most() {
    let appends = {
        let disk = MemoryDisk::new();
        write_votes(&disk).unwrap();
        disk.counts().appends
    };
    let mut counts = Met::new();
    for (fault, place) in FALSE.into_iter().flat_map(|it| (0..appends).map(move |n| (it, n))) {
        let disk = MemoryDisk::new();
        disk.strike_after(place, fault);
        let (count, last) = write_votes(&disk).unwrap();
        // One that lands elsewhere is missing, and does damage to what it lands on.
        let last = last[usize::from(fault != Fault::MisdirectedWrite)];
        assert_eq!(disk.take_struck().keys().collect::<Vec<_>>(), [&fault.name()]);
        for left in (0..4).map(|seed| disk.crash(seed)).chain([disk.fork()]) {
            judge_votes(&left, count, last, &mut counts);
        }
    }
    let words: BTreeSet<_> = counts.keys().copied().collect();
    assert_eq!(words, ["corrupt-log", "rolled-back", "whole"].into(), "{counts:?}");
}

#[test]
fn rot_of_votes_is_noticed_or_costs_the_last_group_at_most() {
    let mut counts = Met::new();
    let disk = MemoryDisk::new();
    let (count, last) = write_votes(&disk).unwrap();
    for seed in 0..600 {
        let left = disk.fork();
        left.rot(seed).unwrap();
        judge_votes(&left, count, last[1], &mut counts);
    }
    assert!(counts["corrupt-log"] > 300 && counts.contains_key("rolled-back"), "{counts:?}");
}

/// A log that grows over two tiles, with certificates and marks.
fn write_log(disk: &MemoryDisk) -> Result<(), LogError> {
    let mut log = Log::open(disk.clone(), owner())?.log;
    for group in 0..12 {
        let size = log.size();
        log.append(&items(size..size + 50))?;
        log.put_certificate(&certificate(size + 50, group + 1))?;
        if group % 3 == 1 {
            log.sync()?;
        }
    }
    Ok(())
}

/// Opens the log and reads all that can be read: what is wrong is an error.
fn judge_log(disk: &MemoryDisk, counts: &mut Met) {
    let log = match Log::open(disk.clone(), owner()) {
        Ok(opened) => opened.log,
        Err(error) => {
            assert!(error.is_fatal(), "{error}");
            return met(counts, error.code());
        }
    };
    let (reader, mut damaged) = (log.reader(), false);
    for n in 0..log.size() {
        match reader.item(Index(n)) {
            Ok(found) => assert_eq!(found, Some(item(n))),
            Err(_) => damaged = true,
        }
    }
    for slot in 0..14 {
        match reader.certificate_from(Slot(slot)) {
            Ok(found) => {
                let size = found.as_ref().map_or(1, |found| found.head.size);
                let due = found.is_none() || found == Some(certificate(size, size / 50));
                assert!(due, "slot {slot}: {found:?}");
            }
            Err(_) => damaged = true,
        }
    }
    damaged |= reader.verify().is_err();
    met(counts, if damaged { "damaged" } else { "sound" });
}

#[test]
fn a_false_write_of_the_log_is_never_read_as_something_else() {
    let appends = {
        let disk = MemoryDisk::new();
        write_log(&disk).unwrap();
        disk.counts().appends
    };
    let mut counts = Met::new();
    for (fault, place) in FALSE.into_iter().flat_map(|it| (0..appends).map(move |n| (it, n))) {
        let disk = MemoryDisk::new();
        disk.strike_after(place, fault);
        write_log(&disk).unwrap();
        judge_log(&disk.fork(), &mut counts);
        judge_log(&disk.crash(place), &mut counts);
    }
    let words: Vec<_> = counts.keys().copied().collect();
    assert_eq!(words, ["corrupt-log", "damaged", "sound"], "{counts:?}");
}

#[test]
fn rot_of_the_log_is_never_read_as_something_else() {
    let disk = MemoryDisk::new();
    write_log(&disk).unwrap();
    let mut counts = Met::new();
    for seed in 0..150 {
        let left = disk.fork();
        left.rot(seed).unwrap();
        judge_log(&left, &mut counts);
    }
    assert!(counts["damaged"] > 0 && counts["sound"] > 0, "{counts:?}");
}

/// Four snapshots of a few chunks each, of which two stay.
fn write_snapshots(disk: &MemoryDisk) -> Result<(), SnapshotError> {
    let mut snapshots = Snapshots::new(disk.clone(), owner());
    for slot in 1..5 {
        snapshots.save(Slot(slot), &manifest(slot), (0..5).map(|n| chunk(slot, n)))?;
    }
    Ok(())
}

fn manifest(slot: u64) -> Vec<u8> {
    vec![slot as u8; 90]
}

fn chunk(slot: u64, n: u64) -> Vec<u8> {
    (0..300 + 77 * n).map(|byte| (slot * 31 + n * 7 + byte) as u8).collect()
}

#[test]
fn a_false_write_of_a_snapshot_or_its_rot_costs_that_snapshot_at_most() {
    let appends = {
        let disk = MemoryDisk::new();
        write_snapshots(&disk).unwrap();
        disk.counts().appends
    };
    let writes = FALSE.into_iter().flat_map(|it| (0..appends).map(move |n| (Some(it), n)));
    let mut newest = Met::new();
    for (fault, n) in writes.chain((0..200).map(|n| (None, n))) {
        let disk = MemoryDisk::new();
        fault.into_iter().for_each(|fault| disk.strike_after(n, fault));
        write_snapshots(&disk).unwrap();
        let left = disk.crash(n);
        if fault.is_none() {
            left.rot(n).unwrap();
        }
        let found = Snapshots::new(left, owner()).newest().unwrap();
        let Some(snapshot) = found.snapshot else {
            met(&mut newest, "none");
            continue;
        };
        let slot = snapshot.slot().0;
        assert_eq!(snapshot.manifest(), manifest(slot));
        assert_eq!(snapshot.chunks(), 5);
        for n in 0..5 {
            assert_eq!(snapshot.chunk(n as usize).unwrap(), Some(chunk(slot, n)));
        }
        let passed_over = found.warnings.len() as u64;
        assert_eq!(slot + passed_over, 4, "{fault:?} {n} {:?}", found.warnings);
        met(&mut newest, if slot == 4 { "newest" } else { "the one before" });
    }
    assert_eq!(newest.keys().copied().collect::<Vec<_>>(), ["newest", "the one before"]);
}
