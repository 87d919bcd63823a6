//! Tiles, bundles and paths, judged by the definition and by a crate that others wrote.

use crate::support::{certificate, item, leaves, log_of, naive_path, naive_root};
use quorate_ledger::{FileDisk, Log, LogReader, MemoryDisk, TileKind, TilePath};
use quorate_types::{Digest, Head, Index, Slot};
use tlog_tiles::{HashReader, Tile, TileHashReader, TileReader, tlog::Error};

#[test]
fn roots_and_paths_are_those_of_the_naive_tree_at_every_size() {
    let reader = log_of(&MemoryDisk::new(), 530).reader();
    let leaves = leaves(530);
    for size in (0..=40).chain([255, 256, 257, 511, 512, 513, 530]) {
        let tree = &leaves[..size as usize];
        let head = Head { size, root: naive_root(tree) };
        assert_eq!(reader.root(size).unwrap(), Some(head.root), "size {size}");
        for index in (0..size).filter(|index| size < 41 || index % 37 == 0) {
            let path = naive_path(index as usize, tree);
            assert_eq!(reader.path(Index(index), size).unwrap(), Some(path.clone()));
            assert_eq!(reader.path_to(Index(index), &head).unwrap(), Some(path));
        }
    }
    assert_eq!(reader.path(Index(5), 5).unwrap(), None);
    assert_eq!(reader.path(Index(5), 531).unwrap(), None);
    assert_eq!(reader.root(531).unwrap(), None);
    assert_eq!(reader.path(Index(u64::MAX), u64::MAX).unwrap(), None);
}

#[test]
fn a_path_that_does_not_lead_to_the_head_is_not_handed_out() {
    let reader = log_of(&MemoryDisk::new(), 20).reader();
    let head = Head { size: 20, root: Digest([1; 32]) };
    assert_eq!(reader.path_to(Index(3), &head).unwrap_err().code(), "corrupt-log");
}

#[test]
fn hash_tiles_are_the_subtrees_of_the_naive_tree() {
    let reader = log_of(&MemoryDisk::new(), 1000).reader();
    let leaves = leaves(1000);
    let bytes = |hashes: &[Digest]| hashes.iter().flat_map(|hash| hash.0).collect::<Vec<_>>();
    for n in 0..3 {
        let below = &leaves[n * 256..(n + 1) * 256];
        assert_eq!(reader.tile(0, n as u64, 256).unwrap(), Some(bytes(below)));
    }
    for width in 1..=232_u16 {
        let below = &leaves[768..768 + usize::from(width)];
        assert_eq!(reader.tile(0, 3, width).unwrap(), Some(bytes(below)));
    }
    let above: Vec<_> = leaves.chunks_exact(256).map(naive_root).collect();
    assert_eq!(reader.tile(1, 0, 3).unwrap(), Some(bytes(&above)));
    for (level, n, width) in [
        (0, 3, 233),
        (0, 3, 256),
        (0, 4, 1),
        (0, 0, 0),
        (0, 0, 257),
        (0, u64::MAX, 1),
        (1, 0, 4),
        (1, 1, 1),
        (2, 0, 1),
        (7, 0, 1),
        (8, 0, 1),
        (63, 0, 1),
        (255, 0, 1),
    ] {
        assert_eq!(reader.tile(level, n, width).unwrap(), None, "tile {level} {n} {width}");
    }
}

#[test]
fn entry_bundles_are_length_prefixed_texts_end_to_end() {
    let reader = log_of(&MemoryDisk::new(), 300).reader();
    for (n, width) in [(0, 256), (0, 7), (1, 44), (1, 1)] {
        let mut expected = Vec::new();
        for index in n * 256..n * 256 + u64::from(width) {
            let entry = item(index).entry;
            expected.extend_from_slice(&(entry.len() as u16).to_be_bytes());
            expected.extend_from_slice(entry.as_bytes());
        }
        assert_eq!(reader.entry_bundle(n, width).unwrap(), Some(expected));
    }
    for (n, width) in [(1, 45), (1, 256), (2, 1), (0, 0), (0, 257), (u64::MAX, 256)] {
        assert_eq!(reader.entry_bundle(n, width).unwrap(), None, "bundle {n} {width}");
    }
}

/// Serves our tiles to the other crate, by the path that it asks for.
struct Served(LogReader<MemoryDisk>);

