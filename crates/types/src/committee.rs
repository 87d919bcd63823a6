//! How many replicas there are, how many may fail, and what therefore is a quorum.

use crate::ids::{ReplicaId, View};
use borsh::{BorshDeserialize, BorshSerialize};
use std::{fmt, io};

/// What a faulty replica may do, and so how many replicas it takes.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[borsh(use_discriminant = false)]
pub enum FaultModel {
    /// Anything: n = 3f + 1.
    Bft,
    /// Anything except what its trusted counter forbids: n = 2f + 1.
    Hybrid,
}

impl FaultModel {
    /// The word that stands in an origin: `bft` or `hybrid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bft => "bft",
            Self::Hybrid => "hybrid",
        }
    }
}

/// A fixed set of replicas `r0 .. r(n-1)` under one fault model.
#[derive(BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Committee {
    n: u16,
    model: FaultModel,
}

/// Why a committee cannot be formed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommitteeError {
    /// Too few replicas to survive one fault: 4 for `bft`, 3 for `hybrid`.
    TooFew {
        /// How many were asked for.
        n: u16,
        /// How many it takes.
        least: u16,
    },
    /// More than [`Committee::MOST`] replicas.
    TooMany(u16),
}

impl fmt::Display for CommitteeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { n, least } => {
                write!(f, "{n} replicas cannot survive a fault; it takes at least {least}")
            }
            Self::TooMany(n) => write!(f, "{n} replicas; at most {} are allowed", Committee::MOST),
        }
    }
}

impl std::error::Error for CommitteeError {}

impl BorshDeserialize for Committee {
    /// By [`Committee::new`]: what is decoded survives a fault, too.
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let n = u16::deserialize_reader(reader)?;
        let model = FaultModel::deserialize_reader(reader)?;
        Self::new(n, model).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Committee {
    /// The largest committee that the tables here are made for.
    pub const MOST: u16 = 1024;

    /// A committee of `n` replicas.
    ///
    /// # Errors
    /// [`CommitteeError`] when `n` survives no fault, or is above [`Self::MOST`].
    pub fn new(n: u16, model: FaultModel) -> Result<Self, CommitteeError> {
        let least = match model {
            FaultModel::Bft => 4,
            FaultModel::Hybrid => 3,
        };
        match n {
            _ if n < least => Err(CommitteeError::TooFew { n, least }),
            _ if n > Self::MOST => Err(CommitteeError::TooMany(n)),
            _ => Ok(Self { n, model }),
        }
    }

    /// How many replicas there are.
    #[must_use]
    pub fn n(&self) -> usize {
        usize::from(self.n)
    }

    /// How many may be faulty: floor((n-1)/3) in `bft`, floor((n-1)/2) in `hybrid`.
    #[must_use]
    pub fn f(&self) -> usize {
        match self.model {
            FaultModel::Bft => (self.n() - 1) / 3,
            FaultModel::Hybrid => (self.n() - 1) / 2,
        }
    }

    /// Votes that make a decision: any two such sets share a correct replica (`bft`) or a
    /// replica (`hybrid`). floor((n+f)/2)+1, or floor(n/2)+1.
    #[must_use]
    pub fn quorum(&self) -> usize {
        match self.model {
            FaultModel::Bft => usize::midpoint(self.n(), self.f()) + 1,
            FaultModel::Hybrid => self.n() / 2 + 1,
        }
    }

    /// Votes of which at least one is from a correct replica: f + 1.
    #[must_use]
    pub fn one_correct(&self) -> usize {
        self.f() + 1
    }

    /// The fault model.
    #[must_use]
    pub fn model(&self) -> FaultModel {
        self.model
    }

    /// Whether the replica belongs to it.
    #[must_use]
    pub fn contains(&self, replica: ReplicaId) -> bool {
        replica.0 < self.n
    }

    /// All replicas, in order.
    pub fn replicas(&self) -> impl DoubleEndedIterator<Item = ReplicaId> + use<> {
        (0..self.n).map(ReplicaId)
    }

    /// Who leads a view: replica `view mod n`.
    #[must_use]
    pub fn primary(&self, view: View) -> ReplicaId {
        ReplicaId(u16::try_from(view.0 % u64::from(self.n)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_share_a_correct_replica_at_every_size() {
        for n in 4..=200 {
            let committee = Committee::new(n, FaultModel::Bft).unwrap();
            let shared = 2 * committee.quorum() - committee.n();
            assert!(shared > committee.f(), "n = {n}");
            assert!(committee.n() - committee.f() >= committee.quorum(), "live at n = {n}");
        }
    }

    #[test]
    fn six_replicas_need_four_votes_not_three() {
        let committee = Committee::new(6, FaultModel::Bft).unwrap();
        assert_eq!((committee.f(), committee.quorum()), (1, 4));
    }

    #[test]
    fn a_committee_that_survives_no_fault_is_refused() {
        assert_eq!(
            Committee::new(3, FaultModel::Bft),
            Err(CommitteeError::TooFew { n: 3, least: 4 })
        );
        assert_eq!(
            Committee::new(2, FaultModel::Hybrid),
            Err(CommitteeError::TooFew { n: 2, least: 3 })
        );
        assert_eq!(Committee::new(1025, FaultModel::Bft), Err(CommitteeError::TooMany(1025)));
    }
}
