//! Byzantine replicas, named by what they do: an engine that follows the protocol, with a deed
//! that does not laid around it. Deeds can be switched while it runs.
//!
//! | deed | what others see |
//! |---|---|
//! | [`Deed::Equivocate`] | one half of the committee hears the truth, the other its contradiction |
//! | [`Deed::Mute`] | nothing |
//! | [`Deed::Delay`] | everything, late |
//! | [`Deed::Corrupt`] | bytes changed on the way out: forged signatures, other slots |
//! | [`Deed::Withhold`] | nothing for the named replicas, the truth for all others |

use crate::{Effect, Input, Outbox, Protocol, To};
use quorate_types::{Committee, ReplicaId, Time, Wire};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// What a Byzantine replica does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Says different things to the lower and the upper half of the committee.
    Equivocate,
    /// Sends nothing.
    Mute,
    /// Sends everything this much later.
    Delay(Duration),
    /// Changes one byte in one of this many messages.
    Corrupt(u32),
    /// Sends nothing to these.
    Withhold(Arc<[ReplicaId]>),
}

/// An engine whose replica can say something else with its own signature.
pub trait Equivocates: Protocol {
    /// A validly signed message that contradicts this one, where there is such a thing.
    fn contradiction(&self, message: &Self::Message) -> Option<Self::Message>;
}

/// An engine with a deed around it, or none.
#[derive(Debug)]
pub struct Byzantine<P: Protocol> {
    engine: P,
    me: ReplicaId,
    committee: Committee,
    deed: Option<Deed>,
    held: VecDeque<(Time, To, P::Message)>,
    sent: u64,
}

/// The engine's timers, and one more.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Timer<T> {
    /// The engine's.
    Engine(T),
    /// When delayed messages are due.
    Release,
}

impl<P: Equivocates> Byzantine<P> {
    /// An engine that behaves until it is told otherwise.
    #[must_use]
    pub fn new(engine: P, me: ReplicaId, committee: Committee) -> Self {
        Self { engine, me, committee, deed: None, held: VecDeque::new(), sent: 0 }
    }

    /// Sets what it does from now on; `None` is to follow the protocol again.
    pub fn set(&mut self, deed: Option<Deed>) {
        self.deed = deed;
    }

    /// The engine inside.
    #[must_use]
    pub fn engine(&self) -> &P {
        &self.engine
    }

    fn receivers(&self, to: &To) -> Vec<ReplicaId> {
        let all: Vec<ReplicaId> = match to {
            To::All => self.committee.replicas().collect(),
            To::Group(group) => group.to_vec(),
            To::One(replica) => vec![*replica],
        };
        all.into_iter().filter(|replica| *replica != self.me).collect()
    }

    fn send(&mut self, now: Time, to: To, message: P::Message, out: &mut Outbox<Self>) {
        self.sent = self.sent.wrapping_add(1);
        match self.deed.clone() {
            None => out.send(to, message),
            Some(Deed::Mute) => {}
            Some(Deed::Delay(by)) => {
                if self.held.is_empty() {
                    out.push(Effect::Timer { timer: Timer::Release, after: Some(by) });
                }
                self.held.push_back((now.plus(by), to, message));
            }
            Some(Deed::Corrupt(one_of)) => {
                let turn = self.sent.checked_rem(u64::from(one_of)) == Some(0);
                let corrupt = turn.then(|| corrupted(&message, self.sent)).flatten();
                out.send(to, corrupt.unwrap_or(message));
            }
            Some(Deed::Withhold(from)) => {
                let group = self.receivers(&to);
                let group = group.into_iter().filter(|replica| !from.contains(replica));
                out.send(To::Group(group.collect()), message);
            }
            Some(Deed::Equivocate) => match self.engine.contradiction(&message) {
                None => out.send(to, message),
                Some(other) => {
                    let half = ReplicaId(u16::try_from(self.committee.n() / 2).unwrap_or(0));
                    let receivers = self.receivers(&to);
                    let (low, high): (Vec<_>, Vec<_>) =
                        receivers.into_iter().partition(|replica| *replica < half);
                    out.send(To::Group(low.into()), message);
                    out.send(To::Group(high.into()), other);
                }
            },
        }
    }

    fn release(&mut self, now: Time, out: &mut Outbox<Self>) {
        while let Some((at, to, message)) = self.held.pop_front() {
            if at > now {
                let after = Some(at.since(now));
                self.held.push_front((at, to, message));
                out.push(Effect::Timer { timer: Timer::Release, after });
                return;
            }
            out.send(to, message);
        }
    }

    fn lift(&mut self, now: Time, effect: Effect<P>, out: &mut Outbox<Self>) {
        let lifted = match effect {
            Effect::Send { to, message } => return self.send(now, to, message, out),
            Effect::Timer { timer, after } => Effect::Timer { timer: Timer::Engine(timer), after },
            Effect::Persist { slot, record } => Effect::Persist { slot, record },
            Effect::Note { slot, record } => Effect::Note { slot, record },
            Effect::Forget { below } => Effect::Forget { below },
            Effect::Judge { slot, view, digest, proposal, fresh } => {
                Effect::Judge { slot, view, digest, proposal, fresh }
            }
            Effect::Commit { slot, command, decided } => Effect::Commit { slot, command, decided },
            Effect::Enter { view, primary } => Effect::Enter { view, primary },
            Effect::Leave { to } => Effect::Leave { to },
            Effect::Room(room) => Effect::Room(room),
            Effect::Returned(command) => Effect::Returned(command),
            Effect::Behind { stable } => Effect::Behind { stable },
            Effect::Accuse(accusation) => Effect::Accuse(accusation),
        };
        out.push(lifted);
    }
}

/// The message with one byte changed, if that still decodes.
fn corrupted<M: Wire>(message: &M, salt: u64) -> Option<M> {
    let mut bytes = message.to_wire();
    let length = u64::try_from(bytes.len()).ok()?;
    let at = usize::try_from(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15).checked_rem(length)?).ok()?;
    let byte = bytes.get_mut(at)?;
    *byte ^= 1 << (salt % 8);
    M::from_wire(&bytes, bytes.len()).ok()
}

impl<P: Equivocates> Protocol for Byzantine<P> {
    type Command = P::Command;
    type Message = P::Message;
    type Record = P::Record;
    type Timer = Timer<P::Timer>;

    fn wants(&self, from: ReplicaId, message: &P::Message) -> bool {
        self.engine.wants(from, message)
    }

    fn handle(&mut self, now: Time, input: Input<Self>, out: &mut Outbox<Self>) {
        let input = match input {
            Input::Timer(Timer::Release) => return self.release(now, out),
            Input::Timer(Timer::Engine(timer)) => Input::Timer(timer),
            Input::Start { records, stable } => Input::Start { records, stable },
            Input::Message { signer, via, message } => Input::Message { signer, via, message },
            Input::Propose(command) => Input::Propose(command),
            Input::Verdict { slot, view, digest, verdict } => {
                Input::Verdict { slot, view, digest, verdict }
            }
            Input::Stable(stable) => Input::Stable(stable),
            Input::Installed(stable) => Input::Installed(stable),
            Input::Suspect => Input::Suspect,
            Input::Change { to } => Input::Change { to },
            Input::Fill { through } => Input::Fill { through },
        };
        let mut inner = Outbox::new();
        self.engine.handle(now, input, &mut inner);
        for effect in inner.drain() {
            self.lift(now, effect, out);
        }
    }
}
