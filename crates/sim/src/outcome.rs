//! What a run came to, and what it met on the way.

use crate::{
    bounds::{self, Fills},
    violation::Failure,
};
use std::collections::BTreeMap;

/// How often something happened, by its name.
pub type Counts = BTreeMap<&'static str, u64>;

/// What a run came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// What was violated, or who got stuck; empty if all is well.
    pub failures: Vec<Failure>,
    /// Events handled.
    pub events: u64,
    /// Entries in the longest log.
    pub entries: u64,
    /// The highest view that anybody entered.
    pub views: u64,
    /// State transfers that led a replica further.
    pub transfers: u64,
    /// Pages of the log that were transferred.
    pub pages: u64,
    /// Pieces of snapshots that were transferred.
    pub pieces: u64,
    /// Replicas that rejoined after a lost disk.
    pub rejoins: u64,
    /// Snapshots saved.
    pub snapshots: u64,
    /// Faults that really happened, by name: liars' deeds, crashes, cuts, clocks, clients' tricks.
    /// Empty where nothing was injected.
    pub injected: Counts,
    /// Accusations by correct replicas, by charge.
    pub accusations: Counts,
    /// What was checked, by name: answers verified and refused, evidence, probes.
    pub checked: Counts,
    /// The most that replicas held at once, by the name of what held it.
    pub held: Fills,
    /// A hash over everything that happened, in order: equal for equal seeds.
    pub hash: u64,
}

impl Outcome {
    /// Adds up the counts of two runs; failures are put together.
    pub fn absorb(&mut self, other: Self) {
        self.failures.extend(other.failures);
        self.events += other.events;
        self.entries += other.entries;
        self.views += other.views;
        self.transfers += other.transfers;
        self.pages += other.pages;
        self.pieces += other.pieces;
        self.rejoins += other.rejoins;
        self.snapshots += other.snapshots;
        self.hash = mix(self.hash, other.hash);
        bounds::absorb(&mut self.held, other.held);
        for (sum, counts) in [
            (&mut self.injected, other.injected),
            (&mut self.accusations, other.accusations),
            (&mut self.checked, other.checked),
        ] {
            counts.into_iter().for_each(|(name, count)| *sum.entry(name).or_default() += count);
        }
    }

    /// What is hard to reach and easy to get wrong, by name, and how often it was: a swarm that
    /// reached none of one of them shows nothing about it.
    #[must_use]
    pub fn reached(&self) -> [(&'static str, u64); 6] {
        [
            ("view_changes", self.views),
            ("state_transfers", self.transfers),
            ("log_pages", self.pages),
            ("state_pieces", self.pieces),
            ("snapshots", self.snapshots),
            ("rejoins", self.rejoins),
        ]
    }

    pub(crate) fn inject(&mut self, name: &'static str) {
        *self.injected.entry(name).or_default() += 1;
    }

    pub(crate) fn check(&mut self, name: &'static str) {
        *self.checked.entry(name).or_default() += 1;
    }
}

/// Stirs a value into a hash.
pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}
