//! View changes, sections 4.4 and 4.5.2 of the paper.

use super::{rig::*, view_change::*, *};
use std::time::Duration;

fn noop() -> Digest {
    digest_of::<Word>(None)
}

/// A quorum's reports for a view, the first with these certificates.
fn reports(rig: &Rig, view: u64, prepared: Vec<Prepared>) -> Vec<ViewChange> {
    let mut reports = vec![rig.report(1, view, prepared)];
    reports.extend([2, 3].map(|by| rig.report(by, view, Vec::new())));
    reports
}

#[test]
fn the_highest_view_wins_and_holes_become_no_ops() {
    let rig = Rig::new(4, 1);
    let first = vec![rig.prepared(0, 2, 5), rig.prepared(0, 4, 7)];
    let second = vec![rig.prepared(1, 2, 6), rig.prepared(0, 4, 7)];
    let reports = [rig.report(1, 2, first), rig.report(2, 2, second), rig.report(3, 2, Vec::new())];
    let chosen = choose(&reports, noop());
    let slots: Vec<_> = chosen.slots.into_iter().map(|(slot, it)| (slot.0, it)).collect();
    assert_eq!(slots, [(1, noop()), (2, digest(6)), (3, noop()), (4, digest(7))]);
    assert_eq!((chosen.stable, chosen.certificate), (Slot(0), None));
}

#[test]
fn nothing_at_or_below_the_highest_stable_slot_is_proposed_again() {
    let rig = Rig::new(4, 1);
    let reports = [
        rig.report(1, 2, vec![rig.prepared(0, 2, 5), rig.prepared(0, 4, 7)]),
        rig.report_above(2, 2, 3, Vec::new()),
        rig.report(3, 2, Vec::new()),
    ];
    let chosen = choose(&reports, noop());
    assert_eq!((chosen.stable, chosen.slots), (Slot(3), [(Slot(4), digest(7))].into()));
    let idle = [rig.report_above(2, 2, 9, Vec::new())];
    assert!(choose(&idle, noop()).slots.is_empty());
}

#[test]
fn an_unsound_report_convicts_its_maker() {
    let rig = Rig::new(4, 0);
    let good = rig.prepared(0, 2, 5);
    let mut thin = good.clone();
    thin.prepares.pop();
    let mut twice = good.clone();
    twice.prepares[1] = twice.prepares[0];
    let mut not_primary = good.clone();
    not_primary.proposal.signer = ReplicaId(3);
    let cases = [
        vec![thin],
        vec![twice],
        vec![not_primary],
        vec![good.clone(), good.clone()],
        vec![rig.prepared(0, 3, 5), good.clone()],
        vec![rig.prepared(2, 2, 5)],
        vec![rig.prepared(0, 33, 5)],
    ];
    for (case, prepared) in cases.into_iter().enumerate() {
        let report = rig.report(2, 2, prepared);
        assert!(!report_is_sound(&report, rig.macs.committee, 8), "case {case}");
        assert!(!rig.wants(2, Body::ViewChange(report)), "case {case}");
    }
    let below = rig.report_above(2, 2, 2, vec![good.clone()]);
    assert!(!report_is_sound(&below, rig.macs.committee, 8));
    assert!(report_is_sound(&rig.report(2, 2, vec![good]), rig.macs.committee, 8));
    // What its signatures let through, the engine still refuses.
    let mut rig = rig;
    let doubled = vec![rig.prepared(0, 2, 5), rig.prepared(0, 2, 5)];
    let did = rig.hear(2, Body::ViewChange(rig.report(2, 2, doubled)));
    assert_eq!(words(&did), "accuse(r2, malformed)");
}

#[test]
fn a_stable_slot_without_its_certificate_is_refused_by_the_claims() {
    let rig = Rig::new(4, 1);
    for certificate in [None, Some(Arc::new(certificate(Slot(2))))] {
        let mut report = rig.report_above(2, 1, 3, Vec::new());
        report.certificate = certificate;
        let bytes = report.statement(&rig.macs.domain, 0);
        report.signature = rig.macs.key(ReplicaId(2)).sign(&bytes);
        let message = rig.macs.message(Body::ViewChange(report));
        assert!(rig.macs.verified(ReplicaId(2), message).is_none());
    }
}

