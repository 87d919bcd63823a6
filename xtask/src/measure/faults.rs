//! Throughput while one replica is faulty, beside that of the same gateways right before.
//!
//! Each round has a cluster of its own, in which one fault follows the other, each cleared before
//! the next. Connections go to the gateways of the three correct replicas alone, in the fault-free
//! half as well: what a client of a faulty gateway meets is another question. A row counts only
//! if the fault was seen to work: a mute backup's cosignature stood under checkpoints before and
//! under none during it; a faulty primary was deposed, and does not lead when it is over either.

use super::{Findings, Setting, WARM_UP, median};
use crate::compare::{
    bar::Bar,
    load::{Load, Sample},
    system::{REPLICAS, Running, Spread, content, exchange, quorate},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

pub(super) const OPTIONS: &[(&str, u64, &str)] = &[
    ("rounds", 3, "how often all is measured, each time in a fresh cluster; medians count"),
    ("seconds", 10, "how long each load is on"),
    ("connections", 100, "how many connections, spread over the correct gateways"),
    ("payload", 512, "bytes of content in a request"),
    ("delay", 2_000, "how many ms late a slow primary sends"),
];

/// How long a cluster may take to depose a faulty primary, or to agree on everything again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often somebody looks whose cosignatures stand under the newest checkpoint.
const LOOK: Duration = Duration::from_millis(50);

/// What is done to one replica.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    option: &'static str,
    /// Done to the primary, which is to be deposed for it; else to a backup.
    to_primary: bool,
    /// What of the fault-free throughput is to be left.
    wanted: f64,
}

const CASES: [Case; 3] = [
    Case { name: "mute backup", option: "--mute", to_primary: false, wanted: 0.8 },
    Case { name: "slow primary", option: "--delay", to_primary: true, wanted: 0.5 },
    Case { name: "equivocating primary", option: "--equivocate", to_primary: true, wanted: 0.5 },
];

/// What a replica says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standing {
    ready: bool,
    view: u64,
    primary: u64,
    height: u64,
    lag: u64,
}

/// A fault, and the load before it and while it was there.
#[derive(Clone, Copy, Debug)]
struct Row {
    case: Case,
    faulty: usize,
    /// The views of correct replicas before the fault, and at the end of the load.
    views: (u64, u64),
    /// From the fault until its primary was seen to be deposed, in steps of a second.
    deposed_within: Option<Duration>,
    free: Sample,
    under: Sample,
}

/// Measures all cases in all rounds.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    let mut rows = Vec::new();
    for round in 1..=setting.number("rounds").max(1) {
        let mut running = setting.cluster(REPLICAS, setting.payload())?;
        for case in CASES {
            let row = measure(setting, &running, case)
                .map_err(|reason| format!("{}, round {round}: {reason}", case.name))?;
            println!(
                "round {round}    {}, r{}: {:.0}/s before, {:.0}/s with it, view {} to {}",
                case.name,
                row.faulty,
                row.free.per_second,
                row.under.per_second,
                row.views.0,
                row.views.1
            );
            rows.push(row);
        }
        running.stop()?;
    }
    Ok(found(&rows))
}

fn measure(setting: &Setting, running: &Running, case: Case) -> Result<Row, String> {
    let all: Vec<usize> = (0..running.operations().len()).collect();
    let before = agreed(running, &all)?;
    let primary = before.primary as usize;
    let faulty = if case.to_primary { primary } else { (primary + 2) % all.len() };
    let correct: Vec<usize> = all.into_iter().filter(|replica| *replica != faulty).collect();
    let gateways = running.targets(Spread::All);
    let targets = correct.iter().map(|replica| gateways[*replica].clone()).collect();
    let load = running.load(targets, setting.connections());

    setting.generator.run(&load, WARM_UP)?;
    let (free, cosigners) = watched(setting, &load)?;
    if !cosigners.contains(&faulty) {
        return Err(format!("r{faulty} was not heard of before the fault either"));
    }
    let delay = setting.number("delay").to_string();
    let value = if case.option == "--delay" { vec![delay.as_str()] } else { Vec::new() };
    fault(running, "set", faulty, &[&[case.option], &value[..]].concat())?;
    let begin = Instant::now();
    let mut deposed_within = None;
    if case.to_primary {
        depose(setting, running, &load, &correct, faulty, before.view)?;
        deposed_within = Some(begin.elapsed());
    }
    // Also lets go what had been sent before the fault.
    setting.generator.run(&load, WARM_UP)?;
    let (under, cosigners) = watched(setting, &load)?;
    let after = leading(running, &correct).ok_or("correct replicas do not answer")?;
    check(case, faulty, before.view, after, &cosigners)?;
    fault(running, "clear", faulty, &[])?;
    let views = (before.view, after.view);
    Ok(Row { case, faulty, views, deposed_within, free, under })
}

