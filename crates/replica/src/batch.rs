//! `Admitted -> Batch`: requests wait here until they are executed.
//!
//! Batching is adaptive. A batch costs votes and syncs whatever is in it, so a fuller one is
//! cheaper:
//!
//! | own batches that are undecided | what waits is proposed |
//! |---|---|
//! | none | once it is as much as the last batch had, or after twice the time that one took |
//! | fewer than the pipeline holds | after [`Limits::linger`] |
//! | any | when it fills a batch |
//!
//! So a lone request after a lone one never waits. Under load a batch fills while the one before it
//! is decided, and then for the moment in which those come back who were just answered: the slower
//! a batch is decided, the more it costs, and the longer others are worth waiting for. That moment
//! is bounded by [`Limits::gather_max`]. Where votes travel for long, batches follow each other
//! without waiting for them.

use crate::{
    admit::{Admitted, outcome_weight},
    config::Limits,
    port::Ticket,
    replay::ReplayKey,
    replica::Moment,
};
use quorate_types::{
    Asked, Batch, Held, Index, Item, Outcome, Rejoin, ReplicaId, Request, Salt, Slot, Time,
    bug::{Bug, seeded},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// How many times as long as a batch took to be decided the next one is gathered, at most: who was
/// answered comes back after an execution, a certificate, and a way through gateways and clients.
const GATHERED: u32 = 2;

/// Who brought a request here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    Gateway(Ticket),
    Peer(ReplicaId),
}

/// A request that is not executed yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) admitted: Admitted,
    pub(crate) ticket: Option<Ticket>,
    /// What its gateway says of how old it may be.
    pub(crate) asked: Index,
    /// When this replica began to expect it to be ordered.
    pub(crate) since: Time,
    /// Whether it was sent to all.
    pub(crate) spread: bool,
    /// Whether it was ordered, and waits for the copies of the service.
    pub(crate) ordered: bool,
    peer: Option<ReplicaId>,
}

/// Why a request does not wait here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unplaced {
    /// It waits here already.
    Known,
    /// Another one with its client and key waits here.
    KeyRuns,
    /// There is no room.
    Full,
}

/// For what the requests in line wait, before they are proposed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pause {
    /// For others to come: nothing is undecided.
    Gather,
    /// For a batch that is undecided.
    Linger,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    count: usize,
    bytes: usize,
}

impl Waiting {
    /// The request as it is forwarded and ordered.
    pub(crate) fn asked(&self) -> Asked {
        Asked { request: self.admitted.request().clone(), since: self.asked }
    }
}

impl Load {
    fn has_room(self, weight: usize, count_max: usize, bytes_max: usize) -> bool {
        self.count < count_max && self.bytes.saturating_add(weight) <= bytes_max
    }

    fn add(&mut self, weight: usize) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(weight);
    }

    fn remove(&mut self, weight: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(weight);
    }
}

/// The requests that wait, and the order in which this replica would propose them.
#[derive(Debug)]
pub(crate) struct Batcher {
    waiting: BTreeMap<Salt, Waiting>,
    running: BTreeMap<ReplayKey, Salt>,
    /// The requests that a gateway of this replica waits for.
    tickets: BTreeMap<Ticket, Salt>,
    held: Load,
    per_peer: BTreeMap<ReplicaId, Load>,
    queue: VecDeque<Salt>,
    rejoins: VecDeque<Rejoin>,
    /// What the copies answered, to be ordered; of one slot at a time.
    outcome: Option<Outcome>,
    room: u32,
    in_flight: usize,
    /// How many items the last batch had.
    last: usize,
    /// When it was proposed.
    proposed: Time,
    /// How long a batch took to be decided, the last time that no other followed it meanwhile.
    took: Duration,
    /// The pause whose timer runs.
    paused: Option<Pause>,
    /// The pause that is over.
    over: Option<Pause>,
    limits: Limits,
}

