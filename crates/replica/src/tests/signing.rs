//! The clients' signatures, which no exchange covers: rules 11 and 12.

use super::*;
use crate::{
    signatures::{Opened, Signatures, open},
    sync::by_slot,
};
use quorate_types::{Index, Opening};

/// Four slots, the second and the fourth with signed requests, and the state after them.
fn written_by_some_who_sign() -> (Vec<Vec<LogItem>>, Execution) {
    let mut execution = execution();
    let (mut recorder, _) = recorder(&execution);
    let now_s = GENESIS.seconds();
    let slots = [
        vec![put(1, "a", "v"), put(2, "a", "w")],
        vec![put(3, "a", "v"), signed(4, now_s), put(5, "a", "w")],
        vec![put(1, "a", "v")],
        vec![signed(6, now_s - 1_000), signed(4, now_s), put(7, "b", "v")],
    ];
    let mut log = Vec::new();
    for (after_ms, requests) in (1..).zip(slots) {
        let recorded = recorder.record(slot(&mut execution, after_ms, &requests));
        log.extend(recorded.items().iter().cloned());
    }
    (by_slot(log), execution)
}

fn signature_of(item: &mut LogItem) -> &mut Option<ClientSignature> {
    &mut Arc::make_mut(&mut item.exchange.as_mut().unwrap().request).signature
}

/// All slots opened, one after the other.
fn open_all(slots: &[Vec<LogItem>]) -> Option<Opened> {
    let mut opened = None;
    for slot in slots {
        let before = opened.map_or(Signatures::NONE, |opened: Opened| opened.signatures);
        opened = Some(open(slot, before)?);
    }
    opened
}

#[test]
fn rule_11_a_log_that_is_not_executed_leads_to_the_same_signatures_as_one_that_is() {
    let (slots, executed) = written_by_some_who_sign();
    let opened = open_all(&slots).unwrap();
    assert_eq!(opened.signatures, executed.signatures());
    assert_eq!(opened.signatures.seal(&opened.table), executed.record().replay);
    assert_ne!(opened.signatures, Signatures::NONE);
}

#[test]
fn rule_12_a_slot_with_any_signature_taken_off_added_or_swapped_does_not_open() {
    let (slots, _) = written_by_some_who_sign();
    let refuse = |change: &dyn Fn(&mut Vec<Vec<LogItem>>), why: &str| {
        let mut changed = slots.clone();
        change(&mut changed);
        assert_eq!(open_all(&changed), None, "{why}");
    };
    refuse(&|slots| *signature_of(&mut slots[1][1]) = None, "taken off");
    refuse(&|slots| *signature_of(&mut slots[3][0]) = None, "taken off a late one");
    refuse(
        &|slots| *signature_of(&mut slots[0][0]) = signed(1, GENESIS.seconds()).signature,
        "added where nobody had signed before",
    );
    refuse(
        &|slots| *signature_of(&mut slots[1][2]) = signed(5, GENESIS.seconds()).signature,
        "added in the middle",
    );
    refuse(
        &|slots| signature_of(&mut slots[1][1]).as_mut().unwrap().signature = Signature([1; 64]),
        "another signature of the same client",
    );
    refuse(
        &|slots| signature_of(&mut slots[1][1]).as_mut().unwrap().params.push(' '),
        "other parameters",
    );
    refuse(
        &|slots| {
            let moved = signature_of(&mut slots[1][1]).take();
            *signature_of(&mut slots[1][0]) = moved;
        },
        "moved to the request before",
    );
}

#[test]
fn rule_12_an_opening_stands_with_the_last_item_of_its_slot_and_fits_it() {
    let (slots, _) = written_by_some_who_sign();
    let slot = &slots[0];
    assert!(open(slot, Signatures::NONE).is_some());
    assert_eq!(open(&[], Signatures::NONE), None);
    assert_eq!(open(&slot[..1], Signatures::NONE), None, "half a slot");
    let mut without = slot.clone();
    without[1].opening = None;
    assert_eq!(open(&without, Signatures::NONE), None, "none");
    let mut twice = slot.clone();
    twice[0].opening = twice[1].opening;
    assert_eq!(open(&twice, Signatures::NONE), None, "a second one");
    let mut another = slot.clone();
    another[1].opening = slots[1][2].opening;
    assert_eq!(open(&another, Signatures::NONE), None, "another slot's");
    for change in [
        |opening: &mut Opening| opening.slot = opening.slot.next(),
        |opening: &mut Opening| opening.service = digest(1),
        |opening: &mut Opening| opening.table = digest(1),
        |opening: &mut Opening| opening.engine = digest(1),
    ] {
        let mut changed = slot.clone();
        change(changed[1].opening.as_mut().unwrap());
        assert_eq!(open(&changed, Signatures::NONE), None, "{:?}", changed[1].opening);
    }
    let mut before = Signatures::NONE;
    before.add(Index(1), signed(1, 0).signature.as_ref().unwrap());
    assert_eq!(open(slot, before), None, "other signatures before");
}

/// The replay table alone does not tell two signatures of one client apart.
#[test]
fn rule_12_a_slot_that_is_executed_with_another_signature_of_its_client_is_found() {
    let (slots, _) = written_by_some_who_sign();
    let mut execution = execution();
    execution.repeat(&slots[0]).unwrap();
    let mut swapped = slots[1].clone();
    signature_of(&mut swapped[1]).as_mut().unwrap().signature = Signature([1; 64]);
    assert!(execution.repeat(&swapped).is_err());
}

#[test]
fn a_retry_adds_no_signature_since_it_adds_no_entry() {
    let mut execution = execution();
    slot(&mut execution, 1, &[signed(1, GENESIS.seconds())]);
    let before = execution.signatures();
    slot(&mut execution, 2, &[signed(1, GENESIS.seconds())]);
    assert_eq!(execution.signatures(), before);
}
