//! `quorate sim run`: one plan, and what happened.

use super::{
    Engine,
    told::{counted, grouped, row},
};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use clap::builder::{PossibleValue, PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};
use quorate_sim::{
    Outcome, Plan,
    diagram::{self, View},
    journal::{Journal, What, recorded},
    keys::Signatures,
    minimise::{Minimised, RUNS_MAX, minimise},
    scenario::Scenario,
    violation,
};
use quorate_types::Time;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many lines of a trace stand on the terminal when a run failed.
const TRACE_LINES: usize = 40;

/// Where a plan goes that was made smaller.
const MINIMAL: &str = "minimal.toml";

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate sim run view-change\n  \
    quorate sim run lost-disk --seed 3 --replicas 7 --trace -\n  \
    quorate sim run swarm --seed 4711 --replicas 4 --trace trace.txt\n  \
    quorate sim run swarm --seed 4711 --minimise --save-plan small.toml\n  \
    quorate sim run --plan small.toml --trace -\n  \
    quorate sim run view-change --svg run.svg --from 390 --until 1300\n\n\
    A seed gives the same run, always. The trace says who sent what to whom and when it arrived,\n\
    what every replica believed and why, what was injected, and what clients were told. Exit 1 if\n\
    anything that must hold did not; then the end of the trace is shown.")]
pub(super) struct Run {
    /// What to run
    #[arg(value_name = "SCENARIO", value_parser = scenarios(), required_unless_present = "plan")]
    scenario: Option<String>,
    /// What chance is drawn from
    #[arg(long, value_name = "S", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..1 << 63))]
    seed: u64,
    /// How many replicas [default: 4; as the seed draws in `swarm`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(4..=100))]
    replicas: Option<u16>,
    /// How many requests clients make, in all [default: as the seed draws]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    commands: Option<u32>,
    /// What replicas and clients sign with [default: MACs; as the seed draws in `swarm`]
    #[arg(long, value_name = "KIND")]
    signatures: Option<Kind>,
    /// Run a plan from a file, in place of a scenario
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "seed", "replicas"])]
    plan: Option<PathBuf>,
    /// Write the plan to a file, to be edited and run by --plan; - is standard output. With
    /// --minimise it is the small one, and goes to minimal.toml unless this says otherwise
    #[arg(long, value_name = "FILE")]
    save_plan: Option<PathBuf>,
    /// Write the whole trace to a file; - is standard output
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// If it fails, make the plan as small as it can be while the same check fails
    #[arg(long)]
    minimise: bool,
    /// How many runs that may take
    #[arg(long, value_name = "N", default_value_t = RUNS_MAX, requires = "minimise")]
    runs: u32,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    engine: Engine,
}

/// A message sequence diagram.
#[derive(clap::Args)]
struct Drawing {
    /// Draw the messages of a part of the run, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// From when on, in milliseconds of the run [default: the first call]
    #[arg(long, value_name = "MS", requires = "svg")]
    from: Option<u64>,
    /// Until when
    #[arg(long, value_name = "MS", requires = "svg")]
    until: Option<u64>,
    /// How many messages at most
    #[arg(long, value_name = "N", default_value_t = 400, requires = "svg")]
    messages: usize,
    /// Draw also what replicas tell each other now and then (Status, Progress)
    #[arg(long, requires = "svg")]
    chatter: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Keyed hashes, which cost a hundredth
    Macs,
    /// Ed25519, as in production
    Real,
}

fn scenarios() -> PossibleValuesParser {
    let values = Scenario::ALL.iter().map(|it| PossibleValue::new(it.name).help(it.about));
    PossibleValuesParser::new(values)
}

