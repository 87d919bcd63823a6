//! Copies that do wrong for a while, one at a time: that is as many as four replicas can bear.
//!
//! A spell lasts until it was seen from both ends: the copy wrote down what it did, and the replica
//! beside it, or the others, say so in their logs. One that does not show in all its ways fails the
//! run.
//!
//! Only while a copy is in step do the other replicas hear what it answers. One that is killed
//! before it lied there lies to its own replica alone, while that brings it back, time and again
//! for as long as the log is long. So a liar is named first, and what is killed meanwhile after.

use super::{copies::Copies, load::World, random::Random, victims::Victims};
use std::{
    collections::BTreeMap,
    sync::PoisonError,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a habit may take to show, on a machine that also compiles.
const SHOWS_MAX: Duration = Duration::from_secs(60);

/// What a copy may do wrong; in which ways, its program says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Habit {
    /// Executes, and answers something else.
    Random,
    /// Answers as if it had executed nothing for a while.
    Stale,
    /// Takes nearly as long as it may, or longer, by turns.
    Slow,
    /// Accepts the request and never answers.
    Hang,
    /// Speaks no HTTP, or breaks off in the middle of it and resets the connection.
    Garbage,
    /// Dies before, in or after a request.
    Die,
}

/// All habits.
const HABITS: [Habit; 6] =
    [Habit::Random, Habit::Stale, Habit::Slow, Habit::Hang, Habit::Garbage, Habit::Die];

impl Habit {
    /// Its name in the copy's program.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Stale => "stale",
            Self::Slow => "slow",
            Self::Hang => "hang",
            Self::Garbage => "garbage",
            Self::Die => "die",
        }
    }

    /// In how many ways it shows.
    fn ways(self) -> usize {
        match self {
            Self::Stale => 1,
            Self::Slow | Self::Hang => 2,
            Self::Random | Self::Garbage | Self::Die => 3,
        }
    }

    /// Its name among the kills.
    fn kind(self) -> &'static str {
        match self {
            Self::Random => "copy: random",
            Self::Stale => "copy: stale",
            Self::Slow => "copy: slow",
            Self::Hang => "copy: hang",
            Self::Garbage => "copy: garbage",
            Self::Die => "copy: die",
        }
    }

    /// The codes by which the replica beside the copy names what it saw.
    fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Random | Self::Stale => &["copy-differs"],
            Self::Slow | Self::Hang => &["copy-timed-out"],
            Self::Garbage => &["copy-garbage", "copy-broke-off"],
            Self::Die => &["copy-broke-off"],
        }
    }

    /// Whether its answers pass for answers, so that only the other replicas can tell.
    fn lies(self) -> bool {
        matches!(self, Self::Random | Self::Stale)
    }
}

/// All habits, in an order from the seed.
pub(crate) fn shuffled(random: &mut Random) -> Vec<Habit> {
    let mut left = HABITS.to_vec();
    let mut shuffled = Vec::new();
    while !left.is_empty() {
        let habit = random.one_of(&left);
        left.retain(|one| *one != habit);
        shuffled.push(habit);
    }
    shuffled
}

/// What all habits of a run led to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// How often each was taken up.
    spells: BTreeMap<Habit, usize>,
    /// How often each showed, by its ways.
    ways: BTreeMap<Habit, BTreeMap<String, usize>>,
    /// How many replicas, over all spells, named the copy that lied.
    names: BTreeMap<Habit, usize>,
}

impl Done {
    /// Says how often each habit really showed.
    pub(crate) fn print(&self) {
        for (habit, spells) in &self.spells {
            let ways = self.ways.get(habit).into_iter().flatten();
            let ways: Vec<_> = ways.map(|(way, times)| format!("{way} {times}")).collect();
            let named = self.names.get(habit).filter(|_| habit.lies());
            let named = named.map_or(String::new(), |names| format!("; named {names} times"));
            println!("{habit:?} copies, {spells} spells: {}{named}", ways.join(", "));
        }
    }
}