#[test]
fn an_unsound_new_view_opens_nothing() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let good = reports(&rig, 1, Vec::new());
    let mut other_view = good.clone();
    other_view[2] = rig.report(3, 2, Vec::new());
    let mut twice = good.clone();
    twice[2] = twice[1].clone();
    for (case, reports) in [good[..2].to_vec(), other_view, twice].into_iter().enumerate() {
        let did = rig.hear(1, Body::NewView(rig.opening(1, reports)));
        assert_eq!(words(&did), "accuse(r1, malformed)", "case {case}");
    }
    let mut not_primary = rig.opening(1, good.clone());
    not_primary.signer = ReplicaId(2);
    let bytes = not_primary.statement(&rig.macs.domain, 0);
    not_primary.signature = rig.macs.key(ReplicaId(2)).sign(&bytes);
    assert!(!rig.wants(2, Body::NewView(not_primary)));
    assert!(words(&rig.hear(1, Body::NewView(rig.opening(1, good)))).contains("enter(1)"));
}

#[test]
fn a_new_primary_opens_its_view_once_a_quorum_reported_and_proposes_what_they_imply() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 2, 5);
    let certificate = rig.prepared(0, 2, 5);
    let did = rig.tell(Input::Change { to: View(1) });
    assert_eq!(words(&did), "leave(1) write:ViewChange ViewChange(1)");
    assert_eq!(words(&rig.hear(2, Body::ViewChange(rig.report(2, 1, vec![certificate])))), "");
    let did = rig.hear(3, Body::ViewChange(rig.report(3, 1, Vec::new())));
    let opened = "write:NewView NewView(1) enter(1) judge-again(1) judge-again(2) room(6)";
    assert_eq!(words(&did), opened);
    let did = rig.answer(&did, true);
    let again = "write:Proposal PrePrepare(1) write:Proposal PrePrepare(2)";
    assert_eq!(words(&did), again);
    let digests: Vec<_> = sent(&did)
        .into_iter()
        .map(|body| match body {
            Body::PrePrepare(it) => it.vote.header.digest,
            _ => panic!(),
        })
        .collect();
    assert_eq!(digests, [noop(), digest(5)]);
}

#[test]
fn a_new_primary_pulls_a_payload_that_it_lacks() {
    let mut rig = Rig::new(4, 1);
    rig.tell(Input::Change { to: View(1) });
    let certificate = rig.prepared(0, 1, 5);
    rig.hear(2, Body::ViewChange(rig.report(2, 1, vec![certificate])));
    let did = rig.hear(3, Body::ViewChange(rig.report(3, 1, Vec::new())));
    assert_eq!(words(&did), "write:NewView NewView(1) enter(1) Fetch(1) room(7)");
    let wrong = Payload { slot: Slot(1), command: Arc::new(Word(6)), digest: digest(6) };
    assert_eq!(words(&rig.hear(2, Body::Payload(wrong))), "");
    let right = Payload { slot: Slot(1), command: Arc::new(Word(5)), digest: digest(5) };
    assert_eq!(words(&rig.hear(2, Body::Payload(right))), "judge-again(1)");
}

#[test]
fn payloads_are_served_to_who_asks() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    let ask = |digest| Body::Fetch(Fetch { slot: Slot(1), digest });
    assert_eq!(words(&rig.hear(2, ask(digest(5)))), "Payload(1)");
    assert_eq!(words(&rig.hear(2, ask(digest(6)))), "");
    for _ in 0..100 {
        rig.hear(3, ask(digest(5)));
    }
    assert_eq!(words(&rig.hear(3, ask(digest(5)))), "", "the quota is spent");
    assert_eq!(words(&rig.hear(2, ask(digest(5)))), "Payload(1)", "everyone has his own");
}

