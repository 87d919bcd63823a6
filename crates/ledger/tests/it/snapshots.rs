//! Snapshots: all or nothing, two kept, and the older one when the newer is damaged.

use crate::support::owner;
use quorate_ledger::{
    Disk, FileDisk, MemoryDisk, Owner, Snapshot, SnapshotError, Snapshots, memory_disk::Fault,
};
use quorate_types::{ReplicaId, Slot};

fn name(slot: u64) -> String {
    format!("snapshot-{slot:016x}")
}

fn manifest(slot: u64) -> Vec<u8> {
    format!("manifest of {slot}").into()
}

fn chunks(slot: u64) -> Vec<Vec<u8>> {
    (0..4).map(|n| vec![(slot + n) as u8; (n * 11) as usize]).collect()
}

fn save(disk: &MemoryDisk, slot: u64) -> Result<(), SnapshotError> {
    Snapshots::new(disk.clone(), owner()).save(Slot(slot), &manifest(slot), chunks(slot))
}

fn newest(disk: &MemoryDisk) -> (Option<u64>, usize) {
    let loaded = Snapshots::new(disk.clone(), owner()).newest().unwrap();
    if let Some(snapshot) = &loaded.snapshot {
        assert_is_saved(snapshot);
    }
    (loaded.snapshot.map(|snapshot| snapshot.slot().0), loaded.warnings.len())
}

fn assert_is_saved(snapshot: &Snapshot<impl Disk>) {
    let slot = snapshot.slot().0;
    assert_eq!(snapshot.manifest(), manifest(slot));
    assert_eq!(snapshot.chunks(), 4);
    let read: Vec<_> = (0..4).map(|n| snapshot.chunk(n).unwrap().unwrap()).collect();
    assert_eq!(read, chunks(slot));
    assert_eq!(snapshot.chunk(4).unwrap(), None);
}

#[test]
fn the_newest_of_two_kept_snapshots_is_found() {
    let disk = MemoryDisk::new();
    assert_eq!(newest(&disk), (None, 0));
    for slot in [3, 300, 20_000, 20_001] {
        save(&disk, slot).unwrap();
        assert_eq!(newest(&disk), (Some(slot), 0));
    }
    let files: Vec<_> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, [name(20_000), name(20_001)]);
}

