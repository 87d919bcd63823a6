//! How many requests a second the model expects of replicas that share the cores of one machine
//! with their clients: what `cargo xtask measure growth` puts beside what it measures.
//!
//! ```text
//! cargo run --release -p quorate-sim --example growth -- replicas=7 payload=512 http_ns=24000
//! {"requests_per_second":4321,"p50_ms":21.5,"requests_a_slot":57.1}
//! ```
//!
//! The processes are those of the simulator, production's pipeline over a ledger in memory, and
//! an input costs what the simulator charges for it (`charge.rs`). Two things are otherwise. The
//! cores are one pool: a replica's thread, which verifies as well, waits for the first core that is
//! free, one input a turn. And beside replicas the pool serves what a request costs its client and
//! its gateway (`http_ns`), and each message its sockets (`message_ns`); both are given, since they
//! can be measured alone.
//!
//! What the table lacks (memory that is in no cache, encryption on links, copies, writing the log)
//! cannot be. It is in two numbers: what an entry costs each replica beside what the table has for
//! it (`entry_ns`), and each byte of content beyond the table's 512 (`byte_ps`). Who asks finds
//! them at two points that were measured, and the model tells the others.

use quorate_ledger::MemoryDisk;
use quorate_protocol::To;
use quorate_replica::{Reply, Ticket};
use quorate_sim::{
    Signatures, charge,
    cluster::{Cluster, Tuning},
    cost::{Costs, Cpu, Work},
    process::{self, Act, Birth, Process, Sent, TimerName},
};
use quorate_types::{ReplicaId, Request, Salt, Time};
use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt::Write as _,
    fs,
    sync::Arc,
    time::Duration,
};

/// From one process to another on the same machine.
const LOOPBACK: Duration = Duration::from_micros(20);

/// The content that `execute` was measured with.
const EXECUTED: u64 = 512;

/// What part of the requests is not counted: all clients begin at once.
const WARM_UP: usize = 4;

/// When a run that does not end is given up, in virtual time.
const PATIENCE: Time = Time(3_600_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let setting = Setting::parse(std::env::args().skip(1))?;
    println!("{}", Machine::start(&setting)?.run()?);
    Ok(())
}

/// What is modelled.
struct Setting {
    numbers: BTreeMap<String, u64>,
    costs: Costs,
}

impl Setting {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let defaults = [
            ("replicas", 4),
            ("payload", 512),
            ("connections", 100),
            ("requests", 4_000),
            ("cores", 2),
            ("http_ns", 0),
            ("message_ns", 0),
            ("fsync_ns", 0),
            ("entry_ns", 0),
            ("byte_ps", 0),
        ];
        let defaults = defaults.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut setting = Self { numbers: defaults.collect(), costs: Costs::measured() };
        for argument in arguments {
            let (name, value) = argument.split_once('=').ok_or("NAME=VALUE is wanted")?;
            if name == "costs" {
                setting.costs = table(&fs::read_to_string(value)?)?;
                continue;
            }
            let number = setting.numbers.get_mut(name).ok_or(format!("there is no {name}"))?;
            *number = value.parse()?;
        }
        Ok(setting)
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    fn nanos(&self, name: &str) -> Duration {
        Duration::from_nanos(self.number(name))
    }
}

/// The costs that `quorate sim calibrate` printed.
fn table(text: &str) -> Result<Costs, Box<dyn Error>> {
    let mut plan = "workers = 0\n[picos]\n".to_owned();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, nanos) = line.split_once(' ').ok_or("a cost has a name and nanoseconds")?;
        writeln!(plan, "{name} = {:.0}", nanos.trim().parse::<f64>()? * 1_000.0)?;
    }
    Ok(toml::from_str(&plan)?)
}

/// One replica, and what it has not got to.
struct Seat {
    process: Process,
    inbox: VecDeque<Input>,
    /// Whether its thread waits for a core, or has one.
    is_at_work: bool,
    armed: BTreeMap<TimerName, u64>,
    /// Knows what was verified lately.
    cpu: Cpu,
}

