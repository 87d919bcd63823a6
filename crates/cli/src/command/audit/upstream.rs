//! A fresh copy of a service that runs outside, which executes what the log holds again.

use super::{Finding, Stop};
use crate::{command::curl::parse_copy, failure::Failure};
use quorate_node::{
    Config,
    host::{OwnCopy, Rules},
};
use quorate_proof::{Coverage, Entry, Policy};
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
    /// Made when the first exchange tells what is covered.
    copy: Option<OwnCopy>,
}

impl Upstream {
    /// The copy at a URL, which nobody called yet. A replica's configuration tells how its cluster
    /// reads answers.
    pub(super) fn new(url: &str, config: Option<&Path>, policy: &Policy) -> Result<Self, Failure> {
        let asked = parse_copy(url)?;
        if asked.path != "/" || asked.query != "?" {
            let message = format!("`{url}` names more than a host and a port");
            return Err(Failure::usage("audit-upstream", message));
        }
        let config = config.map(Config::load).transpose();
        let config = config.map_err(|error| Failure::usage(error.code(), error))?;
        let rules = Rules {
            authority: policy.origin().name.clone(),
            coverage: Coverage::default(),
            volatile: Vec::new(),
            canonical_json: false,
            body_max: Limits::default().body_max,
            call_timeout: CALL_TIMEOUT,
            own_paths: Vec::new(),
        };
        let rules = match config.as_ref().and_then(|config| config.copy_rules()) {
            Some(known) => Rules { call_timeout: CALL_TIMEOUT, ..known },
            None => rules,
        };
        Ok(Self { url: url.to_owned(), policy: policy.clone(), rules, copy: None })
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
        if self.copy.is_none() {
            if let Some(covers) = response.field("quorate-covers") {
                self.rules.coverage = Coverage::parse(covers).unwrap_or_default();
            }
            let at = parse_copy(&self.url)?.endpoint;
            self.copy = Some(OwnCopy::new(at, self.rules.clone()));
        }
        let Some(copy) = &mut self.copy else { return Ok(()) };
        let chain = self.policy.origin().chain;
        let seed = seed(&chain, entry.index, request);
        let call = Call { index: entry.index, time: entry.time, seed, request: request.clone() };
        let answer = copy.call(&call).await.map_err(|error| {
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
