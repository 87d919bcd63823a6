//! Replicas that lag: retransmission, catching up, state transfer.

use super::{rig::*, *};
use crate::Stable;
use std::time::Duration;

const LATER: Duration = Duration::from_millis(150);

fn status(rig: &Rig, committed: u64, stages: &[Stage]) -> Status {
    Status { committed: Slot(committed), stages: stages.to_vec(), ..rig.status() }
}

#[test]
fn votes_are_repeated_to_who_lacks_them_and_not_while_they_are_on_their_way() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    rig.hear(2, rig.prepare(2, 0, 1, 5));
    let says = |rig: &Rig, stage| Body::Status(status(rig, 0, &[stage]));
    assert_eq!(words(&rig.hear(3, says(&rig, Stage::Proposed))), "", "just sent");
    rig.pass(LATER);
    assert_eq!(words(&rig.hear(3, says(&rig, Stage::Proposed))), "Prepare(1) Commit(1)");
    assert_eq!(words(&rig.hear(3, says(&rig, Stage::Prepared))), "Commit(1)");
    assert_eq!(words(&rig.hear(3, says(&rig, Stage::Decided))), "");
}

#[test]
fn a_primary_repeats_its_proposals_and_backups_take_turns() {
    let mut rig = Rig::new(4, 0);
    let asked = rig.tell(Input::Propose(Word(5)));
    rig.answer(&asked, true);
    rig.pass(LATER);
    assert_eq!(words(&rig.hear(3, Body::Status(status(&rig, 0, &[])))), "PrePrepare(1)");

    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    rig.pass(LATER);
    let rounds = (0..4).map(|round| {
        let status = Status { round, ..status(&rig, 0, &[]) };
        words(&rig.hear(3, Body::Status(status)))
    });
    let rounds: Vec<String> = rounds.collect();
    assert_eq!(rounds, ["Prepare(1)", "Prepare(1)", "Prepare(1)", "PrePrepare(1) Prepare(1)"]);
}

#[test]
fn a_pull_is_answered_by_decisions_and_a_position() {
    let mut rig = Rig::new(4, 1);
    for slot in 1..=3 {
        rig.hear(2, Body::Decided(rig.decided(0, slot, slot)));
    }
    let pull = Status { pull: true, ..status(&rig, 1, &[]) };
    assert_eq!(words(&rig.hear(3, Body::Status(pull))), "Decided(2) Decided(3) Status");
}

/// A replica below its own stable slot may have collected what the others, on their way to the next
/// view, did not: it asks for votes in vain, and nobody asks it, who lags, for decisions.
#[test]
fn who_lags_tells_what_was_decided_in_an_earlier_view() {
    let mut rig = Rig::new(4, 1);
    rig.hear(2, Body::Decided(rig.decided(0, 2, 7)));
    rig.pass(LATER);
    let told = |rig: &mut Rig, stage| {
        let status = status(rig, 1, &[stage]);
        words(&rig.hear(3, Body::Status(status)))
    };
    assert_eq!(told(&mut rig, Stage::Prepared), "Decided(2) Status", "and asks who is ahead");
    assert_eq!(told(&mut rig, Stage::Decided), "");
}

#[test]
fn who_hears_that_others_are_ahead_pulls_as_long_as_it_helps() {
    let mut rig = Rig::new(4, 1);
    rig.pass(LATER);
    let ahead = Body::Status(status(&rig, 2, &[]));
    let did = rig.hear(2, ahead.clone());
    assert!(matches!(&sent(&did)[..], [Body::Status(Status { pull: true, .. })]));
    assert_eq!(words(&rig.hear(3, ahead.clone())), "", "one at a time");
    assert_eq!(words(&rig.hear(2, ahead.clone())), "", "it brought nothing");
    rig.hear(2, Body::Decided(rig.decided(0, 1, 1)));
    assert_eq!(words(&rig.hear(2, ahead.clone())), "Status", "it helped: go on");
    rig.hear(2, Body::Decided(rig.decided(0, 2, 2)));
    assert_eq!(words(&rig.hear(2, ahead)), "", "level");
}

#[test]
fn a_liar_about_its_position_cannot_keep_a_replica_from_pulling_elsewhere() {
    let mut rig = Rig::new(4, 1);
    rig.pass(LATER);
    rig.hear(3, Body::Status(status(&rig, 900, &[])));
    rig.hear(2, Body::Status(status(&rig, 2, &[])));
    let mut asked = BTreeSet::new();
    for _ in 0..4 {
        rig.pass(Duration::from_millis(200));
        for effect in rig.tell(Input::Timer(Timer::Status)) {
            if let Effect::Send { to: To::One(peer), .. } = effect {
                asked.insert(peer);
            }
        }
    }
    assert_eq!(asked, [ReplicaId(2), ReplicaId(3)].into());
}

#[test]
fn only_a_certificate_says_that_a_state_transfer_is_needed() {
    let mut rig = Rig::new(4, 1);
    rig.pass(LATER);
    let did = rig.hear(2, Body::Status(Status { stable: Slot(800), ..status(&rig, 900, &[]) }));
    assert!(!words(&did).contains("behind"));
    let proof = |slot| Body::Stable(Arc::new(certificate(Slot(slot))));
    assert_eq!(words(&rig.hear(2, proof(8))), "", "within what others keep");
    let did = rig.hear(2, proof(9));
    assert!(words(&did).starts_with("behind(9)"), "{}", words(&did));
    let did = rig.tell(Input::Installed(stable(9)));
    assert_eq!(rig.engine.committed(), Slot(9));
    assert_eq!(commits(&did), []);
    let did = rig.hear(2, Body::Decided(rig.decided(0, 10, 7)));
    assert_eq!(commits(&did), [(10, Some(7))]);
}

