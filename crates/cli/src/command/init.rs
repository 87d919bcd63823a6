//! `quorate init`.

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use quorate_node::{AnswerRules, InitError, Made, Plan};
use serde_json::json;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate init --replicas 4 --dir cluster\n  \
                        quorate init --dir cluster --service 'http://127.0.0.1:900{i}' \\\n    \
                        --canonical-json --volatile-field etag\n  \
                        quorate init --replicas 4 --dir cluster --name shop.example \\\n    \
                        --host a.example --host b.example --host c.example --host d.example")]
pub(crate) struct Init {
    /// How many replicas; 3f+1 survive f faults
    #[arg(long, default_value_t = 4)]
    replicas: u16,
    /// The folder to make the cluster in
    #[arg(long)]
    dir: PathBuf,
    /// The ordering engine
    #[arg(long, default_value = "pbft")]
    engine: String,
    /// The service: `kv`, `cart`, or `http://HOST:PORT` of an HTTP program, one copy beside each
    /// replica; `{i}` in it stands for the replica's number
    #[arg(long, default_value = "kv")]
    service: String,
    /// The port of the first gateway
    #[arg(long, default_value_t = 7400)]
    port: u16,
    /// The host of each replica, or one for all; without it, 127.0.0.1
    #[arg(long)]
    host: Vec<String>,
    /// The public authority that all replicas serve
    #[arg(long, default_value = "dev.localhost")]
    name: String,
    #[command(flatten)]
    answers: AnswerArguments,
}

/// What proofs cover of the answers of a service that runs outside. It stands in the policy, and is
/// fixed with it.
#[derive(clap::Args)]
pub(super) struct AnswerArguments {
    /// Put JSON contents of copies into one spelling: members in the order of their names, no
    /// blanks
    #[arg(long)]
    canonical_json: bool,
    /// A response field to which copies give different values: dropped, so not covered by proofs
    #[arg(long, value_name = "NAME")]
    volatile_field: Vec<String>,
    /// A further request field that copies see and proofs cover, in lower case
    #[arg(long, value_name = "NAME")]
    request_field: Vec<String>,
    /// A further response field that clients see and proofs cover, in lower case
    #[arg(long, value_name = "NAME")]
    response_field: Vec<String>,
}

impl AnswerArguments {
    /// The rules that they make.
    pub(super) fn rules(&self) -> AnswerRules {
        AnswerRules {
            canonical_json: self.canonical_json,
            volatile_fields: self.volatile_field.iter().cloned().collect(),
            request_fields: self.request_field.clone(),
            response_fields: self.response_field.clone(),
        }
    }
}

impl Init {
    /// Makes the cluster's files.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let plan = Plan {
            replicas: self.replicas,
            dir: self.dir,
            engine: self.engine,
            service: self.service,
            port: self.port,
            hosts: self.host,
            name: self.name,
            answers: self.answers.rules(),
        };
        let made = quorate_node::init(&plan).map_err(|error| failure(&error))?;
        report(console, &made);
        Ok(Exit::Done)
    }
}

/// What `init` and `dev` say when no cluster could be made.
pub(super) fn failure(error: &InitError) -> Failure {
    let exit = match error {
        InitError::Ports { .. }
        | InitError::Hosts { .. }
        | InitError::OneCopy(_)
        | InitError::Config(_) => Exit::Usage,
        InitError::Exists(_)
        | InitError::Key(_)
        | InitError::Ledger(_)
        | InitError::Write { .. } => Exit::Failed,
    };
    Failure { exit, ..Failure::failed(error.code(), error) }
}

fn report(console: &Console, made: &Made) {
    if console.is_json() {
        console.json(&json!({
            "policy": made.policy, "configs": made.configs, "exposed": made.exposed,
        }));
        return;
    }
    console.line(format_args!("policy    {}", made.policy.display()));
    for config in &made.configs {
        console.line(format_args!("replica   {}", config.display()));
    }
    console.note("give each organisation its own folder, and start each with");
    if let Some(config) = made.configs.first() {
        console.note(format_args!("  quorate start --config {}", config.display()));
    }
    if !made.exposed.is_empty() {
        console.note(
            "gateways that others reach speak TLS. Before it starts, each organisation gets a \
             certificate\nfor its host, from any authority, and names it in its quorate.toml:\n  \
             [tls]\n  certificate = \"fullchain.pem\"\n  key = \"privkey.pem\"\n\
             Where a front end does TLS, or the network is trusted: quorate start --insecure-http",
        );
    }
}
