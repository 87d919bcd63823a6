//! Requests a second and p50 as the committee grows and as requests grow, with what the model
//! expects beside each.
//!
//! The model is the example `growth` of the simulator's room: production's pipeline on virtual
//! time, all replicas and clients on one pool of cores. What it is told is measured here, right
//! before: the costs of `quorate sim calibrate`, the disk's fsync, what a request costs its client
//! and a server that does nothing (the plain server under the same load, all cores busy), and what
//! a message costs two sockets of this machine.
//!
//! Machines have neighbours: for seconds or minutes all takes half as long again. So rounds go over
//! all of it, one after the other, and of everything the fastest counts: of points, and of what the
//! model is told alike. Else what was told in a fast minute is held against what was measured in a
//! slow one.
//!
//! What cannot be measured alone is two numbers, each found at one point that was measured, so that
//! the model agrees there: what an entry costs a replica beside the table's costs, at the smallest
//! committee, and what each byte of content costs it, at 32 kB. These two points are no prediction
//! and are not judged; all others are.

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
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
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

/// Where the model is made to agree: what an entry costs is found here, then what a byte costs.
const GIVEN: [(Point, &str, u64); 2] = [
    (Point { replicas: REPLICAS, payload: PAYLOAD, connections: 100 }, "entry_ns", 1_000_000),
    (Point { replicas: REPLICAS, payload: 32 << 10, connections: 50 }, "byte_ps", 1_000_000),
];

/// Halvings of what a number may be, until it is found.
const HALVINGS: u32 = 12;

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

/// What a round found, or the fastest of several.
#[derive(Clone, Debug)]
struct Seen {
    /// Nanoseconds of each operation, by its name.
    costs: BTreeMap<String, f64>,
    message_ns: u64,
    /// Beside each point what a request costs its client and its server, in nanoseconds.
    points: Vec<(Point, u64, Measured)>,
}

/// What the model expects there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Predicted {
    per_second: f64,
    p50_ms: f64,
}

/// Measures what the model is told, and all points, in each round.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    fs::create_dir_all(&setting.dir).map_err(|error| error.to_string())?;
    let mut points = committees(setting.number("replicas-most"));
    // The first of these is a committee of four as well.
    points.extend(PAYLOADS.iter().filter(|(payload, _)| *payload != PAYLOAD).map(of_payload));
    let mut seen = Seen::round(setting, &points)?;
    for _ in 1..setting.number("rounds") {
        seen = seen.faster(Seen::round(setting, &points)?);
    }
    let costs = setting.dir.with_extension("costs");
    write(&costs, &seen.costs_text())?;
    let Seen { message_ns, points: measured, .. } = seen;
    println!("a message costs its sockets {message_ns} ns");
    let mut model = Model {
        costs: costs.clone(),
        fsync_ns: setting.disk.fsync_p50.as_nanos(),
        message_ns,
        found: Vec::new(),
    };
    for (given, name, most) in GIVEN {
        if let Some((_, http_ns, seen)) = measured.iter().find(|(point, ..)| *point == given) {
            let wanted = seen.sample.per_second;
            let predict = |value| model.with(name, value).predict(given, *http_ns);
            let value = bisect(most, |value| Ok(predict(value)?.per_second > wanted))?;
            println!("{name} is {value}, found at {} B", given.payload);
            model = model.with(name, value);
        }
    }
    let row = |(point, http_ns, measured): &(Point, u64, Measured)| {
        Ok((*point, *measured, model.predict(*point, *http_ns)?))
    };
    let rows = measured.iter().map(row).collect::<Result<Vec<_>, String>>()?;
    fs::remove_file(&costs).map_err(|error| format!("{}: {error}", costs.display()))?;
    let mut findings = found(&rows);
    for (name, value) in &model.found {
        findings.note(format!("Found at a point that is not judged: {name} is {value}"));
    }
    Ok(findings)
}

