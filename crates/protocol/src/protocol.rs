//! The one interface that every ordering engine implements.
//!
//! # The contract
//!
//! An engine is a deterministic function of its state, the time and one input. It performs no IO,
//! reads no clock, draws no randomness; whatever it wants done it writes into an [`Outbox`].
//!
//! - `now` never decreases. The same inputs give the same effects, so a recorded input log replays
//!   a bug. Randomness, where an engine needs it, is a seed in its constructor.
//! - Effects are carried out in order, and **nothing after an [`Effect::Persist`] leaves before the
//!   record is durable**. The driver goes on handling inputs while an fsync runs; their effects
//!   queue behind it, and one fsync serves them all. A batch costs a replica at most two barriers.
//! - A [`Verified`] message is made by the verify stage alone, which asks [`Protocol::wants`]
//!   first, batches signatures, bisects on failure and accuses. Votes that nobody needs any more
//!   are not verified.
//! - [`Effect::Judge`] is answered by an [`Input::Verdict`] that names the same slot, view and
//!   digest, at any later time. A stale verdict is ignored. Own and re-proposed proposals are
//!   judged too.
//! - [`Effect::Commit`] comes in slot order, without gaps, once. After [`Input::Start`] an engine
//!   emits `Judge` and `Commit` again for what it knows above the stable slot.
//! - [`Input::Stable`] moves the window; the engine has no checkpoint messages of its own. It keeps
//!   one window below the stable slot for replicas that lag.
//! - A lost disk is the replica's affair: an engine whose replica may not vote is not started.
//! - [`Effect::Room`] is back-pressure: how many more commands the engine would take now. A command
//!   proposed without room, or to a replica that does not lead, comes back as [`Effect::Returned`].
//! - An engine that is shown its own signature under what its records do not hold was started on
//!   records that somebody rolled back. It accuses itself, and does nothing any more (rule 28a).
//! - No input from a peer, however malformed, panics: it produces [`Effect::Accuse`] or nothing.

use quorate_crypto::{Claims, Verified};
use quorate_types::{Digest, ReplicaId, Slot, StableCertificate, Time, View, Wire};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// A deterministic, sans-IO state machine run by one replica. See the module for its contract.
pub trait Protocol: Sized {
    /// What callers ask to have ordered.
    type Command: Wire + Claims + Clone + Debug + Eq;
    /// What replicas exchange.
    type Message: Wire + Claims + Clone + Debug + Eq;
    /// What it persists.
    type Record: Wire + Clone + Debug + Eq;
    /// The names of its timers.
    type Timer: Copy + Ord + Debug;

    /// Whether the message is worth the price of its signatures. Cheap, pure, called before they
    /// are checked; `from` is who sent it on an authenticated link.
    fn wants(&self, from: ReplicaId, message: &Self::Message) -> bool;

    /// Advances by one input. Effects are carried out in the order in which they are pushed.
    fn handle(&mut self, now: Time, input: Input<Self>, out: &mut Outbox<Self>);
}

/// Everything that can happen to an engine.
#[derive(Clone, Debug)]
pub enum Input<P: Protocol> {
    /// The process started: all records that were persisted and not forgotten, in order, and the
    /// newest stable slot.
    Start {
        /// What [`Effect::Persist`] and [`Effect::Note`] wrote, oldest first.
        records: Vec<P::Record>,
        /// Where the replica's own state stands; `Commit` resumes right after it.
        stable: Stable,
    },
    /// A verified message arrived.
    Message {
        /// Who made it.
        signer: ReplicaId,
        /// Who delivered it; another than the signer when it was relayed.
        via: ReplicaId,
        /// The message.
        message: Verified<P::Message>,
    },
    /// A timer fired. A timer that was disarmed or armed anew since does not fire.
    Timer(P::Timer),
    /// Order this command; returned unless this replica leads and has room.
    Propose(P::Command),
    /// The answer to [`Effect::Judge`].
    Verdict {
        /// The slot judged.
        slot: Slot,
        /// The view in which it was proposed.
        view: View,
        /// The proposal's digest.
        digest: Digest,
        /// What the judge says.
        verdict: Verdict,
    },
    /// A quorum holds the state after this slot.
    Stable(Stable),
    /// The replica's state was replaced by that of a stable slot above its own.
    Installed(Stable),
    /// The replica lost patience with the primary.
    Suspect,
    /// Leave for this view, if it is higher than the current one.
    Change {
        /// The view to enter.
        to: View,
    },
    /// If this replica leads, fill all slots through this one, with no-ops where nothing waits.
    Fill {
        /// The last slot to fill.
        through: Slot,
    },
}

/// Whether an engine may vote for a proposal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It may.
    Accepted,
    /// No correct primary proposes this: it is not voted for, and its primary is suspected.
    Refused,
    /// Its time is not now (rule 28b). It is not voted for; but a correct primary's proposal comes
    /// late on a bad link, or to a replica that was down, so only a slot that stays open is held
    /// against the primary.
    Untimely,
}

