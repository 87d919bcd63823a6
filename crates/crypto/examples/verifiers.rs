//! How many signed requests a second four single-threaded verifiers take on, each of which checks
//! every signature, as four replicas would that share nothing.
//!
//! ```text
//! cargo run --release -p quorate-crypto --example verifiers -- 5
//! {"verifiers":4,"one_by_one_per_second":6507,"in_batches_per_second":17806}
//! ```
//!
//! All verifiers have the same requests, and run at once on whatever cores there are. A request
//! counts when each of them has checked it: the base of its signature made, the signature verified
//! by the verifier of production. One by one, and in batches as large as a replica's under load.

use quorate_crypto::{Claim, Claims as _, Domain, MacKeyring, Role, SecretKey, Verifier};
use quorate_proof::{Origin, signature_base, signature_params};
use quorate_types::{Chain, ClientSignature, Committee, FaultModel, Request, Salt, Signature};
use std::{
    error::Error,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

const VERIFIERS: u16 = 4;

/// Requests, each with a signature of its own. A verifier forgets all between two rounds, since it
/// would know them again.
const REQUESTS: u64 = 4_096;

/// Requests in a batch.
const BATCH: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5.0), |text| text.parse())?;
    let duration = Duration::try_from_secs_f64(seconds)?;
    let bench = Bench::new()?;
    let one_by_one = bench.per_second(1, duration)?;
    let in_batches = bench.per_second(BATCH, duration)?;
    println!(
        "{{\"verifiers\":{VERIFIERS},\"one_by_one_per_second\":{one_by_one:.0},\
         \"in_batches_per_second\":{in_batches:.0}}}"
    );
    Ok(())
}

/// What is to be verified, for whom.
struct Bench {
    origin: Origin,
    domain: Domain,
    requests: Vec<Request>,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let chain = Chain::parse("0123456789abcdef")?;
        let name = "dev.localhost".to_owned();
        let origin = Origin { name, chain, model: FaultModel::Bft };
        let domain = Domain::new(&origin.to_string());
        let key = SecretKey::from_seed(Role::Client, &[7; 32]);
        let requests = (0..REQUESTS).map(|number| signed(number, &key, domain.authority()));
        let requests = requests.collect::<Result<_, _>>()?;
        Ok(Self { origin, domain, requests })
    }

    /// Requests a second that all verifiers have checked, so many at once.
    fn per_second(&self, together: usize, duration: Duration) -> Result<f64, Box<dyn Error>> {
        let begin = Barrier::new(VERIFIERS.into());
        let verify = || -> Result<f64, String> {
            begin.wait();
            let (start, mut checked) = (Instant::now(), 0);
            while start.elapsed() < duration {
                let verifier = self.verifier()?;
                for requests in self.requests.chunks(together) {
                    let mut claims: Vec<Claim> = Vec::with_capacity(together);
                    requests.iter().for_each(|it| it.claims(&self.domain, &mut claims));
                    if claims.len() != requests.len() || !verifier.check(&claims) {
                        return Err("a request that was signed does not verify".to_owned());
                    }
                }
                checked += REQUESTS;
            }
            Ok(checked as f64 / start.elapsed().as_secs_f64())
        };
        let rates: Result<Vec<f64>, String> = thread::scope(|scope| {
            let running: Vec<_> = (0..VERIFIERS).map(|_| scope.spawn(verify)).collect();
            let joined = running.into_iter().map(|verifier| {
                verifier.join().unwrap_or_else(|_| Err("a verifier panicked".to_owned()))
            });
            joined.collect()
        });
        Ok(rates?.iter().sum::<f64>() / f64::from(VERIFIERS))
    }

    fn verifier(&self) -> Result<Verifier, String> {
        let four = Committee::new(VERIFIERS, FaultModel::Bft);
        let committee = four.map_err(|error| error.to_string())?;
        let policy = MacKeyring::new(0).policy(&self.origin, committee);
        let policy = policy.map_err(|error| error.to_string())?;
        let keys = committee
            .replicas()
            .map(|replica| SecretKey::from_seed(Role::Vote, &[replica.0 as u8 + 1; 32]).public());
        let keys: Vec<_> = keys.collect();
        Verifier::new(committee, &keys, policy).map_err(|error| error.to_string())
    }
}

/// A write of 512 bytes, signed as `quorate bench --sign` does.
fn signed(number: u64, key: &SecretKey, authority: &str) -> Result<Request, Box<dyn Error>> {
    let field = |name: &str, value: String| (name.to_owned(), value);
    let mut request = Request {
        method: "PUT".to_owned(),
        path: format!("/kv/{number:016}"),
        query: "?".to_owned(),
        fields: vec![
            field("content-type", "application/octet-stream".to_owned()),
            field("idempotency-key", format!("\"{number:032x}\"")),
        ],
        body: vec![b'q'; 512].into(),
        salt: Salt([7; 16]),
        signature: None,
    };
    let params = signature_params(1_700_000_000, &key.public());
    let none = Signature([0; Signature::SIZE]);
    let mut signature = ClientSignature { key: key.public(), params, signature: none };
    let base = signature_base(&request, authority, &signature)?;
    signature.signature = key.sign(base.as_bytes());
    request.signature = Some(signature);
    Ok(request)
}
