//! The tree of a state in memory: four levels of sixteen-way branches above the buckets.
//!
//! Every part is shared by the states that were cloned from each other, and copied on the first
//! change; so a clone costs one reference count, and a change after it copies one short path. A
//! branch holds the hashes of its own part of the binary hash tree in one flat array. Parts that
//! were never filled take no memory.

use crate::hash::{bucket_hash, empty, key_length, node_hash, value_hash};
use bytes::Bytes;
use quorate_types::Digest;
use std::{cmp::Ordering, ops::Range, sync::Arc};

/// The whole tree.
pub(crate) type Root = Branch<Branch<Group>>;
/// The part of the tree that one chunk of state transfer carries: 256 buckets.
pub(crate) type Group = Branch<Branch<Bucket>>;

/// A key with its value.
pub(crate) type Item<'a> = (&'a [u8], &'a Bytes);

/// A part of the tree: a branch or a bucket. A `place` is a bucket's number, shifted to the left by
/// the bits that were used on the way down.
pub(crate) trait Part: Clone + Default {
    /// Levels of the binary hash tree from the buckets to the top of this part.
    const LEVELS: usize;

    /// Whether no item is in it.
    fn is_empty(&self) -> bool;

    /// The bucket at a place, if it was ever filled.
    fn bucket(&self, place: u16) -> Option<&Bucket>;

    /// The bucket at a place, which is about to change.
    fn bucket_mut(&mut self, place: u16) -> &mut Bucket;

    /// The hash of the part, after hashing again what changed.
    fn rehash(part: &mut Arc<Self>) -> Digest;

    /// Appends the hashes beside the way from a bucket to the top of this part, lowest first.
    fn path(&self, place: u16, out: &mut Vec<Digest>);

    /// Appends the items of all its buckets, in order.
    fn items<'a>(&'a self, out: &mut Vec<Item<'a>>);

    /// Appends the items of the part of it so many levels high that begins at a place, in order.
    fn items_in<'a>(&'a self, place: u16, levels: usize, out: &mut Vec<Item<'a>>);
}

/// The items whose keys' hashes begin alike, by ascending key.
///
/// Keys and value hashes lie in one run of bytes, which is also what the bucket's hash is over: a
/// search and a hash read memory in order, and an item takes little beside its key and value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    /// For each item: the key's length as 4 bytes big-endian, the key, SHA-256(value).
    records: Vec<u8>,
    values: Vec<Bytes>,
}

/// Where an item is in its bucket, or would be.
struct Place {
    number: usize,
    record: Range<usize>,
}

impl Bucket {
    /// The value of a key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Bytes> {
        self.values.get(self.search(key).ok()?.number)
    }

    /// Sets a key, and returns the value that it had.
    pub(crate) fn insert(&mut self, key: &[u8], value: Bytes) -> Option<Bytes> {
        let digest = value_hash(&value);
        match self.search(key) {
            Ok(Place { number, record }) => {
                let start = record.end - Digest::SIZE;
                self.records[start..record.end].copy_from_slice(digest.as_ref());
                Some(std::mem::replace(&mut self.values[number], value))
            }
            Err(Place { number, record }) => {
                self.open(record.start, 4 + key.len() + Digest::SIZE);
                let (length, rest) = self.records[record.start..].split_at_mut(4);
                length.copy_from_slice(&key_length(key).to_be_bytes());
                rest[..key.len()].copy_from_slice(key);
                rest[key.len()..][..Digest::SIZE].copy_from_slice(digest.as_ref());
                self.values.insert(number, value);
                None
            }
        }
    }

    /// Makes room for a record.
    fn open(&mut self, start: usize, width: usize) {
        let end = self.records.len();
        self.records.resize(end + width, 0);
        self.records.copy_within(start..end, start + width);
    }

    /// Takes a key out, and returns the value that it had.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Bytes> {
        let place = self.search(key).ok()?;
        self.records.drain(place.record);
        Some(self.values.remove(place.number))
    }

    /// The place of a key, or where it belongs.
    fn search(&self, key: &[u8]) -> Result<Place, Place> {
        let mut start = 0;
        for (number, held) in self.keys().enumerate() {
            let record = start..start + 4 + held.len() + Digest::SIZE;
            match held.cmp(key) {
                Ordering::Less => start = record.end,
                Ordering::Equal => return Ok(Place { number, record }),
                Ordering::Greater => return Err(Place { number, record }),
            }
        }
        Err(Place { number: self.values.len(), record: start..start })
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.records().map(|(key, _)| key)
    }

    /// The keys, and the hashes of their values.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&[u8], Digest)> {
        let mut rest = &self.records[..];
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk()?;
            let (key, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let (value, tail) = tail.split_first_chunk()?;
            rest = tail;
            Some((key, Digest(*value)))
        })
    }
}

impl Part for Bucket {
    const LEVELS: usize = 0;

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn bucket(&self, _: u16) -> Option<&Bucket> {
        Some(self)
    }

