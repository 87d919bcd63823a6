//! Which faults a seed brings, and when.
//!
//! A run has two phases. In the first, anything on the plan may happen, and safety must hold. At
//! its end everything is healed; in the second, everybody must come up and every client be answered
//! within a bound.

use crate::{
    adversary::Deed,
    cast::{Cast, Shares},
    cluster::Tuning,
    copy::Copies,
    cost::{Costs, Operation, Work},
    disks::DiskTrouble,
    front::RETRY,
    keys::Signatures,
    network::Network,
    rng::Rng,
    seat::{Seat, Seating},
};
use quorate_types::{ReplicaId, Time};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// From healing on, everybody has so many times the engine's first timeout to settle: 60 s where it
/// is the least one.
const TIMEOUTS_TO_SETTLE: u32 = 100;

/// Parts the numbers that decide about copies from those of the rest of the plan.
const COPIES_FORK: u64 = 0x636f_7069_6573;

/// One fault.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Processes die at one moment; `power` loses what was not synced.
    Crash {
        /// Which.
        #[serde(with = "crate::plain")]
        seats: Vec<Seat>,
        /// Whether the machine dies too.
        power: bool,
        /// How long they stay down.
        #[serde(with = "crate::plain")]
        down: Duration,
        /// Whether the disk is empty afterwards.
        empty: bool,
    },
    /// Directed links carry nothing for a while.
    Cut {
        /// From whom to whom.
        #[serde(with = "crate::plain")]
        links: BTreeSet<(Seat, Seat)>,
        /// How long.
        #[serde(with = "crate::plain")]
        lasting: Duration,
    },
    /// A disk makes trouble.
    Disk {
        /// Whose.
        #[serde(with = "crate::plain")]
        at: Seat,
        /// Which.
        trouble: DiskTrouble,
        /// How long, where it is not over at once.
        #[serde(with = "crate::plain")]
        lasting: Duration,
    },
}

impl Fault {
    /// Whose machines it names.
    pub fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        let (seats, links, one) = match self {
            Self::Crash { seats, .. } => (&seats[..], None, None),
            Self::Cut { links, .. } => (&[][..], Some(links), None),
            Self::Disk { at, .. } => (&[][..], None, Some(*at)),
        };
        let ends = links.into_iter().flatten().flat_map(|&(a, b)| [a, b]);
        seats.iter().copied().chain(ends).chain(one)
    }
}

