//! One replica's process: the pipeline, its ledger, and the barrier of an fsync.
//!
//! Stands where the production driver stands, and keeps the same promise: nothing that follows a
//! record leaves before the record is durable. It does what that driver does when its disk fails: a
//! full or read-only disk is waited for while nothing leaves, a snapshot or a certificate is put
//! off, and everything else ends the process.

use crate::{
    cluster::Cluster,
    recovery::Opened,
    trouble::{Halt, Trouble},
    watch::{Place, Watch},
};
use quorate_crypto::{Forged, Inbound, Verifier, verify_one};
use quorate_ledger::{Log, LogReader, MemoryDisk, Snapshots, Wal};
use quorate_protocol::{To, pbft::Pbft};
use quorate_replica::{
    Effect, Heard, Input, Message, Replica, Reply, Snapshot, Submission, Ticket, Timer, sync,
};
use quorate_types::{
    Batch, Call, Digest, Index, LogItem, ReplicaId, Request, Response, Slot, StableCertificate,
    Time, Wire,
};
use std::{collections::VecDeque, sync::Arc};

/// The engine under test.
pub type Engine = Pbft<Batch>;
/// What replicas send in a simulation.
pub type Sent = Message<<Engine as quorate_protocol::Protocol>::Message>;
/// The names of timers.
pub type TimerName = Timer<<Engine as quorate_protocol::Protocol>::Timer>;

/// How many snapshots wait at most while another is being saved. The next one is newer and as good.
const SAVES_WAITING_MAX: usize = 1;

/// About how many writes it takes to save a snapshot: its log, its chunks, its name.
const SNAPSHOT_WRITES: u64 = 30;

/// How far a group of records may have got: not written, not synced, or done.
const GROUP_WRITES: u64 = 3;

/// About how many writes another operation takes at most.
const FRONT_WRITES: u64 = 24;

/// What a process asks of the world.
#[derive(Debug)]
pub enum Act {
    /// Deliver a message.
    Send {
        /// To whom.
        to: To,
        /// What.
        message: Box<Sent>,
    },
    /// Arm or disarm a timer.
    Timer {
        /// Which.
        timer: TimerName,
        /// When, from now.
        after: Option<std::time::Duration>,
    },
    /// Call [`Process::worked`] when an operation of the disk that starts now has ended.
    Work(Work),
    /// Call [`Process::saved`] when a snapshot that is being saved from now on is on the disk.
    Save,
    /// Call [`Process::page`] when a page of the log has been read.
    Page(PageOf),
    /// Answer a client.
    Reply {
        /// Which.
        ticket: Ticket,
        /// With what.
        reply: Reply,
    },
    /// Have the copy of the service execute these.
    Call {
        /// The slot.
        slot: Slot,
        /// In order.
        calls: Arc<Vec<Call>>,
    },
    /// What was agreed about a slot that the copy may have been given.
    Agreed {
        /// The slot.
        slot: Slot,
        /// For each call whether the copy did what was agreed on.
        kept_up: Vec<bool>,
    },
    /// How a replica's copy stands to what was agreed.
    Heard {
        /// About which slot.
        slot: Slot,
        /// Whose copy.
        replica: ReplicaId,
        /// How it stands.
        heard: Heard,
    },
    /// Items were appended to the log.
    Appended {
        /// The place of the first.
        from: Index,
        /// The items.
        items: Arc<Vec<LogItem>>,
    },
    /// A certificate is kept.
    Certified(Arc<StableCertificate>),
    /// The snapshot of this certificate was saved.
    Saved(Arc<StableCertificate>),
    /// The replica is of use to clients now, or no longer.
    Ready(bool),
    /// A peer delivered what fails its own claims.
    Forged(Forged),
    /// A peer is accused.
    Accuse(quorate_protocol::Accusation),
    /// The process ended by itself.
    Halt(Halt),
    /// The process dies here, because its [`Watch`] says so.
    Die,
}

/// What keeps the disk busy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// A write.
    Write,
    /// A write and an fsync.
    Sync,
    /// Nothing: there is no room, and it will be tried again.
    Wait,
}

/// Which page of the log a peer asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageOf {
    /// Who.
    pub to: ReplicaId,
    /// From which entry.
    pub from: Index,
    /// In the tree of so many.
    pub size: u64,
}

/// What a process starts with.
#[derive(Debug)]
pub struct Birth {
    /// The disk.
    pub disk: MemoryDisk,
    /// What tells this start from all others.
    pub nonce: u64,
    /// By how much its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// Whether somebody counts what it does.
    pub watch: Option<Box<Watch>>,
}

