//! Who is faulty in a run, and how.

use crate::{adversary::Deed, cluster::faults_of, rng::Rng};
use quorate_types::ReplicaId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What faulty replicas are, in thousandths of them; the others have unsound disks.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// They lie.
    pub liars: u64,
    /// They do not lie, and have a twin.
    pub twins: u64,
}

/// Who is faulty, and how. At most f replicas in all, those that lose their disks among them: a
/// lost disk is a fault (P2).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// The faulty ones.
    #[serde(with = "crate::plain")]
    pub faulty: BTreeSet<ReplicaId>,
    /// Those among them that lie, and how.
    #[serde(with = "crate::plain")]
    pub liars: BTreeMap<ReplicaId, BTreeSet<Deed>>,
    /// Those among them of which there are two, with one key.
    #[serde(with = "crate::plain")]
    pub twins: BTreeSet<ReplicaId>,
    /// Whom equivocators tell the contradiction, all of them the same.
    #[serde(with = "crate::plain")]
    pub deceived: BTreeSet<ReplicaId>,
    /// Whether liars follow the protocol once everything is healed.
    pub reform: bool,
    /// Clocks that are off by more than replicas bear with, in milliseconds.
    #[serde(with = "crate::plain")]
    pub clocks: BTreeMap<ReplicaId, i64>,
    /// Whether these clocks are set right once everything is healed.
    pub clocks_mended: bool,
}

impl Cast {
    /// Draws who is faulty in a committee of `n`, and how: liars by these deeds.
    #[must_use]
    pub fn draw(rng: &mut Rng, n: u16, deeds: &[Deed], shares: Shares) -> Self {
        let mut cast = Self { reform: rng.permille(300), ..Self::default() };
        cast.clocks_mended = rng.permille(500);
        let mut all: Vec<ReplicaId> = (0..n).map(ReplicaId).collect();
        for _ in 0..faults_of(n) {
            let place = usize::try_from(rng.below(all.len() as u64)).unwrap_or(0);
            cast.faulty.insert(all.swap_remove(place));
        }
        cast.deceived.extend((0..n).map(ReplicaId).filter(|_| rng.permille(500)));
        for &replica in &cast.faulty {
            if rng.permille(shares.liars) {
                let most = rng.range(1, 5);
                let deeds = (0..most).map(|_| Deed::draw(rng, deeds)).collect();
                cast.liars.insert(replica, deeds);
            } else if rng.permille(shares.twins) {
                cast.twins.insert(replica);
            }
            if rng.permille(200) {
                let off = i64::try_from(rng.range(2_300, 10_000)).unwrap_or(0);
                cast.clocks.insert(replica, if rng.permille(500) { off } else { -off });
            }
        }
        cast
    }

    /// Whether nothing is expected of a replica: it lies, or there are two of it.
    #[must_use]
    pub fn lies(&self, replica: ReplicaId) -> bool {
        self.liars.contains_key(&replica) || self.twins.contains(&replica)
    }
}
