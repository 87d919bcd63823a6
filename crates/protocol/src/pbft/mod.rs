//! PBFT (Castro and Liskov, OSDI 1999; TOCS 2002) with signed votes.
//!
//! n replicas, at most f = floor((n-1)/3) of them faulty in any way. View v is led by replica
//! v mod n, its *primary*. A slot is filled in three steps: the primary proposes, the backups
//! accept (no two commands can be accepted for one slot in one view), everyone commits (no later
//! view can forget it). When the primary stops working, f + 1 replicas say so, all change to the
//! next view, and what may have been committed is proposed there again.
//!
//! # Messages
//!
//! | message | from -> to | signed | when | size |
//! |---|---|---|---|---|
//! | `PrePrepare{view, slot, digest, command}` | primary -> all | header | at once while the window has room | command |
//! | `Prepare{view, slot, digest}` | backup -> all | yes | its proposal was judged good and persisted | 150 B |
//! | `Commit{view, slot, digest}` | each -> all | yes | PrePrepare + Prepares from a quorum, persisted | 150 B |
//! | `Decided{header, command, commits}` | anyone -> who lags | its votes | pulled | command + quorum |
//! | `ViewChange{view, stable, prepared}` | each -> all | yes | it leaves a view | window x quorum |
//! | `NewView{view, view_changes}` | new primary -> all | yes | ViewChanges from a quorum | quorum x that |
//! | `Status{view, stable, committed, stages, suspects}` | each -> all | no | timer: 200 ms while work is open, else 1 s | 100 B |
//! | `Fetch{slot, digest}`, `Payload` | who lacks a command <-> others | no, by digest | a digest is known, its command is not | command |
//! | `Stable(certificate)` | anyone -> who lags | its cosignatures | a Status from below it | 1 kB |
//!
//! # Quorums
//!
//! All counted by [`Tally`](quorate_types::Tally) from the committee: a **quorum** is
//! floor((n+f)/2)+1, so that two share a correct replica; **one correct** is f + 1.
//!
//! | state of a slot | reached by |
//! |---|---|
//! | prepared in v | the PrePrepare of v and Prepares for its digest: a quorum, the primary among it |
//! | committed | a quorum of Commits of one view for one digest |
//! | view v left | f + 1 replicas suspect its primary (`Status.suspects`) or sent ViewChanges beyond v |
//! | view v opened | a NewView with ViewChanges for v from a quorum |
//!
//! # View change
//!
//! A ViewChange carries the newest stable slot and, for every slot above, the prepared certificate
//! of the highest view. From the quorum of them in a NewView *every* replica computes by itself
//! ([`view_change`]): h, the highest stable slot; and for each slot above h, up to the last one
//! with a certificate, the digest with the certificate of the highest view, else the no-op. The
//! primary proposes exactly these again, pulling payloads that it lacks; a PrePrepare that differs
//! is refused. A slot that was committed anywhere has a certificate at f + 1 correct replicas, one
//! of whom is in every quorum: so it is found.
//!
//! # Invariants
//!
//! 1. One vote a phase for each (view, slot), and none in a view below the newest ViewChange sent.
//! 2. A vote, a ViewChange, a NewView is persisted before it is sent, so 1 holds across restarts.
//!    A batch costs a replica two barriers: payload with Prepare (or PrePrepare), then Commit.
//! 3. A Commit is sent only by who persisted the prepared certificate and the payload.
//! 4. Nothing is voted for at or below the stable slot, at or below the h of the view's NewView, or
//!    in a view whose NewView was not checked.
//! 5. A decision is passed on (`Effect::Commit`) in slot order, after its payload is on this disk.
//!    The decision itself is noted beside the votes without a barrier (`Effect::Note`).
//! 6. Everything kept is bounded ([`Pbft::held`]): slots two windows above what is certified or
//!    committed, one below what is stable; one ViewChange a replica; early votes, answers and
//!    payloads by quotas a peer.
//!
//! # Deviations from the paper
//!
//! - Signatures, not MAC vectors: certificates convince third parties, two votes are evidence.
//! - No checkpoint messages: a certified log head *is* the stable checkpoint (`Input::Stable`).
//! - A replica first says that it suspects (`Status.suspects`) and goes on voting; it leaves the
//!   view when f + 1 suspect. One replica with a bad link thus keeps its vote instead of waiting
//!   outside for a view change that nobody else needs (Hybster's REQ-VIEW-CHANGE). ViewChanges from
//!   f + 1 are followed as in the paper. Who left alone all the same is joined after a while, each
//!   time half as soon.
//! - Who prepares another proposal than this replica's is shown this one: an equivocation reaches
//!   both sides and convicts the primary by its two signatures.
//! - The primary re-proposes with payloads; nobody votes for a digest that he cannot read.
//! - A slot decided by others' Commits before this replica's own is not voted for in that view.
//! - No read-only and no tentative execution; replies are the replica's affair.
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | messages, certificates, records, and what of them is signed |
//! | `slot` | one slot: its proposal, its votes, what outlives views |
//! | `order` | the normal case: propose, prepare, commit |
//! | [`view_change`] | leaving a view and opening the next |
//! | `status` | timers, retransmission, catching up |
//! | `restart` | records in, state out |
//! | `held` | how much is kept, and how much may be |
//! | [`evidence`] | what convicts a replica, and how a third party checks it |
//!
//! What replicas do, message by message, is told in `testdata/*.txt`, to be read beside this.

