//! The commands: a file each, and this table of them.

mod completions;
mod version;

use crate::{
    console::Console,
    failure::{Exit, Failure},
};

/// What can be asked for.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the version, and with --verbose what it was built from and speaks
    Version(version::Version),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self {
            Self::Completions(command) => command.run(console),
            Self::Version(command) => command.run(console),
        }
    }
}

/// Runs a command's asynchronous part, on this thread.
pub(crate) fn block_on<F>(future: F) -> Result<F::Output, Failure>
where
    F: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("runtime", format!("no event loop: {error}")))?;
    Ok(runtime.block_on(future))
}
