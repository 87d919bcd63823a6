//! `quorate completions SHELL`.

use crate::{
    Cli,
    console::Console,
    failure::{Exit, Failure},
};
use clap::CommandFactory as _;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate completions bash > /etc/bash_completion.d/quorate\n  \
    quorate completions zsh > \"${fpath[1]}/_quorate\"\n  \
    quorate completions fish > ~/.config/fish/completions/quorate.fish")]
pub(crate) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "quorate", &mut script);
        console.bytes(&script);
        Ok(Exit::Done)
    }
}
