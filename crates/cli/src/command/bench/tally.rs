//! What was measured, and how it is told.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// What became of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// An ordered answer of this status (and, where asked for, a verified one).
    Answered(u16),
    /// An answer whose proof is wrong, by the code of what is wrong.
    Unverified(&'static str),
    /// No answer, or a refusal, by its code.
    Failed(String),
}

/// What one connection measured.
pub(super) struct Measured {
    place: usize,
    latency_us: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    unverified: u64,
}

impl Measured {
    /// Nothing yet, of the target at this place.
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            latency_us: histogram(),
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            unverified: 0,
        }
    }

    /// Counts a request.
    pub(super) fn note(&mut self, outcome: Outcome, latency: Duration) {
        match outcome {
            Outcome::Answered(status) => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latency_us.saturating_record(micros);
                *self.statuses.entry(status).or_default() += 1;
            }
            Outcome::Unverified(code) => {
                self.unverified += 1;
                *self.errors.entry(code.to_owned()).or_default() += 1;
            }
            Outcome::Failed(code) => *self.errors.entry(code).or_default() += 1,
        }
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn add(&mut self, other: &Self) {
        // Equal bounds: adding cannot fail.
        let _ = self.latency_us.add(&other.latency_us);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        self.unverified += other.unverified;
    }
}

/// From a microsecond to an hour, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are constants that the library accepts"))
}

/// What all connections measured.
pub(super) struct Tally {
    all: Measured,
    targets: Vec<Measured>,
}

/// What was asked for.
#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) targets: Vec<String>,
    pub(super) connections: u32,
    #[serde(serialize_with = "seconds", rename = "duration_s")]
    pub(super) duration: Duration,
    pub(super) rate: Option<u32>,
    pub(super) payload: usize,
    pub(super) verify: bool,
    pub(super) sign: bool,
}

fn seconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

/// The result, in JSON and as text.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    #[serde(flatten)]
    setting: &'a Setting,
    /// Answers, errors not counted.
    pub(super) requests: u64,
    requests_per_second: f64,
    latency_ms: Latency,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    failed: u64,
    /// Answers whose proof was checked and is wrong.
    pub(super) unverified: u64,
    per_target: Vec<Target>,
}

#[derive(Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

#[derive(Serialize)]
struct Target {
    url: String,
    requests: u64,
    requests_per_second: f64,
    failed: u64,
    latency_ms: Latency,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            mean: (histogram.mean()).round() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: ms(histogram.max()),
        }
    }
}

impl Tally {
    /// Nothing yet, for so many targets.
    pub(super) fn new(targets: usize) -> Self {
        Self { all: Measured::new(0), targets: (0..targets).map(Measured::new).collect() }
    }

    /// Adds what a connection measured.
    pub(super) fn add(&mut self, measured: Measured) {
        self.all.add(&measured);
        if let Some(target) = self.targets.get_mut(measured.place) {
            target.add(&measured);
        }
    }

    /// The result.
    pub(super) fn report<'a>(&self, setting: &'a Setting) -> Report<'a> {
        let seconds = setting.duration.as_secs_f64();
        let rate = |requests: u64| (requests as f64 / seconds * 10.0).round() / 10.0;
        let target = |(url, one): (&String, &Measured)| Target {
            url: url.clone(),
            requests: one.latency_us.len(),
            requests_per_second: rate(one.latency_us.len()),
            failed: one.failed(),
            latency_ms: Latency::of(&one.latency_us),
        };
        Report {
            setting,
            requests: self.all.latency_us.len(),
            requests_per_second: rate(self.all.latency_us.len()),
            latency_ms: Latency::of(&self.all.latency_us),
            statuses: self.all.statuses.clone(),
            errors: self.all.errors.clone(),
            failed: self.all.failed(),
            unverified: self.all.unverified,
            per_target: setting.targets.iter().zip(&self.targets).map(target).collect(),
        }
    }
}

impl Report<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let Setting { connections, duration, rate, payload, verify, sign, .. } = self.setting;
        let mode = rate.map_or("closed loop".to_owned(), |rate| format!("open loop, {rate}/s"));
        let _ = writeln!(
            out,
            "{connections} connections, {} s, {payload} B, {mode}{}{}",
            duration.as_secs_f64(),
            if *sign { ", signed" } else { "" },
            if *verify { ", every proof verified" } else { "" },
        );
        let _ = writeln!(
            out,
            "requests   {} ({:.1}/s), failed {}",
            self.requests, self.requests_per_second, self.failed
        );
        let Latency { mean, p50, p90, p99, p99_9, max } = self.latency_ms;
        let _ = writeln!(
            out,
            "latency    mean {mean:.2}  p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  \
             p99.9 {p99_9:.2}  max {max:.2} ms"
        );
        let counted = |map: Vec<String>| map.join(", ");
        let statuses = self.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
        let _ = writeln!(out, "statuses   {}", counted(statuses.collect()));
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|(code, count)| format!("{code}: {count}"));
            let _ = writeln!(out, "errors     {}", counted(errors.collect()));
        }
        for target in self.per_target.iter().filter(|_| self.per_target.len() > 1) {
            let _ = writeln!(
                out,
                "{}  {:.1}/s, p50 {:.2} ms, p99 {:.2} ms, failed {}",
                target.url,
                target.requests_per_second,
                target.latency_ms.p50,
                target.latency_ms.p99,
                target.failed
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_answers_and_errors_apart() {
        let mut one = Measured::new(0);
        for ms in 1..=100 {
            one.note(Outcome::Answered(201), Duration::from_millis(ms));
        }
        one.note(Outcome::Failed("overloaded".into()), Duration::from_millis(1));
        let mut two = Measured::new(1);
        two.note(Outcome::Unverified("not-in-log"), Duration::from_millis(1));
        let mut tally = Tally::new(2);
        tally.add(one);
        tally.add(two);
        let setting = Setting {
            targets: vec!["http://a".into(), "http://b".into()],
            connections: 2,
            duration: Duration::from_secs(10),
            rate: None,
            payload: 0,
            verify: true,
            sign: false,
        };
        let report = tally.report(&setting);
        assert_eq!((report.requests, report.failed, report.unverified), (100, 2, 1));
        assert!((report.requests_per_second - 10.0).abs() < 0.01);
        assert!((report.latency_ms.p50 - 50.0).abs() < 0.2);
        assert!((report.latency_ms.max - 100.0).abs() < 0.2);
        assert_eq!(report.errors["overloaded"], 1);
        assert_eq!(report.per_target[1].failed, 1);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["latency_ms"]["p99_9"].as_f64().unwrap().round(), 100.0);
        assert!(report.text().contains("requests   100 (10.0/s), failed 2"));
    }
}
