//! A range of a state that proves itself, whatever its size: for files.

use crate::hash::{HEIGHT, Record, climb, part_hash, value_hash};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_types::Digest;

/// Into how many chunks a state is cut: one for each first byte of a key's SHA-256.
pub const CHUNKS: u16 = 256;

/// Levels of the tree within a chunk.
const LEVELS: u32 = 8;

/// One range of a state: all its items, and the hashes that lead from it to the root.
///
/// A chunk has no bound: who asks a peer asks for a [`Page`](crate::Page).
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
        if number >= CHUNKS || self.path.len() != HEIGHT - LEVELS as usize {
            return false;
        }
        let items = self.items.iter();
        let records: Vec<Record<'_>> =
            items.map(|(key, value)| Record::new(key, value_hash(value))).collect();
        Record::are_in(&records, LEVELS, number << LEVELS)
            && climb(part_hash(&records, LEVELS), u32::from(number), &self.path) == *root
    }
}
