//! `quorate sim swarm`: many seeds, and what they came to.

use super::{
    Engine,
    interrupt::interrupted,
    told::{counted, grouped, row},
};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use quorate_sim::{
    Deed,
    swarm::{Event, FailedSeed, Mix, Options, Summary},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    num::NonZero,
    ops::ControlFlow,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How often progress is told in JSON, at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// From so many seeds on, a swarm that missed something says so.
const SEEDS_TO_REACH_ALL: u64 = 100;

/// How much of a reason stands on a failure's line.
const REASON_MAX: usize = 240;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate sim swarm --seeds 1000\n  \
    quorate sim swarm --seeds 100 --first-seed 5000 --replicas 4\n  \
    quorate sim swarm --seeds 1000 --mix twins\n  \
    quorate sim swarm --seeds 10000 --output json > swarm.ndjson\n\n\
    Each seed draws a cluster, its clients, and what goes wrong: loss, cuts, crashes, lost disks,\n\
    lying replicas. Safety must hold all the while; once everything is healed, everybody must\n\
    come up and be answered. Exit 1 if any seed broke a promise or got stuck; the line of a\n\
    failure is the command that repeats it. Ctrl-C ends early, and tells what was found so far.")]
pub(super) struct Swarm {
    /// How many seeds to run
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "S", default_value_t = 0)]
    first_seed: u64,
    /// What is drawn: anything, twins (two processes with one key), disks that fail and lie, or
    /// copies of a service that runs outside, which disagree
    #[arg(long, value_name = "MIX", default_value = Mix::Swarm.name(), value_parser = mixes())]
    mix: String,
    /// How many replicas each has [default: 4 to 10, as the seed draws]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(4..=100))]
    replicas: Option<u16>,
    /// How many requests clients make in each, in all [default: as the seed draws]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    commands: Option<u32>,
    /// Let one seed in so many sign with Ed25519, as in production; none for 0
    #[arg(long, value_name = "N", default_value_t = 30)]
    real_one_in: u64,
    /// How many threads run seeds [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    #[command(flatten)]
    engine: Engine,
}

fn mixes() -> PossibleValuesParser {
    PossibleValuesParser::new(Mix::ALL.map(Mix::name))
}

