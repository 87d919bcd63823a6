//! What the proof of one response costs those who make, send and check it, in microseconds of one
//! core: medians of many.
//!
//! ```text
//! cargo run --release -p quorate-gateway --example proof_cost -- POLICY request.http response.http
//! {"verify_us":..,"text_us":..,"answer_us":..,"bare_us":..,"path":17,"proof_bytes":1700}
//! ```
//!
//! The files are a policy and what `quorate curl --save` saves; without them it is the worked
//! example of the specification, whose log is small. `verify` is all that a client does with the
//! response. `text` is writing the proof, `answer` what the gateway makes of it and of the
//! service's response, `bare` the response alone.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use quorate_gateway::{GatewayConfig, Submitted, Timing, cost::Answers};
use quorate_proof::{
    Policy, ReceivedResponse, SentRequest, Strict, TlogProof, parse_request, parse_response, verify,
};
use quorate_types::{Digest, EntryFacts, Epoch, Proven, Response, Salt, UnixMillis};
use std::{error::Error, fs, hint::black_box, time::Instant};

const ROUNDS: usize = 5_000;

/// Fields that the gateway adds by itself.
const OWN: [&str; 6] =
    ["content-digest", "content-length", "date", "link", "server-timing", "access-control"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (policy, request, response) = match arguments.as_slice() {
        [policy, request, response] => {
            (fs::read_to_string(policy)?, fs::read(request)?, fs::read(response)?)
        }
        [] => (
            include_str!("../../proof/testdata/example/policy.txt").to_owned(),
            include_bytes!("../../proof/testdata/example/request.http").to_vec(),
            include_bytes!("../../proof/testdata/example/response.http").to_vec(),
        ),
        _ => return Err("POLICY REQUEST RESPONSE, or nothing".into()),
    };
    let policy = Policy::parse(&policy)?;
    let request = parse_request(&request)?;
    let response = parse_response(&response, &request.method)?;
    let costs = Costs::measure(&policy, &request, &response)?;
    println!("{costs}");
    Ok(())
}

/// In microseconds.
struct Costs {
    verify: f64,
    text: f64,
    answer: f64,
    bare: f64,
    proof: TlogProof,
}

impl Costs {
    fn measure(
        policy: &Policy,
        request: &SentRequest,
        response: &ReceivedResponse,
    ) -> Result<Self, Box<dyn Error>> {
        verify(policy, &Strict, request, response)?;
        let verify = median_us(|| (), |()| verify(policy, &Strict, request, response).is_ok());
        let proven = proven(response)?;
        let proof = TlogProof::parse(&proven.proof)?;
        if proof.text() != proven.proof {
            return Err("the proof is not written as it was read".into());
        }
        let text = median_us(|| (), |()| proof.text().len() == proven.proof.len());
        let answers = Answers::new(&GatewayConfig::new(&policy.origin().name));
        let method = request.method.as_str();
        let timing = Timing { order_us: 12_345, exec_us: 67, sign_us: 8_901 };
        let answer = median_us(
            || Submitted { proven: proven.clone(), timing },
            |submitted| answers.proven(submitted, method).is_ok(),
        );
        let bare =
            median_us(|| proven.response.clone(), |answer| answers.bare(answer, method).is_ok());
        Ok(Self { verify: verify?, text: text?, answer: answer?, bare: bare?, proof })
    }
}

impl std::fmt::Display for Costs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verify, text, answer, bare, proof } = self;
        write!(
            f,
            "{{\"verify_us\":{verify:.3},\"text_us\":{text:.3},\"answer_us\":{answer:.3},\
             \"bare_us\":{bare:.3},\"path\":{},\"proof_bytes\":{}}}",
            proof.path.len(),
            proof.text().len()
        )
    }
}

/// How long it takes, in the middle of many times; what it works on is made before, and what it
/// says must be true.
fn median_us<T>(make: impl Fn() -> T, work: impl Fn(T) -> bool) -> Result<f64, String> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let made = make();
        let begin = Instant::now();
        let right = work(black_box(made));
        times.push(begin.elapsed());
        if !black_box(right) {
            return Err("what was measured failed".to_owned());
        }
    }
    times.sort();
    Ok(times[ROUNDS / 2].as_secs_f64() * 1e6)
}

/// What the replica had given to its gateway for this response.
fn proven(response: &ReceivedResponse) -> Result<Proven, Box<dyn Error>> {
    let field = |name: &str| {
        let found = response.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let encoded = field("quorate-proof").ok_or("the response has no proof")?;
    let proof = String::from_utf8(BASE64.decode(encoded.trim_matches(':'))?)?;
    let index = TlogProof::parse(&proof)?.index;
    let own = |name: &str| OWN.iter().chain(&["quorate-"]).any(|own| name.starts_with(own));
    let fields =
        response.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    Ok(Proven {
        response: Response {
            status: response.status,
            fields: fields.filter(|(name, _)| !own(name)).collect(),
            body: response.body.clone(),
        },
        // Beside the index their length alone matters.
        facts: EntryFacts {
            index,
            epoch: Epoch(0),
            time: UnixMillis(1_763_658_123_456),
            state: Digest([7; 32]),
            salt: Salt([7; 16]),
        },
        proof,
    })
}
