//! The event loop: one queue in virtual time, and everything that hangs on it.

use crate::{
    check,
    client::{Client, Operation},
    cluster::Cluster,
    network::Network,
    plan::{Fault, Plan},
    process::{Act, Process, Sent, TimerName},
    rng::Rng,
};
use quorate_ledger::MemoryDisk;
use quorate_proof::{
    Entry, EntryKind, exchange_base, exchange_digest, root_from_path, verify_stable,
};
use quorate_protocol::To;
use quorate_replica::{Message, Reply, Ticket, message::Sync};
use quorate_types::{Index, LogItem, ReplicaId, Slot, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long a client waits before it asks another gateway.
const RETRY: Duration = Duration::from_millis(1_500);

/// What a run came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// What was violated, or who got stuck; empty if all is well.
    pub failures: Vec<String>,
    /// Events handled.
    pub events: u64,
    /// Entries in the longest log.
    pub entries: u64,
    /// The highest view that anybody entered.
    pub views: u64,
    /// Pages of the log that were transferred.
    pub pages: u64,
    /// Pieces of snapshots that were transferred.
    pub pieces: u64,
    /// Replicas that rejoined after a lost disk.
    pub rejoins: u64,
    /// Snapshots saved.
    pub snapshots: u64,
    /// A hash over everything that happened, in order: equal for equal seeds.
    pub hash: u64,
}

#[derive(Debug)]
enum Event {
    Deliver { from: ReplicaId, to: ReplicaId, message: Arc<Sent> },
    Timer { at: ReplicaId, life: u64, timer: TimerName, armed: u64 },
    Synced { at: ReplicaId, life: u64 },
    Fault(Fault),
    Start { at: ReplicaId },
    Mend { links: BTreeSet<(ReplicaId, ReplicaId)> },
    Heal,
    Call { client: usize },
    Retry { client: usize, operation: usize },
}

struct Machine {
    disk: MemoryDisk,
    process: Option<Process>,
    life: u64,
    armed: BTreeMap<TimerName, u64>,
    skew_ms: i64,
}

struct World {
    cluster: Arc<Cluster>,
    plan: Plan,
    now: Time,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    network: Network,
    machines: Vec<Machine>,
    clients: Vec<Client>,
    history: Vec<Operation>,
    tickets: BTreeMap<Ticket, (usize, ReplicaId)>,
    attempts: u64,
    rng: Rng,
    outcome: Outcome,
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    let Some(cluster) = Cluster::new(plan.n, plan.seed) else {
        let failures = vec![format!("no committee of {}", plan.n)];
        return Outcome { failures, ..Outcome::default() };
    };
    let mut world = World::new(cluster, plan);
    world.begin();
    world.turn();
    world.judge();
    world.outcome
}

