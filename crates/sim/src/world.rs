//! The event loop: one queue in virtual time, and everything that hangs on it.

use crate::{
    adversary::{Adversary, Deed, Parcel},
    bounds,
    canon::Canon,
    check::Trace,
    client::{Client, Operation},
    cluster::Cluster,
    disks::{Disks, Drive},
    journal::Journal,
    network::Network,
    outcome::{Outcome, mix},
    plan::{Fault, Plan},
    process::{Act, Birth, PageOf, Process, Sent, TimerName, Work},
    rng::Rng,
    seat::{Seat, Seating},
    violation::{Check, Failure, Violation},
    watch::Watch,
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
    Worked { at: Seat, life: u64 },
    Saved { at: Seat, life: u64 },
    Page { at: Seat, life: u64, page: PageOf },
    Relieve { at: Seat },
    Empty { at: Seat },
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
    pub(crate) disk: MemoryDisk,
    pub(crate) drive: Drive,
    pub(crate) process: Option<Process>,
    pub(crate) life: u64,
    /// Counts what the processes here do, while none runs.
    pub(crate) watch: Option<Box<Watch>>,
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
    pub(crate) disks: Disks,
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
    let (outcome, trace, _) = play(plan, None);
    (outcome, trace)
}

/// Runs a plan to its end and counts what one replica does; perhaps it dies in the midst of it.
pub(crate) fn run_watched(plan: Plan, watching: Watching) -> (Outcome, Watch) {
    let (outcome, _, watch) = play(plan, Some(watching));
    (outcome, watch)
}

/// Whom somebody counts, and how it dies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watching {
    pub(crate) at: Seat,
    /// After how many places, if ever.
    pub(crate) limit: Option<u64>,
    /// Whether its machine loses power.
    pub(crate) power: bool,
    /// What of it survives, and how long it is down.
    pub(crate) seed: u64,
}