/// Refuses a row in which the fault did nothing.
fn check(
    case: Case,
    faulty: usize,
    view: u64,
    after: Standing,
    cosigners: &BTreeSet<usize>,
) -> Result<(), String> {
    if case.to_primary {
        return match after.primary as usize != faulty && after.view > view {
            true => Ok(()),
            false => Err(format!("r{faulty} leads view {} in spite of its fault", after.view)),
        };
    }
    match (cosigners.contains(&faulty), cosigners.is_empty()) {
        (false, false) => Ok(()),
        (true, _) => Err(format!("r{faulty} was heard in spite of its fault")),
        (_, true) => Err("no checkpoint was seen".to_owned()),
    }
}

/// Puts the load on until the faulty primary leads no correct replica any more.
fn depose(
    setting: &Setting,
    running: &Running,
    load: &Load,
    correct: &[usize],
    faulty: usize,
    view: u64,
) -> Result<(), String> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        setting.generator.run(load, Duration::from_secs(1))?;
        let leading = leading(running, correct);
        if leading.is_some_and(|it| it.view > view && it.primary as usize != faulty) {
            return Ok(());
        }
    }
    Err(format!("r{faulty} was not deposed within {} s", PATIENCE.as_secs()))
}

/// Runs the load, and says who cosigned the checkpoints that its first gateway published meanwhile.
fn watched(setting: &Setting, load: &Load) -> Result<(Sample, BTreeSet<usize>), String> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(Relaxed) {
                let path = "/.well-known/quorate/log/checkpoint";
                let text = content(&load.targets[0], "GET", path, "").unwrap_or_default();
                seen.extend(cosigners(&text));
                thread::sleep(LOOK);
            }
            seen
        });
        let sample = setting.generator.run(load, setting.duration());
        over.store(true, Relaxed);
        let seen = looking.join().map_err(|_| "nobody looked at checkpoints".to_owned())?;
        Ok((sample?, seen))
    })
}

/// The replicas whose witness lines stand under a checkpoint.
fn cosigners(checkpoint: &str) -> impl Iterator<Item = usize> {
    checkpoint.lines().filter_map(|line| {
        let name = line.strip_prefix("\u{2014} ")?.split(' ').next()?;
        name.rsplit_once("/r")?.1.parse().ok()
    })
}

/// Sets or clears a fault, as an operator does.
fn fault(running: &Running, verb: &str, faulty: usize, options: &[&str]) -> Result<(), String> {
    let done = Command::new(quorate())
        .args(["fault", verb, &format!("r{faulty}")])
        .args(["--url", &format!("http://{}", running.operations()[faulty])])
        .args(options)
        .output()
        .map_err(|error| format!("quorate fault: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("quorate fault: {}", String::from_utf8_lossy(&done.stderr))),
    }
}

/// Waits until all these replicas are ready, in one view, and at one height.
fn agreed(running: &Running, replicas: &[usize]) -> Result<Standing, String> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let standings = standings(running, replicas);
        if let Some(first) = standings.as_deref().and_then(agreement) {
            return Ok(first);
        }
        thread::sleep(Duration::from_millis(200));
    }
    Err(format!("replicas do not agree: {:?}", standings(running, replicas)))
}

fn agreement(standings: &[Standing]) -> Option<Standing> {
    let first = *standings.first()?;
    let calm = first.ready && first.lag == 0;
    (calm && standings.iter().all(|it| *it == first)).then_some(first)
}

/// The replica in the lowest view of these: what it says is true of all.
fn leading(running: &Running, replicas: &[usize]) -> Option<Standing> {
    standings(running, replicas)?.into_iter().min_by_key(|it| it.view)
}

fn standings(running: &Running, replicas: &[usize]) -> Option<Vec<Standing>> {
    let one = |replica: &usize| {
        standing(&exchange(&running.operations()[*replica], "GET", "/status", "")?)
    };
    replicas.iter().map(one).collect()
}

fn standing(status: &Value) -> Option<Standing> {
    let number = |name: &str| status.get(name)?.as_u64();
    Some(Standing {
        ready: status.get("ready")?.as_bool()?,
        view: number("view")?,
        primary: number("primary")?,
        height: number("height")?,
        lag: number("lag")?,
    })
}

