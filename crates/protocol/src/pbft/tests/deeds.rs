//! Byzantine replicas: what they can do is slow things down, and some of it convicts them.

use super::{rig::*, *};
use crate::Accusation;
use std::time::Duration;

/// A cluster in which the given replicas do their deeds from the start, under load.
fn with(n: u16, seed: u64, deeds: &[(u16, Deed)]) -> Network<Macs> {
    let mut network = Network::new(Macs::new(n), seed, Weather::FAIR);
    for (replica, deed) in deeds {
        network.byzantine.insert(ReplicaId(*replica));
        network.node_mut(*replica).engine.as_mut().unwrap().set(Some(deed.clone()));
    }
    for round in 0..8 {
        network.submit(round * 4..round * 4 + 4);
        network.run_for(Duration::from_millis(300));
    }
    let done = network.run_until(Duration::from_secs(120), |it| it.is_served() && it.is_level());
    let engines: Vec<_> = network.nodes.iter().map(|it| &it.engine).collect();
    assert!(done, "n = {n}, seed {seed}, {deeds:?}: stuck: {engines:?}");
    network
}

/// Whoever is convicted did something; everyone who did this is convicted.
fn convicted(network: &Network<Macs>) -> BTreeSet<ReplicaId> {
    let macs = &network.subject;
    let honest = network.nodes.iter().zip(macs.committee.replicas());
    let honest = honest.filter(|(_, replica)| !network.byzantine.contains(replica));
    let charges = honest.flat_map(|(node, _)| &node.accusations);
    charges
        .filter(|charge| evidence_holds(charge, &macs.domain, |claims| macs.holds(claims)))
        .map(|charge| charge.replica)
        .collect()
}

#[test]
fn an_equivocating_primary_is_deposed_and_convicted() {
    for seed in 0..10 {
        for n in [4, 5, 6, 7] {
            let network = with(n, seed, &[(0, Deed::Equivocate)]);
            assert_eq!(convicted(&network), [ReplicaId(0)].into(), "n = {n}, seed {seed}");
            assert!(network.nodes[1].entered.unwrap() > View(0));
        }
    }
}

#[test]
fn double_votes_of_a_backup_change_nothing() {
    for seed in 0..10 {
        let network = with(7, seed, &[(3, Deed::Equivocate), (5, Deed::Equivocate)]);
        let guilty = [ReplicaId(3), ReplicaId(5)].into();
        assert!(convicted(&network).is_subset(&guilty));
    }
}

#[test]
fn mute_late_corrupt_and_selective_replicas_stop_nobody_and_frame_nobody() {
    let deeds = [
        Deed::Mute,
        Deed::Delay(Duration::from_millis(700)),
        Deed::Delay(Duration::from_millis(2500)),
        Deed::Corrupt(2),
        Deed::Withhold([ReplicaId(1)].into()),
        Deed::Withhold([ReplicaId(2), ReplicaId(3)].into()),
    ];
    for seed in 0..4 {
        for deed in &deeds {
            for replica in [0, 1] {
                let network = with(4, seed, &[(replica, deed.clone())]);
                assert!(convicted(&network).is_empty(), "{deed:?} proves nothing");
            }
            with(7, seed, &[(0, deed.clone()), (1, Deed::Mute)]);
        }
    }
}

fn double_vote(rig: &Rig, by: u16, phase: Phase) -> Accusation {
    let vote = |word| rig.macs.vote(by, phase, 0, 1, digest(word));
    evidence::charge(0, phase, vote(5), vote(6))
}

