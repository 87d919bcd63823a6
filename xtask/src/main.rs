//! Chores of the repository: `cargo xtask slow`, `model`, `campaign`, `bugs`, `compare`,
//! `measure`, `profile`, `instructions`, `musl`.
//!
//! Its tests (`xtask/tests/it/`) hold the rules that a compiler does not know: which room may use
//! which, how long a file may be, what no source may contain.

mod bugs;
mod campaign;
mod compare;
mod instructions;
mod measure;
mod model;
mod musl;
mod profile;
mod slow;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

const HELP: &str = "\
cargo xtask slow [CARGO TEST OPTIONS]   run every test that is ignored as slow
cargo xtask model                       check the model of PBFT, and that it finds bugs
cargo xtask campaign --hours H [--mix swarm,twins,disks,copies,kill,fuzz]
                                        run seeds, kills and fuzzing, and write them down
cargo xtask bugs [--only NAME | --write]
                                        make bugs on purpose, and see which check finds them
cargo xtask compare [--help]            measure beside CometBFT and etcd; see bench/compare.sh
cargo xtask measure [--help]            measure Quorate alone: under faults, signed, for long, ..
cargo xtask profile [--help]            where the CPU time of a request goes
cargo xtask instructions [--write]      count those of the hot stages, beside what is on record
cargo xtask musl                        build the static binary; ends with 2 where that cannot be

By default of the whole workspace; `cargo xtask slow --package quorate-node` of one room.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    match command.as_deref() {
        Some("slow") => slow::run(arguments.collect()),
        Some("model") => model::run(),
        Some("musl") => musl::run(),
        Some("campaign") => campaign::run(&arguments.collect::<Vec<_>>()),
        Some("compare") => compare::run(&arguments.collect::<Vec<_>>()),
        Some("measure") => measure::run(&arguments.collect::<Vec<_>>()),
        Some("instructions") => instructions::run(&arguments.collect::<Vec<_>>()),
        Some("profile") => profile::run(&arguments.collect::<Vec<_>>()),
        Some("bugs") => bugs::run(&arguments.collect::<Vec<_>>()),
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("there is no chore `{other}`\n\n{HELP}");
            ExitCode::from(2)
        }
        None => {
            eprintln!("{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// What a command that succeeds says.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
    }
}
