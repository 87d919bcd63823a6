//! The write-ahead log: what comes back, after every cut and every flipped bit.

use crate::support::owner;
use quorate_ledger::{
    Disk, FileDisk, MemoryDisk, Owner, Recovered, Wal, WalError, WalRecord, wal::RECORD_BYTES_MAX,
};
use quorate_types::{Chain, ReplicaId, Slot};

pub(crate) const FIRST: &str = "wal-0000000000000001";
pub(crate) const SECOND: &str = "wal-0000000000000002";
const THIRD: &str = "wal-0000000000000003";
const HEADER: usize = 56;

pub(crate) fn record(n: u64) -> WalRecord {
    let slot = (n % 4 != 3).then_some(Slot(n));
    WalRecord { slot, bytes: (0..n % 23).map(|byte| (byte * 7 + n) as u8).collect() }
}

pub(crate) fn records(range: std::ops::Range<u64>) -> Vec<WalRecord> {
    range.map(record).collect()
}

pub(crate) fn append(wal: &mut Wal<impl Disk>, range: std::ops::Range<u64>) {
    for record in records(range) {
        wal.append(record.slot, &record.bytes).unwrap();
    }
}

pub(crate) fn open(disk: &MemoryDisk) -> Result<Recovered<MemoryDisk>, WalError> {
    Wal::open(disk.clone(), owner())
}

/// Groups of 1, 2, 3, ... records, each synced, all in one segment.
fn in_groups(disk: &MemoryDisk, groups: u64) -> u64 {
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    let mut n = 0;
    for group in 1..=groups {
        append(&mut wal, n..n + group);
        wal.sync().unwrap();
        n += group;
    }
    n
}

/// Where each record of a segment ends, by the format in the module's documentation.
fn ends(count: u64) -> Vec<usize> {
    let mut end = HEADER;
    records(0..count)
        .iter()
        .map(|record| {
            end += 29 + record.bytes.len();
            end
        })
        .collect()
}

#[test]
fn records_come_back_in_order_with_their_slots() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 6);
    let found = open(&disk).unwrap();
    assert_eq!(found.records, records(0..count));
    assert!(found.existed);
    assert_eq!(found.cut, 0);
    let mut wal = found.wal;
    append(&mut wal, count..count + 5);
    wal.sync().unwrap();
    assert_eq!(open(&disk).unwrap().records, records(0..count + 5));
}

#[test]
fn a_group_costs_one_write_and_one_sync_and_an_empty_one_nothing() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    let before = disk.counts();
    append(&mut wal, 0..100);
    assert!(wal.has_unsynced());
    assert_eq!(disk.counts(), before, "appending touches no disk");
    wal.sync().unwrap();
    wal.sync().unwrap();
    assert!(!wal.has_unsynced());
    let after = disk.counts();
    assert_eq!((after.appends - before.appends, after.syncs - before.syncs), (1, 1));
}

#[test]
fn a_real_folder_holds_a_log_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || FileDisk::open(folder.path().join("wal")).unwrap();
    let mut wal = Wal::create(disk(), owner()).unwrap();
    append(&mut wal, 0..40);
    wal.sync().unwrap();
    wal.rotate(Slot(5)).unwrap();
    append(&mut wal, 40..50);
    wal.sync().unwrap();
    drop(wal);
    let found = Wal::open(disk(), owner()).unwrap();
    assert_eq!(found.records, records(0..50));
    assert!(found.existed);
}

#[test]
fn cut_at_every_byte_the_newest_segment_gives_its_whole_records() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 5);
    let (bytes, ends) = (disk.bytes(FIRST).unwrap(), ends(count));
    assert_eq!(ends.last(), Some(&bytes.len()));
    for cut in 0..=bytes.len() {
        let disk = MemoryDisk::new();
        disk.place(FIRST, &bytes[..cut]);
        let found = open(&disk).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert_eq!(found.records, records(0..whole), "cut at {cut}");
        // Within the header, no log was ever there; behind it, one was.
        assert_eq!(found.existed, cut >= HEADER, "cut at {cut}");
        let kept = ends[..whole as usize].last().copied().unwrap_or(HEADER);
        assert_eq!(found.cut, cut.saturating_sub(kept) as u64, "cut at {cut}");
        let mut wal = found.wal;
        append(&mut wal, whole..whole + 3);
        wal.sync().unwrap();
        let found = open(&disk.crash(cut as u64)).unwrap();
        assert_eq!(found.records, records(0..whole + 3), "cut at {cut}");
    }
}

#[test]
fn cut_at_every_byte_an_older_segment_is_corrupt() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 3);
    let mut wal = open(&disk).unwrap().wal;
    wal.rotate(Slot(0)).unwrap();
    append(&mut wal, count..count + 2);
    wal.sync().unwrap();
    let bytes = disk.bytes(FIRST).unwrap();
    for cut in 0..bytes.len() {
        let disk = disk.fork();
        disk.place(FIRST, &bytes[..cut]);
        assert_eq!(open(&disk).unwrap_err().code(), "corrupt-log", "cut at {cut}");
    }
    assert_eq!(open(&disk).unwrap().records, records(0..count + 2));
}

