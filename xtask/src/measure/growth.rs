//! Requests a second and p50 as the committee grows and as requests grow, with what the model
//! expects beside each.
//!
//! The model is the example `growth` of the simulator's room: production's pipeline on virtual
//! time, all replicas and clients on one pool of cores. What it is told is measured here, right
//! before: the costs of `quorate sim calibrate`, the disk's fsync, what a request costs its client
//! and a server that does nothing (the plain server under the same load, all cores busy), and what
//! a message costs two sockets of this machine.

use super::{Findings, Setting, WARM_UP, chart};
use crate::{
    compare::{
        bar::Bar,
        load::{Load, Sample},
        system::{REPLICAS, Spread, System, quorate},
        write,
    },
    output,
    profile::cpu_us,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::Instant,
};

pub(super) const OPTIONS: &[(&str, u64, &str)] = &[
    ("rounds", 3, "how often all is measured; the best counts"),
    ("seconds", 10, "how long each load is on"),
    ("replicas-most", 13, "the largest committee, of 4, 7, 10, 13, .."),
];

/// Committees are measured with this content.
const PAYLOAD: u64 = 512;

/// Content, and how many connections send it.
const PAYLOADS: [(u64, u32); 5] =
    [(64, 100), (PAYLOAD, 100), (4 << 10, 100), (32 << 10, 50), (256 << 10, 10)];

/// How far a prediction may be off where the cores are what limits.
const TOLERANCE: f64 = 0.25;

/// From when on that is so.
const BUSY: f64 = 0.85;

/// How many requests the model makes.
const MODELLED: u64 = 4_000;

/// What is measured, and predicted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Point {
    replicas: u16,
    payload: u64,
    connections: u32,
}

/// What was measured at a point, and how busy the cores were.
#[derive(Clone, Copy, Debug)]
struct Measured {
    sample: Sample,
    busy: f64,
}

/// What the model expects there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Predicted {
    per_second: f64,
    p50_ms: f64,
}

/// Measures what the model is told, then all points in each round.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    fs::create_dir_all(&setting.dir).map_err(|error| error.to_string())?;
    let costs = setting.dir.with_extension("costs");
    write(&costs, &(output(&quorate().to_string_lossy(), &["sim", "calibrate"])? + "\n"))?;
    let message_ns = message_ns().map_err(|error| format!("loopback: {error}"))?;
    println!("a message costs its sockets {message_ns} ns");
    let mut points = committees(setting.number("replicas-most"));
    // The first of these is a committee of four as well.
    points.extend(PAYLOADS.iter().filter(|(payload, _)| *payload != PAYLOAD).map(of_payload));
    let mut rows = Vec::new();
    for point in points {
        let http_ns = http_ns(setting, point)?;
        let predicted =
            predict(setting, point, &costs, [("message_ns", message_ns), ("http_ns", http_ns)])?;
        let mut best: Option<Measured> = None;
        for _ in 0..setting.number("rounds").max(1) {
            let measured = measure(setting, point)?;
            let faster = |it: &Measured| it.sample.per_second >= measured.sample.per_second;
            best = best.filter(faster).or(Some(measured));
        }
        let measured = best.ok_or("nothing was measured")?;
        println!(
            "{:>2} replicas, {:>6} B, http {http_ns} ns: {:.0}/s measured, cores {:.0} % busy, \
             {:.0}/s predicted",
            point.replicas,
            point.payload,
            measured.sample.per_second,
            measured.busy * 100.0,
            predicted.per_second
        );
        rows.push((point, measured, predicted));
    }
    fs::remove_file(&costs).map_err(|error| format!("{}: {error}", costs.display()))?;
    Ok(found(&rows))
}

fn committees(most: u64) -> Vec<Point> {
    let sizes = (REPLICAS..=u16::try_from(most).unwrap_or(REPLICAS)).step_by(3);
    sizes.map(|replicas| Point { replicas, payload: PAYLOAD, connections: 100 }).collect()
}

fn of_payload((payload, connections): &(u64, u32)) -> Point {
    Point { replicas: REPLICAS, payload: *payload, connections: *connections }
}

fn measure(setting: &Setting, point: Point) -> Result<Measured, String> {
    let mut running = setting.cluster(point.replicas, point.payload as usize)?;
    let load = running.load(running.targets(Spread::All), point.connections);
    let measured = loaded(setting, &load);
    running.stop()?;
    measured
}

