use super::*;
use crate::{
    admit::Proposal,
    batch::{Batcher, Source, Unplaced},
    port::Ticket,
    replica::Moment,
};
use quorate_types::{Index, Outcome, Slot, Time};
use std::time::Duration;

/// What the gateway knew of when the request came.
const AT: Index = Index(5);

/// When batches are proposed here, and how long they take to be decided.
const START: Moment = Moment { now: Time(1_000_000_000), clock: UnixMillis(1) };
const TOOK: Duration = Duration::from_millis(9);
const DECIDED: Time = Time(1_009_000_000);

fn limits() -> Limits {
    Limits {
        batch_items_max: 3,
        batch_bytes_max: 2_000,
        pipeline: 1,
        waiting_max: 8,
        waiting_per_peer_max: 2,
        ..Limits::default()
    }
}

fn batcher() -> Batcher {
    batcher_of(limits())
}

fn batcher_of(limits: Limits) -> Batcher {
    let mut batcher = Batcher::new(limits);
    batcher.set_room(10);
    batcher
}

fn admitted(request: Request) -> crate::admit::Admitted {
    admission().admit(Proposal::part_of_verified(Arc::new(request))).unwrap()
}

fn enqueue(batcher: &mut Batcher, number: u8) {
    let request = put(number, "a", "v");
    let salt = request.salt;
    let ticket = Source::Gateway(Ticket(number.into()));
    batcher.place(Time(number.into()), ticket, admitted(request), AT).unwrap();
    batcher.enqueue(salt);
}

fn next(batcher: &mut Batcher) -> Option<usize> {
    batcher.next(START, false).map(|batch| batch.items.len())
}

#[test]
fn a_lone_request_is_proposed_at_once_and_the_next_ones_wait_for_its_commit() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 2);
    enqueue(&mut batcher, 3);
    assert_eq!(next(&mut batcher), None);
    batcher.decided(DECIDED);
    assert_eq!(next(&mut batcher), Some(2));
}

/// One whose last batch had three, and where one request waits for others.
fn gathering() -> Batcher {
    let mut batcher = batcher();
    (1..=3).for_each(|n| enqueue(&mut batcher, n));
    assert_eq!(next(&mut batcher), Some(3));
    assert_eq!(batcher.pause_timer(), None, "nothing is in line");
    batcher.decided(DECIDED);
    enqueue(&mut batcher, 4);
    assert_eq!(next(&mut batcher), None, "the last batch had three");
    assert_eq!(batcher.pause_timer(), Some(Some(2 * TOOK)));
    batcher
}

#[test]
fn those_who_were_answered_are_waited_for_but_not_for_long() {
    let mut batcher = gathering();
    assert_eq!(batcher.pause_timer(), None, "it runs");
    enqueue(&mut batcher, 5);
    batcher.end_pause();
    assert_eq!(next(&mut batcher), Some(2));
    batcher.decided(DECIDED);
    (6..=7).for_each(|n| enqueue(&mut batcher, n));
    assert_eq!(next(&mut batcher), Some(2), "as many as the last batch had need no timer");
}

/// One whose votes travel around the world is no reason to wait for a second.
#[test]
fn a_batch_that_took_long_is_gathered_for_longer_but_not_without_bound() {
    let gather_max = Limits::default().gather_max;
    for (took, gathered) in [(TOOK, 2 * TOOK), (Duration::from_millis(300), gather_max)] {
        let mut batcher = batcher();
        (1..=2).for_each(|n| enqueue(&mut batcher, n));
        assert_eq!(next(&mut batcher), Some(2));
        batcher.decided(START.now.plus(took));
        enqueue(&mut batcher, 3);
        assert_eq!(next(&mut batcher), None, "the last batch had two");
        assert_eq!(batcher.pause_timer(), Some(Some(gathered)));
    }
}

/// What one of several undecided batches took says more of the others than of itself.
#[test]
fn how_long_a_batch_takes_is_seen_in_the_last_undecided_one() {
    let mut batcher = batcher_of(Limits { pipeline: 2, ..limits() });
    enqueue(&mut batcher, 1);
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 2);
    enqueue(&mut batcher, 3);
    assert_eq!((next(&mut batcher), batcher.pause_timer().is_some()), (None, true));
    batcher.end_pause();
    let later = Moment { now: DECIDED, ..START };
    assert_eq!(batcher.next(later, false).map(|batch| batch.items.len()), Some(2));
    batcher.decided(DECIDED);
    batcher.decided(DECIDED.plus(TOOK));
    enqueue(&mut batcher, 4);
    assert_eq!((next(&mut batcher), batcher.pause_timer()), (None, Some(Some(2 * TOOK))));
}

