//! The best of the rounds: a table, ratios, bars, JSON.

use super::{
    bar::Bar,
    disk::Disk,
    load::{Generator, Sample},
    system::{Spread, System, Weight},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, fmt::Write as _, fs};

/// One run of the load generator.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) system: System,
    pub(super) spread: Spread,
    pub(super) connections: u32,
    pub(super) sample: Sample,
}

/// What a row of the table is about.
type Row = (System, Spread, u32);

/// All that was measured.
#[derive(Debug)]
pub(super) struct Report {
    disk: Disk,
    generator: Generator,
    payload: usize,
    rounds: u32,
    versions: BTreeMap<System, String>,
    samples: BTreeMap<Row, Vec<Sample>>,
    weights: BTreeMap<System, Weight>,
}

impl Report {
    /// Nothing yet.
    pub(super) fn new(disk: Disk, generator: Generator, payload: usize, rounds: u32) -> Self {
        Self {
            disk,
            generator,
            payload,
            rounds,
            versions: BTreeMap::new(),
            samples: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    /// Takes a system into the comparison.
    pub(super) fn version(&mut self, system: System, version: String) {
        self.versions.insert(system, version);
    }

    /// What is compared.
    pub(super) fn systems(&self) -> Vec<System> {
        self.versions.keys().copied().collect()
    }

    /// Takes a measurement.
    pub(super) fn add(&mut self, measurement: Measurement) {
        let Measurement { system, spread, connections, sample } = measurement;
        self.samples.entry((system, spread, connections)).or_default().push(sample);
    }

    /// Takes what a system weighed at the end of a round; the heaviest counts.
    pub(super) fn weigh(&mut self, system: System, weight: Weight) {
        let most = self.weights.entry(system).or_default();
        most.memory_mib = most.memory_mib.max(weight.memory_mib);
        most.disk_mib = most.disk_mib.max(weight.disk_mib);
    }

    /// The rows, each with the round in which most requests were answered. Errors of any round
    /// count.
    pub(super) fn rows(&self) -> impl Iterator<Item = Measurement> + '_ {
        self.samples.iter().filter_map(|(&(system, spread, connections), samples)| {
            let best = samples.iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second))?;
            let errors = samples.iter().map(|sample| sample.errors).sum();
            let sample = Sample { errors, ..*best };
            Some(Measurement { system, spread, connections, sample })
        })
    }

    fn row(&self, system: System, spread: Spread, connections: u32) -> Option<Sample> {
        let row = (system, spread, connections);
        self.rows().find(|it| (it.system, it.spread, it.connections) == row).map(|it| it.sample)
    }

    /// A peer's better row: bars are measured against its best side.
    fn peer(&self, system: System, connections: u32) -> Option<Sample> {
        let rows = self.rows().filter(|it| (it.system, it.connections) == (system, connections));
        rows.map(|it| it.sample).max_by(|a, b| a.per_second.total_cmp(&b.per_second))
    }

    /// The bars of which both sides were measured.
    fn bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        let own = |connections| self.row(System::Quorate, Spread::All, connections);
        for connections in [100, 200] {
            if let (Some(own), Some(peer)) =
                (own(connections), self.peer(System::CometTuned, connections))
            {
                let what = format!("requests/s at {connections}, of tuned CometBFT's");
                let bar = Bar::at_least(what, own.per_second / peer.per_second, 5.0);
                bars.push(bar.stretch(10.0));
            }
        }
        if let (Some(own), Some(peer)) = (own(1), self.peer(System::CometTuned, 1)) {
            let what = "p50 at 1, of tuned CometBFT's";
            bars.push(Bar::at_most(what, own.p50_ms / peer.p50_ms, 0.25).stretch(0.1));
        }
        if let (Some(own), Some(peer)) = (own(100), self.peer(System::Etcd, 100)) {
            let what = "requests/s at 100, of etcd's";
            bars.push(Bar::at_least(what, own.per_second / peer.per_second, 0.7).stretch(1.2));
        }
        if let Some(own) = own(100) {
            let what = "p99 at 100, of its own p50";
            bars.push(Bar::at_most(what, own.p99_ms / own.p50_ms, 4.0));
        }
        let errors: u64 =
            self.rows().filter(|it| it.system == System::Quorate).map(|it| it.sample.errors).sum();
        if self.versions.contains_key(&System::Quorate) {
            bars.push(Bar::at_most("errors under load", errors as f64, 0.0));
        }
        bars
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "| system | to | connections | requests/s | p50 ms | p99 ms | errors | Quorate's |\n\
             |---|---|---:|---:|---:|---:|---:|---:|"
        );
        for Measurement { system, spread, connections, sample } in self.rows() {
            let own = self.row(System::Quorate, Spread::All, connections);
            let ratio = own.map(|own| own.per_second / sample.per_second);
            let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2} x"));
            let Sample { per_second, p50_ms, p99_ms, errors, .. } = sample;
            let _ = writeln!(
                out,
                "| {} | {spread} | {connections} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.2} | \
                 {errors} | {ratio} |",
                system.name()
            );
        }
        for (system, weight) in &self.weights {
            let Weight { memory_mib, disk_mib } = weight;
            let name = system.name();
            let _ = writeln!(
                out,
                "{name}: {memory_mib:.0} MiB of memory and {disk_mib:.0} MiB on the disk a node"
            );
        }
        for bar in self.bars() {
            let _ = writeln!(out, "{bar}");
        }
        out
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        let rows = self.rows().map(|Measurement { system, spread, connections, sample }| {
            json!({
                "system": system.name(),
                "to": spread.to_string(),
                "connections": connections,
                "requests_per_second": round(sample.per_second),
                "p50_ms": sample.p50_ms,
                "p99_ms": sample.p99_ms,
                "errors": sample.errors,
            })
        });
        let weights = self.weights.iter().map(|(system, weight)| {
            let one = json!({
                "memory_mib": round(weight.memory_mib),
                "disk_mib": round(weight.disk_mib),
            });
            (system.name().to_owned(), one)
        });
        let versions = self.versions.iter();
        let versions = versions.map(|(system, version)| (system.name().to_owned(), json!(version)));
        let bars = self.bars();
        let text = json!({
            "machine": machine(),
            "file_system": self.disk.kind,
            "fsync_p50_us": self.disk.fsync_p50.as_micros() as u64,
            "load_generator": self.generator.to_string(),
            "payload_bytes": self.payload,
            "rounds": self.rounds,
            "versions": Value::Object(versions.collect()),
            "rows": rows.collect::<Vec<_>>(),
            "a_node": Value::Object(weights.collect()),
            "bars": bars.iter().map(Bar::json).collect::<Vec<_>>(),
        });
        format!("{text:#}\n")
    }
}

