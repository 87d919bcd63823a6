//! `quorate start`.

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use quorate_node::{Config, RunOptions};
use std::{io::IsTerminal as _, path::PathBuf};
use tracing_subscriber::EnvFilter;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate start --config cluster/r0/quorate.toml\n  \
                        QUORATE_LOG=debug quorate start --config cluster/r0/quorate.toml")]
pub(crate) struct Start {
    /// The replica's quorate.toml
    #[arg(long)]
    config: PathBuf,
    /// Serve clients from elsewhere by plain HTTP: for a gateway behind a front end that does TLS,
    /// or on a network that is trusted
    #[arg(long)]
    insecure_http: bool,
    /// End when standard input ends, and with the process that started this one
    #[arg(long, hide = true)]
    with_parent: bool,
}

impl Start {
    /// Runs the replica until it is told to stop.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let config =
            Config::load(&self.config).map_err(|error| Failure::config(&self.config, &error))?;
        if config.is_exposed() && !self.insecure_http {
            let message = format!(
                "the gateway of {} can be reached from elsewhere, without TLS",
                self.config.display()
            );
            return Err(Failure::usage("insecure-http", message).hint(
                "name a certificate in [tls], listen on the loopback, or say --insecure-http where \
                 something else protects the way",
            ));
        }
        log(console.is_json());
        let options = RunOptions { with_parent: self.with_parent };
        match quorate_node::run(config, &options) {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Err(Failure::failed(error.code, error.message)),
        }
    }
}

/// Events go to standard error, as many as `QUORATE_LOG` asks for.
pub(super) fn log(json: bool) {
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber in one process would be refused; there is only this one.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
