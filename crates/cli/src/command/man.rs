//! `quorate man`.

use crate::{
    Cli,
    console::Console,
    failure::{Exit, Failure},
};
use clap::CommandFactory as _;
use clap_mangen::Man as Page;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate man | man -l -\n  \
    quorate man --dir /usr/local/share/man/man1\n\n\
    Without --dir the page of `quorate` itself goes to standard output; with it, a page for each\n\
    command is written: quorate.1, quorate-curl.1, quorate-fault-set.1 and so on.")]
pub(crate) struct Man {
    /// Write a page for each command into this folder, made if it is not there; pages that are
    /// there are replaced
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Prints or writes them.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let mut quorate = Cli::command();
        // Names of subcommands become `quorate-curl`, and what is global is known to each.
        quorate.build();
        let Some(dir) = self.dir else {
            console.bytes(&rendered(quorate)?);
            return Ok(Exit::Done);
        };
        fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, &error))?;
        let mut written = Vec::new();
        write(quorate, &dir, &mut written)?;
        if console.is_json() {
            console.json(&serde_json::json!({ "dir": dir, "pages": written }));
        } else {
            console.line(format_args!("{} pages in {}", written.len(), dir.display()));
        }
        Ok(Exit::Done)
    }
}

/// Writes the page of a command and those of its subcommands.
fn write(command: clap::Command, dir: &Path, written: &mut Vec<String>) -> Result<(), Failure> {
    for part in command.get_subcommands() {
        // `help` has a page for each command again, and says the same.
        if !part.is_hide_set() && part.get_name() != "help" {
            write(part.clone(), dir, written)?;
        }
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let file = format!("{name}.1");
    let path = dir.join(&file);
    fs::write(&path, rendered(command)?).map_err(|error| Failure::file(&path, &error))?;
    written.push(file);
    Ok(())
}

fn rendered(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Page::new(command)
        .render(&mut page)
        .map_err(|error| Failure::failed("file", format_args!("the manual page: {error}")))?;
    Ok(page)
}