    fn bucket_mut(&mut self, _: u16) -> &mut Bucket {
        self
    }

    fn rehash(part: &mut Arc<Self>) -> Digest {
        bucket_hash(&part.records)
    }

    fn path(&self, _: u16, _: &mut Vec<Digest>) {}

    fn items<'a>(&'a self, out: &mut Vec<Item<'a>>) {
        out.extend(self.keys().zip(&self.values));
    }

    fn items_in<'a>(&'a self, _: u16, _: usize, out: &mut Vec<Item<'a>>) {
        self.items(out);
    }
}

/// How many parts a branch has below it.
const WIDTH: usize = 16;

/// Sixteen parts and the four levels of hashes above them.
#[derive(Clone, Debug)]
pub(crate) struct Branch<C> {
    children: [Option<Arc<C>>; WIDTH],
    /// A binary heap: the hash of node `i` is over those of `2i+1` and `2i+2`; the last sixteen are
    /// the children's.
    hashes: [Digest; 2 * WIDTH - 1],
    /// The children that changed since `hashes` was right, one bit each.
    dirty: u16,
}

impl<C> Branch<C> {
    /// One of the parts below, if it was ever filled.
    pub(crate) fn child(&self, number: usize) -> Option<&C> {
        self.children.get(number)?.as_deref()
    }

    /// The four hashes beside the way from a child up to the top of this branch, lowest first.
    fn siblings(&self, child: usize) -> impl Iterator<Item = Digest> {
        let mut node = WIDTH - 1 + child;
        std::iter::from_fn(move || {
            // Odd nodes are left children, even ones right children.
            let sibling = if node == 0 { None } else { Some(((node - 1) ^ 1) + 1) };
            node = node.saturating_sub(1) / 2;
            sibling.map(|sibling| self.hashes[sibling])
        })
    }
}

impl<C: Part> Default for Branch<C> {
    fn default() -> Self {
        let mut hashes = [Digest::ZERO; 2 * WIDTH - 1];
        for depth in 0..=WIDTH.ilog2() as usize {
            hashes[(1 << depth) - 1..(2 << depth) - 1].fill(empty(Self::LEVELS - depth));
        }
        Self { children: Default::default(), hashes, dirty: 0 }
    }
}

impl<C: Part> Part for Branch<C> {
    const LEVELS: usize = C::LEVELS + WIDTH.ilog2() as usize;

    fn is_empty(&self) -> bool {
        self.children.iter().all(Option::is_none)
    }

    fn bucket(&self, place: u16) -> Option<&Bucket> {
        self.child(usize::from(place >> 12))?.bucket(place << 4)
    }

    fn bucket_mut(&mut self, place: u16) -> &mut Bucket {
        let number = place >> 12;
        self.dirty |= 1 << number;
        let child = self.children[usize::from(number)].get_or_insert_default();
        Arc::make_mut(child).bucket_mut(place << 4)
    }

    fn rehash(part: &mut Arc<Self>) -> Digest {
        if part.dirty == 0 {
            return part.hashes[0];
        }
        let branch = Arc::make_mut(part);
        let mut stale = u32::from(branch.dirty) << (WIDTH - 1);
        for (number, child) in branch.children.iter_mut().enumerate() {
            if branch.dirty & (1 << number) != 0 {
                branch.hashes[WIDTH - 1 + number] = match child {
                    Some(part) => C::rehash(part),
                    None => empty(C::LEVELS),
                };
                child.take_if(|part| part.is_empty());
            }
        }
        for node in (0..WIDTH - 1).rev() {
            let (left, right) = (2 * node + 1, 2 * node + 2);
            if stale & (0b11 << left) != 0 {
                branch.hashes[node] = node_hash(&branch.hashes[left], &branch.hashes[right]);
                stale |= 1 << node;
            }
        }
        branch.dirty = 0;
        branch.hashes[0]
    }

    fn path(&self, place: u16, out: &mut Vec<Digest>) {
        let number = usize::from(place >> 12);
        match self.child(number) {
            Some(child) => child.path(place << 4, out),
            None => out.extend((0..C::LEVELS).map(empty)),
        }
        out.extend(self.siblings(number));
    }

    fn items<'a>(&'a self, out: &mut Vec<Item<'a>>) {
        self.children.iter().flatten().for_each(|part| part.items(out));
    }

    fn items_in<'a>(&'a self, place: u16, levels: usize, out: &mut Vec<Item<'a>>) {
        let first = usize::from(place >> 12);
        match levels.checked_sub(C::LEVELS) {
            Some(wide) => {
                let children = self.children.iter().skip(first).take(1 << wide);
                children.flatten().for_each(|part| part.items(out));
            }
            None => {
                if let Some(child) = self.child(first) {
                    child.items_in(place << 4, levels, out);
                }
            }
        }
    }
}
