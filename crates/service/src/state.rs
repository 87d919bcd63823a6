//! The replicated map from bytes to bytes.

use crate::{
    hash::place,
    page::{self, Cursor, Page},
    trie::{Bucket, Group, Item, Part, Root},
};
use bytes::Bytes;
use quorate_types::Digest;
use std::sync::Arc;

/// Into how many parts [`State::chunks`] cuts a state.
pub const CHUNKS: u16 = 256;

/// A map from bytes to bytes with a SHA-256 root over its content.
///
/// The root depends on the content alone, not on the way that led to it. It is brought up to date
/// by [`State::root`], which hashes again only what changed since. A clone costs one reference
/// count and shares everything; each change after it copies about 4 kB. Beside its key and its
/// value an item takes about 150 bytes; an empty state takes about 1 kB, a full tree about 5 MB.
///
/// Items are grouped in 65,536 buckets by the hash of their keys, so that a bucket of a large
/// state stays short. Keys can be made to fall into one bucket, at 65,536 hashes each; whoever does
/// so makes writes to that bucket slower in proportion, and nothing worse.
#[derive(Clone, Debug, Default)]
pub struct State {
    root: Arc<Root>,
    len: usize,
    bytes: u64,
}

impl State {
    /// An empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all keys and values together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Bytes> {
        let key = key.as_ref();
        self.root.bucket(place(key))?.find(key)
    }

    /// Sets a key; whether it was there before.
    ///
    /// The value is kept as it is: a small slice of a large buffer keeps the buffer.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> bool {
        let (key, value) = (key.as_ref(), value.into());
        self.bytes += value.len() as u64;
        let bucket = Arc::make_mut(&mut self.root).bucket_mut(place(key));
        match bucket.insert(key, value) {
            Some(old) => {
                self.bytes -= old.len() as u64;
                true
            }
            None => {
                self.len += 1;
                self.bytes += key.len() as u64;
                false
            }
        }
    }

    /// Removes a key; whether it was there.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> bool {
        let key = key.as_ref();
        let place = place(key);
        // A key that is not there changes nothing, so nothing is copied or hashed for it.
        if self.root.bucket(place).is_none_or(|bucket| bucket.find(key).is_none()) {
            return false;
        }
        let bucket = Arc::make_mut(&mut self.root).bucket_mut(place);
        if let Some(old) = bucket.remove(key) {
            self.len -= 1;
            self.bytes -= (key.len() + old.len()) as u64;
        }
        true
    }

    /// All keys and values, by the buckets of the keys, then by key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Bytes)> {
        let mut items = Vec::with_capacity(self.len);
        self.root.items(&mut items);
        items.into_iter()
    }

    /// The SHA-256 root over all keys and values.
    pub fn root(&mut self) -> Digest {
        Root::rehash(&mut self.root)
    }

    /// All items, in [`CHUNKS`] parts: those whose keys' hashes begin with one byte, by bucket and
    /// then by key. So they lie in a snapshot.
    pub fn chunks(&self) -> impl Iterator<Item = Vec<(&[u8], &Bytes)>> {
        (0..=u8::MAX).map(|number| {
            let mut items = Vec::new();
            self.root.items_in(u16::from(number) << 8, Group::LEVELS, &mut items);
            items
        })
    }

    /// The page at a place: the largest part of the tree that begins there and has at most about
    /// `bytes_max` bytes of keys and values; where one bucket has more, some of its items, one at
    /// least. `None` where no page can begin. Hashes a copy if the state changed since the last
    /// [`State::root`].
    #[must_use]
    pub fn page(&self, from: Cursor, bytes_max: usize) -> Option<Page> {
        let mut state = self.clone();
        state.root();
        page::cut(&state, from, bytes_max)
    }

    /// The items of a bucket, in order.
    pub(crate) fn bucket(&self, bucket: u16) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        if let Some(bucket) = self.root.bucket(bucket) {
            bucket.items(&mut items);
        }
        items
    }

    /// Appends the items of the part of the tree so many levels high that begins at a bucket.
    pub(crate) fn items_in<'a>(&'a self, bucket: u16, levels: usize, out: &mut Vec<Item<'a>>) {
        self.root.items_in(bucket, levels, out);
    }

    /// The keys of a bucket with the hashes of their values, in order.
    pub(crate) fn records(&self, bucket: u16) -> impl Iterator<Item = (&[u8], Digest)> {
        self.root.bucket(bucket).into_iter().flat_map(Bucket::records)
    }

    /// The hashes beside the way to the root, from so many levels above a bucket; right only after
    /// [`State::root`].
    pub(crate) fn path(&self, bucket: u16, levels: usize) -> Vec<Digest> {
        let mut path = Vec::new();
        self.root.path(bucket, &mut path);
        path.split_off(levels.min(path.len()))
    }
}

impl<K: AsRef<[u8]>, V: Into<Bytes>> Extend<(K, V)> for State {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        for (key, value) in items {
            self.put(key, value);
        }
    }
}

impl<K: AsRef<[u8]>, V: Into<Bytes>> FromIterator<(K, V)> for State {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut state = Self::new();
        state.extend(items);
        state
    }
}
