//! What the gateways behind a proxy did lately: whom to ask first, and the metrics.

use quorate_client::{Endpoint, SendError, TransportError};
use std::{
    fmt::Write as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long a gateway that failed once comes after the others; doubled with each further failure.
const AVOIDED_FIRST: Duration = Duration::from_secs(1);

/// The longest that it does.
const AVOIDED_MOST: Duration = Duration::from_secs(60);

/// How a try at a gateway ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// By an answer that verified.
    Verified,
    /// By an answer that did not.
    Unverified,
    /// By a refusal.
    Refused,
    /// By silence, or by a connection that broke.
    Silent,
    /// Before it began: nobody took the connection, or nobody whose certificate is believed.
    Unreachable,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Verified, Self::Unverified, Self::Refused, Self::Silent, Self::Unreachable];

    /// What an error says of its gateway; `None` where the request is to blame.
    pub(super) fn of(error: &SendError) -> Option<Self> {
        match error {
            SendError::Unsendable(_) | SendError::Transport(TransportError::Unwritable(_)) => None,
            SendError::Transport(
                TransportError::Connect(_)
                | TransportError::Authorities(_)
                | TransportError::Untrusted(_)
                | TransportError::Handshake(_),
            ) => Some(Self::Unreachable),
            SendError::Transport(_) => Some(Self::Silent),
            SendError::Refused(_) => Some(Self::Refused),
            SendError::NotVerified(_) => Some(Self::Unverified),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The gateways, in the order in which the caller prefers them.
pub(super) struct Standing {
    gateways: Vec<Gateway>,
    /// How long a try may take: for so long nobody else tries a gateway that failed.
    attempt: Duration,
    answered: AtomicU64,
    answered_us: AtomicU64,
}

struct Gateway {
    endpoint: Endpoint,
    lately: Mutex<Lately>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

/// What a gateway did last.
#[derive(Clone, Copy, Debug, Default)]
struct Lately {
    /// Failures without a verified answer between them.
    failures: u32,
    /// Until when others are asked before it.
    avoided: Option<Instant>,
}

impl Standing {
    /// Gateways that nobody asked yet.
    pub(super) fn new(endpoints: Vec<Endpoint>, attempt: Duration) -> Self {
        let gateway =
            |endpoint| Gateway { endpoint, lately: Mutex::default(), outcomes: Default::default() };
        Self {
            gateways: endpoints.into_iter().map(gateway).collect(),
            attempt,
            answered: AtomicU64::new(0),
            answered_us: AtomicU64::new(0),
        }
    }

    /// In which order to ask: as given, those that failed lately behind the others. The time of one
    /// that failed may be over: then this caller finds out for all whether it is back.
    pub(super) fn order(&self, now: Instant) -> Vec<Endpoint> {
        let mut order = Vec::with_capacity(self.gateways.len());
        let mut avoided = Vec::new();
        for gateway in &self.gateways {
            let mut lately = gateway.lately();
            match lately.avoided {
                Some(until) if until > now => avoided.push(gateway.endpoint.clone()),
                Some(_) => {
                    lately.avoided = Some(now + self.attempt);
                    order.push(gateway.endpoint.clone());
                }
                None => order.push(gateway.endpoint.clone()),
            }
        }
        order.append(&mut avoided);
        order
    }

    /// Takes down how a try ended, for the metrics and for the order.
    pub(super) fn note(&self, endpoint: &Endpoint, outcome: Outcome, now: Instant) {
        self.count(endpoint, outcome);
        let Some(gateway) = self.gateway(endpoint) else { return };
        let mut lately = gateway.lately();
        if outcome == Outcome::Verified {
            *lately = Lately::default();
            return;
        }
        let longer = AVOIDED_FIRST.saturating_mul(1 << lately.failures.min(6));
        lately.failures = lately.failures.saturating_add(1);
        lately.avoided = Some(now + longer.min(AVOIDED_MOST));
    }

    /// Takes down how a try ended, for the metrics alone: it may have been the request's fault.
    pub(super) fn count(&self, endpoint: &Endpoint, outcome: Outcome) {
        let position = Outcome::ALL.iter().position(|&other| other == outcome);
        let gateway = self.gateway(endpoint);
        if let Some((gateway, position)) = gateway.zip(position)
            && let Some(count) = gateway.outcomes.get(position)
        {
            count.fetch_add(1, Relaxed);
        }
    }

    fn gateway(&self, endpoint: &Endpoint) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.endpoint == *endpoint)
    }

    /// Takes down how long a verified answer took, retries included.
    pub(super) fn answered(&self, elapsed: Duration) {
        self.answered.fetch_add(1, Relaxed);
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.answered_us.fetch_add(elapsed_us, Relaxed);
    }

    /// Whether a gateway is left that did not fail at its last try.
    pub(super) fn is_hopeful(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway.lately().failures == 0)
    }

    /// Appends the metrics in Prometheus' text form.
    pub(super) fn write_metrics(&self, out: &mut String) {
        let mut family = |name: &str, kind: &str, help: &str, lines: String| {
            let _ = write!(
                out,
                "# HELP quorate_proxy_{name} {help}\n# TYPE quorate_proxy_{name} {kind}\n{lines}"
            );
        };
        let (mut tries, mut avoided) = (String::new(), String::new());
        for gateway in &self.gateways {
            let label = format!("gateway=\"{}\"", gateway.endpoint);
            for (outcome, count) in Outcome::ALL.iter().zip(&gateway.outcomes) {
                let _ = writeln!(
                    tries,
                    "quorate_proxy_tries_total{{{label},outcome=\"{}\"}} {}",
                    outcome.name(),
                    count.load(Relaxed)
                );
            }
            let failing = u8::from(gateway.lately().failures > 0);
            let _ = writeln!(avoided, "quorate_proxy_gateway_failing{{{label}}} {failing}");
        }
        family("tries_total", "counter", "Requests sent to a gateway, by how they ended.", tries);
        family("gateway_failing", "gauge", "Whether the last try at a gateway failed.", avoided);
        let seconds = Duration::from_micros(self.answered_us.load(Relaxed)).as_secs_f64();
        let count = self.answered.load(Relaxed);
        let lines = format!(
            "quorate_proxy_answer_seconds_sum {seconds}\n\
             quorate_proxy_answer_seconds_count {count}\n"
        );
        let help = "From a whole request to its verified answer, retries included.";
        family("answer_seconds", "summary", help, lines);
    }
}