impl Run {
    /// Runs it.
    pub(super) fn run(self, console: &Console) -> Result<Exit, Failure> {
        self.engine.check()?;
        let mut plan = self.drawn()?;
        let small = if self.minimise { self.smallest(console, &plan) } else { None };
        let minimal = small.is_some().then(|| PathBuf::from(MINIMAL));
        let saved = self.save_plan.clone().or(minimal);
        let saved_small = saved.clone().filter(|_| small.is_some());
        plan = small.unwrap_or(plan);
        if let Some(path) = &saved {
            write(console, path, &plan_text(&plan)?)?;
        }
        let told = Told { run: &self, plan: &plan, saved: saved_small };
        if !console.is_json() {
            console.line(told.plan()?.trim_end());
        }
        let (outcome, journal) = recorded(plan.clone());
        self.write_trace(console, &journal, &outcome)?;
        self.draw(&journal, &plan)?;
        if console.is_json() {
            console.json(&told.json(&outcome));
        } else {
            console.line(told.outcome(&outcome).trim_end());
        }
        Ok(if outcome.failures.is_empty() { Exit::Done } else { Exit::Failed })
    }

    /// The smallest plan that fails alike, with a bar while it is looked for.
    fn smallest(&self, console: &Console, plan: &Plan) -> Option<Plan> {
        let bar = match !console.is_json() && console.shows_progress() {
            true => {
                let style = ProgressStyle::with_template("{bar:32} {pos}/{len} runs, {msg}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                ProgressBar::new(self.runs.into()).with_style(style)
            }
            false => ProgressBar::hidden(),
        };
        let small = minimise(plan, self.runs, |progress| {
            bar.set_position(progress.runs.into());
            let needs = if progress.fails { "it fails without" } else { "it needs" };
            bar.set_message(format!("{needs} {}", progress.tried));
        });
        bar.finish_and_clear();
        match &small {
            Some(small) => {
                let Minimised { runs, failure, .. } = small;
                console.note(format_args!("made smaller in {runs} runs: {failure}"));
            }
            None => console.note("it does not fail: there is nothing to make smaller"),
        }
        small.map(|small| small.plan)
    }

    fn draw(&self, journal: &Journal, plan: &Plan) -> Result<(), Failure> {
        let Some(path) = &self.drawing.svg else { return Ok(()) };
        let name = self.scenario.as_deref().unwrap_or("plan");
        let Plan { seed, n, .. } = plan;
        let ms = |ms: u64| Time(ms.saturating_mul(1_000_000));
        let called = journal.notes.iter().find(|note| matches!(note.what, What::Asked { .. }));
        let called = called.map_or(0, |note| note.at.0 / 1_000_000);
        let view = View {
            from: ms(self.drawing.from.unwrap_or(called)),
            until: self.drawing.until.map_or(Time(u64::MAX), ms),
            messages_max: self.drawing.messages,
            chatter: self.drawing.chatter,
            ..View::new(format!("{name}, seed {seed}, {n} replicas"))
        };
        fs::write(path, diagram::draw(journal, &view)).map_err(|error| Failure::file(path, &error))
    }

    fn drawn(&self) -> Result<Plan, Failure> {
        let mut plan = match (&self.plan, &self.scenario) {
            (Some(path), _) => read_plan(path)?,
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                let scenario = Scenario::named(name).ok_or_else(|| {
                    Failure::usage("scenario-unknown", format!("no scenario is called {name:?}"))
                })?;
                scenario.plan(self.seed, self.replicas)
            }
        };
        if let Some(commands) = self.commands {
            plan = plan.with_commands(commands);
        }
        plan.signatures = match self.signatures {
            None => plan.signatures,
            Some(Kind::Macs) => Signatures::Macs,
            Some(Kind::Real) => Signatures::Real,
        };
        Ok(plan)
    }

