//! A run that can be read: who sent what to whom and when it arrived, what each replica believed,
//! what was injected, what clients asked and were told.
//!
//! Nothing is recorded unless it is asked for ([`recorded`]); a seed that failed is run again with
//! it, which gives the same run.

use crate::{
    describe::{self, Described, asked, describe},
    machine::{Input, Machine},
    outcome::{Counts, Outcome},
    plan::Plan,
    process::Sent,
    seat::Seat,
    swarm::caught,
    violation::{Check, Failure},
    world::{Event, Transit, World},
};
use quorate_types::{ReplicaId, Slot, Time, View};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A recorded run.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// How seats are called.
    pub names: Vec<String>,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// What happens now: the reason for what replicas believe after it.
    because: String,
    /// Where its notes begin.
    began: usize,
    beliefs: Vec<Option<Belief>>,
    counts: [Counts; 3],
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// A message left.
    Sent {
        /// From whom.
        from: Seat,
        /// What it says.
        message: Described,
        /// Whether a liar made it, or held it back.
        lie: bool,
        /// To whom, and when it arrives there: never, once, or more often. Clogs and queues on its
        /// way may hold it up for longer.
        to: Vec<Arrivals>,
    },
    /// A liar sent nothing to these, though it should have.
    Withheld {
        /// Who.
        from: Seat,
        /// What they were not told.
        message: Described,
        /// Who was not told.
        to: Vec<Seat>,
    },
    /// A replica believes something else than before; `None` while it is down.
    Believes {
        /// Who.
        at: Seat,
        /// Before.
        was: Option<Belief>,
        /// From now on.
        is: Option<Belief>,
        /// What made it think so.
        because: String,
    },
    /// A client asked a gateway.
    Asked {
        /// The client.
        client: usize,
        /// The gateway.
        at: Seat,
        /// What.
        request: String,
        /// Whether the gateway took it.
        taken: bool,
    },
    /// A gateway answered.
    Answered {
        /// The client.
        client: usize,
        /// The gateway.
        at: Seat,
        /// What.
        answer: String,
        /// Whether the client believes it.
        believed: bool,
    },
    /// The world did something to somebody.
    Fault(String),
    /// Something was injected, checked, or made an accusation of, so often.
    Counted {
        /// What it is called.
        name: &'static str,
        /// How often.
        count: u64,
    },
    /// Something that must not be.
    Failed(Failure),
}

/// Where a message goes, and when it arrives there.
pub type Arrivals = (Seat, Vec<Time>);

/// What a replica believes of the order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Belief {
    /// The view it is in, or going to.
    pub view: View,
    /// Who leads it; `None` while the view change runs.
    pub primary: Option<ReplicaId>,
    /// The last slot it committed.
    pub committed: Slot,
    /// The last slot it executed.
    pub executed: Slot,
    /// The newest stable slot.
    pub stable: Slot,
    /// Whether it may vote.
    pub votes: bool,
    /// Whether state transfer runs.
    pub syncing: bool,
    /// Whether it is of use to clients.
    pub ready: bool,
}

impl Belief {
    fn of(machine: &Machine) -> Option<Self> {
        let replica = machine.process.as_ref()?.replica();
        let sight = replica.sight();
        Some(Self {
            view: sight.view,
            primary: sight.primary,
            committed: replica.engine().committed(),
            executed: sight.executed,
            stable: sight.stable,
            votes: sight.votes,
            syncing: sight.syncing,
            ready: machine.ready,
        })
    }

    /// All of it.
    fn all(&self) -> Vec<String> {
        let Self { view, committed, executed, stable, .. } = self;
        let mut all = vec![match self.primary {
            Some(primary) => format!("in view {view} of {primary}"),
            None => format!("on its way to view {view}"),
        }];
        all.push(format!("committed s{committed}, executed s{executed}, stable s{stable}"));
        all.extend((!self.votes).then(|| "may not vote".to_owned()));
        all.extend(self.syncing.then(|| "fetches state".to_owned()));
        all.extend(self.ready.then(|| "is ready".to_owned()));
        all
    }