/// A slot at which a quorum's state is certified. Genesis, slot 0, is stable by definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stable {
    /// The slot.
    pub slot: Slot,
    /// What proves it to others; absent for genesis alone.
    pub certificate: Option<Arc<StableCertificate>>,
}

impl Stable {
    /// Slot 0, which needs no certificate.
    #[must_use]
    pub fn genesis() -> Self {
        Self { slot: Slot(0), certificate: None }
    }

    /// The slot that a checked certificate proves.
    #[must_use]
    pub fn certified(certificate: Arc<StableCertificate>) -> Self {
        Self { slot: certificate.slot(), certificate: Some(certificate) }
    }
}

/// Everything that an engine can ask for.
#[derive(Clone, Debug)]
pub enum Effect<P: Protocol> {
    /// Make the record durable before carrying out any later effect.
    Persist {
        /// The slot that the record is about; `None` for what concerns no slot (view, votes to
        /// change it), which the engine persists again right after each [`Effect::Forget`].
        slot: Option<Slot>,
        /// What to keep.
        record: P::Record,
    },
    /// Write the record in its place among the others, but hold nothing up for it: it becomes
    /// durable with the next [`Effect::Persist`], and a crash before that may lose it.
    Note {
        /// The slot that the record is about, as in [`Effect::Persist`].
        slot: Option<Slot>,
        /// What to keep.
        record: P::Record,
    },
    /// Records of slots below this one, and slotless ones written so far, are no longer needed.
    /// The replica decides when it drops them, and gives back at [`Input::Start`] whatever it
    /// still has. Emitted once per half window at most.
    Forget {
        /// The lowest slot still needed.
        below: Slot,
    },
    /// Send to others, never to oneself.
    Send {
        /// To whom.
        to: To,
        /// What.
        message: P::Message,
    },
    /// Arm a timer anew, or disarm it.
    Timer {
        /// Which.
        timer: P::Timer,
        /// When it fires, from now; `None` disarms.
        after: Option<Duration>,
    },
    /// A well-formed proposal: may the engine vote for it?
    Judge {
        /// Its slot.
        slot: Slot,
        /// The view in which it was proposed.
        view: View,
        /// Its digest.
        digest: Digest,
        /// The command; `None` is a no-op.
        proposal: Option<Arc<P::Command>>,
        /// Whether it was proposed in this view for the first time. A re-proposal of an earlier
        /// view keeps its time and is exempt from the clock check (rule 28b).
        fresh: bool,
    },
    /// The command is decided.
    Commit {
        /// Its slot.
        slot: Slot,
        /// The command; `None` is a no-op.
        command: Option<Arc<P::Command>>,
        /// A message that proves the decision to any replica of the committee: sent later to
        /// replicas that lag, and accepted by their engines.
        decided: P::Message,
    },
    /// This replica works in a view, led by `primary`.
    Enter {
        /// The view.
        view: View,
        /// Its leader.
        primary: ReplicaId,
    },
    /// This replica left its view, or gave up waiting for one, and waits for a higher one.
    Leave {
        /// The view that it is on its way to.
        to: View,
    },
    /// How many more commands the engine would take now; 0 unless this replica leads.
    Room(u32),
    /// A proposed command that will not be ordered by this proposal. Propose it again later.
    Returned(P::Command),
    /// Others are so far ahead that only a state transfer helps.
    Behind {
        /// Where they are.
        stable: Stable,
    },
    /// A peer provably broke the protocol.
    Accuse(Accusation),
}

/// A charge against a replica, with what proves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accusation {
    /// Who is accused.
    pub replica: ReplicaId,
    /// What for, as a stable word: `equivocation`, `double-vote`, `malformed`, `forged`.
    pub charge: &'static str,
    /// Signed messages in wire form that convince a third party; empty when the charge rests on
    /// what came over an authenticated link, which proves nothing to others.
    pub evidence: Vec<Vec<u8>>,
}

/// Destinations of a message, relative to the committee of the engine that sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum To {
    /// All other replicas.
    All,
    /// The others of a group.
    Group(Arc<[ReplicaId]>),
    /// A single replica.
    One(ReplicaId),
}

/// Effects in the order in which they were pushed.
#[derive(Clone, Debug)]
pub struct Outbox<P: Protocol>(Vec<Effect<P>>);

impl<P: Protocol> Default for Outbox<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Protocol> Outbox<P> {
    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect<P>) {
        self.0.push(effect);
    }

    /// Adds a [`Effect::Send`].
    pub fn send(&mut self, to: To, message: P::Message) {
        self.push(Effect::Send { to, message });
    }

    /// Takes all effects out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect<P>> {
        self.0.drain(..)
    }

    /// The effects so far.
    #[must_use]
    pub fn effects(&self) -> &[Effect<P>] {
        &self.0
    }
}