#[test]
fn a_backup_accepts_only_what_the_new_view_implies() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let certificate = rig.prepared(0, 1, 5);
    let opening = rig.opening(1, reports(&rig, 1, vec![certificate]));
    assert_eq!(words(&rig.hear(1, Body::NewView(opening))), "write:NewView enter(1)");
    let body = rig.propose(1, 1, 6);
    assert_eq!(words(&rig.hear(1, body)), "accuse(r1, malformed) Status");

    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let certificate = rig.prepared(0, 1, 5);
    let opening = rig.opening(1, reports(&rig, 1, vec![certificate]));
    rig.hear(1, Body::NewView(opening));
    let body = rig.propose(1, 1, 5);
    let asked = rig.hear(1, body);
    assert_eq!(words(&asked), "judge-again(1)");
    assert_eq!(words(&rig.answer(&asked, true)), "write:Proposal Prepare(1)");
    let body = rig.propose(1, 2, 9);
    assert_eq!(words(&rig.hear(1, body)), "judge(2)", "above them it is the primary's choice");
}

#[test]
fn a_new_view_moves_the_window_to_its_stable_slot_and_votes_go_on_above() {
    for (h, behind) in [(8, ""), (9, " behind(9)")] {
        let mut rig = Rig::new(4, 0);
        rig.tell(Input::Change { to: View(1) });
        let mut reports = reports(&rig, 1, Vec::new());
        reports[0] = rig.report_above(1, 1, h, vec![rig.prepared(0, h + 1, 5)]);
        let did = rig.hear(1, Body::NewView(rig.opening(1, reports)));
        assert_eq!(words(&did), format!("write:NewView enter(1){behind}"));
        assert!(!rig.wants(2, Body::Stable(Arc::new(certificate(Slot(h))))));
        assert_eq!(words(&rig.accept(1, h + 1, 5)), format!("write:Proposal Prepare({})", h + 1));
        let body = rig.propose(1, h, 5);
        assert_eq!(words(&rig.hear(1, body)), "", "below it nothing is voted for");
    }
}

#[test]
fn what_was_executed_is_voted_for_again_without_a_judge() {
    let mut rig = Rig::new(4, 0);
    rig.hear(2, Body::Decided(rig.decided(0, 1, 5)));
    rig.tell(Input::Change { to: View(1) });
    let certificate = rig.prepared(0, 1, 5);
    let opening = rig.opening(1, reports(&rig, 1, vec![certificate]));
    rig.hear(1, Body::NewView(opening));
    let body = rig.propose(1, 1, 5);
    assert_eq!(words(&rig.hear(1, body)), "write:Proposal Prepare(1)");
    for by in [2, 3] {
        rig.hear(by, rig.prepare(by, 1, 1, 5));
    }
    assert!(
        rig.records
            .iter()
            .any(|it| matches!(it, Record::Prepared(it) if it.header.view == View(1)))
    );
}

#[test]
fn nothing_is_voted_for_in_a_view_that_was_left() {
    let mut rig = Rig::new(4, 1);
    let body = rig.propose(0, 1, 5);
    let asked = rig.hear(0, body);
    rig.accept(0, 2, 6);
    rig.tell(Input::Change { to: View(2) });
    assert_eq!(words(&rig.answer(&asked, true)), "");
    for by in [2, 3] {
        assert_eq!(words(&rig.hear(by, rig.prepare(by, 0, 2, 6))), "");
    }
    let body = rig.propose(0, 3, 7);
    assert_eq!(words(&rig.hear(0, body)), "");
    assert_eq!(words(&rig.tell(Input::Change { to: View(1) })), "", "nor is there a way back");
}

