//! Requests that clients sign, every one, beside what four single-threaded verifiers of every
//! signature could do on these cores if they had nothing else to do.
//!
//! The verifiers are the example `verifiers` of the crypto room. The bar is of verifiers that check
//! one signature at a time; what they could do in batches is told as well. Where wrk makes the
//! load, requests are signed before it, as those are that the verifiers check: the cores belong to
//! those who verify. Beside signed requests stand the same generator's unsigned ones.
//!
//! A verifier always has a next signature to check. So the bar is of the number of connections
//! that gets most signed requests answered, and the table tells how it is with fewer.

use super::{Findings, Setting, WARM_UP};
use crate::{
    compare::{
        bar::Bar,
        load::{Generator, Sample},
        system::{REPLICAS, Spread},
    },
    output,
};
use serde_json::{Value, json};

pub(super) const OPTIONS: &[(&str, u64, &str)] = &[
    ("rounds", 3, "how often all is measured, each load in a fresh cluster; the best counts"),
    ("seconds", 10, "how long each load is on, and verifiers verify"),
    ("payload", 512, "bytes of content in a request"),
];

const CONNECTIONS: [u32; 4] = [100, 200, 400, 800];

/// What of the verifiers' rate is to be reached.
const WANTED: f64 = 0.6;

/// Signed requests a second that all verifiers have checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Verifiers {
    one_by_one: f64,
    in_batches: f64,
}

impl Verifiers {
    fn of(said: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(said).ok()?;
        Some(Self {
            one_by_one: said.get("one_by_one_per_second")?.as_f64()?,
            in_batches: said.get("in_batches_per_second")?.as_f64()?,
        })
    }

    fn measure(seconds: u64) -> Result<Self, String> {
        let program = crate::target().join("release/examples/verifiers");
        let said = output(&program.to_string_lossy(), &[&seconds.to_string()])?;
        Self::of(&said).ok_or(format!("verifiers said {said}"))
    }
}

/// A load of so many connections, signed or not.
#[derive(Clone, Copy, Debug)]
struct Row {
    connections: u32,
    signed: bool,
    sample: Sample,
}

/// Measures verifiers and clusters in turn.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    let generator = Generator::find();
    let (mut verifiers, mut rows) = (Verifiers::default(), Vec::new());
    for round in 1..=setting.number("rounds").max(1) {
        let could = Verifiers::measure(setting.duration().as_secs())?;
        println!("round {round}    {could:?}");
        verifiers.one_by_one = verifiers.one_by_one.max(could.one_by_one);
        verifiers.in_batches = verifiers.in_batches.max(could.in_batches);
        for (connections, signed) in CONNECTIONS.map(|it| [(it, false), (it, true)]).concat() {
            let mut running = setting.cluster(REPLICAS, setting.payload())?;
            let mut load = running.load(running.targets(Spread::All), connections);
            load.signing = signed.then(|| running.cluster_dir().join("policy.txt"));
            generator.run(&load, WARM_UP)?;
            let sample = generator.run(&load, setting.duration())?;
            running.stop()?;
            println!(
                "round {round}    {connections} connections, signed: {signed}: {:.0}/s",
                sample.per_second
            );
            rows.push(Row { connections, signed, sample });
        }
    }
    let mut findings = found(verifiers, &rows);
    findings.note(format!("Load by {generator}"));
    Ok(findings)
}

fn found(verifiers: Verifiers, rows: &[Row]) -> Findings {
    let mut findings = Findings::of(&[
        "connections",
        "requests",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "errors",
        "of one by one",
        "of in batches",
    ]);
    for (connections, signed) in CONNECTIONS.map(|it| [(it, false), (it, true)]).concat() {
        let alike =
            || rows.iter().filter(|it| (it.connections, it.signed) == (connections, signed));
        let Some(Row { sample, .. }) = fastest(alike()) else { continue };
        let ratio = |could: f64| signed.then(|| sample.per_second / could);
        findings.row([
            json!(connections),
            json!(if signed { "signed" } else { "unsigned" }),
            json!(sample.per_second),
            json!(sample.p50_ms),
            json!(sample.p99_ms),
            json!(alike().map(|it| it.sample.errors).sum::<u64>()),
            json!(ratio(verifiers.one_by_one)),
            json!(ratio(verifiers.in_batches)),
        ]);
    }
    findings.note(format!(
        "Four verifiers of every signature, one a time each: {:.0}/s; in batches: {:.0}/s",
        verifiers.one_by_one, verifiers.in_batches
    ));
    if let Some(most) = fastest(rows.iter().filter(|row| row.signed)) {
        let what =
            format!("signed requests/s, of four verifiers' ({} connections)", most.connections);
        let ratio = most.sample.per_second / verifiers.one_by_one;
        findings.bar(Bar::at_least(what, ratio, WANTED));
    }
    let errors: u64 = rows.iter().map(|row| row.sample.errors).sum();
    findings.bar(Bar::at_most("errors", errors as f64, 0.0));
    findings
}

/// Of loads, the one with most answers.
fn fastest<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    rows.max_by(|a, b| a.sample.per_second.total_cmp(&b.sample.per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_round_is_judged_by_verifiers_of_one_signature_at_a_time() {
        let said =
            "{\"verifiers\":4,\"one_by_one_per_second\":1000,\"in_batches_per_second\":3000}";
        let verifiers = Verifiers::of(said).unwrap();
        let row = |connections, signed, per_second| Row {
            connections,
            signed,
            sample: Sample { answers: 1, per_second, p50_ms: 1.0, p99_ms: 2.0, errors: 0 },
        };
        let rows = [
            row(100, true, 590.0),
            row(200, true, 600.0),
            row(200, true, 580.0),
            row(100, false, 9000.0),
        ];
        let text = found(verifiers, &rows).text();
        assert!(text.contains("verifiers' (200 connections): 0.60, wanted at least 0.6: met"));
        assert!(text.contains("0.590"), "and how it is with fewer: {text}");
        let text = found(verifiers, &[row(100, true, 599.0)]).text();
        assert!(text.contains("verifiers' (100 connections): 0.60, wanted at least 0.6: missed"));
        assert!(Verifiers::of("{}").is_none());
    }
}
