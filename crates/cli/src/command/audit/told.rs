//! The report of an audit that found nothing wrong.

use super::walk::Walked;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_proof::{Policy, Witnessed, digest_value};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// In JSON, and as text.
#[derive(Serialize)]
pub(super) struct Report {
    verified: bool,
    origin: String,
    development: bool,
    size: u64,
    root: String,
    signers: usize,
    replicas: usize,
    from: u64,
    slots: u64,
    heads_checked: u64,
    tiles_checked: u64,
    exchanges_checked: u64,
    entries: BTreeMap<&'static str, u64>,
    state: Option<String>,
    re_executed: bool,
    /// A fresh copy of a service that runs outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    re_executed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_re_executed: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    elapsed_s: f64,
}

impl Report {
    /// What was found of a log with this head.
    pub(super) fn new(
        policy: &Policy,
        certified: &Witnessed,
        walked: Walked,
        notes: Vec<String>,
        elapsed: Duration,
    ) -> Self {
        Self {
            verified: true,
            origin: policy.origin_text().to_owned(),
            development: policy.is_development(),
            size: certified.head.size,
            root: STANDARD.encode(certified.head.root.0),
            signers: certified.signers,
            replicas: certified.replicas,
            from: walked.from,
            slots: walked.slots,
            heads_checked: walked.heads,
            tiles_checked: walked.tiles,
            exchanges_checked: walked.exchanges,
            entries: walked.kinds,
            state: walked.state.map(|state| digest_value(&state)),
            re_executed: walked.not_executed.is_none() || walked.executed_by.is_some(),
            not_re_executed: walked.not_executed.filter(|_| walked.executed_by.is_none()),
            re_executed_by: walked.executed_by,
            notes,
            elapsed_s: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }

    /// `audited: 617 entries, ..`, and what was not done.
    pub(super) fn text(&self) -> String {
        let executed = match (&self.not_re_executed, &self.re_executed_by) {
            (Some(reason), _) => format!("not re-executed: {reason}"),
            (None, Some(copy)) => format!("re-executed by {copy}, all answers equal"),
            (None, None) => "re-executed, all state roots equal".to_owned(),
        };
        let development = if self.development { " (development keys)" } else { "" };
        let mut text = format!(
            "audited: {} entries in {} slots, {} heads, {} tiles, {} exchanges; newest head by {} \
             of {} replicas; {executed}{development}",
            self.size - self.from,
            self.slots,
            self.heads_checked,
            self.tiles_checked,
            self.exchanges_checked,
            self.signers,
            self.replicas,
        );
        for note in &self.notes {
            text.push_str("\nnote: ");
            text.push_str(note);
        }
        text
    }
}