pub mod evidence;
mod held;
pub mod message;
mod order;
mod restart;
mod slot;
mod status;
#[cfg(test)]
mod tests;
pub mod view_change;

pub use evidence::evidence_holds;
pub use held::SLOTS_WINDOWS;
pub use message::{Body, Message, Record};

use crate::{
    Effect, Input, Outbox, Protocol, To,
    adversary::Equivocates,
    view_change::{Patience, Reports},
    window::Window,
};
use message::{Header, NewView, Phase, PrePrepare, ViewChange, Vote};
use quorate_crypto::{Claims, Domain, VoteSigner};
use quorate_types::{Committee, Digest, ReplicaId, Slot, Time, View, Wire};
use slot::SlotState;
use status::{Early, Peer, Pull};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

/// What can be ordered.
pub trait Command: Wire + Claims + Clone + Debug + Eq {}

impl<C: Wire + Claims + Clone + Debug + Eq> Command for C {}

/// What one replica of one instance is told once.
#[derive(Clone, Debug)]
pub struct PbftConfig {
    /// Which replica this is.
    pub me: ReplicaId,
    /// Who takes part.
    pub committee: Committee,
    /// The chain.
    pub domain: Domain,
    /// Which instance of the protocol on this chain; signed with every vote.
    pub instance: u32,
    /// How many slots above the stable one may be open; the same at all replicas.
    pub window: u64,
    /// How long a known proposal may stay uncommitted before its primary is suspected, at first.
    pub view_timeout: Duration,
    /// Between two Statuses while something is open.
    pub status_busy: Duration,
    /// Between two Statuses while nothing is.
    pub status_idle: Duration,
}

impl PbftConfig {
    /// The usual values: instance 0, a window of 64, 1 s of patience, Statuses every 200 ms or 1 s.
    #[must_use]
    pub fn new(me: ReplicaId, committee: Committee, domain: Domain) -> Self {
        Self {
            me,
            committee,
            domain,
            instance: 0,
            window: 64,
            view_timeout: Duration::from_secs(1),
            status_busy: Duration::from_millis(200),
            status_idle: Duration::from_secs(1),
        }
    }

    /// Nothing is repeated to anyone sooner: what was sent may still be on its way.
    fn pause(&self) -> Duration {
        self.status_busy.checked_div(2).unwrap_or_default()
    }
}

/// The timers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Timer {
    /// Something is open for too long.
    Progress,
    /// Time for a Status.
    Status,
}

type Out<C> = Outbox<Pbft<C>>;

/// One replica's engine.
#[derive(Clone)]
pub struct Pbft<C: Clone> {
    config: PbftConfig,
    key: VoteSigner,
    noop: Digest,
    now: Time,
    started: bool,

