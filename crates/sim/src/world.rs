//! The event loop: one queue in virtual time, and everything that hangs on it.

use crate::{
    adversary::{Deed, Parcel},
    bounds,
    canon::Canon,
    charge,
    check::Trace,
    client::{Client, Operation},
    cluster::Cluster,
    copy::Standing,
    disks::Disks,
    journal::{Journal, Meant},
    machine::{Input, Machine},
    model::Leeway,
    outcome::{Outcome, mix},
    plan::{Fault, Plan},
    process::{Act, Birth, PageOf, Process, Sent, TimerName, Work},
    rng::Rng,
    seat::{Seat, Seating},
    violation::{Check, Failure, Violation},
    watch::Watch,
    wires::{Hop, Stage, Wires},
    witness::{self, Witness},
};
use quorate_crypto::Verifier;
use quorate_protocol::{Accusation, To};
use quorate_replica::{Message, Ticket, message::Sync};
use quorate_types::{Index, LogItem, ReplicaId, Response, Slot, StableCertificate, Time};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

#[derive(Debug)]
pub(crate) enum Event {
    Transit(Transit, Stage),
    Verified { at: Seat, life: u64, input: Input },
    Done { at: Seat, life: u64, acts: Vec<Act> },
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
    Answered { at: Seat, life: u64, slot: Slot, answers: Vec<Option<Response>> },
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

/// A message under way.
#[derive(Debug)]
pub(crate) struct Transit {
    pub(crate) from: Seat,
    to: Seat,
    /// How long it is, where that matters.
    bytes: u64,
    pub(crate) message: Arc<Sent>,
}

pub(crate) struct World {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) verifier: Verifier,
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    /// What a process asks for, emptied: kept for its room.
    pub(crate) acts: Vec<Act>,
    pub(crate) wires: Wires,
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
    /// Whose copies are bad.
    pub(crate) standing: Standing,
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
            let leeway = Leeway::default();
            let trace = Trace { logs, history, invented, tuning, leeway };
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
        cluster.copies = plan.copies.is_some();
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
        let machine = |at| Machine::new((at, seating.who(at)), &cluster, &plan, &mut rng);
        let machines: Vec<Machine> = seating.all().map(machine).collect();
        let wires = Wires::new(plan.network.clone(), machines.len(), &mut rng.fork());
        let client =
            |number, rng: &mut Rng| Client::new(number, plan.requests, cluster.clone(), rng.fork());
        let (standing, mut canon) = (Standing::of(&plan), Canon::new(tuning));
        canon.bear(standing.leeway());
        let clients = (0..plan.clients).map(|number| client(number, &mut rng)).collect();
        Self {
            verifier: cluster.verifier(),
            cluster,
            wires,
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
            canon,
            standing,
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
        match event {
            Event::Transit(transit, stage) => self.transit(transit, stage),
            Event::Verified { at, life, input } => self.verified(at, life, input),
            Event::Done { at, life, acts } => self.done(at, life, acts),
            Event::Timer { at, life, timer, armed } => {
                let machine = &self.machines[at.position()];
                if machine.life == life && machine.armed.get(&timer) == Some(&armed) {
                    self.give(at, Input::Timer { timer, armed });
                }
            }
            Event::Worked { at, life } => self.give_alive(at, life, Input::Worked),
            Event::Saved { at, life } => self.give_alive(at, life, Input::Saved),
            Event::Page { at, life, page } => self.give_alive(at, life, Input::Page(page)),
            Event::Relieve { at } => self.relieve(at),
            Event::Empty { at } => self.empty(at),
            Event::Fault(fault) => self.inflict(fault),
            Event::Start { at } => self.start(at),
            Event::Mend { links } => {
                for (from, to) in &links {
                    self.wires.mend(from.position(), to.position());
                }
                self.notice(&links, true);
            }
            Event::Link { at, peer, up } => self.give(at, Input::Link { peer, up }),
            Event::Heal => self.heal(),
            Event::Call { client } => self.call(client),
            Event::Retry { client, operation } => self.retry(client, operation),
            Event::Abandon { at, ticket } => self.abandon(at, ticket),
            Event::Answered { at, life, slot, answers } => {
                self.give_alive(at, life, Input::Answered { slot, answers });
            }
        }
    }

