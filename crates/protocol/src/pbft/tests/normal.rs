//! The normal case, section 4.2 of the paper.

use super::{rig::*, *};
use crate::Verdict;
use std::time::Duration;

#[test]
fn a_batch_costs_2n_n_minus_1_messages_and_two_barriers_a_replica() {
    for n in [4, 7] {
        let mut network = Network::new(Macs::new(n), 1, Weather::FAIR);
        network.submit([1]);
        assert!(network.run_until(Duration::from_secs(1), |it| it.is_served() && it.is_level()));
        let votes = ["PrePrepare", "Prepare", "Commit"].map(|word| network.carried[word]);
        let n = u64::from(n);
        assert_eq!(votes, [n - 1, (n - 1) * (n - 1), n * (n - 1)]);
        assert_eq!(votes.iter().sum::<u64>(), 2 * n * (n - 1));
        for node in &network.nodes {
            assert!(node.barriers.values().all(|barriers| *barriers <= 2), "{:?}", node.barriers);
        }
    }
}

#[test]
fn a_backup_writes_before_each_of_its_two_votes() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    assert_eq!(words(&asked), "judge(1)");
    let did = rig.answer(&asked, true);
    assert_eq!(words(&did), "write:Proposal Prepare(1)");
    let did = rig.hear(2, rig.prepare(2, 0, 1, 5));
    assert_eq!(words(&did), "write:Prepared Commit(1)");
    assert_eq!(words(&rig.hear(2, rig.commit(2, 0, 1, 5))), "");
    assert_eq!(words(&rig.hear(3, rig.commit(3, 0, 1, 5))), "note:Decided commit(1)");
}

#[test]
fn a_primary_judges_and_writes_its_own_proposal_before_it_sends_it() {
    let mut rig = Rig::new(4, 0);
    let asked = rig.tell(Input::Propose(Word(5)));
    assert_eq!(words(&asked), "judge(1) room(7)");
    assert_eq!(words(&rig.answer(&asked, true)), "write:Proposal PrePrepare(1)");
    assert_eq!(words(&rig.hear(1, rig.prepare(1, 0, 1, 5))), "");
    let did = rig.hear(2, rig.prepare(2, 0, 1, 5));
    assert_eq!(words(&did), "write:Prepared Commit(1)");
}

#[test]
fn six_replicas_need_four_votes_not_three() {
    let mut rig = Rig::new(6, 1);
    rig.accept(0, 1, 5);
    assert_eq!(words(&rig.hear(2, rig.prepare(2, 0, 1, 5))), "", "three of six");
    assert_eq!(words(&rig.hear(3, rig.prepare(3, 0, 1, 5))), "write:Prepared Commit(1)");
    rig.hear(2, rig.commit(2, 0, 1, 5));
    assert_eq!(words(&rig.hear(3, rig.commit(3, 0, 1, 5))), "", "three of six");
    assert_eq!(words(&rig.hear(4, rig.commit(4, 0, 1, 5))), "note:Decided commit(1)");
}

#[test]
fn votes_for_another_digest_or_view_or_by_the_primary_do_not_count() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    let did = rig.hear(2, rig.prepare(2, 0, 1, 6));
    assert_eq!(words(&did), "PrePrepare(1)", "it is shown what its primary said here");
    assert_eq!(words(&rig.hear(0, rig.prepare(0, 0, 1, 5))), "", "its PrePrepare is its vote");
    assert_eq!(words(&rig.hear(3, rig.prepare(3, 1, 1, 5))), "");
    assert_eq!(words(&rig.hear(3, rig.prepare(3, 0, 2, 5))), "");
    assert_eq!(words(&rig.hear(3, rig.prepare(3, 0, 1, 5))), "write:Prepared Commit(1)");
}

#[test]
fn votes_may_come_before_the_proposal_and_a_decision_before_both() {
    let mut rig = Rig::new(4, 1);
    for by in [2, 3] {
        rig.hear(by, rig.prepare(by, 0, 1, 5));
    }
    let did = rig.accept(0, 1, 5);
    assert_eq!(words(&did), "write:Proposal Prepare(1) write:Prepared Commit(1)");

    let mut rig = Rig::new(4, 1);
    for by in [0, 2] {
        assert_eq!(words(&rig.hear(by, rig.commit(by, 0, 1, 5))), "");
    }
    assert_eq!(words(&rig.hear(3, rig.commit(3, 0, 1, 5))), "Fetch(1)", "it lacks the command");
    let body = rig.propose(0, 1, 5);
    let did = rig.hear(0, body);
    assert_eq!(words(&did), "write:Payload write:Decided commit(1)", "and nobody needs its vote");
}

