//! Makes a plan that fails as small as it can be while the same check still fails.
//!
//! Each part of a run draws from a generator of its own, so leaving one out disturbs the others
//! little. First what happens is left out (faults in halves, then one by one; lies, clients), then
//! the network is made quiet, bounds usual, times short and round. What was too much for the
//! committee never becomes more: a plan with at most f faulty replicas keeps at most f.

use crate::{
    cluster::{Tuning, faults_of},
    cost::Costs,
    keys::Signatures,
    network::Network,
    plan::{Fault, Plan},
    seat::{Seat, Seating},
    swarm::caught,
    violation::{Check, Failure},
    world::run,
};
use quorate_types::{ReplicaId, Time};
use std::time::Duration;

/// How many runs a minimiser may take, unless it is said.
pub const RUNS_MAX: u32 = 400;

/// The smallest committee.
const REPLICAS_MIN: u16 = 4;

/// How long a message takes in a quiet network.
const QUIET: Duration = Duration::from_millis(5);

/// After the last fault, this long until everything is healed.
const REST: Duration = Duration::from_millis(500);

/// What a minimiser came to.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// The smallest plan that it found.
    pub plan: Plan,
    /// How that fails.
    pub failure: Failure,
    /// How many runs it took.
    pub runs: u32,
}

/// What a minimiser tells while it works.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// How many runs it has made.
    pub runs: u32,
    /// What it tried to leave out in the last one.
    pub tried: &'static str,
    /// Whether the plan still fails without.
    pub fails: bool,
    /// The smallest plan so far.
    pub plan: &'a Plan,
}