#[test]
fn votes_that_come_before_their_new_view_are_counted_when_it_comes() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let body = rig.propose(1, 1, 5);
    assert_eq!(words(&rig.hear(1, body)), "");
    for by in [2, 3] {
        assert_eq!(words(&rig.hear(by, rig.prepare(by, 1, 1, 5))), "");
    }
    let opening = rig.opening(1, reports(&rig, 1, Vec::new()));
    let asked = rig.hear(1, Body::NewView(opening));
    assert_eq!(words(&asked), "write:NewView enter(1) judge(1)");
    let did = rig.answer(&asked, true);
    assert_eq!(words(&did), "write:Proposal Prepare(1) write:Prepared Commit(1)");
}

#[test]
fn early_votes_are_kept_within_a_quota_and_of_one_view() {
    let mut rig = Rig::new(4, 0);
    for slot in 1..=32 {
        rig.hear(2, rig.prepare(2, 1, slot, 5));
    }
    assert!(!rig.wants(2, rig.prepare(2, 1, 33, 5)));
    assert!(rig.wants(3, rig.prepare(3, 1, 33, 5)), "everyone has his own quota");
    assert!(rig.wants(2, rig.prepare(2, 3, 1, 5)), "a newer view replaces the older");
    rig.hear(2, rig.prepare(2, 3, 1, 5));
    assert!(!rig.wants(2, rig.prepare(2, 1, 1, 5)));
}

#[test]
fn one_suspicious_replica_keeps_its_vote_and_two_of_four_leave() {
    let mut rig = Rig::new(4, 1);
    assert_eq!(words(&rig.tell(Input::Suspect)), "Status");
    let did = rig.accept(0, 1, 5);
    assert_eq!(words(&did), "write:Proposal Prepare(1)", "it still votes");
    let did = rig.hear(2, rig.suspicion());
    assert_eq!(words(&did), "leave(1) write:ViewChange ViewChange(1)");
}

#[test]
fn suspicions_of_f_plus_one_others_are_followed_and_old_ones_are_not() {
    let mut rig = Rig::new(4, 1);
    assert_eq!(words(&rig.hear(2, rig.suspicion())), "");
    rig.pass(Duration::from_secs(5));
    assert_eq!(words(&rig.hear(3, rig.suspicion())), "", "the first one is withdrawn by now");
    let did = rig.hear(2, rig.suspicion());
    assert_eq!(words(&did), "leave(1) write:ViewChange ViewChange(1)");
}

#[test]
fn f_plus_one_reports_for_higher_views_are_joined_at_the_smallest() {
    let mut rig = Rig::new(4, 0);
    assert_eq!(words(&rig.hear(2, Body::ViewChange(rig.report(2, 7, Vec::new())))), "");
    let did = rig.hear(3, Body::ViewChange(rig.report(3, 3, Vec::new())));
    assert_eq!(words(&did), "leave(3) write:ViewChange ViewChange(3) room(0)");
}

#[test]
fn the_primary_of_the_next_view_is_awaited_only_once_a_quorum_reported() {
    let progress = |did: &Did| {
        did.iter().find_map(|effect| match effect {
            Effect::Timer { timer: Timer::Progress, after } => *after,
            _ => None,
        })
    };
    let mut rig = Rig::new(4, 0);
    let did = rig.tell(Input::Change { to: View(1) });
    assert_eq!(progress(&did), None);
    rig.hear(2, Body::ViewChange(rig.report(2, 1, Vec::new())));
    let mut waits = Vec::new();
    for view in 1..=3 {
        let did = rig.hear(3, Body::ViewChange(rig.report(3, view, Vec::new())));
        let wait = progress(&did).unwrap();
        waits.push(wait.as_secs());
        rig.pass(wait);
        let did = rig.tell(Input::Timer(Timer::Progress));
        let to = view + 1;
        assert_eq!(words(&did), format!("leave({to}) write:ViewChange ViewChange({to})"));
        let next = Body::ViewChange(rig.report(2, view + 1, Vec::new()));
        assert_eq!(progress(&rig.hear(2, next)), None);
    }
    assert_eq!(waits, [1, 2, 4], "patience doubles with each view that fails");
}

