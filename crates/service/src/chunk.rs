//! A range of a state that proves itself.

use crate::hash::{HEIGHT, bucket_hash, key_length, node_hash, place, value_hash};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_types::Digest;

/// Into how many chunks a state is cut: one for each first byte of a key's SHA-256.
pub const CHUNKS: u16 = 256;

/// Buckets of one chunk.
const BUCKETS: usize = 256;

/// Hashes from a chunk up to the root.
const PATH: usize = HEIGHT - 8;

/// One range of a state: all its items, and the hashes that lead from it to the root.
///
/// A chunk that verifies holds exactly the items that the state with that root has in the range:
/// none is missing, changed, added or moved.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Keys and values, by the first two bytes of the key's SHA-256, then by key.
    pub items: Vec<(Bytes, Bytes)>,
    /// The hashes beside the way to the root, lowest first.
    pub path: Vec<Digest>,
}

impl Chunk {
    /// Whether this is chunk `number` of the state with that root.
    #[must_use]
    pub fn verify(&self, number: u16, root: &Digest) -> bool {
        number < CHUNKS && self.path.len() == PATH && self.root(number).as_ref() == Some(root)
    }

    /// The root that items and path lead to; `None` when an item is out of range or out of order.
    fn root(&self, number: u16) -> Option<Digest> {
        let mut hash = tree_hash(&self.buckets(number)?);
        for (level, sibling) in self.path.iter().enumerate() {
            hash = match number >> level & 1 {
                0 => node_hash(&hash, sibling),
                _ => node_hash(sibling, &hash),
            };
        }
        Some(hash)
    }

    /// The hashes of the chunk's buckets.
    fn buckets(&self, number: u16) -> Option<Vec<Digest>> {
        let places: Vec<u16> = self.items.iter().map(|(key, _)| place(key)).collect();
        let in_range = places.iter().all(|place| place >> 8 == number);
        let keys = || places.iter().zip(&self.items).map(|(place, (key, _))| (place, key));
        let in_order = keys().zip(keys().skip(1)).all(|(earlier, later)| earlier < later);
        if !in_range || !in_order {
            return None;
        }
        let mut rest = 0;
        let bucket = |low: usize| {
            let start = rest;
            let held = places[start..].iter().take_while(|&&place| usize::from(place & 255) == low);
            rest += held.count();
            let mut records = Vec::new();
            for (key, value) in &self.items[start..rest] {
                records.extend(key_length(key).to_be_bytes());
                records.extend_from_slice(key);
                records.extend_from_slice(value_hash(value).as_ref());
            }
            bucket_hash(&records)
        };
        Some((0..BUCKETS).map(bucket).collect())
    }
}

/// The hash at the top of a power of two of hashes.
fn tree_hash(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => Digest::ZERO,
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}