/// A plan with something left out, and what that is.
type Smaller = (&'static str, Plan);

/// A change of a plan.
type Edit = fn(&mut Plan);

/// Everything that can be left out of a plan at once, the most promising first.
type Pass = fn(&Plan) -> Vec<Smaller>;

const PASSES: [Pass; 8] =
    [without_faults, without_lies, without_clients, smaller, quieter, usual, sooner, shorter];

/// How a plan fails; `None` if it does not.
#[must_use]
pub fn failure(plan: &Plan) -> Option<Failure> {
    match caught(|| run(plan.clone())) {
        Ok(outcome) => outcome.failures.into_iter().next(),
        Err(panic) => {
            let violation = Check::Panic.broken(panic);
            Some(Failure { at: Time::default(), violation })
        }
    }
}

/// Makes a plan smaller while the same check fails, in so many runs at most. `None` if it does not
/// fail at all.
pub fn minimise(
    plan: &Plan,
    runs_max: u32,
    mut on_run: impl FnMut(Progress<'_>),
) -> Option<Minimised> {
    let mut best = Minimised { plan: plan.clone(), failure: failure(plan)?, runs: 1 };
    loop {
        let before = best.plan.clone();
        for pass in PASSES {
            let mut place = 0;
            loop {
                let smaller = pass(&best.plan);
                // What did not help stays skipped while the pass goes on.
                let Some((tried, candidate)) = smaller.into_iter().nth(place) else { break };
                if best.runs >= runs_max {
                    return Some(best);
                }
                if candidate == best.plan {
                    place += 1;
                    continue;
                }
                best.runs += 1;
                let failure = failure(&candidate);
                let same = |it: &Failure| it.violation.check == best.failure.violation.check;
                let fails = failure.as_ref().is_some_and(same);
                match failure.filter(|_| fails) {
                    Some(failure) => (best.plan, best.failure) = (candidate, failure),
                    None => place += 1,
                }
                on_run(Progress { runs: best.runs, tried, fails, plan: &best.plan });
            }
        }
        if best.plan == before {
            return Some(best);
        }
    }
}

/// What the edit gives back, if it gives anything, is of no use.
fn edited<T>(plan: &Plan, edit: impl FnOnce(&mut Plan) -> T) -> Plan {
    let mut plan = plan.clone();
    let _ = edit(&mut plan);
    plan
}

/// Halves, quarters, and so on down to single ones.
fn without_faults(plan: &Plan) -> Vec<Smaller> {
    let count = plan.faults.len();
    let mut all = Vec::new();
    let mut size = count;
    while size > 0 {
        for from in (0..count).step_by(size) {
            let to = (from + size).min(count);
            all.push(("faults", edited(plan, |plan| drop(plan.faults.drain(from..to)))));
        }
        size /= 2;
    }
    all
}

fn without_lies(plan: &Plan) -> Vec<Smaller> {
    let cast = &plan.cast;
    let mut all = Vec::new();
    for &liar in cast.liars.keys() {
        all.push(("a liar", edited(plan, |plan| plan.cast.liars.remove(&liar))));
    }
    for (&liar, deeds) in &cast.liars {
        for deed in deeds.iter().filter(|_| deeds.len() > 1) {
            let less = |plan: &mut Plan| {
                if let Some(deeds) = plan.cast.liars.get_mut(&liar) {
                    deeds.remove(deed);
                }
            };
            all.push(("a deed", edited(plan, less)));
        }
    }
    for &twin in &cast.twins {
        all.push(("a twin", without_twin(plan, twin)));
    }
    for replica in cast.clocks.keys() {
        all.push(("a clock", edited(plan, |plan| plan.cast.clocks.remove(replica))));
    }
    for deceived in &cast.deceived {
        all.push(("a dupe", edited(plan, |plan| plan.cast.deceived.remove(deceived))));
    }
    for &whose in plan.copies.iter().flat_map(|copies| copies.habits.keys()) {
        let sound = |plan: &mut Plan| {
            if let Some(copies) = &mut plan.copies {
                copies.habits.remove(&whose);
            }
        };
        all.push(("a bad copy", edited(plan, sound)));
    }
    if plan.copies.is_some() {
        all.push(("copies", edited(plan, |plan| plan.copies = None)));
    }
    // Whoever does nothing is not faulty, though it was cast for it.
    let seating = Seating::new(plan.n, &cast.twins);
    let struck = |replica: &ReplicaId| {
        plan.faults.iter().any(|(_, fault)| seating.of(*replica).any(|at| strikes(fault, at)))
    };
    let idle = cast
        .faulty
        .iter()
        .filter(|&it| !cast.lies(*it) && !cast.clocks.contains_key(it) && !struck(it));
    for replica in idle {
        all.push(("a part", edited(plan, |plan| plan.cast.faulty.remove(replica))));
    }
    all
}

fn without_clients(plan: &Plan) -> Vec<Smaller> {
    let mut all = Vec::new();
    for clients in [1, plan.clients / 2, plan.clients.saturating_sub(1)] {
        let clients = clients.clamp(1, plan.clients.max(1));
        all.push(("clients", edited(plan, |plan| plan.clients = clients)));
    }
    for requests in [1, plan.requests / 2, plan.requests.saturating_sub(1)] {
        let requests = requests.clamp(1, plan.requests.max(1));
        all.push(("requests", edited(plan, |plan| plan.requests = requests)));
    }
    all
}

/// One replica less, the last, and everything that it did.
fn smaller(plan: &Plan) -> Vec<Smaller> {
    let excess = |plan: &Plan| plan.cast.faulty.len().saturating_sub(faults_of(plan.n));
    let last = ReplicaId(plan.n.saturating_sub(1));
    let less = without_twin(plan, last);
    let less = edited(&less, |plan| {
        plan.n = last.0;
        let cast = &mut plan.cast;
        cast.faulty.remove(&last);
        cast.liars.remove(&last);
        cast.deceived.remove(&last);
        cast.clocks.remove(&last);
        if let Some(copies) = &mut plan.copies {
            copies.habits.remove(&last);
        }
        keep_seats(plan, |at| match at.0.cmp(&last.0) {
            std::cmp::Ordering::Less => Some(at),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Seat(at.0 - 1)),
        });
    });
    let fits = less.n >= REPLICAS_MIN && excess(&less) <= excess(plan);
    if fits { vec![("a replica", less)] } else { Vec::new() }
}

fn quieter(plan: &Plan) -> Vec<Smaller> {
    let network = |edit: Edit| ("noise", edited(plan, edit));
    vec![
        network(|plan| plan.network = Network::even(QUIET, Duration::ZERO)),
        network(|plan| plan.network.heal()),
        network(|plan| plan.network.loss_permille = 0),
        network(|plan| plan.network.replay_permille = 0),
        network(|plan| plan.network.clog_permille = 0),
        network(|plan| plan.network.capacity = None),
        network(|plan| plan.network.bandwidth = None),
        network(|plan| plan.network.in_order = true),
        network(|plan| plan.network.delay = Network::even(QUIET, Duration::ZERO).delay),
    ]
}

fn usual(plan: &Plan) -> Vec<Smaller> {
    let usual = Tuning {
        window: 16,
        replay_window: 10_000,
        replay_signed_max: 10_000,
        snapshot_bytes: 16_000,
        snapshot_lag: 60,
        batch_items_max: 16,
        view_timeout: plan.tuning.view_timeout,
    };
    let tuned =
        |edit: &dyn Fn(&mut Tuning)| ("a bound", edited(plan, |plan| edit(&mut plan.tuning)));
    let mut all = vec![
        tuned(&|it| *it = usual),
        tuned(&|it| it.window = usual.window),
        tuned(&|it| it.replay_window = usual.replay_window),
        tuned(&|it| it.replay_signed_max = usual.replay_signed_max),
        tuned(&|it| it.snapshot_bytes = usual.snapshot_bytes),
        tuned(&|it| it.snapshot_lag = usual.snapshot_lag),
        tuned(&|it| it.batch_items_max = usual.batch_items_max),
    ];
    let plain: [(&str, Edit); 6] = [
        ("busy cores", |plan| plan.costs = Costs::free()),
        ("real signatures", |plan| plan.signatures = Signatures::Macs),
        ("skew", |plan| plan.skew_ms_max = 0),
        ("slow disks", |plan| plan.fsync_max = Duration::from_millis(1)),
        ("notices of links", |plan| plan.link_notice = None),
        ("reform", |plan| plan.cast.reform = false),
    ];
    all.extend(plain.map(|(name, edit)| (name, edited(plan, edit))));
    all
}

/// Healed as soon as the faults are over, or at once.
fn sooner(plan: &Plan) -> Vec<Smaller> {
    let ends = plan.faults.iter().map(|(at, fault)| at.plus(lasting(fault)));
    let over = ends.max().unwrap_or_default().plus(REST);
    let healed = |healed: Time| {
        let bound = plan.end.since(plan.healed);
        let healed = healed.min(plan.healed);
        ("time", edited(plan, |plan| (plan.healed, plan.end) = (healed, healed.plus(bound))))
    };
    let soon = plan.healed <= Time::default().plus(REST);
    vec![healed(over), healed(if soon { Time::default() } else { Time(plan.healed.0 / 2) })]
}

/// Shorter outages, round times, one fixed delay.
fn shorter(plan: &Plan) -> Vec<Smaller> {
    let mut all = Vec::new();
    for place in 0..plan.faults.len() {
        let halved = |plan: &mut Plan| {
            if let Some((_, fault)) = plan.faults.get_mut(place) {
                let half = lasting(fault) / 2;
                *lasting_of(fault) = rounded(half);
            }
        };
        let short = plan.faults.get(place).is_some_and(|(_, it)| lasting(it) < REST / 5);
        if !short {
            all.push(("half an outage", edited(plan, halved)));
        }
    }
    let round = |plan: &mut Plan| {
        for (at, _) in &mut plan.faults {
            *at = Time::default().plus(rounded(at.since(Time::default())));
        }
    };
    all.push(("fractions", edited(plan, round)));
    all
}

/// To ten milliseconds where it is more than twenty, else to one.
fn rounded(duration: Duration) -> Duration {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let ms = if ms > 20 { ms / 10 * 10 } else { ms.max(1) };
    Duration::from_millis(ms)
}

/// The second machine of a twin is gone, and what happened to it.
fn without_twin(plan: &Plan, twin: ReplicaId) -> Plan {
    let seating = Seating::new(plan.n, &plan.cast.twins);
    let Some(gone) = seating.of(twin).find(|&at| at != Seat::first(twin)) else {
        return plan.clone();
    };
    edited(plan, |plan| {
        plan.cast.twins.remove(&twin);
        keep_seats(plan, |at| match at.cmp(&gone) {
            std::cmp::Ordering::Less => Some(at),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Seat(at.0 - 1)),
        });
    })
}

