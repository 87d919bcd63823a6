//! `quorate sim`: the engine, the pipeline and the ledger on virtual time, under faults that a seed
//! draws.
//!
//! | file | holds |
//! |---|---|
//! | [`swarm`] | many seeds, and the table at the end |
//! | [`run`] | one plan, its trace, its outcome |
//! | [`crash_points`] | short runs, with a crash at every place |
//! | [`calibrate`] | what operations cost on this machine |
//! | [`told`] | numbers and counts, for people |
//! | [`interrupt`] | Ctrl-C, which ends early and still tells |

mod calibrate;
mod crash_points;
mod interrupt;
mod run;
mod swarm;
mod told;

use crate::{
    console::Console,
    failure::{Exit, Failure},
};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct SimCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run one plan, and say what happened
    Run(Box<run::Run>),
    /// Run many seeds, and say what they came to
    Swarm(swarm::Swarm),
    /// Run short plans again and again, with a crash after each thing that one replica does
    CrashPoints(crash_points::CrashPoints),
    /// Measure what operations cost on this machine: what runs with busy cores are computed with
    Calibrate(calibrate::Calibrate),
}

impl SimCommand {
    /// Does it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self.action {
            Action::Run(run) => run.run(console),
            Action::Swarm(swarm) => swarm.run(console),
            Action::CrashPoints(crash_points) => crash_points.run(console),
            Action::Calibrate(calibrate) => calibrate.run(console),
        }
    }
}

/// Which engine is simulated.
#[derive(clap::Args)]
struct Engine {
    /// The ordering engine
    #[arg(long, value_name = "E", default_value = "pbft")]
    engine: String,
}

impl Engine {
    fn check(&self) -> Result<(), Failure> {
        match self.engine.as_str() {
            "pbft" => Ok(()),
            other => Err(Failure::usage(
                "config-unknown-engine",
                format!("the simulator has no engine {other:?}"),
            )
            .hint("this build has: pbft")),
        }
    }
}
