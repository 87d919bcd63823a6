//! `quorate policy`: what is believed, and why.

use super::{block_on, curl::parse_url};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    trust::{self, PolicyArgument, pin_failure},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_client::{Ground, Pins};
use quorate_gateway::AnswerStatus;
use quorate_node::AnswerRules;
use quorate_proof::{Policy, digest_value};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show the policy that is believed for a gateway, or of a file
    Show(Show),
    /// Believe a policy for a gateway from now on, in place of any other
    Pin(Pin),
    /// Forget the policy that is pinned for a gateway
    Forget(Forget),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate policy show --policy policy.txt\n  \
    quorate policy show http://127.0.0.1:7400\n  \
    quorate policy show --raw http://127.0.0.1:7400 > policy.txt")]
struct Show {
    #[command(flatten)]
    policy: PolicyArgument,
    /// Print the policy's text and nothing else
    #[arg(long)]
    raw: bool,
    /// The gateway
    url: Option<String>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate policy pin policy.txt http://127.0.0.1:7400")]
struct Pin {
    /// The policy
    file: PathBuf,
    /// The gateway
    url: String,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate policy forget http://127.0.0.1:7400")]
struct Forget {
    /// The gateway
    url: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    origin: &'a str,
    name: &'a str,
    chain: String,
    fault_model: &'static str,
    development: bool,
    digest: String,
    /// `file`, `pinned` or `served`.
    source: &'static str,
    file: Option<PathBuf>,
    /// What proofs cover of answers beside the usual, and what not.
    answers: AnswerStatus,
    replicas: Vec<Replica<'a>>,
    text: &'a str,
}

#[derive(Serialize)]
struct Replica<'a> {
    name: &'a str,
    cosigner_key: String,
    /// Whether the quorum asks for it.
    in_quorum: bool,
}

impl PolicyCommand {
    /// Does it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self.action {
            Action::Show(show) => show.run(console),
            Action::Pin(pin) => pin.run(console),
            Action::Forget(forget) => forget.run(console),
        }
    }
}

impl Show {
    fn run(self, console: &Console) -> Result<Exit, Failure> {
        let (policy, ground) = match (&self.url, self.policy.given()) {
            (_, Some(path)) => (trust::read_policy(&path)?, Ground::Given(path)),
            (Some(url), None) => {
                let url = parse_url(url)?;
                let trusted = block_on(self.policy.find(&url.endpoint))??;
                (trusted.policy, trusted.ground)
            }
            (None, None) => {
                return Err(Failure::usage("policy-needed", "there is no policy to show")
                    .hint("name a file by --policy or $QUORATE_POLICY, or a gateway by its URL"));
            }
        };
        if self.raw {
            console.bytes(policy.text().as_bytes());
            return Ok(Exit::Done);
        }
        let answers = AnswerRules::of_policy(policy.text())
            .map_err(|error| Failure::failed(error.code(), error).hint("--raw shows the text"))?;
        let said = answers.to_string();
        let shown = Shown::new(&policy, ground, &answers);
        if console.is_json() {
            console.json(&shown);
        } else {
            console.line(shown.text(&said));
        }
        Ok(Exit::Done)
    }
}

impl Pin {
    fn run(self, console: &Console) -> Result<Exit, Failure> {
        let policy = trust::read_policy(&self.file)?;
        let url = parse_url(&self.url)?;
        let pins = Pins::of_user().map_err(pin_failure)?;
        pins.replace(&url.endpoint, &policy).map_err(pin_failure)?;
        said(console, "pinned", &pins.path(&url.endpoint), true);
        Ok(Exit::Done)
    }
}

impl Forget {
    fn run(self, console: &Console) -> Result<Exit, Failure> {
        let url = parse_url(&self.url)?;
        let pins = Pins::of_user().map_err(pin_failure)?;
        let was_there = pins.forget(&url.endpoint).map_err(pin_failure)?;
        said(console, "forgotten", &pins.path(&url.endpoint), was_there);
        Ok(Exit::Done)
    }
}

fn said(console: &Console, what: &str, pin: &std::path::Path, done: bool) {
    if console.is_json() {
        console.json(&serde_json::json!({ what: done, "file": pin }));
    } else if done {
        console.line(format_args!("{what}: {}", pin.display()));
    } else {
        console.line("nothing was pinned");
    }
}

impl<'a> Shown<'a> {
    fn new(policy: &'a Policy, ground: Ground, answers: &AnswerRules) -> Self {
        let (source, file) = match ground {
            Ground::Given(path) => ("file", Some(path)),
            Ground::Pinned(path) => ("pinned", Some(path)),
            Ground::FirstUse => ("served", None),
        };
        let mut in_quorum = vec![false; policy.witnesses().len()];
        policy.quorum_witnesses().for_each(|place| in_quorum[place] = true);
        let replicas = policy.witnesses().iter().zip(in_quorum);
        Self {
            origin: policy.origin_text(),
            name: &policy.origin().name,
            chain: policy.origin().chain.to_string(),
            fault_model: policy.origin().model.as_str(),
            development: policy.is_development(),
            digest: digest_value(&policy.digest()),
            source,
            file,
            answers: answers.status(),
            replicas: replicas
                .map(|(key, in_quorum)| Replica {
                    name: &key.name,
                    cosigner_key: STANDARD.encode(key.key.0),
                    in_quorum,
                })
                .collect(),
            text: policy.text(),
        }
    }

    fn text(&self, answers: &str) -> String {
        let keys = if self.development { "for development only" } else { "as listed" };
        let from = match (&self.file, self.source) {
            (Some(file), source) => format!("{} ({source})", file.display()),
            (None, _) => "served by the gateway itself: nobody vouches for it".to_owned(),
        };
        format!(
            "origin:      {}\nfault model: {}\nkeys:        {keys}\nanswers:     {answers}\n\
             digest:      {}\nsource:      {from}\n\n{}",
            self.origin,
            self.fault_model,
            self.digest,
            self.text.trim_end()
        )
    }
}