#[test]
fn the_progress_timer_suspects_only_while_a_known_proposal_is_not_committed() {
    let mut rig = Rig::new(4, 1);
    rig.accept(0, 1, 5);
    rig.pass(Duration::from_millis(900));
    rig.hear(2, Body::Decided(rig.decided(0, 1, 5)));
    rig.accept(0, 2, 6);
    rig.pass(Duration::from_millis(900));
    assert_eq!(
        words(&rig.tell(Input::Timer(Timer::Progress))),
        "",
        "something was committed since"
    );
    rig.pass(Duration::from_millis(200));
    assert_eq!(words(&rig.tell(Input::Timer(Timer::Progress))), "Status");
    rig.hear(2, Body::Decided(rig.decided(0, 2, 6)));
    rig.pass(Duration::from_secs(20));
    assert_eq!(words(&rig.tell(Input::Timer(Timer::Progress))), "", "idle");
}

#[test]
fn what_lies_below_a_certified_slot_that_nobody_holds_is_reported_and_voted_on_again() {
    let mut rig = Rig::new(4, 0);
    rig.accept_own(1, 5);
    rig.hear(1, rig.prepare(1, 0, 1, 5));
    rig.hear(2, rig.prepare(2, 0, 1, 5));
    rig.tell(Input::Stable(stable(1)));
    // Power is lost, and with it the state after slot 1. The votes are still there.
    rig.restart();
    rig.hear(1, Body::Stable(Arc::new(certificate(Slot(1)))));
    let mut said = Vec::new();
    for _ in 0..30 {
        rig.pass(Duration::from_secs(1));
        said.extend(sent(&rig.tell(Input::Timer(Timer::Status))));
    }
    let suspects = |body: &Body<Word>| matches!(body, Body::Status(it) if it.suspects);
    assert!(said.iter().any(suspects), "it waits in vain, and wants another view");
    let did = rig.tell(Input::Change { to: View(1) });
    let Some(Body::ViewChange(report)) = sent(&did).into_iter().next() else { panic!() };
    assert_eq!((report.stable, report.prepared.len()), (Slot(0), 1));
    // The others are no better off, so the slot is proposed again, and decided.
    let opening = rig.opening(1, reports(&rig, 1, report.prepared));
    rig.hear(1, Body::NewView(opening));
    let body = rig.propose(1, 1, 5);
    let asked = rig.hear(1, body);
    rig.answer(&asked, true);
    for by in [2, 3] {
        rig.hear(by, rig.prepare(by, 1, 1, 5));
    }
    rig.hear(2, rig.commit(2, 1, 1, 5));
    let did = rig.hear(3, rig.commit(3, 1, 1, 5));
    assert_eq!(commits(&did), [(1, Some(5))]);
}

#[test]
fn nothing_is_voted_for_below_where_the_view_was_opened() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let mut known = reports(&rig, 1, Vec::new());
    known[2] = rig.report_above(3, 1, 3, Vec::new());
    let opening = rig.opening(1, known);
    assert!(words(&rig.hear(1, Body::NewView(opening))).contains("enter(1)"));
    let body = rig.propose(1, 2, 6);
    assert_eq!(words(&rig.hear(1, body)), "", "slot 2 was decided in an earlier view");
    let body = rig.propose(1, 4, 6);
    assert_eq!(words(&rig.hear(1, body)), "judge(4)");
}

#[test]
fn who_sent_a_view_change_counts_among_those_who_suspect() {
    let mut rig = Rig::new(4, 0);
    rig.hear(2, Body::ViewChange(rig.report(2, 1, Vec::new())));
    assert_eq!(rig.engine.view(), View(0), "one may be a liar");
    assert_eq!(
        words(&rig.tell(Input::Suspect)),
        "Status leave(1) write:ViewChange ViewChange(1) room(0)"
    );
}

