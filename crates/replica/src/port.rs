//! What the pipeline takes from its driver, and what it asks of it.
//!
//! The contract is that of `quorate_protocol::protocol`, one level up: inputs in, effects out, in
//! order, and nothing after a [`Effect::Persist`] leaves before the record is durable.

use crate::{certify::Certified, message::Message, snapshot::Snapshot};
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Delivery, Verified};
use quorate_protocol::{Accusation, Protocol, To};
use quorate_types::{
    Call, Digest, Index, LogItem, Refusal, ReplicaId, Report, Request, Response, Slot,
    StableCertificate, View,
};
use std::{sync::Arc, time::Duration};

/// A gateway's handle on one submitted request, unique within a process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// A request handed in by this replica's own gateway, its client signature checked.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Under which the answer comes back.
    pub ticket: Ticket,
    /// The request.
    pub request: Verified<Arc<Request>>,
}

/// Everything that can happen to a replica.
#[derive(Debug)]
pub enum Input<P: Protocol> {
    /// The process started. The first input, and the only one of its kind.
    Start(Box<Recovered<P::Record>>),
    /// A verified message arrived.
    Deliver(Delivery<Message<P::Message>>),
    /// The gateway hands in requests: all that wait, at once.
    Submit(Vec<Submission>),
    /// The gateway no longer waits for this answer. The request is ordered all the same.
    Abandon(Ticket),
    /// What this replica's copy of the service answered to an [`Effect::Call`], a response or
    /// nothing for each call.
    Answered {
        /// The slot whose calls they were.
        slot: Slot,
        /// In the order of the calls, as many.
        answers: Vec<Option<Response>>,
    },
    /// A timer fired.
    Timer(Timer<P::Timer>),
    /// The link to a peer broke or came back.
    Link {
        /// Which peer.
        peer: ReplicaId,
        /// Whether it works now.
        up: bool,
    },
}

/// What the disk held at start.
#[derive(Debug)]
pub struct Recovered<R> {
    /// The write-ahead log's records, oldest first.
    pub records: Vec<Record<R>>,
    /// Whether there was no write-ahead log at all: the disk was lost (rule 28a).
    pub lost: bool,
    /// How many entries the log holds.
    pub log_size: u64,
    /// The newest snapshot that could be read and that the log reaches.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The log after the snapshot (after genesis, where there is none), as far as it is whole.
    pub items: Vec<LogItem>,
    /// The newest certificate whose head lies within the log.
    pub certificate: Option<Arc<StableCertificate>>,
    /// A random value for this start, which a rejoin signs for.
    pub nonce: Digest,
}

/// The names of the timers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Timer<T> {
    /// The engine's.
    Engine(T),
    /// Look whether the primary ignores requests.
    Patience,
    /// Tell the others how far we are, and see whether we lag.
    Progress,
    /// Propose what waits, though a fuller batch would be cheaper.
    Batch,
    /// Ask again in state transfer, elsewhere.
    Sync,
    /// Order what the copies answered, whether all have reported or not.
    Reports,
}