#[test]
fn what_waits_for_an_undecided_batch_is_proposed_beside_it_after_a_while() {
    let limits = Limits { pipeline: 2, ..limits() };
    let linger = limits.linger;
    let mut batcher = batcher_of(limits);
    enqueue(&mut batcher, 1);
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 2);
    assert_eq!(next(&mut batcher), None);
    assert_eq!(batcher.pause_timer(), Some(Some(linger)));
    batcher.end_pause();
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 3);
    assert_eq!((next(&mut batcher), batcher.pause_timer()), (None, None), "the pipeline is full");
}

#[test]
fn a_pause_that_is_over_is_not_begun_again_while_there_is_no_room() {
    let mut batcher = gathering();
    batcher.end_pause();
    assert_eq!(batcher.next(START, true), None, "the window is crowded");
    assert_eq!(batcher.pause_timer(), None);
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 5);
    batcher.set_room(0);
    assert_eq!(batcher.pause_timer(), None, "the engine takes nothing");
}

#[test]
fn a_pause_ends_with_the_lead() {
    let mut batcher = gathering();
    batcher.stop_leading();
    assert_eq!(batcher.pause_timer(), Some(None), "the timer is disarmed");
}

/// A primary may learn by a state transfer what became of its own proposals.
#[test]
fn what_was_proposed_and_came_back_as_state_holds_nothing_up() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 2);
    assert_eq!(next(&mut batcher), None);
    batcher.forget_proposed();
    assert_eq!(next(&mut batcher), Some(1));
}

#[test]
fn a_full_batch_does_not_wait() {
    let mut batcher = batcher();
    (1..=5).for_each(|n| enqueue(&mut batcher, n));
    assert_eq!(next(&mut batcher), Some(3));
    assert_eq!(next(&mut batcher), None, "two more are no full batch");
    enqueue(&mut batcher, 6);
    assert_eq!(next(&mut batcher), Some(3));
}

#[test]
fn nothing_is_proposed_without_room() {
    let mut batcher = batcher();
    batcher.set_room(0);
    enqueue(&mut batcher, 1);
    assert_eq!(next(&mut batcher), None);
    batcher.set_room(1);
    assert_eq!(next(&mut batcher), Some(1));
}

#[test]
fn a_returned_batch_goes_back_to_the_front_in_its_order() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    enqueue(&mut batcher, 2);
    let batch = batcher.next(START, false).unwrap();
    enqueue(&mut batcher, 3);
    batcher.take_back(batch.clone());
    let again = batcher.next(START, false).unwrap();
    assert_eq!(again.items[..2], batch.items[..]);
}

#[test]
fn what_was_executed_elsewhere_is_not_proposed_again() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    batcher.remove(&put(1, "a", "v")).unwrap();
    assert_eq!(next(&mut batcher), None);
}

#[test]
fn the_waiting_room_is_bounded_in_all_and_for_each_peer() {
    let mut batcher = batcher();
    for n in 1..=2 {
        let source = Source::Peer(ReplicaId(2));
        batcher.place(Time(1), source, admitted(put(n, "a", "v")), AT).unwrap();
    }
    let third = batcher.place(Time(1), Source::Peer(ReplicaId(2)), admitted(put(3, "a", "v")), AT);
    assert_eq!(third, Err(Unplaced::Full));
    (4..=9).for_each(|n| enqueue(&mut batcher, n));
    let ticket = Source::Gateway(Ticket(99));
    let last = batcher.place(Time(1), ticket, admitted(put(10, "a", "v")), AT);
    assert_eq!(last, Err(Unplaced::Full));
    // Room comes back as requests are executed.
    batcher.remove(&put(1, "a", "v")).unwrap();
    batcher.place(Time(1), Source::Peer(ReplicaId(2)), admitted(put(3, "a", "v")), AT).unwrap();
}

#[test]
fn what_waits_is_bounded_in_bytes_and_no_peer_takes_more_than_half() {
    let weight = admitted(put(1, "a", "v")).weight();
    let limits = Limits { waiting_bytes_max: 4 * weight, ..Limits::default() };
    let mut batcher = Batcher::new(limits);
    let mut place = |source, n| batcher.place(Time(1), source, admitted(put(n, "a", "v")), AT);
    let peer = Source::Peer(ReplicaId(2));
    assert_eq!([place(peer, 1), place(peer, 2)], [Ok(()), Ok(())]);
    assert_eq!(place(peer, 3), Err(Unplaced::Full));
    let ticket = |n| Source::Gateway(Ticket(n));
    assert_eq!([place(ticket(1), 4), place(ticket(2), 5)], [Ok(()), Ok(())]);
    assert_eq!(place(ticket(3), 6), Err(Unplaced::Full));
    batcher.remove(&put(1, "a", "v")).unwrap();
    assert_eq!(batcher.place(Time(1), peer, admitted(put(3, "a", "v")), AT), Ok(()));
}