#[test]
fn who_left_a_view_alone_is_joined_after_a_while_and_each_time_half_as_soon() {
    let mut rig = Rig::new(4, 0);
    let status = |rig: &Rig, view, active| Status { view: View(view), active, ..rig.status() };
    // A liar, always one view ahead and never in it.
    let mut waits = Vec::new();
    for round in 0..3 {
        let view = rig.engine.view().0;
        let mut waited = 0;
        loop {
            let alone = status(&rig, view + 1, false);
            rig.hear(2, Body::Status(alone));
            let did = words(&rig.tell(Input::Timer(Timer::Status)));
            let next = Body::ViewChange(rig.report(2, view + 1, Vec::new()));
            rig.hear(2, next);
            if rig.engine.view().0 > view {
                assert!(did.contains("Status"), "it says that it suspects: {did}");
                break;
            }
            rig.pass(Duration::from_secs(1));
            waited += 1;
            assert!(waited < 100, "round {round}");
        }
        waits.push(waited);
        let view = rig.engine.view().0;
        let others = vec![
            rig.report(1, view, Vec::new()),
            rig.report(2, view, Vec::new()),
            rig.report(3, view, Vec::new()),
        ];
        let primary = rig.macs.committee.primary(View(view)).0;
        if primary == 0 {
            break;
        }
        rig.hear(primary, Body::NewView(rig.opening(view, others)));
        assert!(rig.engine.is_active());
    }
    assert_eq!(waits, [8, 16, 32]);
}

#[test]
fn rule_28a_a_replica_that_is_shown_an_own_vote_it_does_not_know_of_stops() {
    let forgot = "accuse(r0, forgot-own-vote)";
    // Its own Commit in a decision.
    let mut rig = Rig::new(4, 0);
    let all = rig.macs.committee.replicas();
    let decided = rig.decided_by(all, 0, 1, 5);
    assert_eq!(words(&rig.hear(2, Body::Decided(decided))), format!("{forgot} room(0)"));
    assert_eq!(words(&rig.tell(Input::Propose(Word(1)))), "returned(1)", "and does nothing more");
    // Its own ViewChange in a NewView.
    let mut rig = Rig::new(4, 0);
    let mut known = reports(&rig, 1, Vec::new());
    known[2] = rig.report(0, 1, Vec::new());
    let opening = Body::NewView(rig.opening(1, known));
    assert_eq!(words(&rig.hear(1, opening.clone())), format!("{forgot} room(0)"));
    // One that it does know of means nothing.
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    assert!(words(&rig.hear(1, opening)).contains("enter(1)"));
}

#[test]
fn a_primary_returns_on_leaving_what_it_never_proposed_to_anyone() {
    let mut rig = Rig::new(4, 0);
    let asked = rig.tell(Input::Propose(Word(1)));
    rig.answer(&asked, true);
    rig.tell(Input::Propose(Word(2)));
    let did = rig.tell(Input::Change { to: View(1) });
    assert_eq!(words(&did), "leave(1) returned(2) write:ViewChange ViewChange(1) room(0)");
}

#[test]
fn after_a_restart_it_is_where_it_was_in_the_change() {
    let mut rig = Rig::new(4, 0);
    rig.accept_own(1, 5);
    rig.hear(1, rig.prepare(1, 0, 1, 5));
    rig.hear(2, rig.prepare(2, 0, 1, 5));
    rig.tell(Input::Change { to: View(1) });
    let did = rig.restart();
    assert_eq!(words(&did), "leave(1) ViewChange(1) Status room(0)");
    let [Body::ViewChange(report), _] = &sent(&did)[..] else { panic!() };
    assert_eq!(report.prepared.len(), 1, "what it had prepared is still reported");
    let opening = rig.opening(1, reports(&rig, 1, report.prepared.clone()));
    rig.hear(1, Body::NewView(opening));
    let did = rig.restart();
    assert_eq!(words(&did), "enter(1) Status room(0)");
    let body = rig.propose(1, 1, 6);
    assert!(words(&rig.hear(1, body)).starts_with("accuse(r1, malformed)"), "it knows the choice");
}

