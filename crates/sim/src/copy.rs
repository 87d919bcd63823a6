//! A service that runs outside, and the copy of it beside each machine.
//!
//! A copy is the key-value service with a state of its own. It executes what it is given in the
//! order of the log, and does what a node's host does with `restore = "replay"`: whenever it may
//! not hold the state before a call, it is fed from its process's log. Who gives the answers of a
//! bad copy to its replica need not lie: nobody is accused for what a copy does.
//!
//! | habit | what its replica gets |
//! |---|---|
//! | [`Habit::Lies`] | answers of its own invention |
//! | [`Habit::SpeaksA`], [`Habit::SpeaksB`] | the right answers, in words that others may share |
//! | [`Habit::Silent`] | nothing |
//! | [`Habit::ByTurns`] | now nothing, now everything late, now what is right |
//! | [`Habit::Dies`] | nothing from the middle of a slot on |
//! | [`Habit::Forgets`] | answers of an empty service, until it is noticed |
//! | [`Habit::Unfit`] | answers that are too long, or that no proof can cover |

use crate::{
    cluster::{Cluster, faults_of},
    model::Leeway,
    plan::Plan,
    rng::Rng,
};
use quorate_proof::Entry;
use quorate_replica::{execute, was_called};
use quorate_service::{Context, Kv, Service, State};
use quorate_types::{
    Call, Digest, Index, LogItem, ReplicaId, Request, Response, Slot, Time, UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a copy takes for one call, in milliseconds, at most.
const CALL_MS_MAX: u64 = 20;

/// How long a slow one does: less than a host waits.
const SLOW_MS_MAX: u64 = 1_500;

/// How long it takes to be fed an entry.
const FED: Duration = Duration::from_micros(100);

/// How many slots a turn lasts at most.
const TURN_MAX: u64 = 6;

/// How a bad copy behaves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Habit {
    /// Its answers are random.
    Lies,
    /// Its answers end otherwise than others'.
    SpeaksA,
    /// The same, with another end.
    SpeaksB,
    /// It never answers.
    Silent,
    /// It is slow, or silent, or well, by turns.
    ByTurns,
    /// It dies in the middle of a slot, now and then.
    Dies,
    /// It loses its state without a word, now and then.
    Forgets,
    /// Its answers are too long or cannot be covered, now and then.
    Unfit,
}

impl Habit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lies,
        Self::SpeaksA,
        Self::SpeaksB,
        Self::Silent,
        Self::ByTurns,
        Self::Dies,
        Self::Forgets,
        Self::Unfit,
    ];

    /// Under what it is counted what it really did.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lies => "copy-lies",
            Self::SpeaksA => "copy-speaks-a",
            Self::SpeaksB => "copy-speaks-b",
            Self::Silent => "copy-silent",
            Self::ByTurns => "copy-pauses",
            Self::Dies => "copy-dies",
            Self::Forgets => "copy-forgets",
            Self::Unfit => "copy-unfit",
        }
    }

    /// Whether two such copies can give one and the same wrong answer.
    fn is_shared(self) -> bool {
        matches!(self, Self::SpeaksA | Self::SpeaksB | Self::Forgets | Self::Unfit)
    }
}

/// A service that runs outside, and how its copies behave.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Those that are not sound.
    #[serde(default, with = "crate::plain")]
    pub habits: BTreeMap<ReplicaId, Habit>,
}

impl Copies {
    /// Draws how the copies of `n` replicas behave: in four seeds of five the faulty replicas'
    /// alone are bad, in the others anybody's are, two pairs that speak differently among them.
    #[must_use]
    pub fn draw(rng: &mut Rng, n: u16, faulty: &BTreeSet<ReplicaId>) -> Self {
        let (within, pairs) = (rng.permille(800), rng.permille(300));
        let mut copies = Self::default();
        for replica in (0..n).map(ReplicaId) {
            let habit = rng.pick(&Habit::ALL).copied().unwrap_or(Habit::Lies);
            let chosen = rng.permille(if within { 700 } else { 450 });
            if !within && pairs {
                let dialect = if replica.0 % 2 == 0 { Habit::SpeaksA } else { Habit::SpeaksB };
                copies.habits.insert(replica, dialect);
            } else if chosen && (!within || faulty.contains(&replica)) {
                copies.habits.insert(replica, habit);
            }
        }
        copies
    }
}