#[test]
fn commits_come_in_slot_order_however_they_are_decided() {
    let mut rig = Rig::new(4, 1);
    assert_eq!(commits(&rig.hear(2, Body::Decided(rig.decided(0, 3, 7)))), []);
    assert_eq!(commits(&rig.hear(2, Body::Decided(rig.decided(0, 2, 6)))), []);
    let did = rig.hear(2, Body::Decided(rig.decided(0, 1, 5)));
    assert_eq!(commits(&did), [(1, Some(5)), (2, Some(6)), (3, Some(7))]);
    assert_eq!(commits(&rig.hear(2, Body::Decided(rig.decided(0, 2, 6)))), [], "once");
}

#[test]
fn the_proof_that_comes_with_a_commit_convinces_any_other_engine() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    rig.hear(2, rig.prepare(2, 0, 1, 5));
    rig.hear(2, rig.commit(2, 0, 1, 5));
    let did = rig.hear(3, rig.commit(3, 0, 1, 5));
    let Some(Effect::Commit { decided, .. }) = did.last() else { panic!("{}", words(&did)) };
    let body = decided.body.clone();
    // One that took no part in it: it would know its own vote.
    let mut other = Rig::new(4, 0);
    other.tell(Input::Change { to: View(9) });
    assert_eq!(commits(&other.hear(1, body)), [(1, Some(5))], "in any view, from anybody");
}

#[test]
fn a_decision_without_a_quorum_convicts_who_delivered_it() {
    let mut rig = Rig::new(4, 1);
    let mut decided = rig.decided(0, 1, 5);
    decided.commits.pop();
    let did = rig.hear(2, Body::Decided(decided.clone()));
    assert_eq!(words(&did), "accuse(r2, malformed)");
    decided.commits.push(decided.commits[0]);
    assert_eq!(words(&rig.hear(3, Body::Decided(decided))), "accuse(r3, malformed)");
    assert_eq!(rig.engine.committed(), Slot(0));
}

#[test]
fn a_command_that_is_not_the_one_named_is_refused_by_its_claims() {
    let rig = Rig::new(4, 1);
    let Body::PrePrepare(mut proposal) = rig.propose(0, 1, 5) else { panic!() };
    proposal.command = Some(Arc::new(Word(6)));
    let message = rig.macs.message(Body::PrePrepare(proposal));
    assert!(rig.macs.verified(ReplicaId(0), message).is_none());
    let mut decided = rig.decided(0, 1, 5);
    decided.command = None;
    let message = rig.macs.message(Body::Decided(decided));
    assert!(rig.macs.verified(ReplicaId(0), message).is_none());
}

#[test]
fn a_full_window_takes_no_more_until_its_foot_is_stable() {
    let mut rig = Rig::new(4, 0);
    for word in 1..=8 {
        let asked = rig.tell(Input::Propose(Word(word)));
        assert!(words(&asked).ends_with(&format!("room({})", 8 - word)), "{}", words(&asked));
        rig.answer(&asked, true);
    }
    assert_eq!(words(&rig.tell(Input::Propose(Word(9)))), "returned(9)");
    assert_eq!(words(&rig.tell(Input::Installed(stable(3)))), "room(3)");
    assert!(words(&rig.tell(Input::Propose(Word(9)))).starts_with("judge(9)"));
}

#[test]
fn a_verdict_that_comes_after_its_slot_is_stable_gives_no_vote() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    rig.tell(Input::Installed(stable(1)));
    assert_eq!(words(&rig.answer(&asked, true)), "");
}

#[test]
fn only_the_primary_has_room_and_others_return_what_they_are_given() {
    let mut rig = Rig::new(4, 1);
    assert_eq!(words(&rig.tell(Input::Propose(Word(9)))), "returned(9)");
}

#[test]
fn a_proposal_above_the_window_waits_until_the_window_is_there() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 9, 5);
    assert_eq!(words(&rig.hear(0, body)), "", "kept");
    rig.tell(Input::Stable(stable(1)));
    let did = rig.hear(2, Body::Decided(rig.decided(0, 1, 4)));
    assert!(words(&did).contains("judge(9)"), "{}", words(&did));
    let body = rig.propose(0, 500, 5);
    assert!(!rig.wants(0, body.clone()));
    assert_eq!(words(&rig.hear(0, body)), "", "not even kept");
}

#[test]
fn a_fill_makes_no_ops_through_its_slot_as_the_window_moves() {
    let mut rig = Rig::new(4, 0);
    let asked = rig.tell(Input::Fill { through: Slot(10) });
    let all: Vec<String> = (1..=8).map(|slot| format!("judge({slot})")).collect();
    assert_eq!(words(&asked), format!("{} room(0)", all.join(" ")));
    let did = rig.answer(&asked, true);
    assert!(
        sent(&did).iter().all(|body| matches!(body, Body::PrePrepare(it) if it.command.is_none()))
    );
    assert_eq!(words(&rig.tell(Input::Installed(stable(4)))), "judge(9) judge(10) room(2)");
    assert_eq!(words(&Rig::new(4, 1).tell(Input::Fill { through: Slot(10) })), "");
}

