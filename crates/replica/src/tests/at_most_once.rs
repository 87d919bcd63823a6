use super::*;
use quorate_types::Index;

fn status(executed: &Executed, place: usize) -> u16 {
    executed.fresh[place].exchange.as_ref().unwrap().response.status
}

#[test]
fn rule_15_a_retry_finds_the_first_entry_and_executes_nothing() {
    let mut execution = execution();
    let first = slot(&mut execution, 1, &[put(1, "a", "v")]);
    assert_eq!((first.outcomes[0].index, first.outcomes[0].fresh), (Index(1), true));
    // Another gateway draws another salt.
    let retry = Request { salt: Salt([9; 16]), ..put(1, "a", "v") };
    let second = slot(&mut execution, 2, &[retry]);
    assert_eq!((second.outcomes[0].index, second.outcomes[0].fresh), (Index(1), false));
    assert_eq!(second.fresh.len(), 1, "a slot that answers nothing new is marked");
    assert_eq!(second.fresh[0].kind, quorate_proof::EntryKind::Mark);
}

#[test]
fn rule_15_a_retry_in_the_same_slot_is_found_too() {
    let mut execution = execution();
    let retry = Request { salt: Salt([9; 16]), ..put(1, "a", "v") };
    let executed = slot(&mut execution, 1, &[put(1, "a", "v"), retry]);
    assert_eq!(executed.outcomes[1].index, executed.outcomes[0].index);
    assert_eq!(executed.fresh.len(), 1);
}

#[test]
fn another_request_under_a_used_key_is_an_ordered_422_and_leaves_the_first_answer() {
    let mut execution = execution();
    slot(&mut execution, 1, &[put(1, "a", "v")]);
    let other = Request { salt: Salt([9; 16]), ..put(1, "a", "another") };
    let second = slot(&mut execution, 2, std::slice::from_ref(&other));
    assert_eq!(status(&second, 0), 422);
    // Proposed again, by the next primary: the same answer, not a second one.
    let third = slot(&mut execution, 3, &[other]);
    assert_eq!((third.outcomes[0].index, third.outcomes[0].fresh), (Index(2), false));
    let retry = Request { salt: Salt([8; 16]), ..put(1, "a", "v") };
    assert_eq!(slot(&mut execution, 4, &[retry]).outcomes[0].index, Index(1));
}

#[test]
fn a_request_without_a_key_is_known_by_its_salt() {
    let mut execution = execution();
    let mut request = put(1, "a", "v");
    request.fields.clear();
    slot(&mut execution, 1, std::slice::from_ref(&request));
    assert!(!slot(&mut execution, 2, std::slice::from_ref(&request)).outcomes[0].fresh);
    request.salt = Salt([2; 16]);
    assert!(slot(&mut execution, 3, &[request]).outcomes[0].fresh);
}

#[test]
fn clients_do_not_share_keys() {
    let mut execution = execution();
    let mut with = put(1, "a", "v");
    with.fields.insert(0, ("authorization".to_owned(), "Bearer one".to_owned()));
    let mut without = put(1, "a", "v");
    without.salt = Salt([5; 16]);
    let executed = slot(&mut execution, 1, &[with, without]);
    assert_eq!(executed.fresh.len(), 2);
}

#[test]
fn the_window_is_counted_in_entries() {
    let mut execution = execution();
    slot(&mut execution, 1, &[put(1, "a", "v")]);
    let filler: Vec<_> = (10..17).map(|n| put(n, "b", "w")).collect();
    slot(&mut execution, 2, &filler);
    // Index 1 is the oldest of the last eight entries, 1 to 8.
    assert!(!slot(&mut execution, 3, &[put(1, "a", "v")]).outcomes[0].fresh);
    // The mark of the slot before took index 9, and pushed it out.
    assert!(slot(&mut execution, 4, &[put(1, "a", "v")]).outcomes[0].fresh);
}

#[test]
fn a_signed_request_outlives_the_window_and_its_signature_expires_before_it_is_forgotten() {
    let mut execution = execution();
    let now_s = GENESIS.seconds();
    slot(&mut execution, 1, &[signed(1, now_s)]);
    let filler: Vec<_> = (10..40).map(|n| put(n, "b", "w")).collect();
    slot(&mut execution, 2, &filler);
    assert!(!slot(&mut execution, 3, &[signed(1, now_s)]).outcomes[0].fresh, "still known");
    // After 600 s it is forgotten, and its signature is long outside the window.
    slot(&mut execution, 601_000, &[put(50, "b", "w")]);
    let replayed = slot(&mut execution, 602_000, &[signed(1, now_s)]);
    assert_eq!(status(&replayed, 0), 401);
}

#[test]
fn a_signature_created_outside_the_window_is_an_ordered_401() {
    let mut execution = execution();
    let now_s = GENESIS.seconds();
    for (number, created_s, expected) in
        [(1, now_s - 301, 401), (2, now_s + 301, 401), (3, now_s - 300, 201)]
    {
        let executed = slot(&mut execution, 0, &[signed(number, created_s)]);
        assert_eq!(status(&executed, 0), expected, "{created_s}");
    }
}

#[test]
fn a_table_full_of_young_signed_requests_answers_503_and_executes_nothing() {
    let mut execution = execution();
    let now_s = GENESIS.seconds();
    slot(&mut execution, 1, &[signed(1, now_s), signed(2, now_s)]);
    let third = slot(&mut execution, 2, &[signed(3, now_s)]);
    assert_eq!(status(&third, 0), 503);
    // An unsigned one has its own room.
    assert_eq!(status(&slot(&mut execution, 3, &[put(4, "u", "v")]), 0), 201);
    // Later there is room again, and the refused request may come again under its key.
    assert_eq!(status(&slot(&mut execution, 700_000, &[signed(3, now_s + 700)]), 0), 204);
}

