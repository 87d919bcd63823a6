//! Agreement and progress over many seeds.

use super::*;
use std::time::Duration;

#[test]
fn the_suite_accepts_it() {
    for seed in 0..4 {
        conformance::is_deterministic(&Macs::new(4), seed);
        conformance::survives_garbage(&Macs::new(4), seed);
        conformance::ignores_stale_verdicts(&Macs::new(4), seed);
        let second = Macs { instance: 1, ..Macs::new(4) };
        conformance::nests(&Macs::new(4), &second, seed);
    }
}

#[test]
fn a_restart_after_any_effect_contradicts_nothing() {
    for seed in 0..3 {
        conformance::replays_after_every_prefix_of_effects(&Macs::new(4), seed);
    }
}

/// Load under loss, reordering, crashes of up to f at a time and of all at once; then fair weather.
fn storm(n: u16, seed: u64) {
    let mut network = Network::new(Macs::new(n), seed, Weather::FOUL);
    let mut random = Random::new(seed ^ 0xabcd);
    let f = u64::try_from(network.subject.committee.f()).unwrap();
    for round in 0..10 {
        network.submit(round * 10..round * 10 + random.below(10));
        network.run_for(Duration::from_millis(random.below(800)));
        let victims: Vec<ReplicaId> = match random.below(5) {
            0 => network.subject.committee.replicas().collect(),
            1 | 2 => (0..=random.below(f))
                .map(|_| random.below(n.into()))
                .map(|it| ReplicaId(it as u16))
                .collect(),
            _ => Vec::new(),
        };
        victims.iter().for_each(|victim| network.crash(*victim));
        network.run_for(Duration::from_millis(random.below(3000)));
        victims.iter().for_each(|victim| network.start(*victim));
    }
    network.weather = Weather::FAIR;
    let done = network.run_until(Duration::from_secs(200), |it| it.is_served() && it.is_level());
    let nodes = &network.nodes;
    assert!(
        done,
        "n = {n}, seed {seed} is stuck: {:?}",
        nodes.iter().map(|it| &it.engine).collect::<Vec<_>>()
    );
    let accused = nodes.iter().flat_map(|node| &node.accusations).collect::<Vec<_>>();
    assert!(accused.is_empty(), "n = {n}, seed {seed}: the honest are accused: {accused:?}");
}

#[test]
fn storms_end_in_agreement() {
    for seed in 0..200 {
        storm(4 + (seed % 4) as u16, seed);
    }
}