fn loaded(setting: &Setting, load: &Load) -> Result<Measured, String> {
    setting.generator.run(load, WARM_UP)?;
    let before = cores()?;
    let sample = setting.generator.run(load, setting.duration())?;
    Ok(Measured { sample, busy: busy(before, cores()?) })
}

/// Ticks of all cores so far: idle ones, and all (proc(5)).
fn cores() -> Result<(f64, f64), String> {
    let text = fs::read_to_string("/proc/stat").map_err(|error| error.to_string())?;
    ticks(&text).ok_or_else(|| "/proc/stat has no line of all cores".to_owned())
}

fn ticks(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<f64> = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    // The fourth and the fifth are idle, without and with a disk to wait for; the second is work
    // that gives way to any other.
    let idle = fields.get(1)? + fields.get(3)? + fields.get(4)?;
    Some((idle, fields.iter().take(8).sum()))
}

fn busy(before: (f64, f64), after: (f64, f64)) -> f64 {
    1.0 - (after.0 - before.0) / (after.1 - before.1).max(1.0)
}

/// What a request and its answer cost a client and a server that does nothing, on one core.
fn http_ns(setting: &Setting, point: Point) -> Result<u64, String> {
    let mut plain = System::Plain.start(&setting.dir.join("plain"), point.payload as usize)?;
    let load = plain.load(plain.targets(Spread::One), point.connections);
    let measured = loaded(setting, &load);
    plain.stop()?;
    let Measured { sample, busy } = measured?;
    Ok((cores_here() * busy * 1e9 / sample.per_second) as u64)
}

fn cores_here() -> f64 {
    thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// What it costs two processes' sockets that one sends a message of a vote's size to the other and
/// wakes it up, in CPU time.
fn message_ns() -> std::io::Result<u64> {
    const MESSAGES: u32 = 50_000;
    const BYTES: usize = 300;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let used = || {
        let stat = fs::read_to_string("/proc/self/stat")?;
        cpu_us(&stat).ok_or_else(|| std::io::Error::other("/proc/self/stat is malformed"))
    };
    let before = used()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut message = [0; BYTES];
        for _ in 0..MESSAGES {
            server.read_exact(&mut message)?;
            server.write_all(&message)?;
        }
        Ok(())
    });
    let (mut message, begin) = ([0; BYTES], Instant::now());
    for _ in 0..MESSAGES {
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
    }
    echo.join().map_err(|_| std::io::Error::other("the echo panicked"))??;
    // Of a process that did nothing else the time on its cores is less than on two clocks.
    let used = (used()? - before).min(begin.elapsed().as_secs_f64() * 2e6);
    Ok((used * 1_000.0 / f64::from(MESSAGES) / 2.0) as u64)
}

