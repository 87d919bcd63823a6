//! What the root of a state is the hash of.
//!
//! - A key belongs to the *bucket* named by the first two bytes of its SHA-256.
//! - A bucket's hash is SHA-256(0x00 || for each of its items, in order of keys: the key's length
//!   as 4 bytes big-endian, the key, SHA-256(value)). An empty bucket's is SHA-256(0x00).
//! - A node's hash is SHA-256(0x01 || left || right); the root is 16 levels above the buckets.

use quorate_types::Digest;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// Levels of nodes above the buckets.
pub(crate) const HEIGHT: usize = 16;

/// The bucket of a key.
pub(crate) fn place(key: &[u8]) -> u16 {
    let [high, low, ..] = <[u8; 32]>::from(Sha256::digest(key));
    u16::from_be_bytes([high, low])
}

/// The hash of a value.
pub(crate) fn value_hash(value: &[u8]) -> Digest {
    Digest(Sha256::digest(value).into())
}

/// What stands before a key. No key comes near 2^32 bytes: a request's head is bounded at some
/// kilobytes.
pub(crate) fn key_length(key: &[u8]) -> u32 {
    u32::try_from(key.len()).unwrap_or(u32::MAX)
}

/// The hash of a bucket with these records, which are in order of their keys.
pub(crate) fn bucket_hash(records: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(records).finalize().into())
}

/// What the root tells of an item: its key, with the bucket that it belongs to, and the hash of its
/// value. In a state they are in order of (bucket, key).
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    place: u16,
    key: &'a [u8],
    value: Digest,
}

impl<'a> Record<'a> {
    pub(crate) fn new(key: &'a [u8], value: Digest) -> Self {
        Self { place: place(key), key, value }
    }

    /// Whether the records are those of a state, in order, none twice, all in the buckets of the
    /// part of the tree so many levels high that holds `bucket`.
    pub(crate) fn are_in(records: &[Self], levels: u32, bucket: u16) -> bool {
        let part = |place: u16| u32::from(place) >> levels;
        records.iter().all(|record| part(record.place) == part(bucket))
            && records.is_sorted_by(|a, b| (a.place, a.key) < (b.place, b.key))
    }
}

/// The hash of the part of the tree so many levels high that has these records, which
/// [`Record::are_in`] it.
pub(crate) fn part_hash(records: &[Record<'_>], levels: u32) -> Digest {
    match (records, levels) {
        ([], _) => empty(levels as usize),
        (_, 0) => {
            let mut bytes = Vec::new();
            for Record { key, value, .. } in records {
                bytes.extend(key_length(key).to_be_bytes());
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(value.as_ref());
            }
            bucket_hash(&bytes)
        }
        (_, levels) => {
            let left = |record: &Record<'_>| record.place >> (levels - 1) & 1 == 0;
            let (left, right) = records.split_at(records.partition_point(left));
            node_hash(&part_hash(left, levels - 1), &part_hash(right, levels - 1))
        }
    }
}

/// The root that a path leads to, lowest hash first, from part number `part` of its level.
pub(crate) fn climb(hash: Digest, part: u32, path: &[Digest]) -> Digest {
    path.iter().enumerate().fold(hash, |hash, (level, sibling)| match part >> level & 1 {
        0 => node_hash(&hash, sibling),
        _ => node_hash(sibling, &hash),
    })
}

/// The hash of a node.
pub(crate) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    // In one piece: a hasher that is fed three takes twice as long.
    let mut node = [1; 1 + 2 * Digest::SIZE];
    let (_, digests) = node.split_at_mut(1);
    digests[..Digest::SIZE].copy_from_slice(left.as_ref());
    digests[Digest::SIZE..].copy_from_slice(right.as_ref());
    Digest(Sha256::digest(node).into())
}

/// The hash of an empty part of the tree, so many levels above its buckets, at most [`HEIGHT`].
pub(crate) fn empty(levels: usize) -> Digest {
    static EMPTY: LazyLock<[Digest; HEIGHT + 1]> = LazyLock::new(|| {
        let mut levels = [bucket_hash(&[]); HEIGHT + 1];
        for level in 1..=HEIGHT {
            levels[level] = node_hash(&levels[level - 1], &levels[level - 1]);
        }
        levels
    });
    EMPTY[levels]
}
