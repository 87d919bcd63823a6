//! One replica's process: the pipeline, its ledger, and the barrier of an fsync.
//!
//! Stands where the production driver stands, and keeps the same promise: nothing that follows a
//! record leaves before the record is durable.

use crate::cluster::Cluster;
use quorate_crypto::{Forged, Inbound, Verifier, verify_batch};
use quorate_ledger::{Log, LogReader, MemoryDisk, Snapshots, Wal};
use quorate_protocol::pbft::Pbft;
use quorate_replica::{
    Effect, Input, Message, Recovered, Replica, Reply, Snapshot, Submission, Ticket, Timer, sync,
};
use quorate_types::{
    Batch, Digest, Index, LogItem, ReplicaId, Request, StableCertificate, Time, Wire,
};
use std::{collections::VecDeque, sync::Arc};

/// The engine under test.
pub type Engine = Pbft<Batch>;
/// What replicas send in a simulation.
pub type Sent = Message<<Engine as quorate_protocol::Protocol>::Message>;
/// The names of timers.
pub type TimerName = Timer<<Engine as quorate_protocol::Protocol>::Timer>;

/// The largest record that a simulated log may hold, in bytes.
const RECORD_MAX: usize = 1 << 26;

/// What a process asks of the world.
#[derive(Debug)]
pub enum Act {
    /// Deliver a message.
    Send {
        /// To whom.
        to: quorate_protocol::To,
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
    /// Call [`Process::synced`] when an fsync that starts now has ended.
    Sync,
    /// Answer a client.
    Reply {
        /// Which.
        ticket: Ticket,
        /// With what.
        reply: Reply,
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
    Halt(String),
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
    /// Records at the queue's front that the running fsync covers.
    syncing: Option<usize>,
    /// How many effects at the queue's front may be carried out.
    released: usize,
    skew_ms: i64,
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
    /// Why it cannot start, as production would say.
    pub fn start(
        cluster: &Arc<Cluster>,
        me: ReplicaId,
        disk: &MemoryDisk,
        now: Time,
        nonce: u64,
        skew_ms: i64,
        acts: &mut Vec<Act>,
    ) -> Result<Self, String> {
        let owner = cluster.owner(me);
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let votes = Wal::open(disk.clone(), owner).map_err(|e| text(&e))?;
        let log = Log::open(disk.clone(), owner).map_err(|e| text(&e))?.log;
        let mut snapshots = Snapshots::new(disk.clone(), owner);
        let reader = log.reader();
        let snapshot = read_snapshot(&mut snapshots)?
            .filter(|snapshot| snapshot.certificate.head.size <= log.size());
        let base = snapshot.as_ref().map_or(1, |snapshot| snapshot.certificate.head.size);
        let items = (base..log.size())
            .map(|index| reader.item(Index(index)).map_err(|e| text(&e))?.ok_or("a hole".into()))
            .collect::<Result<Vec<_>, String>>()?;
        let certificate = newest_certificate(&reader)?;
        let records = votes
            .records
            .iter()
            .map(|record| Wire::from_wire(&record.bytes, RECORD_MAX).map_err(|e| text(&e)))
            .collect::<Result<Vec<_>, String>>()?;
        let recovered = Recovered {
            records,
            lost: !votes.existed,
            log_size: log.size(),
            snapshot,
            items,
            certificate,
            nonce: quorate_proof::sha256(&nonce.to_be_bytes()),
        };
        let mut process = Self {
            me,
            cluster: cluster.clone(),
            verifier: cluster.verifier(),
            replica: cluster.replica(me),
            wal: votes.wal,
            log,
            snapshots,
            disk: disk.clone(),
            queue: VecDeque::new(),
            effects: Vec::new(),
            syncing: None,
            released: 0,
            skew_ms,
        };
        process.handle(now, Input::Start(Box::new(recovered)), acts);
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
        let inbound = vec![Inbound { via: from, message }];
        for verified in verify_batch(&self.verifier, &self.cluster.domain, inbound) {
            match verified {
                Ok(delivery) => self.handle(now, Input::Deliver(delivery), acts),
                Err(forged) => acts.push(Act::Forged(forged)),
            }
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
        let inbound = vec![Inbound { via: self.me, message: Arc::new(request) }];
        let mut verified = verify_batch(&self.verifier, &self.cluster.domain, inbound);
        let Some(Ok(delivery)) = verified.pop() else { return false };
        let submission = Submission { ticket, request: delivery.message };
        self.handle(now, Input::Submit(vec![submission]), acts);
        true
    }

    /// The client no longer waits.
    pub fn abandon(&mut self, now: Time, ticket: Ticket, acts: &mut Vec<Act>) {
        self.handle(now, Input::Abandon(ticket), acts);
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

    /// The fsync ended.
    pub fn synced(&mut self, acts: &mut Vec<Act>) {
        if let Some(covered) = self.syncing.take() {
            if let Err(error) = self.wal.sync() {
                acts.push(Act::Halt(error.to_string()));
                return;
            }
            self.released = covered;
        }
        self.flush(acts);
    }

    fn handle(&mut self, now: Time, input: Input<Engine>, acts: &mut Vec<Act>) {
        let clock = Cluster::clock(now, self.skew_ms);
        self.replica.handle(now, clock, input, &mut self.effects);
        self.queue.extend(self.effects.drain(..));
        self.flush(acts);
    }

    /// Carries out effects up to the first record that is not durable, and sees to an fsync.
    fn flush(&mut self, acts: &mut Vec<Act>) {
        while let Some(effect) = self.queue.front() {
            let durable = self.released > 0;
            if matches!(effect, Effect::Persist { .. }) && !durable {
                break;
            }
            let Some(effect) = self.queue.pop_front() else { break };
            self.released = self.released.saturating_sub(1);
            if durable && matches!(effect, Effect::Note { .. }) {
                continue;
            }
            if let Err(reason) = self.carry_out(effect, acts) {
                acts.push(Act::Halt(reason));
                self.queue.clear();
                return;
            }
        }
        if self.queue.is_empty() || self.syncing.is_some() {
            return;
        }
        let mut last = 0;
        for (place, effect) in self.queue.iter().enumerate() {
            if let Effect::Persist { slot, record } | Effect::Note { slot, record } = effect {
                if let Err(error) = self.wal.append(*slot, &record.to_wire()) {
                    acts.push(Act::Halt(error.to_string()));
                    return;
                }
                last = place + 1;
            }
        }
        self.syncing = Some(last);
        acts.push(Act::Sync);
    }

    fn carry_out(&mut self, effect: Effect<Engine>, acts: &mut Vec<Act>) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        match effect {
            Effect::Persist { .. } | Effect::View { .. } => {}
            Effect::Ready(ready) => acts.push(Act::Ready(ready)),
            Effect::Note { slot, record } => {
                self.wal.append(slot, &record.to_wire()).map_err(|e| text(&e))?;
            }
            Effect::Rejoined => {
                self.log.sync().map_err(|e| text(&e))?;
                self.wal.rejoined().map_err(|e| text(&e))?;
            }
            Effect::Forget { below } => {
                self.log.sync().map_err(|e| text(&e))?;
                self.wal.rotate(below).map_err(|e| text(&e))?;
            }
            Effect::Append { from, items } => {
                if from.0 != self.log.size() {
                    return Err(format!(
                        "append at {from}, but the log ends at {}",
                        self.log.size()
                    ));
                }
                self.log.append(&items).map_err(|e| text(&e))?;
                acts.push(Act::Appended { from, items });
            }
            Effect::Truncate { size } => self.log.truncate_to(size).map_err(|e| text(&e))?,
            Effect::Certify(certificate) => {
                self.log.put_certificate(&certificate).map_err(|e| text(&e))?;
                acts.push(Act::Certified(certificate));
            }
            Effect::Snapshot(snapshot) => {
                self.log.sync().map_err(|e| text(&e))?;
                let (manifest, chunks) = (snapshot.manifest(), snapshot.chunks());
                self.snapshots.save(snapshot.slot(), &manifest, chunks).map_err(|e| text(&e))?;
                acts.push(Act::Saved(snapshot.certificate.clone()));
            }
            Effect::Send { to, message } => {
                acts.push(Act::Send { to, message: Box::new(message) });
            }
            Effect::SendPage { to, from, size } => {
                let reader = self.log.reader();
                let item = |index| reader.item(index).ok().flatten();
                let path = |index, size| reader.path(index, size).ok().flatten();
                if let Some(page) = sync::page(from, size, item, path) {
                    let message =
                        Box::new(Message::Sync(quorate_replica::message::Sync::Page(page)));
                    acts.push(Act::Send { to: quorate_protocol::To::One(to), message });
                }
            }
            Effect::Timer { timer, after } => acts.push(Act::Timer { timer, after }),
            Effect::Reply { ticket, reply } => acts.push(Act::Reply { ticket, reply }),
            Effect::Accuse(accusation) => acts.push(Act::Accuse(accusation)),
            Effect::Halt(reason) => return Err(reason),
        }
        Ok(())
    }

    /// The hash of the replicated state, to compare replicas with.
    #[must_use]
    pub fn state(&self) -> Option<(quorate_types::Slot, Digest)> {
        let record = self.replica.execution()?.record();
        Some((record.slot, quorate_proof::state_digest(record)))
    }
}

fn read_snapshot(snapshots: &mut Snapshots<MemoryDisk>) -> Result<Option<Arc<Snapshot>>, String> {
    let newest = snapshots.newest().map_err(|e| e.to_string())?.snapshot;
    let Some(saved) = newest else { return Ok(None) };
    let chunks = (0..saved.chunks())
        .map(|n| saved.chunk(n).map_err(|e| e.to_string())?.ok_or("a chunk is missing".to_owned()))
        .collect::<Result<Vec<_>, String>>()?;
    let snapshot = Snapshot::read(saved.manifest(), &chunks).map_err(|e| e.to_string())?;
    Ok(Some(Arc::new(snapshot)))
}

/// The newest certificate whose head lies within the log.
fn newest_certificate(
    reader: &LogReader<MemoryDisk>,
) -> Result<Option<Arc<StableCertificate>>, String> {
    let newest = reader.newest_certificate().map_err(|e| e.to_string())?;
    Ok(newest.filter(|certificate| certificate.head.size <= reader.size()).map(Arc::new))
}
