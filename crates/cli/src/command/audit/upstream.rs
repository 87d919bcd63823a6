//! A fresh copy of a service that runs outside, which executes what the log holds again.

use super::{Finding, Stop};
use crate::{command::curl::parse_copy, failure::Failure};
use quorate_node::{
    AnswerRules, Config,
    host::{OwnCopy, Rules},
};
use quorate_proof::{Entry, Policy};
use quorate_replica::{Limits, departure, execute::seed, was_called};
use quorate_types::{Call, Exchange, Response};
use std::{path::Path, time::Duration};

/// How long the copy may take for one request. Nobody waits for it but the audit.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Upstream {
    url: String,
    policy: Policy,
    rules: Rules,
    copy: OwnCopy,
}

impl Upstream {
    /// The copy at a URL, which nobody called yet. The policy tells what is covered of its answers,
    /// a replica's configuration how long they may be.
    pub(super) fn new(url: &str, config: Option<&Path>, policy: &Policy) -> Result<Self, Failure> {
        let asked = parse_copy(url)?;
        if asked.path != "/" || asked.query != "?" {
            let message = format!("`{url}` names more than a host and a port");
            return Err(Failure::usage("audit-upstream", message));
        }
        let wrong = |error: &dyn std::fmt::Display| Failure::usage("policy-answers", error);
        let answers = AnswerRules::of_policy(policy.text()).map_err(|error| wrong(&error))?;
        let rules = Rules {
            authority: policy.origin().name.clone(),
            coverage: answers.coverage(),
            volatile: answers.volatile_fields.into_iter().collect(),
            canonical_json: answers.canonical_json,
            body_max: body_max(config, policy)?,
            call_timeout: CALL_TIMEOUT,
            own_paths: Vec::new(),
        };
        let copy = OwnCopy::new(asked.endpoint, rules.clone());
        Ok(Self { url: url.to_owned(), policy: policy.clone(), rules, copy })
    }

    /// Where the copy is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Has the copy execute an entry's request, if the copies of the service did, and compares.
    pub(super) async fn repeat(&mut self, entry: &Entry, exchange: &Exchange) -> Result<(), Stop> {
        if !was_called(exchange) {
            return Ok(());
        }
        let Exchange { request, response } = exchange;
        let chain = self.policy.origin().chain;
        let seed = seed(&chain, entry.index, request);
        let call = Call { index: entry.index, time: entry.time, seed, request: request.clone() };
        let answer = self.copy.call(&call).await.map_err(|error| {
            let message = format!("entry {}: {error}", entry.index);
            Failure::failed("audit-upstream", message)
        })?;
        let rules = super::rules(&self.policy, entry.time, self.rules.coverage.clone());
        let rules = quorate_replica::Rules { body_max: self.rules.body_max, ..rules };
        match departure(&rules, answer, exchange) {
            Some(answer) => {
                let difference = difference(response, &answer);
                Err(Finding::at(entry.index.0, "audit-upstream-differs", difference).into())
            }
            None => Ok(()),
        }
    }
}

/// The longest content of an answer, as a replica's configuration has it, or the default.
fn body_max(config: Option<&Path>, policy: &Policy) -> Result<usize, Failure> {
    let Some(path) = config else { return Ok(Limits::default().body_max) };
    let config = Config::load(path).map_err(|error| Failure::config(path, &error))?;
    if config.policy().digest() != policy.digest() {
        let message = format!("{} is not of the cluster whose policy is believed", path.display());
        return Err(Failure::usage("config-policy-differs", message));
    }
    Ok(config.file().limits.body_bytes_max)
}

/// What an answer has otherwise than the recorded one.
fn difference(recorded: &Response, answer: &Response) -> String {
    if recorded.status != answer.status {
        let (was, is) = (recorded.status, answer.status);
        return format!("the fresh copy answers with {is}, the log holds {was}");
    }
    if recorded.fields != answer.fields {
        return "the fresh copy answers with other fields".to_owned();
    }
    "the fresh copy answers with another content".to_owned()
}
