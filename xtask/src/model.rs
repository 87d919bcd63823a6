//! Checks the model of PBFT, state by state, and fails if nothing was checked.

use crate::slow;
use std::process::ExitCode;

/// Runs the model's tests, slow ones aside, with the bugs that they switch on; they print how many
/// states they saw.
pub(crate) fn run() -> ExitCode {
    let build = ["--package", "quorate-protocol", "--lib", "--features", "seeded-bugs"];
    let tests = ["--", "--include-ignored", "--skip", "_slow", "--nocapture", "pbft::tests::model"];
    let options = build.into_iter().chain(tests).map(str::to_owned).collect();
    slow::passing("model", options)
}