impl TileReader for Served {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            // Their paths name the height, which C2SP fixes and leaves out.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let ours = TilePath::parse(&path).unwrap();
            assert_eq!(ours.to_string(), path);
            let TileKind::Hashes(level) = ours.kind else { panic!("asked for {path}") };
            assert_eq!((level, ours.n), (tile.level(), tile.level_index()));
            self.0.tile(level, ours.n, ours.width).unwrap().unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// A log above 65,536 entries has three levels of tiles.
const LARGE: u64 = 66_000;

#[test]
fn another_implementation_reads_our_tiles_and_finds_our_roots_and_paths() {
    let mut log = log_of(&MemoryDisk::new(), 0);
    let all: Vec<_> = (0..LARGE).map(item).collect();
    log.append(&all).unwrap();
    let served = Served(log.reader());
    for size in [1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, LARGE] {
        let root = served.0.root(size).unwrap().unwrap();
        let theirs = TileHashReader::new(size, tlog_tiles::Hash(root.0), &served);
        assert_eq!(tlog_tiles::tree_hash(size, &theirs).unwrap().0, root.0, "size {size}");
        for index in [0, 1, 254, 255, 256, 511, 65_535, 65_536, LARGE - 1, size - 1, size / 2] {
            if index >= size {
                continue;
            }
            let path = served.0.path(Index(index), size).unwrap().unwrap();
            let proof = tlog_tiles::prove_record(size, index, &theirs).unwrap();
            let same = proof.iter().map(|hash| Digest(hash.0)).eq(path.iter().copied());
            assert!(same, "path of {index} in {size}");
            let leaf = tlog_tiles::record_hash(item(index).entry.as_bytes());
            let ours = path.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect();
            tlog_tiles::check_record(&ours, size, tlog_tiles::Hash(root.0), index, leaf).unwrap();
        }
    }
    let leaf = tlog_tiles::stored_hash_index(0, LARGE - 1);
    let root = tlog_tiles::Hash(served.0.root(LARGE).unwrap().unwrap().0);
    let hash = TileHashReader::new(LARGE, root, &served).read_hashes(&[leaf]).unwrap();
    assert_eq!(Some(Digest(hash[0].0)), served.0.leaf(Index(LARGE - 1)).unwrap());
}

#[test]
fn path_names_agree_with_the_other_implementation() {
    for level in [0, 1, 7, 63] {
        for n in [0, 9, 10, 999, 1000, 123_456_789, 1_000_000_000_000] {
            for width in [1, 5, 99, 255, 256] {
                let theirs = Tile::new(8, level, n, u32::from(width), false).path();
                let ours = TilePath { kind: TileKind::Hashes(level), n, width };
                assert_eq!(ours.to_string(), theirs.replacen("tile/8/", "tile/", 1));
            }
        }
    }
}

#[test]
fn readers_on_other_threads_see_whole_entries_while_the_log_grows() {
    const ENTRIES: u64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(folder.path()).unwrap();
    let mut log = Log::open(disk, crate::support::owner()).unwrap().log;
    let leaves = std::sync::Arc::new(leaves(ENTRIES));
    let readers: Vec<_> = (0..3_u64)
        .map(|seed| {
            let (reader, leaves) = (log.reader(), leaves.clone());
            std::thread::spawn(move || {
                let (mut n, mut checks) = (seed * 77, 0_u64);
                while reader.size() < ENTRIES || checks < 200 {
                    let size = reader.size();
                    if size == 0 {
                        continue;
                    }
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                    let index = (n >> 20) % size;
                    assert_eq!(reader.item(Index(index)).unwrap(), Some(item(index)));
                    let root = naive_root(&leaves[..size as usize]);
                    let path = reader.path_to(Index(index), &Head { size, root }).unwrap();
                    assert!(path.is_some());
                    assert!(reader.entry_bundle(index / 256, 1).unwrap().is_some());
                    if let Some(newest) = reader.newest_certificate().unwrap() {
                        let same = reader.certificate_covering(Index(newest.head.size - 1));
                        assert!(same.unwrap().is_some());
                    }
                    checks += 1;
                }
            })
        })
        .collect();
    let mut n = 0;
    while n < ENTRIES {
        let end = ENTRIES.min(n + 1 + n % 40);
        log.append(&(n..end).map(item).collect::<Vec<_>>()).unwrap();
        log.put_certificate(&certificate(end, end)).unwrap();
        n = end;
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    log.reader().verify().unwrap();
}

#[test]
fn the_log_can_be_synced_on_another_thread_while_it_grows() {
    let disk = MemoryDisk::new();
    let mut log = log_of(&disk, 10);
    let point = log.sync_point();
    log.append(&[item(10)]).unwrap();
    assert_eq!(point.size(), 10);
    std::thread::spawn(move || point.sync()).join().unwrap().unwrap();
    assert!(!log.is_synced(), "one entry came after the point");
    for seed in 0..50 {
        let found = crate::support::open_log(&disk.crash(seed));
        assert!((10..=11).contains(&found.size()));
    }
    log.sync().unwrap();
    assert!(log.is_synced());
    log.append(&[item(11)]).unwrap();
    assert!(!log.is_synced());
}

#[test]
fn certificates_are_found_by_what_they_cover() {
    let mut log = log_of(&MemoryDisk::new(), 30);
    let reader = log.reader();
    assert_eq!(reader.newest_certificate().unwrap(), None);
    assert_eq!(reader.certificate_covering(Index(0)).unwrap(), None);
    for (size, slot) in [(2, 1), (5, 2), (6, 4), (50, 9)] {
        assert!(log.put_certificate(&certificate(size, slot)).unwrap());
    }
    for (size, slot) in [(50, 10), (51, 9), (50, 9), (4, 1)] {
        assert!(!log.put_certificate(&certificate(size, slot)).unwrap(), "{size} {slot}");
    }
    let size = |found: Option<quorate_types::StableCertificate>| found.map(|c| c.head.size);
    let covering: Vec<_> =
        (0..7).map(|n| size(reader.certificate_covering(Index(n)).unwrap())).collect();
    assert_eq!(covering, [2, 2, 5, 5, 5, 6, 50].map(Some));
    assert_eq!(size(reader.certificate_covering(Index(49)).unwrap()), Some(50));
    assert_eq!(reader.certificate_covering(Index(50)).unwrap(), None);
    assert_eq!(reader.newest_certificate().unwrap(), Some(certificate(50, 9)));
    let from: Vec<_> = (0..11).map(|n| size(reader.certificate_from(Slot(n)).unwrap())).collect();
    let (two, five, six, fifty) = (Some(2), Some(5), Some(6), Some(50));
    let expected = [two, two, five, six, six, fifty, fifty, fifty, fifty, fifty, None];
    assert_eq!(from, expected);
}