    /// The view that this replica is in, or, when not `active`, on its way to.
    view: View,
    active: bool,
    window: Window,
    /// In boxes, so that a step of the window moves pointers.
    slots: BTreeMap<Slot, Box<SlotState<C>>>,
    /// What the view's NewView says must be proposed again.
    implied: BTreeMap<Slot, Digest>,
    opening: Option<Arc<NewView>>,
    own_report: Option<ViewChange>,
    reports: Reports<ViewChange>,
    early: Early<C>,
    accused: BTreeSet<(ReplicaId, Phase)>,

    /// The highest slot that this replica gave a proposal to, as primary.
    assigned: Slot,
    fill: Slot,
    room: Option<u32>,

    patience: Patience,
    waiting_since: Option<Time>,
    progress_is_armed: bool,
    status_armed: Option<Duration>,
    suspects_until: Option<Time>,
    committed_at: Time,
    /// How often it asked for a state transfer in vain.
    stuck: u32,
    round: u32,
    peers: BTreeMap<ReplicaId, Peer>,
    pull: Pull,
}

impl<C: Command> Pbft<C> {
    /// An engine that waits for [`Input::Start`].
    #[must_use]
    pub fn new(config: PbftConfig, key: VoteSigner) -> Self {
        Self {
            noop: message::digest_of::<C>(None),
            now: Time(0),
            started: false,
            view: View(0),
            active: true,
            window: Window::new(config.window),
            slots: BTreeMap::new(),
            implied: BTreeMap::new(),
            opening: None,
            own_report: None,
            reports: Reports::new(config.committee),
            early: Early::default(),
            accused: BTreeSet::new(),
            assigned: Slot(0),
            fill: Slot(0),
            room: None,
            patience: Patience::new(config.view_timeout),
            waiting_since: None,
            progress_is_armed: false,
            status_armed: None,
            suspects_until: None,
            committed_at: Time(0),
            stuck: 0,
            round: 0,
            peers: BTreeMap::new(),
            pull: Pull::default(),
            key,
            config,
        }
    }

    /// The view that this replica is in, or on its way to.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// Whether it is in that view.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The last slot that it committed.
    #[must_use]
    pub fn committed(&self) -> Slot {
        self.window.committed()
    }

    fn primary(&self, view: View) -> ReplicaId {
        self.config.committee.primary(view)
    }

    fn leads(&self) -> bool {
        self.started && self.active && self.primary(self.view) == self.config.me
    }

    fn is_current(&self, view: View) -> bool {
        self.active && view == self.view
    }

    /// Whether the view may be entered later.
    fn is_ahead(&self, view: View) -> bool {
        view > self.view || (view == self.view && !self.active)
    }

    fn slot(&mut self, slot: Slot) -> &mut SlotState<C> {
        let committee = self.config.committee;
        self.slots.entry(slot).or_insert_with(|| Box::new(SlotState::new(committee)))
    }

    fn message(&self, body: Body<C>) -> Message<C> {
        Message { instance: self.config.instance, body }
    }

    fn send(&self, to: To, body: Body<C>, out: &mut Out<C>) {
        out.send(to, self.message(body));
    }

    fn sign(&self, phase: Phase, header: Header) -> Vote {
        let PbftConfig { me, domain, instance, .. } = &self.config;
        Vote::sign(header, phase, *me, &self.key, domain, *instance)
    }

    fn on_message(&mut self, via: ReplicaId, message: Message<C>, out: &mut Out<C>) {
        let me = self.config.me;
        let signer = message.signer().unwrap_or(via);
        let known = self.config.committee.contains(signer) && self.config.committee.contains(via);
        if message.instance != self.config.instance || signer == me || via == me || !known {
            return;
        }
        match message.body {
            // Section 4.2, pre-prepare and prepare phases.
            Body::PrePrepare(proposal) => self.on_preprepare(proposal, out),
            Body::Prepare(vote) => self.on_vote(Phase::Prepare, vote, out),
            // Section 4.2, commit phase.
            Body::Commit(vote) => self.on_vote(Phase::Commit, vote, out),
            Body::Decided(decided) => self.on_decided(via, decided, out),
            // Section 4.4.
            Body::ViewChange(report) => self.on_view_change(report, out),
            Body::NewView(opening) => self.on_new_view(opening, out),
            Body::Status(status) => self.on_status(via, status, out),
            Body::Fetch(fetch) => self.on_fetch(via, fetch, out),
            Body::Payload(payload) => self.on_payload(payload, out),
            Body::Stable(certificate) => {
                self.raise_stable(crate::Stable::certified(certificate), out);
            }
        }
    }
}

