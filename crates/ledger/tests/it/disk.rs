//! Both folders keep the same contract; the one in memory also loses what it may lose.

use proptest::prelude::*;
use quorate_ledger::{Disk, DiskError, FileDisk, MemoryDisk, memory_disk::Fault};

fn read(disk: &impl Disk, file: &str, offset: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0xee; length];
    let read = disk.read(file, offset, &mut bytes).map_err(|error| error.code().to_owned())?;
    bytes.truncate(read);
    Ok(bytes)
}

fn keeps_the_contract(disk: &impl Disk) {
    assert_eq!(disk.list().unwrap(), []);
    assert_eq!(read(disk, "a", 0, 1), Err("file-missing".to_owned()));
    assert_eq!(disk.sync("a").unwrap_err().code(), "file-missing");
    assert_eq!(disk.truncate("a", 0).unwrap_err().code(), "file-missing");
    assert_eq!(disk.remove("a").unwrap_err().code(), "file-missing");
    assert_eq!(disk.rename("a", "b").unwrap_err().code(), "file-missing");

    disk.append("a", b"hello ").unwrap();
    disk.append("a", b"world").unwrap();
    disk.append("empty", b"").unwrap();
    disk.sync("a").unwrap();
    assert_eq!(disk.list().unwrap(), [("a".to_owned(), 11), ("empty".to_owned(), 0)]);
    assert_eq!(read(disk, "a", 0, 11).unwrap(), b"hello world");
    assert_eq!(read(disk, "a", 6, 100).unwrap(), b"world");
    assert_eq!(read(disk, "a", 11, 1).unwrap(), b"");
    assert_eq!(read(disk, "a", 1000, 1).unwrap(), b"");

    disk.truncate("a", 100).unwrap();
    assert_eq!(read(disk, "a", 0, 100).unwrap(), b"hello world");
    disk.truncate("a", 5).unwrap();
    disk.append("a", b"!").unwrap();
    assert_eq!(read(disk, "a", 0, 100).unwrap(), b"hello!");

    // Another handle sees the same folder, and a replaced file is the new one at once.
    let other = disk.clone();
    other.append("b", b"second").unwrap();
    assert_eq!(read(disk, "b", 0, 100).unwrap(), b"second");
    disk.rename("a", "b").unwrap();
    assert_eq!(read(&other, "b", 0, 100).unwrap(), b"hello!");
    other.append("b", b"?").unwrap();
    disk.sync("b").unwrap();
    assert_eq!(read(disk, "b", 0, 100).unwrap(), b"hello!?");
    disk.remove("b").unwrap();
    assert_eq!(read(&other, "b", 0, 1), Err("file-missing".to_owned()));
    disk.append("b", b"new").unwrap();
    assert_eq!(read(&other, "b", 0, 100).unwrap(), b"new");
}

#[test]
fn a_real_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(&FileDisk::open(folder.path().join("deep/er")).unwrap());
}

#[test]
fn a_folder_in_memory_keeps_the_contract() {
    keeps_the_contract(&MemoryDisk::new());
}

#[test]
fn a_real_folder_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(folder.path().join("data")).unwrap();
    disk.append("file", b"x").unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(disk.path()), 0o700);
    assert_eq!(mode(&disk.path().join("file")), 0o600);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let error = FileDisk::open(folder.path().join("file/data")).unwrap_err();
    assert_eq!(error.code(), "disk-failed");
}

#[test]
fn system_errors_are_told_apart() {
    let code = |number| {
        DiskError::from_io("append", "f", std::io::Error::from_raw_os_error(number)).code()
    };
    // ENOSPC, EDQUOT, EROFS, ENOENT, EIO as Linux numbers them.
    assert_eq!(
        [28, 122, 30, 2, 5].map(code),
        ["disk-full", "disk-full", "read-only", "file-missing", "disk-failed"]
    );
}

#[test]
fn a_crash_keeps_what_was_synced_and_may_lose_the_rest() {
    let disk = MemoryDisk::new();
    disk.append("f", &[1; 1000]).unwrap();
    disk.sync("f").unwrap();
    disk.append("f", &[2; 3000]).unwrap();
    let (mut lengths, mut seen) = (std::collections::BTreeSet::new(), [0; 4]);
    for seed in 0..200 {
        let crashed = disk.crash(seed);
        let left = crashed.bytes("f").unwrap();
        assert_eq!(left[..1000], [1; 1000]);
        let kinds = [
            left.len() == 4000 && left[1000..] == [2; 3000],
            left[1000..].windows(2).any(|pair| pair == [0, 2]),
            left[1000..].contains(&1),
            left[1000..].iter().any(|byte| *byte > 2),
        ];
        seen.iter_mut().zip(kinds).for_each(|(count, kind)| *count += u64::from(kind));
        assert_eq!(crashed.take_struck().contains_key("disk-torn"), !kinds[0]);
        lengths.insert(left.len());
        assert_eq!(disk.crash(seed).bytes("f").unwrap(), left, "a seed says what is left");
    }
    assert!(lengths.contains(&1000) && lengths.contains(&4000) && lengths.len() > 50);
    assert!(seen[0] <= 40, "of an unsynced write, all survived {} times in 200", seen[0]);
    assert!(seen.iter().all(|&count| count > 5), "whole, holes, older bytes, garbage: {seen:?}");
}

