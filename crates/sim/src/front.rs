//! Between clients and gateways: who asks whom, and what an answer is worth.

use crate::{
    answer,
    client::{Client, Manner, Returned},
    machine::Input,
    seat::Seat,
    violation::Check,
    world::{Event, World},
};
use quorate_proof::ReceivedResponse;
use quorate_replica::{Reply, Ticket};
use quorate_types::{ReplicaId, Response};
use std::time::Duration;

/// How long a client waits before it asks another gateway.
pub(crate) const RETRY: Duration = Duration::from_millis(1_500);

/// How soon it learns that a gateway is down.
const REFUSED: Duration = Duration::from_millis(50);

/// What a gateway gave in place of its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lie {
    /// One that it made up.
    Forged,
    /// One that it gave before.
    Replayed,
}

impl World {
    /// A client makes its next request.
    pub(crate) fn call(&mut self, number: usize) {
        self.clients[number].current = None;
        let Some((operation, trick)) = self.clients[number].next(self.now) else { return };
        if let Some(trick) = trick {
            self.outcome.inject(trick.name());
        }
        self.canon.asked(&operation);
        self.history.push(operation);
        let operation = self.history.len() - 1;
        self.clients[number].current = Some(operation);
        self.send(number, operation);
    }

    /// Nothing came in time: elsewhere, or never mind.
    pub(crate) fn retry(&mut self, number: usize, operation: usize) {
        if self.history[operation].returned.is_some() {
            return;
        }
        if self.history[operation].manner == Manner::Once {
            self.outcome.inject("client-leaves");
            return self.call(number);
        }
        self.send(number, operation);
    }

    /// A client tells a gateway that it waits no longer.
    pub(crate) fn abandon(&mut self, at: Seat, ticket: Ticket) {
        if self.tickets.remove(&ticket).is_none() {
            return;
        }
        self.give(at, Input::Abandon { ticket });
    }

    /// Asks a gateway.
    fn send(&mut self, number: usize, operation: usize) {
        self.attempts += 1;
        let ticket = Ticket(self.attempts);
        let asked = self.clients[number].gateway(self.plan.n);
        let seats: Vec<Seat> = self.seating.of(asked).collect();
        let gateway = self.rng.pick(&seats).copied().unwrap_or_default();
        let (salt, again) = self.clients[number].salt();
        if again {
            self.outcome.inject("salt-reused");
        }
        let mut request = self.history[operation].request.clone();
        request.salt = salt;
        self.tickets.insert(ticket, (operation, gateway));
        let is_up = self.machines[gateway.position()].process.is_some();
        let patience = if is_up { RETRY } else { REFUSED };
        self.schedule(self.now.plus(patience), Event::Retry { client: number, operation });
        if self.history[operation].manner == Manner::Restless {
            let after = Duration::from_millis(self.rng.range(1, 1_400));
            self.schedule(self.now.plus(after), Event::Abandon { at: gateway, ticket });
        }
        if !is_up {
            self.note_asked(operation, gateway, false);
        }
        let request = Box::new(request);
        self.give(gateway, Input::Submit { ticket, request, operation });
    }

