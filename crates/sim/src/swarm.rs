//! Many seeds on all cores, and what they came to together.
//!
//! A seed's plan depends on the seed and on the number of replicas alone, and that number is drawn
//! from the seed unless it is given: so one command repeats any seed of any swarm. A panic inside a
//! seed is a failure of that seed.

use crate::{
    keys::Signatures,
    outcome::{Outcome, mix},
    plan::Plan,
    rng::Rng,
    violation::{Check, Failure},
    world::run,
};
use quorate_types::Time;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    num::NonZero,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    time::Duration,
};

/// How often a caller hears of a swarm in which no seed ends.
const TICK: Duration = Duration::from_millis(200);

/// Sizes of committees, and how many of a hundred seeds have them: the smallest is quickest, 5 and
/// 6 are where a quorum is not 2f + 1.
const SIZES: [(u16, u64); 7] = [(4, 40), (5, 14), (6, 14), (7, 18), (8, 5), (9, 3), (10, 6)];

/// One seed in so many signs as in production, unless it is said: it takes as long as a hundred.
const REAL_ONE_IN: u64 = 30;

/// Parts the numbers that decide about sizes and signatures from those of the plan.
const SIZE_FORK: u64 = 0x7369_7a65;
const REAL_FORK: u64 = 0x7265_616c;

/// What a swarm's plans are drawn from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mix {
    /// Everything that there is.
    Swarm,
    /// Whoever is faulty runs twice, with one key.
    Twins,
    /// Nobody lies, but disks make trouble again and again.
    Disks,
    /// The service runs outside, and copies of it are bad.
    Copies,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Swarm, Self::Twins, Self::Disks, Self::Copies];

    /// How people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Twins => "twins",
            Self::Disks => "disks",
            Self::Copies => "copies",
        }
    }

    /// The scenario that is one seed of it.
    #[must_use]
    pub fn scenario(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Twins => "swarm-twins",
            Self::Disks => "swarm-disks",
            Self::Copies => "swarm-copies",
        }
    }

    fn draw(self, seed: u64, n: u16) -> Plan {
        match self {
            Self::Swarm => Plan::draw(seed, n),
            Self::Twins => Plan::twins(seed, n),
            Self::Disks => Plan::draw_disks(seed, n),
            Self::Copies => Plan::draw_copies(seed, n),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What plans are drawn from.
    pub mix: Mix,
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// How many replicas each has; drawn from the seed if not given.
    pub replicas: Option<u16>,
    /// How many requests clients make in each, in all; drawn from the seed if not given.
    pub commands: Option<u32>,
    /// One seed in so many signs as in production; none where it is 0.
    pub real_one_in: u64,
    /// How many threads take seeds.
    pub threads: NonZero<usize>,
}

impl Options {
    /// Seeds from `first` on, on every core.
    #[must_use]
    pub fn new(first: u64, seeds: u64) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let (mix, real_one_in) = (Mix::Swarm, REAL_ONE_IN);
        let (replicas, commands) = (None, None);
        Self { mix, first, seeds, replicas, commands, real_one_in, threads }
    }

    /// The plan of a seed in this swarm.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = self.mix.draw(seed, self.replicas.unwrap_or_else(|| size(seed)));
        plan.signatures = signatures(seed, self.real_one_in);
        match self.commands {
            None => plan,
            Some(commands) => plan.with_commands(commands),
        }
    }
}

/// What a swarm tells its caller, who may end it early.
#[derive(Debug)]
pub enum Event<'a> {
    /// A seed ended; this is the sum so far.
    Ended(&'a Summary),
    /// A seed failed. Its end is told after this.
    Failed(&'a FailedSeed),
    /// Nothing ended for a while.
    Waiting(&'a Summary),
}

/// A seed that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailedSeed {
    /// What its plan was drawn from.
    pub mix: Mix,
    /// The seed.
    pub seed: u64,
    /// How many replicas it had.
    pub n: u16,
    /// How many requests its clients made, where that was not drawn.
    pub commands: Option<u32>,
    /// What it signed with.
    pub signatures: Signatures,
    /// What was wrong first.
    pub failure: Failure,
}

impl FailedSeed {
    /// Whether it got stuck, and broke no promise of safety.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.failure.violation.check.is_liveness()
    }

    /// The command that runs it again.
    #[must_use]
    pub fn repeat(&self) -> String {
        let Self { mix, seed, n, .. } = self;
        let signatures = match self.signatures {
            usual if usual == signatures(*seed, REAL_ONE_IN) => "",
            Signatures::Macs => " --signatures macs",
            Signatures::Real => " --signatures real",
        };
        let scenario = mix.scenario();
        let commands = self.commands.map(|it| format!(" --commands {it}")).unwrap_or_default();
        format!("quorate sim run {scenario} --seed {seed} --replicas {n}{commands}{signatures}")
    }
}

