//! One replica: the stages, the engine, and who hands what to whom.

use crate::{
    admit::Admission,
    batch::Batcher,
    certify::{Answer, Certifier, OwnHeadWrong, Stabilised, wrong_result},
    config::Config,
    copies::Copies,
    demand::Offer,
    execute::{Execution, Rules},
    message::{Cosign, Message, Progress},
    order::Ordered,
    port::{Effect, Input, Record, Recovered, Reply, Ticket, Timer},
    record::{Recorded, Recorder},
    rejoin::{self, Rejoining},
    signatures::Signatures,
    snapshot::Snapshot,
    sync::Syncer,
};
use quorate_crypto::{Cosigner, Delivery, Verifier, VoteSigner};
use quorate_proof::{Frontier, leaf_hash};
use quorate_protocol::{self as protocol, Accusation, Outbox, Protocol, Stable, To, Verdict};
use quorate_service::Service;
use quorate_types::{
    Asked, Batch, Digest, Index, Item, Refusal, ReplicaId, Slot, StableCertificate, Time,
    UnixMillis, View,
    bug::{Bug, seeded},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Requests in one forward, at most.
pub(crate) const FORWARD_MAX: usize = 512;

/// Snapshots, and candidates for one, that are kept.
pub(crate) const SNAPSHOTS_MAX: usize = 2;

/// What a replica knows of its own standing, for `status` and for tests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sight {
    /// The view it is in, or going to.
    pub view: View,
    /// Who leads it; `None` while the view change runs.
    pub primary: Option<ReplicaId>,
    /// The last slot it executed.
    pub executed: Slot,
    /// The newest stable slot.
    pub stable: Slot,
    /// The highest stable slot that any peer spoke of.
    pub highest: Slot,
    /// How many requests wait to be ordered.
    pub waiting: usize,
    /// Whether it may vote: a lost disk keeps it from that until it rejoined.
    pub votes: bool,
    /// Whether state transfer runs.
    pub syncing: bool,
}

/// The pipeline around one engine.
pub struct Replica<P: Protocol<Command = Batch>> {
    pub(crate) config: Config,
    pub(crate) signer: VoteSigner,
    pub(crate) verifier: Verifier,
    engine: P,
    /// Whether the engine was started: not while a lost disk forbids to vote.
    pub(crate) votes: bool,
    pub(crate) admission: Admission,
    pub(crate) batcher: Batcher,
    pub(crate) execution: Option<Execution>,
    pub(crate) recorder: Recorder,
    pub(crate) certifier: Certifier,
    pub(crate) copies: Copies,
    pub(crate) syncer: Syncer,
    pub(crate) rejoining: Option<Rejoining>,
    /// Snapshots taken at slots that are not stable yet, newest last.
    pub(crate) candidates: VecDeque<Candidate>,
    /// The newest snapshots, at most two, for peers that transfer one.
    pub(crate) snapshots: VecDeque<Arc<Snapshot>>,
    bytes_since_snapshot: u64,
    pub(crate) view: View,
    pub(crate) primary: Option<ReplicaId>,
    pub(crate) entered: Time,
    pub(crate) patience_armed: bool,
    /// Peers to which the link is down.
    pub(crate) unreachable: BTreeSet<ReplicaId>,
    pub(crate) peers: BTreeMap<ReplicaId, Progress>,
    /// How far the engine knows this replica's state: what it committed, or was told.
    engine_at: Slot,
    /// Decided slots that cannot be executed yet.
    pub(crate) decided: BTreeMap<Slot, Option<Arc<Batch>>>,
    /// The slot through which no-ops are to be ordered, so that a replica can rejoin.
    pub(crate) fill: Slot,
    /// The first slot that the primary owes for that, and since when it is the first.
    pub(crate) unfilled: Option<(Slot, Time)>,
    /// The nonce of each replica's last ordered rejoin: a repeated offer is not ordered again.
    pub(crate) rejoined: BTreeMap<ReplicaId, Digest>,
    /// Replicas that lost their disks and wait to be ordered back in.
    pub(crate) offers: BTreeMap<ReplicaId, Offer>,
    /// How many questions of state transfer each peer was answered since the last tick.
    pub(crate) served: BTreeMap<ReplicaId, u32>,
    /// The question of each replica that this one answered last, and when.
    pub(crate) reported: BTreeMap<ReplicaId, (Digest, Time)>,
    /// Gateways that wait for entries which came by state transfer.
    pub(crate) transferred: Vec<(Ticket, Index)>,
    pub(crate) at_last_tick: (Slot, Slot),
    /// Ticks without any progress of this replica.
    pub(crate) ticks_unmoved: u32,
    /// Those among them in which f + 1 others claimed to be ahead.
    pub(crate) ticks_behind: u32,
    /// The log's right edge before anything was stored ahead of execution.
    pub(crate) before_store: Option<Frontier>,
    ready: bool,
}