    // --- faults --------------------------------------------------------------------------------

    fn start(&mut self, at: Seat) {
        let (who, nonce) = (self.who(at), self.rng.draw());
        let mut acts = Vec::new();
        if self.machines[at.position()].process.is_some() || self.is_reading(at) {
            return;
        }
        let machine = &mut self.machines[at.position()];
        machine.begin_life();
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
                for (from, to) in &links {
                    self.wires.cut(from.position(), to.position());
                }
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

    /// Gives a process an input, if it is the one that was meant.
    fn give_alive(&mut self, at: Seat, life: u64, input: Input) {
        if self.machines[at.position()].life == life {
            self.give(at, input);
        }
    }

    /// Ends everything that the plan lets end.
    fn heal(&mut self) {
        self.heal_disks();
        let seat = |at: usize| Seat(u16::try_from(at).unwrap_or(u16::MAX));
        let cut = self.wires.cuts().map(|(from, to)| (seat(from), seat(to))).collect();
        self.wires.heal();
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
                Act::Call { slot, calls } => self.called(at, slot, &calls),
                Act::Agreed { slot, kept_up } => self.agreed(at, slot, &kept_up),
                Act::Heard { slot, replica, heard } => self.heard(at, slot, replica, heard),
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
    pub(crate) fn show_log(&mut self, at: Seat) {
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
        self.dispatch(at, &meant, parcels);
    }

    /// Puts parcels on their links.
    fn dispatch(&mut self, at: Seat, meant: &Meant, parcels: Vec<Parcel>) {
        let mut legs = Vec::new();
        let mut weighed: Option<(Arc<Sent>, u64)> = None;
        for Parcel { to, message, after } in parcels {
            let bytes = match &weighed {
                _ if !self.wires.weighs() => 0,
                // Most often all get the same.
                Some((same, bytes)) if Arc::ptr_eq(same, &message) => *bytes,
                _ => charge::length(&message),
            };
            for to in self.seating.of(to) {
                let hops = self.wires.send(self.now, at.position(), to.position(), bytes);
                let mut arrivals = Vec::new();
                for Hop { at: then, stage } in hops.into_iter().flatten() {
                    let then = then.plus(after);
                    let transit = Transit { from: at, to, bytes, message: message.clone() };
                    self.schedule(then, Event::Transit(transit, stage));
                    if meant.is_some() {
                        arrivals.push(then);
                    }
                }
                if meant.is_some() {
                    legs.push((to, message.clone(), arrivals));
                }
            }
            weighed = Some((message, bytes));
        }
        self.note_sent(at, meant, legs);
    }

    /// A message is at the end of its way, or waits on it once more.
    fn transit(&mut self, transit: Transit, stage: Stage) {
        let link = (transit.from.position(), transit.to.position());
        if let Some(Hop { at, stage }) = self.wires.hop(self.now, link, transit.bytes, stage) {
            return self.schedule(at, Event::Transit(transit, stage));
        }
        let Transit { from, to, message, .. } = transit;
        self.give(to, Input::Deliver { from: self.who(from), message });
    }

    pub(crate) fn fail(&mut self, violation: Violation) {
        self.outcome.failures.push(Failure { at: self.now, violation });
    }

    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Scheduled { at, sequence: self.sequence, event });
    }
}

/// A message to several, unchanged.
fn parcels(to: &[ReplicaId], message: Sent) -> Vec<Parcel> {
    let message = Arc::new(message);
    to.iter().map(|&to| Parcel { to, message: message.clone(), after: Duration::ZERO }).collect()
}
