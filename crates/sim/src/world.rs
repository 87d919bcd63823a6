//! The event loop: one queue in virtual time, and everything that hangs on it.

use crate::{
    adversary::{Adversary, Deed, Parcel},
    bounds,
    canon::Canon,
    check::Trace,
    client::{Client, Operation},
    cluster::Cluster,
    journal::Journal,
    network::Network,
    outcome::{Outcome, mix},
    plan::{Fault, Plan},
    process::{Act, Process, Sent, TimerName},
    rng::Rng,
    seat::{Seat, Seating},
    violation::{Check, Failure, Violation},
    witness::{self, Witness},
};
use quorate_crypto::Verifier;
use quorate_ledger::MemoryDisk;
use quorate_protocol::{Accusation, To};
use quorate_replica::{Message, Ticket, message::Sync};
use quorate_types::{Index, LogItem, ReplicaId, Slot, StableCertificate, Time};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

#[derive(Debug)]
pub(crate) enum Event {
    Deliver { from: Seat, to: Seat, message: Arc<Sent> },
    Timer { at: Seat, life: u64, timer: TimerName, armed: u64 },
    Synced { at: Seat, life: u64 },
    Fault(Fault),
    Start { at: Seat },
    Mend { links: BTreeSet<(Seat, Seat)> },
    Link { at: Seat, peer: ReplicaId, up: bool },
    Heal,
    Call { client: usize },
    Retry { client: usize, operation: usize },
    Abandon { at: Seat, ticket: Ticket },
}

/// An event and its time; those of one time in the order in which they were scheduled.
struct Scheduled {
    at: Time,
    sequence: u64,
    event: Event,
}

impl Ord for Scheduled {
    /// The greatest is the earliest: a heap gives its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Scheduled {}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

pub(crate) struct Machine {
    disk: MemoryDisk,
    pub(crate) process: Option<Process>,
    life: u64,
    armed: BTreeMap<TimerName, u64>,
    skew_ms: i64,
    pub(crate) ready: bool,
    /// Whether the process could vote when it was last looked at.
    voted: bool,
    /// The slot at which a state transfer began that still runs.
    transfer: Option<Slot>,
    pub(crate) adversary: Option<Adversary>,
}

pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) verifier: Verifier,
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    /// What a process asks for, emptied: kept for its room.
    acts: Vec<Act>,
    network: Network,
    pub(crate) seating: Seating,
    pub(crate) machines: Vec<Machine>,
    pub(crate) clients: Vec<Client>,
    pub(crate) history: Vec<Operation>,
    pub(crate) tickets: BTreeMap<Ticket, (usize, Seat)>,
    pub(crate) attempts: u64,
    /// Whether everybody was answered and level, and each gateway is asked once more.
    pub(crate) probing: bool,
    witness: Witness,
    pub(crate) canon: Canon,
    pub(crate) rng: Rng,
    pub(crate) outcome: Outcome,
    /// What happens, in words, where somebody will read it.
    pub(crate) journal: Option<Box<Journal>>,
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    record(plan).0
}

/// Runs a plan to its end, and gives what the checks at the end read, too.
#[must_use]
pub fn record(plan: Plan) -> (Outcome, Trace) {
    let tuning = plan.tuning;
    match World::of(plan) {
        Ok(mut world) => {
            let trace = world.play();
            (world.outcome, trace)
        }
        Err(failure) => {
            let (logs, history, invented) = (Vec::new(), Vec::new(), Vec::new());
            let trace = Trace { logs, history, invented, tuning };
            (Outcome { failures: vec![failure], ..Outcome::default() }, trace)
        }
    }
}

impl World {
    /// The world of a plan, before anything happened.
    pub(crate) fn of(plan: Plan) -> Result<Self, Failure> {
        let cluster = Cluster::new(plan.n, plan.signatures, plan.seed, plan.tuning);
        let violation = Check::Running.broken(format!("no committee of {}", plan.n));
        let mut cluster = cluster.ok_or(Failure { at: Time::default(), violation })?;
        let wrong = |deeds: &BTreeSet<Deed>| deeds.contains(&Deed::ExecuteWrongly);
        let liars = plan.cast.liars.iter().filter(|(_, deeds)| wrong(deeds));
        cluster.wrong = liars.map(|(liar, _)| *liar).collect();
        Ok(Self::new(cluster, plan))
    }