    /// What is not as it was.
    fn changes(&self, was: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if (self.view, self.primary) != (was.view, was.primary) {
            changes.push(match self.primary {
                Some(primary) => format!("enters view {} of {primary}", self.view),
                None => format!("leaves for view {}", self.view),
            });
        }
        for (name, was, is) in [
            ("committed", was.committed, self.committed),
            ("executed", was.executed, self.executed),
            ("stable", was.stable, self.stable),
        ] {
            if was != is {
                changes.push(format!("{name} s{was} -> s{is}"));
            }
        }
        for (was, is, yes, no) in [
            (was.votes, self.votes, "may vote", "may not vote"),
            (was.syncing, self.syncing, "fetches state", "has fetched state"),
            (was.ready, self.ready, "is ready", "is not ready"),
        ] {
            if was != is {
                changes.push((if is { yes } else { no }).to_owned());
            }
        }
        changes
    }
}

/// Runs a plan, and writes down what happens. A panic is a failure, and the last thing written.
#[must_use]
pub fn recorded(plan: Plan) -> (Outcome, Journal) {
    let mut world = match World::of(plan) {
        Ok(world) => world,
        Err(failure) => {
            let notes = vec![Note { at: failure.at, what: What::Failed(failure.clone()) }];
            let outcome = Outcome { failures: vec![failure], ..Outcome::default() };
            return (outcome, Journal { notes, ..Journal::default() });
        }
    };
    let names = world.seating.all().map(|at| world.name(at)).collect::<Vec<_>>();
    let beliefs = vec![None; names.len()];
    world.journal = Some(Box::new(Journal { names, beliefs, ..Journal::default() }));
    if let Err(panic) = caught(|| world.play()) {
        world.fail(Check::Panic.broken(panic));
    }
    let mut journal = world.journal.take().map(|journal| *journal).unwrap_or_default();
    for failure in &world.outcome.failures {
        journal.notes.push(Note { at: failure.at, what: What::Failed(failure.clone()) });
    }
    (world.outcome, journal)
}

/// What the world tells its journal, where it has one.
impl World {
    /// An event is about to be handled.
    pub(crate) fn note_event(&mut self, event: &Event) {
        if self.journal.is_none() {
            return;
        }
        let because = match event {
            Event::Transit(Transit { from, message, .. }, _) => {
                format!("{} from {}", describe(message), self.name(*from))
            }
            Event::Verified { input: Input::Deliver { from, message }, .. } => {
                format!("{} from {from}", describe(message))
            }
            Event::Verified { .. } | Event::Done { .. } => "what waited for its cores".to_owned(),
            Event::Timer { timer, .. } => describe::timer(timer).to_owned(),
            Event::Fault(fault) => {
                let said = describe::fault(fault, |at| self.name(at));
                self.note(What::Fault(said.clone()));
                said
            }
            Event::Heal => {
                self.note(What::Fault("everything is healed".to_owned()));
                "everything is healed".to_owned()
            }
            Event::Mend { links } => {
                let links = describe::links(links, |at| self.name(at));
                self.note(What::Fault(format!("links are back: {links}")));
                "links are back".to_owned()
            }
            Event::Start { .. } => "it is started".to_owned(),
            Event::Link { peer, up, .. } => {
                format!("the link to {peer} {}", if *up { "is back" } else { "broke" })
            }
            Event::Call { client } | Event::Retry { client, .. } => format!("a call of c{client}"),
            Event::Answered { slot, .. } => format!("its copy answered to s{slot}"),
            Event::Abandon { .. } => "a client that left".to_owned(),
            _ => "its disk".to_owned(),
        };
        if let Some(journal) = &mut self.journal {
            journal.because = because;
            journal.began = journal.notes.len();
        }
    }

    /// An event was handled.
    pub(crate) fn note_effects(&mut self) {
        let Some(mut journal) = self.journal.take() else { return };
        // What somebody believes comes before what it does about it.
        let mut beliefs = Vec::new();
        for (machine, at) in self.machines.iter().zip(self.seating.all()) {
            let Some(was) = journal.beliefs.get(at.position()).copied() else { continue };
            let is = Belief::of(machine);
            if was != is {
                journal.beliefs[at.position()] = is;
                let because = journal.because.clone();
                let what = What::Believes { at, was, is, because };
                beliefs.push(Note { at: self.now, what });
            }
        }
        journal.notes.splice(journal.began..journal.began, beliefs);
        let outcome = &self.outcome;
        for (known, counts) in journal.counts.iter_mut().zip([
            &outcome.injected,
            &outcome.checked,
            &outcome.accusations,
        ]) {
            for (&name, &sum) in counts {
                let count = sum - known.insert(name, sum).unwrap_or(0);
                if count > 0 {
                    count_up(&mut journal.notes, self.now, name, count);
                }
            }
        }
        self.journal = Some(journal);
    }

