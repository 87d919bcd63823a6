//! `quorate status URL`.

use super::{block_on, curl::parse_url};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    http,
};
use quorate_client::Endpoint;
use quorate_gateway::{CopyStatus, Status};
use quorate_node::AnswerRules;
use serde_json::Value;
use std::fmt::Write as _;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate status http://127.0.0.1:7400\n  \
    quorate status --output json http://127.0.0.1:7500\n\n\
    A status is one replica's word about itself and the others; nothing proves it.")]
pub(crate) struct StatusCommand {
    /// A gateway, or an operations listener
    #[arg(default_value = "http://127.0.0.1:7400")]
    url: String,
}

impl StatusCommand {
    /// Shows it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let endpoint = parse_url(&self.url)?.endpoint;
        if console.is_json() {
            console.json(&block_on(document(&endpoint))??);
        } else {
            console.line(text(&block_on(of(&endpoint))??).trim_end());
        }
        Ok(Exit::Done)
    }
}

/// The status that a gateway or an operations listener tells.
pub(crate) async fn of(endpoint: &Endpoint) -> Result<Status, Failure> {
    serde_json::from_value(document(endpoint).await?)
        .map_err(|error| Failure::failed("status-malformed", format!("{endpoint}: {error}")))
}

/// The status document of a gateway or of an operations listener.
///
/// The gateway's place is asked first: on a gateway, `/status` is the service's and would be
/// ordered.
pub(crate) async fn document(endpoint: &Endpoint) -> Result<Value, Failure> {
    let mut response = http::get(endpoint, "/.well-known/quorate/status").await?;
    if response.status == 404 {
        response = http::get(endpoint, "/status").await?;
    }
    if response.status != 200 {
        return Err(http::unexpected(endpoint, &response));
    }
    serde_json::from_slice(&response.body).map_err(|error| {
        Failure::failed("status-malformed", format!("{endpoint}: {error}"))
            .hint("is this a gateway or an operations listener of Quorate?")
    })
}

fn text(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{:<14}{value}", format!("{name}:"));
    };
    let development = if status.development { ", development keys" } else { "" };
    line("replica", format!("r{} of {}", status.replica, status.replicas));
    line("origin", format!("{}{development}", status.origin));
    line("engine", format!("{} ({})", status.engine, status.fault_model));
    line("service", status.service.clone());
    line(
        "ready",
        match (&status.reason, status.ready) {
            (_, true) => "yes".to_owned(),
            (Some(reason), false) => format!("no: {reason}"),
            (None, false) => "no".to_owned(),
        },
    );
    line("view", format!("{} (primary r{})", status.view, status.primary));
    line("height", format!("{} (lag {})", status.height, status.lag));
    line(
        "last head",
        status
            .last_head
            .as_ref()
            .map_or("none".to_owned(), |head| format!("{} entries, root {}", head.size, head.root)),
    );
    let peers = status
        .peers
        .iter()
        .map(|peer| format!("r{} {}", peer.id, if peer.connected { "up" } else { "DOWN" }));
    line("peers", peers.collect::<Vec<_>>().join(", "));
    match status.divergent.as_slice() {
        [] => line("divergent", "none".to_owned()),
        divergent => {
            for one in divergent {
                line("DIVERGENT", format!("r{}: {}", one.id, charge(&one.evidence)));
            }
        }
    }
    if let Some(CopyStatus { url, standing, next }) = &status.copy {
        let next = next.map_or(String::new(), |next| format!(", before entry {next}"));
        line("copy", format!("{url}, {standing}{next}"));
    }
    if let Some(answers) = &status.answers {
        line("answers", AnswerRules::from(answers).to_string());
    }
    line("version", status.version.clone());
    out
}

/// What a replica is charged with, the messages that prove it being for programs; or how its copy
/// of the service stood apart, which proves nothing.
pub(crate) fn charge(evidence: &Value) -> String {
    if let Some(how) = evidence.get("copy").and_then(Value::as_str) {
        let slot = evidence.get("slot").map_or("?".to_owned(), Value::to_string);
        let how = if how == "silent" { "gave no answer" } else { "answered otherwise" };
        return format!("its copy of the service {how} in slot {slot}");
    }
    let charge = evidence.get("charge").and_then(Value::as_str);
    let messages = evidence.get("messages").and_then(Value::as_array).map_or(0, Vec::len);
    match charge {
        Some(charge) => format!("{charge}, proven by {messages} messages (see --output json)"),
        None => evidence.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lie_is_told_from_a_copy_that_stands_apart() {
        let lie = json!({ "charge": "double-vote", "messages": ["", ""] });
        assert_eq!(charge(&lie), "double-vote, proven by 2 messages (see --output json)");
        let apart = |how: &str| charge(&json!({ "copy": how, "slot": 7 }));
        assert_eq!(apart("differs"), "its copy of the service answered otherwise in slot 7");
        assert_eq!(apart("silent"), "its copy of the service gave no answer in slot 7");
    }
}