/// A time for which one copy has a habit.
pub(crate) struct Spell {
    habit: Habit,
    copy: usize,
    since: Instant,
    /// How much its replica and the others had logged before.
    logged: Vec<usize>,
    /// How much the copy had done before.
    done: usize,
}

impl Spell {
    /// Gives a copy a habit.
    pub(crate) fn begin(
        habit: Habit,
        (copy, seed): (usize, u64),
        copies: &Copies,
        victims: &mut Victims,
    ) -> Self {
        let logged = victims.logs().iter().map(String::len).collect();
        let done = copies.deeds(copy).len();
        victims.note(habit.kind());
        copies.take_up(copy, &format!("{} {seed}", habit.word()));
        Self { habit, copy, since: Instant::now(), logged, done }
    }

    /// Waits until the other replicas heard of it, where they can.
    pub(crate) fn wait_named(&self, copies: &mut Copies, victims: &mut Victims) {
        if self.habit.lies() {
            self.wait(copies, victims, |spell, _, victims| {
                let unnamed = spell.names(victims) == 0;
                unnamed.then(|| "a replica that names it".to_owned()).into_iter().collect()
            });
        }
    }

    /// Waits until it showed, from both ends, while the service went on; then ends it.
    pub(crate) fn end(
        self,
        copies: &mut Copies,
        victims: &mut Victims,
        world: &World,
        done: &mut Done,
    ) {
        self.wait(copies, victims, |spell, copies, victims| spell.missing(copies, victims, world));
        copies.give_up(self.copy);
        let names = self.names(victims);
        *done.spells.entry(self.habit).or_default() += 1;
        *done.names.entry(self.habit).or_default() += names;
        let ways = done.ways.entry(self.habit).or_default();
        for (way, times) in self.ways(copies) {
            *ways.entry(way).or_default() += times;
        }
    }

    /// Waits until nothing is missing.
    fn wait(
        &self,
        copies: &mut Copies,
        victims: &mut Victims,
        missing: impl Fn(&Self, &Copies, &Victims) -> Vec<String>,
    ) {
        let start = Instant::now();
        loop {
            copies.revive();
            victims.check_deaths();
            let missing = missing(self, copies, victims);
            if missing.is_empty() {
                return;
            }
            let (habit, copy) = (self.habit, self.copy);
            assert!(start.elapsed() < SHOWS_MAX, "{habit:?} of copy {copy} lacks {missing:?}");
            sleep(Duration::from_millis(50));
        }
    }

    /// How often the copy did wrong since, in each way.
    fn ways(&self, copies: &Copies) -> BTreeMap<String, usize> {
        let mut ways = BTreeMap::new();
        for way in copies.deeds(self.copy).drain(self.done..) {
            *ways.entry(way).or_default() += 1;
        }
        ways
    }

    /// What has not shown yet.
    fn missing(&self, copies: &Copies, victims: &Victims, world: &World) -> Vec<String> {
        let mut missing = Vec::new();
        let ways = self.ways(copies);
        if ways.len() < self.habit.ways() {
            missing.push(format!("a way besides {ways:?}"));
        }
        let own = &self.logs(victims)[self.copy];
        let unsaid = |code: &&&str| !own.contains(&format!("code=\"{code}\""));
        missing.extend(self.habit.codes().iter().filter(unsaid).map(|code| (*code).to_owned()));
        let probes = world.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if !probes.iter().rev().any(|probe| probe.sent > self.since) {
            missing.push("a write that was answered meanwhile".to_owned());
        }
        missing
    }

    /// How many replicas, but for the one beside it, said since that this copy answers otherwise.
    fn names(&self, victims: &Victims) -> usize {
        let naming = format!("a copy gave another answer replica=r{} ", self.copy);
        let mut logs = self.logs(victims);
        logs.remove(self.copy);
        logs.iter().filter(|log| log.contains(&naming)).count()
    }

    /// What each replica logged since.
    fn logs(&self, victims: &Victims) -> Vec<String> {
        let logs = victims.logs().into_iter().zip(&self.logged);
        // A replica that was just started again seems to have said less, until that is known.
        logs.map(|(log, from)| log.get(*from..).unwrap_or_default().to_owned()).collect()
    }
}
