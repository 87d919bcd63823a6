//! The thread that runs the replica.
//!
//! A round takes what waits (messages of every peer, requests, notices, timers that are due), asks
//! the replica which messages are worth their signatures, verifies those together, feeds everything
//! to the replica one by one, and passes what it wants done through the barrier. Nothing is polled:
//! between rounds the thread sleeps until something comes or a timer is due.

use crate::{
    barrier::{Barrier, Outlet, Step},
    inbox::{Arrived, Inbox, Notice, Round, Submit},
    outlet::Action,
    standing::Standing,
};
use quorate_crypto::{Domain, Inbound, Verifier, verify_batch};
use quorate_protocol::{Protocol, To};
use quorate_replica::{
    Effect, Input, Message, Recovered, Replica, Reply, Submission, Ticket, Timer,
};
use quorate_types::{Batch, Refusal, ReplicaId, Time, UnixMillis, Wire};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tracing::warn;

/// What stands between the replica and its links. A development cluster may be told to break it.
pub(crate) trait Edge<M>: Send {
    /// Pushes what is really sent in place of a message.
    fn leaving(&self, to: To, message: Message<M>, out: &mut Vec<(To, Message<M>)>);
}

/// What a driver is made of.
pub(crate) struct Parts<P: Protocol<Command = Batch>, O, E> {
    pub(crate) me: ReplicaId,
    pub(crate) replica: Replica<P>,
    pub(crate) inbox: Arc<Inbox<Message<P::Message>>>,
    pub(crate) barrier: Barrier<Action, O>,
    pub(crate) verifier: Verifier,
    pub(crate) domain: Domain,
    pub(crate) standing: Arc<Standing>,
    pub(crate) edge: E,
}

/// See the module.
pub(crate) struct Driver<P: Protocol<Command = Batch>, O, E> {
    parts: Parts<P, O, E>,
    started: Instant,
    timers: BTreeMap<Timer<P::Timer>, Time>,
    effects: Vec<Effect<P>>,
    steps: Vec<Step<Action>>,
    /// What follows all other effects of an input.
    last: Vec<Action>,
    leaving: Vec<(To, Message<P::Message>)>,
}