#[test]
fn who_learns_nothing_below_a_stable_slot_asks_for_a_state_transfer_in_the_end() {
    let mut rig = Rig::new(4, 1);
    rig.tell(Input::Stable(stable(3)));
    let mut behind = 0;
    for _ in 0..12 {
        rig.pass(Duration::from_millis(200));
        let did = rig.tell(Input::Timer(Timer::Status));
        behind += usize::from(words(&did).contains("behind(3)"));
    }
    assert_eq!(behind, 1);
}

#[test]
fn a_peer_below_the_stable_slot_gets_its_proof() {
    let mut rig = Rig::new(4, 1);
    for slot in 1..=3 {
        rig.hear(2, Body::Decided(rig.decided(0, slot, slot)));
    }
    rig.tell(Input::Stable(stable(3)));
    let did = rig.hear(2, Body::Status(status(&rig, 1, &[])));
    assert_eq!(words(&did), "Stable(3) Status");
    let level = Status { stable: Slot(3), ..status(&rig, 3, &[]) };
    assert_eq!(words(&rig.hear(3, Body::Status(level))), "");
}

#[test]
fn a_replica_cut_off_for_long_comes_back_by_a_state_transfer() {
    for seed in 0..10 {
        let mut network = Network::new(Macs::new(4), seed, Weather::FAIR);
        network.node_mut(3).cut_off = true;
        for round in 0..30 {
            network.submit([round]);
            network.run_for(Duration::from_millis(30));
        }
        assert!(network.is_served());
        network.node_mut(3).cut_off = false;
        assert!(network.run_until(Duration::from_secs(5), |it| it.is_level()), "seed {seed}");
        assert_eq!(network.node(0).entered, Some(View(0)), "and costs no view");
    }
}

#[test]
fn a_replica_cut_off_for_a_moment_costs_no_view_and_votes_again() {
    let mut network = Network::new(Macs::new(4), 3, Weather::FAIR);
    network.node_mut(3).cut_off = true;
    network.submit(0..3);
    network.feed(ReplicaId(3), Input::Suspect);
    network.run_for(Duration::from_secs(3));
    network.node_mut(3).cut_off = false;
    assert!(network.run_until(Duration::from_secs(2), |it| it.is_level()));
    network.crash(ReplicaId(2));
    network.submit(3..6);
    let done = network.run_until(Duration::from_secs(1), |it| it.is_served() && it.is_level());
    assert!(done, "without r3's vote there is no quorum");
    assert_eq!(network.node(0).entered, Some(View(0)));
}

#[test]
fn all_power_is_lost_and_nothing_with_it() {
    for seed in 0..20 {
        let mut network = Network::new(Macs::new(4), seed, Weather::FAIR);
        network.submit(0..6);
        network.step(usize::try_from(seed).unwrap() * 15);
        let all: Vec<ReplicaId> = network.subject.committee.replicas().collect();
        let before = network.log.len();
        all.iter().for_each(|replica| network.crash(*replica));
        all.iter().for_each(|replica| network.start(*replica));
        let done = network.run_until(Duration::from_secs(20), |it| it.is_served() && it.is_level());
        assert!(done && network.log.len() >= before, "seed {seed}");
    }
}

fn is_within_bounds(rig: &Rig) -> bool {
    rig.engine.held().iter().all(|held| !held.is_over())
}

#[test]
fn votes_that_nobody_needs_any_more_do_not_fill_a_replica_that_lags() {
    let mut rig = Rig::new(4, 1);
    let stable = |slot| Input::Stable(Stable::certified(Arc::new(certificate(Slot(slot)))));
    // A liar names every slot between this replica's state and that of the others.
    rig.tell(stable(1_000));
    for slot in 1..1_100 {
        let body = rig.commit(2, 0, slot, 5);
        if rig.wants(2, body.clone()) {
            rig.hear(2, body);
        }
    }
    assert!(is_within_bounds(&rig), "{:?}", rig.engine.held());
    assert!(rig.wants(3, rig.commit(3, 0, 1_001, 5)) && !rig.wants(3, rig.commit(3, 0, 984, 5)));
    // And the others go on, while the state is on its way.
    for slot in (1_000..2_000).step_by(4) {
        rig.tell(stable(slot));
        for slot in slot..=slot + 8 {
            rig.hear(3, rig.commit(3, 0, slot, 5));
        }
        assert!(is_within_bounds(&rig), "at {slot}: {:?}", rig.engine.held());
    }
}

#[test]
fn nobody_commits_more_than_three_windows_beyond_what_it_knows_to_be_certified() {
    let mut rig = Rig::new(4, 1);
    for slot in 1..=100 {
        rig.hear(2, Body::Decided(rig.decided(0, slot, slot)));
    }
    assert_eq!(rig.engine.committed(), Slot(24));
    assert!(is_within_bounds(&rig), "{:?}", rig.engine.held());
    rig.tell(Input::Stable(Stable::certified(Arc::new(certificate(Slot(20))))));
    for slot in 25..=100 {
        rig.hear(2, Body::Decided(rig.decided(0, slot, slot)));
    }
    assert_eq!(rig.engine.committed(), Slot(44));
}
