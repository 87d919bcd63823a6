//! `cargo xtask profile`: where the CPU time of a request goes, in a cluster of real processes
//! under load.
//!
//! Two views of the same seconds. By thread: what the kernel has counted for each thread of each
//! process, so nothing is missing and nothing is sampled. By what the code does: samples of `perf`,
//! where it is installed, sorted by the names of functions into the parts of [`PARTS`]; what has no
//! place there is shown as `other`, the largest first.

use crate::compare::{
    load::Generator,
    system::{Running, Spread, System, is_on_path},
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

const HELP: &str = "\
cargo xtask profile [--connections C] [--seconds S] [--payload B]

Builds the release binary, starts four replicas, puts 100 connections on them for 10 s, and says
how many microseconds of CPU time a request costs in which thread, and doing what.";

/// Parts of the work, and the beginnings of the names of functions that do it. The first match
/// counts, so that what is done for a part by a library stands before the library itself.
const PARTS: [(&str, &[&str]); 13] = [
    ("signatures", &["curve25519_dalek", "ed25519_dalek", "sha2::sha512", "merlin"]),
    ("hashes", &["sha2::", "ring_core", "digest::", "blake3", "quorate_proof::hash"]),
    ("memory", &["mi_", "_mi_", "__mem", "__rust_alloc", "__rust_dealloc", "alloc::raw_vec"]),
    ("TLS", &["rustls", "ring::", "tokio_rustls", "aes", "gcm"]),
    ("HTTP", &["hyper", "http", "axum", "tower", "httparse", "matchit"]),
    ("gateway", &["quorate_gateway"]),
    ("proof", &["quorate_proof"]),
    ("encoding", &["borsh", "quorate_types", "base64", "core::fmt", "core::str"]),
    ("ordering", &["quorate_protocol"]),
    ("pipeline", &["quorate_replica"]),
    ("service", &["quorate_service"]),
    ("ledger", &["quorate_ledger", "crc32fast", "redb"]),
    ("driver", &["quorate_node", "tokio", "parking_lot", "mio", "std::sync", "crossbeam"]),
];

/// See [`HELP`].
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let profiled = Options::parse(arguments).and_then(|options| match options {
        Some(options) => options.carry_out(),
        None => {
            println!("{HELP}");
            Ok(())
        }
    });
    match profiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("profile: {reason}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    connections: u32,
    seconds: u32,
    payload: u32,
}

/// CPU time and switches of all threads of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    user_us: f64,
    system_us: f64,
    /// Times that a thread went to sleep, or was made to wait.
    switches: f64,
}

type Threads = BTreeMap<String, Used>;

impl Options {
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { connections: 100, seconds: 10, payload: 512 };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            if option == "--help" || option == "-h" {
                return Ok(None);
            }
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value = value.ok_or(format!("{option} needs a number"))?;
            match option.as_str() {
                "--connections" => options.connections = value,
                "--seconds" => options.seconds = value,
                "--payload" => options.payload = value,
                _ => return Err(format!("there is no option {option}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }

    fn carry_out(&self) -> Result<(), String> {
        build()?;
        let dir = crate::target().join("profile");
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let dir = dir.canonicalize().map_err(|error| error.to_string())?;
        let mut running = System::Quorate.start(&dir.join("cluster"), self.payload as usize)?;
        let generator = Generator::find();
        let load = running.load(running.targets(Spread::All), self.connections);
        let duration = Duration::from_secs(self.seconds.into());
        generator.run(&load, Duration::from_secs(3))?;

        let before = threads(&running);
        let sample = generator.run(&load, duration)?;
        let after = threads(&running);
        let requests = sample.per_second * duration.as_secs_f64();
        println!(
            "{} connections, {} B, {generator}: {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, \
             errors {}\n",
            self.connections,
            self.payload,
            sample.per_second,
            sample.p50_ms,
            sample.p99_ms,
            sample.errors
        );
        print!("{}", by_thread(&before, &after, requests));

        // Apart from the counted seconds, since sampling costs something itself.
        if is_on_path("perf") {
            let samples = dir.join("perf.data");
            let mut perf = record(&running, &samples, duration)?;
            generator.run(&load, duration)?;
            perf.wait().map_err(|error| error.to_string())?;
            print!("\n{}", by_part(&report(&samples)?));
        } else {
            println!("\nperf is not installed (Debian: linux-perf), so nothing is said of parts");
        }
        running.stop()?;
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))
    }
}

fn build() -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--workspace", "--bins"])
        .status();
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo build ended with {status}")),
        Err(error) => Err(format!("cargo does not start: {error}")),
    }
}