    /// Plays it to its end, and judges.
    pub(crate) fn play(&mut self) -> Trace {
        self.begin();
        self.turn();
        self.judge()
    }

    fn new(cluster: Cluster, plan: Plan) -> Self {
        let tuning = plan.tuning;
        let cluster = Arc::new(cluster);
        let mut rng = Rng::new(plan.seed ^ 0x5157_4f52_4154_4531);
        let seating = Seating::new(plan.n, &plan.cast.twins);
        let machine = |seat| Machine::new(seating.who(seat), &cluster, &plan, &mut rng);
        let machines = seating.all().map(machine).collect();
        let client =
            |number, rng: &mut Rng| Client::new(number, plan.requests, cluster.clone(), rng.fork());
        let clients = (0..plan.clients).map(|number| client(number, &mut rng)).collect();
        Self {
            verifier: cluster.verifier(),
            cluster,
            network: plan.network.clone(),
            plan,
            now: Time::default(),
            queue: BinaryHeap::new(),
            sequence: 0,
            acts: Vec::new(),
            seating,
            machines,
            clients,
            history: Vec::new(),
            tickets: BTreeMap::new(),
            attempts: 0,
            probing: false,
            witness: Witness::default(),
            canon: Canon::new(tuning),
            rng,
            outcome: Outcome::default(),
            journal: None,
        }
    }

    fn begin(&mut self) {
        for at in self.seating.all() {
            let machine = &self.machines[at.position()];
            let (disk, off) = (machine.disk.clone(), machine.skew_ms.unsigned_abs());
            match off {
                0..=200 => {}
                201..=2_000 => self.outcome.inject("clock-near"),
                _ => self.outcome.inject("clock-far"),
            }
            if let Err(reason) = Process::format(&self.cluster, self.who(at), &disk) {
                let reason = format!("{} cannot be formatted: {reason}", self.name(at));
                self.fail(Check::Running.broken(reason));
            }
            self.schedule(Time::default(), Event::Start { at });
        }
        for (at, fault) in self.plan.faults.clone() {
            self.schedule(at, Event::Fault(fault));
        }
        self.schedule(self.plan.healed, Event::Heal);
        for client in 0..self.clients.len() {
            let at = Time::default().plus(Duration::from_millis(self.rng.range(1, 500)));
            self.schedule(at, Event::Call { client });
        }
    }

    /// Handles events until all is answered and everybody is level, or the end is reached.
    fn turn(&mut self) {
        while let Some(Scheduled { at, sequence, event }) = self.queue.pop() {
            self.now = at;
            self.outcome.events += 1;
            self.outcome.hash = mix(self.outcome.hash, at.0 ^ sequence.rotate_left(32));
            self.note_event(&event);
            self.step(event);
            self.note_effects();
            if self.outcome.events.is_multiple_of(bounds::EVENTS) {
                self.look_at_bounds();
            }
            if !self.outcome.failures.is_empty() {
                return;
            }
            if self.is_settled() {
                if self.probing && self.all_ready() {
                    return;
                }
                self.probe();
            }
            if self.now > self.plan.end {
                self.report_stuck();
                return;
            }
        }
    }

    fn step(&mut self, event: Event) {
        let mut acts = std::mem::take(&mut self.acts);
        match event {
            Event::Deliver { from, to, message } => {
                let from = self.who(from);
                let machine = &mut self.machines[to.position()];
                if let Some(process) = &mut machine.process {
                    if let Some(adversary) = &mut machine.adversary {
                        adversary.hear(&message);
                    }
                    process.deliver(self.now, from, Arc::unwrap_or_clone(message), &mut acts);
                }
                self.carry_out(to, &mut acts);
            }
            Event::Timer { at, life, timer, armed } => {
                let (now, machine) = (self.now, &mut self.machines[at.position()]);
                if machine.life == life && machine.armed.get(&timer) == Some(&armed) {
                    machine.armed.remove(&timer);
                    if let Some(process) = &mut machine.process {
                        process.fire(now, timer, &mut acts);
                    }
                }
                self.carry_out(at, &mut acts);
            }
            Event::Synced { at, life } => {
                let machine = &mut self.machines[at.position()];
                if machine.life == life
                    && let Some(process) = &mut machine.process
                {
                    process.synced(&mut acts);
                }
                self.carry_out(at, &mut acts);
            }
            Event::Fault(fault) => self.inflict(fault),
            Event::Start { at } => self.start(at),
            Event::Mend { links } => {
                self.network.cut.retain(|link| !links.contains(link));
                self.notice(&links, true);
            }
            Event::Link { at, peer, up } => {
                if let Some(process) = &mut self.machines[at.position()].process {
                    self.outcome.inject(if up { "link-up" } else { "link-down" });
                    process.link(self.now, peer, up, &mut acts);
                }
                self.carry_out(at, &mut acts);
            }
            Event::Heal => self.heal(),
            Event::Call { client } => self.call(client),
            Event::Retry { client, operation } => self.retry(client, operation),
            Event::Abandon { at, ticket } => self.abandon(at, ticket),
        }
        self.acts = acts;
    }

