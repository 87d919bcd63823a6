//! One machine: a process, its disk, and cores that get to its inputs one after the other.
//!
//! Where nothing costs anything a process handles an input the moment it comes. Else the message is
//! verified by the pool, waits for the thread, and what the process asks for is carried out when
//! the thread is through with it. A process that dies takes with it whatever it had not got to.

use crate::{
    adversary::Adversary,
    charge,
    cluster::Cluster,
    copy::ServiceCopy,
    cost::{Cpu, Work},
    disks::Drive,
    plan::Plan,
    process::{Act, PageOf, Process, Sent, TimerName},
    rng::Rng,
    seat::Seat,
    watch::Watch,
    world::{Event, World},
};
use quorate_crypto::Domain;
use quorate_ledger::MemoryDisk;
use quorate_replica::Ticket;
use quorate_types::{ReplicaId, Request, Response, Slot};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Parts the numbers of copies from those of all else.
const COPY_FORK: u64 = 0x6265_7369_6465;

pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    pub(crate) drive: Drive,
    pub(crate) process: Option<Process>,
    /// Counts what the processes here do, while none runs.
    pub(crate) watch: Option<Box<Watch>>,
    /// Counts processes; what was meant for an earlier one is void.
    pub(crate) life: u64,
    pub(crate) armed: BTreeMap<TimerName, u64>,
    pub(crate) skew_ms: i64,
    pub(crate) ready: bool,
    /// Whether the process could vote when it was last looked at.
    pub(crate) voted: bool,
    /// The slot at which a state transfer began that still runs.
    pub(crate) transfer: Option<Slot>,
    pub(crate) adversary: Option<Adversary>,
    /// Of a service that runs outside.
    pub(crate) copy: Option<ServiceCopy>,
    /// None where nothing costs anything.
    cpu: Option<Cpu>,
    /// Verified, and not yet handled.
    waiting: VecDeque<Input>,
    /// Whether the thread is at something.
    is_busy: bool,
}

/// What a process is given.
#[derive(Debug)]
pub(crate) enum Input {
    Deliver { from: ReplicaId, message: Arc<Sent> },
    Timer { timer: TimerName, armed: u64 },
    Worked,
    Saved,
    Page(PageOf),
    Link { peer: ReplicaId, up: bool },
    Submit { ticket: Ticket, request: Box<Request>, operation: usize },
    Abandon { ticket: Ticket },
    Answered { slot: Slot, answers: Vec<Option<Response>> },
}

impl Machine {
    pub(crate) fn new(
        (at, replica): (Seat, ReplicaId),
        cluster: &Arc<Cluster>,
        plan: &Plan,
        rng: &mut Rng,
    ) -> Self {
        let most = plan.skew_ms_max;
        let sound =
            i64::try_from(rng.range(0, 2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        let adversary = plan.cast.liars.get(&replica).map(|deeds| {
            let (deeds, deceived) = (deeds.clone(), plan.cast.deceived.clone());
            Adversary::new(replica, cluster.clone(), deeds, deceived, rng.fork())
        });
        // Drawn apart, so that plans without copies stay as they are.
        let copy = plan.copies.as_ref().map(|copies| {
            let seed = plan.seed ^ COPY_FORK.rotate_left(u32::from(at.0));
            ServiceCopy::new(copies.habits.get(&replica).copied(), Rng::new(seed))
        });
        Self {
            disk: MemoryDisk::new(),
            drive: Drive::default(),
            process: None,
            watch: None,
            life: 0,
            armed: BTreeMap::new(),
            skew_ms: plan.cast.clocks.get(&replica).copied().unwrap_or(sound),
            ready: false,
            voted: true,
            transfer: None,
            adversary,
            copy,
            cpu: (!plan.costs.is_free()).then(|| Cpu::new(plan.costs.clone())),
            waiting: VecDeque::new(),
            is_busy: false,
        }
    }

    /// A new process is about to start: nothing of the one before is left.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
        self.armed.clear();
        self.waiting.clear();
        self.is_busy = false;
        if let Some(copy) = &mut self.copy {
            copy.begin_life();
        }
        if let Some(cpu) = &mut self.cpu {
            cpu.reset();
        }
    }
}

impl World {
    /// Gives a machine's process an input: at once, or when its cores get to it.
    pub(crate) fn give(&mut self, at: Seat, input: Input) {
        let machine = &mut self.machines[at.position()];
        let (Some(process), life) = (&machine.process, machine.life) else { return };
        let Some(cpu) = &mut machine.cpu else {
            let mut acts = std::mem::take(&mut self.acts);
            self.handle(at, input, &mut acts);
            self.carry_out(at, &mut acts);
            self.acts = acts;
            return;
        };
        let work = work_before(cpu, process, &self.cluster.domain, &input);
        let verified = cpu.verify(self.now, &work);
        if verified > self.now {
            self.schedule(verified, Event::Verified { at, life, input });
        } else {
            self.verified(at, life, input);
        }
    }

