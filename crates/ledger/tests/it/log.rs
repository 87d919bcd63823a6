//! The Merkle log: growth, and recovery from every cut and every flipped bit.

use crate::support::{assert_holds, certificate, item, items, log_of, open_log, owner};
use quorate_ledger::{Disk, FileDisk, Log, LogError, MemoryDisk, Owner, log::ENTRY_BYTES_MAX};
use quorate_types::{Chain, Head, Index, LogItem, ReplicaId, StableCertificate};

const ENTRIES: &str = "log-entries";
const EXCHANGES: &str = "log-exchanges";
const CERTIFICATES: &str = "log-certificates";
const HEADER: usize = 56;
const PRIMARY: [&str; 3] = [ENTRIES, EXCHANGES, CERTIFICATES];

fn files(disk: &MemoryDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().map(|(name, _)| name).collect()
}

fn derived(disk: &MemoryDisk) -> Vec<String> {
    files(disk).into_iter().filter(|name| !PRIMARY.contains(&name.as_str())).collect()
}

/// `marked` items made durable, then more up to `count`; a certificate for every fifth.
fn trace(marked: u64, count: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut log = open_log(&disk);
    for n in 0..count {
        log.append(&[item(n)]).unwrap();
        if n % 5 == 4 {
            assert!(log.put_certificate(&certificate(n + 1, n)).unwrap());
        }
        if n + 1 == marked {
            log.sync().unwrap();
        }
    }
    disk
}

fn certificates_of(log: &Log<MemoryDisk>) -> Vec<StableCertificate> {
    let reader = log.reader();
    let mut found = Vec::new();
    let mut index = Index(0);
    while let Some(certificate) = reader.certificate_covering(index).unwrap() {
        index = Index(certificate.head.size);
        found.push(certificate);
    }
    found
}

/// What was there is a prefix of the certificates of [`trace`]; tells how long.
fn certificates_kept(log: &Log<MemoryDisk>) -> u64 {
    let found = certificates_of(log);
    let kept = found.len() as u64;
    assert_eq!(found, (0..kept).map(|n| certificate(5 * n + 5, 5 * n + 4)).collect::<Vec<_>>());
    kept
}

#[test]
fn a_log_grows_and_is_found_again() {
    let disk = MemoryDisk::new();
    for size in [0, 1, 2, 3, 8, 255, 256, 257, 600] {
        drop(log_of(&disk, size));
        assert_holds(&open_log(&disk), size);
    }
    let mut log = open_log(&disk);
    log.sync().unwrap();
    let opened = Log::open(disk.crash(3), owner()).unwrap();
    assert!(!opened.rebuilt && opened.cut == 0);
    assert_holds(&opened.log, 600);
}

#[test]
fn a_real_folder_holds_a_log_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || FileDisk::open(folder.path()).unwrap();
    let mut log = Log::open(disk(), owner()).unwrap().log;
    log.append(&items(0..300)).unwrap();
    log.sync().unwrap();
    log.append(&items(300..310)).unwrap();
    log.put_certificate(&certificate(310, 7)).unwrap();
    drop(log);
    let opened = Log::open(disk(), owner()).unwrap();
    assert_eq!((opened.log.size(), opened.cut, opened.rebuilt), (310, 0, false));
    let reader = opened.log.reader();
    reader.verify().unwrap();
    assert_eq!(reader.item(Index(309)).unwrap(), Some(item(309)));
    assert_eq!(reader.newest_certificate().unwrap(), Some(certificate(310, 7)));
}

#[test]
fn a_batch_touches_each_file_once_and_syncs_none() {
    let disk = MemoryDisk::new();
    let mut log = open_log(&disk);
    let before = disk.counts();
    log.append(&items(0..200)).unwrap();
    let after = disk.counts();
    // Entries, exchanges, the ends of both, and the leaf hashes.
    assert_eq!((after.appends - before.appends, after.syncs - before.syncs), (5, 0));
}

#[test]
fn items_that_cannot_be_stored_are_refused_whole() {
    let disk = MemoryDisk::new();
    let mut log = log_of(&disk, 3);
    for length in [0, ENTRY_BYTES_MAX + 1] {
        let wrong = LogItem { entry: "x".repeat(length), exchange: None, opening: None };
        let error = log.append(&[item(3), wrong]).unwrap_err();
        assert_eq!(error.code(), "item-too-large");
        assert!(!error.is_fatal());
    }
    let longest = LogItem { entry: "x".repeat(ENTRY_BYTES_MAX), exchange: None, opening: None };
    log.append(std::slice::from_ref(&longest)).unwrap();
    log.append(&[]).unwrap();
    drop(log);
    let log = open_log(&disk);
    assert_eq!(log.size(), 4);
    assert_eq!(log.reader().item(Index(3)).unwrap(), Some(longest));
}

