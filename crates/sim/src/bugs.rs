//! Seeded bugs: how many seeds it takes until a check notices a mistake made on purpose.
//!
//! A check that never failed shows nothing. So each bug of [`Bug::ALL`] is switched on in turn, and
//! seeds run until one fails that passes without the bug. A bug that no seed finds says that a plan
//! draws too little, or that a check is missing.

use crate::{
    adversary::Deed,
    crash_points,
    outcome::Outcome,
    plan::Plan,
    swarm::{Mix, Options, caught},
    violation::{Check, Failure},
    world::run,
};
use quorate_types::{
    Time,
    bug::{Bug, seed},
};
use std::{
    fmt,
    num::NonZero,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many seeds of one deal a bug may take, at most.
pub const SEEDS_MAX: u64 = 20_000;

/// What makes a plan of a seed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Deal {
    /// What a swarm draws.
    Swarm,
    /// Somebody is away for long, and liars wait for it.
    Laggards,
    /// Whoever is faulty runs twice.
    Twins,
    /// Disks make trouble again and again.
    Disks,
    /// The service runs outside, and copies of it are bad.
    Copies,
    /// A quiet run in which one dies right after something that it did.
    CrashPoints,
}

impl Deal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Swarm, Self::Laggards, Self::Twins, Self::Disks, Self::CrashPoints, Self::Copies];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Laggards => "laggards",
            Self::Twins => "twins",
            Self::Disks => "disks",
            Self::Copies => "copies",
            Self::CrashPoints => "crash-points",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deal| deal.name() == name)
    }

    /// Runs a seed, and gives how many replicas it had, too. Bugs are looked for with MACs: what
    /// signatures do is production's, whatever the bug.
    fn run(self, seed: u64) -> (u16, Outcome) {
        let of = |mix| Options { mix, real_one_in: 0, ..Options::new(seed, 1) }.plan(seed);
        let plan = match self {
            Self::Swarm => of(Mix::Swarm),
            Self::Laggards => Plan::draw_with(seed, of(Mix::Swarm).n, &Deed::TO_LAGGARDS, true),
            Self::Twins => of(Mix::Twins),
            Self::Disks => of(Mix::Disks),
            Self::Copies => of(Mix::Copies),
            Self::CrashPoints => return crash_points::drawn(seed),
        };
        (plan.n, run(plan))
    }
}

impl fmt::Display for Deal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A seed that fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Find {
    /// What made its plan.
    pub deal: Deal,
    /// The seed.
    pub seed: u64,
    /// How many replicas it has; 0 where it panicked.
    pub n: u16,
    /// When, and what is wrong.
    pub failure: Failure,
}

/// What a hunt came to.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    /// The first seed that fails with the bug, and passes without.
    pub found: Option<Find>,
    /// Seeds before it that fail without the bug, too, as they do then.
    pub unsound: Vec<Find>,
}

/// Runs seeds with a bug until one fails that passes without. What it gives depends on the code
/// alone, whatever the number of threads.
#[must_use]
pub fn hunt(bug: Bug, deal: Deal, seeds: Range<u64>, threads: NonZero<usize>) -> Hunt {
    let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let hunt = Mutex::new(Hunt::default());
    let look_on = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return;
            }
            let Some(find) = look(Some(bug), deal, seed) else { continue };
            let without = look(None, deal, seed);
            let mut hunt = hunt.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(without) = without {
                hunt.unsound.push(without);
            } else if hunt.found.as_ref().is_none_or(|known| seed < known.seed) {
                // A lower seed may still run on another core, and counts then.
                end.fetch_min(seed, Ordering::Relaxed);
                hunt.found = Some(find);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(look_on);
        }
    });
    let mut hunt = hunt.into_inner().unwrap_or_else(PoisonError::into_inner);
    let before = hunt.found.as_ref().map_or(seeds.end, |find| find.seed);
    hunt.unsound.retain(|find| find.seed < before);
    hunt.unsound.sort_by_key(|find| find.seed);
    hunt
}

/// Runs one seed as [`hunt`] does, with a bug or with none.
#[must_use]
pub fn look(bug: Option<Bug>, deal: Deal, number: u64) -> Option<Find> {
    let _made = seed(bug);
    let (n, failure) = match caught(|| deal.run(number)) {
        Ok((n, outcome)) => (n, outcome.failures.into_iter().next()?),
        Err(panic) => (0, Failure { at: Time::default(), violation: Check::Panic.broken(panic) }),
    };
    Some(Find { deal, seed: number, n, failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_at_the_same_seed_on_one_thread_and_on_three() {
        let hunt = |threads| {
            let threads = NonZero::new(threads).unwrap();
            hunt(Bug::StaleRead, Deal::Swarm, 0..20, threads).found.unwrap()
        };
        assert_eq!(hunt(1), hunt(3));
    }

    #[test]
    fn what_is_dealt_passes_without_any_bug() {
        for deal in Deal::ALL {
            assert_eq!(Deal::named(deal.name()), Some(deal));
            assert_eq!(look(None, deal, 1), None, "{deal}");
        }
    }
}