    /// An input is through the pool.
    pub(crate) fn verified(&mut self, at: Seat, life: u64, input: Input) {
        let machine = &mut self.machines[at.position()];
        if machine.life == life {
            machine.waiting.push_back(input);
            if machine.is_busy {
                return self.outcome.inject("cpu-wait");
            }
            self.take_turn(at);
        }
    }

    /// The thread is through with an input, and turns to the next.
    pub(crate) fn done(&mut self, at: Seat, life: u64, mut acts: Vec<Act>) {
        if self.machines[at.position()].life == life {
            self.machines[at.position()].is_busy = false;
            self.carry_out(at, &mut acts);
            self.take_turn(at);
        }
    }

    fn take_turn(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        if machine.is_busy {
            return;
        }
        let Some(input) = machine.waiting.pop_front() else { return };
        let message = match &input {
            Input::Deliver { message, .. } => Some(&**message),
            _ => None,
        };
        let mut work = charge::step(message);
        let mut acts = Vec::new();
        self.handle(at, input, &mut acts);
        let (who, now) = (self.who(at), self.now);
        acts.iter().for_each(|act| charge::act(who, act, &mut work));
        // What checks look at has happened, whether the process lives to tell of it or not.
        let happened = |act: &mut Act| matches!(act, Act::Appended { .. } | Act::Certified(_));
        let mut happened: Vec<Act> = acts.extract_if(.., happened).collect();
        self.carry_out(at, &mut happened);
        let machine = &mut self.machines[at.position()];
        let done = machine.cpu.as_mut().map_or(now, |cpu| cpu.handle(now, &work));
        let life = machine.life;
        machine.is_busy = true;
        self.schedule(done, Event::Done { at, life, acts });
    }

    fn handle(&mut self, at: Seat, input: Input, acts: &mut Vec<Act>) {
        let (now, machine) = (self.now, &mut self.machines[at.position()]);
        let Some(process) = &mut machine.process else { return };
        match input {
            Input::Deliver { from, message } => {
                if let Some(adversary) = &mut machine.adversary {
                    adversary.hear(&message);
                }
                process.deliver(now, from, Arc::unwrap_or_clone(message), acts);
            }
            Input::Timer { timer, armed } => {
                // What was handled before may have disarmed it, or armed it anew.
                if machine.armed.get(&timer) == Some(&armed) {
                    machine.armed.remove(&timer);
                    process.fire(now, timer, acts);
                }
            }
            Input::Worked => process.worked(acts),
            Input::Saved => process.saved(acts),
            Input::Page(page) => process.page(page, acts),
            Input::Link { peer, up } => {
                self.outcome.inject(if up { "link-up" } else { "link-down" });
                process.link(now, peer, up, acts);
            }
            Input::Submit { ticket, request, operation } => {
                let taken = process.submit(now, ticket, *request, acts);
                if !taken && !self.history[operation].sound {
                    self.outcome.check("wrong-signature-refused");
                }
                self.note_asked(operation, at, taken);
            }
            Input::Answered { slot, answers } => process.answered(now, slot, answers, acts),
            Input::Abandon { ticket } => {
                self.outcome.inject("client-abandons");
                process.abandon(now, ticket, acts);
            }
        }
    }
}

/// What the pool does with an input.
fn work_before(cpu: &mut Cpu, process: &Process, domain: &Domain, input: &Input) -> Work {
    match input {
        Input::Deliver { from, message } => charge::read(cpu, process, domain, (*from, message)),
        Input::Submit { request, .. } => charge::take(cpu, domain, request),
        Input::Timer { .. }
        | Input::Worked
        | Input::Saved
        | Input::Page(_)
        | Input::Link { .. }
        | Input::Answered { .. }
        | Input::Abandon { .. } => Work::default(),
    }
}