    /// A message left, as this: which copies reach whom, and when.
    pub(crate) fn note_sent(&mut self, from: Seat, meant: &Meant, legs: Vec<Leg>) {
        let Some(meant) = meant else { return };
        let mut told: Vec<(Described, Vec<Arrivals>)> = Vec::new();
        let mut known: BTreeMap<*const Sent, Described> = BTreeMap::new();
        for (to, message, arrivals) in legs {
            let told_this =
                known.entry(Arc::as_ptr(&message)).or_insert_with(|| describe(&message));
            match told.iter_mut().find(|(message, _)| message == told_this) {
                Some((_, legs)) => legs.push((to, arrivals)),
                None => told.push((told_this.clone(), vec![(to, arrivals)])),
            }
        }
        let heard = |at: &Seat| {
            told.iter().any(|(message, legs)| {
                *message == meant.message && legs.iter().any(|(to, _)| to == at)
            })
        };
        let untold = meant.to.iter().flat_map(|&to| self.seating.of(to));
        let untold: Vec<Seat> = untold.filter(|at| !heard(at)).collect();
        if !untold.is_empty() {
            self.note(What::Withheld { from, message: meant.message.clone(), to: untold });
        }
        for (message, to) in told {
            let lie = message != meant.message;
            self.note(What::Sent { from, message, lie, to });
        }
    }

    /// What a replica wants to send, before a liar has its hands on it.
    pub(crate) fn meant(&self, message: &Sent, to: &[ReplicaId]) -> Meant {
        self.journal.as_ref().map(|_| {
            let message = describe(message);
            Intent { message, to: to.to_vec() }
        })
    }

    /// A client asked a gateway for an operation of the history.
    pub(crate) fn note_asked(&mut self, operation: usize, at: Seat, taken: bool) {
        if self.journal.is_some()
            && let Some(asks) = self.history.get(operation)
        {
            let (client, request) = (asks.client, asked(&asks.request));
            self.note(What::Asked { client, at, request, taken });
        }
    }

    /// A gateway answered it.
    pub(crate) fn note_answered(
        &mut self,
        operation: usize,
        at: Seat,
        answer: impl FnOnce() -> String,
        believed: bool,
    ) {
        if self.journal.is_some()
            && let Some(asks) = self.history.get(operation)
        {
            let client = asks.client;
            self.note(What::Answered { client, at, answer: answer(), believed });
        }
    }

    fn note(&mut self, what: What) {
        if let Some(journal) = &mut self.journal {
            journal.notes.push(Note { at: self.now, what });
        }
    }
}

/// What a replica wants to send, and to whom.
pub(crate) struct Intent {
    message: Described,
    to: Vec<ReplicaId>,
}

/// It, where somebody writes it down.
pub(crate) type Meant = Option<Intent>;

/// A copy of a message on its way to a seat, and when it arrives there.
pub(crate) type Leg = (Seat, Arc<Sent>, Vec<Time>);

impl Journal {
    /// How a seat is called.
    #[must_use]
    pub fn name(&self, at: Seat) -> &str {
        self.names.get(at.position()).map_or("?", String::as_str)
    }

