//! The Merkle log: growth, tiles, recovery.

use crate::support::{assert_holds, leaves, log_of, naive_path, naive_root, open_log};
use quorate_ledger::MemoryDisk;
use quorate_types::Index;

#[test]
fn a_log_grows_and_is_found_again() {
    let disk = MemoryDisk::new();
    for size in [0, 1, 2, 3, 8, 255, 256, 257, 600] {
        drop(log_of(&disk, size));
        assert_holds(&open_log(&disk), size);
    }
}

#[test]
fn roots_and_paths_are_those_of_the_naive_tree_at_every_size() {
    let disk = MemoryDisk::new();
    let reader = log_of(&disk, 530).reader();
    let leaves = leaves(530);
    for size in (0..=40).chain([255, 256, 257, 511, 512, 513, 530]) {
        let tree = &leaves[..size as usize];
        assert_eq!(reader.root(size).unwrap(), Some(naive_root(tree)), "size {size}");
        for index in (0..size).filter(|index| size < 41 || index % 37 == 0) {
            let path = reader.path(Index(index), size).unwrap();
            assert_eq!(path, Some(naive_path(index as usize, tree)), "{index} of {size}");
        }
    }
    assert_eq!(reader.path(Index(5), 5).unwrap(), None);
    assert_eq!(reader.path(Index(5), 531).unwrap(), None);
}