/// What a process is given.
enum Input {
    Deliver { from: ReplicaId, message: Arc<Sent> },
    Timer { timer: TimerName, armed: u64 },
    Worked,
    Saved,
    Submit { ticket: Ticket, request: Box<Request> },
}

/// What a core is at.
enum Job {
    /// The next input of a replica.
    Turn(usize),
    /// A client's request goes out, and into its gateway.
    Ask(usize),
    /// Its answer comes back.
    Tell(usize),
}

/// What happens at a time.
enum Event {
    Give { at: usize, input: Input },
    Turned { at: usize, acts: Vec<Act> },
    Asked(usize),
    Told(usize),
}

/// A machine on which everybody runs.
struct Machine<'a> {
    setting: &'a Setting,
    cluster: Arc<Cluster>,
    seats: Vec<Seat>,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    jobs: VecDeque<Job>,
    cores_free: u64,
    /// When each client asked, by its number.
    asked: Vec<Time>,
    /// Whose request a ticket is.
    tickets: BTreeMap<u64, usize>,
    answers: Vec<(Time, Duration)>,
}

impl<'a> Machine<'a> {
    fn start(setting: &'a Setting) -> Result<Self, Box<dyn Error>> {
        let n = u16::try_from(setting.number("replicas"))?;
        // As the node's configuration has them.
        let tuning = Tuning {
            window: 128,
            replay_window: 32_768,
            replay_signed_max: 1 << 20,
            snapshot_bytes: 32 << 20,
            snapshot_lag: 20_000,
            batch_items_max: 512,
            view_timeout: Duration::from_millis(800),
        };
        let cluster = Cluster::new(n, Signatures::Macs, 0, tuning);
        let cluster = Arc::new(cluster.ok_or("no committee has that size")?);
        let connections = usize::try_from(setting.number("connections"))?;
        let mut machine = Self {
            setting,
            cluster: cluster.clone(),
            seats: Vec::new(),
            now: Time::default(),
            events: BTreeMap::new(),
            sequence: 0,
            jobs: VecDeque::new(),
            cores_free: setting.number("cores"),
            asked: vec![Time::default(); connections],
            tickets: BTreeMap::new(),
            answers: Vec::new(),
        };
        let mut first = Vec::new();
        for me in cluster.committee.replicas() {
            let (disk, mut acts) = (MemoryDisk::new(), Vec::new());
            Process::format(&cluster, me, &disk)?;
            let birth = Birth { disk, nonce: me.0.into(), skew_ms: 0, watch: None };
            let started = Process::start(&cluster, me, birth, machine.now, &mut acts);
            let process = started.map_err(|_| "a replica does not start")?;
            let cpu = Cpu::new(setting.costs.clone());
            let (inbox, armed) = (VecDeque::new(), BTreeMap::new());
            machine.seats.push(Seat { process, inbox, is_at_work: false, armed, cpu });
            first.push(acts);
        }
        for (at, acts) in first.into_iter().enumerate() {
            machine.carry_out(at, acts);
        }
        // Replicas have cosigned the beginning by then.
        machine.now = Time::default().plus(Duration::from_secs(1));
        machine.pass_until(machine.now)?;
        (0..connections).for_each(|client| machine.ask(client));
        Ok(machine)
    }

    /// Goes on until all is answered, and says how it went.
    fn run(mut self) -> Result<String, Box<dyn Error>> {
        let requests = usize::try_from(self.setting.number("requests"))?;
        let before = self.height();
        while self.answers.len() < requests {
            let Some(((at, _), event)) = self.events.pop_first() else {
                return Err("nothing happens any more".into());
            };
            if at > PATIENCE {
                return Err("not everything is answered".into());
            }
            self.now = at;
            self.happen(event)?;
        }
        let slots = (self.height() - before).max(1);
        let counted = self.answers.get(requests / WARM_UP..).unwrap_or_default();
        let (Some((first, _)), Some((last, _))) = (counted.first(), counted.last()) else {
            return Err("no request was counted".into());
        };
        let seconds = last.0.saturating_sub(first.0) as f64 / 1e9;
        let mut latencies: Vec<Duration> = counted.iter().map(|(_, latency)| *latency).collect();
        latencies.sort();
        let p50 = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        Ok(format!(
            "{{\"requests_per_second\":{:.1},\"p50_ms\":{:.3},\"requests_a_slot\":{:.1}}}",
            (counted.len() - 1) as f64 / seconds,
            p50.as_secs_f64() * 1e3,
            self.answers.len() as f64 / slots as f64
        ))
    }