fn predict(
    setting: &Setting,
    point: Point,
    costs: &Path,
    given: [(&str, u64); 2],
) -> Result<Predicted, String> {
    let mut arguments = vec![
        format!("replicas={}", point.replicas),
        format!("payload={}", point.payload),
        format!("connections={}", point.connections),
        format!("requests={MODELLED}"),
        format!("cores={}", cores_here()),
        format!("fsync_ns={}", setting.disk.fsync_p50.as_nanos()),
        format!("costs={}", costs.display()),
    ];
    arguments.extend(given.map(|(name, nanos)| format!("{name}={nanos}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = crate::target().join("release/examples/growth");
    let said = output(&program.to_string_lossy(), &arguments)?;
    Predicted::of(&said).ok_or(format!("the model said {said}"))
}

impl Predicted {
    fn of(said: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(said).ok()?;
        Some(Self {
            per_second: said.get("requests_per_second")?.as_f64()?,
            p50_ms: said.get("p50_ms")?.as_f64()?,
        })
    }
}

type Row = (Point, Measured, Predicted);

fn found(rows: &[Row]) -> Findings {
    let mut findings = Findings::of(&[
        "replicas",
        "payload B",
        "connections",
        "requests/s",
        "p50 ms",
        "errors",
        "cores busy",
        "predicted/s",
        "predicted p50 ms",
        "off by",
    ]);
    for row @ (point, Measured { sample, busy }, predicted) in rows {
        findings.row([
            json!(point.replicas),
            json!(point.payload),
            json!(point.connections),
            json!(sample.per_second),
            json!(sample.p50_ms),
            json!(sample.errors),
            json!(busy),
            json!(predicted.per_second),
            json!(predicted.p50_ms),
            json!(off(row)),
        ]);
    }
    let bound = || rows.iter().filter(|(_, measured, _)| measured.busy >= BUSY);
    findings.note(format!(
        "The cores were at least {:.0} % busy at {} of {} points, which are judged",
        BUSY * 100.0,
        bound().count(),
        rows.len()
    ));
    if bound().count() > 0 {
        let worst = bound().map(|row| off(row).abs()).fold(0.0, f64::max);
        findings.bar(Bar::at_most("prediction off where CPU-bound, at worst", worst, TOLERANCE));
    }
    let errors: u64 = rows.iter().map(|(_, measured, _)| measured.sample.errors).sum();
    findings.bar(Bar::at_most("errors", errors as f64, 0.0));
    findings.draw(chart::draw(&[
        panel("replicas, 512 B each", false, rows, |point| {
            (point.payload == PAYLOAD).then_some(f64::from(point.replicas))
        }),
        panel("bytes of content, 4 replicas", true, rows, |point| {
            (point.replicas == REPLICAS).then_some(point.payload as f64)
        }),
    ]));
    findings
}

/// By how much the prediction is above what was measured, of that.
fn off((_, measured, predicted): &Row) -> f64 {
    predicted.per_second / measured.sample.per_second - 1.0
}

fn panel(
    axis: &'static str,
    is_log: bool,
    rows: &[Row],
    place: impl Fn(&Point) -> Option<f64>,
) -> chart::Panel {
    let mut at: Vec<(f64, &Row)> =
        rows.iter().filter_map(|row| Some((place(&row.0)?, row))).collect();
    at.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let point =
        |x: f64, y: f64, p50_ms: f64| chart::Point { x, y, note: format!("{p50_ms:.0} ms") };
    let measured =
        at.iter().map(|(x, (_, it, _))| point(*x, it.sample.per_second, it.sample.p50_ms));
    let predicted = at.iter().map(|(x, (_, _, it))| point(*x, it.per_second, it.p50_ms));
    chart::Panel { axis, is_log, measured: measured.collect(), predicted: predicted.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(replicas: u16, payload: u64, busy: f64, measured: f64, predicted: f64) -> Row {
        let sample =
            Sample { answers: 1, per_second: measured, p50_ms: 9.0, p99_ms: 20.0, errors: 0 };
        let point = Point { replicas, payload, connections: 100 };
        (point, Measured { sample, busy }, Predicted { per_second: predicted, p50_ms: 8.0 })
    }

    #[test]
    fn predictions_are_judged_where_the_cores_are_what_limits() {
        let met = row(4, 512, 0.99, 1000.0, 1250.0);
        let idle = row(4, 262_144, 0.3, 100.0, 900.0);
        let text = found(&[met, idle]).text();
        assert!(text.contains("at worst: 0.25, wanted at most 0.25: met"), "{text}");
        assert!(text.contains("at 1 of 2 points"), "{text}");
        let text = found(&[met, row(7, 512, 0.99, 1000.0, 700.0)]).text();
        assert!(text.contains("at worst: 0.30, wanted at most 0.25: missed"), "{text}");
        assert!(!found(&[idle]).text().contains("at worst"), "nothing to judge");
    }

    #[test]
    fn committees_have_three_more_replicas_for_each_fault() {
        let sizes: Vec<u16> = committees(13).iter().map(|point| point.replicas).collect();
        assert_eq!(sizes, [4, 7, 10, 13]);
    }

    #[test]
    fn how_busy_cores_are_is_read_from_their_ticks() {
        let stat = "cpu  95 5 50 800 50 0 0 0 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(ticks(stat), Some((855.0, 1000.0)));
        assert!((busy((850.0, 1000.0), (860.0, 1100.0)) - 0.9).abs() < 1e-9);
        assert_eq!(ticks("intr 5"), None);
    }

    #[test]
    fn a_prediction_is_read_as_the_model_prints_it() {
        let said = "{\"requests_per_second\":15855.4,\"p50_ms\":6.402,\"requests_a_slot\":33.3}";
        let predicted = Predicted { per_second: 15855.4, p50_ms: 6.402 };
        assert_eq!(Predicted::of(said), Some(predicted));
        assert_eq!(Predicted::of("{}"), None);
    }

    #[test]
    fn a_message_between_sockets_costs_something() {
        // Ticks are of ten milliseconds, and fifty thousand messages take many.
        assert!(message_ns().unwrap() > 0);
    }
}
