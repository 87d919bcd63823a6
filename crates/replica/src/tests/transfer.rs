use super::*;
use crate::{
    Effect, Input, Message, Replica, Timer,
    message::{Manifest, Progress, StateMap, Sync},
    signatures::{Opened, Signatures, open},
    snapshot::Snapshot,
    sync::{PageFault, Piece, Step, Syncer, by_slot, check_page, page},
};
use quorate_crypto::{Inbound, verify_batch};
use quorate_proof::{cosignature_message, head_text};
use quorate_protocol::{To, pbft::Pbft};
use quorate_types::{Cosignature, Head, Index, Response, Slot, StableCertificate, Time};

/// Inclusion paths computed the slow way, over a whole log.
fn path(log: &[LogItem], index: u64, size: u64) -> Vec<Digest> {
    let leaves: Vec<_> = log[..usize::try_from(size).unwrap()]
        .iter()
        .map(|item| leaf_hash(item.entry.as_bytes()))
        .collect();
    Frontier::new().append(&leaves)[usize::try_from(index).unwrap()].clone()
}

fn head(log: &[LogItem]) -> Head {
    let frontier = frontier(log);
    Head { size: frontier.size(), root: frontier.root() }
}

fn frontier(log: &[LogItem]) -> Frontier {
    let mut frontier = Frontier::new();
    log.iter().for_each(|item| frontier.push(leaf_hash(item.entry.as_bytes())));
    frontier
}

fn page_of(log: &[LogItem], from: u64, to: u64) -> crate::message::Page {
    let item = |index: Index| log.get(usize::try_from(index.0).unwrap()).cloned();
    let mut page = page(Index(from), log.len() as u64, item, |_, _| Some(Vec::new())).unwrap();
    page.items.truncate(usize::try_from(to - from).unwrap());
    page.path = path(log, to - 1, log.len() as u64);
    page
}

#[test]
fn rule_12_every_run_of_a_log_proves_itself_to_whoever_holds_what_is_before_it() {
    let (log, _, _) = written(8);
    for from in 1..log.len() as u64 {
        for to in from + 1..=log.len() as u64 {
            let own = frontier(&log[..usize::try_from(from).unwrap()]);
            let page = page_of(&log, from, to);
            assert_eq!(check_page(&own, &page, &head(&log)), Ok(()), "{from} to {to}");
        }
    }
}

#[test]
fn rule_12_a_page_with_anything_changed_missing_or_moved_is_refused() {
    let (log, _, _) = written(6);
    let own = frontier(&log[..3]);
    let good = page_of(&log, 3, 9);
    let refuse = |page: &crate::message::Page, why: &str| {
        assert_eq!(check_page(&own, page, &head(&log)), Err(PageFault::NotInLog), "{why}");
    };
    for place in 0..good.items.len() {
        let mut page = good.clone();
        page.items[place].entry.push(' ');
        refuse(&page, "a changed item");
        let mut page = good.clone();
        page.items.remove(place);
        refuse(&page, "a missing item");
    }
    let mut page = good.clone();
    page.items.swap(0, 1);
    refuse(&page, "swapped items");
    for place in 0..good.path.len() {
        let mut page = good.clone();
        page.path[place] = digest(1);
        refuse(&page, "a changed hash");
    }
    refuse(&crate::message::Page { items: Vec::new(), ..good.clone() }, "no items");
    refuse(&crate::message::Page { from: Index(2), ..good.clone() }, "another place");
    refuse(&crate::message::Page { size: 4, ..good }, "another size");
}

#[test]
fn a_receiver_whose_own_log_is_wrong_learns_so_from_a_page_of_one() {
    let (log, _, _) = written(6);
    let mut wrong = log[..4].to_vec();
    wrong[2].entry.push(' ');
    let page = page_of(&log, 4, 5);
    assert_eq!(check_page(&frontier(&wrong), &page, &head(&log)), Err(PageFault::OwnLogWrong));
}

#[test]
fn a_page_is_bounded_and_ends_with_the_log() {
    let (log, _, _) = written(3);
    let item = |index: Index| log.get(usize::try_from(index.0).unwrap()).cloned();
    let all = page(Index(1), log.len() as u64, item, |_, _| Some(Vec::new())).unwrap();
    assert_eq!(all.items.len(), log.len() - 1);
    assert!(page(Index(1), 1_000, item, |_, _| Some(Vec::new())).is_none());
    assert!(page(Index(7), 7, item, |_, _| Some(Vec::new())).is_none());
    let long = |index: Index| item(Index(index.0 % 7));
    let bounded = page(Index(0), 1_000_000, long, |_, _| Some(Vec::new())).unwrap();
    assert_eq!(bounded.items.len(), crate::sync::PAGE_ITEMS_MAX);
}

