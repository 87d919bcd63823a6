//! At most once: which requests were executed, by client and key (rule 15).
//!
//! The table is replicated state, so that every replica decides alike, after any restart. Its
//! window is stated in entries: a request is known until that many entries came after it. A signed
//! one is known for [`SIGNED_KEPT`] at least, because its signature stays acceptable for half of
//! that.
//!
//! # What the root is over
//!
//! What is remembered comes and goes in the order of the log. So the map with the root holds it in
//! blocks of [`BLOCK`] indices, which a slot appends to and which are dropped whole: a request
//! costs its share of a block, and not two ways through the tree. Signed and unsigned ones have
//! blocks of their own. A block stays until the last record in it is forgotten. Which of its
//! records are forgotten before follows from the index and the time of the slot, so that a table
//! restored from the map knows exactly what the original knows.
//!
//! | in the map | bytes |
//! |---|---|
//! | key | 0 for unsigned and 1 for signed requests, the block's number in 8 bytes big-endian |
//! | value | [`ReplayKey`] and [`Seen`] of each record, by ascending index |

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_proof::{Client, client_of, sha256};
use quorate_service::State;
use quorate_types::{
    Digest, Held, Index, Request, Salt, UnixMillis,
    bug::{Bug, seeded},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How long a signed request is remembered at least, in agreed time.
pub const SIGNED_KEPT: Duration = Duration::from_secs(600);

/// How far a client signature's `created` may lie from the slot's agreed time.
pub const SIGNED_WINDOW: Duration = Duration::from_secs(300);

/// What is remembered of a request.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Where its entry stands.
    pub index: Index,
    /// The agreed time of its slot.
    pub time: UnixMillis,
    /// The salt of its first exchange.
    pub salt: Salt,
    /// What it asked, by `quorate_proof::fingerprint`.
    pub fingerprint: Digest,
    /// The salted digest of its exchange, by which a fetched body is checked.
    pub exchange: Digest,
    /// Whether the client signed it.
    pub signed: bool,
}

/// Under what a request is remembered.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ReplayKey(Digest);

impl ReplayKey {
    /// The client and its `Idempotency-Key`, or the salt where there is no key.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let Some(key) = request.field("idempotency-key") else {
            return Self::salted(&request.salt);
        };
        let mut bytes = Vec::with_capacity(64 + key.len());
        bytes.extend_from_slice(b"quorate-replay-key/1");
        match client_of(request) {
            Client::Key(key) => {
                bytes.push(1);
                bytes.extend_from_slice(&key.0);
            }
            Client::Authorization(digest) => {
                bytes.push(2);
                bytes.extend_from_slice(&digest.0);
            }
            Client::Anonymous => bytes.push(3),
        }
        bytes.extend_from_slice(key.as_bytes());
        Self(sha256(&bytes))
    }

    /// The salt alone: for requests without a key, and for those answered 401 or 422, which must
    /// not take the place of the key's first request.
    #[must_use]
    pub fn salted(salt: &Salt) -> Self {
        let mut bytes = b"quorate-replay-salt/1".to_vec();
        bytes.extend_from_slice(&salt.0);
        Self(sha256(&bytes))
    }
}

/// Indices of a block.
pub const BLOCK: u64 = 32;

/// A record as it stands in a block.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
struct Remembered {
    key: ReplayKey,
    seen: Seen,
}

/// The bounded table.
#[derive(Clone)]
pub struct ReplayTable {
    map: State,
    /// Where the record of a key is; the same as in the queues, for looking up.
    keys: BTreeMap<ReplayKey, Index>,
    plain: Queue,
    signed: Queue,
    window: u64,
    signed_max: usize,
}

/// The signed or the unsigned records, oldest first. They lie in the map alone, but for the oldest
/// block's, which go next, and the newest block's, which the map has from the next root on: there
/// may be a million of them.
#[derive(Clone)]
struct Queue {
    signed: bool,
    /// How many records are known.
    len: usize,
    /// The numbers of the blocks that they are in, oldest first.
    blocks: VecDeque<u64>,
    /// What is known of the oldest block's records.
    oldest: VecDeque<Remembered>,
    /// The content of the newest block.
    newest: Vec<u8>,
    /// Whether the map has an earlier content of it.
    is_stale: bool,
}

