//! `quorate fault`: visible faults, in development clusters.

use super::{block_on, curl::parse_url, status};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    http,
};
use quorate_client::{Call, Endpoint};
use quorate_gateway::Fault;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct FaultCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make a replica faulty
    Set(Set),
    /// Make it correct again
    Clear(Clear),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate fault set r2 --corrupt-responses\n  \
    quorate fault set r1 --delay 250 --url http://127.0.0.1:8500")]
struct Set {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    kind: Kind,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate fault clear r2")]
struct Clear {
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
struct Target {
    /// Which replica: r0, r1, ..
    #[arg(value_parser = replica)]
    replica: u16,
    /// The operations listener of any replica of the cluster
    #[arg(long, default_value = "http://127.0.0.1:7500")]
    url: String,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Kind {
    /// Corrupt what it signs and what it serves
    #[arg(long)]
    corrupt_responses: bool,
    /// Send nothing to other replicas
    #[arg(long)]
    mute: bool,
    /// Send everything so many milliseconds late
    #[arg(long, value_name = "MS")]
    delay: Option<u64>,
    /// Propose and vote differently to different replicas
    #[arg(long)]
    equivocate: bool,
    /// Answer requests with old valid answers
    #[arg(long)]
    replay: bool,
}

fn replica(text: &str) -> Result<u16, String> {
    let number = text.strip_prefix('r').unwrap_or(text).parse();
    number.map_err(|_| "a replica is named r0, r1 and so on".to_owned())
}

impl FaultCommand {
    /// Sets or clears it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self.action {
            Action::Set(Set { target, kind }) => {
                let fault = kind.fault();
                let body = serde_json::to_vec(&fault)
                    .map_err(|error| Failure::failed("fault-malformed", error))?;
                block_on(target.send(http::json_call("POST", "/fault", body)))??;
                target.say(console, Some(fault));
            }
            Action::Clear(Clear { target }) => {
                let call = Call { method: "DELETE".to_owned(), ..Call::get("/fault", "?") };
                block_on(target.send(call))??;
                target.say(console, None);
            }
        }
        Ok(Exit::Done)
    }
}

impl Kind {
    fn fault(&self) -> Fault {
        match self.delay {
            Some(ms) => Fault::Delay { ms },
            None if self.mute => Fault::Mute,
            None if self.equivocate => Fault::Equivocate,
            None if self.replay => Fault::Replay,
            None => Fault::CorruptResponses,
        }
    }
}

impl Target {
    async fn send(&self, call: Call) -> Result<(), Failure> {
        let endpoint = self.operations().await?;
        let response = http::request(&endpoint, call).await?;
        match response.status {
            200..=299 => Ok(()),
            _ => Err(http::unexpected(&endpoint, &response)),
        }
    }

    /// The operations listener of the replica itself, learnt from the one that was named.
    async fn operations(&self) -> Result<Endpoint, Failure> {
        let asked = parse_url(&self.url)?.endpoint;
        let status = status::of(&asked).await?;
        if self.replica == status.replica {
            let own = status.operations.as_deref().map(parse_url).transpose()?;
            return Ok(own.map_or(asked, |url| url.endpoint));
        }
        let peer = status.peers.iter().find(|peer| peer.id == self.replica).ok_or_else(|| {
            let message =
                format!("there is no r{} among {} replicas", self.replica, status.replicas);
            Failure::usage("replica-unknown", message)
        })?;
        let url = peer.operations.as_deref().ok_or_else(|| {
            let message = format!("{asked} does not know the operations listener of r{}", peer.id);
            Failure::failed("operations-unknown", message)
                .hint("faults can be injected in development clusters only; else name it by --url")
        })?;
        Ok(parse_url(url)?.endpoint)
    }

    fn say(&self, console: &Console, fault: Option<Fault>) {
        if console.is_json() {
            console.json(&serde_json::json!({ "replica": self.replica, "fault": fault }));
            return;
        }
        match fault {
            Some(fault) => {
                console.line(format_args!("r{} is faulty now: {}", self.replica, deed(fault)));
            }
            None => console.line(format_args!("r{} is correct again", self.replica)),
        }
    }
}

/// What a faulty replica does, in words.
fn deed(fault: Fault) -> String {
    match fault {
        Fault::CorruptResponses => "it corrupts what it signs and serves".to_owned(),
        Fault::Mute => "it sends nothing to other replicas".to_owned(),
        Fault::Delay { ms } => format!("it sends everything {ms} ms late"),
        Fault::Equivocate => "it tells different replicas different things".to_owned(),
        Fault::Replay => "it answers with old valid answers".to_owned(),
    }
}