impl Swarm {
    /// Runs it.
    pub(super) fn run(self, console: &Console) -> Result<Exit, Failure> {
        self.engine.check()?;
        let mut options = Options::new(self.first_seed, self.seeds);
        options.mix = Mix::ALL.into_iter().find(|mix| mix.name() == self.mix).unwrap_or(Mix::Swarm);
        options.replicas = self.replicas;
        options.commands = self.commands;
        options.real_one_in = self.real_one_in;
        options.threads = self.threads.unwrap_or(options.threads);
        let stop = interrupted()?;
        let mut watch = Watch::new(console, self.seeds);
        let summary = quorate_sim::swarm::swarm(&options, |event| {
            watch.event(&event);
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        watch.bar.finish_and_clear();
        let told = Told { summary: &summary, options: &options, time: watch.time() };
        if console.is_json() {
            console.json(&told.json());
        } else {
            console.line(told.text().trim_end());
        }
        if let Some(warning) = told.warning() {
            console.note(warning);
        }
        Ok(if summary.failed.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

/// Time that passed, and time that cores spent.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

/// Tells of a swarm while it runs.
struct Watch<'a> {
    console: &'a Console,
    of: u64,
    failures: u64,
    began: Instant,
    cpu: Duration,
    told: Instant,
    bar: ProgressBar,
}

impl<'a> Watch<'a> {
    fn new(console: &'a Console, of: u64) -> Self {
        let bar = match !console.is_json() && console.shows_progress() {
            true => {
                let style = ProgressStyle::with_template(
                    "{bar:32} {human_pos}/{human_len} seeds, {msg}, {eta} left",
                );
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                ProgressBar::new(of).with_style(style).with_message("no failure")
            }
            false => ProgressBar::hidden(),
        };
        let (began, cpu) = (Instant::now(), cpu_time());
        Self { console, of, failures: 0, began, cpu, told: began, bar }
    }

    fn time(&self) -> Spent {
        Spent { wall: self.began.elapsed(), cpu: cpu_time().saturating_sub(self.cpu) }
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Failed(failed) => {
                self.failures += 1;
                match self.console.is_json() {
                    true => self.console.json(&failure_json(failed)),
                    false => self.bar.println(failure_line(failed)),
                }
            }
            Event::Ended(summary) | Event::Waiting(summary) => {
                self.bar.set_position(summary.seeds);
                let rate = per_second(summary.seeds, self.began.elapsed());
                let failures = match self.failures {
                    0 => "no failure".to_owned(),
                    1 => "1 failure".to_owned(),
                    more => format!("{more} failures"),
                };
                self.bar.set_message(format!("{rate:.1}/s, {failures}"));
                if self.console.is_json() && self.told.elapsed() >= PROGRESS_EVERY {
                    self.told = Instant::now();
                    self.console.json(&json!({
                        "event": "progress", "seeds": summary.seeds, "of": self.of,
                        "failures": self.failures, "seeds_per_second": rounded(rate),
                    }));
                }
            }
        }
    }
}

/// A swarm's end, told.
struct Told<'a> {
    summary: &'a Summary,
    options: &'a Options,
    time: Spent,
}

impl Told<'_> {
    fn json(&self) -> Value {
        let Summary { seeds, sizes, sum, reached, hash, .. } = self.summary;
        let events = reached.iter().map(|(&name, it)| (name, it.events));
        let in_seeds = reached.iter().map(|(&name, it)| (name, it.seeds));
        let sizes = sizes.iter().map(|(n, seeds)| (n.to_string(), *seeds));
        json!({
            "event": "done",
            "mix": self.options.mix.name(),
            "seeds": seeds,
            "first_seed": self.options.first,
            "interrupted": *seeds < self.options.seeds,
            "violations": self.summary.violations(),
            "stuck": self.summary.stuck(),
            "seconds": rounded(self.time.wall.as_secs_f64()),
            "cpu_seconds": rounded(self.time.cpu.as_secs_f64()),
            "seeds_per_second": rounded(per_second(*seeds, self.time.wall)),
            "seeds_per_second_per_core": rounded(per_second(*seeds, self.time.cpu)),
            "replicas": sizes.collect::<BTreeMap<_, _>>(),
            "real_signatures": self.summary.real,
            "reached": events.collect::<BTreeMap<_, _>>(),
            "reached_in_seeds": in_seeds.collect::<BTreeMap<_, _>>(),
            "injected": sum.injected,
            "checked": sum.checked,
            "accusations": sum.accusations,
            "events": sum.events,
            "entries": sum.entries,
            "hash": format!("{hash:016x}"),
        })
    }

    fn text(&self) -> String {
        let Summary { seeds, sizes, sum, reached, hash, .. } = self.summary;
        let mut out = String::new();
        let early = match *seeds < self.options.seeds {
            true => format!(" of {}", grouped(self.options.seeds)),
            false => String::new(),
        };
        row(
            &mut out,
            "seeds",
            [
                format!("{}{early} from {} on", grouped(*seeds), self.options.first),
                format!("{:.1} s", self.time.wall.as_secs_f64()),
                format!("{:.1} seeds/s", per_second(*seeds, self.time.wall)),
                format!("{:.1} a second of a core's time", per_second(*seeds, self.time.cpu)),
            ],
        );
        let real = format!("Ed25519 in {}", grouped(self.summary.real));
        let sizes = sizes.iter().map(|(n, seeds)| format!("{n} in {}", grouped(*seeds)));
        row(&mut out, "replicas", sizes.chain([real]));
        for (place, (name, it)) in reached.iter().enumerate() {
            let label = if place == 0 { "reached" } else { "" };
            let (name, events) = (name.replace('_', " "), grouped(it.events));
            let cell = match it.seeds {
                0 => format!("{name:<16}     none"),
                seeds => format!("{name:<16} {events:>8} in {} seeds", grouped(seeds)),
            };
            row(&mut out, label, [cell]);
        }
        for kind in ["faults", "lies", "clients"] {
            let injected = sum.injected.iter().filter(|(name, _)| kind_of(name) == kind);
            row(&mut out, kind, counted(injected));
        }
        row(&mut out, "checked", counted(&sum.checked));
        row(&mut out, "accused", counted(&sum.accusations));
        row(&mut out, "hash", [format!("{hash:016x}")]);
        let result = match (self.summary.violations(), self.summary.stuck()) {
            (0, 0) => "no violation, nobody stuck".to_owned(),
            (violations, stuck) => format!("{violations} violations, {stuck} stuck:"),
        };
        row(&mut out, "result", [result]);
        for failed in &self.summary.failed {
            out.push_str(&failure_line(failed));
            out.push('\n');
        }
        out
    }

    /// What so many seeds should have reached, and did not.
    fn warning(&self) -> Option<String> {
        let missed: Vec<_> = self.summary.missed().map(|name| name.replace('_', " ")).collect();
        let enough = self.summary.seeds >= SEEDS_TO_REACH_ALL && !missed.is_empty();
        enough.then(|| {
            format!(
                "warning: no seed reached any of: {}; these seeds show nothing about them",
                missed.join(", ")
            )
        })
    }
}

/// Who does what is injected under this name: the world, a lying replica, or a client.
fn kind_of(name: &str) -> &'static str {
    let mut deeds = Deed::ALL.iter().chain(&Deed::ABOUT_ANSWERS);
    if deeds.any(|deed| deed.name() == name) {
        "lies"
    } else if name.starts_with("client-") || name.starts_with("salt-") {
        "clients"
    } else {
        "faults"
    }
}

/// The command that repeats a failure, and behind it, as a shell's comment, what fails.
fn failure_line(failed: &FailedSeed) -> String {
    let said = failed.failure.to_string();
    let mut short: String = said.chars().take(REASON_MAX).collect();
    if short.len() < said.len() {
        short.push_str("...");
    }
    format!("{}  # {short}", failed.repeat())
}

fn failure_json(failed: &FailedSeed) -> Value {
    let (seed, n, failure) = (failed.seed, failed.n, &failed.failure);
    json!({
        "event": "failure", "seed": seed, "replicas": n, "at_ms": failure.at.0 / 1_000_000,
        "check": failure.violation.check.name(), "stuck": failed.is_stuck(),
        "reason": failure.violation.reason, "repeat": failed.repeat(),
    })
}

fn per_second(number: u64, time: Duration) -> f64 {
    number as f64 / time.as_secs_f64().max(1e-9)
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// What all threads of this process have spent on cores so far.
fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(spent.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), nanos)
}
