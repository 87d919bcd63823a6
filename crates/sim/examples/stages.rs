//! The hot stages, each alone, for counting instructions: `cargo xtask instructions` runs them
//! under a counter, once and several times, and takes the difference.
//!
//! ```text
//! cargo run --release -p quorate-sim --example stages -- verify 3
//! verify 3
//! ```

use quorate_proof::{Policy, Strict, parse_request, parse_response, verify};
use quorate_service::State;
use quorate_sim::{Signatures, run, scenario::Scenario};
use quorate_types::{Asked, Batch, Index, Item, Request, Salt, UnixMillis, Wire};
use std::{error::Error, hint::black_box, sync::Arc};

/// Requests in a batch under load.
const REQUESTS: u64 = 50;

/// Keys that a service holds.
const KEYS: u64 = 10_000;

type Stage = fn(u32) -> Result<(), Box<dyn Error>>;

/// Each repeats its work so many times as it is told.
const STAGES: [(&str, Stage); 5] = [
    ("codec", codec),
    ("root", root),
    ("verify", proof),
    ("pipeline", |times| pipeline(times, Signatures::Macs)),
    ("pipeline-signed", |times| pipeline(times, Signatures::Real)),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = arguments.as_slice() else {
        for (name, _) in STAGES {
            println!("{name}");
        }
        return Ok(());
    };
    let found = STAGES.iter().find(|(stage, _)| stage == name);
    let (_, stage) = found.ok_or_else(|| format!("there is no stage `{name}`"))?;
    stage(times.parse()?)?;
    println!("{name} {times}");
    Ok(())
}

/// A batch, written and read.
fn codec(times: u32) -> Result<(), Box<dyn Error>> {
    let batch = batch();
    for _ in 0..times {
        let bytes = black_box(&batch).to_wire();
        black_box(Batch::from_wire(&bytes, bytes.len())?);
    }
    Ok(())
}

/// The root of a service's state, after the writes of a batch.
fn root(times: u32) -> Result<(), Box<dyn Error>> {
    let mut state = State::new();
    for key in 0..KEYS {
        state.put(format!("/kv/{key}"), vec![0x51; 512]);
    }
    state.root();
    for round in 0..u64::from(times) {
        for number in 0..REQUESTS {
            let key = (round * REQUESTS + number) * 7919 % KEYS;
            state.put(format!("/kv/{key}"), vec![0x52; 512]);
        }
        black_box(state.root());
    }
    Ok(())
}

/// What a client does with a response: the worked example, judged by its policy.
fn proof(times: u32) -> Result<(), Box<dyn Error>> {
    let policy = Policy::parse(include_str!("../../proof/testdata/example/policy.txt"))?;
    let request = parse_request(include_bytes!("../../proof/testdata/example/request.http"))?;
    let response = include_bytes!("../../proof/testdata/example/response.http");
    let response = parse_response(response, &request.method)?;
    for _ in 0..times {
        black_box(verify(&policy, &Strict, black_box(&request), black_box(&response))?);
    }
    Ok(())
}

/// Everything that four replicas do with a hundred requests, from admission to the certificate,
/// with the log and the write-ahead log in memory, and the checkers of the simulator.
fn pipeline(times: u32, signatures: Signatures) -> Result<(), Box<dyn Error>> {
    let calm = Scenario::named("calm").ok_or("no such scenario")?;
    for seed in 0..u64::from(times) {
        let mut plan = calm.plan(seed, Some(4));
        plan.signatures = signatures;
        (plan.clients, plan.requests) = (10, 10);
        let outcome = run(plan);
        if !outcome.failures.is_empty() {
            return Err(format!("{:?}", outcome.failures).into());
        }
    }
    Ok(())
}

fn batch() -> Batch {
    let item = |number: u64| {
        let request = Request {
            method: "PUT".to_owned(),
            path: format!("/kv/{number}"),
            query: "?".to_owned(),
            fields: vec![("content-type".to_owned(), "application/octet-stream".to_owned())],
            body: vec![0x51; 512].into(),
            salt: Salt([7; 16]),
            signature: None,
        };
        Item::Request(Asked { request: Arc::new(request), since: Index(number) })
    };
    Batch { time: UnixMillis(1), items: (0..REQUESTS).map(item).collect() }
}
