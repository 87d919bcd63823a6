//! What a gateway counts, for the metrics.

use crate::{codes, quota::Quota};
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Counters of one gateway, shared by all who hold a clone.
#[derive(Clone, Debug)]
pub struct Counters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quota: Arc<Quota>,
    requests: AtomicU64,
    proven: AtomicU64,
    /// By position in [`codes::ALL`]; the last one is for codes that stand in no table.
    refused: Vec<AtomicU64>,
    turned_away: AtomicU64,
}

impl Counters {
    pub(crate) fn new(quota: Arc<Quota>) -> Self {
        let refused = (0..=codes::ALL.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner {
            quota,
            requests: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            refused,
            turned_away: AtomicU64::new(0),
        }))
    }

    /// Requests that reached the gateway.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Relaxed)
    }

    /// Answers sent with a proof.
    #[must_use]
    pub fn proven(&self) -> u64 {
        self.0.proven.load(Relaxed)
    }

    /// Refusals, of whatever code.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.quota.connections()
    }

    /// Requests in progress.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.quota.in_flight()
    }

    /// Appends all counters in Prometheus' text form.
    pub fn write_metrics(&self, out: &mut String) {
        self.write_metrics_of("quorate_gateway", out);
    }

    /// As [`Self::write_metrics`], each name beginning with `of`.
    pub fn write_metrics_of(&self, of: &str, out: &mut String) {
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(
                out,
                "# HELP {of}_{name} {help}\n# TYPE {of}_{name} {kind}\n{of}_{name} {value}"
            );
        };
        one("connections", "gauge", "Open connections.", self.connections() as u64);
        one("in_flight", "gauge", "Requests in progress.", self.in_flight() as u64);
        one("requests_total", "counter", "Requests received.", self.requests());
        one("proven_total", "counter", "Answers sent with a proof.", self.proven());
        let turned_away = self.0.turned_away.load(Relaxed);
        one("turned_away_total", "counter", "Connections above the limit.", turned_away);
        let _ = writeln!(
            out,
            "# HELP {of}_refusals_total Refusals, by code.\n# TYPE {of}_refusals_total counter"
        );
        let names = codes::ALL.iter().map(|code| code.name).chain(["other"]);
        for (name, count) in names.zip(&self.0.refused) {
            let count = count.load(Relaxed);
            if count > 0 {
                let _ = writeln!(out, "{of}_refusals_total{{code=\"{name}\"}} {count}");
            }
        }
    }

    pub(crate) fn count_request(&self) {
        self.0.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_proven(&self) {
        self.0.proven.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_turned_away(&self) {
        self.0.turned_away.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refusal(&self, name: &str) {
        let known = codes::ALL.iter().position(|code| code.name == name);
        if let Some(count) = self.0.refused.get(known.unwrap_or(codes::ALL.len())) {
            count.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_each_code_that_was_sent() {
        let counters = Counters::new(Arc::new(Quota::default()));
        counters.count_request();
        counters.count_refusal("host-foreign");
        counters.count_refusal("host-foreign");
        counters.count_refusal("of a backend of its own");
        let mut text = String::new();
        counters.write_metrics(&mut text);
        assert!(text.contains("quorate_gateway_requests_total 1\n"), "{text}");
        assert!(text.contains("refusals_total{code=\"host-foreign\"} 2\n"), "{text}");
        assert!(text.contains("refusals_total{code=\"other\"} 1\n"), "{text}");
        assert_eq!(counters.refused(), 3);
    }
}