/// The records of a file as `(start, end)`, the n-th of which belongs to the n-th item.
fn ends(disk: &MemoryDisk, file: &str) -> Vec<usize> {
    let bytes = disk.bytes(&format!("{file}-ends")).unwrap();
    bytes.chunks_exact(8).map(|end| u64::from_le_bytes(end.try_into().unwrap()) as usize).collect()
}

#[test]
fn unsynced_files_cut_at_every_byte_agree_on_the_shorter_one() {
    let disk = trace(0, 12);
    for file in [ENTRIES, EXCHANGES] {
        let (bytes, ends) = (disk.bytes(file).unwrap(), ends(&disk, file));
        for cut in 0..bytes.len() {
            let disk = disk.fork();
            disk.place(file, &bytes[..cut]);
            let opened = Log::open(disk.clone(), owner());
            if cut < HEADER && cut > 0 {
                // The header was durable before anything else was written.
                let log = opened.unwrap().log;
                assert_holds(&log, 0);
                continue;
            }
            let opened = opened.unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
            assert_holds(&opened.log, whole);
            assert_eq!(certificates_kept(&opened.log), 2);
            drop(opened);
            // What is executed again continues where the log now ends.
            assert_holds(&log_of(&disk, 12), 12);
            assert_holds(&open_log(&disk), 12);
        }
    }
    let bytes = disk.bytes(CERTIFICATES).unwrap();
    let first = HEADER + (bytes.len() - HEADER) / 2;
    for cut in HEADER..bytes.len() {
        let disk = disk.fork();
        disk.place(CERTIFICATES, &bytes[..cut]);
        let mut log = open_log(&disk);
        assert_holds(&log, 12);
        assert_eq!(certificates_kept(&log), u64::from(cut >= first));
        for n in [4, 9] {
            log.put_certificate(&certificate(n + 1, n)).unwrap();
        }
        assert_eq!(certificates_kept(&open_log(&disk)), 2);
    }
}