impl ReplayTable {
    /// An empty table that reaches back `window` entries and holds `signed_max` signed requests.
    #[must_use]
    pub fn new(window: u64, signed_max: usize) -> Self {
        let [plain, signed] = [false, true].map(Queue::new);
        Self { map: State::new(), keys: BTreeMap::new(), plain, signed, window, signed_max }
    }

    /// The table whose content was transferred or saved, after the slot before index `next`, with
    /// its agreed time.
    ///
    /// # Errors
    /// A reason when the content is no table; the content was certified, so this is a broken
    /// invariant of those who certified it.
    pub fn restore(
        map: State,
        (next, now): (Index, UnixMillis),
        window: u64,
        signed_max: usize,
    ) -> Result<Self, &'static str> {
        let mut table = Self::new(window, signed_max);
        let mut blocks = Vec::with_capacity(map.len());
        for (key, content) in map.iter() {
            let (kind, number) = key.split_first().ok_or("a replay block has a kind")?;
            let number = number.try_into().map_err(|_| "a replay block has a number")?;
            let signed = match kind {
                0 => false,
                1 => true,
                _ => return Err("a replay block is of signed requests or of others"),
            };
            blocks.push((u64::from_be_bytes(number), signed, content));
        }
        blocks.sort_unstable_by_key(|(number, ..)| *number);
        for (number, signed, content) in blocks {
            let queue = if signed { &mut table.signed } else { &mut table.plain };
            for Remembered { key, seen } in queue.take_in(number, content)? {
                // The later one is known, where another one under the same key was forgotten.
                let index = table.keys.entry(key).or_default();
                *index = seen.index.max(*index);
            }
        }
        if seeded(Bug::RestoredTableNeverForgets) {
            table.window = u64::MAX;
        }
        table.map = map;
        table.evict(next, now);
        Ok(table)
    }

    /// What is remembered under a key.
    #[must_use]
    pub fn lookup(&self, key: &ReplayKey) -> Option<Seen> {
        let index = *self.keys.get(key)?;
        self.plain.at(index, &self.map).or_else(|| self.signed.at(index, &self.map))
    }

    /// Where the very same request was answered before, under its key or under its salt.
    #[must_use]
    pub fn answered(&self, request: &Request) -> Option<Index> {
        let asked = quorate_proof::fingerprint(request);
        [ReplayKey::of(request), ReplayKey::salted(&request.salt)]
            .iter()
            .filter_map(|key| self.lookup(key))
            .find(|seen| seen.fingerprint == asked)
            .map(|seen| seen.index)
    }

    /// Whether there is no room for one more signed request (its caller answers 503).
    #[must_use]
    pub fn is_full(&self, now: UnixMillis) -> bool {
        self.signed.len >= self.signed_max
            && self.signed.oldest.front().is_some_and(|oldest| is_young(oldest.seen.time, now))
    }

    /// Remembers a request under a key that is free. Its index is above that of all before.
    pub fn insert(&mut self, key: ReplayKey, seen: &Seen) {
        self.keys.insert(key, seen.index);
        let queue = if seen.signed { &mut self.signed } else { &mut self.plain };
        queue.push(Remembered { key, seen: *seen }, &mut self.map);
    }

    /// Forgets what lies before the window, given the index that comes next.
    pub fn evict(&mut self, next: Index, now: UnixMillis) {
        let window = self.window.saturating_sub(u64::from(seeded(Bug::ReplayForgetsEarly)));
        let oldest = Index(next.0.saturating_sub(window));
        let Self { map, keys, plain, signed, .. } = self;
        let mut forget = |Remembered { key, seen }: &Remembered| {
            // A later entry may stand under the same key.
            if keys.get(key) == Some(&seen.index) {
                keys.remove(key);
            }
        };
        plain.pop_while(map, |seen| seen.index < oldest, &mut forget);
        let is_old = |seen: &Seen| {
            let young = is_young(seen.time, now) && !seeded(Bug::SignedForgottenEarly);
            seen.index < oldest && !young
        };
        signed.pop_while(map, is_old, &mut forget);
    }

    /// The table's root.
    pub fn root(&mut self) -> Digest {
        self.plain.save(&mut self.map);
        self.signed.save(&mut self.map);
        self.map.root()
    }

    /// The table as the map that snapshots hold; right only after [`Self::root`].
    #[must_use]
    pub fn map(&self) -> &State {
        &self.map
    }

    /// What is kept here, with its bounds; a slot has at most so many items, and what lies before
    /// the window goes at its end.
    pub(crate) fn held(&self, items_max: u64) -> [Held; 3] {
        let plain = self.window.saturating_add(items_max);
        // Old ones stay within the window; young ones are refused where there are too many.
        let signed = (self.signed_max as u64).max(self.window).saturating_add(items_max);
        [
            Held::new("replay.unsigned", self.plain.len, plain),
            Held::new("replay.signed", self.signed.len, signed),
            Held::new("replay.keys", self.keys.len(), plain.saturating_add(signed)),
        ]
    }
}