/// Whose copies may be bad, as far as it is known: for what holds while no more than f are.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    n: u16,
    habits: BTreeMap<ReplicaId, Habit>,
    faulty: BTreeSet<ReplicaId>,
    /// Those that could not be fed, because a disk could not be read.
    unfed: BTreeSet<ReplicaId>,
}

impl Standing {
    /// That of a plan. Whatever a faulty replica's copy is, its reports are not to be counted on.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let habits = plan.copies.iter().flat_map(|copies| copies.habits.clone()).collect();
        let faulty = plan.cast.faulty.iter().chain(plan.cast.liars.keys());
        let faulty = faulty.chain(&plan.cast.twins).copied().collect();
        Self { n: plan.n, habits, faulty, unfed: BTreeSet::new() }
    }

    /// A copy could not be fed.
    pub fn unfed(&mut self, whose: ReplicaId) {
        self.unfed.insert(whose);
    }

    /// Whether nothing can be said of a replica's answers.
    #[must_use]
    pub fn is_bad(&self, whose: ReplicaId) -> bool {
        self.habits.contains_key(&whose)
            || self.faulty.contains(&whose)
            || self.unfed.contains(&whose)
    }

    /// What answers may be, with so many bad copies.
    #[must_use]
    pub fn leeway(&self) -> Leeway {
        let f = faults_of(self.n);
        let bad = (0..self.n).map(ReplicaId).filter(|it| self.is_bad(*it)).count();
        let shares = |habit: &Habit| habit.is_shared();
        let wrong =
            |it: &ReplicaId| self.faulty.contains(it) || self.habits.get(it).is_some_and(shares);
        let wrong = (0..self.n).map(ReplicaId).filter(wrong).count();
        Leeway { voids: bad > f, wrong: wrong > f }
    }
}

/// What a copy came to with the calls of a slot.
#[derive(Debug)]
pub struct Called {
    /// A response or nothing for each call.
    pub answers: Vec<Option<Response>>,
    /// When all of them are there.
    pub at: Time,
    /// What it did on the way, by name.
    pub did: Vec<&'static str>,
    /// Whether the log did not give what stands before the calls.
    pub unfed: bool,
}

/// What a log has at a place.
#[derive(Debug)]
pub enum Logged {
    /// This.
    Item(Box<LogItem>),
    /// Nothing yet.
    Beyond,
    /// The disk does not give it.
    Unreadable,
}

/// How a copy that takes turns is just now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Turn {
    #[default]
    Well,
    Slow,
    Away,
}

/// The copy beside one machine.
pub struct ServiceCopy {
    habit: Option<Habit>,
    rng: Rng,
    state: State,
    /// The entry that it expects next.
    next: Index,
    /// Whether it holds the state before that entry.
    in_step: bool,
    /// The slot that it was given last, and of which it does not know what was agreed.
    given: Option<Slot>,
    busy_until: Time,
    turn: (Turn, u64),
}

impl std::fmt::Debug for ServiceCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { habit, next, in_step, given, .. } = self;
        write!(f, "ServiceCopy({habit:?}, next {next}, in step {in_step}, given {given:?})")
    }
}

impl ServiceCopy {
    /// One that was never started.
    #[must_use]
    pub fn new(habit: Option<Habit>, rng: Rng) -> Self {
        Self {
            habit,
            rng,
            state: State::new(),
            next: Index(1),
            in_step: false,
            given: None,
            busy_until: Time::default(),
            turn: (Turn::Well, 0),
        }
    }

    /// Its replica's process starts: what the copy went through meanwhile, nobody knows.
    pub fn begin_life(&mut self) {
        (self.in_step, self.given) = (false, None);
        self.busy_until = Time::default();
    }

    /// What was agreed about a slot. It says something about this copy only where this process
    /// gave it the slot.
    pub fn agreed(&mut self, slot: Slot, kept_up: &[bool]) {
        if self.given == Some(slot) {
            self.given = None;
            self.in_step &= kept_up.iter().all(|kept| *kept);
        }
    }

