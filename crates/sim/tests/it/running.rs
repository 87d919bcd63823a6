//! Negative controls of the checks that run with a seed.

use bytes::Bytes;
use quorate_proof::{Frontier, leaf_hash};
use quorate_replica::{Signatures, Snapshot};
use quorate_service::State;
use quorate_sim::{
    Check, Plan, Violation,
    bounds::{self, Fills},
    canon::Canon,
    check::{Trace, one_state},
    record,
};
use quorate_types::{
    Digest, Epoch, Head, Held, Index, LogItem, Slot, StableCertificate, StateRecord, UnixMillis,
};
use std::sync::Arc;

/// What a calm run left behind.
fn calm() -> Trace {
    let (outcome, trace) = record(Plan::calm(1, 4));
    assert_eq!(outcome.failures, []);
    trace
}

/// A canon that knows what clients asked for.
fn canon(trace: &Trace) -> Canon {
    let mut canon = Canon::new(trace.tuning);
    trace.history.iter().for_each(|operation| canon.asked(operation));
    canon
}

fn append(canon: &mut Canon, from: u64, items: &[LogItem]) -> Result<(), Violation> {
    canon.appended(Index(from), items, [].iter())
}

/// Which check complains of a log of which something was changed.
fn complaint(change: impl FnOnce(&mut Vec<LogItem>)) -> Check {
    let trace = calm();
    let mut log = trace.logs[0].clone();
    change(&mut log);
    append(&mut canon(&trace), 0, &log).expect_err("the change must be noticed").check
}

fn first_put(log: &[LogItem]) -> usize {
    let put = |item: &LogItem| item.exchange.as_ref().is_some_and(|it| it.request.method == "PUT");
    log.iter().position(put).expect("a run has a write")
}

#[test]
fn what_two_correct_replicas_append_must_be_one_log() {
    let trace = calm();
    let (mut canon, log) = (canon(&trace), &trace.logs[0]);
    assert_eq!(append(&mut canon, 0, log), Ok(()));
    assert_eq!(append(&mut canon, 0, &log[..3]), Ok(()), "somebody else, less far");
    assert_eq!(append(&mut canon, 2, &log[2..]), Ok(()), "and again, after it was cut");
    let said = append(&mut canon, 1, &log[2..3]).unwrap_err();
    assert_eq!(said.check, Check::Agreement);
    let said = append(&mut canon, log.len() as u64 + 1, &log[2..3]).unwrap_err();
    assert_eq!(said.check, Check::Agreement, "a hole");
}

#[test]
fn an_item_is_judged_as_it_is_appended() {
    let changed = complaint(|log| {
        let at = first_put(log);
        let exchange = log[at].exchange.as_mut().unwrap();
        Arc::make_mut(&mut exchange.request).body = Bytes::from_static(b"other");
    });
    assert_eq!(changed, Check::Validity);
    let answered = complaint(|log| {
        let at = first_put(log);
        log[at].exchange.as_mut().unwrap().response.status = 418;
    });
    assert_eq!(answered, Check::Execution);
    let repeated = complaint(|log| {
        let item = log[first_put(log)].clone();
        log.push(item);
    });
    assert_eq!(repeated, Check::AtMostOnce);
    let trace = calm();
    let unasked = append(&mut Canon::new(trace.tuning), 0, &trace.logs[0]).unwrap_err();
    assert_eq!(unasked.check, Check::Validity);
}

fn certificate(head: Head, slot: u64) -> StableCertificate {
    let (digest, slot) = (Digest([0; 32]), Slot(slot));
    let (next_index, epoch, time) = (Index(head.size), Epoch(0), UnixMillis(1));
    let (service, replay, engine) = (digest, digest, digest);
    let record = StateRecord { slot, next_index, epoch, time, service, replay, engine };
    let (cosignatures, last_entry, path) = (Vec::new(), String::new(), Vec::new());
    StableCertificate { head, cosignatures, last_entry, path, record }
}

#[test]
fn heads_that_are_signed_or_kept_must_be_the_logs() {
    let trace = calm();
    let (mut canon, log) = (canon(&trace), &trace.logs[0][..4]);
    append(&mut canon, 0, log).unwrap();
    let mut frontier = Frontier::new();
    log[..3].iter().for_each(|item| frontier.push(leaf_hash(item.entry.as_bytes())));
    let head = Head { size: 3, root: frontier.root() };
    assert_eq!(canon.signed(&head), Ok(()));
    let other = Head { root: Digest([1; 32]), ..head };
    assert_eq!(canon.signed(&other).unwrap_err().check, Check::Signatures);
    let ahead = Head { size: 9, ..head };
    assert_eq!(canon.signed(&ahead).unwrap_err().check, Check::Signatures);
    assert_eq!(canon.certified(&certificate(head, 2)), Ok(()));
    assert_eq!(canon.certified(&certificate(head, 2)), Ok(()), "by another replica");
    assert_eq!(canon.certified(&certificate(head, 3)).unwrap_err().check, Check::State);
    assert_eq!(canon.certified(&certificate(other, 2)).unwrap_err().check, Check::Signatures);
}

#[test]
fn what_holds_more_than_it_may_is_noticed() {
    let mut seen = Fills::new();
    let full = [Held::new("a", 4, 4), Held::new("b", 0, 0)];
    assert_eq!(bounds::check(&full, &mut seen), Ok(()));
    assert_eq!((seen["a"].most, seen["a"].permille), (4, 1_000));
    let over = bounds::check(&[Held::new("a", 5, 4)], &mut seen).unwrap_err();
    assert_eq!(over.check, Check::Bounds);
}

#[test]
fn runs_say_how_much_was_held_and_name_each_thing_once() {
    let (outcome, _) = record(Plan::calm(1, 4));
    for name in ["engine.slots", "batch.waiting", "certify.open", "replay.keys", "driver.queue"] {
        assert!(outcome.held.contains_key(name), "{name}: {:?}", outcome.held);
    }
    assert!(outcome.held["engine.slots"].most > 0 && outcome.held["replay.keys"].most > 0);
    assert!(outcome.checked["states-compared"] >= 3, "{:?}", outcome.checked);
}

#[test]
fn two_states_after_one_slot_are_noticed() {
    let snapshot = |slot, value: &'static str| {
        let mut service = State::new();
        service.put("key", value);
        let head = Head { size: 3, root: Digest([0; 32]) };
        let certificate = Arc::new(certificate(head, slot));
        let (frontier, replay) = (Frontier::new(), State::new());
        let signatures = Signatures::NONE;
        Snapshot { certificate, frontier, service, replay, signatures }
    };
    let level = [snapshot(1, "a"), snapshot(1, "a"), snapshot(2, "b")];
    assert_eq!(one_state(&level), Ok(1));
    let differ = [snapshot(1, "a"), snapshot(1, "b")];
    assert_eq!(one_state(&differ).unwrap_err().check, Check::State);
}
