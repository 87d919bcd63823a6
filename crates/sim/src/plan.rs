//! Which faults a seed brings, and when.
//!
//! A run has two phases. In the first, anything on the plan may happen, and safety must hold. At
//! its end everything is healed; in the second, everybody must come up and every client be answered
//! within a bound.

use crate::{
    adversary::Deed,
    cluster::{Tuning, faults_of},
    network::Network,
    rng::Rng,
};
use quorate_types::{ReplicaId, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

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

/// Who is faulty, and how. At most f replicas in all, those that lose their disks among them: a
/// lost disk is a fault (P2).
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// The faulty ones.
    pub faulty: BTreeSet<ReplicaId>,
    /// Those among them that lie, and how.
    pub liars: BTreeMap<ReplicaId, BTreeSet<Deed>>,
    /// Whom equivocators tell the contradiction, all of them the same.
    pub deceived: BTreeSet<ReplicaId>,
    /// Whether liars follow the protocol once everything is healed.
    pub reform: bool,
    /// Clocks that are off by more than replicas bear with, in milliseconds.
    pub clocks: BTreeMap<ReplicaId, i64>,
    /// Whether these clocks are set right once everything is healed.
    pub clocks_mended: bool,
}

impl Cast {
    /// Draws who is faulty in a committee of `n`, and how: so many of a thousand of
    /// them by these deeds.
    #[must_use]
    pub fn draw(rng: &mut Rng, n: u16, deeds: &[Deed], liars_permille: u64) -> Self {
        let mut cast = Self { reform: rng.permille(300), ..Self::default() };
        cast.clocks_mended = rng.permille(500);
        let mut all: Vec<ReplicaId> = (0..n).map(ReplicaId).collect();
        for _ in 0..faults_of(n) {
            let place = usize::try_from(rng.below(all.len() as u64)).unwrap_or(0);
            cast.faulty.insert(all.swap_remove(place));
        }
        cast.deceived.extend((0..n).map(ReplicaId).filter(|_| rng.permille(500)));
        for &replica in &cast.faulty {
            if rng.permille(liars_permille) {
                let most = rng.range(1, 5);
                let deeds = (0..most).map(|_| Deed::draw(rng, deeds)).collect();
                cast.liars.insert(replica, deeds);
            }
            if rng.permille(200) {
                let off = i64::try_from(rng.range(2_300, 10_000)).unwrap_or(0);
                cast.clocks.insert(replica, if rng.permille(500) { off } else { -off });
            }
        }
        cast
    }
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
    /// Who is faulty, and how.
    pub cast: Cast,
    /// The pipeline's bounds.
    pub tuning: Tuning,
    /// By how much a sound clock is off at most, in milliseconds.
    pub skew_ms_max: u64,
    /// How long it takes until replicas are told that a link broke; `None` where they never are.
    pub link_notice: Option<Duration>,
}

impl Plan {
    /// Draws the plan of a seed for `n` replicas. In one seed of three somebody lags far behind,
    /// and the liars wait for it.
    #[must_use]
    pub fn draw(seed: u64, n: u16) -> Self {
        match Rng::new(!seed).permille(330) {
            true => Self::draw_with(seed, n, &Deed::TO_LAGGARDS, true),
            false => Self::draw_with(seed, n, &Deed::ALL, false),
        }
    }