/// The largest value up to `most` of which the model is still too fast, about.
fn bisect(most: u64, is_fast: impl Fn(u64) -> Result<bool, String>) -> Result<u64, String> {
    let (mut low, mut high) = (0, most);
    for _ in 0..HALVINGS {
        let middle = u64::midpoint(low, high);
        if is_fast(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

impl Seen {
    fn round(setting: &Setting, points: &[Point]) -> Result<Self, String> {
        let calibrate = ["sim", "calibrate", "--output", "json"];
        let costs = costs_of(&output(&quorate().to_string_lossy(), &calibrate)?)?;
        let message_ns = message_ns().map_err(|error| format!("loopback: {error}"))?;
        let mut seen = Self { costs, message_ns, points: Vec::new() };
        for point in points {
            let http_ns = http_ns(setting, *point)?;
            let measured = measure(setting, *point)?;
            println!(
                "{:>2} replicas, {:>6} B: {:.0}/s, cores {:.0} % busy",
                point.replicas,
                point.payload,
                measured.sample.per_second,
                measured.busy * 100.0
            );
            seen.points.push((*point, http_ns, measured));
        }
        Ok(seen)
    }

    /// Of everything that was seen twice, the faster.
    fn faster(mut self, other: Self) -> Self {
        for (name, nanos) in &mut self.costs {
            *nanos = other.costs.get(name).map_or(*nanos, |it| nanos.min(*it));
        }
        self.message_ns = self.message_ns.min(other.message_ns);
        for ((_, http_ns, best), (_, other_ns, measured)) in
            self.points.iter_mut().zip(other.points)
        {
            *http_ns = other_ns.min(*http_ns);
            if measured.sample.per_second > best.sample.per_second {
                *best = measured;
            }
        }
        self
    }

    /// As `quorate sim calibrate` prints them for people, which is what the model reads.
    fn costs_text(&self) -> String {
        self.costs.iter().map(|(name, nanos)| format!("{name} {nanos}\n")).collect()
    }
}

fn costs_of(said: &str) -> Result<BTreeMap<String, f64>, String> {
    let said: BTreeMap<String, BTreeMap<String, f64>> =
        serde_json::from_str(said).map_err(|error| format!("{said}: {error}"))?;
    said.into_values().next().ok_or_else(|| "no costs".to_owned())
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

/// What the model is told, whatever the point.
#[derive(Clone, Debug)]
struct Model {
    /// The file of the table of costs.
    costs: PathBuf,
    fsync_ns: u128,
    message_ns: u64,
    /// Numbers that are found at given points, by name.
    found: Vec<(&'static str, u64)>,
}

impl Model {
    fn with(&self, name: &'static str, value: u64) -> Self {
        let mut model = self.clone();
        model.found.push((name, value));
        model
    }

    fn predict(&self, point: Point, http_ns: u64) -> Result<Predicted, String> {
        let mut arguments = vec![
            format!("replicas={}", point.replicas),
            format!("payload={}", point.payload),
            format!("connections={}", point.connections),
            format!("requests={MODELLED}"),
            format!("cores={}", cores_here()),
            format!("fsync_ns={}", self.fsync_ns),
            format!("message_ns={}", self.message_ns),
            format!("http_ns={http_ns}"),
            format!("costs={}", self.costs.display()),
        ];
        arguments.extend(self.found.iter().map(|(name, value)| format!("{name}={value}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = crate::target().join("release/examples/growth");
        let said = output(&program.to_string_lossy(), &arguments)?;
        Predicted::of(&said).ok_or(format!("the model said {said}"))
    }
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
    let is_given = |point: &Point| GIVEN.iter().any(|(given, ..)| given == point);
    let judged = || rows.iter().filter(|(point, ..)| !is_given(point));
    let bound = || judged().filter(|(_, measured, _)| measured.busy >= BUSY);
    findings.note(format!(
        "The cores were at least {:.0} % busy at {} of the {} points that are predictions",
        BUSY * 100.0,
        bound().count(),
        judged().count()
    ));
    if bound().count() > 0 {
        let worst = bound().map(|row| off(row).abs()).fold(0.0, f64::max);
        findings.bar(Bar::at_most("prediction off where CPU-bound, at worst", worst, TOLERANCE));
    }
    let worst = judged().map(|row| off(row).abs()).fold(0.0, f64::max);
    findings.note(format!("Of all of them the worst prediction is off by {worst:.2}"));
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
        let met = row(7, 512, 0.99, 1000.0, 1250.0);
        let idle = row(4, 262_144, 0.3, 100.0, 900.0);
        let given = row(4, 512, 0.99, 1000.0, 9000.0);
        let text = found(&[met, idle, given]).text();
        assert!(text.contains("at worst: 0.25, wanted at most 0.25: met"), "{text}");
        assert!(text.contains("at 1 of the 2 points"), "{text}");
        assert!(text.contains("the worst prediction is off by 8.00"), "{text}");
        let text = found(&[met, row(10, 512, 0.99, 1000.0, 700.0)]).text();
        assert!(text.contains("at worst: 0.30, wanted at most 0.25: missed"), "{text}");
        assert!(!found(&[idle, given]).text().contains("at worst"), "nothing to judge");
    }

    #[test]
    fn a_number_is_found_where_the_model_agrees() {
        let found = bisect(1_000_000, |value| Ok(value < 41_250)).unwrap();
        assert!((41_000..=41_250).contains(&found), "{found}");
        assert_eq!(bisect(8, |_| Ok(false)), Ok(0));
        assert!(bisect(8, |_| Err("no model".to_owned())).is_err());
    }

    #[test]
    fn of_two_rounds_the_faster_of_everything_counts() {
        let seen = |text: &str, message_ns, http_ns, per_second| {
            let (point, measured, _) = row(4, 512, 0.9, per_second, 1.0);
            Seen {
                costs: costs_of(text).unwrap(),
                message_ns,
                points: vec![(point, http_ns, measured)],
            }
        };
        let first =
            seen(r#"{"nanoseconds":{"sign":20000,"hash-byte":0.5}}"#, 9_000, 30_000, 1000.0);
        let best = first.faster(seen(
            r#"{"nanoseconds":{"sign":18000,"hash-byte":0.75}}"#,
            14_000,
            20_000,
            1500.0,
        ));
        assert_eq!(best.costs_text(), "hash-byte 0.5\nsign 18000\n");
        assert_eq!((best.message_ns, best.points[0].1), (9_000, 20_000));
        assert_eq!(best.points[0].2.sample.per_second, 1500.0);
        assert!(costs_of("sign 20000").is_err());
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
