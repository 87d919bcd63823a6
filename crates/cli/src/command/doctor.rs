//! `quorate doctor`: what stands in the way of putting a service behind a quorum.
//!
//! | file | holds |
//! |---|---|
//! | this | arguments, and what is said |
//! | [`replay`] | the requests that both copies are asked |
//! | [`copies`] | two copies, started in unequal surroundings |
//! | [`compare`] | where two answers differ |
//! | [`cause`] | why they seem to, and how that is cured |
//! | [`report`] | what all of it amounts to |

mod cause;
mod compare;
mod copies;
mod replay;
mod report;

use super::{block_on, stop_signal};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use copies::{Service, Surroundings};
use quorate_node::{Config, host::Rules};
use quorate_types::{Request, UnixMillis};
use report::Report;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Ask two copies of a service the same, and name what they answer differently
    Determinism(Determinism),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate doctor determinism --service 'python3 app.py 127.0.0.1:{port}'\n  \
    quorate doctor determinism --service 'node app.mjs {port}' --replay requests.jsonl\n  \
    quorate doctor determinism --service 'http://127.0.0.1:900{i}' --replay requests.jsonl\n  \
    quorate doctor determinism --service 'node app.mjs {port}' --config r0/quorate.toml\n\n\
    A program is started twice, with other hash seeds, time zone, locale, number of threads,\n\
    working folder, temporary folder and time; copies that run should be fresh. Both are asked\n\
    everything in order, GET and HEAD several times, with equal Quorate-Index, Quorate-Time and\n\
    Quorate-Seed, as a replica asks its copy. A line of the file: {\"method\": \"POST\",\n\
    \"path\": \"/orders?x=1\", \"headers\": {\"Accept\": \"application/json\"},\n\
    \"body\": {\"item\": \"tea\"}}; all but the path may be absent, and a body that is a\n\
    text is sent as it is. Exit code 1: they differ.")]
struct Determinism {
    /// A command line with `{port}` that starts a copy, or a URL with `{i}` of copies 0 and 1
    #[arg(long, value_name = "SERVICE")]
    service: String,
    /// The requests, a JSON object a line; without it, a few probes
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// A replica's configuration, by whose table of copies requests and answers are read
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long a program may take until it listens
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    start_time: u64,
    /// How long an answer may take; else `call_timeout_ms` of the configuration, else 2000
    #[arg(long, value_name = "MILLISECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60_000))]
    call_timeout: Option<u64>,
}

impl Doctor {
    /// Does it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self.action {
            Action::Determinism(determinism) => determinism.run(console),
        }
    }
}

impl Determinism {
    fn run(self, console: &Console) -> Result<Exit, Failure> {
        let service = Service::parse(&self.service)?;
        let rules = self.rules()?;
        let requests = match &self.replay {
            Some(path) => replay::read(path, &rules.coverage)?,
            None => replay::probes(),
        };
        let requests: Vec<_> = requests.into_iter().map(Arc::new).collect();
        let report = block_on(async {
            let stop = stop_signal()?;
            tokio::select! {
                report = self.examine(&service, &requests, &rules) => report,
                () = stop => {
                    Err(Failure::failed("stopped", "stopped before both copies were asked"))
                }
            }
        })??;
        if console.is_json() {
            console.json(&report.json());
        } else {
            console.line(report.text().trim_end());
            if self.replay.is_none() {
                console.note("these were a few probes; --replay asks what your clients ask");
            }
        }
        match report.verdict() {
            Some(reason) => Err(Failure::failed("answers-differ", reason)),
            None => Ok(Exit::Done),
        }
    }

    /// How a replica calls its copy: as it is configured, or with nothing repaired.
    fn rules(&self) -> Result<Rules, Failure> {
        let mut rules = match &self.config {
            None => copies::plain_rules(),
            Some(path) => {
                let config = Config::load(path).map_err(|error| Failure::config(path, &error))?;
                config.copy_rules().ok_or_else(|| {
                    let name = path.display();
                    let message = format!("the service of {name} has no copies");
                    Failure::usage("doctor-config", message)
                        .hint("the configuration of a replica whose `service` is a URL is needed")
                })?
            }
        };
        if let Some(milliseconds) = self.call_timeout {
            rules.call_timeout = Duration::from_millis(milliseconds);
        }
        Ok(rules)
    }

    async fn examine(
        &self,
        service: &Service,
        requests: &[Arc<Request>],
        rules: &Rules,
    ) -> Result<Report, Failure> {
        let start = Duration::from_secs(self.start_time);
        let surroundings = Surroundings::new()?;
        let (begun, asked) = (now(), replay::with_repeats(requests));
        let mut first = surroundings.copy(service, 0, start, rules).await?;
        let first_said = first.ask(requests, &asked, begun).await;
        let mut second = surroundings.copy(service, 1, start, rules).await?;
        let second_said = second.ask(requests, &asked, begun).await;
        let ports = [first.port, second.port];
        Ok(Report::new(requests, &asked, [&first_said, &second_said], ports))
    }
}

fn now() -> UnixMillis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
