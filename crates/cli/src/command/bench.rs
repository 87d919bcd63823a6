//! `quorate bench`: load, with latency percentiles.
//!
//! | file | holds |
//! |---|---|
//! | [`load`] | what requests look like |
//! | [`connection`] | one keep-alive connection and its loop |
//! | [`tally`] | what was measured, and how it is told |
//! | [`saved`] | requests in a file, for another load generator |

mod connection;
mod load;
mod saved;
mod tally;

use super::{block_on, curl::parse_url};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    keys::{key_failure, signer_of},
    trust,
};
use connection::{Connection, Judge, Pace};
use load::Load;
use quorate_client::Endpoint;
use quorate_crypto::{Role, SecretKey};
use std::{
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};
use tally::{Setting, Tally};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate bench --connections 100 --duration 10s\n  \
    quorate bench --target http://127.0.0.1:7400,http://127.0.0.1:7401 --payload 512 --verify\n  \
    quorate bench --rate 2000 --duration 30s --output json\n  \
    quorate bench --method GET --path /kv/greeting --connections 1\n  \
    quorate bench --unproven --target http://127.0.0.1:8080 --path /any/server\n  \
    quorate bench --sign --save-requests requests --requests 50000\n\n\
    Without --rate the loop is closed: each connection sends its next request when it has its\n\
    answer. With --rate requests are due at fixed times, and latency counts from when a request\n\
    was due, not from when it could be sent: a stalled service cannot hide its stall (coordinated\n\
    omission). Every request is new to the service: its Idempotency-Key and its number are.\n\n\
    --save-requests sends nothing: it writes requests for another load generator, for the\n\
    targets in turn, each as HTTP/1.1 behind a line with its length in bytes. Signed ones are\n\
    good for 300 s, and each for one answer: sent again, it is answered as before.")]
pub(crate) struct Bench {
    /// Gateways, separated by commas; connections are spread over them
    #[arg(
        long,
        value_name = "URL,..",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    target: Vec<String>,
    /// How many connections, each with one request at a time
    #[arg(long, short, value_name = "C", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// How long to measure, such as 10s, 500ms, 2m
    #[arg(long, short, value_name = "D", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long to warm up before it; what happens then is not counted
    #[arg(long, value_name = "D", default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// Bytes of content in each request
    #[arg(long, value_name = "B", default_value_t = 512)]
    payload: usize,
    /// The method
    #[arg(long, value_name = "M", default_value = "PUT")]
    method: String,
    // The help's own mark for a line break is `{n}`, so the text cannot spell it.
    /// The path; n in braces stands for a number that is new with each request
    #[arg(long, value_name = "T", default_value = "/kv/bench-{n}")]
    path: String,
    /// This content instead; n in braces stands for the number here too
    #[arg(long, value_name = "TEXT", conflicts_with = "payload")]
    body: Option<String>,
    /// The media type of the content
    #[arg(long, value_name = "TYPE", default_value = load::MEDIA_TYPE, requires = "body")]
    content_type: String,
    /// Take answers without a proof: those of another server, for comparison
    #[arg(long, conflicts_with_all = ["sign", "verify"])]
    unproven: bool,
    /// Text that in an answer without a proof tells of a failure
    #[arg(long, value_name = "TEXT", requires = "unproven", default_value = "")]
    telltale: String,
    /// Sign every request by a fresh client key
    #[arg(long)]
    sign: bool,
    /// Check every proof
    #[arg(long)]
    verify: bool,
    /// Requests a second, all connections together: an open loop
    #[arg(long, value_name = "R")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Give up on a request after this
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Write requests into this file, and send none
    #[arg(long, value_name = "FILE", requires = "requests")]
    #[arg(conflicts_with_all = ["unproven", "verify", "rate"])]
    save_requests: Option<PathBuf>,
    /// How many requests to write
    #[arg(long, value_name = "N", requires = "save_requests")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
    #[command(flatten)]
    policy: trust::PolicyArgument,
}

/// Reads `10s`, `500ms`, `2m`, or a number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time; use us, ms, s, m or h")),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{text}` is no duration"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("`{text}` is no duration"))
}

impl Bench {
    /// Runs it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let targets = self
            .target
            .iter()
            .map(|url| Ok(parse_url(url)?.endpoint))
            .collect::<Result<Vec<_>, _>>()?;
        block_on(self.measure(targets, console))?
    }

    async fn measure(&self, targets: Vec<Endpoint>, console: &Console) -> Result<Exit, Failure> {
        let load = Rc::new(self.load(&targets, console).await?);
        if let Some((file, requests)) = self.save_requests.as_ref().zip(self.requests) {
            saved::save(&load, &targets, requests, file)?;
            console.note(format_args!("requests written to {}: {requests}", file.display()));
            return Ok(Exit::Done);
        }
        let start = Instant::now() + self.warm_up;
        let pace = Rc::new(Pace::new(self.rate, Instant::now(), start, start + self.duration));
        let local = tokio::task::LocalSet::new();
        let (authorities, mut running) = (self.policy.authorities(), Vec::new());
        for number in 0..self.connections as usize {
            let place = number % targets.len();
            let endpoint = targets[place].clone();
            let judge = match self.unproven {
                true => Judge::Unproven { telltale: self.telltale.clone() },
                false => Judge::Proven,
            };
            let load = load.clone();
            let connection =
                Connection::new(place, endpoint, authorities.clone(), load, self.timeout, judge);
            running.push(local.spawn_local(connection.run(pace.clone())));
        }
        let mut tally = Tally::new(targets.len());
        local
            .run_until(async {
                for connection in running {
                    if let Ok(one) = connection.await {
                        tally.add(one);
                    }
                }
            })
            .await;
        let setting = Setting {
            targets: targets.iter().map(ToString::to_string).collect(),
            connections: self.connections,
            duration: self.duration,
            rate: self.rate,
            payload: self.body.as_ref().map_or(self.payload, String::len),
            verify: self.verify,
            sign: self.sign,
        };
        let report = tally.report(&setting);
        if console.is_json() {
            console.json(&report);
        } else {
            console.line(report.text().trim_end());
        }
        match (report.unverified, report.requests) {
            (1.., _) => Err(Failure::not_verified(
                "bench-not-verified",
                format!("{} answers did not verify", report.unverified),
            )),
            (0, 0) => Err(Failure::failed("bench-no-answers", "not one request was answered")
                .hint("is the cluster running? `quorate status URL`")),
            (0, _) => Ok(Exit::Done),
        }
    }

    async fn load(&self, targets: &[Endpoint], console: &Console) -> Result<Load, Failure> {
        let policy = match (self.verify || self.sign, targets.first()) {
            (true, Some(first)) => {
                let trusted = self.policy.find(first).await?;
                trust::keep(&trusted, first, console)?;
                Some(trusted.policy)
            }
            _ => None,
        };
        let signer = match self.sign {
            true => Some(signer_of(SecretKey::generate(Role::Client).map_err(key_failure)?)),
            false => None,
        };
        let content = match &self.body {
            Some(text) => load::Content::Text { text, media_type: &self.content_type },
            None => load::Content::Bytes(self.payload),
        };
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(|error| Failure::failed("no-randomness", error))?;
        Load::new(
            &load::Shape { method: &self.method, path: &self.path, content },
            policy,
            signer,
            self.verify,
            u128::from_be_bytes(seed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "-1s", "10x", "1e400s", "nan"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