    fn pass_until(&mut self, end: Time) -> Result<(), Box<dyn Error>> {
        while let Some(((at, sequence), event)) = self.events.pop_first() {
            if at > end {
                self.events.insert((at, sequence), event);
                break;
            }
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn height(&self) -> u64 {
        self.seats.first().map_or(0, |seat| seat.process.replica().sight().executed.0)
    }

    fn happen(&mut self, event: Event) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Give { at, input } => {
                let seat = &mut self.seats[at];
                seat.inbox.push_back(input);
                if !seat.is_at_work {
                    seat.is_at_work = true;
                    self.jobs.push_back(Job::Turn(at));
                }
            }
            Event::Turned { at, acts } => {
                self.cores_free += 1;
                match self.seats[at].inbox.is_empty() {
                    true => self.seats[at].is_at_work = false,
                    false => self.jobs.push_back(Job::Turn(at)),
                }
                self.carry_out(at, acts);
            }
            Event::Asked(client) => {
                self.cores_free += 1;
                self.submit(client);
            }
            Event::Told(client) => {
                self.cores_free += 1;
                let latency = self.now.0.saturating_sub(self.asked[client].0);
                self.answers.push((self.now, Duration::from_nanos(latency)));
                self.ask(client);
            }
        }
        while self.cores_free > 0 {
            let Some(job) = self.jobs.pop_front() else { break };
            self.cores_free -= 1;
            self.begin(job)?;
        }
        Ok(())
    }