    /// Executes a slot's calls, after what the log has before them.
    pub fn call(
        &mut self,
        (cluster, now): (&Cluster, Time),
        slot: Slot,
        calls: &[Call],
        log: impl Fn(Index) -> Logged,
    ) -> Called {
        // Nobody said what became of the slot before: perhaps it was agreed on otherwise.
        self.in_step &= self.given.is_none();
        self.given = Some(slot);
        let mut called =
            Called { answers: Vec::new(), at: now.max(self.busy_until), did: vec![], unfed: false };
        let mut down = self.take_turn(&mut called);
        if !down && !self.catch_up(cluster, calls, &mut called, log) {
            (down, called.unfed) = (true, true);
        }
        if self.does(Habit::Forgets, 150, &mut called) {
            self.state = State::new();
        }
        let dies = self.does(Habit::Dies, 150, &mut called);
        let dies_at = if dies { self.rng.below(calls.len() as u64) } else { u64::MAX };
        for (place, call) in (0..).zip(calls) {
            let slow = self.turn.0 == Turn::Slow;
            let ms = self.rng.range(1, if slow { SLOW_MS_MAX } else { CALL_MS_MAX });
            called.at = called.at.plus(Duration::from_millis(ms));
            if down {
                called.answers.push(None);
                continue;
            }
            let answer = self.execute(cluster, (call.time, call.index, call.seed), &call.request);
            self.next = call.index.next();
            // It dies before it answers, but after it did what was asked.
            down = place >= dies_at;
            let answer = self.spoken(answer, cluster, &mut called);
            called.answers.push(Some(answer).filter(|_| !down));
        }
        // One that gave no answer may have executed the call, or not.
        self.in_step &= !down;
        self.busy_until = called.at;
        called
    }

    /// Whether it answers nothing this time.
    fn take_turn(&mut self, called: &mut Called) -> bool {
        if self.habit == Some(Habit::ByTurns) {
            if self.turn.1 == 0 {
                let turns = [Turn::Well, Turn::Slow, Turn::Away];
                let turn = self.rng.pick(&turns).copied().unwrap_or_default();
                self.turn = (turn, self.rng.range(1, TURN_MAX));
            }
            self.turn.1 -= 1;
            if self.turn.0 != Turn::Well {
                called.did.push(Habit::ByTurns.name());
            }
        }
        self.turn.0 == Turn::Away || self.does(Habit::Silent, 1_000, called)
    }

    fn does(&mut self, habit: Habit, permille: u64, called: &mut Called) -> bool {
        let does = self.habit == Some(habit) && self.rng.permille(permille);
        called.did.extend(does.then(|| habit.name()));
        does
    }

    /// Brings it to the state before the first call; `false` if the log does not tell.
    fn catch_up(
        &mut self,
        cluster: &Cluster,
        calls: &[Call],
        called: &mut Called,
        log: impl Fn(Index) -> Logged,
    ) -> bool {
        let Some(first) = calls.first().map(|call| call.index) else { return true };
        if !self.in_step || self.next > first {
            called.did.push("copy-restored");
            (self.state, self.next) = (State::new(), Index(1));
        }
        self.in_step = false;
        while self.next < first {
            let LogItem { entry, exchange, .. } = match log(self.next) {
                Logged::Item(item) => *item,
                // What stands between belongs to the same slot, and no copy executes it.
                Logged::Beyond => break,
                Logged::Unreadable => return false,
            };
            let Ok(Entry { index, time, .. }) = Entry::parse(&entry) else { return false };
            if let Some(exchange) = exchange.filter(was_called) {
                let seed = execute::seed(&cluster.chain, index, &exchange.request);
                self.execute(cluster, (time, index, seed), &exchange.request);
            }
            self.next = self.next.next();
            called.at = called.at.plus(FED);
        }
        (self.next, self.in_step) = (first, true);
        true
    }

    fn execute(
        &mut self,
        cluster: &Cluster,
        (time, index, seed): (UnixMillis, Index, Digest),
        request: &Request,
    ) -> Response {
        let authority = cluster.domain.authority();
        Kv.handle(&mut Context::new(time, index, seed, authority, &mut self.state), request)
    }

    /// The answer as it leaves the copy.
    fn spoken(&mut self, answer: Response, cluster: &Cluster, called: &mut Called) -> Response {
        if self.does(Habit::Lies, 700, called) {
            let body = format!("{:016x}", self.rng.draw());
            return Response::new(200).with_body("text/plain", body);
        }
        for (habit, end) in [(Habit::SpeaksA, "/a"), (Habit::SpeaksB, "/b")] {
            if self.does(habit, 1_000, called) {
                let body = [&answer.body[..], end.as_bytes()].concat();
                return Response::new(200).with_body("text/plain", body);
            }
        }
        if self.does(Habit::Unfit, 300, called) {
            return match self.rng.permille(500) {
                true => {
                    let body = vec![b'x'; cluster.limits.body_max + 1];
                    Response::new(200).with_body("text/plain", body)
                }
                false => Response::new(200).with_field("etag", "\"\u{e9}\""),
            };
        }
        answer
    }
}