impl Queue {
    fn new(signed: bool) -> Self {
        let (blocks, oldest, newest) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self { signed, len: 0, blocks, oldest, newest, is_stale: false }
    }

    /// What is in a block at an index.
    fn at(&self, index: Index, map: &State) -> Option<Seen> {
        let found = self.read(block_of(index), map).find(|it| it.seen.index == index);
        found.map(|it| it.seen)
    }

    /// The records of a block.
    fn read<'a>(&'a self, number: u64, map: &'a State) -> impl Iterator<Item = Remembered> + 'a {
        let mut rest = match self.blocks.back() {
            Some(newest) if *newest == number => &self.newest[..],
            _ => map.get(self.key(number)).map_or(&[][..], |content| content),
        };
        // Nothing else than records was put there, or taken in.
        std::iter::from_fn(move || Remembered::deserialize(&mut rest).ok())
    }

    /// The key of a block in the map.
    fn key(&self, number: u64) -> [u8; 9] {
        let mut key = [u8::from(self.signed); 9];
        key[1..].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// Takes in the records of a block in the map, which is newer than all before.
    fn take_in(&mut self, number: u64, content: &Bytes) -> Result<Vec<Remembered>, &'static str> {
        let mut records: Vec<Remembered> = Vec::with_capacity(BLOCK as usize);
        let mut rest = &content[..];
        while !rest.is_empty() {
            let it = Remembered::deserialize(&mut rest).map_err(|_| "a record is malformed")?;
            let follows = records.last().is_none_or(|last| last.seen.index < it.seen.index);
            if !follows || block_of(it.seen.index) != number || it.seen.signed != self.signed {
                return Err("a record is in a block where it does not belong");
            }
            records.push(it);
        }
        if records.is_empty() {
            return Err("a replay block holds a record");
        }
        if self.blocks.is_empty() {
            self.oldest.extend(&records);
        }
        self.len += records.len();
        self.blocks.push_back(number);
        self.newest = content.to_vec();
        Ok(records)
    }

    fn push(&mut self, remembered: Remembered, map: &mut State) {
        let number = block_of(remembered.seen.index);
        if self.blocks.back() != Some(&number) {
            self.save(map);
            self.blocks.push_back(number);
            self.newest.clear();
        }
        // Writing into a vector does not fail.
        let _ = remembered.serialize(&mut self.newest);
        self.is_stale = true;
        self.len += 1;
        if self.blocks.len() == 1 {
            self.oldest.push_back(remembered);
        }
    }

    /// Forgets the oldest records as long as that holds of them, and drops the blocks of which
    /// nothing is left.
    fn pop_while(
        &mut self,
        map: &mut State,
        is_old: impl Fn(&Seen) -> bool,
        forget: &mut impl FnMut(&Remembered),
    ) {
        while let Some(oldest) = self.oldest.front().copied().filter(|it| is_old(&it.seen)) {
            self.oldest.pop_front();
            self.len -= 1;
            forget(&oldest);
            if self.oldest.is_empty() {
                self.drop_block(map);
            }
        }
    }

    /// Drops the oldest block, and begins with the next one.
    fn drop_block(&mut self, map: &mut State) {
        if let Some(number) = self.blocks.pop_front() {
            map.delete(self.key(number));
        }
        match self.blocks.front() {
            Some(next) => self.oldest = self.read(*next, map).collect(),
            None => self.is_stale = false,
        }
    }

    /// Brings the newest block in the map up to date.
    fn save(&mut self, map: &mut State) {
        if std::mem::take(&mut self.is_stale)
            && let Some(newest) = self.blocks.back()
        {
            map.put(self.key(*newest), Bytes::copy_from_slice(&self.newest));
        }
    }
}