#[test]
fn a_write_that_is_lost_holds_zeros_and_one_that_is_forgotten_is_gone_after_the_crash() {
    let disk = MemoryDisk::new();
    disk.strike_after(1, Fault::LostWrite);
    disk.strike_after(2, Fault::ForgottenWrite);
    for bytes in [b"one", b"two", b"six"] {
        disk.append("f", bytes).unwrap();
    }
    disk.sync("f").unwrap();
    assert_eq!(disk.bytes("f").unwrap(), b"one\0\0\0six");
    assert_eq!(disk.fork().bytes("f").unwrap(), b"one\0\0\0six", "the machine goes on");
    let left: std::collections::BTreeSet<_> =
        (0..20).map(|seed| disk.crash(seed).bytes("f").unwrap()).collect();
    let expected = [&b"one\0\0\0"[..], b"one\0\0\0\0\0\0"];
    assert_eq!(left.iter().collect::<Vec<_>>(), expected);
    let struck = disk.take_struck();
    assert_eq!(struck.keys().copied().collect::<Vec<_>>(), FORGETFUL);
    assert!(disk.take_struck().is_empty(), "it was told");
}

const FORGETFUL: [&str; 2] = ["disk-forgotten-write", "disk-lost-write"];

#[test]
fn a_sync_that_is_ignored_makes_nothing_durable_until_one_is_not() {
    let disk = MemoryDisk::new();
    disk.append("f", b"one").unwrap();
    disk.sync("f").unwrap();
    disk.ignore_syncs(true);
    disk.append("f", b"two").unwrap();
    disk.sync("f").unwrap();
    assert_eq!(disk.take_struck(), [("fsync-ignored", 1)].into());
    assert!((0..40).any(|seed| disk.crash(seed).bytes("f").unwrap() == b"one"));
    disk.ignore_syncs(false);
    disk.sync("f").unwrap();
    assert!((0..40).all(|seed| disk.crash(seed).bytes("f").unwrap() == b"onetwo"));
}

#[test]
fn a_misdirected_write_lies_over_others_and_not_where_it_belongs() {
    let mut places = std::collections::BTreeSet::new();
    for n in 0..60 {
        let disk = MemoryDisk::new();
        disk.append("a", &vec![1; 1500 + n]).unwrap();
        disk.append("b", &[1; 1500]).unwrap();
        disk.sync("a").unwrap();
        disk.sync("b").unwrap();
        disk.strike_after(0, Fault::MisdirectedWrite);
        disk.append("a", &[7; 100]).unwrap();
        disk.sync("a").unwrap();
        let [a, b] = ["a", "b"].map(|file| disk.crash(1).bytes(file).unwrap());
        assert_eq!((a.len(), b.len()), (1600 + n, 1500), "no file is longer for it");
        let found = |file: &[u8]| file.iter().position(|byte| *byte == 7);
        let (in_a, in_b) = (found(&a), found(&b));
        assert!(in_a.is_none() || in_b.is_none());
        assert!(a[1500 + n..].iter().all(|byte| [0, 7].contains(byte)));
        places.extend(in_a.map(|at| ("a", at)).or(in_b.map(|at| ("b", at))));
    }
    assert!(places.len() > 4, "{places:?}");
    assert!(places.iter().all(|(_, at)| at % 512 == 0), "{places:?}");
}

#[test]
fn a_failed_write_leaves_a_part_and_strikes_once() {
    let disk = MemoryDisk::new();
    disk.strike_after(1, Fault::WriteError);
    disk.append("f", b"whole").unwrap();
    assert_eq!(disk.append("f", b"failing").unwrap_err().code(), "disk-failed");
    let bytes = disk.bytes("f").unwrap();
    assert!(b"wholefailing".starts_with(&bytes[..]) && (5..12).contains(&bytes.len()));
    disk.append("f", b"!").unwrap();
    assert_eq!(disk.take_struck(), [("disk-write-error", 1)].into());
}