impl World {
    fn new(cluster: Cluster, plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x5157_4f52_4154_4531);
        let machine = |rng: &mut Rng| Machine {
            disk: MemoryDisk::new(),
            process: None,
            life: 0,
            armed: BTreeMap::new(),
            skew_ms: i64::try_from(rng.below(400)).unwrap_or(0) - 200,
        };
        let machines = (0..plan.n).map(|_| machine(&mut rng)).collect();
        let client = |number, rng: &mut Rng| Client::new(number, plan.requests, rng.fork());
        let clients = (0..plan.clients).map(|number| client(number, &mut rng)).collect();
        Self {
            cluster: Arc::new(cluster),
            network: plan.network.clone(),
            plan,
            now: Time::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            machines,
            clients,
            history: Vec::new(),
            tickets: BTreeMap::new(),
            attempts: 0,
            rng,
            outcome: Outcome::default(),
        }
    }

    fn begin(&mut self) {
        for at in self.cluster.committee.replicas() {
            let disk = self.machines[at.position()].disk.clone();
            if let Err(reason) = Process::format(&self.cluster, at, &disk) {
                self.fail(format!("{at} cannot be formatted: {reason}"));
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
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            self.now = at;
            self.outcome.events += 1;
            self.outcome.hash = mix(self.outcome.hash, at.0 ^ sequence.rotate_left(32));
            self.step(event);
            if !self.outcome.failures.is_empty() || self.is_settled() {
                return;
            }
            if self.now > self.plan.end {
                self.report_stuck();
                return;
            }
        }
    }

    fn step(&mut self, event: Event) {
        let mut acts = Vec::new();
        match event {
            Event::Deliver { from, to, message } => {
                let now = self.now;
                if let Some(process) = &mut self.machines[to.position()].process {
                    process.deliver(now, from, Sent::clone(&message), &mut acts);
                }
                self.carry_out(to, acts);
            }
            Event::Timer { at, life, timer, armed } => {
                let (now, machine) = (self.now, &mut self.machines[at.position()]);
                if machine.life == life && machine.armed.get(&timer) == Some(&armed) {
                    machine.armed.remove(&timer);
                    if let Some(process) = &mut machine.process {
                        process.fire(now, timer, &mut acts);
                    }
                }
                self.carry_out(at, acts);
            }
            Event::Synced { at, life } => {
                let machine = &mut self.machines[at.position()];
                if machine.life == life
                    && let Some(process) = &mut machine.process
                {
                    process.synced(&mut acts);
                }
                self.carry_out(at, acts);
            }
            Event::Fault(fault) => self.inflict(fault),
            Event::Start { at } => self.start(at),
            Event::Mend { links } => {
                self.network.cut.retain(|link| !links.contains(link));
            }
            Event::Heal => self.network.heal(),
            Event::Call { client } => self.call(client),
            Event::Retry { client, operation } => {
                if self.history[operation].returned.is_none() {
                    self.send(client, operation);
                }
            }
        }
    }

    fn start(&mut self, at: ReplicaId) {
        let nonce = self.rng.draw();
        let mut acts = Vec::new();
        let machine = &mut self.machines[at.position()];
        if machine.process.is_some() {
            return;
        }
        machine.life += 1;
        machine.armed.clear();
        let (disk, skew) = (machine.disk.clone(), machine.skew_ms);
        match Process::start(&self.cluster, at, &disk, self.now, nonce, skew, &mut acts) {
            Ok(process) => {
                if !process.replica().sight().votes {
                    self.outcome.rejoins += 1;
                }
                machine.process = Some(process);
                self.carry_out(at, acts);
            }
            Err(reason) => self.fail(format!("{at} cannot start: {reason}")),
        }
    }

    fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { replicas, power, down, empty } => {
                for at in replicas {
                    let seed = self.rng.draw();
                    let machine = &mut self.machines[at.position()];
                    machine.process = None;
                    machine.life += 1;
                    machine.disk = match (empty, power) {
                        (true, _) => MemoryDisk::new(),
                        (false, true) => machine.disk.crash(seed),
                        (false, false) => machine.disk.fork(),
                    };
                    let up = self.now.plus(down).min(self.plan.healed.max(self.now));
                    self.schedule(up, Event::Start { at });
                }
            }
            Fault::Cut { links, lasting } => {
                self.network.cut.extend(links.iter().copied());
                self.schedule(self.now.plus(lasting), Event::Mend { links });
            }
        }
    }

    fn carry_out(&mut self, at: ReplicaId, acts: Vec<Act>) {
        let life = self.machines[at.position()].life;
        for act in acts {
            match act {
                Act::Send { to, message } => {
                    match &*message {
                        Message::Sync(Sync::Page(_)) => self.outcome.pages += 1,
                        Message::Sync(Sync::State { .. }) => self.outcome.pieces += 1,
                        _ => {}
                    }
                    self.multicast(at, &to, Arc::new(*message));
                }
                Act::Saved => self.outcome.snapshots += 1,
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
                Act::Accuse(accusation) => {
                    // Nobody lies in these runs, so nobody may be accused.
                    self.fail(format!("{at} accuses {accusation:?}"));
                }
                Act::Halt(reason) => self.fail(format!("{at} halts: {reason}")),
            }
        }
    }

    fn multicast(&mut self, from: ReplicaId, to: &To, message: Arc<Sent>) {
        let all: Vec<ReplicaId> = self.cluster.committee.replicas().collect();
        let receivers: &[ReplicaId] = match to {
            To::All => &all,
            To::Group(group) => group,
            To::One(one) => std::slice::from_ref(one),
        };
        for &to in receivers.iter().filter(|&&to| to != from) {
            for at in self.network.arrivals(self.now, from, to) {
                let message = message.clone();
                self.schedule(at, Event::Deliver { from, to, message });
            }
        }
    }

    // --- clients -------------------------------------------------------------------------------

    fn call(&mut self, number: usize) {
        let Some(operation) = self.clients[number].next(self.now) else {
            self.clients[number].current = None;
            return;
        };
        self.history.push(operation);
        let operation = self.history.len() - 1;
        self.clients[number].current = Some(operation);
        self.send(number, operation);
    }

    fn send(&mut self, number: usize, operation: usize) {
        self.attempts += 1;
        let attempt = self.attempts;
        let gateway = ReplicaId(self.clients[number].gateway(self.plan.n));
        let mut request = self.history[operation].request.clone();
        request.salt = self.clients[number].salt();
        let ticket = Ticket(attempt);
        self.tickets.insert(ticket, (operation, gateway));
        let event = Event::Retry { client: number, operation };
        self.schedule(self.now.plus(RETRY), event);
        let mut acts = Vec::new();
        let now = self.now;
        if let Some(process) = &mut self.machines[gateway.position()].process {
            process.submit(now, ticket, request, &mut acts);
        }
        self.carry_out(gateway, acts);
    }

    fn reply(&mut self, at: ReplicaId, ticket: Ticket, reply: Reply) {
        let Some((operation, gateway)) = self.tickets.get(&ticket).copied() else { return };
        if gateway != at || self.history[operation].returned.is_some() {
            return;
        }
        let answer = match reply {
            Reply::Certified(certified) => {
                self.check_certified(&certified);
                let index = certified.facts().index;
                Some((index, certified.exchange().response.clone()))
            }
            Reply::Earlier(index) => self.read(at, index),
            Reply::Refused(_) => None,
        };
        let Some((index, response)) = answer else { return };
        self.history[operation].returned = Some((self.now, index, response));
        let client = self.history[operation].client;
        let pause = Duration::from_micros(self.rng.range(1, 200_000));
        self.schedule(self.now.plus(pause), Event::Call { client });
    }

    /// What a client would check of a certified answer.
    fn check_certified(&mut self, certified: &quorate_replica::Certified) {
        let (facts, certificate) = (certified.facts(), certified.certificate());
        let exchange = certified.exchange();
        let base = exchange_base(
            "simulation.localhost",
            &exchange.request,
            &exchange.response,
            &quorate_proof::Coverage::default(),
        );
        let digest = exchange_digest(&facts.salt, &base.unwrap_or_default());
        let entry = Entry {
            index: facts.index,
            epoch: facts.epoch,
            time: facts.time,
            state: facts.state,
            kind: EntryKind::Exchange(digest),
        };
        let head = &certificate.head;
        let root = root_from_path(&entry.leaf(), facts.index.0, head.size, certified.path());
        let verifier = self.cluster.verifier();
        if root != Some(head.root)
            || verify_stable(&self.cluster.policy, &verifier, certificate).is_err()
        {
            self.fail(format!("the proof of entry {} does not verify", facts.index));
        }
    }

    /// Reads an earlier answer from a gateway's log, as the driver does.
    fn read(&mut self, at: ReplicaId, index: Index) -> Option<(Index, quorate_types::Response)> {
        let log = self.machines[at.position()].process.as_ref()?.log();
        let covered = log.certificate_covering(index).ok().flatten().is_some();
        let exchange = log.exchange(index).ok().flatten().flatten();
        match exchange {
            Some(exchange) if covered => Some((index, exchange.response)),
            _ => {
                self.fail(format!("{at} answers with entry {index}, which it cannot prove"));
                None
            }
        }
    }

    // --- judgement -----------------------------------------------------------------------------

    /// Whether the second phase reached its goal: everybody answered, everybody level.
    fn is_settled(&self) -> bool {
        let idle = self.clients.iter().all(|client| client.current.is_none() && client.left == 0);
        if self.now < self.plan.healed || !idle || self.history.is_empty() {
            return false;
        }
        // After a power loss, what was acknowledged may have to be committed again from the votes.
        let acknowledged = self.history.iter().filter_map(|operation| operation.returned.as_ref());
        let needed = acknowledged.map(|(_, index, _)| index.0 + 1).max().unwrap_or(0);
        let mut level = BTreeSet::new();
        for machine in &self.machines {
            let Some(process) = &machine.process else { return false };
            let sight = process.replica().sight();
            if !sight.votes || sight.stable != sight.executed || process.log().size() < needed {
                return false;
            }
            level.insert(process.state());
        }
        level.len() == 1
    }

    fn report_stuck(&mut self) {
        let open = self.history.iter().filter(|operation| operation.returned.is_none()).count();
        let sights: Vec<String> = self
            .machines
            .iter()
            .map(|machine| match &machine.process {
                Some(process) => {
                    let (replica, engine) = (process.replica(), process.replica().engine());
                    let committed = engine.committed();
                    format!("{:?}, engine committed {committed}", replica.sight())
                }
                None => "down".to_owned(),
            })
            .collect();
        self.fail(format!("stuck: {open} requests unanswered; {}", sights.join("; ")));
    }

    fn judge(&mut self) {
        let mut logs: Vec<Vec<LogItem>> = Vec::new();
        for machine in &self.machines {
            let Some(process) = &machine.process else { continue };
            let log = process.log();
            let items = (0..log.size()).map_while(|i| log.item(Index(i)).ok().flatten());
            logs.push(items.collect());
            let sight = process.replica().sight();
            self.outcome.views = self.outcome.views.max(sight.view.0);
        }
        let history = std::mem::take(&mut self.history);
        let verdict = check::one_log(&logs).and_then(|log| {
            self.outcome.entries = log.len() as u64;
            check::at_most_once(log, &history)?;
            check::linearizable(log, &history)
        });
        if let Err(reason) = verdict {
            self.fail(reason);
        }
        let ends: Vec<Option<(Slot, _)>> = self
            .machines
            .iter()
            .map(|machine| machine.process.as_ref().and_then(Process::state))
            .collect();
        for (slot, digest) in ends.iter().flatten() {
            if ends.iter().flatten().any(|(other, state)| other == slot && state != digest) {
                self.fail(format!("two states after slot {slot}"));
            }
            self.outcome.hash = mix(self.outcome.hash, slot.0 ^ u64::from(digest.0[0]));
        }
    }

    fn fail(&mut self, reason: String) {
        self.outcome.failures.push(format!("at {} ms: {reason}", self.now.0 / 1_000_000));
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}