#[test]
fn a_real_folder_holds_snapshots_too() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = || Snapshots::new(FileDisk::open(folder.path()).unwrap(), owner());
    for slot in 1..5 {
        snapshots().save(Slot(slot), &manifest(slot), chunks(slot)).unwrap();
    }
    let loaded = snapshots().newest().unwrap();
    assert_is_saved(&loaded.snapshot.unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_snapshot_without_chunks_is_one() {
    let disk = MemoryDisk::new();
    let mut snapshots = Snapshots::new(disk, owner());
    snapshots.save(Slot(1), b"", [b""; 0]).unwrap();
    let snapshot = snapshots.newest().unwrap().snapshot.unwrap();
    assert_eq!((snapshot.manifest(), snapshot.chunks()), (&b""[..], 0));
    assert_eq!(snapshot.chunk(0).unwrap(), None);
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_older_one_with_a_warning() {
    let disk = MemoryDisk::new();
    save(&disk, 5).unwrap();
    save(&disk, 6).unwrap();
    let bytes = disk.bytes(&name(6)).unwrap();
    for byte in 0..bytes.len() {
        let flipped = disk.fork();
        flipped.flip(&name(6), byte as u64, (byte % 8) as u8);
        assert_eq!(newest(&flipped), (Some(5), 1), "bit of byte {byte} flipped");
        let cut = disk.fork();
        cut.place(&name(6), &bytes[..byte]);
        assert_eq!(newest(&cut), (Some(5), 1), "cut at {byte}");
    }
    let longer = disk.fork();
    longer.place(&name(6), [&bytes[..], b"more"].concat());
    assert_eq!(newest(&longer), (Some(6), 0), "what follows the end is not read");
}

#[test]
fn a_damaged_snapshot_is_not_kept_in_place_of_a_sound_one() {
    let disk = MemoryDisk::new();
    save(&disk, 5).unwrap();
    save(&disk, 6).unwrap();
    disk.flip(&name(6), 60, 0);
    let mut snapshots = Snapshots::new(disk.clone(), owner());
    assert_eq!(snapshots.newest().unwrap().snapshot.unwrap().slot(), Slot(5));
    snapshots.save(Slot(7), &manifest(7), chunks(7)).unwrap();
    let files: Vec<_> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, [name(5), name(7)]);
}

#[test]
fn rot_after_loading_is_noticed_chunk_by_chunk() {
    let disk = MemoryDisk::new();
    save(&disk, 5).unwrap();
    let snapshot = Snapshots::new(disk.clone(), owner()).newest().unwrap().snapshot.unwrap();
    let last = disk.bytes(&name(5)).unwrap().len() as u64 - 17;
    disk.flip(&name(5), last, 1);
    assert!(snapshot.chunk(2).unwrap().is_some());
    let error = snapshot.chunk(3).unwrap_err();
    assert_eq!(error.code(), "corrupt-snapshot");
    assert!(!error.is_fatal());
}

#[test]
fn snapshots_of_another_replica_are_refused() {
    let disk = MemoryDisk::new();
    save(&disk, 5).unwrap();
    let other = Owner { replica: ReplicaId(0), ..owner() };
    let error = Snapshots::new(disk, other).newest().unwrap_err();
    assert_eq!(error.code(), "foreign-data");
    assert!(error.is_fatal());
}

#[test]
fn a_save_is_done_or_not_wherever_a_crash_interrupts_it() {
    let mut outcomes = std::collections::BTreeSet::new();
    for (stop, seed) in (0..16).flat_map(|stop| (0..20).map(move |seed| (stop, seed))) {
        let disk = MemoryDisk::new();
        save(&disk, 5).unwrap();
        save(&disk, 6).unwrap();
        disk.stop_after(stop);
        let saved = save(&disk, 7).is_ok();
        let left = disk.crash(seed);
        let (found, warnings) = newest(&left);
        assert_eq!(warnings, 0, "an interrupted save is not damage");
        assert!(found == Some(7) || (found == Some(6) && !saved));
        outcomes.insert((saved, found));
        save(&left, 8).unwrap();
        assert_eq!(newest(&left), (Some(8), 0));
        assert!(left.list().unwrap().len() <= 2);
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

#[test]
fn a_full_or_read_only_disk_leaves_the_older_snapshots() {
    for room in 0..1000 {
        let disk = MemoryDisk::new();
        save(&disk, 5).unwrap();
        disk.limit_room(Some(room));
        let Err(error) = save(&disk, 6) else {
            assert!(room > 150);
            break;
        };
        assert_eq!(error.code(), "disk-full");
        assert!(!error.is_fatal());
        assert_eq!(newest(&disk), (Some(5), 0));
        disk.limit_room(None);
        save(&disk, 6).unwrap();
        assert_eq!(newest(&disk.crash(room)), (Some(6), 0));
    }
    let disk = MemoryDisk::new();
    save(&disk, 5).unwrap();
    disk.set_read_only(true);
    assert_eq!(save(&disk, 6).unwrap_err().code(), "read-only");
    assert_eq!(newest(&disk), (Some(5), 0));
}

#[test]
fn a_failed_fsync_is_fatal() {
    for successes in 0..2 {
        let disk = MemoryDisk::new();
        save(&disk, 5).unwrap();
        disk.strike_after(successes, Fault::SyncError);
        let error = save(&disk, 6).unwrap_err();
        assert_eq!(error.code(), "fsync-failed");
        assert!(error.is_fatal());
        assert_eq!(newest(&disk.crash(1)).0, Some(5 + successes));
    }
}

#[test]
fn a_long_snapshot_is_synced_in_portions_each_of_which_may_fail() {
    const PORTION: usize = 1 << 20;
    let long = || (0..40).map(|n| vec![n; PORTION / 8]);
    let disk = MemoryDisk::new();
    let save_long = || Snapshots::new(disk.clone(), owner()).save(Slot(6), b"long", long());
    save(&disk, 5).unwrap();
    let before = disk.counts().syncs;
    save_long().unwrap();
    let syncs = disk.counts().syncs - before;
    assert_eq!(syncs, 40 / 8 + 2, "one a portion, one for the rest, and one for its name");
    for successes in 0..syncs {
        let disk = MemoryDisk::new();
        save(&disk, 5).unwrap();
        disk.strike_after(successes, Fault::SyncError);
        let saved = Snapshots::new(disk.clone(), owner()).save(Slot(6), b"long", long());
        assert!(saved.unwrap_err().is_fatal());
        let loaded = Snapshots::new(disk.crash(1), owner()).newest().unwrap();
        let is_named = successes + 1 == syncs;
        assert_eq!(loaded.snapshot.unwrap().slot().0, if is_named { 6 } else { 5 });
    }
}