#[test]
fn rot_inverts_one_bit_of_what_is_durable() {
    let disk = MemoryDisk::new();
    assert_eq!(disk.rot(1), None, "nothing is there");
    disk.append("f", &[0; 100]).unwrap();
    disk.append("g", &[0; 10]).unwrap();
    assert_eq!(disk.rot(1), None, "nothing is durable");
    disk.sync("f").unwrap();
    disk.append("f", &[0; 100]).unwrap();
    for seed in 0..50 {
        let rotten = disk.fork();
        assert_eq!(rotten.rot(seed).as_deref(), Some("f"));
        let bytes = rotten.bytes("f").unwrap();
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(ones, 1);
        assert!(bytes[100..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn refusals_of_a_full_or_read_only_disk_are_counted_and_healed() {
    let disk = MemoryDisk::new();
    disk.limit_room(Some(2));
    assert_eq!(disk.append("f", b"abc").unwrap_err().code(), "disk-full");
    disk.set_read_only(true);
    assert_eq!(disk.append("f", b"abc").unwrap_err().code(), "read-only");
    disk.heal();
    disk.append("f", b"c").unwrap();
    assert_eq!(disk.take_struck(), [("disk-full", 1), ("disk-read-only", 1)].into());
}

#[test]
fn names_become_durable_in_order_with_the_next_sync() {
    let disk = MemoryDisk::new();
    disk.append("old", b"old").unwrap();
    disk.sync("old").unwrap();
    disk.append("new", b"new").unwrap();
    disk.rename("new", "old").unwrap();
    disk.append("other", b"").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let left = disk.crash(seed);
        let files: Vec<_> = left.list().unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(files.contains(&"old".to_owned()), "a name is never without a file");
        seen.insert(files.join(" "));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["new old", "old", "old other"]);
    disk.sync("old").unwrap();
    assert_eq!(disk.crash(7).bytes("old").unwrap(), b"new");
}

#[test]
fn bytes_whose_sync_failed_are_lost_whatever_syncs_follow() {
    let disk = MemoryDisk::new();
    disk.append("f", b"safe").unwrap();
    disk.sync("f").unwrap();
    disk.append("f", b"gone").unwrap();
    disk.strike_after(0, Fault::SyncError);
    assert_eq!(disk.sync("f").unwrap_err().code(), "disk-failed");
    disk.append("f", b"more").unwrap();
    disk.sync("f").unwrap();
    assert_eq!(disk.bytes("f").unwrap(), b"safegonemore");
    assert_eq!(disk.take_struck(), [("fsync-failed", 1)].into());
    assert_eq!(disk.crash(1).bytes("f").unwrap(), b"safe\0\0\0\0more");
}

#[test]
fn an_unsynced_cut_has_happened_or_not() {
    let disk = MemoryDisk::new();
    disk.append("f", b"abcdef").unwrap();
    disk.sync("f").unwrap();
    disk.truncate("f", 2).unwrap();
    disk.append("f", b"X").unwrap();
    let left: std::collections::BTreeSet<_> =
        (0..100).map(|seed| disk.crash(seed).bytes("f").unwrap()).collect();
    assert!(left.contains(&b"abcdef"[..]) && left.contains(&b"ab"[..]));
    assert!(left.contains(&b"abX"[..]));
}

#[test]
fn a_fork_is_independent_and_free_of_faults() {
    let disk = MemoryDisk::new();
    disk.append("f", b"one").unwrap();
    disk.set_read_only(true);
    let fork = disk.fork();
    fork.append("f", b"two").unwrap();
    assert_eq!(disk.append("f", b"x").unwrap_err().code(), "read-only");
    assert_eq!(disk.bytes("f").unwrap(), b"one");
    assert_eq!(fork.bytes("f").unwrap(), b"onetwo");
}

proptest! {
    /// Whatever is done to it, both folders show a process the same bytes.
    #[test]
    fn memory_and_files_agree(
        steps in prop::collection::vec((0..6_u8, 0..3_usize, 0..40_u64), 1..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (files, memory) = (FileDisk::open(folder.path()).unwrap(), MemoryDisk::new());
        let names = ["a", "b", "c"];
        for (step, file, n) in steps {
            let (name, other) = (names[file], names[(file + 1) % 3]);
            let done = |disk: &dyn Fn() -> Result<(), DiskError>| disk().map_err(|e| e.code());
            let bytes = vec![n as u8; n as usize];
            let (left, right) = match step {
                0 | 1 => {
                    (done(&|| files.append(name, &bytes)), done(&|| memory.append(name, &bytes)))
                }
                2 => (done(&|| files.sync(name)), done(&|| memory.sync(name))),
                3 => (done(&|| files.truncate(name, n)), done(&|| memory.truncate(name, n))),
                4 => (done(&|| files.rename(name, other)), done(&|| memory.rename(name, other))),
                _ => (done(&|| files.remove(name)), done(&|| memory.remove(name))),
            };
            prop_assert_eq!(left, right);
            prop_assert_eq!(files.list().unwrap(), memory.list().unwrap());
            for name in names {
                prop_assert_eq!(read(&files, name, n / 2, 50), read(&memory, name, n / 2, 50));
            }
        }
    }
}
