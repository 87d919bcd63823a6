//! The one type that counts: votes, cosignatures, reports, acknowledgements.

use crate::{
    bug::{Bug, seeded},
    committee::Committee,
    ids::ReplicaId,
};

/// A set of replicas of one committee, with its thresholds.
///
/// A replica counts once, however often it is added, and not at all if it is no member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tally {
    committee: Committee,
    /// A bit for each of the first 64 replicas: most committees need no more.
    low: u64,
    /// The bits of the others.
    high: Vec<u64>,
    count: usize,
}

impl Tally {
    /// An empty set over `committee`.
    #[must_use]
    pub fn new(committee: Committee) -> Self {
        let high = vec![0; committee.n().saturating_sub(1) / 64];
        Self { committee, low: 0, high, count: 0 }
    }

    /// Adds a replica; `true` if it is a member that was not in the set.
    pub fn add(&mut self, replica: ReplicaId) -> bool {
        let known = self.contains(replica) && !seeded(Bug::DuplicateSignerCounted);
        if !self.committee.contains(replica) || known {
            return false;
        }
        let word = match (replica.position() / 64).checked_sub(1) {
            None => Some(&mut self.low),
            Some(word) => self.high.get_mut(word),
        };
        if let Some(word) = word {
            *word |= 1 << (replica.position() % 64);
            self.count += 1;
        }
        true
    }

    /// Whether the replica is in the set.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        let word = match (replica.position() / 64).checked_sub(1) {
            None => self.low,
            Some(word) => self.high.get(word).copied().unwrap_or(0),
        };
        word & (1 << (replica.position() % 64)) != 0
    }

    /// How many replicas are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether it holds a quorum ([`Committee::quorum`]).
    #[must_use]
    pub fn is_quorum(&self) -> bool {
        if seeded(Bug::QuorumMinusOne) {
            return self.count + 1 >= self.committee.quorum();
        }
        self.count >= self.committee.quorum()
    }

    /// Whether it holds at least one correct replica ([`Committee::one_correct`]).
    #[must_use]
    pub fn has_one_correct(&self) -> bool {
        if seeded(Bug::FaultyCountAsCorrect) {
            return self.count >= self.committee.f();
        }
        self.count >= self.committee.one_correct()
    }

    /// The replicas in the set, in order.
    pub fn members(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.committee.replicas().filter(|&replica| self.contains(replica))
    }
}

impl Extend<ReplicaId> for Tally {
    fn extend<I: IntoIterator<Item = ReplicaId>>(&mut self, replicas: I) {
        for replica in replicas {
            self.add(replica);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultModel;

    #[test]
    fn a_replica_counts_once_and_a_stranger_never() {
        let mut tally = Tally::new(Committee::new(4, FaultModel::Bft).unwrap());
        assert!(tally.add(ReplicaId(2)));
        assert!(!tally.add(ReplicaId(2)));
        assert!(!tally.add(ReplicaId(4)));
        assert!(!tally.add(ReplicaId(u16::MAX)));
        assert_eq!(tally.count(), 1);
        assert!(!tally.has_one_correct());
        tally.extend([ReplicaId(0), ReplicaId(3)]);
        assert!(tally.is_quorum());
        assert_eq!(tally.members().map(|r| r.0).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn a_large_committee_is_counted_across_words() {
        let committee = Committee::new(200, FaultModel::Bft).unwrap();
        let mut tally = Tally::new(committee);
        tally.extend(committee.replicas().take(committee.quorum() - 1));
        assert!(!tally.is_quorum());
        tally.add(ReplicaId(199));
        assert!(tally.is_quorum());
    }
}