#[test]
fn synced_files_cut_at_every_byte_are_corrupt() {
    let disk = trace(6, 12);
    for (file, durable) in [
        (ENTRIES, ends(&disk, ENTRIES)[5]),
        (EXCHANGES, ends(&disk, EXCHANGES)[5]),
        (CERTIFICATES, HEADER + (disk.bytes(CERTIFICATES).unwrap().len() - HEADER) / 2),
    ] {
        let bytes = disk.bytes(file).unwrap();
        for cut in 0..bytes.len() {
            let disk = disk.fork();
            disk.place(file, &bytes[..cut]);
            match Log::open(disk, owner()) {
                Ok(opened) => {
                    assert!(cut >= durable, "{file} cut at {cut}");
                    assert!((6..=12).contains(&opened.log.size()));
                    assert_holds(&opened.log, opened.log.size());
                }
                Err(error) => {
                    assert_eq!(error.code(), "corrupt-log", "{file} cut at {cut}");
                    assert!(error.is_fatal() && cut < durable, "{file} cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn derived_files_cut_at_every_byte_or_deleted_are_made_again() {
    let disk = trace(280, 290);
    for file in derived(&disk) {
        let bytes = disk.bytes(&file).unwrap();
        for cut in (0..bytes.len()).filter(|cut| cut % 41 == 0 || cut + 40 > bytes.len()) {
            let disk = disk.fork();
            disk.place(&file, &bytes[..cut]);
            let log = open_log(&disk);
            assert_eq!(log.size(), 290, "{file} cut at {cut}");
            assert!(disk.bytes(&file).unwrap().len() >= cut);
            log.reader().verify().unwrap();
        }
        disk.fork().remove(&file).unwrap();
        let disk = disk.fork();
        disk.remove(&file).unwrap();
        assert_holds(&open_log(&disk), 290);
    }
    let bare = disk.fork();
    for file in derived(&bare) {
        bare.remove(&file).unwrap();
    }
    let opened = Log::open(bare.clone(), owner()).unwrap();
    assert_holds(&opened.log, 290);
    assert_eq!(certificates_kept(&opened.log), 58);
    for file in derived(&bare) {
        assert_eq!(bare.bytes(&file), disk.bytes(&file), "{file}");
    }
}

/// Everything read from a log is right or an error; nothing false is handed out.
fn assert_right_or_refused(log: &Log<MemoryDisk>, heads: &[Head]) -> bool {
    let (reader, mut refused) = (log.reader(), false);
    let mut judge = |result: Result<bool, LogError>| match result {
        Ok(right) => assert!(right),
        Err(error) => {
            assert_eq!(error.code(), "corrupt-log");
            refused = true;
        }
    };
    for n in 0..log.size() {
        judge(reader.entry(Index(n)).map(|found| found == Some(item(n).entry)));
        judge(reader.exchange(Index(n)).map(|found| found == Some(item(n).exchange)));
        for head in heads.iter().filter(|head| n < head.size && head.size <= log.size()) {
            judge(reader.path_to(Index(n), head).map(|path| path.is_some()));
        }
        judge(reader.certificate_covering(Index(n)).map(|found| {
            found.is_none_or(|found| found == certificate(found.head.size, found.head.size - 1))
        }));
    }
    judge(reader.entry_bundle(0, 3).map(|found| {
        let texts = (0..3).map(|n| item(n).entry);
        let expected: Vec<u8> = texts
            .flat_map(|text| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat())
            .collect();
        found.is_none_or(|found| found == expected)
    }));
    refused
}

#[test]
fn a_flipped_bit_anywhere_is_refused_repaired_or_cut_off() {
    let disk = trace(7, 12);
    let heads: Vec<_> = {
        let reader = open_log(&disk).reader();
        [3, 7, 12].map(|size| Head { size, root: reader.root(size).unwrap().unwrap() }).to_vec()
    };
    let mut outcomes = std::collections::BTreeMap::new();
    for file in files(&disk) {
        for byte in 0..disk.bytes(&file).unwrap().len() as u64 {
            let flipped = disk.fork();
            flipped.flip(&file, byte, (byte % 8) as u8);
            let outcome = match Log::open(flipped.clone(), owner()) {
                Err(error) => {
                    assert_eq!(error.code(), "corrupt-log", "{file} byte {byte}: {error}");
                    "refused"
                }
                Ok(opened) => {
                    let mark_lost = file == "log-mark";
                    assert!(opened.log.size() >= 7 || mark_lost, "{file} byte {byte}");
                    let cut = opened.log.size() < 12;
                    if assert_right_or_refused(&opened.log, &heads) {
                        assert!(opened.log.reader().verify().is_err());
                        "found when read"
                    } else {
                        opened.log.reader().verify().unwrap();
                        if cut { "cut off" } else { "harmless" }
                    }
                }
            };
            *outcomes.entry((file.clone(), outcome)).or_insert(0) += 1;
        }
    }
    let count = |file: &str, outcome| outcomes.get(&(file.to_owned(), outcome)).copied();
    // Durable entries are checked when they are read, later ones when the log is opened.
    assert!(count(ENTRIES, "found when read") > Some(300), "{outcomes:?}");
    assert!(count(ENTRIES, "cut off") > Some(200), "{outcomes:?}");
    assert_eq!(count(ENTRIES, "refused"), Some(HEADER as i32), "{outcomes:?}");
    assert_eq!(count(ENTRIES, "harmless"), None, "{outcomes:?}");
    assert_eq!(count(EXCHANGES, "harmless"), None, "{outcomes:?}");
    assert_eq!(count("log-tiles-0", "found when read"), None, "{outcomes:?}");
}

#[test]
fn rot_in_a_full_tile_is_not_served() {
    let disk = trace(0, 600);
    let log = open_log(&disk);
    let reader = log.reader();
    assert!(reader.tile(0, 1, 256).unwrap().is_some());
    disk.flip("log-tiles-0", 300 * 32 + 5, 3);
    assert_eq!(reader.tile(0, 1, 256).unwrap_err().code(), "corrupt-log");
    assert!(reader.tile(0, 0, 256).unwrap().is_some());
    assert_eq!(reader.entry(Index(300)).unwrap_err().code(), "corrupt-log");
    assert_eq!(reader.verify().unwrap_err().code(), "corrupt-log");
    // Opening finds the hashes wrong where they are vouched for, and else makes them again.
    assert_holds(&open_log(&disk), 600);
}

#[test]
fn data_of_another_cluster_or_replica_is_refused_by_name() {
    let disk = trace(5, 6);
    let other_chain = Owner { chain: Chain::parse("00000000000000aa").unwrap(), ..owner() };
    let other_replica = Owner { replica: ReplicaId(3), ..owner() };
    for other in [other_chain, other_replica] {
        for missing in [None, Some("log-mark"), Some(ENTRIES)] {
            let disk = disk.fork();
            if let Some(file) = missing {
                disk.remove(file).unwrap();
            }
            let error = Log::open(disk, other).unwrap_err();
            assert_eq!(error.code(), "foreign-data");
            assert!(error.is_fatal());
            assert!(error.to_string().contains(&owner().to_string()), "{error}");
        }
    }
}

#[test]
fn a_log_is_cut_to_any_size_and_grows_again() {
    for (marked, count) in [(0, 9), (4, 9), (9, 9), (260, 270)] {
        for size in (0..=count).filter(|size| count < 20 || size % 29 == 0 || *size > 250) {
            let disk = trace(marked, count);
            let mut log = open_log(&disk);
            let certificates = certificates_kept(&log);
            log.truncate_to(size).unwrap();
            log.truncate_to(count + 1).unwrap();
            assert_holds(&log, size);
            assert_eq!(certificates_kept(&log), certificates);
            assert_holds(&open_log(&disk), size);
            drop(log);
            assert_holds(&log_of(&disk, size + 3), size + 3);
            assert_holds(&open_log(&disk), size + 3);
        }
    }
}