/// What the threads of all replicas have used so far, by their names.
fn threads(running: &Running) -> Threads {
    let mut threads = Threads::new();
    for pid in running.pids() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for (name, used) in tasks.filter_map(|task| thread(&task.path())) {
            let sum = threads.entry(name).or_default();
            sum.user_us += used.user_us;
            sum.system_us += used.system_us;
            sum.switches += used.switches;
        }
    }
    threads
}

fn thread(task: &Path) -> Option<(String, Used)> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    let status = fs::read_to_string(task.join("status")).ok()?;
    let switches = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("ctxt_switches").then(|| count.trim().parse::<f64>().ok())?
    });
    let (name, mut used) = of_stat(&stat)?;
    used.switches = switches.sum();
    Some((name, used))
}

/// CPU time of `/proc/PID/stat`, in microseconds.
pub(crate) fn cpu_us(stat: &str) -> Option<f64> {
    let (_, Used { user_us, system_us, .. }) = of_stat(stat)?;
    Some(user_us + system_us)
}

/// Name and times of a thread, of `/proc/PID/task/TID/stat`. The name may hold anything, so what
/// follows it is found from its end.
fn of_stat(stat: &str) -> Option<(String, Used)> {
    let (front, rest) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1.to_owned();
    // Fields 14 and 15 of proc(5), in clock ticks of a hundredth of a second.
    let mut times = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    let mut us = || Some(times.next()?? * 10_000.0);
    Some((name, Used { user_us: us()?, system_us: us()?, switches: 0.0 }))
}

fn by_thread(before: &Threads, after: &Threads, requests: f64) -> String {
    let mut rows: Vec<(&str, Used)> = after
        .iter()
        .map(|(name, after)| {
            let before = before.get(name).copied().unwrap_or_default();
            let each = |after: f64, before: f64| (after - before) / requests.max(1.0);
            let used = Used {
                user_us: each(after.user_us, before.user_us),
                system_us: each(after.system_us, before.system_us),
                switches: each(after.switches, before.switches),
            };
            (name.as_str(), used)
        })
        .collect();
    rows.sort_by(|(_, a), (_, b)| (b.user_us + b.system_us).total_cmp(&(a.user_us + a.system_us)));
    let mut out = "| thread, of all replicas | us a request | in user mode | in the kernel | \
                   switches a request |\n|---|---:|---:|---:|---:|\n"
        .to_owned();
    let mut line = |name: &str, used: Used| {
        let Used { user_us, system_us, switches } = used;
        let all = user_us + system_us;
        out += &format!("| {name} | {all:.1} | {user_us:.1} | {system_us:.1} | {switches:.2} |\n");
    };
    let mut sum = Used::default();
    for (name, used) in rows {
        sum.user_us += used.user_us;
        sum.system_us += used.system_us;
        sum.switches += used.switches;
        if used.user_us + used.system_us >= 0.05 {
            line(name, used);
        }
    }
    line("all", sum);
    out
}