#[test]
fn entries_of_one_slot_stand_together() {
    let (log, _, _) = written(3);
    let sizes: Vec<_> = by_slot(log).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2, 2, 2]);
}

/// The certificate of a recorded slot, by three of four replicas.
pub(super) fn certified(recorded: &Recorded) -> Arc<StableCertificate> {
    let text = head_text(policy().origin_text(), recorded.head());
    let message = cosignature_message(&text, recorded.record.time.seconds());
    let sign = |replica| {
        let signature = cosigner(replica).cosign(&message);
        Cosignature { replica: ReplicaId(replica), signature }
    };
    Arc::new(recorded.certificate((1..4).map(sign).collect()).unwrap())
}

/// The engine may commit until a snapshot is on offer: what is stored then must continue the log as
/// it is by now, not as it was when the transfer began.
#[test]
fn what_is_stored_continues_the_log_as_it_is_when_the_snapshot_is_offered() {
    let (log, last, _) = written(8);
    let certificate = certified(&last);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 4);
    assert!(syncer.begin(certificate.clone(), &frontier(&log[..3])));
    assert!(!syncer.begin(certificate.clone(), &frontier(&log[..3])), "it runs already");
    let (peer, question) = syncer.question().unwrap();
    assert_eq!(question, Sync::AskManifest);
    let grown = frontier(&log[..7]);
    let step = syncer.manifest(peer, Manifest { certificate }, &verifier(), &grown);
    assert!(matches!(step, Step::Ask));
    let size = log.len() as u64;
    assert_eq!(syncer.question(), Some((peer, Sync::AskPage { from: Index(7), size })));
    assert!(syncer.replaces_state(), "from now on nothing is committed");
}

/// Who sends the end of a slot answers for all of it.
#[test]
fn rule_12_whoever_takes_over_in_a_transfer_begins_with_a_whole_slot() {
    let (log, last, _) = written(8);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 100);
    assert!(syncer.begin(certified(&last), &frontier(&log[..3])));
    let (first, _) = syncer.question().unwrap();
    let Step::Repeat(_, slots) = syncer.page(first, page_of(&log, 3, 6)) else { panic!() };
    assert_eq!(slots.concat(), log[3..5], "one slot is whole");
    let size = log.len() as u64;
    assert_eq!(syncer.question(), Some((first, Sync::AskPage { from: Index(6), size })));
    syncer.retry();
    let (second, question) = syncer.question().unwrap();
    assert_ne!(first, second);
    assert_eq!(question, Sync::AskPage { from: Index(5), size });
    let Step::Repeat(of, slots) = syncer.page(second, page_of(&log, 5, size)) else { panic!() };
    assert_eq!((of, slots.concat()), (second, log[5..].to_vec()));
    assert!(syncer.is_fetched());
}

/// The pieces of the replay table are proven by what the last stored slot was opened with.
#[test]
fn a_state_is_put_together_from_stored_slots_and_from_pieces() {
    let (log, last, written) = written(8);
    let certificate = certified(&last);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 4);
    assert!(syncer.begin(certificate.clone(), &frontier(&log[..1])));
    let (peer, _) = syncer.question().unwrap();
    syncer.manifest(peer, Manifest { certificate }, &verifier(), &frontier(&log[..1]));
    let all = page_of(&log, 1, log.len() as u64);
    let Step::Store(_, slots) = syncer.page(peer, all) else { panic!() };
    let mut known = None;
    for slot in &slots {
        let before = known.map_or(Signatures::NONE, |known: Opened| known.signatures);
        known = open(slot, before);
    }
    syncer.stored(known.unwrap());
    let installed = loop {
        let Some((_, Sync::AskState { slot, map, from })) = syncer.question() else { panic!() };
        let state = if map == StateMap::Service { written.state() } else { written.replay().map() };
        let page = state.page(from, 1 << 20).unwrap();
        match syncer.state(peer, Piece { slot, map, from, page }) {
            Step::Ask => {}
            Step::Install(snapshot) => break snapshot,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(installed.signatures, written.signatures());
    let Snapshot { certificate, service, replay, signatures, .. } = *installed;
    let (rules, record) = (Rules::from(&config()), certificate.record);
    let restored = Execution::restore(Box::new(Kv), rules, record, service, replay, signatures);
    assert_eq!(restored.unwrap().record(), written.record());
}

/// Nobody stores what is not proven: of f + 1 peers one sends what was executed.
#[test]
fn rule_12_a_replica_that_cannot_execute_what_f_plus_one_peers_send_is_itself_at_fault() {
    let (log, last, _) = written(8);
    let own = frontier(&log[..3]);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 100);
    assert!(syncer.begin(certified(&last), &own));
    assert!(!syncer.blame(ReplicaId(1)), "one may be a liar");
    syncer.rewind(&own);
    assert!(!syncer.blame(ReplicaId(1)), "he is still one");
    assert!(syncer.blame(ReplicaId(2)));
}