#[test]
fn agreed_time_is_strictly_increasing_whatever_primaries_propose() {
    let mut execution = execution();
    slot(&mut execution, 100, &[put(1, "a", "v")]);
    slot(&mut execution, 50, &[put(2, "a", "v")]);
    assert_eq!(execution.record().time, UnixMillis(GENESIS.0 + 101));
    let next = execution.record().slot.next();
    execution.execute(Ordered::new(next, None));
    assert_eq!(execution.record().time, UnixMillis(GENESIS.0 + 102));
}

#[test]
fn a_late_signature_proposed_twice_is_answered_once() {
    let mut execution = execution();
    let late = signed(1, GENESIS.seconds() - 1_000);
    let first = slot(&mut execution, 1, std::slice::from_ref(&late));
    assert_eq!(status(&first, 0), 401);
    let again = slot(&mut execution, 2, &[late]);
    assert_eq!((again.outcomes[0].index, again.outcomes[0].fresh), (Index(1), false));
}

/// A table that overwrote a record would drop it at another time than one restored from its map.
#[test]
fn rule_11_a_restored_table_forgets_at_the_same_entries_as_one_that_never_stopped() {
    let mut original = execution();
    let late = signed(1, GENESIS.seconds() - 1_000);
    let unkeyed = Request { fields: Vec::new(), salt: Salt([3; 16]), ..put(3, "u", "v") };
    let reused = Request { salt: Salt([3; 16]), ..put(4, "a", "other") };
    slot(&mut original, 1, &[late.clone(), put(4, "a", "v"), unkeyed]);
    slot(&mut original, 2, &[late, reused.clone(), reused]);
    let mut restored = Execution::restore(
        Box::new(Kv),
        Rules::from(&config()),
        *original.record(),
        original.state().clone(),
        original.replay().map().clone(),
        original.signatures(),
    )
    .unwrap();
    for n in 10..40 {
        slot(&mut original, n.into(), &[put(n, "b", "w")]);
        slot(&mut restored, n.into(), &[put(n, "b", "w")]);
        assert_eq!(original.record(), restored.record(), "after entry {n}");
    }
}

fn ordered(execution: &Execution, after_ms: u64, since: Index, request: &Request) -> Ordered {
    let items = vec![Item::Request(Asked { request: Arc::new(request.clone()), since })];
    let batch = Batch { time: UnixMillis(GENESIS.0 + after_ms), items };
    Ordered::new(execution.record().slot.next(), Some(Arc::new(batch)))
}

/// A gateway that is cut off forwards what it held as soon as it is back, answered long ago or not.
#[test]
fn rule_15_a_request_that_outlives_the_table_takes_effect_at_most_once() {
    for between in 0..30_u8 {
        let mut execution = execution();
        slot(&mut execution, 1, &[put(90, "b", "w")]);
        // Taken in by two gateways, and executed for the other one.
        let since = execution.record().next_index;
        slot(&mut execution, 2, &[put(1, "a", "v")]);
        for n in 0..between {
            slot(&mut execution, 3 + u64::from(n), &[put(100 + n, "b", "w")]);
        }
        let late = Request { salt: Salt([9; 16]), ..put(1, "a", "v") };
        let ordered = ordered(&execution, 100, since, &late);
        let executed = execution.execute(ordered);
        assert!(executed.fresh[0].exchange.is_none(), "again after {between} entries");
        // The other gateway's is known as long as the table reaches back, and then it is expired.
        assert_eq!((executed.outcomes.len(), executed.expired.len()).0 == 1, between < 8);
        assert_eq!(executed.outcomes.len() + executed.expired.len(), 1);
    }
}

#[test]
fn rule_15_a_request_that_was_never_executed_expires_too_and_a_log_repeats_without_it() {
    let mut execution = execution();
    let (mut recorder, _) = recorder(&execution);
    let mut log = Vec::new();
    for (n, expected) in [(1, true), (8, true), (9, false)] {
        let mut items: Vec<_> = (0..8).map(|m| item(put(100 + 8 * n + m, "b", "w"))).collect();
        let since = Index(execution.record().next_index.0 + 8 - u64::from(n));
        let request = Arc::new(put(n, "a", "v"));
        items.push(Item::Request(Asked { request, since }));
        let time = UnixMillis(GENESIS.0 + u64::from(n));
        let next = execution.record().slot.next();
        let batch = Some(Arc::new(Batch { time, items }));
        let executed = execution.execute(Ordered::new(next, batch));
        assert_eq!(executed.expired.is_empty(), expected, "{n} entries after it was taken in");
        log.extend(recorder.record(executed).items().iter().cloned());
    }
    let mut again = super::execution();
    for slot in crate::sync::by_slot(log) {
        again.repeat(&slot).unwrap();
    }
    assert_eq!(again.record(), execution.record());
}

/// Its signature is no longer taken when it is forgotten, so there is nothing to fear.
#[test]
fn a_signed_request_does_not_expire_by_entries() {
    let mut execution = execution();
    let filler: Vec<_> = (10..40).map(|n| put(n, "b", "w")).collect();
    slot(&mut execution, 1, &filler);
    let ordered = ordered(&execution, 2, Index(1), &signed(1, GENESIS.seconds()));
    assert_eq!(status(&execution.execute(ordered), 0), 201);
}