/// A running process.
pub struct Process {
    me: ReplicaId,
    cluster: Arc<Cluster>,
    verifier: Verifier,
    replica: Replica<Engine>,
    wal: Wal<MemoryDisk>,
    log: Log<MemoryDisk>,
    snapshots: Snapshots<MemoryDisk>,
    disk: MemoryDisk,
    queue: VecDeque<Effect<Engine>>,
    /// What the last input led to, emptied: kept for its room.
    effects: Vec<Effect<Engine>>,
    /// What the disk is busy with; nothing leaves meanwhile.
    busy: Option<Busy>,
    /// How many effects at the queue's front may be carried out.
    released: usize,
    /// Whether the disk has had its time for the effect at the queue's front.
    waited: bool,
    /// Snapshots that are being saved, or wait for it.
    saving: VecDeque<Arc<Snapshot>>,
    /// Whether writes that are not synced take time, too.
    slow: bool,
    skew_ms: i64,
    watch: Option<Box<Watch>>,
    ended: bool,
}

/// What the disk is busy with.
#[derive(Clone, Copy, Debug)]
enum Busy {
    /// A group of records, and how many effects at the queue's front it covers.
    Group(usize),
    /// The effect at the queue's front.
    Front,
}

impl Process {
    /// Formats the folder of a replica that never ran.
    ///
    /// # Errors
    /// What the ledger says.
    pub fn format(cluster: &Cluster, me: ReplicaId, disk: &MemoryDisk) -> Result<(), String> {
        Wal::create(disk.clone(), cluster.owner(me)).map(|_| ()).map_err(|e| e.to_string())
    }

    /// Starts a process on what a disk holds.
    ///
    /// # Errors
    /// Why it cannot start, as production would say; nothing if it died meanwhile. The watch, if
    /// there is one, comes back.
    pub fn start(
        cluster: &Arc<Cluster>,
        me: ReplicaId,
        birth: Birth,
        now: Time,
        acts: &mut Vec<Act>,
    ) -> Result<Self, (Option<Halt>, Option<Box<Watch>>)> {
        let Birth { disk, nonce, skew_ms, mut watch } = birth;
        let before = watch.as_mut().map(|watch| watch.begin(&disk));
        let opened = Opened::open(cluster, me, &disk, nonce);
        let dies = match (&mut watch, before) {
            (Some(watch), Some(before)) => watch.end(Place::Start, &disk, before),
            _ => false,
        };
        let Opened { wal, log, snapshots, recovered } = match opened {
            Ok(opened) => opened,
            Err(_) if dies => return Err((None, watch)),
            Err(halt) => return Err((Some(halt), watch)),
        };
        let mut process = Self {
            me,
            cluster: cluster.clone(),
            verifier: cluster.verifier(),
            replica: cluster.replica(me),
            wal,
            log,
            snapshots,
            disk,
            queue: VecDeque::new(),
            effects: Vec::new(),
            busy: None,
            released: 0,
            waited: false,
            saving: VecDeque::new(),
            slow: false,
            skew_ms,
            watch,
            ended: false,
        };
        if dies {
            process.end(Act::Die, acts);
        } else {
            process.handle(now, Input::Start(Box::new(recovered)), acts);
        }
        Ok(process)
    }

    /// The pipeline, for checkers.
    #[must_use]
    pub fn replica(&self) -> &Replica<Engine> {
        &self.replica
    }

    /// How many effects wait behind an fsync.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The log, for checkers and gateways.
    #[must_use]
    pub fn log(&self) -> LogReader<MemoryDisk> {
        self.log.reader()
    }

    /// The disk, which outlives the process.
    #[must_use]
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// A message arrived.
    pub fn deliver(&mut self, now: Time, from: ReplicaId, message: Sent, acts: &mut Vec<Act>) {
        if !self.replica.wants(from, &message) {
            return;
        }
        let inbound = Inbound { via: from, message };
        match verify_one(&self.verifier, &self.cluster.domain, inbound) {
            Ok(delivery) => self.handle(now, Input::Deliver(delivery), acts),
            Err(forged) => acts.push(Act::Forged(forged)),
        }
    }

