//! Two engines of one kind inside one: the smallest combinator, to show that an engine composes.

use crate::{Effect, Input, Outbox, Protocol, To, Verdict};
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Claim, Claims, Domain};
use quorate_types::{ReplicaId, Time};

/// Which of the two, and what.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Lane<T> {
    /// The second one.
    pub second: bool,
    /// Its own.
    pub of: T,
}

impl<T: Claims> Claims for Lane<T> {
    fn signer(&self) -> Option<ReplicaId> {
        self.of.signer()
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        self.of.claims(domain, out);
    }
}

/// Two engines; what each says and is told carries its lane. Slots are not merged: a parent that
/// orders would hold `Commit` back, here `Commit` and `Judge` of the second lane are kept apart.
#[derive(Debug)]
pub struct Nest<P: Protocol> {
    lanes: [P; 2],
    /// What the second lane committed, in order.
    pub second_log: Vec<P::Command>,
}

impl<P: Protocol> Nest<P> {
    /// Two engines that differ in what they sign.
    #[must_use]
    pub fn new(first: P, second: P) -> Self {
        Self { lanes: [first, second], second_log: Vec::new() }
    }

    fn run(&mut self, now: Time, second: bool, input: Input<P>, out: &mut Outbox<Self>) {
        let mut inner = Outbox::new();
        self.lanes[usize::from(second)].handle(now, input, &mut inner);
        let effects: Vec<_> = inner.drain().collect();
        for effect in effects {
            self.lift(now, second, effect, out);
        }
    }

    fn lift(&mut self, now: Time, second: bool, effect: Effect<P>, out: &mut Outbox<Self>) {
        let lifted = match effect {
            // The second lane is judged by the nest itself, at once.
            Effect::Judge { slot, view, digest, .. } if second => {
                let input = Input::Verdict { slot, view, digest, verdict: Verdict::Accepted };
                return self.run(now, second, input, out);
            }
            Effect::Commit { command, .. } if second => {
                self.second_log.extend(command.map(|command| P::Command::clone(&command)));
                return;
            }
            Effect::Enter { .. } | Effect::Leave { .. } | Effect::Room(_) if second => return,
            Effect::Forget { .. } | Effect::Behind { .. } if second => return,
            Effect::Returned(of) => Effect::Returned(Lane { second, of }),
            Effect::Send { to, message: of } => {
                Effect::Send { to: To::clone(&to), message: Lane { second, of } }
            }
            Effect::Persist { slot, record: of } => {
                Effect::Persist { slot, record: Lane { second, of } }
            }
            Effect::Note { slot, record: of } => Effect::Note { slot, record: Lane { second, of } },
            Effect::Timer { timer: of, after } => {
                Effect::Timer { timer: Lane { second, of }, after }
            }
            Effect::Judge { slot, view, digest, proposal, fresh } => {
                let proposal =
                    proposal.map(|it| Lane { second, of: P::Command::clone(&it) }.into());
                Effect::Judge { slot, view, digest, proposal, fresh }
            }
            Effect::Commit { slot, command, decided: of } => {
                let command = command.map(|it| Lane { second, of: P::Command::clone(&it) }.into());
                Effect::Commit { slot, command, decided: Lane { second, of } }
            }
            Effect::Forget { below } => Effect::Forget { below },
            Effect::Enter { view, primary } => Effect::Enter { view, primary },
            Effect::Leave { to } => Effect::Leave { to },
            Effect::Room(room) => Effect::Room(room),
            Effect::Behind { stable } => Effect::Behind { stable },
            Effect::Accuse(accusation) => Effect::Accuse(accusation),
        };
        out.push(lifted);
    }
}

impl<P: Protocol> Protocol for Nest<P> {
    type Command = Lane<P::Command>;
    type Message = Lane<P::Message>;
    type Record = Lane<P::Record>;
    type Timer = Lane<P::Timer>;

    fn wants(&self, from: ReplicaId, message: &Self::Message) -> bool {
        self.lanes[usize::from(message.second)].wants(from, &message.of)
    }

    fn handle(&mut self, now: Time, input: Input<Self>, out: &mut Outbox<Self>) {
        match input {
            Input::Start { records, stable } => {
                for second in [false, true] {
                    let own = records.iter().filter(|record| record.second == second);
                    let records = own.map(|record| record.of.clone()).collect();
                    let stable = stable.clone();
                    self.run(now, second, Input::Start { records, stable }, out);
                }
            }
            Input::Message { signer, via, message } => {
                let second = message.get().second;
                let message = message.map(|lane| lane.of);
                self.run(now, second, Input::Message { signer, via, message }, out);
            }
            Input::Timer(Lane { second, of }) => self.run(now, second, Input::Timer(of), out),
            Input::Propose(Lane { second, of }) => {
                self.run(now, second, Input::Propose(of), out);
            }
            Input::Verdict { slot, view, digest, verdict } => {
                self.run(now, false, Input::Verdict { slot, view, digest, verdict }, out);
            }
            Input::Stable(stable) => {
                self.run(now, false, Input::Stable(stable.clone()), out);
                self.run(now, true, Input::Stable(stable), out);
            }
            Input::Installed(stable) => {
                self.run(now, false, Input::Installed(stable.clone()), out);
                self.run(now, true, Input::Installed(stable), out);
            }
            Input::Suspect => self.run(now, false, Input::Suspect, out),
            Input::Change { to } => self.run(now, false, Input::Change { to }, out),
            Input::Fill { through } => self.run(now, false, Input::Fill { through }, out),
        }
    }
}