    /// A core takes a job.
    fn begin(&mut self, job: Job) -> Result<(), Box<dyn Error>> {
        let http = self.setting.nanos("http_ns") / 2;
        let (took, event) = match job {
            Job::Ask(client) => (http, Event::Asked(client)),
            Job::Tell(client) => (http, Event::Told(client)),
            Job::Turn(at) => {
                let (took, acts) = self.turn(at)?;
                (took, Event::Turned { at, acts })
            }
        };
        self.schedule(took, event);
        Ok(())
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now.plus(after), self.sequence), event);
    }

    fn ask(&mut self, client: usize) {
        self.asked[client] = self.now;
        self.jobs.push_back(Job::Ask(client));
    }

    /// Clients are spread over all gateways.
    fn submit(&mut self, client: usize) {
        self.sequence += 1;
        let (number, at) = (self.sequence, client % self.seats.len());
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&number.to_be_bytes());
        let request = Box::new(Request {
            method: "PUT".to_owned(),
            path: format!("/kv/{number:016}"),
            query: "?".to_owned(),
            fields: vec![("content-type".to_owned(), "application/octet-stream".to_owned())],
            body: vec![b'q'; self.setting.number("payload") as usize].into(),
            salt: Salt(salt),
            signature: None,
        });
        self.tickets.insert(number, client);
        let ticket = Ticket(number);
        self.schedule(Duration::ZERO, Event::Give { at, input: Input::Submit { ticket, request } });
    }

    /// A replica's thread handles one input: how long that takes, and what comes of it.
    fn turn(&mut self, at: usize) -> Result<(Duration, Vec<Act>), Box<dyn Error>> {
        let (now, peers) = (self.now, self.seats.len() as u64 - 1);
        let socket = self.setting.nanos("message_ns") / 2;
        let payload = self.setting.number("payload");
        let seat = &mut self.seats[at];
        let Some(input) = seat.inbox.pop_front() else { return Ok((Duration::ZERO, Vec::new())) };
        let (mut acts, mut took) = (Vec::new(), Duration::ZERO);
        let domain = &self.cluster.domain;
        let (mut work, message) = match &input {
            Input::Deliver { from, message } => {
                let read = charge::read(&mut seat.cpu, &seat.process, domain, (*from, message));
                (read, Some(&**message))
            }
            Input::Submit { request, .. } => (charge::take(&mut seat.cpu, domain, request), None),
            Input::Timer { .. } | Input::Worked | Input::Saved => (Work::default(), None),
        };
        work += charge::step(message);
        match input {
            Input::Deliver { from, message } => {
                took += socket;
                seat.process.deliver(now, from, Arc::unwrap_or_clone(message), &mut acts);
            }
            Input::Timer { timer, armed } => {
                if seat.armed.get(&timer) == Some(&armed) {
                    seat.armed.remove(&timer);
                    seat.process.fire(now, timer, &mut acts);
                }
            }
            Input::Worked => seat.process.worked(&mut acts),
            Input::Saved => seat.process.saved(&mut acts),
            Input::Submit { ticket, request } => {
                if !seat.process.submit(now, ticket, *request, &mut acts) {
                    return Err("a request was refused".into());
                }
            }
        }
        let me = ReplicaId(u16::try_from(at)?);
        for act in &acts {
            charge::act(me, act, &mut work);
            match act {
                Act::Send { to, .. } => {
                    let receivers = match to {
                        To::All => peers,
                        To::Group(group) => group.len() as u64,
                        To::One(_) => 1,
                    };
                    took += socket * u32::try_from(receivers)?;
                }
                Act::Appended { items, .. } => {
                    let bytes = payload.saturating_sub(EXECUTED);
                    let each = self.setting.number("entry_ns")
                        + bytes * self.setting.number("byte_ps") / 1_000;
                    took += Duration::from_nanos(each * items.len() as u64);
                }
                Act::Halt(halt) => return Err(format!("a replica ends: {halt:?}").into()),
                _ => {}
            }
        }
        Ok((took + self.setting.costs.of(&work), acts))
    }

    fn carry_out(&mut self, at: usize, acts: Vec<Act>) {
        let fsync = self.setting.nanos("fsync_ns");
        for act in acts {
            match act {
                Act::Send { to, message } => self.post(at, &to, Arc::from(message)),
                Act::Timer { timer, after } => {
                    self.sequence += 1;
                    let armed = self.sequence;
                    let Some(after) = after else {
                        self.seats[at].armed.remove(&timer);
                        continue;
                    };
                    self.seats[at].armed.insert(timer, armed);
                    self.schedule(after, Event::Give { at, input: Input::Timer { timer, armed } });
                }
                Act::Work(work) => {
                    let took = match work {
                        process::Work::Write => Duration::ZERO,
                        process::Work::Sync | process::Work::Wait => fsync,
                    };
                    self.schedule(took, Event::Give { at, input: Input::Worked });
                }
                Act::Save => self.schedule(fsync * 2, Event::Give { at, input: Input::Saved }),
                Act::Reply { ticket, reply: Reply::Certified(_) } => {
                    if let Some(client) = self.tickets.remove(&ticket.0) {
                        self.jobs.push_back(Job::Tell(client));
                    }
                }
                _ => {}
            }
        }
    }

    fn post(&mut self, from: usize, to: &To, message: Arc<Sent>) {
        let receivers: Vec<usize> = match to {
            To::All => (0..self.seats.len()).collect(),
            To::Group(group) => group.iter().map(|it| usize::from(it.0)).collect(),
            To::One(one) => vec![usize::from(one.0)],
        };
        for at in receivers.into_iter().filter(|at| *at != from) {
            let from = ReplicaId(u16::try_from(from).unwrap_or(u16::MAX));
            let input = Input::Deliver { from, message: message.clone() };
            self.schedule(LOOPBACK, Event::Give { at, input });
        }
    }
}