#[test]
fn an_abandoned_request_is_ordered_all_the_same_and_nobody_waits_for_it() {
    let mut batcher = batcher();
    let place = |batcher: &mut Batcher, ticket, n| {
        let source = Source::Gateway(Ticket(ticket));
        batcher.place(Time(1), source, admitted(put(n, "a", "v")), AT).unwrap();
        batcher.enqueue(put(n, "a", "v").salt);
    };
    place(&mut batcher, 1, 1);
    place(&mut batcher, 2, 2);
    batcher.abandon(Ticket(1));
    batcher.abandon(Ticket(9));
    assert_eq!(batcher.next(START, false).unwrap().items.len(), 2);
    let tickets = [1, 2].map(|n| batcher.remove(&put(n, "a", "v")).unwrap().ticket);
    assert_eq!(tickets, [None, Some(Ticket(2))]);
}

#[test]
fn one_key_runs_once_at_a_gateway() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    let retry = Request { salt: Salt([7; 16]), ..put(1, "a", "v") };
    let again = batcher.place(Time(1), Source::Gateway(Ticket(7)), admitted(retry), AT);
    assert_eq!(again, Err(Unplaced::KeyRuns));
}

#[test]
fn the_line_of_a_primary_whose_requests_others_order_does_not_grow() {
    let mut batcher = batcher();
    batcher.set_room(0);
    for number in 0..200 {
        enqueue(&mut batcher, number);
        if number < 195 {
            assert!(batcher.remove(&put(number, "a", "v")).is_some());
        }
        assert!(batcher.held(4).iter().all(|held| !held.is_over()), "{:?}", batcher.held(4));
    }
    batcher.set_room(10);
    assert_eq!(next(&mut batcher), Some(3), "what waits is proposed all the same");
}

/// Else a liar who is faster than a gateway could have its requests expire again and again.
#[test]
fn of_two_words_for_how_old_a_request_is_the_younger_counts() {
    let mut batcher = batcher();
    let request = || admitted(put(1, "a", "v"));
    let (liar, peer) = (Source::Peer(ReplicaId(3)), Source::Peer(ReplicaId(2)));
    batcher.place(Time(1), liar, request(), Index(0)).unwrap();
    assert_eq!(batcher.place(Time(2), peer, request(), AT), Ok(()));
    assert_eq!(batcher.place(Time(3), liar, request(), Index(0)), Err(Unplaced::Known));
    let other = admitted(Request { body: Bytes::from_static(b"w"), ..put(1, "a", "v") });
    assert_eq!(batcher.place(Time(3), liar, other, Index(9)), Err(Unplaced::Known));
    let asked = |since| Asked { request: Arc::new(put(1, "a", "v")), since };
    assert!(batcher.expire(&asked(Index(0))).is_none(), "it is younger than that");
    batcher.enqueue(put(1, "a", "v").salt);
    let batch = batcher.next(START, false).unwrap();
    assert_eq!(batch.items, [Item::Request(asked(AT))]);
    assert!(batcher.expire(&asked(AT)).is_some());
}

/// Slots that wait for the copies of a service leave room for the outcome that they need.
#[test]
fn where_the_window_is_crowded_an_outcome_is_proposed_alone_and_ahead_of_the_pipeline() {
    let mut batcher = batcher();
    enqueue(&mut batcher, 1);
    assert!(batcher.next(START, true).is_none());
    assert_eq!(next(&mut batcher), Some(1));
    enqueue(&mut batcher, 2);
    let outcome = || Outcome { slot: Slot(3), reports: Vec::new() };
    batcher.enqueue_outcome(outcome());
    let proposed = batcher.next(START, true).unwrap();
    assert_eq!(proposed.items, [Item::Outcome(outcome())]);
    batcher.take_back(proposed);
    batcher.decided(DECIDED);
    let together = batcher.next(START, false).unwrap();
    assert_eq!(together.items.len(), 2, "{:?}", together.items);
    assert_eq!(together.items[0], Item::Outcome(outcome()));
}
