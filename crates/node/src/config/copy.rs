//! The service as an HTTP program of which a copy runs beside each replica.

use super::{ConfigError, ConfigFile, value};
use crate::{
    answers::AnswerRules,
    host::{Reset, SavePlan},
};
use quorate_client::{Endpoint, Url};
use quorate_service::Elsewhere;
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

/// The most arguments of a command.
const LIST_MAX: usize = 32;

/// The copy of the service beside this replica, where `service` is a URL.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopyTable {
    /// Milliseconds that the copy has for one request; after them it gave no answer.
    pub call_timeout_ms: u64,
    /// What becomes of a copy of which it is not known what it holds. `fence`: this replica goes on
    /// without it, and says so. `replay`: it is reset, and executes all requests again. `snapshot`:
    /// a state of its own that was saved is put back, and it executes the requests since.
    pub restore: Restore,
    /// `http://HOST:PORT/PATH` that a POST puts the copy back to its beginning at. No client's
    /// request reaches a path of the service that stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_url: Option<String>,
    /// A program and its arguments that put the copy back to its beginning, run in the folder of
    /// this file; instead of `reset_url`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reset_command: Vec<String>,
    /// `http://HOST:PORT/PATH` that a GET fetches the copy's state from, with `snapshot`. No
    /// client's request reaches a path of the service that stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_url: Option<String>,
    /// `http://HOST:PORT/PATH` that a PUT of such a state brings the copy back to it at. No
    /// client's request reaches a path of the service that stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_url: Option<String>,
    /// After how many entries of the log the copy's state is saved again.
    pub snapshot_entries: u64,
    /// The most bytes of a state that is saved.
    pub snapshot_bytes_max: usize,
    /// Further request fields, in lower case, that the copies see and proofs cover.
    /// As the policy says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_fields: Vec<String>,
    /// Further response fields, in lower case, that clients see and proofs cover.
    /// As the policy says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_fields: Vec<String>,
    /// Response fields that the copies give different values, and that are dropped for it.
    /// As the policy says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volatile_fields: Vec<String>,
    /// Whether JSON contents are put into one spelling, so that copies may order the members of
    /// objects differently. As the policy says.
    pub canonical_json: bool,
}

/// What becomes of a copy of which it is not known what it holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Restore {
    /// It is left alone.
    Fence,
    /// It is reset, and executes all requests again.
    Replay,
    /// Its saved state is put back, and it executes the requests since.
    Snapshot,
}

impl Default for CopyTable {
    fn default() -> Self {
        Self {
            call_timeout_ms: 2_000,
            restore: Restore::Fence,
            reset_url: None,
            reset_command: Vec::new(),
            save_url: None,
            load_url: None,
            snapshot_entries: 1_000,
            snapshot_bytes_max: 64 << 20,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            volatile_fields: Vec::new(),
            canonical_json: false,
        }
    }
}

impl CopyTable {
    /// A table with these rules about answers, and defaults.
    pub(crate) fn with(answers: &AnswerRules) -> Self {
        Self {
            request_fields: answers.request_fields.clone(),
            response_fields: answers.response_fields.clone(),
            volatile_fields: answers.volatile_fields.iter().cloned().collect(),
            canonical_json: answers.canonical_json,
            ..Self::default()
        }
    }

    /// What it says about answers, which all members share by their policy.
    #[must_use]
    pub fn answers(&self) -> AnswerRules {
        AnswerRules {
            canonical_json: self.canonical_json,
            volatile_fields: self.volatile_fields.iter().cloned().collect(),
            request_fields: self.request_fields.clone(),
            response_fields: self.response_fields.clone(),
        }
    }
}

/// A copy's configuration that was checked.
#[derive(Clone, Debug)]
pub(crate) struct CopyPlan {
    pub(crate) at: Endpoint,
    pub(crate) reset: Option<Reset>,
    pub(crate) saves: Option<SavePlan>,
    pub(crate) call_timeout: Duration,
    pub(crate) service: Elsewhere,
    pub(crate) answers: AnswerRules,
    /// Paths of the copy that are this replica's own.
    pub(crate) own_paths: Vec<String>,
}

