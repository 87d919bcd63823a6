//! One run of the load generator: wrk where it is installed, else `quorate bench`.

use serde_json::Value;
use std::{
    fmt,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a write looks like to a system. `{n}` stands for a number of 16 digits, new each time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Empty for none.
    pub(crate) body: String,
    pub(crate) media_type: &'static str,
    /// What an answer of status 200 holds that tells of a failure all the same.
    pub(crate) telltale: &'static str,
}

/// Requests to be sent, one after the other on each connection.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// `HOST:PORT` each; connections are spread over them.
    pub(crate) targets: Vec<String>,
    pub(crate) request: Request,
    pub(crate) connections: u32,
    pub(crate) number_from: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Answers that say no, and requests without an answer.
    pub(crate) errors: u64,
}

/// What makes the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Generator {
    Wrk,
    Bench,
}

/// A number of 16 digits with which requests of this run may begin, far from those of any other.
pub(crate) fn fresh_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    1_000_000_000_000_000 + (now.as_millis() as u64 % 8_000_000_000) * 1_000_000
}

impl Generator {
    /// What is there.
    pub(crate) fn find() -> Self {
        if super::system::is_on_path("wrk") { Self::Wrk } else { Self::Bench }
    }

    /// Runs a load, and says what came of it.
    pub(crate) fn run(self, load: &Load, duration: Duration) -> Result<Sample, String> {
        let mut command = match self {
            Self::Wrk => wrk(load, duration),
            Self::Bench => bench(load, duration),
        };
        let done = command.output().map_err(|error| format!("{self}: {error}"))?;
        let text = String::from_utf8_lossy(&done.stdout);
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        let said = line.and_then(|line| serde_json::from_str::<Value>(line).ok());
        let sample = said.and_then(|said| match self {
            Self::Wrk => sample_of_wrk(&said),
            Self::Bench => sample_of_bench(&said),
        });
        sample.ok_or_else(|| {
            let reason = String::from_utf8_lossy(&done.stderr);
            format!("{self} measured nothing of {:?}: {reason}{text}", load.targets)
        })
    }
}

fn wrk(load: &Load, duration: Duration) -> Command {
    // A thread speaks to one target.
    let threads = (load.targets.len() as u32).min(load.connections);
    let mut command = Command::new("wrk");
    command
        .args(["--script", "bench/load.lua", "--timeout", "30s"])
        .args(["--threads", &threads.to_string()])
        .args(["--connections", &load.connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .arg(format!("http://{}/", load.targets[0]))
        .env("LOAD_TARGETS", load.targets.join(","))
        .env("LOAD_METHOD", load.request.method)
        .env("LOAD_PATH", &load.request.path)
        .env("LOAD_BODY", &load.request.body)
        .env("LOAD_TYPE", load.request.media_type)
        .env("LOAD_FIRST", load.number_from.to_string())
        .env("LOAD_WRONG", load.request.telltale);
    command
}

fn bench(load: &Load, duration: Duration) -> Command {
    let targets: Vec<_> = load.targets.iter().map(|at| format!("http://{at}")).collect();
    let mut command = Command::new(super::system::quorate());
    command
        .args(["bench", "--output", "json", "--unproven", "--warm-up", "0s"])
        .args(["--target", &targets.join(",")])
        .args(["--connections", &load.connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .args(["--method", load.request.method, "--path", &load.request.path])
        .args(["--content-type", load.request.media_type, "--body", &load.request.body])
        .args(["--telltale", load.request.telltale]);
    command
}

fn sample_of_wrk(said: &Value) -> Option<Sample> {
    let number = |name: &str| said.get(name)?.as_f64();
    let refused = number("refused")?;
    Some(Sample {
        per_second: (number("answers")? - refused) / number("seconds")?,
        p50_ms: number("p50_us")? / 1e3,
        p99_ms: number("p99_us")? / 1e3,
        errors: (refused + number("failed")?) as u64,
    })
}

fn sample_of_bench(said: &Value) -> Option<Sample> {
    let latency = |name: &str| said.get("latency_ms")?.get(name)?.as_f64();
    Some(Sample {
        per_second: said.get("requests_per_second")?.as_f64()?,
        p50_ms: latency("p50")?,
        p99_ms: latency("p99")?,
        errors: said.get("failed")?.as_u64()?,
    })
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrk => "wrk",
            Self::Bench => "quorate bench",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_that_say_no_do_not_count_as_writes() {
        let said = json!({
            "answers": 110, "seconds": 10.0, "refused": 10, "failed": 1, "p50_us": 1500,
            "p99_us": 4000
        });
        let sample = Sample { per_second: 10.0, p50_ms: 1.5, p99_ms: 4.0, errors: 11 };
        assert_eq!(sample_of_wrk(&said), Some(sample));
        assert_eq!(sample_of_wrk(&json!({ "answers": 1 })), None);
    }

    #[test]
    fn every_number_has_sixteen_digits() {
        assert_eq!(fresh_number().to_string().len(), 16);
    }
}