/// The processor, and how many of its cores there are.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", model.map_or("unknown", |(_, model)| model))
}

pub(crate) fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, spread, connections, sample } = self;
        let Sample { per_second, p50_ms, p99_ms, errors, .. } = sample;
        write!(
            f,
            "{:<15} {connections:>4} to {spread}: {per_second:>9.0}/s, p50 {p50_ms:>8.2} ms, \
             p99 {p99_ms:>8.2} ms, errors {errors}",
            system.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(rows: &[(System, Spread, u32, f64)]) -> Report {
        let disk = Disk { kind: "ext4".to_owned(), fsync_p50: Duration::from_micros(900) };
        let mut report = Report::new(disk, Generator::Wrk, 512, 2);
        for &(system, spread, connections, per_second) in rows {
            report.version(system, "1".to_owned());
            let sample = Sample { answers: 1, per_second, p50_ms: 10.0, p99_ms: 30.0, errors: 1 };
            report.add(Measurement { system, spread, connections, sample });
        }
        report
    }

    #[test]
    fn the_best_round_counts_and_the_errors_of_all() {
        let row = |per_second| (System::Etcd, Spread::One, 100, per_second);
        let report = report(&[row(10.0), row(30.0), row(20.0)]);
        let rows: Vec<_> = report.rows().collect();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].sample.per_second, rows[0].sample.errors), (30.0, 3));
    }

    #[test]
    fn bars_are_measured_against_the_better_side_of_a_peer() {
        let report = report(&[
            (System::Quorate, Spread::All, 100, 600.0),
            (System::Quorate, Spread::One, 100, 900.0),
            (System::CometTuned, Spread::All, 100, 50.0),
            (System::CometTuned, Spread::One, 100, 100.0),
        ]);
        let bars = report.bars();
        let ratio = bars.iter().find(|bar| bar.what.contains("CometBFT")).unwrap();
        assert!((ratio.is - 6.0).abs() < 1e-9 && ratio.is_met());
        let errors = bars.iter().find(|bar| bar.what.contains("errors")).unwrap();
        assert!(!errors.is_met(), "two rounds with an error each are no run without one");
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let report = report(&[(System::Quorate, Spread::All, 1, 600.0)]);
        let whats: Vec<_> = report.bars().into_iter().map(|bar| bar.what).collect();
        assert_eq!(whats, ["errors under load"]);
    }
}