/// How often something was reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Reached {
    /// In how many seeds.
    pub seeds: u64,
    /// How often in all.
    pub events: u64,
}

/// What a swarm came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds ended.
    pub seeds: u64,
    /// How many of them had so many replicas.
    pub sizes: BTreeMap<u16, u64>,
    /// How many of them signed as in production.
    pub real: u64,
    /// Those that failed, by their numbers.
    pub failed: Vec<FailedSeed>,
    /// The sum of what all came to.
    pub sum: Outcome,
    /// How often what breaks consensus was reached: view changes, state transfers and the like.
    pub reached: BTreeMap<&'static str, Reached>,
    /// The sum of all seeds' hashes, in whatever order they ended: equal for equal seeds and code.
    pub hash: u64,
}

impl Summary {
    /// How many seeds broke a promise of safety.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.failed.iter().filter(|failed| !failed.is_stuck()).count()
    }

    /// How many seeds got stuck.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.failed.iter().filter(|failed| failed.is_stuck()).count()
    }

    /// What no seed reached.
    pub fn missed(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.reached.iter().filter(|(_, reached)| reached.seeds == 0).map(|(name, _)| *name)
    }

    fn add(&mut self, ended: Ended) {
        let Ended { seed, n, signatures, outcome, failed } = ended;
        self.seeds += 1;
        self.real += u64::from(signatures == Signatures::Real);
        *self.sizes.entry(n).or_default() += 1;
        for (name, events) in outcome.reached() {
            let reached = self.reached.entry(name).or_default();
            reached.seeds += u64::from(events > 0);
            reached.events += events;
        }
        self.hash = self.hash.wrapping_add(mix(mix(0, seed), outcome.hash));
        self.sum.absorb(outcome);
        self.failed.extend(failed);
    }
}

/// A seed that ended. Its failures are taken out of its outcome.
struct Ended {
    seed: u64,
    n: u16,
    signatures: Signatures,
    outcome: Outcome,
    failed: Option<FailedSeed>,
}

/// How many replicas a seed has unless it is said.
fn size(seed: u64) -> u16 {
    let mut left = Rng::new(seed ^ SIZE_FORK).below(SIZES.iter().map(|(_, share)| share).sum());
    for (n, share) in SIZES {
        match left.checked_sub(share) {
            Some(rest) => left = rest,
            None => return n,
        }
    }
    SIZES[0].0
}

/// What a seed signs with, where one in so many does as in production.
fn signatures(seed: u64, real_one_in: u64) -> Signatures {
    match real_one_in > 0 && Rng::new(seed ^ REAL_FORK).below(real_one_in) == 0 {
        true => Signatures::Real,
        false => Signatures::Macs,
    }
}

