//! The `quorate` binary.
//!
//! | file | holds |
//! |---|---|
//! | [`command`] | the commands, a file each, and the table of them |
//! | [`console`] | what goes to standard output and standard error, as text or JSON |
//! | [`failure`] | exit codes, and errors with a code and a hint |
//! | [`trust`] | which policy is believed |
//! | [`verdict`] | what is said of a verified exchange |
//! | [`keys`], [`http`] | clients' keys; requests that nobody proves |
//!
//! A command is a struct of arguments with `run(self, &Console) -> Result<Exit, Failure>`. Results
//! go to standard output, everything said about them to standard error.

mod command;
mod console;
mod failure;
mod http;
mod keys;
mod trust;
mod verdict;

use clap::Parser as _;
use std::process::ExitCode;

/// A replica and a simulated seed alike make many small things; the system's allocator takes a
/// fifth of a seed's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Puts an ordinary web service behind a quorum: every answer comes with a proof.
#[derive(clap::Parser)]
#[command(
    name = "quorate",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not verified.\n\
                  `quorate explain CODE` tells more of an error's code."
)]
pub(crate) struct Cli {
    /// How results are written; `json` gives one object a line
    #[arg(long, global = true, value_enum, default_value_t = console::Format::Text)]
    output: console::Format,
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = console::Console::new(cli.output);
    match cli.command.run(&console) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            console.failure(&failure);
            failure.exit.into()
        }
    }
}