/// The engine may come to a transfer's target by itself: then a liar's page, or an old snapshot on
/// offer, must not leave a session behind that asks for what nobody has.
#[test]
fn a_transfer_whose_target_was_reached_without_it_ends() {
    let (log, last, _) = written(8);
    let certificate = certified(&last);
    let grown = frontier(&log);
    let mut repeating = Syncer::new(ReplicaId(0), committee(), 100);
    repeating.begin(certificate.clone(), &frontier(&log[..3]));
    assert!(matches!(repeating.question(), Some((_, Sync::AskPage { .. }))));
    repeating.rewind(&grown);
    assert!(!repeating.is_running(), "{:?}", repeating.question());
    let mut waiting = Syncer::new(ReplicaId(0), committee(), 4);
    waiting.begin(certificate.clone(), &frontier(&log[..3]));
    let (peer, question) = waiting.question().unwrap();
    assert_eq!(question, Sync::AskManifest);
    waiting.manifest(peer, Manifest { certificate }, &verifier(), &grown);
    assert!(!waiting.is_running(), "{:?}", waiting.question());
}

/// A peer that was stopped for a while answers what this replica asked before its last restart.
#[test]
fn the_answer_to_an_earlier_question_is_no_lie() {
    let (log, last, _) = written(8);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 100);
    assert!(syncer.begin(certified(&last), &frontier(&log[..3])));
    let (peer, question) = syncer.question().unwrap();
    assert!(matches!(syncer.page(peer, page_of(&log[..13], 3, 13)), Step::Idle));
    assert_eq!(syncer.question(), Some((peer, question)), "it is waited for");
    let page = page_of(&log, 3, log.len() as u64);
    assert!(matches!(syncer.page(peer, page), Step::Repeat(..)));
}

#[test]
fn a_peer_without_a_snapshot_is_passed_over_at_once() {
    let (log, last, _) = written(8);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 4);
    assert!(syncer.begin(certified(&last), &frontier(&log[..3])));
    for _ in 0..4 {
        let (peer, question) = syncer.question().unwrap();
        assert_eq!(question, Sync::AskManifest);
        let other = (1..4).map(ReplicaId).find(|it| *it != peer).unwrap();
        assert!(matches!(syncer.no_snapshot(other), Step::Idle), "it was not asked");
        assert!(matches!(syncer.no_snapshot(peer), Step::Ask));
    }
    let (_, question) = syncer.question().unwrap();
    assert!(matches!(question, Sync::AskPage { .. }), "the log leads to the same state");
}

/// All may have lost the target with their power.
#[test]
fn a_target_that_nobody_holds_is_given_up_after_one_round() {
    let (log, last, _) = written(8);
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 100);
    assert!(syncer.begin(certified(&last), &frontier(&log[..3])));
    for _ in 0..4 {
        assert!(!syncer.is_hopeless());
        syncer.retry();
    }
    assert!(syncer.is_hopeless());
}

