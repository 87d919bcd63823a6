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

/// One random mishap, and how it ends.
fn mishap(network: &mut Network<Macs>, random: &mut Random) {
    let n = u64::try_from(network.nodes.len()).unwrap();
    let f = u64::try_from(network.subject.committee.f()).unwrap();
    let any = |random: &mut Random| ReplicaId(u16::try_from(random.below(n)).unwrap());
    let few = |random: &mut Random| (0..=random.below(f)).map(|_| any(random)).collect::<Vec<_>>();
    let all: Vec<ReplicaId> = network.subject.committee.replicas().collect();
    let view = network.nodes.iter().filter_map(|node| node.entered).max().unwrap_or_default();
    let victims = match random.below(8) {
        0 => all.clone(),
        1 => few(random),
        2 | 3 => vec![network.subject.committee.primary(view)],
        4 => {
            all.iter().for_each(|replica| network.feed(*replica, Input::Suspect));
            network.run_for(Duration::from_millis(random.below(60)));
            if random.below(2) == 0 { all.clone() } else { few(random) }
        }
        5 => {
            let to = View(view.0 + 1 + random.below(3));
            few(random).iter().for_each(|it| network.feed(*it, Input::Change { to }));
            few(random)
        }
        6 => {
            let cut: Vec<_> = few(random).into_iter().chain(few(random)).collect();
            cut.iter().for_each(|it| network.node_mut(it.0).cut_off = true);
            network.run_for(Duration::from_millis(random.below(4000)));
            cut.iter().for_each(|it| network.node_mut(it.0).cut_off = false);
            Vec::new()
        }
        _ => Vec::new(),
    };
    victims.iter().for_each(|victim| network.crash(*victim));
    network.run_for(Duration::from_millis(random.below(3000)));
    victims.iter().for_each(|victim| network.start(*victim));
}

/// Load under loss, reordering and mishaps, then fair weather.
fn storm(n: u16, seed: u64) -> Network<Macs> {
    let mut network = Network::new(Macs::new(n), seed, Weather::FOUL);
    let mut random = Random::new(seed ^ 0xabcd);
    for round in 0..12 {
        network.submit(round * 10..round * 10 + random.below(10));
        network.run_for(Duration::from_millis(random.below(800)));
        mishap(&mut network, &mut random);
    }
    network.weather = Weather::FAIR;
    let done = network.run_until(Duration::from_secs(200), |it| it.is_served() && it.is_level());
    let engines = network.nodes.iter().map(|it| &it.engine).collect::<Vec<_>>();
    assert!(done, "n = {n}, seed {seed} is stuck: {engines:?}");
    let accused = network.nodes.iter().flat_map(|node| &node.accusations).collect::<Vec<_>>();
    assert!(accused.is_empty(), "n = {n}, seed {seed}: the honest are accused: {accused:?}");
    network
}

#[test]
fn storms_end_in_agreement() {
    for seed in 0..120 {
        storm(4 + u16::try_from(seed % 4).unwrap(), seed);
    }
}

#[test]
#[ignore = "slow"]
fn storms_end_in_agreement_slow() {
    for seed in 1000..2000 {
        storm(4 + u16::try_from(seed % 4).unwrap(), seed);
    }
}
