//! Negative controls: the checks complain when there is something to complain of.

use bytes::Bytes;
use quorate_protocol::Accusation;
use quorate_replica::{Message, message::Cosign};
use quorate_sim::{
    Deed, Outcome, Plan,
    check::Trace,
    cluster::Cluster,
    record, run,
    witness::{Witness, accused},
};
use quorate_types::{Digest, Head, LogItem, ReplicaId, Signature, Slot, Time, UnixMillis};
use std::sync::Arc;

/// Runs a few seeds until one has something to say that contains `word`.
fn complains(word: &str, plan: impl Fn(u64) -> Plan) {
    let outcomes: Vec<Outcome> = (0..5).map(|seed| run(plan(seed))).collect();
    let said = |outcome: &Outcome| {
        outcome.failures.iter().any(|failure| failure.to_string().contains(word))
    };
    assert!(outcomes.iter().any(said), "nobody complained of {word}: {outcomes:?}");
}

#[test]
fn two_of_four_that_equivocate_together_break_agreement_and_are_noticed() {
    complains("elsewhere", |seed| Plan::conspiracy(seed, 4, &[0, 1], Deed::Equivocate, &[3]));
}

#[test]
fn two_of_four_that_cosign_one_wrong_root_are_noticed() {
    complains("halts", |seed| Plan::conspiracy(seed, 4, &[0, 1], Deed::CosignWrongly, &[]));
}

#[test]
fn two_of_four_that_say_nothing_stop_everything_and_are_noticed() {
    complains("stuck", |seed| Plan::conspiracy(seed, 4, &[0, 1], Deed::Mute, &[]));
}

/// What a calm run left behind, which nothing is wrong with.
fn calm() -> Trace {
    let (outcome, trace) = record(Plan::calm(1, 4));
    assert_eq!(outcome.failures, Vec::new());
    assert_eq!(trace.check(), Ok(()));
    trace
}

/// The complaint about a run of which something was changed afterwards.
fn complaint(change: impl FnOnce(&mut Trace)) -> String {
    let mut trace = calm();
    change(&mut trace);
    trace.check().expect_err("the change must be noticed").to_string()
}

/// Changes all logs alike.
fn all_logs(trace: &mut Trace, change: impl Fn(&mut Vec<LogItem>)) {
    trace.logs.iter_mut().for_each(change);
}

/// The place of the first write under a key of its client in a log.
fn first_put(log: &[LogItem]) -> usize {
    let put = |item: &LogItem| {
        let request = item.exchange.as_ref().map(|exchange| &exchange.request);
        request.is_some_and(|it| it.method == "PUT" && it.field("idempotency-key").is_some())
    };
    log.iter().position(put).expect("a run has a write")
}

#[test]
fn a_log_that_differs_is_noticed() {
    let said = complaint(|trace| {
        trace.logs[1].swap(1, 2);
    });
    assert!(said.starts_with("agreement"), "{said}");
}

#[test]
fn a_log_that_differs_in_a_signature_alone_is_noticed() {
    let said = complaint(|trace| {
        let signed = |item: &&mut LogItem| {
            item.exchange.as_ref().is_some_and(|it| it.request.signature.is_some())
        };
        let item = trace.logs[1].iter_mut().find(signed).expect("some clients sign");
        Arc::make_mut(&mut item.exchange.as_mut().unwrap().request).signature = None;
    });
    assert!(said.starts_with("agreement"), "{said}");
}

#[test]
fn a_request_that_took_effect_twice_is_noticed() {
    let said = complaint(|trace| {
        all_logs(trace, |log| {
            let item = log[first_put(log)].clone();
            log.push(item);
        });
    });
    assert!(said.starts_with("at-most-once"), "{said}");
}

#[test]
fn a_request_that_nobody_made_is_noticed() {
    let said = complaint(|trace| {
        all_logs(trace, |log| {
            let at = first_put(log);
            let exchange = log[at].exchange.as_mut().unwrap();
            Arc::make_mut(&mut exchange.request).body = Bytes::from_static(b"other");
        });
    });
    assert!(said.starts_with("validity"), "{said}");
}

#[test]
fn a_lost_acknowledged_write_is_noticed() {
    let said = complaint(|trace| {
        all_logs(trace, |log| log.truncate(log.len() / 2));
    });
    assert!(said.starts_with("durability"), "{said}");
}

#[test]
fn a_wrong_response_is_noticed_in_the_log_and_in_what_a_client_was_told() {
    let said = complaint(|trace| {
        all_logs(trace, |log| {
            let at = first_put(log);
            log[at].exchange.as_mut().unwrap().response.status = 418;
        });
    });
    assert!(said.contains("the model says"), "{said}");
    let said = complaint(|trace| {
        let told = trace.history.iter_mut().find_map(|operation| operation.returned.as_mut());
        told.unwrap().response.body = Bytes::from_static(b"forged");
    });
    assert!(said.contains("another salt or response"), "{said}");
}

#[test]
fn an_answer_from_before_it_was_asked_for_is_noticed() {
    let said = complaint(|trace| {
        let last = trace.history.iter_mut().filter(|operation| operation.returned.is_some()).last();
        last.unwrap().returned.as_mut().unwrap().at = Time(0);
    });
    assert!(said.contains("real time"), "{said}");
}

#[test]
fn two_roots_for_one_size_by_one_replica_are_noticed() {
    let cosign = |root| {
        let head = Head { size: 7, root: Digest([root; 32]) };
        let (time, signature) = (UnixMillis(1), Signature([0; 64]));
        Message::Cosign(Cosign { slot: Slot(3), head, time, signature })
    };
    let mut witness = Witness::default();
    assert_eq!(witness.sent(ReplicaId(1), &cosign(1)), Ok(()));
    assert_eq!(witness.sent(ReplicaId(2), &cosign(2)), Ok(()), "another replica");
    assert_eq!(witness.sent(ReplicaId(1), &cosign(1)), Ok(()), "said again");
    assert!(witness.sent(ReplicaId(1), &cosign(2)).is_err());
}

#[test]
fn accusations_of_the_innocent_and_by_void_evidence_are_noticed() {
    let plan = Plan::calm(1, 4);
    let cluster = Cluster::new(plan.n, plan.signatures, plan.seed, plan.tuning).unwrap();
    let verifier = cluster.verifier();
    let accusation = |charge, evidence| Accusation { replica: ReplicaId(1), charge, evidence };
    let bare = accusation("malformed", Vec::new());
    assert_eq!(accused(&cluster, &verifier, &bare, true), Ok(false));
    assert!(accused(&cluster, &verifier, &bare, false).is_err(), "it did nothing");
    for charge in ["wrong-result", "double-vote"] {
        let void = accusation(charge, vec![vec![1; 64], vec![2; 64]]);
        assert!(accused(&cluster, &verifier, &void, true).is_err(), "{charge}");
    }
    // Nobody can check these, whatever they say.
    for evidence in [vec![vec![1; 64]], vec![vec![1; 64]; 2], vec![vec![1; 64]; 3]] {
        let unknown = accusation("malformed", evidence);
        assert!(accused(&cluster, &verifier, &unknown, true).is_err());
    }
}
