//! A piece of a state that proves itself, and whose size the sender bounds: for state transfer.
//!
//! A receiver begins at [`Cursor::START`] and goes on where each page says, until the end. It knows
//! after each page that it holds exactly what the certified state has up to there, so a liar is
//! noticed at once, and the next page may come from another peer.
//!
//! A page is either a whole part of the tree, 2^`levels` buckets, or some items of one bucket; then
//! it names the others by their records. So even a state whose keys were aimed at one bucket goes
//! over in messages of bounded size.

use crate::{
    hash::{HEIGHT, Record, climb, part_hash, value_hash},
    state::State,
};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_types::{
    Digest,
    bug::{Bug, seeded},
};

/// Where in a state a page begins.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd,
)]
pub struct Cursor {
    /// The bucket: the first two bytes of its keys' SHA-256, big-endian.
    pub bucket: u16,
    /// How many of the bucket's items come before.
    pub item: u32,
}

impl Cursor {
    /// The beginning of every state.
    pub const START: Self = Self { bucket: 0, item: 0 };
}

/// What follows a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Another page.
    Page(Cursor),
    /// Nothing: the state is complete.
    End,
}

/// A piece of a state: its items, and what leads from them to the root.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// How many levels the part of the tree is high: it has 2^`levels` buckets.
    pub levels: u8,
    /// Of a bucket that is sent in pieces, the keys before, with the hashes of their values.
    pub before: Vec<(Bytes, Digest)>,
    /// Keys and values, by the first two bytes of the key's SHA-256, then by key.
    pub items: Vec<(Bytes, Bytes)>,
    /// As `before`, the keys after.
    pub after: Vec<(Bytes, Digest)>,
    /// The hashes beside the way to the root, lowest first.
    pub path: Vec<Digest>,
}

impl Page {
    /// Where the next page begins, if this is a page at that place of the state with that root;
    /// `None` if it is not.
    #[must_use]
    pub fn verify(&self, from: Cursor, root: &Digest) -> Option<Next> {
        let levels = u32::from(self.levels);
        let height = (HEIGHT as u32).checked_sub(levels)?;
        let width = 1_u32 << levels;
        let whole = from.item == 0 && self.before.is_empty() && self.after.is_empty();
        let piece = levels == 0
            && self.before.len() == usize::try_from(from.item).ok()?
            && !self.items.is_empty();
        let aligned = u32::from(from.bucket) % width == 0;
        if !(whole || piece) || !aligned || self.path.len() != height as usize {
            return None;
        }
        let before = self.before.iter().map(|(key, value)| Record::new(key, *value));
        let items = self.items.iter().map(|(key, value)| Record::new(key, value_hash(value)));
        let after = self.after.iter().map(|(key, value)| Record::new(key, *value));
        let records: Vec<Record<'_>> = before.chain(items).chain(after).collect();
        let part = u32::from(from.bucket) >> levels;
        if !Record::are_in(&records, levels, from.bucket)
            || (climb(part_hash(&records, levels), part, &self.path) != *root
                && !seeded(Bug::PieceUnchecked))
        {
            return None;
        }
        if !self.after.is_empty() {
            let item = from.item.checked_add(u32::try_from(self.items.len()).ok()?)?;
            return Some(Next::Page(Cursor { item, ..from }));
        }
        Some(match u16::try_from(u32::from(from.bucket) + width) {
            Ok(bucket) => Next::Page(Cursor { bucket, item: 0 }),
            Err(_) => Next::End,
        })
    }
}

/// What an item adds to a page, about.
fn size((key, value): &(&[u8], &Bytes)) -> usize {
    key.len() + value.len() + 8
}

/// The page at a place of a state whose hashes are right.
pub(crate) fn cut(state: &State, from: Cursor, bytes_max: usize) -> Option<Page> {
    let first = state.bucket(from.bucket);
    let skipped = usize::try_from(from.item).ok()?;
    let fits = |items: &[(&[u8], &Bytes)]| {
        let bytes = items.iter().scan(0_usize, |sum, item| {
            *sum = sum.saturating_add(size(item));
            Some(*sum)
        });
        bytes.take_while(|&sum| sum <= bytes_max).count()
    };
    let whole = skipped == 0 && fits(&first) == first.len();
    if !whole {
        let rest = first.get(skipped..).filter(|rest| !rest.is_empty())?;
        let count = fits(rest).max(1);
        let record = |(key, value): (&[u8], Digest)| (Bytes::copy_from_slice(key), value);
        let mut records = state.records(from.bucket).map(record);
        let before = records.by_ref().take(skipped).collect();
        let after = records.skip(count).collect();
        let path = state.path(from.bucket, 0);
        return Some(Page { levels: 0, before, items: owned(&rest[..count]), after, path });
    }
    let mut levels = 0;
    let mut items = first;
    // Doubles the part while it is the left half of the next one and all of that fits.
    while levels < HEIGHT as u32 && u32::from(from.bucket) % (2 << levels) == 0 {
        let right = u16::try_from(u32::from(from.bucket) + (1 << levels)).ok()?;
        let held = items.len();
        state.items_in(right, levels as usize, &mut items);
        if fits(&items) < items.len() {
            items.truncate(held);
            break;
        }
        levels += 1;
    }
    let path = state.path(from.bucket, levels as usize);
    let levels = u8::try_from(levels).ok()?;
    Some(Page { levels, before: Vec::new(), items: owned(&items), after: Vec::new(), path })
}

fn owned(items: &[(&[u8], &Bytes)]) -> Vec<(Bytes, Bytes)> {
    items.iter().map(|(key, value)| (Bytes::copy_from_slice(key), (*value).clone())).collect()
}