/// Whether a service's name says that it runs outside.
#[must_use]
pub fn is_outside(service: &str) -> bool {
    service.contains("://")
}

/// The copy of a service that runs outside; `None` for one that is built in.
pub(super) fn plan(file: &ConfigFile, folder: &Path) -> Result<Option<CopyPlan>, ConfigError> {
    let table = &file.copy;
    if !is_outside(&file.service) {
        let is_default = *table == CopyTable::default();
        let reason = "a table [copy] only where `service` is a URL";
        return if is_default { Ok(None) } else { Err(value("service", &file.service, reason)) };
    }
    let at = endpoint(&file.service)?;
    let answers = table.answers();
    answers.check()?;
    let reset = reset(table, folder)?;
    let saves = saves(table)?;
    let reset_url = match &reset {
        Some(Reset::Url(url)) => Some(url),
        _ => None,
    };
    let own = reset_url.into_iter().chain(saves.iter().flat_map(|it| [&it.save, &it.load]));
    let own_paths = own.filter(|url| url.endpoint == at).map(|url| url.path.clone()).collect();
    Ok(Some(CopyPlan {
        at,
        reset,
        saves,
        call_timeout: Duration::from_millis(table.call_timeout_ms),
        service: Elsewhere {
            request_fields: answers.request_fields.clone(),
            response_fields: answers.response_fields.clone(),
        },
        answers,
        own_paths,
    }))
}

fn endpoint(service: &str) -> Result<Endpoint, ConfigError> {
    let wrong = || value("service", service, "http://HOST:PORT, without a path");
    let authority = service.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    Endpoint::parse(authority).ok().filter(|_| has_port).ok_or_else(wrong)
}

fn reset(table: &CopyTable, folder: &Path) -> Result<Option<Reset>, ConfigError> {
    let command = &table.reset_command;
    let url = url("copy.reset_url", table.reset_url.as_ref())?;
    if command.len() > LIST_MAX || command.first().is_some_and(String::is_empty) {
        let reason = "a program and at most 31 arguments";
        return Err(value("copy.reset_command", command.join(" "), reason));
    }
    match (table.restore, url, command.is_empty()) {
        (Restore::Fence, None, true) => Ok(None),
        (Restore::Fence, ..) => {
            let reason = "nothing is reset with it; `replay` takes reset_url or reset_command";
            Err(value("copy.restore", "fence", reason))
        }
        (Restore::Snapshot, None, true) => Ok(None),
        (Restore::Replay | Restore::Snapshot, Some(url), true) => Ok(Some(Reset::Url(url))),
        (Restore::Replay | Restore::Snapshot, None, false) => {
            Ok(Some(Reset::Command { argv: command.clone(), folder: folder.to_owned() }))
        }
        (Restore::Replay, ..) => {
            let reason = "exactly one of reset_url and reset_command goes with it";
            Err(value("copy.restore", "replay", reason))
        }
        (Restore::Snapshot, Some(_), false) => {
            let reason = "at most one of reset_url and reset_command goes with it";
            Err(value("copy.restore", "snapshot", reason))
        }
    }
}

fn url(field: &str, text: Option<&String>) -> Result<Option<Url>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let url = Url::parse(text).ok().filter(|_| text.starts_with("http://"));
    Ok(Some(url.ok_or_else(|| value(field, text, "http://HOST:PORT/PATH"))?))
}

fn saves(table: &CopyTable) -> Result<Option<SavePlan>, ConfigError> {
    let save = url("copy.save_url", table.save_url.as_ref())?;
    let load = url("copy.load_url", table.load_url.as_ref())?;
    let (entries, bytes_max) = (table.snapshot_entries, table.snapshot_bytes_max);
    match (table.restore, save, load) {
        (Restore::Snapshot, Some(save), Some(load)) => {
            Ok(Some(SavePlan { save, load, entries, bytes_max }))
        }
        (Restore::Snapshot, ..) => {
            let reason = "save_url and load_url go with it";
            Err(value("copy.restore", "snapshot", reason))
        }
        (_, None, None) => Ok(None),
        _ => {
            let reason = "the only one that takes save_url and load_url";
            Err(value("copy.restore", "snapshot", reason))
        }
    }
}