    /// Draws a plan in which liars do some of these deeds, and in which, perhaps, somebody lags.
    #[must_use]
    pub fn draw_with(seed: u64, n: u16, deeds: &[Deed], laggard: bool) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::draw(&mut rng);
        let healed = Time::default().plus(Duration::from_millis(rng.range(2_000, 8_000)));
        let cast = Cast::draw(&mut rng.fork(), n, deeds, if laggard { 850 } else { 600 });
        let mut faults = Vec::new();
        if laggard {
            draw_absences(&mut rng, n, &cast, healed, &mut faults);
        }
        for _ in 0..rng.below(6) {
            let at = Time(rng.below(healed.0));
            faults.push((at, draw_fault(&mut rng, n, &cast.faulty)));
        }
        let small = laggard || rng.permille(400);
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            n,
            network,
            faults,
            healed,
            end: healed.plus(Duration::from_secs(60)),
            clients: usize::try_from(rng.range(if laggard { 3 } else { 1 }, 4)).unwrap_or(1),
            requests: usize::try_from(rng.range(5, 25) + if laggard { 15 } else { 0 }).unwrap_or(5),
            fsync_max: Duration::from_micros(rng.range(100, 20_000)),
            cast,
            tuning: Tuning::draw(&mut rng, small),
            skew_ms_max: if rng.permille(700) { 200 } else { 900 },
            link_notice: rng.permille(600).then(|| Duration::from_millis(rng.range(0, 300))),
        }
    }

    /// A plan without any fault.
    #[must_use]
    pub fn calm(seed: u64, n: u16) -> Self {
        let mut plan = Self::draw(seed, n);
        plan.faults.clear();
        plan.network.heal();
        plan.cast = Cast::default();
        plan
    }

    /// A plan in which nothing fails but that these replicas, told of nobody else, lie.
    #[must_use]
    pub fn conspiracy(seed: u64, n: u16, liars: &[u16], deed: Deed, deceived: &[u16]) -> Self {
        let mut plan = Self::calm(seed, n);
        plan.cast.faulty = liars.iter().copied().map(ReplicaId).collect();
        plan.cast.liars =
            plan.cast.faulty.iter().map(|&liar| (liar, BTreeSet::from([deed]))).collect();
        plan.cast.deceived = deceived.iter().copied().map(ReplicaId).collect();
        plan
    }
}

/// Somebody who never lies is away for a long while, and comes back to ask its neighbour, a liar
/// where there is one, what it missed. One that loses its disk asks all.
fn draw_absences(
    rng: &mut Rng,
    n: u16,
    cast: &Cast,
    healed: Time,
    faults: &mut Vec<(Time, Fault)>,
) {
    let neighbour = |liar: &ReplicaId| ReplicaId((liar.0 + n - 1) % n);
    let mut sound: Vec<_> = (0..n).map(ReplicaId).filter(|it| !cast.faulty.contains(it)).collect();
    let beside: Vec<_> = cast.liars.keys().map(neighbour).filter(|it| sound.contains(it)).collect();
    if !beside.is_empty() && rng.permille(700) {
        sound = beside;
    }
    let away = rng.pick(&sound).copied().unwrap_or_default();
    let at = Time(rng.below(healed.0 / 4));
    let down = Duration::from_millis(rng.range(1_500, 5_000));
    let others = (0..n).map(ReplicaId).filter(|other| *other != away);
    faults.push(match rng.permille(500) {
        true => {
            let power = rng.permille(500);
            (at, Fault::Crash { replicas: vec![away], power, down, empty: false })
        }
        false => {
            let links = others.flat_map(|other| [(away, other), (other, away)]).collect();
            (at, Fault::Cut { links, lasting: down })
        }
    });
    let honest = cast.faulty.iter().find(|it| !cast.liars.contains_key(it));
    if let Some(&honest) = honest
        && rng.permille(700)
    {
        let replicas = vec![honest];
        let at = Time(rng.below(healed.0));
        faults.push((at, Fault::Crash { replicas, power: true, down: down / 4, empty: true }));
    }
}

/// Only disks of faulty replicas are emptied: a lost disk is a fault (P2), and the plan does not
/// wait for one to have rejoined before it takes the next.
fn draw_fault(rng: &mut Rng, n: u16, faulty: &BTreeSet<ReplicaId>) -> Fault {
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
            let place = usize::try_from(rng.below(faulty.len() as u64)).unwrap_or(0);
            let replicas = faulty.iter().copied().skip(place).take(1).collect();
            Fault::Crash { replicas, power: true, down: lasting, empty: true }
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