    // --- faults --------------------------------------------------------------------------------

    fn start(&mut self, at: Seat) {
        let (who, nonce) = (self.who(at), self.rng.draw());
        let mut acts = Vec::new();
        let machine = &mut self.machines[at.position()];
        if machine.process.is_some() {
            return;
        }
        machine.life += 1;
        machine.armed.clear();
        let (disk, skew) = (machine.disk.clone(), machine.skew_ms);
        match Process::start(&self.cluster, who, &disk, self.now, nonce, skew, &mut acts) {
            Ok(process) => {
                (machine.voted, machine.transfer) = (process.replica().may_vote(), None);
                machine.process = Some(process);
                self.carry_out(at, &mut acts);
            }
            Err(_) if self.lies(who) => {}
            Err(reason) => {
                self.fail(Check::Running.broken(format!("{who} cannot start: {reason}")));
            }
        }
    }

    fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { seats, power, down, empty } => {
                self.outcome.inject(match (empty, power) {
                    (true, _) => "lost-disk",
                    (false, true) => "power-loss",
                    (false, false) => "crash",
                });
                for at in seats {
                    let seed = self.rng.draw();
                    let machine = &mut self.machines[at.position()];
                    machine.process = None;
                    machine.ready = false;
                    machine.life += 1;
                    machine.disk = match (empty, power) {
                        (true, _) => MemoryDisk::new(),
                        (false, true) => machine.disk.crash(seed),
                        (false, false) => machine.disk.fork(),
                    };
                    let up = self.now.plus(down).min(self.plan.healed.max(self.now));
                    self.schedule(up, Event::Start { at });
                    let links = self.seating.all().map(|other| (other, at)).collect();
                    self.notice(&links, false);
                }
            }
            Fault::Cut { links, lasting } => {
                self.outcome.inject("cut");
                self.network.cut.extend(links.iter().copied());
                self.notice(&links, false);
                self.schedule(self.now.plus(lasting), Event::Mend { links });
            }
        }
    }

    /// Tells both ends that the links between them broke or came back, where anybody tells them.
    fn notice(&mut self, links: &BTreeSet<(Seat, Seat)>, up: bool) {
        let Some(after) = self.plan.link_notice else { return };
        let both = links.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let pairs: BTreeSet<_> = both.map(|(at, peer)| (at, self.who(peer))).collect();
        for (at, peer) in pairs {
            if self.who(at) == peer {
                continue;
            }
            self.schedule(self.now.plus(after), Event::Link { at, peer, up });
        }
    }

    /// Ends everything that the plan lets end.
    fn heal(&mut self) {
        let cut = self.network.cut.clone();
        self.network.heal();
        self.notice(&cut, true);
        if self.plan.cast.clocks_mended {
            for at in self.plan.cast.clocks.keys().flat_map(|&who| self.seating.of(who)) {
                let machine = &mut self.machines[at.position()];
                machine.skew_ms = 0;
                if let Some(process) = &mut machine.process {
                    process.set_skew(0);
                }
            }
        }
    }

    /// Whether a replica ever lies, or has a twin; then nothing is expected of it, not even
    /// afterwards.
    pub(crate) fn lies(&self, who: ReplicaId) -> bool {
        self.plan.cast.lies(who)
    }

    /// Whose seat it is.
    pub(crate) fn who(&self, at: Seat) -> ReplicaId {
        self.seating.who(at)
    }

    /// How people call it.
    pub(crate) fn name(&self, at: Seat) -> String {
        self.seating.name(at)
    }

    // --- replicas ------------------------------------------------------------------------------

    pub(crate) fn carry_out(&mut self, at: Seat, acts: &mut Vec<Act>) {
        let life = self.machines[at.position()].life;
        self.count_arrivals(at);
        for act in acts.drain(..) {
            match act {
                Act::Send { to, message } => self.post(at, &to, *message),
                Act::Saved(certificate) => {
                    self.outcome.snapshots += 1;
                    if let Some(adversary) = &mut self.machines[at.position()].adversary {
                        adversary.saved(certificate);
                    }
                }
                Act::Appended { from, items } => self.appended(at, from, &items),
                Act::Certified(certificate) => self.certified(at, &certificate),
                Act::Ready(ready) => self.machines[at.position()].ready = ready,
                Act::Timer { timer, after } => {
                    self.sequence += 1;
                    let armed = self.sequence;
                    let machine = &mut self.machines[at.position()];
                    match after {
                        Some(after) => {
                            machine.armed.insert(timer, armed);
                            let event = Event::Timer { at, life, timer, armed };
                            self.schedule(self.now.plus(after), event);
                        }
                        None => {
                            machine.armed.remove(&timer);
                        }
                    }
                }
                Act::Sync => {
                    let most = u64::try_from(self.plan.fsync_max.as_nanos()).unwrap_or(1);
                    let took = Duration::from_nanos(self.rng.below(most) + 1);
                    self.schedule(self.now.plus(took), Event::Synced { at, life });
                }
                Act::Reply { ticket, reply } => self.reply(at, ticket, reply),
                Act::Accuse(accusation) => self.accused(self.who(at), &accusation),
                Act::Forged(forged) if self.lies(forged.via) => {
                    self.outcome.check("forged-refused")
                }
                Act::Forged(forged) => {
                    let reason = format!("{} was sent a forgery: {forged:?}", self.name(at));
                    self.fail(Check::Signatures.broken(reason));
                }
                Act::Halt(reason) => self.halt(at, &reason),
            }
        }
    }

    /// Counts the end of a rejoin, and of a state transfer that led on.
    fn count_arrivals(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        let Some(process) = &machine.process else { return };
        let replica = process.replica();
        self.outcome.rejoins += u64::from(!machine.voted && replica.may_vote());
        machine.voted = replica.may_vote();
        match (machine.transfer, replica.is_transferring()) {
            (None, true) => machine.transfer = Some(replica.sight().executed),
            (Some(from), false) => {
                self.outcome.transfers += u64::from(replica.sight().executed > from);
                machine.transfer = None;
            }
            _ => {}
        }
    }

    /// A process ends by itself. A twin's is started again: its operator knows no better.
    fn halt(&mut self, at: Seat, reason: &str) {
        let who = self.who(at);
        if !self.lies(who) {
            return self.fail(Check::Running.broken(format!("{who} halts: {reason}")));
        }
        let machine = &mut self.machines[at.position()];
        machine.process = None;
        machine.life += 1;
        if self.plan.cast.twins.contains(&who) {
            self.outcome.inject("twin-halted");
            let again = Duration::from_millis(self.rng.range(1, 1_000));
            self.schedule(self.now.plus(again), Event::Start { at });
        }
    }

    /// What a correct replica appends must be what all others have there.
    fn appended(&mut self, at: Seat, from: Index, items: &[LogItem]) {
        if self.lies(self.who(at)) {
            return;
        }
        let liars = self.machines.iter().filter_map(|machine| machine.adversary.as_ref());
        let invented = liars.flat_map(|adversary| adversary.invented());
        let appended = self.canon.appended(from, items, invented);
        self.hold(at, appended);
    }

    /// What a correct replica keeps a certificate of must be the log.
    fn certified(&mut self, at: Seat, certificate: &StableCertificate) {
        if !self.lies(self.who(at)) {
            let certified = self.canon.certified(certificate);
            self.hold(at, certified);
        }
    }

    /// Fails if somebody broke something.
    fn hold(&mut self, at: Seat, held: Result<(), Violation>) {
        if let Err(Violation { check, reason }) = held {
            self.fail(check.broken(format!("{}: {reason}", self.name(at))));
        }
    }

    /// Whether anybody who never lied keeps more than it may.
    pub(crate) fn look_at_bounds(&mut self) {
        for at in self.seating.all() {
            let Some(process) = &self.machines[at.position()].process else { continue };
            if !self.lies(self.who(at)) {
                let held = bounds::check(&bounds::held(process), &mut self.outcome.held);
                self.hold(at, held);
            }
        }
    }

    fn accused(&mut self, by: ReplicaId, accusation: &Accusation) {
        if self.lies(by) {
            return;
        }
        let lies = self.lies(accusation.replica);
        match witness::accused(&self.cluster, &self.verifier, accusation, lies) {
            Ok(evidence) => {
                *self.outcome.accusations.entry(accusation.charge).or_default() += 1;
                if evidence {
                    self.outcome.check("evidence-holds");
                }
            }
            Err(Violation { check, reason }) => self.fail(check.broken(format!("{by} {reason}"))),
        }
    }

    /// Sends a message, or what a liar makes of it.
    fn post(&mut self, at: Seat, to: &To, message: Sent) {
        let from = self.who(at);
        match &message {
            Message::Sync(Sync::Page(_)) => self.outcome.pages += 1,
            Message::Sync(Sync::State { .. }) => self.outcome.pieces += 1,
            _ => {}
        }
        let receivers: Vec<ReplicaId> = match to {
            To::All => self.cluster.committee.replicas().filter(|&to| to != from).collect(),
            To::Group(group) => group.iter().copied().filter(|&to| to != from).collect(),
            To::One(one) => std::iter::once(*one).filter(|&to| to != from).collect(),
        };
        let meant = self.meant(&message, &receivers);
        let lying = !(self.plan.cast.reform && self.now >= self.plan.healed);
        let machine = &mut self.machines[at.position()];
        let parcels = match (&mut machine.adversary, &machine.process) {
            (Some(adversary), Some(process)) if lying => {
                adversary.send(process.replica().engine(), &receivers, message)
            }
            (Some(_), _) => parcels(&receivers, message),
            (None, _) => {
                if !self.lies(from) {
                    let signed = match &message {
                        Message::Cosign(cosign) => self.canon.signed(&cosign.head),
                        _ => Ok(()),
                    };
                    let sent = self.witness.sent(from, &message);
                    self.hold(at, sent.and(signed));
                }
                parcels(&receivers, message)
            }
        };
        let mut legs = Vec::new();
        for Parcel { to, message, after } in parcels {
            for to in self.seating.of(to) {
                let mut arrivals = self.network.arrivals(self.now, at, to);
                for arrival in &mut arrivals {
                    *arrival = arrival.plus(after);
                    let (from, message) = (at, message.clone());
                    self.schedule(*arrival, Event::Deliver { from, to, message });
                }
                if meant.is_some() {
                    legs.push((to, message.clone(), arrivals));
                }
            }
        }
        self.note_sent(at, &meant, legs);
    }

    pub(crate) fn fail(&mut self, violation: Violation) {
        self.outcome.failures.push(Failure { at: self.now, violation });
    }

    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Scheduled { at, sequence: self.sequence, event });
    }
}

impl Machine {
    fn new(replica: ReplicaId, cluster: &Arc<Cluster>, plan: &Plan, rng: &mut Rng) -> Self {
        let most = plan.skew_ms_max;
        let sound =
            i64::try_from(rng.range(0, 2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        let adversary = plan.cast.liars.get(&replica).map(|deeds| {
            let (deeds, deceived) = (deeds.clone(), plan.cast.deceived.clone());
            Adversary::new(replica, cluster.clone(), deeds, deceived, rng.fork())
        });
        Self {
            disk: MemoryDisk::new(),
            process: None,
            life: 0,
            armed: BTreeMap::new(),
            skew_ms: plan.cast.clocks.get(&replica).copied().unwrap_or(sound),
            ready: false,
            voted: true,
            transfer: None,
            adversary,
        }
    }
}

/// A message to several, unchanged.
fn parcels(to: &[ReplicaId], message: Sent) -> Vec<Parcel> {
    let message = Arc::new(message);
    to.iter().map(|&to| Parcel { to, message: message.clone(), after: Duration::ZERO }).collect()
}