fn play(plan: Plan, watching: Option<Watching>) -> (Outcome, Trace, Watch) {
    let tuning = plan.tuning;
    match World::of(plan) {
        Ok(mut world) => {
            world.watch(watching);
            let trace = world.play();
            let watch = world.unwatch();
            (world.outcome, trace, watch)
        }
        Err(failure) => {
            let (logs, history, invented) = (Vec::new(), Vec::new(), Vec::new());
            let trace = Trace { logs, history, invented, tuning };
            let outcome = Outcome { failures: vec![failure], ..Outcome::default() };
            (outcome, trace, Watch::default())
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
        let (tuning, seed) = (plan.tuning, plan.seed);
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
            disks: Disks::new(Rng::new(seed ^ 0x6469_736b)),
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
            Event::Worked { at, life } => {
                self.alive(at, life, |process| process.worked(&mut acts));
                self.carry_out(at, &mut acts);
            }
            Event::Saved { at, life } => {
                self.alive(at, life, |process| process.saved(&mut acts));
                self.carry_out(at, &mut acts);
            }
            Event::Page { at, life, page } => {
                self.alive(at, life, |process| process.page(page, &mut acts));
                self.carry_out(at, &mut acts);
            }
            Event::Relieve { at } => self.relieve(at),
            Event::Empty { at } => self.empty(at),
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
        if self.machines[at.position()].process.is_some() || self.is_reading(at) {
            return;
        }
        let machine = &mut self.machines[at.position()];
        machine.life += 1;
        machine.armed.clear();
        let (disk, skew_ms) = (machine.disk.clone(), machine.skew_ms);
        let birth = Birth { disk, nonce, skew_ms, watch: machine.watch.take() };
        match Process::start(&self.cluster, who, birth, self.now, &mut acts) {
            Ok(mut process) => {
                (machine.voted, machine.transfer) = (process.replica().may_vote(), None);
                process.set_crawling(machine.drive.crawls());
                machine.process = Some(process);
                self.show_log(at);
                self.carry_out(at, &mut acts);
            }
            Err((halt, watch)) => {
                machine.watch = watch;
                match halt {
                    Some(halt) => self.refused(at, &halt),
                    None => self.dies(at),
                }
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
                    match empty {
                        true => self.lose_disk(at),
                        false => self.kill(at, power),
                    }
                    let up = self.now.plus(down).min(self.plan.healed.max(self.now));
                    self.schedule(up, Event::Start { at });
                }
            }
            Fault::Disk { at, trouble, lasting } => self.trouble(at, trouble, lasting),
            Fault::Cut { links, lasting } => {
                self.outcome.inject("cut");
                self.network.cut.extend(links.iter().copied());
                self.notice(&links, false);
                self.schedule(self.now.plus(lasting), Event::Mend { links });
            }
        }
    }

    /// Tells both ends that the links between them broke or came back, where anybody tells them.
    pub(crate) fn notice(&mut self, links: &BTreeSet<(Seat, Seat)>, up: bool) {
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

    /// Has a process do something, if it is the one that was meant.
    fn alive(&mut self, at: Seat, life: u64, act: impl FnOnce(&mut Process)) {
        let machine = &mut self.machines[at.position()];
        if let Some(process) = machine.process.as_mut().filter(|_| machine.life == life) {
            act(process);
        }
    }

    /// Ends everything that the plan lets end.
    fn heal(&mut self) {
        self.heal_disks();
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

    /// Whether what is said at a seat is what its replica thinks and what it has on its disk.
    pub(crate) fn is_sound(&self, at: Seat) -> bool {
        !self.lies(self.who(at)) && !self.disks.lies(at)
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
                Act::Work(work) => {
                    let took = self.working(at, work);
                    self.schedule(self.now.plus(took), Event::Worked { at, life });
                }
                Act::Save => {
                    let took = self.working(at, Work::Sync) + self.working(at, Work::Sync);
                    self.schedule(self.now.plus(took), Event::Saved { at, life });
                }
                Act::Page(page) => {
                    let took = self.reading(at);
                    self.schedule(self.now.plus(took), Event::Page { at, life, page });
                }
                Act::Reply { ticket, reply } => self.reply(at, ticket, reply),
                Act::Accuse(accusation) => self.accused(at, &accusation),
                Act::Forged(forged) if self.lies(forged.via) => {
                    self.outcome.check("forged-refused")
                }
                Act::Forged(forged) => {
                    let reason = format!("{} was sent a forgery: {forged:?}", self.name(at));
                    self.fail(Check::Signatures.broken(reason));
                }
                Act::Halt(halt) => self.halted(at, &halt),
                Act::Die => self.dies(at),
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

    /// What a correct replica appends must be what all others have there.
    fn appended(&mut self, at: Seat, from: Index, items: &[LogItem]) {
        if !self.is_sound(at) {
            return;
        }
        if from.0 > self.canon.size() {
            self.show_log(at);
        }
        let liars = self.machines.iter().filter_map(|machine| machine.adversary.as_ref());
        let invented = liars.flat_map(|adversary| adversary.invented());
        let appended = self.canon.appended(from, items, invented);
        self.hold(at, appended);
    }

    /// Shows what a process has on its disk and nobody saw it append: it died meanwhile, or its
    /// disk was not to be trusted then.
    fn show_log(&mut self, at: Seat) {
        let Some(process) = &self.machines[at.position()].process else { return };
        let (log, from) = (process.log(), self.canon.size());
        let unseen: Vec<LogItem> =
            (from..log.size()).map_while(|place| log.item(Index(place)).ok().flatten()).collect();
        if self.is_sound(at) && !unseen.is_empty() {
            let liars = self.machines.iter().filter_map(|machine| machine.adversary.as_ref());
            let invented = liars.flat_map(|adversary| adversary.invented());
            let shown = self.canon.appended(Index(from), &unseen, invented);
            self.hold(at, shown);
        }
    }

    /// What a correct replica keeps a certificate of must be the log.
    fn certified(&mut self, at: Seat, certificate: &StableCertificate) {
        if self.is_sound(at) {
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

    fn accused(&mut self, at: Seat, accusation: &Accusation) {
        let (by, accused) = (self.who(at), accusation.replica);
        if !self.is_sound(at) {
            return;
        }
        let lies = self.lies(accused) || self.disks.ever_lied(accused);
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
                if self.is_sound(at) {
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
            drive: Drive::default(),
            process: None,
            life: 0,
            watch: None,
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
