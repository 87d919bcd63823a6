//! What is said of a verified exchange.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_proof::{Verdict, digest_value};
use serde::Serialize;
use std::time::Duration;

/// A verdict in JSON, and as one line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Always true: what is not verified is not a verdict.
    verified: bool,
    /// `verified`, `verified, not fresh` or `first use`.
    verdict: &'static str,
    fresh: bool,
    first_use: bool,
    signers: usize,
    replicas: usize,
    names: Vec<String>,
    index: u64,
    epoch: u64,
    time: u64,
    state: String,
    head: Head,
    origin: String,
    development: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ms: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Head {
    size: u64,
    root: String,
}

impl Report {
    /// What a verdict under a policy of this origin says. `first_use`: nobody vouched for the
    /// policy.
    pub(crate) fn new(verdict: &Verdict, origin: &str, first_use: bool) -> Self {
        let facts = &verdict.facts;
        Self {
            verified: true,
            verdict: match (first_use, verdict.fresh) {
                (true, _) => "first use",
                (false, true) => "verified",
                (false, false) => "verified, not fresh",
            },
            fresh: verdict.fresh,
            first_use,
            signers: verdict.signers,
            replicas: verdict.replicas,
            names: verdict.names.clone(),
            index: facts.index.0,
            epoch: facts.epoch.0,
            time: facts.time.0,
            state: digest_value(&facts.state),
            head: Head { size: verdict.head.size, root: STANDARD.encode(verdict.head.root.0) },
            origin: origin.to_owned(),
            development: verdict.development,
            elapsed_ms: None,
        }
    }

    /// Adds how long it took.
    pub(crate) fn after(mut self, elapsed: Duration) -> Self {
        self.elapsed_ms = Some((elapsed.as_secs_f64() * 10_000.0).round() / 10.0);
        self
    }

    /// `verified: 3 of 4 replicas, entry 17, 6.1 ms (development keys)`.
    pub(crate) fn line(&self) -> String {
        let Self { verdict, signers, replicas, index, .. } = self;
        let elapsed = self.elapsed_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms"));
        let development = if self.development { " (development keys)" } else { "" };
        format!("{verdict}: {signers} of {replicas} replicas, entry {index}{elapsed}{development}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{Digest, EntryFacts, Epoch, Index, Salt, UnixMillis};

    fn verdict(fresh: bool, development: bool) -> Verdict {
        Verdict {
            signers: 3,
            replicas: 4,
            names: vec!["a/r0".into(), "a/r1".into(), "a/r2".into()],
            facts: EntryFacts {
                index: Index(17),
                epoch: Epoch(0),
                time: UnixMillis(1),
                state: Digest::ZERO,
                salt: Salt([0; 16]),
            },
            head: quorate_types::Head { size: 18, root: Digest::ZERO },
            fresh,
            development,
        }
    }

    #[test]
    fn a_verdict_is_the_line_that_people_know() {
        let line = |fresh, development, first_use| {
            Report::new(&verdict(fresh, development), "o", first_use)
                .after(Duration::from_micros(6_140))
                .line()
        };
        assert_eq!(line(true, false, false), "verified: 3 of 4 replicas, entry 17, 6.1 ms");
        assert_eq!(
            line(true, true, false),
            "verified: 3 of 4 replicas, entry 17, 6.1 ms (development keys)"
        );
        assert_eq!(
            line(false, false, false),
            "verified, not fresh: 3 of 4 replicas, entry 17, 6.1 ms"
        );
        assert_eq!(line(true, false, true), "first use: 3 of 4 replicas, entry 17, 6.1 ms");
    }

    #[test]
    fn a_verdict_without_a_duration_names_none() {
        let report = Report::new(&verdict(true, false), "o", false);
        assert_eq!(report.line(), "verified: 3 of 4 replicas, entry 17");
    }
}
