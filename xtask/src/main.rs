//! Chores of the repository: `cargo xtask slow`, `model`, `campaign`, `bugs`, `musl`.
//!
//! Its tests (`xtask/tests/it/`) hold the rules that a compiler does not know: which room may use
//! which, how long a file may be, what no source may contain.

mod bugs;
mod campaign;
mod model;
mod musl;
mod slow;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask slow [CARGO TEST OPTIONS]   run every test that is ignored as slow
cargo xtask model                       check the model of PBFT, and that it finds bugs
cargo xtask campaign --hours H [--mix swarm,twins,disks,kill,fuzz]
                                        run seeds, kills and fuzzing, and write them down
cargo xtask bugs [--only NAME | --write]
                                        make bugs on purpose, and see which check finds them
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