fn block_of(index: Index) -> u64 {
    index.0 / BLOCK
}

fn is_young(time: UnixMillis, now: UnixMillis) -> bool {
    time.distance(now) < SIGNED_KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 40;

    fn key(number: u64) -> ReplayKey {
        ReplayKey(Digest([number as u8; 32]))
    }

    fn seen(index: Index, time: UnixMillis, signed: bool) -> Seen {
        let (salt, fingerprint, exchange) = (Salt([1; 16]), Digest([2; 32]), Digest([3; 32]));
        Seen { index, time, salt, fingerprint, exchange, signed }
    }

    fn restored(table: &ReplayTable, at: (Index, UnixMillis)) -> ReplayTable {
        ReplayTable::restore(table.map().clone(), at, WINDOW, 100).unwrap()
    }

    /// Beside a table that never stops: what should be known, and a table that is restored anew
    /// every few entries. Keys come again as soon as they are forgotten.
    #[test]
    fn rule_11_a_table_restored_at_any_time_knows_and_forgets_what_the_original_does() {
        let mut original = ReplayTable::new(WINDOW, 100);
        let mut stopped = original.clone();
        let mut known: BTreeMap<ReplayKey, Seen> = BTreeMap::new();
        let (mut random, mut time) = (1_u64, UnixMillis(1));
        for n in 1..2_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n);
            let (key, signed) = (key(random >> 33 & 0x7f), random >> 41 & 3 == 0);
            if original.lookup(&key).is_none() {
                let seen = seen(Index(n), time, signed);
                original.insert(key, &seen);
                stopped.insert(key, &seen);
                known.insert(key, seen);
            }
            time.0 += random >> 50 & 0x3fff;
            let next = Index(n + 1);
            original.evict(next, time);
            stopped.evict(next, time);
            known.retain(|_, seen| {
                seen.index.0 + WINDOW >= next.0 || seen.signed && is_young(seen.time, time)
            });
            assert_eq!(original.root(), stopped.root(), "after entry {n}");
            if random >> 45 & 7 == 0 {
                stopped = restored(&original, (next, time));
            }
            for table in [&original, &stopped] {
                let known_keys: Vec<_> = known.keys().collect();
                assert_eq!(table.keys.keys().collect::<Vec<_>>(), known_keys, "after entry {n}");
                assert_eq!(table.lookup(&key), known.get(&key).copied());
            }
        }
        assert!(known.values().any(|seen| seen.signed && seen.index.0 + WINDOW < 2_000));
        // Blocks that hold nothing any more are gone.
        let plain = original.map().iter().filter(|(key, _)| key[0] == 0).count();
        assert_eq!(plain, original.plain.blocks.len());
        assert!(plain <= WINDOW.div_ceil(BLOCK) as usize + 1, "{plain} blocks");
    }

    #[test]
    fn a_map_that_is_no_table_is_refused() {
        let at = (Index(5), UnixMillis(1));
        let mut table = ReplayTable::new(WINDOW, 100);
        for index in 1..5 {
            table.insert(key(index), &seen(Index(index), UnixMillis(1), false));
        }
        table.root();
        let (block, content) = table.map().iter().next().map(|(k, c)| (k.to_vec(), c)).unwrap();
        let content = content.clone();
        let restore = |key: &[u8], content: Bytes| {
            let mut map = State::new();
            map.put(key, content);
            ReplayTable::restore(map, at, WINDOW, 100).map(|table| table.keys.len())
        };
        assert_eq!(restore(&block, content.clone()), Ok(4));
        let (short, half) = (content.slice(1..), content.slice(..content.len() / 2 + 1));
        let twice = [&content[..], &content].concat();
        let (signed, other, unknown) = ([1; 9], [0, 0, 0, 0, 0, 0, 0, 0, 7], [2; 9]);
        for (key, content) in [
            (&block[..], short),
            (&block[..], half),
            (&block[..], twice.into()),
            (&block[..], Bytes::new()),
            (&signed[..], content.clone()),
            (&other[..], content.clone()),
            (&unknown[..], content.clone()),
            (&block[..5], content.clone()),
            (&[], content),
        ] {
            assert!(restore(key, content).is_err(), "{key:?}");
        }
    }
}