impl Rig {
    fn accept_own(&mut self, slot: u64, word: u64) {
        let asked = self.tell(Input::Propose(Word(word)));
        assert!(words(&asked).starts_with(&format!("judge({slot})")));
        self.answer(&asked, true);
    }
}

#[test]
fn a_restarted_primary_repeats_itself_fills_holes_and_goes_on_above() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Propose(Word(5)));
    let asked = rig.tell(Input::Propose(Word(6)));
    rig.answer(&asked, true);
    let did = rig.restart();
    assert_eq!(words(&did), "enter(0) judge(2) Status judge(1) room(6)");
    let did = rig.answer(&did, true);
    assert_eq!(words(&did), "write:Proposal PrePrepare(1)", "slot 1 was never seen by anyone");
    let mut status = rig.status();
    status.stages = vec![Stage::Proposed];
    let did = rig.hear(1, Body::Status(status));
    assert_eq!(words(&did), "PrePrepare(2)");
}

#[test]
fn after_forgetting_the_view_is_still_known() {
    let mut rig = Rig::new(4, 0);
    rig.tell(Input::Change { to: View(1) });
    let opening = rig.opening(1, reports(&rig, 1, Vec::new()));
    rig.hear(1, Body::NewView(opening));
    for slot in 1..=12 {
        rig.hear(2, Body::Decided(rig.decided(1, slot, slot)));
    }
    assert_eq!(words(&rig.tell(Input::Stable(stable(11)))), "");
    let did = rig.tell(Input::Stable(stable(12)));
    assert_eq!(words(&did), "write:Stable forget(5) write:Stable write:NewView");
    // Only what was written after the Forget is left.
    let kept = rig.records.split_off(rig.records.len() - 2);
    rig.records = kept;
    assert!(words(&rig.restart()).starts_with("enter(1)"));
    let body = rig.propose(1, 12, 9);
    assert_eq!(words(&rig.hear(1, body)), "", "it does not vote below where it may have voted");
}

#[test]
fn a_crash_at_any_step_of_a_view_change_costs_neither_safety_nor_progress() {
    for replica in [1, 2] {
        for steps in 0..90 {
            let mut network = Network::new(Macs::new(4), steps, Weather::FAIR);
            network.submit(0..6);
            network.run_for(Duration::from_millis(3));
            network.crash(ReplicaId(0));
            let all = network.subject.committee.replicas();
            all.for_each(|replica| network.feed(replica, Input::Suspect));
            network.step(usize::try_from(steps).unwrap());
            network.crash(ReplicaId(replica));
            network.start(ReplicaId(replica));
            network.submit(6..8);
            let done =
                network.run_until(Duration::from_secs(60), |it| it.is_served() && it.is_level());
            assert!(done, "r{replica} crashed after {steps} steps");
            network.start(ReplicaId(0));
            assert!(network.run_until(Duration::from_secs(60), |it| it.is_level()));
        }
    }
}

#[test]
fn a_replica_that_missed_the_new_view_is_told() {
    let mut rig = Rig::new(4, 1);
    let certificate = Vec::new();
    rig.tell(Input::Change { to: View(1) });
    for by in [2, 3] {
        rig.hear(by, Body::ViewChange(rig.report(by, 1, certificate.clone())));
    }
    let late = Body::Status(Status { view: View(0), ..rig.status() });
    assert_eq!(words(&rig.hear(0, late.clone())), "NewView(1)");
    assert_eq!(words(&rig.hear(0, late.clone())), "", "once for a while");
    rig.pass(Duration::from_millis(150));
    assert_eq!(words(&rig.hear(0, late.clone())), "NewView(1)");
    rig.pass(Duration::from_millis(150));
    assert_eq!(words(&rig.hear(0, late.clone())), "", "half as soon each time");
    rig.pass(Duration::from_millis(100));
    assert_eq!(words(&rig.hear(0, late)), "NewView(1)");
    assert_eq!(rig.engine.view(), View(1));
}