/// Gives seats other numbers, and leaves out what happens to those that have none.
fn keep_seats(plan: &mut Plan, number: impl Fn(Seat) -> Option<Seat>) {
    plan.faults.retain_mut(|(_, fault)| match fault {
        Fault::Crash { seats, .. } => {
            *seats = seats.iter().filter_map(|&at| number(at)).collect();
            !seats.is_empty()
        }
        Fault::Cut { links, .. } => {
            *links = links.iter().filter_map(|&(a, b)| Some((number(a)?, number(b)?))).collect();
            !links.is_empty()
        }
        Fault::Disk { at, .. } => number(*at).map(|number| *at = number).is_some(),
    });
}

/// Whether a fault is one of this machine, and not of the links around it.
fn strikes(fault: &Fault, at: Seat) -> bool {
    match fault {
        Fault::Crash { seats, .. } => seats.contains(&at),
        Fault::Disk { at: whose, .. } => *whose == at,
        Fault::Cut { .. } => false,
    }
}

fn lasting(fault: &Fault) -> Duration {
    match fault {
        Fault::Crash { down: lasting, .. }
        | Fault::Cut { lasting, .. }
        | Fault::Disk { lasting, .. } => *lasting,
    }
}

fn lasting_of(fault: &mut Fault) -> &mut Duration {
    match fault {
        Fault::Crash { down: lasting, .. }
        | Fault::Cut { lasting, .. }
        | Fault::Disk { lasting, .. } => lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Deed, scenario::Scenario};
    use std::collections::BTreeSet;

    /// Two colluding liars of four, in a seed in which much else goes wrong.
    fn noisy(seed: u64) -> Plan {
        let mut plan = Plan::draw_with(seed, 4, &[Deed::Replay], true);
        let quiet = Plan::conspiracy(seed, 4, &[0, 1], Deed::Mute, &[]);
        plan.cast.liars = quiet.cast.liars;
        plan.cast.faulty = quiet.cast.faulty;
        plan.cast.twins.clear();
        // One that is ahead of its time is as good as a liar.
        plan.cast.clocks.clear();
        keep_seats(&mut plan, |at| (at.0 < 4).then_some(at));
        plan.end = plan.healed.plus(Duration::from_secs(30));
        plan
    }

    #[test]
    fn the_noise_around_two_liars_is_stripped() {
        let stuck = |plan: &Plan| failure(plan).is_some_and(|it| it.violation.check.is_liveness());
        let plan = (0..20).map(noisy).find(|plan| !plan.faults.is_empty() && stuck(plan)).unwrap();
        let mut told = 0;
        let small = minimise(&plan, 120, |_| told += 1).unwrap();
        assert!(small.runs <= 120 && told + 1 == small.runs);
        assert_eq!(small.failure.violation.check, Check::Progress);
        let Plan { faults, cast, clients, requests, network, .. } = &small.plan;
        assert_eq!(*faults, []);
        let liars = BTreeSet::from([ReplicaId(0), ReplicaId(1)]);
        assert_eq!(cast.liars.keys().copied().collect::<BTreeSet<_>>(), liars);
        assert_eq!((*clients, *requests), (1, 1));
        assert_eq!(&network.delay, &Network::even(QUIET, Duration::ZERO).delay);
        assert!(failure(&small.plan).is_some());
    }

    #[test]
    fn what_does_not_fail_is_not_made_smaller() {
        let plan = Scenario::named("calm").unwrap().plan(1, None);
        assert!(minimise(&plan, 10, |_| {}).is_none());
    }

    #[test]
    fn a_committee_is_never_given_more_faults_than_it_bears() {
        for seed in 0..200 {
            let plan = Plan::draw(seed, 7);
            for (_, less) in PASSES.iter().flat_map(|pass| pass(&plan)) {
                assert!(less.cast.faulty.len() <= faults_of(less.n).max(plan.cast.faulty.len()));
                assert!(less.n == plan.n || less.cast.faulty.len() <= faults_of(less.n));
                let seats = Seating::new(less.n, &less.cast.twins).all().count();
                let known = |at: &Seat| at.position() < seats;
                assert!(less.faults.iter().all(|(_, fault)| fault.seats().all(|at| known(&at))));
            }
        }
    }
}