impl Batcher {
    /// A batcher that holds nothing.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            tickets: BTreeMap::new(),
            held: Load::default(),
            per_peer: BTreeMap::new(),
            queue: VecDeque::new(),
            rejoins: VecDeque::new(),
            outcome: None,
            room: 0,
            in_flight: 0,
            last: 0,
            proposed: Time::default(),
            took: Duration::ZERO,
            paused: None,
            over: None,
            limits,
        }
    }

    /// Keeps a request until it is executed.
    pub(crate) fn place(
        &mut self,
        now: Time,
        source: Source,
        admitted: Admitted,
        asked: Index,
    ) -> Result<(), Unplaced> {
        let salt = admitted.request().salt;
        let key = ReplayKey::of(admitted.request());
        if let Some(known) = self.waiting.get_mut(&salt) {
            // A liar's word for how old it is must not outlast its gateway's.
            let younger = known.admitted == admitted && asked > known.asked;
            if !younger || matches!(source, Source::Gateway(_)) {
                return Err(Unplaced::Known);
            }
            known.asked = asked;
            return Ok(());
        }
        if matches!(source, Source::Gateway(_)) && self.running.contains_key(&key) {
            return Err(Unplaced::KeyRuns);
        }
        let (ticket, peer) = match source {
            Source::Gateway(ticket) => (Some(ticket), None),
            Source::Peer(peer) => (None, Some(peer)),
        };
        let weight = admitted.weight();
        let Limits { waiting_max, waiting_bytes_max, waiting_per_peer_max, .. } = self.limits;
        if !self.held.has_room(weight, waiting_max, waiting_bytes_max) {
            return Err(Unplaced::Full);
        }
        if let Some(peer) = peer {
            let held = self.per_peer.entry(peer).or_default();
            // What one may fill leaves room for the others.
            if !held.has_room(weight, waiting_per_peer_max, waiting_bytes_max / 2) {
                return Err(Unplaced::Full);
            }
            held.add(weight);
        }
        self.held.add(weight);
        self.running.entry(key).or_insert(salt);
        self.tickets.extend(ticket.map(|ticket| (ticket, salt)));
        let waiting =
            Waiting { admitted, ticket, asked, since: now, spread: false, ordered: false, peer };
        self.waiting.insert(salt, waiting);
        Ok(())
    }

    /// Puts a waiting request in line for this replica's own proposals.
    pub(crate) fn enqueue(&mut self, salt: Salt) {
        if self.queue.len() >= self.queue_max() {
            // What was executed by others' proposals, and what stands there twice.
            let mut line = BTreeSet::new();
            let waits = |salt: &Salt| self.waiting.contains_key(salt) && line.insert(*salt);
            self.queue.retain(waits);
        }
        self.queue.push_back(salt);
    }

    /// How long the line may become: everything that waits, and as many that were executed since.
    fn queue_max(&self) -> usize {
        self.limits.waiting_max.saturating_mul(2)
    }

    /// What is kept here, with its bounds; `n` is the committee's size.
    pub(crate) fn held(&self, n: u64) -> [Held; 7] {
        let Limits { waiting_max, waiting_bytes_max, .. } = self.limits;
        let (most, bytes) = (waiting_max as u64, waiting_bytes_max as u64);
        [
            Held::new("batch.waiting", self.waiting.len(), most),
            Held::new("batch.waiting-bytes", self.held.bytes, bytes),
            Held::new("batch.running", self.running.len(), most),
            Held::new("batch.tickets", self.tickets.len(), most),
            Held::new("batch.queue", self.queue.len(), self.queue_max() as u64),
            Held::new("batch.rejoins", self.rejoins.len(), n),
            Held::new("batch.peers", self.per_peer.len(), n.saturating_sub(1)),
        ]
    }

    /// Puts a rejoin in line; one a replica at a time.
    pub(crate) fn enqueue_rejoin(&mut self, rejoin: Rejoin) {
        self.rejoins.retain(|waiting| waiting.replica != rejoin.replica);
        self.rejoins.push_back(rejoin);
    }

    /// Puts an outcome first in line, in place of an earlier one.
    pub(crate) fn enqueue_outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Requests of this batch wait for nothing but the copies.
    pub(crate) fn ordered(&mut self, batch: &Batch) {
        for item in &batch.items {
            if let Item::Request(asked) = item
                && let Some(waiting) = self.waiting.get_mut(&asked.request.salt)
            {
                waiting.ordered = true;
            }
        }
    }

    /// Requests of these batches, and no others, wait for nothing but the copies. What state
    /// transfer brought may have passed over one that was ordered too late.
    pub(crate) fn mark_ordered<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>) {
        self.waiting.values_mut().for_each(|waiting| waiting.ordered = false);
        batches.for_each(|batch| self.ordered(batch));
    }

    /// Drops an outcome in line unless it is of the slot that is awaited.
    pub(crate) fn keep_outcome(&mut self, awaited: Option<Slot>) {
        self.outcome.take_if(|outcome| Some(outcome.slot) != awaited);
    }

    /// Puts everything that waits in line again, oldest first: this replica leads now.
    pub(crate) fn enqueue_all(&mut self) {
        let unordered = self.waiting.iter().filter(|(_, waiting)| !waiting.ordered);
        let mut salts: Vec<_> = unordered.map(|(salt, w)| (w.since, *salt)).collect();
        salts.sort_unstable();
        self.queue = salts.into_iter().map(|(_, salt)| salt).collect();
        self.in_flight = 0;
    }

    /// Takes back the items of a batch that the engine returned.
    pub(crate) fn take_back(&mut self, batch: Batch) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for item in batch.items.into_iter().rev() {
            match item {
                Item::Request(asked) => self.queue.push_front(asked.request.salt),
                Item::Rejoin(rejoin) => self.enqueue_rejoin(rejoin),
                Item::Outcome(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    /// The request was executed, or answered before; it no longer waits.
    pub(crate) fn remove(&mut self, request: &Request) -> Option<Waiting> {
        // Another content under the same salt is a primary's junk: the real one goes on waiting.
        let other = self.waiting.get(&request.salt)?.admitted.request().as_ref() != request;
        if other && !seeded(Bug::AnswersBySalt) {
            return None;
        }
        let waiting = self.waiting.remove(&request.salt)?;
        if let Some(ticket) = waiting.ticket {
            self.tickets.remove(&ticket);
        }
        let key = ReplayKey::of(waiting.admitted.request());
        if self.running.get(&key) == Some(&request.salt) {
            self.running.remove(&key);
        }
        let weight = waiting.admitted.weight();
        self.held.remove(weight);
        if let Some(held) = waiting.peer.and_then(|peer| self.per_peer.get_mut(&peer)) {
            held.remove(weight);
        }
        Some(waiting)
    }

    /// What was ordered too late no longer waits, unless this replica knows it to be younger.
    pub(crate) fn expire(&mut self, asked: &Asked) -> Option<Waiting> {
        let waiting = self.waiting.get(&asked.request.salt)?;
        if waiting.asked > asked.since { None } else { self.remove(&asked.request) }
    }

    /// Removes what was answered elsewhere, and gives the gateways that wait for it.
    pub(crate) fn take_answered(
        &mut self,
        answered: impl Fn(&Request) -> Option<Index>,
    ) -> Vec<(Ticket, Index)> {
        let found: Vec<_> = self
            .waiting
            .values()
            .filter_map(|w| Some((w.admitted.request().clone(), answered(w.admitted.request())?)))
            .collect();
        found
            .into_iter()
            .filter_map(|(request, index)| Some((self.remove(&request)?.ticket?, index)))
            .collect()
    }

    /// A gateway no longer waits for a ticket.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        let salt = self.tickets.remove(&ticket);
        if let Some(waiting) = salt.and_then(|salt| self.waiting.get_mut(&salt)) {
            waiting.ticket = None;
        }
    }

    /// How many more batches the engine takes.
    pub(crate) fn set_room(&mut self, room: u32) {
        self.room = room;
    }

    /// One of the undecided batches was decided.
    pub(crate) fn decided(&mut self, now: Time) {
        if self.in_flight == 1 {
            self.took = now.since(self.proposed);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Nobody will say of the undecided batches that they were decided.
    pub(crate) fn forget_proposed(&mut self) {
        self.in_flight = 0;
    }

    /// This replica leads no longer: nothing is in line, everything goes on waiting.
    pub(crate) fn stop_leading(&mut self) {
        self.queue.clear();
        self.rejoins.clear();
        self.outcome = None;
        self.room = 0;
        self.in_flight = 0;
    }

    /// For what there is still to wait. `None` where nothing is in line, and where only a full
    /// batch would be proposed.
    fn pause(&self) -> Option<Pause> {
        match self.in_flight {
            _ if self.queue.is_empty() && self.rejoins.is_empty() => None,
            0 => Some(Pause::Gather),
            some => (some < self.limits.pipeline).then_some(Pause::Linger),
        }
    }

    /// The timer of the pause, where it is to be armed anew or disarmed. Asked for when all that
    /// should be proposed was.
    pub(crate) fn pause_timer(&mut self) -> Option<Option<Duration>> {
        // One that is over is not begun again: there is no room for what waits, or no window.
        let pause = self.pause().filter(|pause| self.room > 0 && self.over != Some(*pause));
        if pause == self.paused {
            return None;
        }
        self.paused = pause;
        Some(pause.map(|pause| match pause {
            Pause::Gather => (self.took * GATHERED).min(self.limits.gather_max),
            Pause::Linger => self.limits.linger,
        }))
    }

    /// The timer of the pause fired.
    pub(crate) fn end_pause(&mut self) {
        self.over = self.paused.take();
    }

    /// Whether what is in line should not wait for more.
    fn is_ripe(&self) -> bool {
        let waiting = self.queue.len() + self.rejoins.len();
        let enough = self.in_flight == 0 && waiting >= self.last;
        let waited = self.over.is_some() && self.over == self.pause();
        enough || waited || waiting >= self.limits.batch_items_max
    }

    /// The next batch, if it should be proposed now. Where the window is `crowded`, there is room
    /// for an outcome alone.
    pub(crate) fn next(&mut self, at: Moment, crowded: bool) -> Option<Batch> {
        let may_fill = !crowded && self.is_ripe();
        if self.room == 0 {
            return None;
        }
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0usize;
        if let Some(outcome) = self.outcome.take() {
            bytes = outcome_weight(&outcome);
            items.push(Item::Outcome(outcome));
        }
        while may_fill && items.len() < self.limits.batch_items_max {
            if let Some(rejoin) = self.rejoins.pop_front() {
                items.push(Item::Rejoin(rejoin));
                continue;
            }
            let Some(salt) = self.queue.front() else { break };
            let Some(waiting) = self.waiting.get(salt) else {
                // Executed meanwhile, by another's proposal.
                self.queue.pop_front();
                continue;
            };
            bytes = bytes.saturating_add(waiting.admitted.weight());
            if bytes > self.limits.batch_bytes_max && !items.is_empty() {
                break;
            }
            items.push(Item::Request(waiting.asked()));
            self.queue.pop_front();
        }
        if items.is_empty() {
            if may_fill {
                self.over = None;
            }
            return None;
        }
        self.in_flight = self.in_flight.saturating_add(1);
        self.room = self.room.saturating_sub(1);
        (self.last, self.proposed, self.over) = (items.len(), at.now, None);
        Some(Batch { time: at.clock, items })
    }

    /// Everything that waits.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// Everything that waits, to be marked.
    pub(crate) fn waiting_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.waiting.values_mut()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All waiting requests, oldest first, at most `most`.
    pub(crate) fn oldest(&self, most: usize) -> Vec<Asked> {
        let mut waiting: Vec<_> = self.waiting.values().collect();
        waiting.sort_by_key(|waiting| waiting.since);
        waiting.iter().take(most).map(|waiting| waiting.asked()).collect()
    }
}
