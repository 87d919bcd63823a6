//! Looks for bugs that were made on purpose: the simulator's example `seeded_bugs`, built with the
//! one feature that can switch them on.

use std::{
    env,
    process::{Command, ExitCode},
};

/// Runs `cargo xtask bugs [--only NAME | --rotate COUNT | --write]`. Which bugs a rotation has
/// depends on the commit, so that each landing looks for others.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut arguments = arguments.to_vec();
    if arguments.iter().any(|it| it == "--rotate") && !arguments.iter().any(|it| it == "--commit") {
        let Some(commit) = commit() else {
            eprintln!("git does not say which commit this is; `--commit HASH` does");
            return ExitCode::FAILURE;
        };
        println!("the turn of commit {commit}");
        arguments.extend(["--commit".to_owned(), commit]);
    }
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

/// The hash of the commit that is checked out.
fn commit() -> Option<String> {
    let said = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let hash = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (said.status.success() && !hash.is_empty()).then_some(hash)
}
