//! Which faults a seed brings, and when.
//!
//! A run has two phases. In the first, anything on the plan may happen, and safety must hold. At
//! its end everything is healed; in the second, everybody must come up and every client be answered
//! within a bound.

use crate::{network::Network, rng::Rng};
use quorate_types::{Committee, ReplicaId, Time};
use std::{collections::BTreeSet, time::Duration};

/// One fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Processes die at one moment; `power` loses what was not synced.
    Crash {
        /// Which.
        replicas: Vec<ReplicaId>,
        /// Whether the machine dies too.
        power: bool,
        /// How long they stay down.
        down: Duration,
        /// Whether the disk is empty afterwards.
        empty: bool,
    },
    /// Directed links carry nothing for a while.
    Cut {
        /// From whom to whom.
        links: BTreeSet<(ReplicaId, ReplicaId)>,
        /// How long.
        lasting: Duration,
    },
}

/// A seed's plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many replicas.
    pub n: u16,
    /// How links behave in the first phase.
    pub network: Network,
    /// What happens, in order of time.
    pub faults: Vec<(Time, Fault)>,
    /// When everything is healed.
    pub healed: Time,
    /// When everybody must be up and answered.
    pub end: Time,
    /// How many clients.
    pub clients: usize,
    /// How many requests each makes.
    pub requests: usize,
    /// How long an fsync takes at most.
    pub fsync_max: Duration,
}

impl Plan {
    /// Draws the plan of a seed for `n` replicas.
    #[must_use]
    pub fn draw(seed: u64, n: u16) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::draw(&mut rng);
        let healed = Time::default().plus(Duration::from_millis(rng.range(2_000, 8_000)));
        let mut faults = Vec::new();
        let mut emptied = BTreeSet::new();
        for _ in 0..rng.below(6) {
            let at = Time(rng.below(healed.0));
            faults.push((at, draw_fault(&mut rng, n, &mut emptied)));
        }
        keep_the_promise(&mut faults, n, !emptied.is_empty());
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            n,
            network,
            faults,
            healed,
            end: healed.plus(Duration::from_secs(60)),
            clients: 1 + usize::try_from(rng.below(4)).unwrap_or(0),
            requests: 5 + usize::try_from(rng.below(20)).unwrap_or(0),
            fsync_max: Duration::from_micros(rng.range(100, 20_000)),
        }
    }

    /// A plan without any fault.
    #[must_use]
    pub fn calm(seed: u64, n: u16) -> Self {
        let mut plan = Self::draw(seed, n);
        plan.faults.clear();
        plan.network.heal();
        plan
    }
}

/// What is promised (P2) survives f lost disks, and it survives everybody losing power at once.
/// Both in one run can leave a stable slot whose decisions no disk holds any more: nothing is
/// forged, but the cluster waits (`docs/decisions.md`, "Not yet").
fn keep_the_promise(faults: &mut [(Time, Fault)], n: u16, a_disk_is_lost: bool) {
    for (_, fault) in faults {
        if let Fault::Crash { replicas, power, .. } = fault {
            *power &= !(a_disk_is_lost && replicas.len() == usize::from(n));
        }
    }
}

/// At most f disks are emptied in a run: a lost disk is a fault (P2), and the plan does not wait
/// for one to have rejoined before it takes the next.
fn draw_fault(rng: &mut Rng, n: u16, emptied: &mut BTreeSet<ReplicaId>) -> Fault {
    let f = Committee::new(n, quorate_types::FaultModel::Bft).map_or(0, |c| c.f());
    let pick = |rng: &mut Rng| ReplicaId(u16::try_from(rng.below(n.into())).unwrap_or(0));
    let lasting = Duration::from_millis(rng.range(50, 3_000));
    match rng.below(10) {
        0..=2 => {
            let replicas = vec![pick(rng)];
            Fault::Crash { replicas, power: rng.permille(500), down: lasting, empty: false }
        }
        3 => {
            let replicas = (0..n).map(ReplicaId).collect();
            Fault::Crash { replicas, power: rng.permille(500), down: lasting, empty: false }
        }
        4 | 5 => {
            let replica = pick(rng);
            let empty = emptied.len() < f || emptied.contains(&replica);
            if empty {
                emptied.insert(replica);
            }
            Fault::Crash { replicas: vec![replica], power: true, down: lasting, empty }
        }
        _ => {
            let isolated = rng.permille(500);
            let mut side = BTreeSet::from([pick(rng)]);
            side.extend((0..n).map(ReplicaId).filter(|_| !isolated && rng.permille(500)));
            let symmetric = rng.permille(700);
            let mut links = BTreeSet::new();
            for a in (0..n).map(ReplicaId) {
                for b in (0..n).map(ReplicaId) {
                    let out = side.contains(&a) && !side.contains(&b);
                    let into = !side.contains(&a) && side.contains(&b);
                    if out || (into && symmetric) {
                        links.insert((a, b));
                    }
                }
            }
            Fault::Cut { links, lasting }
        }
    }
}