    /// A client's request came to this gateway. `false` if its signature is wrong: a gateway
    /// answers that with 401, and hands nothing in.
    pub fn submit(
        &mut self,
        now: Time,
        ticket: Ticket,
        request: Request,
        acts: &mut Vec<Act>,
    ) -> bool {
        let inbound = Inbound { via: self.me, message: Arc::new(request) };
        let verified = verify_one(&self.verifier, &self.cluster.domain, inbound);
        let Ok(delivery) = verified else { return false };
        let submission = Submission { ticket, request: delivery.message };
        self.handle(now, Input::Submit(vec![submission]), acts);
        true
    }

    /// The client no longer waits.
    pub fn abandon(&mut self, now: Time, ticket: Ticket, acts: &mut Vec<Act>) {
        self.handle(now, Input::Abandon(ticket), acts);
    }

    /// What the copy of the service answered to a slot's calls.
    pub fn answered(
        &mut self,
        now: Time,
        slot: Slot,
        answers: Vec<Option<Response>>,
        acts: &mut Vec<Act>,
    ) {
        self.handle(now, Input::Answered { slot, answers }, acts);
    }

    /// The link to a peer broke, or came back.
    pub fn link(&mut self, now: Time, peer: ReplicaId, up: bool, acts: &mut Vec<Act>) {
        self.handle(now, Input::Link { peer, up }, acts);
    }

    /// Sets the wall clock, by how much it is off from the truth.
    pub fn set_skew(&mut self, skew_ms: i64) {
        self.skew_ms = skew_ms;
    }

    /// A timer fired.
    pub fn fire(&mut self, now: Time, timer: TimerName, acts: &mut Vec<Act>) {
        self.handle(now, Input::Timer(timer), acts);
    }

    /// Says whether writes that are not synced take time, too.
    pub fn set_crawling(&mut self, slow: bool) {
        self.slow = slow;
    }

    /// What the disk was busy with has ended, or is to be tried again.
    pub fn worked(&mut self, acts: &mut Vec<Act>) {
        match self.busy.take() {
            Some(Busy::Group(covered)) => {
                let synced = self.watched(Place::Persist, |it| Ok(it.wal.sync()?));
                if !self.succeeded(synced, Busy::Group(covered), acts) {
                    return;
                }
                self.released = covered;
            }
            Some(Busy::Front) => self.waited = true,
            None => {}
        }
        self.flush(acts);
    }

    /// The snapshot whose turn it was is on the disk: what production does on a thread of its own.
    pub fn saved(&mut self, acts: &mut Vec<Act>) {
        let Some(snapshot) = self.saving.pop_front() else { return };
        match self.save(&snapshot) {
            Ok(()) => acts.push(Act::Saved(snapshot.certificate.clone())),
            // The one before still stands, and the write-ahead log is kept above it.
            Err(Trouble::NoRoom) => {}
            Err(Trouble::Fatal(halt)) => return self.end(Act::Halt(halt), acts),
            Err(Trouble::Dies) => return self.end(Act::Die, acts),
        }
        if !self.saving.is_empty() {
            acts.push(Act::Save);
        }
    }

    fn save(&mut self, snapshot: &Snapshot) -> Result<(), Trouble> {
        self.watched(Place::Snapshot, |it| {
            it.log.sync()?;
            let (manifest, chunks) = (snapshot.manifest(), snapshot.chunks());
            Ok(it.snapshots.save(snapshot.slot(), &manifest, chunks)?)
        })
    }

    /// A page was read from the disk, if it could be.
    pub fn page(&mut self, page: PageOf, acts: &mut Vec<Act>) {
        let reader = self.log.reader();
        let item = |index| reader.item(index).ok().flatten();
        let path = |index, size| reader.path(index, size).ok().flatten();
        if let Some(read) = sync::page(page.from, page.size, item, path) {
            let message = Message::Sync(quorate_replica::message::Sync::Page(read));
            self.send(To::One(page.to), Box::new(message), acts);
        }
    }

    /// Gives back who watched it.
    pub fn take_watch(&mut self) -> Option<Box<Watch>> {
        self.watch.take()
    }

    /// Dies with operations under way: the disk carries out so many more writes, drawn from these
    /// two numbers, as it would have anyway.
    pub fn die(&mut self, of_snapshot: u64, of_front: u64) {
        self.watch = None;
        if let Some(snapshot) = self.saving.pop_front() {
            self.disk.stop_after(of_snapshot % SNAPSHOT_WRITES);
            let _ = self.save(&snapshot);
        }
        match (self.busy, self.queue.pop_front()) {
            (Some(Busy::Group(_)), _) => {
                self.disk.stop_after(of_front % GROUP_WRITES);
                let _ = self.wal.sync();
            }
            (Some(Busy::Front), Some(effect)) => {
                self.disk.stop_after(of_front % FRONT_WRITES);
                let _ = self.store(&effect);
            }
            _ => {}
        }
        self.ended = true;
    }