/// Runs a swarm, and tells of it as it goes on.
pub fn swarm(options: &Options, mut on_event: impl FnMut(Event<'_>) -> ControlFlow<()>) -> Summary {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let (report, reports) = mpsc::sync_channel(4 * options.threads.get());
        for _ in 0..options.threads.get() {
            let (report, next, stop) = (report.clone(), &next, &stop);
            scope.spawn(move || work(options, next, stop, &report));
        }
        drop(report);
        loop {
            let told = match reports.recv_timeout(TICK) {
                Ok(mut ended) => {
                    let failed = ended.failed.take();
                    let told = failed.as_ref().map(|failed| on_event(Event::Failed(failed)));
                    ended.failed = failed;
                    summary.add(ended);
                    let ended = on_event(Event::Ended(&summary));
                    told.filter(ControlFlow::is_break).unwrap_or(ended)
                }
                Err(RecvTimeoutError::Timeout) => on_event(Event::Waiting(&summary)),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if told.is_break() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    summary.failed.sort_by_key(|failed| failed.seed);
    summary
}

/// Takes the next seed until there is none.
fn work(options: &Options, next: &AtomicU64, stop: &AtomicBool, report: &SyncSender<Ended>) {
    while !stop.load(Ordering::Relaxed) {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= options.seeds {
            return;
        }
        let seed = options.first.wrapping_add(place);
        let plan = options.plan(seed);
        let (n, signatures) = (plan.n, plan.signatures);
        let Options { mix, commands, .. } = *options;
        let mut outcome = caught(|| run(plan)).unwrap_or_else(|panic| {
            let failure = Failure { at: Time::default(), violation: Check::Panic.broken(panic) };
            Outcome { failures: vec![failure], ..Outcome::default() }
        });
        let failed = std::mem::take(&mut outcome.failures).into_iter().next();
        let failed =
            failed.map(|failure| FailedSeed { mix, seed, n, commands, signatures, failure });
        if report.send(Ended { seed, n, signatures, outcome, failed }).is_err() {
            return;
        }
    }
}

thread_local! {
    /// Whether a panic on this thread is somebody's result.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    /// The last one.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs something; a panic in it is said by nobody but the caller.
///
/// # Errors
/// What the panic said, and where it was.
pub fn caught<T>(something: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CATCHES.get() {
                return before(panic);
            }
            let payload = panic.payload();
            let said = payload.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
            let said = said.unwrap_or("a panic without words");
            let place =
                panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
            let text = format!("{said}{}", place.unwrap_or_default());
            CAUGHT.set(Some(text));
        }));
    });
    let outer = CATCHES.replace(true);
    let result = catch_unwind(AssertUnwindSafe(something));
    CATCHES.set(outer);
    result.map_err(|_| CAUGHT.take().unwrap_or_else(|| "a panic".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn all(options: &Options) -> Summary {
        swarm(options, |_| ControlFlow::Continue(()))
    }

    #[test]
    fn a_swarm_comes_to_the_same_on_one_thread_and_on_many() {
        let macs = Options { real_one_in: 0, ..Options::new(100, 12) };
        let many = Options { threads: NonZero::new(3).unwrap(), ..macs };
        let one = Options { threads: NonZero::<usize>::MIN, ..many.clone() };
        let others = Options { first: 101, ..one.clone() };
        let (many, one) = (all(&many), all(&one));
        assert_eq!((many.hash, many.seeds, &many.sizes), (one.hash, 12, &one.sizes));
        assert_ne!(many.hash, all(&others).hash);
    }

    #[test]
    fn a_swarm_that_is_told_to_end_ends() {
        let macs = Options { real_one_in: 0, replicas: Some(4), ..Options::new(0, 1_000_000) };
        let mut ended = 0;
        let summary = swarm(&macs, |event| match event {
            Event::Ended(_) if ended >= 3 => ControlFlow::Break(()),
            Event::Ended(_) => {
                ended += 1;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        assert!(summary.seeds >= 3 && summary.seeds < 1_000);
        assert_eq!(summary.sizes.keys().collect::<Vec<_>>(), [&4]);
    }

    #[test]
    fn every_size_is_drawn_and_the_smallest_most_often() {
        let mut sizes = BTreeMap::<u16, u64>::new();
        (0..10_000).for_each(|seed| *sizes.entry(size(seed)).or_default() += 1);
        assert_eq!(sizes.keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9, 10]);
        assert!((3_800..4_200).contains(&sizes[&4]), "{sizes:?}");
        assert!(sizes[&5] > 1_200 && sizes[&6] > 1_200, "{sizes:?}");
    }

    #[test]
    fn a_failure_names_the_command_that_repeats_it() {
        let options = Options::new(0, 1);
        let real = (0..1_000).find(|&seed| options.plan(seed).signatures == Signatures::Real);
        let violation = Check::Agreement.broken("two logs");
        let failure = Failure { at: Time::default(), violation };
        for (seed, commands, signatures, more) in [
            (real.unwrap(), None, Signatures::Real, ""),
            (real.unwrap(), None, Signatures::Macs, " --signatures macs"),
            (real.unwrap() + 1, Some(9), Signatures::Real, " --commands 9 --signatures real"),
        ] {
            for mix in Mix::ALL {
                let failure = failure.clone();
                let failed = FailedSeed { mix, seed, n: 5, commands, signatures, failure };
                let scenario = Scenario::named(mix.scenario()).unwrap();
                let command =
                    format!("quorate sim run {} --seed {seed} --replicas 5{more}", scenario.name);
                assert_eq!(failed.repeat(), command);
                let options = Options { mix, replicas: Some(5), ..options.clone() };
                assert_eq!(scenario.plan(seed, Some(5)), options.plan(seed));
            }
        }
    }

    #[test]
    fn a_panic_is_a_result_that_says_where() {
        let said = caught(|| panic!("out of {}", "luck")).unwrap_err();
        assert!(said.starts_with("out of luck (") && said.contains("swarm.rs:"), "{said}");
        assert_eq!(caught(|| 7), Ok(7));
    }
}
