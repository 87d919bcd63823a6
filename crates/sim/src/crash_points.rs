//! Every prefix of what a process does is a crash: the same short run again and again, and each
//! time one replica dies a little later, right after one more write to its disk, message or answer.
//!
//! A run is the same up to the crash, so that counting once what the replica does names all places.
//! It dies as a process, so that what was written survives, or with its machine's power; it is
//! started again after a while, and everything that is checked of any run is checked of this one.

use crate::{
    outcome::Outcome,
    plan::{Fault, Plan},
    rng::Rng,
    seat::{Seat, Seating},
    violation::Failure,
    watch::Place,
    world::{Watching, run_watched},
};
use quorate_types::Time;
use std::{collections::BTreeMap, num::NonZero, time::Duration};

/// What happens to a cluster of four, one of which is watched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Course {
    /// Nothing; a backup is watched.
    Steady,
    /// The primary dies; the next one is watched.
    ViewChange,
    /// One is cut off for long, and watched: it fetches pages and a state.
    Transfer,
    /// Snapshots are saved, and records dropped, again and again.
    Snapshots,
    /// One loses its disk, and is watched on its way back.
    Rejoin,
    /// One dies anyway, and is watched when it starts again.
    Restart,
}

impl Course {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Steady,
        Self::ViewChange,
        Self::Transfer,
        Self::Snapshots,
        Self::Rejoin,
        Self::Restart,
    ];

    /// How people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::ViewChange => "view-change",
            Self::Transfer => "transfer",
            Self::Snapshots => "snapshots",
            Self::Rejoin => "rejoin",
            Self::Restart => "restart",
        }
    }

    /// What happens, and who is watched.
    #[must_use]
    pub fn plan(self) -> (Plan, Seat) {
        let milliseconds = |ms| Time::default().plus(Duration::from_millis(ms));
        let mut plan = Plan::calm(1, 4);
        (plan.clients, plan.requests) = (2, 4);
        plan.healed = milliseconds(2_500);
        plan.end = plan.healed.plus(Duration::from_secs(60));
        plan.fsync_max = Duration::from_millis(2);
        plan.skew_ms_max = 0;
        plan.tuning.window = 16;
        plan.tuning.replay_window = 10_000;
        plan.tuning.replay_signed_max = 10_000;
        plan.tuning.snapshot_bytes = 1 << 20;
        plan.tuning.snapshot_lag = 1_000;
        plan.tuning.batch_items_max = 4;
        let crash = |seat, empty| {
            let down = Duration::from_millis(if seat == Seat(3) { 100 } else { 600 });
            let seats = vec![seat];
            Fault::Crash { seats, power: empty, down, empty }
        };
        let watched = match self {
            Self::Steady => Seat(1),
            Self::ViewChange => {
                plan.faults.push((milliseconds(400), crash(Seat(0), false)));
                Seat(1)
            }
            Self::Transfer => {
                let others = Seating::new(4, &plan.cast.twins).all().filter(|seat| seat.0 < 3);
                let links = others.flat_map(|it| [(it, Seat(3)), (Seat(3), it)]).collect();
                let lasting = Duration::from_millis(1_500);
                plan.faults.push((milliseconds(300), Fault::Cut { links, lasting }));
                plan.tuning.window = 4;
                plan.tuning.snapshot_bytes = 3_000;
                plan.tuning.snapshot_lag = 3;
                plan.requests = 10;
                Seat(3)
            }
            Self::Snapshots => {
                plan.tuning.window = 4;
                plan.tuning.snapshot_bytes = 3_000;
                plan.requests = 8;
                Seat(2)
            }
            Self::Rejoin => {
                plan.faults.push((milliseconds(500), crash(Seat(2), true)));
                plan.tuning.window = 4;
                Seat(2)
            }
            Self::Restart => {
                let deaths = (0..8).map(|n| (milliseconds(300 + 230 * n), crash(Seat(3), false)));
                plan.faults.extend(deaths);
                plan.requests = 8;
                Seat(3)
            }
        };
        (plan, watched)
    }
}

/// A drawn crash comes after so many places at most; where a course has fewer, nobody dies.
const PLACES_DRAWN: u64 = 500;

/// How much of a course is visited.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// One place in so many.
    pub one_in: u64,
    /// Only this place.
    pub at: Option<u64>,
    /// How many losses of power for each, beside the death of the process alone.
    pub losses: u64,
    /// How many threads.
    pub threads: NonZero<usize>,
}

/// What the crash points of a course came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs in which the watched process died where it was told to.
    pub points: u64,
    /// The same by what it was doing.
    pub places: BTreeMap<Place, u64>,
    /// How many places it passes where it does not die.
    pub passed: u64,
    /// Runs that failed: after how many places it died, whether power was lost, and what was wrong.
    pub failures: Vec<(u64, bool, Failure)>,
}

impl Report {
    /// Adds another one.
    pub fn absorb(&mut self, other: Self) {
        self.points += other.points;
        self.passed += other.passed;
        self.failures.extend(other.failures);
        for (place, count) in other.places {
            *self.places.entry(place).or_default() += count;
        }
    }
}

/// One crash that a seed draws, and how many replicas there are.
#[must_use]
pub fn drawn(seed: u64) -> (u16, Outcome) {
    let mut rng = Rng::new(seed);
    let (plan, at) = rng.pick(&Course::ALL).copied().unwrap_or(Course::Steady).plan();
    let limit = Some(rng.range(1, PLACES_DRAWN));
    let watching = Watching { at, limit, power: rng.permille(500), seed };
    (plan.n, run_watched(plan, watching).0)
}

/// Visits the crash points of a course.
#[must_use]
pub fn crash_points(course: Course, effort: Effort) -> Report {
    let (plan, at) = course.plan();
    let watching = |limit, power| Watching { at, limit, power, seed: 0 };
    let (outcome, watch) = run_watched(plan.clone(), watching(None, false));
    let mut report = Report { passed: watch.passed, ..Report::default() };
    report.failures.extend(outcome.failures.into_iter().map(|it| (u64::MAX, false, it)));
    let one_in = usize::try_from(effort.one_in.max(1)).unwrap_or(1);
    let limits: Vec<u64> = match effort.at {
        Some(limit) => vec![limit],
        None => (1..=watch.passed).step_by(one_in).collect(),
    };
    let parts = effort.threads.get();
    let part = |first: usize| {
        let mut sum = Report::default();
        for &limit in limits.iter().skip(first).step_by(parts) {
            for seed in 0..=effort.losses {
                let power = seed > 0;
                let seed = seed ^ limit.rotate_left(32);
                let watching = Watching { seed, ..watching(Some(limit), power) };
                let (outcome, watch) = run_watched(plan.clone(), watching);
                // A run is the same up to the crash, so there is always one.
                let Some(place) = watch.died else { continue };
                sum.points += 1;
                *sum.places.entry(place).or_default() += 1;
                sum.failures.extend(outcome.failures.into_iter().map(|it| (limit, power, it)));
            }
        }
        sum
    };
    std::thread::scope(|scope| {
        let part = &part;
        let parts: Vec<_> = (0..parts).map(|first| scope.spawn(move || part(first))).collect();
        for part in parts {
            match part.join() {
                Ok(part) => report.absorb(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    report.failures.sort_by_key(|(limit, power, _)| (*limit, *power));
    report
}
