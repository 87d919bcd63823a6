//! Small plans, each of one thing that a person may want to look at.

use crate::{
    adversary::Deed,
    cluster::Tuning,
    copy::{Copies, Habit},
    network::Network,
    plan::{Fault, Plan},
    seat::{Seat, Seating},
    swarm::{Mix, Options},
};
use quorate_types::{ReplicaId, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A plan with a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    plan: fn(u64, Option<u16>) -> Plan,
}

impl Scenario {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self { name: "swarm", about: "what a swarm draws from the seed", plan: of_swarm },
        Self { name: "swarm-twins", about: "the same of a swarm of twins", plan: of_twins },
        Self { name: "swarm-disks", about: "the same of a swarm of bad disks", plan: of_disks },
        Self { name: "swarm-copies", about: "the same of a swarm of copies", plan: of_copies },
        Self { name: "calm", about: "nothing fails", plan: calm },
        Self { name: "view-change", about: "the primary dies for a while", plan: view_change },
        Self { name: "partition", about: "the primary alone is cut off", plan: partition },
        Self { name: "state-transfer", about: "one is away for long", plan: state_transfer },
        Self { name: "lost-disk", about: "one loses its disk, and rejoins", plan: lost_disk },
        Self { name: "equivocation", about: "the primary tells two stories", plan: equivocation },
        Self { name: "twins", about: "two processes run with one key", plan: twins },
        Self { name: "copies", about: "of a service outside, one copy lies", plan: copies },
    ];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|scenario| scenario.name == name).copied()
    }

    /// Its plan.
    #[must_use]
    pub fn plan(self, seed: u64, replicas: Option<u16>) -> Plan {
        (self.plan)(seed, replicas)
    }
}

fn of_swarm(seed: u64, replicas: Option<u16>) -> Plan {
    Options { replicas, ..Options::new(seed, 1) }.plan(seed)
}

fn of_twins(seed: u64, replicas: Option<u16>) -> Plan {
    Options { mix: Mix::Twins, replicas, ..Options::new(seed, 1) }.plan(seed)
}

fn of_disks(seed: u64, replicas: Option<u16>) -> Plan {
    Options { mix: Mix::Disks, replicas, ..Options::new(seed, 1) }.plan(seed)
}

fn of_copies(seed: u64, replicas: Option<u16>) -> Plan {
    Options { mix: Mix::Copies, replicas, ..Options::new(seed, 1) }.plan(seed)
}

/// Nothing fails: a quiet network, sound clocks, two clients with three requests each.
fn calm(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = Plan::calm(seed, replicas.unwrap_or(4));
    plan.network = Network::even(Duration::from_millis(4), Duration::from_millis(2));
    plan.tuning.view_timeout = Tuning::VIEW_TIMEOUT_LEAST;
    plan.fsync_max = Duration::from_millis(1);
    plan.skew_ms_max = 50;
    plan.link_notice = Some(Duration::from_millis(20));
    plan.tuning.replay_window = 10_000;
    plan.tuning.replay_signed_max = 10_000;
    (plan.clients, plan.requests) = (2, 3);
    heal_at(&mut plan, 1_500);
    plan
}

fn view_change(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    plan.requests = 6;
    heal_at(&mut plan, 3_000);
    plan.faults = vec![(millis(400), crash(0, 2_000, false))];
    plan
}

fn partition(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    plan.requests = 6;
    heal_at(&mut plan, 3_000);
    let others = (1..plan.n).map(Seat);
    let links = others.flat_map(|other| [(Seat(0), other), (other, Seat(0))]).collect();
    let lasting = Duration::from_millis(2_000);
    plan.faults = vec![(millis(400), Fault::Cut { links, lasting })];
    plan
}

/// Away for so long that the others have a snapshot beyond the entries that it lacks.
fn state_transfer(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    (plan.clients, plan.requests) = (3, 30);
    plan.tuning.snapshot_bytes = 3_000;
    plan.tuning.snapshot_lag = 5;
    heal_at(&mut plan, 5_000);
    plan.faults = vec![(millis(300), crash(plan.n.saturating_sub(1), 4_000, false))];
    plan
}

fn lost_disk(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    plan.requests = 10;
    heal_at(&mut plan, 3_000);
    let last = plan.n.saturating_sub(1);
    plan.cast.faulty = BTreeSet::from([ReplicaId(last)]);
    plan.faults = vec![(millis(500), crash(last, 500, true))];
    plan
}

fn equivocation(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    let liar = ReplicaId(0);
    plan.cast.faulty = BTreeSet::from([liar]);
    plan.cast.liars = BTreeMap::from([(liar, BTreeSet::from([Deed::Equivocate]))]);
    plan.cast.deceived = BTreeSet::from([ReplicaId(1)]);
    plan
}

/// The primary runs twice, and the others are split between the two for a while.
fn twins(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    plan.requests = 6;
    heal_at(&mut plan, 3_000);
    let twin = ReplicaId(0);
    plan.cast.faulty = BTreeSet::from([twin]);
    plan.cast.twins = BTreeSet::from([twin]);
    let all: Vec<Seat> = Seating::new(plan.n, &plan.cast.twins).all().collect();
    let near = |at: &Seat| at.0 * 2 < plan.n;
    let links = all.iter().flat_map(|&a| all.iter().map(move |&b| (a, b)));
    let links = links.filter(|(a, b)| near(a) != near(b)).collect();
    let lasting = Duration::from_millis(1_500);
    plan.faults = vec![(millis(300), Fault::Cut { links, lasting })];
    plan
}

/// A copy of the service runs beside each replica; the last one's answers are invented.
fn copies(seed: u64, replicas: Option<u16>) -> Plan {
    let mut plan = calm(seed, replicas);
    let last = ReplicaId(plan.n.saturating_sub(1));
    plan.copies = Some(Copies { habits: BTreeMap::from([(last, Habit::Lies)]) });
    plan
}

fn crash(seat: u16, down_ms: u64, empty: bool) -> Fault {
    let (seats, down) = (vec![Seat(seat)], Duration::from_millis(down_ms));
    Fault::Crash { seats, power: empty, down, empty }
}

fn heal_at(plan: &mut Plan, ms: u64) {
    plan.healed = millis(ms);
    plan.end = plan.healed.plus(Duration::from_secs(60));
}

fn millis(ms: u64) -> Time {
    Time::default().plus(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::run;

    #[test]
    fn every_scenario_ends_well_and_does_what_it_says() {
        for scenario in Scenario::ALL {
            let outcome = run(scenario.plan(7, None));
            assert_eq!(outcome.failures, [], "{}", scenario.name);
            let shows = match scenario.name {
                "view-change" | "partition" => outcome.views > 0,
                "state-transfer" => outcome.pieces > 0,
                "lost-disk" => outcome.rejoins > 0,
                "equivocation" => outcome.accusations.contains_key("equivocation"),
                _ => outcome.entries > 1,
            };
            assert!(shows, "{}: {outcome:?}", scenario.name);
        }
    }

    #[test]
    fn a_scenario_is_found_by_its_name() {
        assert!(Scenario::ALL.iter().all(|it| Scenario::named(it.name).is_some()));
        assert!(Scenario::named("none").is_none());
    }
}
