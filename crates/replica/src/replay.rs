//! At most once: which requests were executed, by client and key (rule 15).
//!
//! The table is replicated state, so that every replica decides alike, after any restart. Its
//! window is stated in entries: a request is known until that many entries came after it. A signed
//! one is known for [`SIGNED_KEPT`] at least, because its signature stays acceptable for half of
//! that.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use quorate_proof::{Client, client_of, sha256};
use quorate_service::State;
use quorate_types::{
    Digest, Held, Index, Request, Salt, UnixMillis, Wire,
    bug::{Bug, seeded},
};
use std::{collections::BTreeMap, time::Duration};

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
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
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

/// The bounded table.
#[derive(Clone)]
pub struct ReplayTable {
    map: State,
    /// Unsigned requests by index, oldest first.
    plain: BTreeMap<Index, Vec<ReplayKey>>,
    /// Signed requests by index, oldest first.
    signed: BTreeMap<Index, (UnixMillis, ReplayKey)>,
    window: u64,
    signed_max: usize,
}

impl ReplayTable {
    /// An empty table that reaches back `window` entries and holds `signed_max` signed requests.
    #[must_use]
    pub fn new(window: u64, signed_max: usize) -> Self {
        Self {
            map: State::new(),
            plain: BTreeMap::new(),
            signed: BTreeMap::new(),
            window,
            signed_max,
        }
    }

    /// The table whose content was transferred or saved.
    ///
    /// # Errors
    /// A reason when the content is no table; the content was certified, so this is a broken
    /// invariant of those who certified it.
    pub fn restore(map: State, window: u64, signed_max: usize) -> Result<Self, &'static str> {
        let mut table = Self::new(window, signed_max);
        for (key, value) in map.iter() {
            let key: [u8; 32] = key.try_into().map_err(|_| "a replay key is 32 bytes")?;
            let seen = Seen::from_wire(value, 1024).map_err(|_| "a replay record is malformed")?;
            if !seeded(Bug::RestoredTableNeverForgets) {
                table.enqueue(ReplayKey(Digest(key)), &seen);
            }
        }
        table.map = map;
        Ok(table)
    }

    /// What is remembered under a key.
    #[must_use]
    pub fn lookup(&self, key: &ReplayKey) -> Option<Seen> {
        Seen::from_wire(self.map.get(key.0.0)?, 1024).ok()
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
        self.signed.len() >= self.signed_max
            && self.signed.first_key_value().is_some_and(|(_, (time, _))| is_young(*time, now))
    }

    /// Remembers a request.
    pub fn insert(&mut self, key: ReplayKey, seen: &Seen) {
        // A copy, so that what is kept takes no more than it needs.
        self.map.put(key.0.0, Bytes::copy_from_slice(&seen.to_wire()));
        self.enqueue(key, seen);
    }

    /// Forgets what lies before the window, given the index that comes next.
    pub fn evict(&mut self, next: Index, now: UnixMillis) {
        let window = self.window.saturating_sub(u64::from(seeded(Bug::ReplayForgetsEarly)));
        let oldest = Index(next.0.saturating_sub(window));
        while let Some(entry) = self.plain.first_entry() {
            if *entry.key() >= oldest {
                break;
            }
            let index = *entry.key();
            for key in entry.remove() {
                self.forget(key, index);
            }
        }
        while let Some(entry) = self.signed.first_entry() {
            let young = is_young(entry.get().0, now) && !seeded(Bug::SignedForgottenEarly);
            if *entry.key() >= oldest || young {
                break;
            }
            let (index, (_, key)) = entry.remove_entry();
            self.forget(key, index);
        }
    }

    /// Drops a key, unless a later entry stands under it: what a restored table would not queue
    /// under the earlier one must not be dropped with it either.
    fn forget(&mut self, key: ReplayKey, index: Index) {
        if self.lookup(&key).is_some_and(|seen| seen.index == index) {
            self.map.delete(key.0.0);
        }
    }

    /// The table's root.
    pub fn root(&mut self) -> Digest {
        self.map.root()
    }

    /// The table as the map that snapshots hold.
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
        let unsigned = self.plain.values().map(Vec::len).sum();
        [
            Held::new("replay.unsigned", unsigned, plain),
            Held::new("replay.signed", self.signed.len(), signed),
            Held::new("replay.keys", self.map.len(), plain.saturating_add(signed)),
        ]
    }

    fn enqueue(&mut self, key: ReplayKey, seen: &Seen) {
        if seen.signed {
            self.signed.insert(seen.index, (seen.time, key));
        } else {
            self.plain.entry(seen.index).or_default().push(key);
        }
    }
}

fn is_young(time: UnixMillis, now: UnixMillis) -> bool {
    time.distance(now) < SIGNED_KEPT
}