#[test]
fn a_flipped_bit_is_noticed_or_looks_like_a_torn_last_group() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 4);
    let (length, last_group) = (disk.bytes(FIRST).unwrap().len() as u64, count - 4);
    let durable_before_last = ends(count)[last_group as usize - 1] as u64;
    for byte in 0..length {
        for bit in 0..8 {
            let disk = disk.fork();
            disk.flip(FIRST, byte, bit);
            match open(&disk) {
                Err(error) => {
                    assert_eq!(error.code(), "corrupt-log", "byte {byte}");
                    assert!(error.is_fatal());
                    assert!(byte < durable_before_last, "byte {byte}");
                }
                Ok(found) => {
                    assert!(byte >= durable_before_last, "byte {byte} bit {bit}");
                    let kept = found.records.len() as u64;
                    assert!((last_group..count).contains(&kept), "byte {byte}");
                    assert_eq!(found.records, records(0..kept));
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_an_older_segment_is_corrupt() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 3);
    let mut wal = open(&disk).unwrap().wal;
    wal.rotate(Slot(0)).unwrap();
    append(&mut wal, count..count + 2);
    wal.sync().unwrap();
    for byte in 0..disk.bytes(FIRST).unwrap().len() as u64 {
        let disk = disk.fork();
        disk.flip(FIRST, byte, (byte % 8) as u8);
        assert_eq!(open(&disk).unwrap_err().code(), "corrupt-log", "byte {byte}");
    }
}

#[test]
fn segments_that_are_missing_or_swapped_are_corrupt() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    for n in 0..3 {
        append(&mut wal, n..n + 1);
        wal.rotate(Slot(0)).unwrap();
    }
    for missing in [FIRST, SECOND, THIRD] {
        let gap = disk.fork();
        gap.remove(missing).unwrap();
        assert_eq!(open(&gap).unwrap_err().code(), "corrupt-log", "{missing}");
    }
    let swapped = disk.fork();
    swapped.place(FIRST, disk.bytes(SECOND).unwrap());
    swapped.place(SECOND, disk.bytes(FIRST).unwrap());
    assert_eq!(open(&swapped).unwrap_err().code(), "corrupt-log");
}

#[test]
fn data_of_another_cluster_replica_or_version_is_refused_by_name() {
    let disk = MemoryDisk::new();
    in_groups(&disk, 2);
    let other_chain = Owner { chain: Chain::parse("00000000000000aa").unwrap(), ..owner() };
    let other_replica = Owner { replica: ReplicaId(3), ..owner() };
    for other in [other_chain, other_replica] {
        let error = Wal::open(disk.clone(), other).unwrap_err();
        assert_eq!(error.code(), "foreign-data");
        assert!(error.is_fatal());
        let text = error.to_string();
        assert!(text.contains(&owner().to_string()) && text.contains(&other.to_string()), "{text}");
    }
    let mut bytes = disk.bytes(FIRST).unwrap();
    bytes[6] = 9;
    let crc = crc32fast::hash(&bytes[..52]);
    bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    disk.place(FIRST, bytes);
    let error = open(&disk).unwrap_err();
    assert_eq!(error.code(), "unknown-format");
    assert!(error.to_string().contains("version 9"));
}

#[test]
fn a_record_that_is_too_long_is_refused_and_the_log_goes_on() {
    let disk = MemoryDisk::new();
    let mut wal = Wal::create(disk.clone(), owner()).unwrap();
    let error = wal.append(None, &vec![0; RECORD_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error.code(), "record-too-large");
    assert!(!error.is_fatal());
    append(&mut wal, 0..2);
    wal.sync().unwrap();
    assert_eq!(open(&disk).unwrap().records, records(0..2));
}

#[test]
fn zeros_and_garbage_behind_the_records_are_a_torn_tail() {
    let disk = MemoryDisk::new();
    let count = in_groups(&disk, 3);
    let bytes = disk.bytes(FIRST).unwrap();
    for tail in [vec![0; 4096], vec![0xff; 100], (0..=255).collect(), bytes.clone()] {
        let disk = MemoryDisk::new();
        disk.place(FIRST, [bytes.clone(), tail.clone()].concat());
        let found = open(&disk).unwrap();
        assert_eq!(found.records, records(0..count));
        assert_eq!(found.cut, tail.len() as u64);
    }
}

#[test]
fn a_log_is_never_made_over_another() {
    let disk = MemoryDisk::new();
    Wal::create(disk.clone(), owner()).unwrap();
    let error = Wal::create(disk.clone(), owner()).unwrap_err();
    assert_eq!(error.code(), "log-exists");
    assert!(open(&disk).unwrap().existed);
}

#[test]
fn a_lost_disk_is_known_until_the_replica_has_rejoined() {
    let disk = MemoryDisk::new();
    for start in 0..3 {
        let found = open(&disk).unwrap();
        assert!(!found.existed, "start {start}");
        assert_eq!(found.records, records(0..2 * start));
        let mut wal = found.wal;
        append(&mut wal, 2 * start..2 * start + 2);
        wal.sync().unwrap();
        wal.rotate(Slot(0)).unwrap();
    }
    let mut wal = open(&disk).unwrap().wal;
    append(&mut wal, 6..7);
    wal.rejoined().unwrap();
    wal.rejoined().unwrap();
    append(&mut wal, 7..8);
    wal.sync().unwrap();
    for disk in [disk.fork(), disk.crash(1)] {
        let found = open(&disk).unwrap();
        assert!(found.existed);
        assert_eq!(found.records, records(0..8));
    }
}