pub(crate) struct Candidate {
    slot: Slot,
    frontier: Frontier,
    service: quorate_service::State,
    replay: quorate_service::State,
    signatures: Signatures,
}

/// The moment of an input: local time, and what the wall clock says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Time,
    pub(crate) clock: UnixMillis,
}

pub(crate) type Effects<P> = Vec<Effect<P>>;

impl<P: Protocol<Command = Batch>> Replica<P> {
    /// A replica that was not started yet.
    #[must_use]
    pub fn new(
        config: Config,
        engine: P,
        service: Box<dyn Service>,
        signer: VoteSigner,
        cosigner: Cosigner,
        verifier: Verifier,
    ) -> Self {
        let (me, committee, window) = (config.me, config.committee, config.window);
        let origin = config.domain.origin().to_owned();
        let execution = Execution::genesis(service, Rules::from(&config));
        Self {
            engine,
            signer,
            verifier,
            votes: false,
            admission: Admission::new(&config),
            batcher: Batcher::new(config.limits.clone()),
            copies: Copies::new(committee, window, config.limits.batch_items_max),
            execution: Some(execution),
            recorder: Recorder::new(Frontier::new()),
            certifier: Certifier::new(me, committee, cosigner, origin, window),
            syncer: Syncer::new(me, committee, config.limits.snapshot_lag),
            rejoining: None,
            candidates: VecDeque::new(),
            snapshots: VecDeque::new(),
            bytes_since_snapshot: 0,
            view: View(0),
            primary: None,
            entered: Time::default(),
            patience_armed: false,
            unreachable: BTreeSet::new(),
            peers: BTreeMap::new(),
            engine_at: Slot(0),
            decided: BTreeMap::new(),
            fill: Slot(0),
            unfilled: None,
            rejoined: BTreeMap::new(),
            offers: BTreeMap::new(),
            served: BTreeMap::new(),
            reported: BTreeMap::new(),
            transferred: Vec::new(),
            at_last_tick: (Slot(0), Slot(0)),
            ticks_unmoved: 0,
            ticks_behind: 0,
            before_store: None,
            ready: false,
            config,
        }
    }

    /// Where this replica stands.
    #[must_use]
    pub fn sight(&self) -> Sight {
        let stable = self.certifier.stable_slot();
        let highest = self.peers.values().map(|peer| peer.stable).max().unwrap_or_default();
        Sight {
            view: self.view,
            primary: self.primary,
            executed: self.executed(),
            stable,
            highest: highest.max(stable),
            waiting: self.batcher.waiting().count(),
            votes: self.votes,
            syncing: self.syncer.is_running(),
        }
    }

    /// Whether it may vote: a lost disk keeps it from that until it rejoined.
    #[must_use]
    pub fn may_vote(&self) -> bool {
        self.votes
    }