fn found(rows: &[Row]) -> Findings {
    let mut findings = Findings::of(&[
        "fault",
        "replica",
        "view before",
        "view after",
        "deposed within s",
        "fault-free/s",
        "p50 ms",
        "with it/s",
        "p50 ms with it",
        "left",
        "errors",
    ]);
    for row in rows {
        let Row { case, faulty, views, deposed_within, free, under } = row;
        findings.row([
            json!(case.name),
            json!(format!("r{faulty}")),
            json!(views.0),
            json!(views.1),
            json!(deposed_within.map(|it| it.as_secs_f64())),
            json!(free.per_second),
            json!(free.p50_ms),
            json!(under.per_second),
            json!(under.p50_ms),
            json!(row.left()),
            json!(free.errors + under.errors),
        ]);
    }
    findings.note(
        "Connections go to the gateways of the three correct replicas only, before the fault too.",
    );
    for case in CASES {
        let rows = || rows.iter().filter(|row| row.case.name == case.name);
        let what = format!("requests/s, {}, of fault-free", case.name);
        findings.bar(Bar::at_least(what, median(rows().map(Row::left)), case.wanted));
    }
    let errors: u64 = rows.iter().map(|row| row.free.errors + row.under.errors).sum();
    findings.bar(Bar::at_most("errors while measured", errors as f64, 0.0));
    findings
}

impl Row {
    /// What of the fault-free throughput is left.
    fn left(&self) -> f64 {
        self.under.per_second / self.free.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Standing = Standing { ready: true, view: 3, primary: 3, height: 9, lag: 0 };

    #[test]
    fn a_checkpoint_tells_who_cosigned_it() {
        let text = "dev.localhost/quorate/80/bft\n6636\nBlu+8=\n\n\
                    \u{2014} dev.localhost/quorate/80/bft tQyN=\n\
                    \u{2014} dev.localhost/r0 FNSW=\n\u{2014} dev.localhost/r12 Rl9v=\n";
        assert_eq!(cosigners(text).collect::<Vec<_>>(), [0, 12]);
    }

    #[test]
    fn a_fault_that_did_nothing_makes_no_row() {
        let [mute, slow, _] = CASES;
        let heard = BTreeSet::from([0, 1, 2]);
        assert!(check(mute, 2, 3, AFTER, &heard).is_err(), "r2 was heard");
        assert!(check(mute, 2, 3, AFTER, &BTreeSet::new()).is_err(), "nothing was seen");
        assert!(check(mute, 3, 3, AFTER, &heard).is_ok());
        assert!(check(slow, 2, 3, AFTER, &heard).is_err(), "no view change");
        assert!(check(slow, 3, 2, AFTER, &heard).is_err(), "it leads again");
        assert!(check(slow, 2, 2, AFTER, &heard).is_ok());
    }

    #[test]
    fn replicas_agree_when_all_say_the_same_and_nothing_is_missing() {
        let status = json!({ "ready": true, "view": 3, "primary": 3, "height": 9, "lag": 0 });
        assert_eq!(standing(&status), Some(AFTER));
        assert_eq!(agreement(&[AFTER, AFTER]), Some(AFTER));
        assert_eq!(agreement(&[AFTER, Standing { height: 8, ..AFTER }]), None);
        let behind = Standing { lag: 1, ..AFTER };
        assert_eq!(agreement(&[behind, behind]), None);
        assert_eq!(standing(&json!({ "ready": true })), None);
    }

    #[test]
    fn the_median_of_the_rounds_is_judged_and_every_error_counts() {
        let sample = |per_second, errors| Sample {
            answers: 1,
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            errors,
        };
        let row = |case, under, errors| Row {
            case,
            faulty: 1,
            views: (0, 1),
            deposed_within: None,
            free: sample(100.0, 0),
            under: sample(under, errors),
        };
        let [mute, slow, equivocating] = CASES;
        let rows = [
            row(mute, 85.0, 0),
            row(mute, 20.0, 0),
            row(mute, 95.0, 0),
            row(slow, 49.0, 1),
            row(equivocating, 50.0, 0),
        ];
        let text = found(&rows).text();
        assert!(text.contains("mute backup, of fault-free: 0.85, wanted at least 0.8: met"));
        assert!(text.contains("slow primary, of fault-free: 0.49, wanted at least 0.5: missed"));
        assert!(
            text.contains("equivocating primary, of fault-free: 0.50, wanted at least 0.5: met")
        );
        assert!(text.contains("errors while measured: 1.00, wanted at most 0: missed"), "{text}");
    }
}
