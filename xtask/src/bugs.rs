//! Looks for bugs that were made on purpose: the simulator's example `seeded_bugs`, built with the
//! one feature that can switch them on.

use std::{
    env,
    process::{Command, ExitCode},
};

/// Runs `cargo xtask bugs [--only NAME | --write]`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let what = ["run", "--release", "--quiet", "--package", "quorate-sim"];
    let bugs = ["--features", "seeded-bugs", "--example", "seeded_bugs", "--"];
    match Command::new(cargo).args(what).args(bugs).args(arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
