//! Memory and disk of a replica after very many writes.

use super::{Findings, Setting};
use crate::compare::{
    bar::Bar,
    system::{REPLICAS, Running, Spread, bytes_below, exchange, memory_mib},
};
use serde_json::json;
use std::{path::Path, time::Duration};

pub(super) const OPTIONS: &[(&str, u64, &str)] = &[
    ("requests", 1_000_000, "how many writes"),
    ("keys", 0, "how many different keys, written in turn; 0: every key is fresh"),
    ("connections", 200, "how many connections, spread over all gateways"),
    ("payload", 512, "bytes of content in a request"),
];

/// How long one run of the load generator is: what a replica has is told after each.
const STRETCH: Duration = Duration::from_secs(20);

const MIB: f64 = (1 << 20) as f64;

/// What one replica has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Weight {
    peak_mib: f64,
    memory_mib: f64,
    /// All of its data but snapshots.
    data_bytes: u64,
    snapshot_bytes: u64,
}

impl Weight {
    fn of(pid: u32, data: &Path) -> Result<Self, String> {
        let memory = |line| memory_mib(pid, line).ok_or(format!("process {pid} is gone"));
        let snapshot_bytes = bytes_below(&data.join("snapshots"));
        Ok(Self {
            peak_mib: memory("VmHWM")?,
            memory_mib: memory("VmRSS")?,
            data_bytes: bytes_below(data).saturating_sub(snapshot_bytes),
            snapshot_bytes,
        })
    }
}

/// Writes, and weighs the replicas.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    let running = Running::cluster(&setting.dir.join("run"), REPLICAS, setting.payload())?;
    let mut load = running.load(running.targets(Spread::All), setting.connections());
    load.keys = Some(setting.number("keys")).filter(|keys| *keys > 0);
    let wanted = setting.number("requests");
    let (mut written, mut errors) = (0, 0);
    while written < wanted {
        let sample = setting.generator.run(&load, STRETCH)?;
        (written, errors) = (written + sample.answers, errors + sample.errors);
        let peak = weights(&running)?.iter().map(|weight| weight.peak_mib).fold(0.0, f64::max);
        println!(
            "{written:>9} of {wanted}: {:.0}/s, p99 {:.1} ms, errors {errors}, at most {peak:.0} \
             MiB a replica",
            sample.per_second, sample.p99_ms
        );
        if sample.answers == 0 {
            return Err("nothing is answered any more".to_owned());
        }
    }
    let entries = entries(&running)?;
    Ok(found(&weights(&running)?, entries, errors, setting.payload()))
}

fn weights(running: &Running) -> Result<Vec<Weight>, String> {
    let cluster = running.cluster_dir();
    let replicas = running.pids().iter().enumerate();
    replicas.map(|(id, pid)| Weight::of(*pid, &cluster.join(format!("r{id}/data")))).collect()
}

/// How many entries the log has: requests that came, whether or not their answer was waited for.
fn entries(running: &Running) -> Result<u64, String> {
    let sizes = running.operations().iter().map(|node| {
        let status = exchange(node, "GET", "/status", "")?;
        status["last_head"]["size"].as_u64()
    });
    sizes.flatten().max().ok_or_else(|| "no replica tells its status".to_owned())
}

fn found(weights: &[Weight], entries: u64, errors: u64, payload: usize) -> Findings {
    let mut findings = Findings::of(&[
        "replica",
        "peak MiB",
        "now MiB",
        "data MiB",
        "snapshots MiB",
        "bytes a request",
        "of the payload",
    ]);
    let (mut peak, mut disk) = (0.0_f64, 0.0_f64);
    for (id, weight) in weights.iter().enumerate() {
        let each = weight.data_bytes as f64 / entries.max(1) as f64;
        let ratio = each / payload.max(1) as f64;
        (peak, disk) = (peak.max(weight.peak_mib), disk.max(ratio));
        findings.row([
            json!(format!("r{id}")),
            json!(weight.peak_mib),
            json!(weight.memory_mib),
            json!(weight.data_bytes as f64 / MIB),
            json!(weight.snapshot_bytes as f64 / MIB),
            json!(each),
            json!(ratio),
        ]);
    }
    findings.note(format!("{entries} entries in the log; {errors} errors"));
    findings.bar(Bar::at_most("memory of a replica, MiB", peak, 300.0));
    findings.bar(Bar::at_most("disk a request without snapshots, of its payload", disk, 3.0));
    findings.bar(Bar::at_most("errors", errors as f64, 0.0));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_replica_is_judged() {
        let light = Weight { peak_mib: 200.0, data_bytes: 1024 * 1000, ..Weight::default() };
        let heavy = Weight { peak_mib: 301.0, data_bytes: 2048 * 1000, ..Weight::default() };
        let text = found(&[light, heavy, light], 1000, 0, 512).text();
        assert!(text.contains("MiB: 301.00, wanted at most 300: missed"), "{text}");
        assert!(text.contains("payload: 4.00, wanted at most 3: missed"), "{text}");
        assert!(text.contains("errors: 0.00, wanted at most 0: met"), "{text}");
        let text = found(&[light], 1000, 2, 512).text();
        assert!(text.contains("payload: 2.00, wanted at most 3: met"), "{text}");
        assert!(text.contains("errors: 2.00, wanted at most 0: missed"), "{text}");
    }
}