/// A seed's plan.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many replicas.
    pub n: u16,
    /// What they sign with.
    pub signatures: Signatures,
    /// How links behave in the first phase.
    pub network: Network,
    /// How long processes are busy with their inputs.
    pub costs: Costs,
    /// What happens, in order of time.
    #[serde(default, with = "crate::plain::dated")]
    pub faults: Vec<(Time, Fault)>,
    /// When everything is healed.
    #[serde(with = "crate::plain")]
    pub healed: Time,
    /// When everybody must be up and answered.
    #[serde(with = "crate::plain")]
    pub end: Time,
    /// How many clients.
    pub clients: usize,
    /// How many requests each makes.
    pub requests: usize,
    /// How long an fsync takes at most.
    #[serde(with = "crate::plain")]
    pub fsync_max: Duration,
    /// Who is faulty, and how.
    pub cast: Cast,
    /// The pipeline's bounds.
    pub tuning: Tuning,
    /// By how much a sound clock is off at most, in milliseconds.
    pub skew_ms_max: u64,
    /// How long it takes until replicas are told that a link broke; `None` where they never are.
    #[serde(default, with = "crate::plain")]
    pub link_notice: Option<Duration>,
    /// How the copies of the service behave; `None` where it runs inside the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
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
        let liars = if laggard { 850 } else { 600 };
        Self::draw_shares(seed, n, deeds, laggard, Shares { liars, twins: 250 })
    }

    /// Draws a plan in which everybody faulty has a twin, and nobody lies otherwise.
    #[must_use]
    pub fn twins(seed: u64, n: u16) -> Self {
        Self::draw_shares(seed, n, &[], false, Shares { liars: 0, twins: 1_000 })
    }

    fn draw_shares(seed: u64, n: u16, deeds: &[Deed], laggard: bool, shares: Shares) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::draw(&mut rng);
        let costs = draw_costs(&mut rng);
        let healed = Time::default().plus(Duration::from_millis(rng.range(2_000, 8_000)));
        let cast = Cast::draw(&mut rng.fork(), n, deeds, shares);
        let mut faults = Vec::new();
        if laggard {
            draw_absences(&mut rng, n, &cast, healed, &mut faults);
        }
        let seating = Seating::new(n, &cast.twins);
        for _ in 0..rng.below(6) {
            let at = Time(rng.below(healed.0));
            faults.push((at, draw_fault(&mut rng, &seating, &cast.faulty)));
        }
        for &twin in &cast.twins {
            for _ in 0..rng.range(1, 5) {
                let at = Time(rng.below(healed.0));
                faults.push((at, draw_parting(&mut rng, &seating, twin)));
            }
        }
        let mut disks = Rng::new(seed.rotate_left(23));
        for _ in 0..disks.below(4) {
            let at = Time(disks.below(healed.0));
            faults.push((at, draw_disk(&mut disks, &seating, &cast)));
        }
        let small = laggard || rng.permille(400);
        faults.sort_by_key(|(at, _)| *at);
        let view_timeout = view_timeout(&network, &costs, n);
        let tuning = Tuning { view_timeout, ..Tuning::draw(&mut rng, small) };
        Self {
            seed,
            n,
            signatures: Signatures::Macs,
            faults,
            healed,
            end: healed.plus(tuning.view_timeout * TIMEOUTS_TO_SETTLE),
            clients: usize::try_from(rng.range(if laggard { 3 } else { 1 }, 4)).unwrap_or(1),
            requests: usize::try_from(rng.range(5, 25) + if laggard { 15 } else { 0 }).unwrap_or(5),
            fsync_max: Duration::from_micros(rng.range(100, 20_000)),
            cast,
            tuning,
            network,
            costs,
            skew_ms_max: if rng.permille(700) { 200 } else { 900 },
            link_notice: rng.permille(600).then(|| Duration::from_millis(rng.range(0, 300))),
            copies: None,
        }
    }

    /// Draws a plan in which nobody lies, but disks make trouble again and again, and those of the
    /// faulty ones do other things than they say.
    #[must_use]
    pub fn draw_disks(seed: u64, n: u16) -> Self {
        let mut plan = Self::draw_with(seed, n, &Deed::ALL, false);
        let mut rng = Rng::new(seed.rotate_left(17));
        plan.cast.liars.clear();
        plan.cast.twins.clear();
        let seating = Seating::new(n, &plan.cast.twins);
        plan.faults.retain(|(_, fault)| fault.seats().all(|seat| seat.0 < n));
        for _ in 0..rng.range(3, 10) {
            let at = Time(rng.below(plan.healed.0));
            plan.faults.push((at, draw_disk(&mut rng, &seating, &plan.cast)));
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Draws a plan in which the service runs outside, and copies of it are bad. Liars lie about
    /// answers, too.
    #[must_use]
    pub fn draw_copies(seed: u64, n: u16) -> Self {
        let mut rng = Rng::new(seed.rotate_left(29) ^ COPIES_FORK);
        let about_answers = rng.permille(600);
        let deeds = [&Deed::ALL[..], &Deed::ABOUT_ANSWERS].concat();
        let deeds = if about_answers { &Deed::ABOUT_ANSWERS[..] } else { &deeds };
        let laggard = rng.permille(250);
        let shares = Shares { liars: 500, twins: 200 };
        let mut plan = Self::draw_shares(seed, n, deeds, laggard, shares);
        plan.copies = Some(Copies::draw(&mut rng, n, &plan.cast.faulty));
        let requests = u32::try_from(plan.requests * plan.clients).unwrap_or(u32::MAX);
        plan.end = plan.end.plus(RETRY.saturating_mul(requests));
        plan
    }

    /// The same with so many requests in all, which its clients share. Each of a client's may have
    /// to be asked anew once more, since it went to a gateway that keeps it to itself.
    #[must_use]
    pub fn with_commands(mut self, commands: u32) -> Self {
        let clients = u32::try_from(self.clients.max(1)).unwrap_or(u32::MAX);
        let each = commands.div_ceil(clients);
        self.requests = usize::try_from(each).unwrap_or(usize::MAX);
        self.end = self.end.plus(RETRY.saturating_mul(each));
        self
    }

    /// A plan without any fault.
    #[must_use]
    pub fn calm(seed: u64, n: u16) -> Self {
        let mut plan = Self::draw(seed, n);
        plan.faults.clear();
        plan.network.heal();
        plan.costs = Costs::free();
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

/// What an operator sets: the least that is usual, but three slow round trips at least, and what
/// the largest slots take on these cores, sixteen times, since a change of view verifies as much.
#[must_use]
pub fn view_timeout(network: &Network, costs: &Costs, n: u16) -> Duration {
    let mut slot = Work::default();
    let n = u64::from(n);
    for (operation, times) in [
        (Operation::Step, 4 * n),
        (Operation::Sign, 4),
        (Operation::Verify, 2 * n),
        (Operation::VerifyStrict, n),
        (Operation::Execute, 16),
    ] {
        slot.add(operation, times);
    }
    let least = Tuning::VIEW_TIMEOUT_LEAST.max(network.round_trip() * 3);
    least + costs.of(&slot) * 16
}

/// Mostly free; else as measured, or up to fifty times slower.
fn draw_costs(rng: &mut Rng) -> Costs {
    if rng.permille(850) {
        return Costs::free();
    }
    let (workers, times) = (rng.below(4), rng.range(1, 50));
    let mut costs = Costs::measured().slower(times);
    costs.workers = usize::try_from(workers).unwrap_or(1);
    costs
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
    let away = Seat::first(away);
    let others = Seating::new(n, &cast.twins).all().filter(|&other| other != away);
    faults.push(match rng.permille(500) {
        true => {
            let power = rng.permille(500);
            (at, Fault::Crash { seats: vec![away], power, down, empty: false })
        }
        false => {
            let links = others.flat_map(|other| [(away, other), (other, away)]).collect();
            (at, Fault::Cut { links, lasting: down })
        }
    });
    let honest = cast.faulty.iter().find(|it| !cast.lies(**it));
    if let Some(&honest) = honest
        && rng.permille(700)
    {
        let seats = vec![Seat::first(honest)];
        let at = Time(rng.below(healed.0));
        faults.push((at, Fault::Crash { seats, power: true, down: down / 4, empty: true }));
    }
}

/// Only disks of faulty replicas are emptied: a lost disk is a fault (P2), and the plan does not
/// wait for one to have rejoined before it takes the next.
fn draw_fault(rng: &mut Rng, seating: &Seating, faulty: &BTreeSet<ReplicaId>) -> Fault {
    let all: Vec<Seat> = seating.all().collect();
    let pick = |rng: &mut Rng| rng.pick(&all).copied().unwrap_or_default();
    let lasting = Duration::from_millis(rng.range(50, 3_000));
    match rng.below(10) {
        0..=2 => {
            let seats = vec![pick(rng)];
            Fault::Crash { seats, power: rng.permille(500), down: lasting, empty: false }
        }
        3 => Fault::Crash { seats: all, power: rng.permille(500), down: lasting, empty: false },
        4 | 5 => {
            let place = usize::try_from(rng.below(faulty.len() as u64)).unwrap_or(0);
            let seats = faulty.iter().skip(place).take(1).flat_map(|&it| seating.of(it)).collect();
            Fault::Crash { seats, power: true, down: lasting, empty: true }
        }
        _ => {
            let side = draw_side(rng, &all);
            Fault::Cut { links: between(&all, &side, rng.permille(700)), lasting }
        }
    }
}

/// Any disk may be slow, or full, or fail; only a faulty replica's does other things than it says.
fn draw_disk(rng: &mut Rng, seating: &Seating, cast: &Cast) -> Fault {
    let all: Vec<Seat> = seating.all().collect();
    let faulty: Vec<Seat> = cast
        .faulty
        .iter()
        .filter(|&&it| !cast.lies(it))
        .map(|&replica| Seat::first(replica))
        .collect();
    let lasting = Duration::from_millis(rng.range(50, 3_000));
    let lies = rng.permille(500);
    match rng.pick(&faulty).copied().filter(|_| lies) {
        Some(at) => Fault::Disk { at, trouble: DiskTrouble::draw_lie(rng), lasting },
        None => {
            let at = rng.pick(&all).copied().unwrap_or_default();
            Fault::Disk { at, trouble: DiskTrouble::draw(rng), lasting }
        }
    }
}

/// One side of a partition: one seat alone, so many that each number is as likely, or each seat by
/// the throw of a coin.
fn draw_side(rng: &mut Rng, all: &[Seat]) -> BTreeSet<Seat> {
    let mut left = all.to_vec();
    let mut side = BTreeSet::new();
    let most = all.len().saturating_sub(1) as u64;
    let count = match rng.below(3) {
        0 => 1,
        1 => rng.range(1, most),
        _ => (0..most).filter(|_| rng.permille(500)).count().max(1) as u64,
    };
    for _ in 0..count {
        let place = usize::try_from(rng.below(left.len() as u64)).unwrap_or(0);
        side.insert(left.swap_remove(place));
    }
    side
}

/// The two machines of a twin are on two sides of a cut, and everybody else hears one of them.
fn draw_parting(rng: &mut Rng, seating: &Seating, twin: ReplicaId) -> Fault {
    let all: Vec<Seat> = seating.all().collect();
    let mut side: BTreeSet<Seat> = BTreeSet::from([Seat::first(twin)]);
    let others = all.iter().copied().filter(|&seat| seating.who(seat) != twin);
    side.extend(others.filter(|_| rng.permille(500)));
    let lasting = Duration::from_millis(rng.range(50, 3_000));
    // Perhaps the others hear each other all the while, and only the twins are parted.
    let mut links = between(&all, &side, true);
    if rng.permille(500) {
        links.retain(|&(a, b)| seating.who(a) == twin || seating.who(b) == twin);
    }
    Fault::Cut { links, lasting }
}

/// The links from one side to all others, and back where the cut is symmetric.
fn between(all: &[Seat], side: &BTreeSet<Seat>, symmetric: bool) -> BTreeSet<(Seat, Seat)> {
    let mut links = BTreeSet::new();
    for &a in all {
        for &b in all {
            let out = side.contains(&a) && !side.contains(&b);
            let into = !side.contains(&a) && side.contains(&b);
            if out || (into && symmetric) {
                links.insert((a, b));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn partitions_of_every_size_are_drawn_in_one_direction_and_in_both() {
        let mut rng = Rng::new(1);
        let all: Vec<Seat> = (0..5).map(Seat).collect();
        let mut seen = BTreeMap::<(usize, bool), u32>::new();
        for _ in 0..1_000 {
            let side = draw_side(&mut rng, &all);
            let symmetric = rng.permille(500);
            let links = between(&all, &side, symmetric);
            let across = side.len() * (all.len() - side.len());
            assert_eq!(links.len(), if symmetric { 2 * across } else { across });
            assert!(links.iter().all(|(a, b)| side.contains(a) != side.contains(b)));
            *seen.entry((side.len(), symmetric)).or_default() += 1;
        }
        let kinds: Vec<_> = (1..=4).flat_map(|size| [(size, false), (size, true)]).collect();
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), kinds);
        assert!(seen[&(1, true)] > 2 * seen[&(4, true)], "most often one is alone: {seen:?}");
    }

    #[test]
    fn more_commands_have_more_time() {
        let plan = Plan::draw(160, 4);
        let end = plan.end;
        let longer = plan.with_commands(100);
        let each = u32::try_from(longer.requests).unwrap();
        assert!(longer.requests * longer.clients >= 100);
        assert_eq!(longer.end, end.plus(RETRY * each));
        assert_eq!(crate::world::run(longer).failures, [], "its gateway keeps requests to itself");
    }

    #[test]
    fn timeouts_follow_the_network_and_the_cores() {
        let ms = Duration::from_millis;
        let room = Network::even(ms(1), ms(1));
        assert_eq!(view_timeout(&room, &Costs::free(), 4), Tuning::VIEW_TIMEOUT_LEAST);
        let far = Network::even(ms(100), ms(50));
        assert_eq!(view_timeout(&far, &Costs::free(), 4), ms(900));
        let slow = Costs::free().with(Operation::Execute, ms(1));
        assert_eq!(view_timeout(&far, &slow, 4), ms(900 + 16 * 16));
        for seed in 0..200 {
            let plan = Plan::draw(seed, 7);
            assert!(plan.end >= plan.healed.plus(Duration::from_secs(60)));
            assert!(plan.tuning.view_timeout <= Duration::from_secs(10), "{:?}", plan.costs);
        }
    }
}