/// Who offered a snapshot may have lost it, and all others offer less than was stored on its word.
#[test]
fn a_transfer_that_nobody_leads_on_is_given_up_whatever_they_offer() {
    let (log, last, _) = written(8);
    let (_, older, _) = written(4);
    let (newer, older) = (certified(&last), certified(&older));
    let mut syncer = Syncer::new(ReplicaId(0), committee(), 4);
    let own = frontier(&log[..1]);
    assert!(syncer.begin(newer.clone(), &own));
    let (peer, _) = syncer.question().unwrap();
    syncer.manifest(peer, Manifest { certificate: newer }, &verifier(), &own);
    let Step::Store(_, slots) = syncer.page(peer, page_of(&log, 1, 13)) else { panic!() };
    let known = slots.iter().fold(None, |known: Option<Opened>, slot| {
        open(slot, known.map_or(Signatures::NONE, |known| known.signatures))
    });
    syncer.stored(known.unwrap());
    // The rest comes from nobody: then another snapshot is looked for, and none is new enough.
    (0..4).for_each(|_| syncer.retry());
    for _ in 0..4 {
        assert!(!syncer.is_hopeless());
        let (peer, question) = syncer.question().unwrap();
        assert_eq!(question, Sync::AskManifest);
        syncer.manifest(peer, Manifest { certificate: older.clone() }, &verifier(), &own);
    }
    assert!(syncer.is_hopeless());
}

#[test]
fn an_exchange_with_anything_that_its_entry_does_not_cover_is_refused() {
    let rules = Rules::from(&config());
    let (log, _, _) = written(2);
    let good = log.last().unwrap();
    assert!(rules.exchange_holds(good));
    let refuse = |change: fn(&mut Request, &mut Response), why: &str| {
        let mut item = good.clone();
        let exchange = item.exchange.as_mut().unwrap();
        change(Arc::make_mut(&mut exchange.request), &mut exchange.response);
        assert!(!rules.exchange_holds(&item), "{why}");
    };
    fn field() -> (String, String) {
        ("x-uncovered".to_owned(), "1".to_owned())
    }
    assert_eq!(good.exchange.as_ref().unwrap().response.status, 204);
    refuse(|_, response| response.body = Bytes::from_static(b"x"), "content of a 204");
    refuse(|_, response| response.fields.push(field()), "a response field");
    refuse(|request, _| request.fields.push(field()), "a request field");
    refuse(|request, _| request.salt = Salt([9; 16]), "another salt");
}

/// What a crash leaves of a long transfer is executed, and is not all cosigned once more.
#[test]
fn rule_12_a_restart_on_stored_slots_executes_them_and_keeps_no_more_than_it_may() {
    let (log, _, _) = written(100);
    let replica = demanding::started_on(&log);
    assert_eq!(replica.sight().executed, Slot(99), "the last one might be torn");
    assert!(replica.held().iter().all(|held| !held.is_over()), "{:?}", replica.held());
}

type Engine = Pbft<Batch>;

/// What a replica asks of peers when it takes this.
fn asked(replica: &mut Replica<Engine>, input: Input<Engine>) -> Vec<(To, Sync)> {
    let mut effects = Vec::new();
    replica.handle(Time(1 << 40), GENESIS, input, &mut effects);
    let asked = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { to, message: Message::Sync(question) } => Some((to, question)),
        _ => None,
    });
    asked.collect()
}

fn from_peer(
    peer: u16,
    message: Message<<Engine as quorate_protocol::Protocol>::Message>,
) -> Input<Engine> {
    let inbound = vec![Inbound { via: ReplicaId(peer), message }];
    let delivery = verify_batch(&verifier(), &config().domain, inbound).pop().unwrap();
    Input::Deliver(delivery.unwrap())
}

/// After a loss of all power perhaps nobody holds the state that a transfer is for. The engine goes
/// on from less, as soon as it knows that this is certified.
#[test]
fn a_certificate_of_what_is_held_is_asked_for_while_a_transfer_runs() {
    let (log, last, _) = written(8);
    let mut replica = demanding::started_on(&log[..9]);
    assert_eq!(replica.sight().executed, Slot(3));
    let tick = || Input::Timer(Timer::Progress);
    let progress = |stable| Message::Progress(Progress { executed: stable, stable });
    asked(&mut replica, tick());
    asked(&mut replica, tick());
    let far = Message::Sync(Sync::Certificate(certified(&last)));
    assert_ne!(asked(&mut replica, from_peer(2, far)), [], "a transfer begins");
    asked(&mut replica, from_peer(2, progress(Slot(8))));
    assert_eq!(asked(&mut replica, tick()), [], "that one is under way");
    asked(&mut replica, from_peer(3, progress(Slot(3))));
    let wanted = (To::One(ReplicaId(3)), Sync::AskCertificate);
    assert_eq!(asked(&mut replica, tick()), [wanted]);
}