#[test]
fn two_votes_for_one_place_are_evidence_that_anyone_can_check() {
    for (phase, charge) in [(Phase::Prepare, "double-vote"), (Phase::Commit, "double-vote")] {
        let mut rig = Rig::new(4, 1);
        let body = |vote| match phase {
            Phase::Prepare => Body::Prepare(vote),
            _ => Body::Commit(vote),
        };
        let vote = |rig: &Rig, word| body(rig.macs.vote(2, phase, 0, 1, digest(word)));
        rig.hear(2, vote(&rig, 5));
        let did = rig.hear(2, vote(&rig, 6));
        let [accusation] = &accusations(&did)[..] else { panic!("{}", words(&did)) };
        assert_eq!((accusation.replica, accusation.charge), (ReplicaId(2), charge));
        let check = |claims: &[Claim]| rig.macs.holds(claims);
        assert!(evidence_holds(accusation, &rig.macs.domain, check));
        assert_eq!(words(&rig.hear(2, vote(&rig, 7))), "", "charged once");
    }
}

#[test]
fn two_proposals_for_one_slot_are_shown_to_everyone() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    let body = rig.propose(0, 1, 6);
    let did = rig.hear(0, body);
    assert_eq!(words(&did), "accuse(r0, equivocation) PrePrepare(1) PrePrepare(1) Status");
    let check = |claims: &[Claim]| rig.macs.holds(claims);
    assert!(evidence_holds(&accusations(&did)[0], &rig.macs.domain, check));
    let body = rig.propose(0, 1, 5);
    assert_eq!(words(&rig.hear(2, body)), "", "the first one again, relayed, is no news");
}

#[test]
fn what_proves_nothing_convicts_nobody() {
    let rig = Rig::new(4, 1);
    let check = |claims: &[Claim]| rig.macs.holds(claims);
    let holds = |accusation: &Accusation| evidence_holds(accusation, &rig.macs.domain, check);
    let good = double_vote(&rig, 2, Phase::Commit);
    assert!(holds(&good));

    let vote = |by, phase, view, slot, word| rig.macs.vote(by, phase, view, slot, digest(word));
    let first = vote(2, Phase::Commit, 0, 1, 5);
    let seconds = [
        ("the same vote", first),
        ("another slot", vote(2, Phase::Commit, 0, 2, 6)),
        ("another view", vote(2, Phase::Commit, 1, 1, 6)),
        ("another replica", vote(3, Phase::Commit, 0, 1, 6)),
        ("another phase", vote(2, Phase::Prepare, 0, 1, 6)),
        (
            "an invented signature",
            Vote { signature: Signature([9; 64]), ..vote(2, Phase::Commit, 0, 1, 6) },
        ),
    ];
    for (why, second) in seconds {
        assert!(!holds(&evidence::charge(0, Phase::Commit, first, second)), "{why}");
    }
    assert!(!holds(&Accusation { replica: ReplicaId(3), ..good.clone() }), "another accused");
    assert!(!holds(&Accusation { charge: "equivocation", ..good.clone() }), "another charge");
    assert!(!holds(&Accusation { evidence: Vec::new(), ..good.clone() }), "none");
    assert!(
        !holds(&Accusation { evidence: vec![good.evidence[0].clone()], ..good.clone() }),
        "half"
    );
    let other_instance = evidence::charge(1, Phase::Commit, first, vote(2, Phase::Commit, 0, 1, 6));
    assert!(!holds(&other_instance), "signed for another instance");
    for at in 0..good.evidence[0].len() {
        let mut bent = good.clone();
        bent.evidence[0][at] ^= 1;
        assert!(!holds(&bent), "byte {at}");
        bent = good.clone();
        bent.evidence[1].truncate(at);
        assert!(!holds(&bent), "cut at {at}");
    }
    let other_chain = Domain::new("dev.localhost/quorate/fedcba9876543210/bft");
    assert!(!evidence_holds(&good, &other_chain, check), "another chain");
}

#[test]
fn an_oversized_status_convicts_and_is_ignored() {
    let mut rig = Rig::new(4, 1);
    let status = Status { stages: vec![Stage::Nothing; 40], ..rig.status() };
    assert_eq!(words(&rig.hear(2, Body::Status(status))), "accuse(r2, malformed)");
}