impl<C: Command> Debug for Pbft<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pbft")
            .field("me", &self.config.me)
            .field("view", &self.view)
            .field("active", &self.active)
            .field("stable", &self.window.stable().slot)
            .field("committed", &self.window.committed())
            .finish_non_exhaustive()
    }
}

impl<C: Command> Equivocates for Pbft<C> {
    /// Another proposal in place of this one, or this vote for it.
    fn contradiction(&self, message: &Message<C>) -> Option<Message<C>> {
        let other = |phase, vote: &Vote| {
            let known = vote.header.digest;
            let digest = if known == self.noop { Digest([0xee; 32]) } else { self.noop };
            self.sign(phase, Header { digest, ..vote.header })
        };
        let own = message.signer() == Some(self.config.me);
        let body = match &message.body {
            _ if !own => return None,
            Body::PrePrepare(it) if it.command.is_some() => {
                let vote = other(Phase::PrePrepare, &it.vote);
                Body::PrePrepare(PrePrepare { vote, command: None })
            }
            Body::Prepare(vote) => Body::Prepare(other(Phase::Prepare, vote)),
            Body::Commit(vote) => Body::Commit(other(Phase::Commit, vote)),
            _ => return None,
        };
        Some(self.message(body))
    }
}

impl<C: Command> Protocol for Pbft<C> {
    type Command = C;
    type Message = Message<C>;
    type Record = Record<C>;
    type Timer = Timer;

    fn wants(&self, from: ReplicaId, message: &Message<C>) -> bool {
        let committee = self.config.committee;
        let signer = message.signer().unwrap_or(from);
        self.started
            && message.instance == self.config.instance
            && committee.contains(from)
            && committee.contains(signer)
            && signer != self.config.me
            && match &message.body {
                Body::PrePrepare(proposal) => self.wants_vote(Phase::PrePrepare, &proposal.vote),
                Body::Prepare(vote) => self.wants_vote(Phase::Prepare, vote),
                Body::Commit(vote) => self.wants_vote(Phase::Commit, vote),
                Body::Decided(decided) => self.wants_decided(decided),
                Body::ViewChange(report) => self.wants_report(report),
                Body::NewView(opening) => self.wants_opening(opening),
                Body::Payload(payload) => self.lacks(payload.slot, &payload.digest),
                Body::Stable(certificate) => certificate.slot() > self.window.known().slot,
                Body::Status(_) | Body::Fetch(_) => true,
            }
    }

    fn handle(&mut self, now: Time, input: Input<Self>, out: &mut Outbox<Self>) {
        self.now = self.now.max(now);
        match input {
            Input::Start { records, stable } if !self.started => self.start(records, stable, out),
            Input::Propose(command) if !self.started => {
                return out.push(Effect::Returned(command));
            }
            _ if !self.started => return,
            Input::Start { .. } => {}
            Input::Message { via, message, .. } => self.on_message(via, message.into_inner(), out),
            Input::Timer(Timer::Progress) => self.on_progress_timer(out),
            Input::Timer(Timer::Status) => self.on_status_timer(out),
            Input::Propose(command) => self.on_propose(command, out),
            Input::Verdict { slot, view, digest, verdict } => {
                self.on_verdict(Header { view, slot, digest }, verdict, out);
            }
            Input::Stable(stable) => self.raise_stable(stable, out),
            Input::Installed(stable) => self.on_installed(stable, out),
            Input::Suspect => self.suspect(out),
            Input::Change { to } => self.leave(to, out),
            Input::Fill { through } => self.on_fill(through, out),
        }
        self.settle(out);
    }
}