    fn handle(&mut self, now: Time, input: Input<Engine>, acts: &mut Vec<Act>) {
        if self.ended {
            return;
        }
        let clock = Cluster::clock(now, self.skew_ms);
        self.replica.handle(now, clock, input, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Timer { timer, after } => acts.push(Act::Timer { timer, after }),
                Effect::Accuse(accusation) => acts.push(Act::Accuse(accusation)),
                Effect::Ready(ready) => acts.push(Act::Ready(ready)),
                Effect::View { .. } => {}
                effect => self.queue.push_back(effect),
            }
        }
        self.flush(acts);
    }

    /// Carries out effects up to the first that the disk needs time for, and sees to that.
    fn flush(&mut self, acts: &mut Vec<Act>) {
        while !self.ended
            && self.busy.is_none()
            && let Some(effect) = self.queue.pop_front()
        {
            let durable = self.released > 0;
            if matches!(effect, Effect::Persist { .. }) && !durable {
                self.queue.push_front(effect);
                return self.begin_group(acts);
            }
            if let Some(work) = self.takes_time(&effect).filter(|_| !self.waited) {
                self.queue.push_front(effect);
                self.busy = Some(Busy::Front);
                return acts.push(Act::Work(work));
            }
            // A note of a group that was synced is in the log already.
            if !(durable && matches!(effect, Effect::Note { .. })) {
                let stored = self.store(&effect);
                if matches!(stored, Err(Trouble::NoRoom)) {
                    self.queue.push_front(effect);
                    self.succeeded(stored, Busy::Front, acts);
                    return;
                }
                if !self.succeeded(stored, Busy::Front, acts) {
                    return;
                }
                self.let_out(effect, acts);
            }
            self.waited = false;
            self.released = self.released.saturating_sub(1);
        }
    }

    /// Appends the records up to the next change of segments, which counts those before it and
    /// after it differently, and sees to one sync for all of them.
    fn begin_group(&mut self, acts: &mut Vec<Act>) {
        let mut last = 0;
        for (place, effect) in self.queue.iter().enumerate() {
            match effect {
                Effect::Forget { .. } | Effect::Rejoined => break,
                Effect::Persist { slot, record } | Effect::Note { slot, record } => {
                    if let Err(error) = self.wal.append(*slot, &record.to_wire()) {
                        let halt = Halt::new(error.code(), error);
                        return self.end(Act::Halt(halt), acts);
                    }
                    last = place + 1;
                }
                _ => {}
            }
        }
        self.busy = Some(Busy::Group(last));
        acts.push(Act::Work(Work::Sync));
    }

    /// What the disk has to do for an effect, if that takes noticeable time.
    fn takes_time(&self, effect: &Effect<Engine>) -> Option<Work> {
        match effect {
            Effect::Forget { .. } | Effect::Rejoined => Some(Work::Sync),
            Effect::Append { .. } | Effect::Certify(_) | Effect::Truncate { .. } => {
                self.slow.then_some(Work::Write)
            }
            _ => None,
        }
    }

    /// Whether an operation succeeded. If there was no room, `busy` will be tried again.
    fn succeeded(&mut self, done: Result<(), Trouble>, busy: Busy, acts: &mut Vec<Act>) -> bool {
        match done {
            Ok(()) => return true,
            Err(Trouble::NoRoom) => {
                self.busy = Some(busy);
                acts.push(Act::Work(Work::Wait));
            }
            Err(Trouble::Fatal(halt)) => self.end(Act::Halt(halt), acts),
            Err(Trouble::Dies) => self.end(Act::Die, acts),
        }
        false
    }

    fn end(&mut self, how: Act, acts: &mut Vec<Act>) {
        self.ended = true;
        self.queue.clear();
        acts.push(how);
    }

    /// Does what an effect does to the disk.
    fn store(&mut self, effect: &Effect<Engine>) -> Result<(), Trouble> {
        match effect {
            Effect::Note { slot, record } => {
                self.wal.append(*slot, &record.to_wire())?;
                self.pass(Place::Note)
            }
            Effect::Rejoined => self.watched(Place::Rejoined, |it| {
                it.log.sync()?;
                Ok(it.wal.rejoined()?)
            }),
            Effect::Forget { below } => self.watched(Place::Forget, |it| {
                it.log.sync()?;
                Ok(it.wal.rotate(*below)?)
            }),
            Effect::Append { from, items } => {
                let size = self.log.size();
                if from.0 != size {
                    let reason = format!("the log has {size} entries, and is to go on at {from}");
                    return Err(Trouble::Fatal(Halt::new("log-gap", reason)));
                }
                self.watched(Place::Append, |it| Ok(it.log.append(items)?))
            }
            Effect::Truncate { size } => self.watched(Place::Truncate, |it| {
                it.log.truncate_to(*size).map_err(|error| {
                    let halt = Halt::new(error.code(), &error);
                    Trouble::from(error).at_once(halt)
                })
            }),
            Effect::Certify(certificate) => self.watched(Place::Certify, |it| {
                match it.log.put_certificate(certificate) {
                    Err(error) if error.is_fatal() => Err(error.into()),
                    // The next certificate covers this one's entries too.
                    _ => Ok(()),
                }
            }),
            _ => Ok(()),
        }
    }

    /// Does what an effect does beside that.
    fn let_out(&mut self, effect: Effect<Engine>, acts: &mut Vec<Act>) {
        match effect {
            Effect::Append { from, items } => acts.push(Act::Appended { from, items }),
            Effect::Certify(certificate) => acts.push(Act::Certified(certificate)),
            // One that finds others waiting is passed over.
            Effect::Snapshot(snapshot) if self.saving.len() <= SAVES_WAITING_MAX => {
                self.saving.push_back(snapshot);
                if self.saving.len() == 1 {
                    acts.push(Act::Save);
                }
            }
            Effect::Send { to, message } => self.send(to, Box::new(message), acts),
            Effect::Call { slot, calls } => acts.push(Act::Call { slot, calls }),
            Effect::Agreed { slot, kept_up } => acts.push(Act::Agreed { slot, kept_up }),
            Effect::Heard { slot, replica, heard } => {
                acts.push(Act::Heard { slot, replica, heard });
            }
            Effect::SendPage { to, from, size } => acts.push(Act::Page(PageOf { to, from, size })),
            Effect::Reply { ticket, reply } => {
                acts.push(Act::Reply { ticket, reply });
                if self.pass(Place::Reply).is_err() {
                    self.end(Act::Die, acts);
                }
            }
            Effect::Halt(reason) => self.end(Act::Halt(Halt::new("halted", reason)), acts),
            _ => {}
        }
    }

    /// Sends, and dies in the midst of it if the watch says so.
    fn send(&mut self, to: To, message: Box<Sent>, acts: &mut Vec<Act>) {
        let Some(watch) = &mut self.watch else {
            return acts.push(Act::Send { to, message });
        };
        let me = self.me;
        let mut receivers: Vec<ReplicaId> = match &to {
            To::All => self.cluster.committee.replicas().collect(),
            To::Group(group) => group.to_vec(),
            To::One(one) => vec![*one],
        };
        receivers.retain(|&receiver| receiver != me);
        let (reached, dies) = watch.pass(Place::Send, receivers.len() as u64);
        receivers.truncate(usize::try_from(reached).unwrap_or(usize::MAX));
        acts.push(Act::Send { to: To::Group(receivers.into()), message });
        if dies {
            self.end(Act::Die, acts);
        }
    }

    /// Passes a place at which a watched process may die.
    fn pass(&mut self, place: Place) -> Result<(), Trouble> {
        match &mut self.watch {
            Some(watch) => match watch.pass(place, 1).1 {
                true => Err(Trouble::Dies),
                false => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Carries out operations of the disk, at each of which a watched process may die.
    fn watched(
        &mut self,
        place: Place,
        operation: impl FnOnce(&mut Self) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let Some(before) = self.watch.as_mut().map(|watch| watch.begin(&self.disk)) else {
            return operation(self);
        };
        let done = operation(self);
        let dies = self.watch.as_mut().is_some_and(|it| it.end(place, &self.disk, before));
        if dies { Err(Trouble::Dies) } else { done }
    }

    /// The hash of the replicated state, to compare replicas with.
    #[must_use]
    pub fn state(&self) -> Option<(quorate_types::Slot, Digest)> {
        let record = self.replica.execution()?.record();
        Some((record.slot, quorate_proof::state_digest(record)))
    }
}