/// Everything that a replica can ask for.
#[derive(Clone, Debug)]
pub enum Effect<P: Protocol> {
    /// Make the record durable before carrying out any later effect.
    Persist {
        /// The slot that the record is about, if any.
        slot: Option<Slot>,
        /// What to keep.
        record: Record<P::Record>,
    },
    /// Write the record in its place, but hold nothing up for it.
    Note {
        /// The slot that the record is about, if any.
        slot: Option<Slot>,
        /// What to keep.
        record: Record<P::Record>,
    },
    /// The replica has rejoined after a lost disk: sync the log, then remember the rejoin, durably,
    /// before any later effect (`Wal::rejoined`).
    Rejoined,
    /// Sync the log, then drop records of the write-ahead log as `Wal::rotate` does.
    Forget {
        /// The lowest slot still needed.
        below: Slot,
    },
    /// Append to the log of entries and exchanges. No barrier: the write-ahead log can repeat it.
    Append {
        /// The place of the first item.
        from: Index,
        /// The items.
        items: Arc<Vec<LogItem>>,
    },
    /// Cut the log: its last slot may be incomplete, and will be appended again.
    Truncate {
        /// How many entries stay.
        size: u64,
    },
    /// Keep the certificate: its head proves every entry below its size.
    Certify(Arc<StableCertificate>),
    /// Sync the log, then save a snapshot, off the request path.
    Snapshot(Arc<Snapshot>),
    /// Send to others, never to oneself.
    Send {
        /// To whom.
        to: To,
        /// What.
        message: Message<P::Message>,
    },
    /// Read a run of the log with `sync::page`, and send it.
    SendPage {
        /// To whom.
        to: ReplicaId,
        /// The first place.
        from: Index,
        /// The size of the certified log that the path leads to.
        size: u64,
    },
    /// Arm a timer anew, or disarm it.
    Timer {
        /// Which.
        timer: Timer<P::Timer>,
        /// When it fires, from now; `None` disarms.
        after: Option<Duration>,
    },
    /// Have this replica's copy of the service execute these, one after the other, and come back
    /// with [`Input::Answered`]. The log holds all slots before. What entries of this slot stand
    /// before a call, and between two, no copy executes. Slots come in order, and each at most
    /// once after a start.
    Call {
        /// The slot.
        slot: Slot,
        /// At least one.
        calls: Arc<Vec<Call>>,
    },
    /// What was agreed about a slot's calls, which were this replica's too. Where its copy did not
    /// keep up, the copy no longer holds the service's state.
    Agreed {
        /// The slot.
        slot: Slot,
        /// For each call whether the own copy did what was agreed on.
        kept_up: Vec<bool>,
    },
    /// How a replica's copy stands to what was agreed about a slot. Convicts nobody.
    Heard {
        /// The slot.
        slot: Slot,
        /// Whose copy.
        replica: ReplicaId,
        /// How it stands.
        heard: Heard,
    },
    /// Answer a gateway.
    Reply {
        /// Whom.
        ticket: Ticket,
        /// With what.
        reply: Reply,
    },
    /// The replica works in a view, or waits for one.
    View {
        /// The view.
        view: View,
        /// Its leader; `None` while the view change runs.
        primary: Option<ReplicaId>,
    },
    /// A peer provably broke a protocol, or signed a wrong result.
    Accuse(Accusation),
    /// The replica was caught up, or fell behind.
    Ready(bool),
    /// What cannot be masked (P8): end the process with this reason.
    Halt(String),
}

/// How one replica's copy stands to what was agreed about a slot.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Heard {
    /// It gave every answer that was agreed on.
    Agrees,
    /// It gave no answer where one was agreed on.
    Silent,
    /// It gave another answer than the agreed one.
    Differs,
}

/// What the write-ahead log keeps.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Record<R> {
    /// The engine's.
    Engine(R),
    /// This replica's report about its copy, with the answers themselves: others may need them.
    Report {
        /// As it is sent.
        report: Report,
        /// A response for each digest.
        answers: Vec<Option<Response>>,
    },
    /// What a slot's answers are. A log that lost its end with the machine's power is executed
    /// again from these: what all n replicas reported alike, fewer of them cannot agree on anew
    /// without an ordered outcome, for which so many slots have no room.
    Settled {
        /// Which slot.
        slot: Slot,
        /// For each call; `None` where the own copy's answer is the agreed one.
        answers: Vec<Option<Response>>,
        /// Those of all n replicas, where they were alike: whoever lacks one of them, and meets a
        /// window that is full by now, learns from them what was agreed on. Empty where an outcome
        /// was ordered, which holds its own.
        reports: Vec<Report>,
    },
}

/// An answer to a gateway.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A new entry, certified.
    Certified(Box<Certified>),
    /// The request had been answered before, at this place, which is certified: read the exchange
    /// from the log.
    Earlier(Index),
    /// Not ordered.
    Refused(Refusal),
}