    /// The command that does it again.
    fn repeat(&self, plan: &Plan) -> String {
        let mut command = "quorate sim run".to_owned();
        match (&self.plan, &self.scenario) {
            (Some(path), _) => command += &format!(" --plan {}", path.display()),
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                command += &format!(" {name} --seed {} --replicas {}", plan.seed, plan.n);
            }
        }
        if let Some(commands) = self.commands {
            command += &format!(" --commands {commands}");
        }
        command
            + match self.signatures {
                None => "",
                Some(Kind::Macs) => " --signatures macs",
                Some(Kind::Real) => " --signatures real",
            }
    }

    fn write_trace(
        &self,
        console: &Console,
        journal: &Journal,
        outcome: &Outcome,
    ) -> Result<(), Failure> {
        match &self.trace {
            Some(path) if console.is_json() && path.as_os_str() == "-" => {
                for note in &journal.notes {
                    console.json(&json!({
                        "event": "note", "at_us": note.at.0 / 1_000, "text": journal.line(note),
                    }));
                }
                Ok(())
            }
            Some(path) => write(console, path, &journal.to_string()),
            None if outcome.failures.is_empty() || console.is_json() => Ok(()),
            None => {
                let trace = journal.to_string();
                let lines: Vec<&str> = trace.lines().collect();
                let skipped = lines.len().saturating_sub(TRACE_LINES);
                console.line(format_args!("trace      {} lines before", grouped(skipped as u64)));
                lines.iter().skip(skipped).for_each(|line| console.line(line));
                Ok(())
            }
        }
    }
}

/// Writes a file, or to standard output.
fn write(console: &Console, path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        console.bytes(text.as_bytes());
        return Ok(());
    }
    fs::write(path, text).map_err(|error| Failure::file(path, &error))
}

fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Plan::parse(&text).map_err(|error| {
        let message = format!("{}: {}", path.display(), error.trim_end());
        Failure::usage("plan-malformed", message)
    })
}

fn plan_text(plan: &Plan) -> Result<String, Failure> {
    plan.text().map_err(|error| Failure::failed("plan-unwritable", error))
}

/// A run, told.
struct Told<'a> {
    run: &'a Run,
    plan: &'a Plan,
    /// Where the plan was made smaller: the file that it stands in.
    saved: Option<PathBuf>,
}

impl Told<'_> {
    fn plan(&self) -> Result<String, Failure> {
        let mut out = String::new();
        let rows = self.plan.rows().map_err(|error| Failure::failed("plan-unwritable", error))?;
        for (label, cells) in rows {
            row(&mut out, &label, cells);
        }
        Ok(out)
    }

    /// The command that does it again.
    fn repeat(&self) -> String {
        match &self.saved {
            Some(path) => format!("quorate sim run --plan {}", path.display()),
            None => self.run.repeat(self.plan),
        }
    }

    fn outcome(&self, outcome: &Outcome) -> String {
        let mut out = String::new();
        let reached = outcome.reached().into_iter().filter(|(_, events)| *events > 0);
        let mut reached: Vec<String> =
            reached.map(|(name, events)| format!("{} {events}", name.replace('_', " "))).collect();
        reached.insert(0, format!("{} entries", grouped(outcome.entries)));
        reached.insert(1, format!("{} events", grouped(outcome.events)));
        row(&mut out, "reached", reached);
        row(&mut out, "injected", counted(&outcome.injected));
        row(&mut out, "checked", counted(&outcome.checked));
        row(&mut out, "accused", counted(&outcome.accusations));
        row(&mut out, "hash", [format!("{:016x}", outcome.hash)]);
        if outcome.failures.is_empty() {
            row(&mut out, "result", ["no violation, nobody stuck".to_owned()]);
        }
        for violation::Failure { at, violation } in &outcome.failures {
            let ms = at.0 / 1_000_000;
            row(&mut out, "FAILED", [format!("at {ms} ms, {violation}")]);
        }
        row(&mut out, "again", [self.repeat()]);
        out
    }

    fn json(&self, outcome: &Outcome) -> Value {
        let failures = outcome.failures.iter().map(|violation::Failure { at, violation }| {
            json!({
                "at_ms": at.0 / 1_000_000,
                "check": violation.check.name(),
                "stuck": violation.check.is_liveness(),
                "reason": violation.reason,
            })
        });
        json!({
            "event": "done",
            "scenario": self.run.scenario,
            "seed": self.plan.seed,
            "replicas": self.plan.n,
            "failures": failures.collect::<Vec<_>>(),
            "reached": outcome.reached().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "injected": outcome.injected,
            "checked": outcome.checked,
            "accusations": outcome.accusations,
            "events": outcome.events,
            "entries": outcome.entries,
            "hash": format!("{:016x}", outcome.hash),
            "repeat": self.repeat(),
        })
    }
}
