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
use quorate_sim::{
    Outcome, Plan,
    journal::{Journal, recorded},
    keys::Signatures,
    scenario::Scenario,
    violation,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many lines of a trace stand on the terminal when a run failed.
const TRACE_LINES: usize = 40;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate sim run view-change\n  \
    quorate sim run lost-disk --seed 3 --replicas 7 --trace -\n  \
    quorate sim run swarm --seed 4711 --replicas 4 --trace trace.txt\n  \
    quorate sim run --plan plan.toml\n\n\
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
    /// What replicas and clients sign with [default: MACs; as the seed draws in `swarm`]
    #[arg(long, value_name = "KIND")]
    signatures: Option<Kind>,
    /// Run a plan from a file, in place of a scenario
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "seed", "replicas"])]
    plan: Option<PathBuf>,
    /// Write the plan to a file, to be edited and run by --plan; - is standard output
    #[arg(long, value_name = "FILE")]
    save_plan: Option<PathBuf>,
    /// Write the whole trace to a file; - is standard output
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    engine: Engine,
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
        let plan = self.drawn()?;
        if let Some(path) = &self.save_plan {
            write(console, path, &plan_text(&plan)?)?;
        }
        let told = Told { run: &self, plan: &plan };
        if !console.is_json() {
            console.line(told.plan()?.trim_end());
        }
        let (outcome, journal) = recorded(plan.clone());
        self.write_trace(console, &journal, &outcome)?;
        if console.is_json() {
            console.json(&told.json(&outcome));
        } else {
            console.line(told.outcome(&outcome).trim_end());
        }
        Ok(if outcome.failures.is_empty() { Exit::Done } else { Exit::Failed })
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
        row(&mut out, "again", [self.run.repeat(self.plan)]);
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
            "repeat": self.run.repeat(self.plan),
        })
    }
}