    /// Whether state transfer runs.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        self.syncer.is_running()
    }

    /// The engine, for checkers.
    #[must_use]
    pub fn engine(&self) -> &P {
        &self.engine
    }

    /// The newest certificate.
    #[must_use]
    pub fn stable(&self) -> Option<&Arc<StableCertificate>> {
        self.certifier.stable()
    }

    /// The replicated state, for checkers; `None` only after [`Effect::Halt`].
    #[must_use]
    pub fn execution(&self) -> Option<&Execution> {
        self.execution.as_ref()
    }

    /// The state as a snapshot holds it, for checkers; `None` unless the last executed slot is
    /// certified.
    #[must_use]
    pub fn standing(&self) -> Option<Snapshot> {
        let certificate = self.certifier.stable()?.clone();
        let execution = self.execution.as_ref()?;
        let frontier = self.recorder.frontier().clone();
        let here = certificate.record == *execution.record();
        (here && frontier.size() == certificate.head.size).then(|| Snapshot {
            certificate,
            frontier,
            service: execution.state().clone(),
            replay: execution.replay().map().clone(),
            signatures: execution.signatures(),
        })
    }

    /// Whether a message is worth the price of its signatures.
    #[must_use]
    pub fn wants(&self, from: ReplicaId, message: &Message<P::Message>) -> bool {
        match message {
            Message::Engine(message) => self.votes && self.engine.wants(from, message),
            Message::Cosign(cosign) => self.certifier.wants(from, cosign),
            Message::Forward(requests) => self.votes && requests.len() <= FORWARD_MAX,
            Message::RejoinAsk { .. } | Message::RejoinOffer(_) => self.votes,
            Message::RejoinReport { .. } => self.rejoining.is_some(),
            Message::Progress(_) | Message::Sync(_) => true,
            Message::Report(_)
            | Message::Told(_)
            | Message::AskAnswer { .. }
            | Message::Answer { .. } => {
                self.config.copies
                    && self.copies.wants_message(message, self.certifier.stable_slot())
            }
        }
    }

    /// Advances by one input. `now` is local and never decreases; `clock` is the wall clock.
    /// Effects are carried out in the order in which they are pushed.
    pub fn handle(
        &mut self,
        now: Time,
        clock: UnixMillis,
        input: Input<P>,
        out: &mut Vec<Effect<P>>,
    ) {
        let at = Moment { now, clock };
        match input {
            Input::Start(recovered) => self.start(at, *recovered, out),
            Input::Deliver(delivery) => self.deliver(at, delivery, out),
            Input::Submit(submissions) => self.submit(at, submissions, out),
            Input::Abandon(ticket) => {
                self.batcher.abandon(ticket);
                self.transferred.retain(|(waits, _)| *waits != ticket);
            }
            Input::Timer(Timer::Engine(timer)) => {
                self.drive(at, protocol::Input::Timer(timer), out);
            }
            Input::Timer(Timer::Batch) => self.batcher.end_pause(),
            Input::Timer(Timer::Patience) => self.lose_patience(at, out),
            Input::Answered { slot, answers } => self.answered(slot, answers, out),
            Input::Timer(Timer::Progress) => self.tick(at, out),
            // What it is for is looked at after every input.
            Input::Timer(Timer::Reports) => {}
            Input::Timer(Timer::Sync) => {
                self.syncer.retry();
                self.go_on(at, out);
            }
            Input::Link { peer, up } => self.link(at, peer, up, out),
        }
        self.execute_waiting(at, out);
        self.propose(at, out);
        self.mind_copies(at, out);
        self.arm_patience(out);
        self.tell_ready(out);
    }

    /// The last slot executed.
    pub(crate) fn executed(&self) -> Slot {
        self.execution.as_ref().map_or(Slot(0), |execution| execution.record().slot)
    }

    fn start(&mut self, at: Moment, recovered: Recovered<P::Record>, out: &mut Effects<P>) {
        let Recovered { records, lost, log_size, snapshot, items, certificate, nonce } = recovered;
        self.entered = at.now;
        if let Err(reason) = self.recover(log_size, snapshot, items, certificate, out) {
            self.halt(reason, out);
            return;
        }
        let after = Some(self.config.limits.progress);
        out.push(Effect::Timer { timer: Timer::Progress, after });
        let stable = self.certifier.stable_slot();
        let mut votes = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::Engine(record) => votes.push(record),
                record => self.copies.recall(record, stable),
            }
        }
        if lost {
            self.rejoining = Some(Rejoining::new(nonce));
            self.tick(at, out);
        } else {
            self.begin_to_vote(at, votes, out);
        }
    }

    /// Starts the engine: from here on this replica votes.
    pub(crate) fn begin_to_vote(
        &mut self,
        at: Moment,
        records: Vec<P::Record>,
        out: &mut Effects<P>,
    ) {
        self.votes = true;
        let stable = match self.certifier.stable() {
            Some(certificate) => Stable::certified(certificate.clone()),
            None => Stable::genesis(),
        };
        self.drive(at, protocol::Input::Start { records, stable }, out);
    }

    fn deliver(
        &mut self,
        at: Moment,
        delivery: Delivery<Message<P::Message>>,
        out: &mut Effects<P>,
    ) {
        let Delivery { signer, via, message } = delivery;
        if !self.wants(via, message.get()) {
            return;
        }
        let message = match message.split(Message::into_engine) {
            Ok(message) => {
                return self.drive(at, protocol::Input::Message { signer, via, message }, out);
            }
            Err(message) => message.into_inner(),
        };
        match message {
            Message::Engine(_) => {}
            Message::Forward(requests) => self.forwarded(at, via, requests, out),
            Message::Cosign(cosign) => self.cosigned(at, via, cosign, out),
            Message::Progress(progress) => self.progressed(via, progress),
            Message::Sync(sync) => self.sync(at, via, sync, out),
            Message::Report(report) => self.take_report(via, report, out),
            Message::Told(reports) => self.take_told(reports, out),
            Message::AskAnswer { slot, digest } => self.serve_answer(via, slot, digest, out),
            Message::Answer { response, .. } => self.take_answer(*response),
            Message::RejoinAsk { nonce } => self.report(at, via, nonce, out),
            Message::RejoinReport { nonce, report } => self.reported(&nonce, *report, out),
            Message::RejoinOffer(rejoin) => self.offered(at, via, rejoin, out),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.votes && self.primary == Some(self.config.me)
    }

    // --- order ---------------------------------------------------------------------------------

    /// Hands an input to the engine, and carries its effects up, until it asks for nothing more.
    pub(crate) fn drive(&mut self, at: Moment, first: protocol::Input<P>, out: &mut Effects<P>) {
        if !self.votes {
            return;
        }
        // Most inputs lead to no other: then nothing is queued.
        let (mut inputs, mut next) = (VecDeque::new(), Some(first));
        let mut outbox = Outbox::new();
        while let Some(input) = next {
            let input = self.noting(input);
            self.engine.handle(at.now, input, &mut outbox);
            for effect in outbox.drain() {
                self.lift(at, effect, &mut inputs, out);
            }
            next = inputs.pop_front();
        }
    }

    /// Keeps up with what the engine knows of this replica's state. The log may have brought the
    /// state to a slot that the engine did not commit: then a stable slot is news of that, too.
    fn noting(&mut self, input: protocol::Input<P>) -> protocol::Input<P> {
        match input {
            protocol::Input::Start { records, stable } => {
                self.engine_at = stable.slot;
                protocol::Input::Start { records, stable }
            }
            protocol::Input::Stable(stable) if stable.slot > self.engine_at => {
                self.engine_at = stable.slot;
                protocol::Input::Installed(stable)
            }
            protocol::Input::Installed(stable) => {
                self.engine_at = self.engine_at.max(stable.slot);
                protocol::Input::Installed(stable)
            }
            other => other,
        }
    }

    fn lift(
        &mut self,
        at: Moment,
        effect: protocol::Effect<P>,
        inputs: &mut VecDeque<protocol::Input<P>>,
        out: &mut Effects<P>,
    ) {
        use protocol::Effect as Engine;
        match effect {
            Engine::Persist { slot, record } => {
                out.push(Effect::Persist { slot, record: Record::Engine(record) });
            }
            Engine::Note { slot, record } => {
                out.push(Effect::Note { slot, record: Record::Engine(record) });
            }
            Engine::Forget { below } => out.push(Effect::Forget { below }),
            Engine::Send { to, message } => {
                out.push(Effect::Send { to, message: Message::Engine(message) });
            }
            Engine::Timer { timer, after } => {
                out.push(Effect::Timer { timer: Timer::Engine(timer), after });
            }
            Engine::Judge { slot, view, digest, proposal, fresh } => {
                let clock = fresh.then_some(at.clock);
                let batch = proposal.as_deref();
                let judge = |batch: &Batch| self.admission.judge(batch, clock);
                let verdict = batch.map_or(Verdict::Accepted, judge);
                if self.may_judge((slot, view, digest), batch, fresh, verdict) {
                    inputs.push_back(protocol::Input::Verdict { slot, view, digest, verdict });
                }
            }
            Engine::Commit { slot, command, .. } => {
                let stable = self.commit(at, slot, command.clone(), out);
                inputs.extend(stable.map(protocol::Input::Stable));
                let to = self.rejoins_ordered(command.as_deref());
                inputs.extend(to.map(|to| protocol::Input::Change { to }));
                inputs.extend(self.filling().map(|through| protocol::Input::Fill { through }));
            }
            Engine::Enter { view, primary } => {
                self.enter(at, view, primary, out);
                inputs.extend(self.filling().map(|through| protocol::Input::Fill { through }));
            }
            Engine::Leave { to } => {
                self.view = to;
                self.primary = None;
                self.batcher.stop_leading();
                out.push(Effect::View { view: to, primary: None });
            }
            Engine::Room(room) => self.batcher.set_room(room),
            Engine::Returned(batch) => self.batcher.take_back(batch),
            Engine::Behind { stable } => {
                if let Some(certificate) = stable.certificate {
                    let stable = self.believe(certificate, true, out);
                    inputs.extend(stable.map(protocol::Input::Stable));
                }
            }
            Engine::Accuse(Accusation { replica, .. }) if replica == self.config.me => {
                let reason = "rolled back: others hold votes of this replica that its own vote \
                              log does not; remove its data folder, and it will rejoin";
                self.halt(reason.to_owned(), out);
            }
            Engine::Accuse(accusation) => out.push(Effect::Accuse(accusation)),
        }
    }

    fn enter(&mut self, at: Moment, view: View, primary: ReplicaId, out: &mut Effects<P>) {
        self.view = view;
        self.primary = Some(primary);
        self.entered = at.now;
        out.push(Effect::View { view, primary: Some(primary) });
        self.expect_anew(at.now);
        if primary == self.config.me {
            if !seeded(Bug::RequestsLostOnViewChange) {
                self.batcher.enqueue_all();
            }
            let offers = self.offers.values().map(|offer| offer.rejoin.clone());
            offers.for_each(|rejoin| self.batcher.enqueue_rejoin(rejoin));
        } else {
            self.batcher.stop_leading();
            let own = self.batcher.oldest(self.config.limits.waiting_per_peer_max);
            self.hand_on(own, out);
        }
    }

    /// Takes a decided slot, and executes, records and cosigns it when its turn has come. `Some` if
    /// that completed a certificate.
    fn commit(
        &mut self,
        at: Moment,
        slot: Slot,
        batch: Option<Arc<Batch>>,
        out: &mut Effects<P>,
    ) -> Option<Stable> {
        self.batcher.decided(at.now);
        self.engine_at = self.engine_at.max(slot);
        if slot <= self.executed() {
            // Executed from the log, by state transfer.
            return None;
        }
        if self.config.copies
            && let Some(batch) = &batch
        {
            self.batcher.ordered(batch);
            for item in &batch.items {
                if let Item::Outcome(outcome) = item {
                    self.copies.decided(slot, self.certifier.stable_slot(), outcome);
                }
            }
        }
        self.decided.insert(slot, batch);
        self.execute_decided(out)
    }

    /// Executes decided slots as far as they follow each other, and not too far beyond what is
    /// certified. While state transfer replaces the state they wait: the engine commits each slot
    /// once.
    pub(crate) fn execute_decided(&mut self, out: &mut Effects<P>) -> Option<Stable> {
        let mut stable = None;
        let next = self.executed().next();
        while self.decided.first_key_value().is_some_and(|(slot, _)| *slot < next) {
            self.decided.pop_first();
        }
        while !self.syncer.replaces_state()
            && self.certifier.has_room()
            && let next = self.executed().next()
            && let Some(batch) = self.decided.get(&next).cloned()
            && let Some(answers) = self.agreed_answers(next, batch.as_ref(), out)
            && let Some(mut batch) = self.decided.remove(&next)
        {
            if seeded(Bug::BatchOrderDiffers) && self.config.me.0 % 2 == 1 {
                batch.iter_mut().for_each(|batch| Arc::make_mut(batch).items.reverse());
            }
            let ordered = Ordered::new(next, batch);
            let executed = self.execution.as_mut()?.execute_answered(&ordered, answers);
            let recorded = self.recorder.record(executed);
            stable = self.publish(recorded, out).or(stable);
        }
        // The engine runs one window at most ahead of what it knows to be certified. What lies
        // below that, others hold and state transfer brings. What lies above, perhaps nobody can
        // certify without this replica, and the engine does not commit it again.
        let too_many = self.decided.len() as u64 > self.decided_max();
        while self.decided.len() as u64 > self.decided_max() {
            self.decided.pop_first();
        }
        if too_many {
            self.mark_ordered();
        }
        stable
    }

    /// Executes what waited for a certificate, if it came.
    fn execute_waiting(&mut self, at: Moment, out: &mut Effects<P>) {
        while self.decided.contains_key(&self.executed().next())
            && let Some(stable) = self.execute_decided(out)
        {
            self.drive(at, protocol::Input::Stable(stable), out);
        }
    }

    /// How many decided slots may wait to be executed.
    pub(crate) fn decided_max(&self) -> u64 {
        self.config.window.saturating_mul(2)
    }

    /// Appends a recorded slot, cosigns it, and opens it for the others' cosignatures.
    fn publish(&mut self, recorded: Recorded, out: &mut Effects<P>) -> Option<Stable> {
        let slot = recorded.slot();
        let (from, items) = (recorded.from, recorded.items.clone());
        let tickets = self.release(&recorded);
        self.refuse_expired(&recorded.expired, out);
        self.consider_snapshot(&recorded);
        out.push(Effect::Append { from, items });
        let cosign = self.certifier.open(recorded, tickets);
        if self.votes {
            out.push(Effect::Send { to: To::All, message: Message::Cosign(cosign) });
        }
        let mut stable = None;
        for (replica, early) in self.certifier.take_early(slot) {
            let result = self.certifier.add(&self.verifier, replica, early);
            stable = self.stabilised(result, out).or(stable);
        }
        stable
    }

    /// The gateways that wait for a slot's requests, which wait no longer to be ordered.
    pub(crate) fn release(&mut self, recorded: &Recorded) -> Vec<(Ticket, Index, bool)> {
        let mut tickets = Vec::new();
        for outcome in &recorded.outcomes {
            let Some(waiting) = self.batcher.remove(&outcome.request) else { continue };
            let Some(ticket) = waiting.ticket else { continue };
            tickets.push((ticket, outcome.index, outcome.fresh));
        }
        tickets
    }

    /// Whose requests came too late to be executed: whether they were before, nobody remembers.
    pub(crate) fn refuse_expired(&mut self, expired: &[Asked], out: &mut Effects<P>) {
        for asked in expired {
            let waiting = self.batcher.expire(asked);
            let Some(ticket) = waiting.and_then(|waiting| waiting.ticket) else { continue };
            let reply = Reply::Refused(Refusal::new(
                504,
                "request-expired",
                "the request waited longer than answers are remembered; nothing is known of it",
            ));
            out.push(Effect::Reply { ticket, reply });
        }
    }

    /// Notes which replicas a batch lets rejoin, and how far the log must go for that. `Some` is
    /// the view in which they begin.
    fn rejoins_ordered(&mut self, batch: Option<&Batch>) -> Option<View> {
        let mut to = None;
        for item in batch.map_or(&[][..], |batch| &batch.items) {
            if let Item::Rejoin(rejoin) = item {
                self.rejoined.insert(rejoin.replica, rejoin.nonce);
                // A primary that orders an older one again has not done what it owes.
                let offer = self.offers.get(&rejoin.replica);
                if offer.is_some_and(|offer| offer.rejoin.nonce == rejoin.nonce) {
                    self.offers.remove(&rejoin.replica);
                }
                self.fill = self.fill.max(rejoin::bound(rejoin, self.config.window));
                to = to.max(Some(rejoin::view(rejoin, self.config.committee)));
            }
        }
        to
    }

    /// The slot that this replica must still fill up to, if it leads. Said again in every view,
    /// since a leader may have been replaced before it got there.
    pub(crate) fn filling(&self) -> Option<Slot> {
        let through = self.fill.min(self.last_for_all());
        (self.leads() && through > self.executed()).then_some(through)
    }

    // --- certify -------------------------------------------------------------------------------

    fn cosigned(&mut self, at: Moment, from: ReplicaId, cosign: Cosign, out: &mut Effects<P>) {
        let result = self.certifier.add(&self.verifier, from, cosign);
        if let Some(stable) = self.stabilised(result, out) {
            self.drive(at, protocol::Input::Stable(stable), out);
        }
    }

    /// Carries out what a certificate brings. `Some` if it is news to the engine.
    pub(crate) fn stabilised(
        &mut self,
        result: Result<Option<Stabilised>, OwnHeadWrong>,
        out: &mut Effects<P>,
    ) -> Option<Stable> {
        let Stabilised { certificate, new, answers, wrong } = match result {
            Ok(stabilised) => stabilised?,
            Err(OwnHeadWrong(slot)) => {
                self.halt(format!("slot {slot}: a quorum executed something else"), out);
                return None;
            }
        };
        for (replica, cosign) in wrong {
            let evidence = wrong_result(cosign, &certificate);
            out.push(Effect::Accuse(Accusation { replica, charge: "wrong-result", evidence }));
        }
        if !new {
            return None;
        }
        out.push(Effect::Certify(certificate.clone()));
        self.copies.forget(certificate.slot());
        for (ticket, answer) in answers {
            let reply = match answer {
                Answer::Certified(certified) => Reply::Certified(certified),
                Answer::Earlier(index) => Reply::Earlier(index),
            };
            out.push(Effect::Reply { ticket, reply });
        }
        self.keep_snapshot(&certificate, out);
        Some(Stable::certified(certificate))
    }

    fn consider_snapshot(&mut self, recorded: &Recorded) {
        let bytes: usize = recorded
            .items
            .iter()
            .filter_map(|item| item.exchange.as_ref())
            .map(|exchange| exchange.request.body.len() + exchange.response.body.len() + 256)
            .sum();
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(bytes as u64);
        let Some(execution) = &self.execution else { return };
        // A larger state is saved more rarely, so that saving stays a fraction of the writing.
        let bytes = execution.state().bytes() + execution.replay().map().bytes();
        let threshold = self.config.limits.snapshot_bytes.max(bytes / 2);
        if self.bytes_since_snapshot < threshold {
            return;
        }
        self.bytes_since_snapshot = 0;
        let candidate = Candidate {
            slot: recorded.slot(),
            frontier: self.recorder.frontier().clone(),
            service: execution.state().clone(),
            replay: execution.replay().map().clone(),
            signatures: execution.signatures(),
        };
        self.candidates.push_back(candidate);
        if self.candidates.len() > SNAPSHOTS_MAX {
            self.candidates.pop_front();
        }
    }

    /// A candidate whose very slot was certified becomes a snapshot.
    fn keep_snapshot(&mut self, certificate: &Arc<StableCertificate>, out: &mut Effects<P>) {
        while let Some(candidate) = self.candidates.front() {
            if candidate.slot > certificate.slot() {
                return;
            }
            let Some(candidate) = self.candidates.pop_front() else { return };
            if candidate.slot == certificate.slot() || seeded(Bug::SnapshotOfAnotherSlot) {
                let snapshot = Arc::new(Snapshot {
                    certificate: certificate.clone(),
                    frontier: candidate.frontier,
                    service: candidate.service,
                    replay: match seeded(Bug::SnapshotWithoutReplayTable) {
                        true => quorate_service::State::new(),
                        false => candidate.replay,
                    },
                    signatures: candidate.signatures,
                });
                self.keep(snapshot.clone());
                out.push(Effect::Snapshot(snapshot));
            } else {
                // Passed over by a later certificate: take another soon.
                self.bytes_since_snapshot = self.config.limits.snapshot_bytes;
            }
        }
    }

    /// Keeps a snapshot for peers, and the one before, which somebody may be fetching.
    pub(crate) fn keep(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshots.push_back(snapshot);
        if self.snapshots.len() > SNAPSHOTS_MAX {
            self.snapshots.pop_front();
        }
    }

    fn tell_ready(&mut self, out: &mut Effects<P>) {
        let behind = self.ticks_behind > 1;
        let ready = self.votes && self.primary.is_some() && !self.syncer.is_running() && !behind;
        if ready != self.ready {
            self.ready = ready;
            out.push(Effect::Ready(ready));
        }
    }

    /// Ends this replica's part in anything: what happened cannot be masked (P8).
    pub(crate) fn halt(&mut self, reason: String, out: &mut Effects<P>) {
        self.votes = false;
        self.primary = None;
        out.push(Effect::Halt(reason));
    }

    /// The leaf hashes of items, appended to the log's right edge.
    pub(crate) fn extend_frontier(&mut self, items: &[quorate_types::LogItem]) {
        let mut frontier = self.recorder.frontier().clone();
        items.iter().for_each(|item| frontier.push(leaf_hash(item.entry.as_bytes())));
        self.recorder = Recorder::new(frontier);
    }
}
