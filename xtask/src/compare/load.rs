//! One run of the load generator: wrk where it is installed, else `quorate bench`.

use serde_json::Value;
use std::{
    fmt, fs,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Content of no meaning.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// How long content may be that goes into the environment of a process: Linux takes 128 KiB.
const VARIABLE_MAX: usize = 100_000;

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
    /// How many different numbers there are, before the first comes again; none: all are fresh.
    pub(crate) keys: Option<u64>,
    /// The policy of a cluster in whose names a client signs every request; none: no request is
    /// signed.
    pub(crate) signing: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// How many answers said yes.
    pub(crate) answers: u64,
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

/// How many signed requests a second are there to be sent; a cluster that answers more is told that
/// it refused some.
const SIGNED_PER_SECOND_MAX: u64 = 20_000;

/// The least number of 16 digits.
const NUMBER_MIN: u64 = 1_000_000_000_000_000;

/// A number of 16 digits with which requests of this run may begin, far from those of any other.
fn fresh_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    NUMBER_MIN + (now.as_millis() as u64 % 8_000_000_000) * 1_000_000
}

impl Generator {
    /// What is there.
    pub(crate) fn find() -> Self {
        if super::system::is_on_path("wrk") { Self::Wrk } else { Self::Bench }
    }

    /// Runs a load, and says what came of it. For wrk, which cannot sign, `quorate bench` signs the
    /// requests before.
    pub(crate) fn run(self, load: &Load, duration: Duration) -> Result<Sample, String> {
        let mut command = match self {
            Self::Wrk => wrk(load, duration)?,
            Self::Bench if load.keys.is_some() => {
                return Err("writes to the same keys again need wrk".to_owned());
            }
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

/// Has more requests signed than can be answered in that time.
fn sign(load: &Load, duration: Duration) -> Result<PathBuf, String> {
    let file = crate::target().join("load-requests");
    let requests = SIGNED_PER_SECOND_MAX * duration.as_secs().max(1);
    let mut command = bench(load, duration);
    command.arg("--save-requests").arg(&file).args(["--requests", &requests.to_string()]);
    let done = command.output().map_err(|error| format!("quorate bench: {error}"))?;
    let reason = || format!("no requests to send: {}", String::from_utf8_lossy(&done.stderr));
    done.status.success().then_some(file).ok_or_else(reason)
}

fn wrk(load: &Load, duration: Duration) -> Result<Command, String> {
    // A thread speaks to one target.
    let threads = (load.targets.len() as u32).min(load.connections);
    // The same keys again are those of earlier runs.
    let first = if load.keys.is_some() { NUMBER_MIN } else { fresh_number() };
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
        .env("LOAD_KEYS", load.keys.unwrap_or(0).to_string())
        .env("LOAD_TYPE", load.request.media_type)
        .env("LOAD_FIRST", first.to_string())
        .env("LOAD_WRONG", load.request.telltale);
    if load.signing.is_some() {
        command.env("LOAD_REQUESTS", sign(load, duration)?);
    }
    if load.request.body.len() <= VARIABLE_MAX {
        command.env("LOAD_BODY", &load.request.body);
        return Ok(command);
    }
    let file = crate::target().join("load-body");
    fs::write(&file, &load.request.body).map_err(|error| format!("{}: {error}", file.display()))?;
    command.env("LOAD_BODY_FILE", file);
    Ok(command)
}

fn bench(load: &Load, duration: Duration) -> Command {
    let targets: Vec<_> = load.targets.iter().map(|at| format!("http://{at}")).collect();
    let mut command = Command::new(super::system::quorate());
    command
        .args(["bench", "--output", "json", "--warm-up", "0s", "--target", &targets.join(",")])
        .args(["--connections", &load.connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .args(["--method", load.request.method, "--path", &load.request.path]);
    match load.request.media_type {
        // Nothing but its length matters.
        OCTETS => command.args(["--payload", &load.request.body.len().to_string()]),
        media_type => command.args(["--content-type", media_type, "--body", &load.request.body]),
    };
    match &load.signing {
        Some(policy) => command.arg("--sign").arg("--policy").arg(policy),
        None => command.args(["--unproven", "--telltale", load.request.telltale]),
    };
    command
}

fn sample_of_wrk(said: &Value) -> Option<Sample> {
    let number = |name: &str| said.get(name)?.as_f64();
    let refused = number("refused")?;
    let answers = number("answers")? - refused;
    Some(Sample {
        answers: answers as u64,
        per_second: answers / number("seconds")?,
        p50_ms: number("p50_us")? / 1e3,
        p99_ms: number("p99_us")? / 1e3,
        errors: (refused + number("failed")?) as u64,
    })
}

fn sample_of_bench(said: &Value) -> Option<Sample> {
    let latency = |name: &str| said.get("latency_ms")?.get(name)?.as_f64();
    Some(Sample {
        answers: said.get("requests")?.as_u64()?,
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
        let sample =
            Sample { answers: 100, per_second: 10.0, p50_ms: 1.5, p99_ms: 4.0, errors: 11 };
        assert_eq!(sample_of_wrk(&said), Some(sample));
        assert_eq!(sample_of_wrk(&json!({ "answers": 1 })), None);
    }

    #[test]
    fn every_number_has_sixteen_digits() {
        assert_eq!(fresh_number().to_string().len(), 16);
    }
}