    /// A note in a line, without its time.
    #[must_use]
    pub fn line(&self, note: &Note) -> String {
        match &note.what {
            What::Sent { from, message, lie, to } => {
                let legs: Vec<_> = to.iter().map(|(to, at)| self.leg(note.at, *to, at)).collect();
                let lie = if *lie { "  (a lie)" } else { "" };
                format!("{} -> {}: {message}{lie}", self.name(*from), legs.join(", "))
            }
            What::Withheld { from, message, to } => {
                let to: Vec<_> = to.iter().map(|to| self.name(*to)).collect();
                format!("{} does not tell {}: {message}", self.name(*from), to.join(" "))
            }
            What::Believes { at, was, is, because } => {
                let name = self.name(*at);
                match (was, is) {
                    (Some(was), Some(is)) => {
                        format!("{name} {}  <- {because}", is.changes(was).join(", "))
                    }
                    (_, Some(is)) => format!("{name} runs: {}", is.all().join(", ")),
                    (_, None) => format!("{name} is down  <- {because}"),
                }
            }
            What::Asked { client, at, request, taken } => {
                let taken = if *taken { "" } else { ", who does not take it" };
                format!("c{client} asks {}{taken}: {request}", self.name(*at))
            }
            What::Answered { client, at, answer, believed } => {
                let believed = if *believed { "" } else { ", who does not believe it" };
                format!("{} answers c{client}{believed}: {answer}", self.name(*at))
            }
            What::Fault(fault) => format!("*** {fault}"),
            What::Counted { name, count: 1 } => format!("  + {name}"),
            What::Counted { name, count } => format!("  + {name}, {count} times"),
            What::Failed(failure) => format!("!!! {}", failure.violation),
        }
    }

    /// To whom, and how much later.
    fn leg(&self, sent: Time, to: Seat, arrivals: &[Time]) -> String {
        let name = self.name(to);
        if arrivals.is_empty() {
            return format!("{name} lost");
        }
        let after = arrivals.iter().map(|at| format!("+{}", milliseconds(at.since(sent))));
        format!("{name} {}", after.collect::<Vec<_>>().join(" "))
    }
}

/// Notes that something happened so often; on the line before, if that says the same already.
fn count_up(notes: &mut Vec<Note>, at: Time, name: &'static str, count: u64) {
    if let Some(Note { what: What::Counted { name: last, count: sum }, .. }) = notes.last_mut()
        && *last == name
    {
        *sum += count;
        return;
    }
    notes.push(Note { at, what: What::Counted { name, count } });
}

/// Milliseconds, to the microsecond.
fn milliseconds(duration: std::time::Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

/// The whole of it, a line each: milliseconds, and what happened.
impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|note| {
            let at = milliseconds(note.at.since(Time::default()));
            writeln!(f, "{at:>12}  {}", self.line(note))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario::Scenario, world::run};

    #[test]
    fn a_run_that_is_recorded_is_the_same_run() {
        for (name, seed) in [("swarm", 3), ("swarm", 11), ("lost-disk", 1), ("twins", 2)] {
            let plan = Scenario::named(name).unwrap().plan(seed, None);
            let (outcome, journal) = recorded(plan.clone());
            assert_eq!(outcome, run(plan), "{name}");
            assert!(journal.notes.len() > 100, "{name}");
        }
    }

    /// `QUORATE_REWRITE=1 cargo test -p quorate-sim calm_run` writes it anew.
    #[test]
    fn a_calm_run_reads_like_this() {
        let mut plan = Scenario::named("calm").unwrap().plan(0, Some(4));
        (plan.clients, plan.requests) = (1, 1);
        plan.healed = Time(50_000_000);
        let text = recorded(plan).1.to_string();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/calm.txt");
        if std::env::var_os("QUORATE_REWRITE").is_some_and(|it| it == "1") {
            std::fs::write(file, &text).unwrap();
        }
        let known = std::fs::read_to_string(file).unwrap_or_default();
        let differs = text.lines().zip(known.lines()).find(|(is, was)| is != was);
        let hint = "If it does right, QUORATE_REWRITE=1 writes it anew.";
        assert!(text == known, "the calm run reads otherwise, from {differs:?} on. {hint}");
    }

    #[test]
    fn a_panic_is_the_last_thing_written() {
        let mut plan = Scenario::named("calm").unwrap().plan(0, Some(4));
        plan.faults = vec![(
            Time(200_000_000),
            crate::plan::Fault::Crash {
                seats: vec![Seat(99)],
                power: false,
                down: std::time::Duration::ZERO,
                empty: false,
            },
        )];
        let (outcome, journal) = recorded(plan);
        assert_eq!(outcome.failures[0].violation.check, Check::Panic);
        let text = journal.to_string();
        assert!(text.lines().last().unwrap().contains("!!! panic: "), "{text}");
        assert!(text.contains("asks"), "{text}");
    }
}