impl<P, O, E> Driver<P, O, E>
where
    P: Protocol<Command = Batch>,
    O: Outlet<Action>,
    E: Edge<P::Message>,
{
    /// A driver whose replica was not started yet.
    pub(crate) fn new(parts: Parts<P, O, E>) -> Self {
        Self {
            parts,
            started: Instant::now(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            steps: Vec::new(),
            last: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Starts the replica from what the disk held, and runs it until [`Notice::Stop`].
    pub(crate) fn run(mut self, recovered: Recovered<P::Record>) {
        self.feed(Input::Start(Box::new(recovered)));
        let mut round = Round::default();
        loop {
            self.parts.standing.update(self.parts.replica.sight());
            let deadline = self.timers.values().min().map(|due| self.instant(*due));
            self.parts.inbox.take(deadline, &mut round);
            self.fire_timers();
            for notice in round.notices.drain(..) {
                match notice {
                    Notice::Stop => return,
                    Notice::Link { peer, up } => self.feed(Input::Link { peer, up }),
                    Notice::Abandon(ticket) => self.feed(Input::Abandon(ticket)),
                    Notice::Answered { slot, answers } => {
                        self.feed(Input::Answered { slot, answers });
                    }
                }
            }
            self.deliver(round.messages.drain(..));
            self.submit(&mut round.submits);
        }
    }

    fn now(&self) -> Time {
        Time::default().plus(self.started.elapsed())
    }

    fn instant(&self, time: Time) -> Instant {
        self.started + Duration::from_nanos(time.0)
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        let due: Vec<_> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            // An earlier one may have disarmed it, or armed it anew.
            if self.timers.get(&timer).is_some_and(|at| *at <= now) {
                self.timers.remove(&timer);
                self.feed(Input::Timer(timer));
            }
        }
    }

    fn deliver(&mut self, arrived: impl Iterator<Item = Arrived<Message<P::Message>>>) {
        let mut shares = Vec::new();
        let mut inbound = Vec::new();
        for Arrived { from, message, share } in arrived {
            if self.parts.replica.wants(from, &message) {
                inbound.push(Inbound { via: from, message });
                // The bytes stay counted until the message was handled.
                shares.push(share);
            } else {
                self.parts.standing.figures.messages_unwanted.inc();
            }
        }
        if inbound.is_empty() {
            return;
        }
        self.parts.standing.figures.messages.inc_by(inbound.len() as u64);
        for verified in verify_batch(&self.parts.verifier, &self.parts.domain, inbound) {
            match verified {
                Ok(delivery) => self.feed(Input::Deliver(delivery)),
                Err(forged) => {
                    self.parts.standing.figures.messages_forged.inc();
                    let (via, signer, fault) = (forged.via, forged.signer, forged.fault);
                    warn!(%via, %signer, ?fault, code = "forged", "a message does not verify");
                }
            }
        }
    }

    /// Hands requests in, all at once, so that they can share a batch.
    fn submit(&mut self, submits: &mut Vec<Submit>) {
        if submits.is_empty() {
            return;
        }
        let via = self.parts.me;
        let (tickets, inbound): (Vec<Ticket>, Vec<_>) = submits
            .drain(..)
            .map(|Submit { ticket, request }| (ticket, Inbound { via, message: request }))
            .unzip();
        let verified = verify_batch(&self.parts.verifier, &self.parts.domain, inbound);
        let mut submissions = Vec::with_capacity(tickets.len());
        for (ticket, verified) in tickets.into_iter().zip(verified) {
            match verified {
                Ok(delivery) => submissions.push(Submission { ticket, request: delivery.message }),
                Err(_) => {
                    let detail = "the request's signature is wrong";
                    let reply = Reply::Refused(Refusal::new(401, "client-signature-wrong", detail));
                    self.steps.push(Step::Release(Action::Reply { ticket, reply }));
                }
            }
        }
        self.feed(Input::Submit(submissions));
    }

    /// Gives the replica one input, and has its effects carried out.
    fn feed(&mut self, input: Input<P>) {
        let (now, clock) = (self.now(), wall_clock());
        self.parts.replica.handle(now, clock, input, &mut self.effects);
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.carry_out(now, effect);
        }
        self.steps.extend(self.last.drain(..).map(Step::Release));
        self.effects = effects;
        self.parts.barrier.pass(&mut self.steps);
    }

    fn carry_out(&mut self, now: Time, effect: Effect<P>) {
        let standing = &self.parts.standing;
        let action = match effect {
            Effect::Persist { slot, record } => {
                self.steps.push(Step::Persist { slot, bytes: record.to_wire() });
                return;
            }
            Effect::Note { slot, record } => {
                self.steps.push(Step::Note { slot, bytes: record.to_wire() });
                return;
            }
            Effect::Forget { below } => {
                self.steps.push(Step::Forget { below });
                return;
            }
            Effect::Rejoined => {
                self.steps.push(Step::Rejoined);
                return;
            }
            Effect::Send { to, message } => {
                self.parts.edge.leaving(to, message, &mut self.leaving);
                for (to, message) in self.leaving.drain(..) {
                    let bytes = message.to_wire().into();
                    self.steps.push(Step::Release(Action::Send { to, bytes }));
                }
                return;
            }
            Effect::Timer { timer, after } => {
                match after {
                    Some(after) => self.timers.insert(timer, now.plus(after)),
                    None => self.timers.remove(&timer),
                };
                return;
            }
            Effect::View { view, primary } => {
                standing.moved(view, primary);
                return;
            }
            Effect::Accuse(accusation) => {
                standing.accused(&accusation);
                return;
            }
            Effect::Ready(ready) => {
                standing.set_ready(ready);
                return;
            }
            Effect::Append { from, items } => {
                standing.executed(from, items.len() as u64, self.instant(now));
                Action::Append { from, items }
            }
            Effect::Truncate { size } => Action::Truncate { size },
            Effect::Certify(certificate) => {
                standing.certified(&certificate);
                Action::Certify(certificate)
            }
            Effect::Snapshot(snapshot) => Action::Snapshot(snapshot),
            Effect::SendPage { to, from, size } => Action::SendPage { to, from, size },
            Effect::Call { slot, calls } => Action::Call { slot, calls },
            Effect::Agreed { slot, kept_up } => {
                let kept_up = kept_up.into_iter().all(|kept_up| kept_up);
                // The host looks at what the log says, which a later effect of this input appends.
                self.last.push(Action::Agreed { slot, kept_up });
                return;
            }
            Effect::Heard { slot, replica, heard } => {
                standing.heard(slot, replica, heard);
                return;
            }
            Effect::Reply { ticket, reply } => Action::Reply { ticket, reply },
            Effect::Halt(reason) => Action::Halt(reason),
        };
        self.steps.push(Step::Release(action));
    }
}

/// What the wall clock says.
pub(crate) fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