fn record(running: &Running, samples: &Path, duration: Duration) -> Result<Child, String> {
    let pids: Vec<_> = running.pids().iter().map(u32::to_string).collect();
    Command::new("perf")
        .args(["record", "--quiet", "--freq", "997", "--pid", &pids.join(","), "--output"])
        .arg(samples)
        .args(["--", "sleep", &duration.as_secs().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("perf: {error}"))
}

/// Shares of the samples, each with its object and function.
fn report(samples: &Path) -> Result<String, String> {
    let done = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "--fields", "overhead,dso,symbol"])
        .args(["--percent-limit", "0.01", "--input"])
        .arg(samples)
        .output()
        .map_err(|error| format!("perf: {error}"))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn by_part(report: &str) -> String {
    let mut parts: BTreeMap<&str, Vec<(f64, &str)>> = BTreeMap::new();
    for (share, object, symbol) in report.lines().filter_map(sampled) {
        parts.entry(part_of(object, symbol)).or_default().push((share, symbol));
    }
    let sum = |part: &[(f64, &str)]| part.iter().map(|(share, _)| share).sum::<f64>();
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by(|(_, a), (_, b)| sum(b).total_cmp(&sum(a)));
    let mut out = "| doing what | % of the samples | largest |\n|---|---:|---|\n".to_owned();
    for (part, mut largest) in parts {
        let sum = sum(&largest);
        largest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let largest: Vec<_> = largest
            .iter()
            .take(4)
            .map(|(share, symbol)| format!("`{}` {share:.1}", shortened(symbol)))
            .collect();
        out += &format!("| {part} | {sum:.1} | {} |\n", largest.join(", "));
    }
    out
}

/// `  1.99%  quorate  [.] core::fmt::write`, in its parts.
fn sampled(line: &str) -> Option<(f64, &str, &str)> {
    let (share, rest) = line.trim().split_once('%')?;
    let (object, symbol) = rest.trim().split_once(char::is_whitespace)?;
    let symbol = symbol.trim().get(4..)?;
    Some((share.parse().ok()?, object, symbol))
}

fn part_of(object: &str, symbol: &str) -> &'static str {
    if object.starts_with("[kernel") || object.starts_with("[vdso") {
        return kernel_part(symbol);
    }
    let name = symbol.trim_start_matches(['<', '&']);
    let found = PARTS.iter().find(|(_, names)| names.iter().any(|it| name.starts_with(it)));
    found.map_or("other", |(part, _)| part)
}

fn kernel_part(symbol: &str) -> &'static str {
    let is = |names: &[&str]| names.iter().any(|name| symbol.contains(name));
    match () {
        () if is(&["tcp", "sock", "skb", "inet", "ip_", "net", "loopback", "nf_", "eth"]) => {
            "kernel: sockets"
        }
        () if is(&["ext4", "jbd2", "blk", "bio", "folio", "page", "virtio", "vfs", "iomap"]) => {
            "kernel: files and memory"
        }
        () if is(&["sched", "futex", "wake", "epoll", "switch", "rq", "idle", "hrtimer"]) => {
            "kernel: scheduling"
        }
        () => "kernel: other",
    }
}

/// The end of a long name, which tells more than its beginning.
fn shortened(symbol: &str) -> String {
    const LONGEST: usize = 48;
    let from = symbol.char_indices().rev().nth(LONGEST - 1).map_or(0, |(at, _)| at);
    symbol.get(from..).unwrap_or(symbol).replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_with_any_name_is_read() {
        let stat = "7 (a (b) c) S 1 1 1 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 9 0 1 1 1";
        let used = Used { user_us: 2_500_000.0, system_us: 500_000.0, switches: 0.0 };
        assert_eq!(of_stat(stat), Some(("a (b) c".to_owned(), used)));
        assert_eq!(of_stat("7 (a"), None);
    }

    #[test]
    fn a_sample_is_sorted_by_the_name_of_its_function() {
        let line = "    1.99%  quorate            [.] <sha2::sha256::x86 as core::Any>::go";
        let (share, object, symbol) = sampled(line).unwrap();
        assert!((share - 1.99).abs() < 1e-9);
        assert_eq!(part_of(object, symbol), "hashes");
        assert_eq!(part_of("[kernel.kallsyms]", "tcp_sendmsg"), "kernel: sockets");
        assert_eq!(part_of("quorate", "nobody::knows"), "other");
        assert_eq!(sampled("# comment"), None);
    }

    #[test]
    fn what_threads_used_is_told_by_request() {
        let used = |us| Used { user_us: us, system_us: us, switches: 10.0 };
        let before = Threads::from([("replica".to_owned(), used(1000.0))]);
        let after = Threads::from([("replica".to_owned(), used(3000.0))]);
        let text = by_thread(&before, &after, 100.0);
        assert!(text.contains("| replica | 40.0 | 20.0 | 20.0 | 0.00 |"), "{text}");
    }
}
