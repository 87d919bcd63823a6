//! `quorate sim calibrate`: what operations cost on this machine, now.

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use quorate_sim::calibrate::calibrate;
use serde_json::json;
use std::time::Instant;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate sim calibrate\n  \
    quorate sim calibrate > crates/sim/data/costs.txt\n\n\
    Nanoseconds on one core, by the libraries that replicas use: signatures, hashes, the wire, a\n\
    step of the pipeline, a write of 512 bytes. The fastest of several rounds counts; measure on\n\
    a machine that does nothing else. The table that is checked in is what simulated cores cost.")]
pub(super) struct Calibrate {}

impl Calibrate {
    /// Runs it.
    pub(super) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let began = Instant::now();
        let rows = calibrate(|| began.elapsed());
        if console.is_json() {
            let nanos = |picos: u64| picos as f64 / 1_000.0;
            let rows = rows.iter().map(|row| (row.operation.name(), nanos(row.picos)));
            console.json(
                &json!({ "nanoseconds": rows.collect::<std::collections::BTreeMap<_, _>>() }),
            );
        } else {
            console.line("# Nanoseconds on one core, as `quorate sim calibrate` prints them.");
            rows.iter().for_each(|row| console.line(row));
        }
        Ok(Exit::Done)
    }
}
