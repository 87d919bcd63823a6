//! What a replica does with requests while the primary owes it their order.

use super::*;
use crate::{Effect, Input, Message, Recovered, Replica, Submission, Ticket, Timer};
use quorate_crypto::{Inbound, VoteSigner, verify_batch};
use quorate_protocol::{
    To,
    pbft::{Pbft, PbftConfig},
};
use quorate_types::{Slot, Time};
use std::time::Duration;

type Engine = Pbft<Batch>;
type Effects = Vec<Effect<Engine>>;

/// Replica 1 of a cluster whose primary is replica 0, after its start.
fn started() -> Replica<Engine> {
    let replica = started_on(&[]);
    assert_eq!(replica.sight().primary, Some(ReplicaId(0)));
    replica
}

/// The same, after a start on a log that no certificate is stored for.
pub(super) fn started_on(log: &[LogItem]) -> Replica<Engine> {
    let config = Config { me: ReplicaId(1), ..config() };
    let signer = VoteSigner::Mac { keyring: keyring(), replica: config.me };
    let engine = PbftConfig::new(config.me, config.committee, config.domain.clone());
    let engine = Pbft::new(engine, signer.clone());
    let (service, cosigner) = (Box::new(Kv), cosigner(1));
    let mut replica = Replica::new(config, engine, service, signer, cosigner, verifier());
    let recovered = Recovered {
        records: Vec::new(),
        lost: false,
        log_size: log.len() as u64,
        snapshot: None,
        items: log.iter().skip(1).cloned().collect(),
        certificate: None,
        nonce: digest(1),
    };
    let mut effects = Effects::new();
    replica.handle(Time(1), GENESIS, Input::Start(Box::new(recovered)), &mut effects);
    replica
}

fn submit(replica: &mut Replica<Engine>, number: u8) -> Vec<To> {
    let request = Arc::new(put(number, "a", "v"));
    let inbound = vec![Inbound { via: ReplicaId(1), message: request }];
    let verified = verify_batch(&verifier(), &config().domain, inbound).pop().unwrap().unwrap();
    let ticket = Ticket(number.into());
    let submission = Submission { ticket, request: verified.message };
    let mut effects = Effects::new();
    replica.handle(Time(1 << 40), GENESIS, Input::Submit(vec![submission]), &mut effects);
    forwards(&effects)
}

fn forwards(effects: &Effects) -> Vec<To> {
    let to = |effect: &Effect<Engine>| match effect {
        Effect::Send { to, message: Message::Forward(_) } => Some(to.clone()),
        _ => None,
    };
    effects.iter().filter_map(to).collect()
}

fn link(replica: &mut Replica<Engine>, peer: u16, up: bool) -> Vec<To> {
    let mut effects = Effects::new();
    let input = Input::Link { peer: ReplicaId(peer), up };
    replica.handle(Time(1 << 40), GENESIS, input, &mut effects);
    forwards(&effects)
}

#[test]
fn a_request_goes_to_the_primary_alone_while_it_can_be_reached() {
    let mut replica = started();
    assert_eq!(link(&mut replica, 2, false), []);
    assert_eq!(submit(&mut replica, 1), [To::One(ReplicaId(0))]);
}

#[test]
fn a_request_goes_to_all_at_once_where_the_primary_is_known_to_be_unreachable() {
    let mut replica = started();
    assert_eq!(link(&mut replica, 0, false), []);
    assert_eq!(submit(&mut replica, 1), [To::All]);
    assert_eq!(submit(&mut replica, 2), [To::All], "each once");
    assert_eq!(link(&mut replica, 0, true), []);
    assert_eq!(submit(&mut replica, 3), [To::One(ReplicaId(0))]);
}

#[test]
fn what_waits_goes_to_all_when_the_link_to_the_primary_breaks() {
    let mut replica = started();
    submit(&mut replica, 1);
    assert_eq!(link(&mut replica, 0, false), [To::All]);
}

/// What a replica says when its patience is asked for, in milliseconds after it entered the view.
fn impatient(replica: &mut Replica<Engine>, ms: u64) -> bool {
    let mut effects = Effects::new();
    let now = Time(1).plus(Duration::from_millis(ms));
    replica.handle(now, GENESIS, Input::Timer(Timer::Patience), &mut effects);
    let engine = |effect: &Effect<Engine>| {
        matches!(effect, Effect::Send { to: To::All, message: Message::Engine(_) })
    };
    effects.iter().any(engine)
}

#[test]
fn rule_28a_a_primary_that_orders_no_no_ops_for_who_rejoins_is_suspected() {
    let patience = u64::try_from(config().limits.patience.as_millis()).unwrap();
    let mut replica = started();
    assert!(!impatient(&mut replica, 2 * patience), "it owes nothing");
    replica.fill = Slot(3);
    assert!(!impatient(&mut replica, 3 * patience), "it has just begun to owe them");
    replica.decided.insert(Slot(1), None);
    assert!(!impatient(&mut replica, 4 * patience), "it goes on: slot 2 comes next");
    assert!(!impatient(&mut replica, 5 * patience - 1));
    assert!(impatient(&mut replica, 5 * patience));
}