#[test]
fn a_refused_proposal_is_a_suspicion_and_no_vote() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    let did = rig.answer(&asked, false);
    assert_eq!(words(&did), "Status");
    assert!(matches!(&sent(&did)[..], [Body::Status(Status { suspects: true, .. })]));
    assert_eq!(words(&rig.answer(&asked, true)), "", "a second verdict is stale");
}

#[test]
fn an_untimely_proposal_gets_no_vote_and_is_a_suspicion_only_when_it_stays_open() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    assert_eq!(words(&rig.give(&asked, Verdict::Untimely)), "");
    rig.pass(Duration::from_millis(1100));
    assert_eq!(words(&rig.tell(Input::Timer(Timer::Progress))), "Status", "the others refused it");
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    rig.give(&asked, Verdict::Untimely);
    rig.hear(2, Body::Decided(rig.decided(0, 1, 5)));
    rig.pass(Duration::from_millis(1100));
    assert_eq!(words(&rig.tell(Input::Timer(Timer::Progress))), "", "it was late here alone");
}

#[test]
fn a_primary_that_refuses_its_own_command_returns_it_and_leaves_no_hole() {
    let mut rig = Rig::new(4, 0);
    let asked = rig.tell(Input::Propose(Word(5)));
    let did = rig.answer(&asked, false);
    assert_eq!(words(&did), "returned(5) judge(1)");
    assert_eq!(words(&rig.answer(&did, true)), "write:Proposal PrePrepare(1)");
    let asked = rig.tell(Input::Propose(Word(6)));
    assert_eq!(words(&asked), "judge(2) room(6)");
}

#[test]
fn what_nobody_needs_is_not_verified() {
    let mut rig = Rig::new(4, 1);
    let old = rig.propose(0, 1, 5);
    rig.accept(0, 1, 5);
    assert!(!rig.wants(0, old), "known");
    assert!(rig.wants(2, rig.prepare(2, 0, 1, 5)));
    rig.hear(2, rig.prepare(2, 0, 1, 5));
    assert!(!rig.wants(2, rig.prepare(2, 0, 1, 5)), "repeated");
    assert!(!rig.wants(3, rig.prepare(3, 0, 1, 5)), "prepared already");
    assert!(rig.wants(2, rig.prepare(2, 0, 1, 6)), "evidence");
    rig.hear(2, rig.commit(2, 0, 1, 5));
    rig.hear(3, rig.commit(3, 0, 1, 5));
    assert!(!rig.wants(0, rig.commit(0, 0, 1, 5)), "decided");
    assert!(!rig.wants(0, Body::Decided(rig.decided(0, 1, 5))), "decided");
    assert!(!rig.wants(2, rig.prepare(2, 0, 900, 5)), "far away");
    assert!(!rig.wants(0, rig.prepare(0, 0, 2, 5)), "a primary does not prepare");
    assert!(!rig.wants(1, rig.prepare(1, 0, 2, 5)), "my own");
    assert!(!rig.wants(2, Body::Stable(Arc::new(certificate(Slot(0))))));
    let payload = Payload { slot: Slot(2), command: Arc::new(Word(1)), digest: digest(1) };
    assert!(!rig.wants(2, Body::Payload(payload)), "never asked for");
    rig.tell(Input::Change { to: View(2) });
    assert!(!rig.wants(2, rig.prepare(2, 1, 3, 5)), "an old view");
    assert!(rig.wants(3, rig.prepare(3, 2, 3, 5)), "a view to come");
    assert!(!rig.wants(3, Body::ViewChange(rig.report(3, 1, Vec::new()))));
    rig.hear(3, Body::ViewChange(rig.report(3, 2, Vec::new())));
    assert!(!rig.wants(3, Body::ViewChange(rig.report(3, 2, Vec::new()))), "not newer");
}

#[test]
fn a_message_of_another_instance_means_nothing() {
    let mut rig = Rig::new(4, 1);
    let other = Rig::on(Macs { instance: 1, ..Macs::new(4) }, 0);
    let message = other.macs.message(other.propose(0, 1, 5));
    assert!(!rig.engine.wants(ReplicaId(0), &message));
    let delivery = other.macs.verified(ReplicaId(0), message.clone()).unwrap();
    let Delivery { signer, via, message: verified } = delivery;
    assert_eq!(words(&rig.tell(Input::Message { signer, via, message: verified })), "");
    // Its signature covers the instance, so it cannot be passed off as ours.
    let passed_off = Message { instance: 0, ..message };
    assert!(rig.macs.verified(ReplicaId(0), passed_off).is_none());
}

#[test]
fn before_it_starts_an_engine_does_nothing() {
    let macs = Macs::new(4);
    let mut engine = macs.pbft(ReplicaId(0));
    let mut out = Outbox::new();
    engine.handle(Time(0), Input::Suspect, &mut out);
    engine.handle(Time(0), Input::Fill { through: Slot(4) }, &mut out);
    assert!(out.effects().is_empty());
    engine.handle(Time(0), Input::Propose(Word(1)), &mut out);
    assert!(matches!(out.effects(), [Effect::Returned(Word(1))]));
}