    /// An answer arrives: the client checks it, and believes it or waits on.
    pub(crate) fn reply(&mut self, at: Seat, ticket: Ticket, reply: Reply) {
        let Some((operation, gateway)) = self.tickets.get(&ticket).copied() else { return };
        if gateway != at {
            return;
        }
        let (machine, who) = (&self.machines[at.position()], self.who(at));
        let lies = !self.is_sound(at);
        let Some(process) = &machine.process else { return };
        let written = match &reply {
            Reply::Certified(certified) => Ok(answer::certified(&self.cluster, who, certified)),
            Reply::Earlier(index) => answer::earlier(&self.cluster, who, process, *index),
            Reply::Refused(refusal) => {
                self.note_answered(
                    operation,
                    at,
                    || format!("refused, {}: {}", refusal.code, refusal.detail),
                    false,
                );
                return self.outcome.check("refusals");
            }
        };
        let mut received = match written {
            Ok(received) => received,
            Err(_) if lies => return,
            // It cannot be read, or the certificate was put off for want of room.
            Err(_) if self.disk_failed(at) => return self.outcome.check("answers-unread"),
            Err(reason) => {
                let reason = format!("{who} cannot prove its answer: {reason}");
                return self.fail(Check::Proofs.broken(reason));
            }
        };
        let lie = self.tamper(at, operation, &mut received);
        let request = &self.history[operation].request;
        let checked = answer::check(&self.cluster, &self.verifier, request, &received);
        let believed = matches!(&checked, Ok(verdict) if lie.is_none() && verdict.fresh);
        let words = || match &checked {
            Ok(verdict) => format!("{}, entry {}", received.status, verdict.facts.index),
            Err(error) => error.to_string(),
        };
        self.note_answered(operation, at, words, believed);
        match checked {
            Ok(verdict) if lie == Some(Lie::Forged) || (lie.is_some() && verdict.fresh) => {
                let reason = format!("an answer of {who} verifies, though it is {lie:?}");
                self.fail(Check::Proofs.broken(reason));
            }
            // It may be the answer to an older request like this one: it is not taken (P1).
            Ok(_) if lie.is_some() => self.outcome.check("replayed-answers-not-fresh"),
            Ok(verdict) if !verdict.fresh => self.outcome.check("verified-not-fresh"),
            Ok(verdict) => {
                self.outcome.check("answers-verified");
                let fields = received.fields.into_iter();
                let covered = fields
                    .filter(|(name, _)| quorate_proof::RESPONSE_FIELDS.contains(&name.as_str()));
                let (status, fields) = (received.status, covered.collect());
                let response = Response { status, fields, body: received.body };
                let (index, salt) = (verdict.facts.index, verdict.facts.salt);
                self.returned(operation, Returned { at: self.now, index, salt, response });
            }
            Err(_) if lie == Some(Lie::Forged) => self.outcome.check("forged-answers-refused"),
            Err(_) if lie.is_some() => self.outcome.check("replayed-answers-refused"),
            Err(_) if lies => {}
            Err(error) => {
                let reason = format!("an answer of {who} does not verify: {error}");
                self.fail(Check::Proofs.broken(reason));
            }
        }
    }

    /// What a lying gateway puts in place of an answer.
    fn tamper(
        &mut self,
        at: Seat,
        operation: usize,
        received: &mut ReceivedResponse,
    ) -> Option<Lie> {
        let content = self.rng.permille(500);
        let adversary = self.machines[at.position()].adversary.as_mut()?;
        if adversary.forges_answer() {
            answer::forge(received, content);
            return Some(Lie::Forged);
        }
        let request = &self.history[operation].request;
        let old = adversary.replays_answer(request, received)?;
        // A new answer and an old one may be the same.
        let lie = (old != *received).then_some(Lie::Replayed);
        *received = old;
        lie
    }

    /// The client believes an answer, and goes on after a while.
    fn returned(&mut self, operation: usize, answer: Returned) {
        let number = self.history[operation].client;
        if self.history[operation].returned.is_some() {
            return;
        }
        self.history[operation].returned = Some(answer);
        if self.clients[number].current == Some(operation) {
            let pause = Duration::from_micros(self.rng.range(1, 200_000));
            self.schedule(self.now.plus(pause), Event::Call { client: number });
        }
    }

    /// Asks each gateway that must be of use for one more write, once.
    pub(crate) fn probe(&mut self) {
        if self.probing {
            return;
        }
        self.probing = true;
        let gateways: Vec<ReplicaId> =
            self.cluster.committee.replicas().filter(|&at| self.must_serve(at)).collect();
        for gateway in gateways {
            let number = self.clients.len();
            let (cluster, rng) = (self.cluster.clone(), self.rng.fork());
            self.clients.push(Client::probe(number, gateway, cluster, rng));
            self.outcome.check("probes");
            self.call(number);
        }
    }
}