impl Gateway {
    fn lately(&self) -> MutexGuard<'_, Lately> {
        // Two plain values, whole between any two statements.
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::parse(&format!("h:{port}")).unwrap()
    }

    fn ports(order: &[Endpoint]) -> Vec<&str> {
        order.iter().map(|endpoint| endpoint.authority()).collect()
    }

    #[test]
    fn a_gateway_that_failed_is_asked_last_until_one_caller_finds_it_back() {
        let attempt = Duration::from_secs(6);
        let standing = Standing::new(vec![endpoint(1), endpoint(2)], attempt);
        let start = Instant::now();
        assert_eq!(ports(&standing.order(start)), ["h:1", "h:2"]);
        standing.note(&endpoint(1), Outcome::Unverified, start);
        assert_eq!(ports(&standing.order(start)), ["h:2", "h:1"]);
        let later = start + Duration::from_millis(1_001);
        assert_eq!(ports(&standing.order(later)), ["h:1", "h:2"]);
        assert_eq!(ports(&standing.order(later)), ["h:2", "h:1"], "one caller is enough");
        standing.note(&endpoint(1), Outcome::Verified, later);
        assert_eq!(ports(&standing.order(later)), ["h:1", "h:2"]);
    }

    #[test]
    fn failures_in_a_row_are_avoided_longer_and_not_for_ever() {
        let standing = Standing::new(vec![endpoint(1), endpoint(2)], Duration::ZERO);
        let now = Instant::now();
        for _ in 0..40 {
            standing.note(&endpoint(1), Outcome::Silent, now);
        }
        let after = |seconds| standing.order(now + Duration::from_secs(seconds));
        assert_eq!(ports(&after(59)), ["h:2", "h:1"]);
        assert_eq!(ports(&after(61)), ["h:1", "h:2"]);
    }

    #[test]
    fn metrics_tell_what_each_gateway_did() {
        let standing = Standing::new(vec![endpoint(1), endpoint(2)], Duration::ZERO);
        standing.note(&endpoint(2), Outcome::Refused, Instant::now());
        standing.answered(Duration::from_millis(250));
        let mut text = String::new();
        standing.write_metrics(&mut text);
        let tries = "quorate_proxy_tries_total{gateway=\"http://h:2\",outcome=\"refused\"} 1\n";
        assert!(text.contains(tries), "{text}");
        assert!(text.contains("quorate_proxy_gateway_failing{gateway=\"http://h:2\"} 1\n"));
        assert!(text.contains("quorate_proxy_answer_seconds_sum 0.25\n"), "{text}");
        assert!(standing.is_hopeful());
        standing.count(&endpoint(1), Outcome::Refused);
        assert!(standing.is_hopeful());
        standing.note(&endpoint(1), Outcome::Unreachable, Instant::now());
        assert!(!standing.is_hopeful());
    }
}
