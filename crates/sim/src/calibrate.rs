//! What operations cost on this machine, now, through the real crates.
//!
//! Nothing that runs by a plan calls it, and the clock is the caller's: there is none in here.

use crate::{
    Plan,
    cost::{Operation, Row},
    run,
};
use quorate_crypto::{Claim, Domain, MacKeyring, Role, SecretKey, Verifier, VoteSigner};
use quorate_proof::{
    Coverage, Origin, SignatureCheck, Strict, exchange_base, exchange_digest, sha256, with_defaults,
};
use quorate_service::{Context, Kv, Service, State};
use quorate_types::{
    Asked, Batch, Chain, Committee, Digest, FaultModel, Index, Item, PublicKey, ReplicaId, Request,
    Salt, Signature, UnixMillis, Wire,
};
use std::{hint::black_box, sync::Arc, time::Duration};

/// Measured so often, of which the fastest counts: what else the machine does only adds.
const ROUNDS: u32 = 7;

/// Signatures in a round.
const SIGNATURES: usize = 256;

/// As in a large quorum, or a batch of signed requests.
const BATCH: usize = 64;

/// Requests in the state before those that are measured.
const KEYS: usize = 10_000;

/// Requests in a batch.
const REQUESTS: usize = 200;

/// Measures every operation, in the table's order, by a clock that says how long ago something was,
/// no matter what. Takes a few seconds.
#[must_use]
pub fn calibrate(clock: impl Fn() -> Duration) -> Vec<Row> {
    let watch = Watch(&clock);
    let signatures = Signatures::new();
    let batch = Batch { time: UnixMillis(1), items: (0..REQUESTS).map(item).collect() };
    let bytes = batch.to_wire();
    let long = vec![7; 1 << 16];
    let hash = |bytes: &[u8], times: u64| {
        let hash = || (0..times).fold(0, |sum, _| sum ^ sha256(black_box(bytes)).0[0]);
        watch.fastest(|| assert!(black_box(u64::from(hash())) < 256)) / times
    };
    let call = hash(&[0; 32], 1_000);
    let read = || black_box(Batch::from_wire(&bytes, bytes.len()).is_ok());
    let row = |operation| {
        let picos = match operation {
            Operation::Sign => signatures.sign(&watch),
            Operation::Verify => signatures.verify(&watch, 1),
            Operation::VerifyBatched => signatures.verify(&watch, BATCH),
            Operation::VerifyStrict => signatures.verify_strict(&watch),
            Operation::HashCall => call,
            Operation::HashByte => hash(&long, 10).saturating_sub(call) / long.len() as u64,
            Operation::EncodeByte => {
                watch.fastest(|| drop(black_box(batch.to_wire()))) / bytes.len() as u64
            }
            Operation::DecodeByte => watch.fastest(|| assert!(read())) / bytes.len() as u64,
            Operation::Step => step(&watch),
            Operation::Execute => execute(&watch, &batch),
        };
        Row { operation, picos }
    };
    Operation::ALL.map(row).to_vec()
}

/// The caller's clock.
struct Watch<'a>(&'a dyn Fn() -> Duration);

impl Watch<'_> {
    /// How long something takes, in thousandths of a nanosecond.
    fn time(&self, something: impl FnOnce()) -> u64 {
        let begin = (self.0)();
        something();
        let took = (self.0)().saturating_sub(begin);
        u64::try_from(took.as_nanos() * 1_000).unwrap_or(u64::MAX)
    }

    /// The fastest of several rounds.
    fn fastest(&self, mut round: impl FnMut()) -> u64 {
        (0..ROUNDS).map(|_| self.time(&mut round)).min().unwrap_or(0)
    }
}

/// Votes of four replicas, each another one.
struct Signatures {
    committee: Committee,
    keys: Vec<PublicKey>,
    signers: Vec<VoteSigner>,
    signed: Vec<(ReplicaId, Vec<u8>, Signature)>,
}

impl Signatures {
    fn new() -> Self {
        let committee = Committee::new(4, FaultModel::Bft).expect("four replicas are a committee");
        let secret = |replica: ReplicaId| {
            let seed = sha256(&replica.0.to_be_bytes()).0;
            SecretKey::from_seed(Role::Vote, &seed)
        };
        let keys = committee.replicas().map(|replica| secret(replica).public()).collect();
        let signer = |replica| VoteSigner::Ed25519(Box::new(secret(replica)));
        let signers: Vec<VoteSigner> = committee.replicas().map(signer).collect();
        let domain = Domain::new("calibrate.localhost/quorate/0123456789abcdef/bft");
        let vote = |number: usize| {
            let bytes = domain.statement("quorate-pbft-commit/1", &(number as u64, [7; 44]));
            let at = number % signers.len();
            let signature = signers[at].sign(&bytes);
            (ReplicaId(at as u16), bytes, signature)
        };
        let signed = (0..SIGNATURES).map(vote).collect();
        Self { committee, keys, signers, signed }
    }

    fn sign(&self, watch: &Watch<'_>) -> u64 {
        let sign = || {
            for (signer, bytes, _) in &self.signed {
                black_box(self.signers[signer.position()].sign(bytes));
            }
        };
        watch.fastest(sign) / SIGNATURES as u64
    }

    /// By ZIP-215, so many at once. The verifier remembers what it has seen, so each round has its
    /// own.
    fn verify(&self, watch: &Watch<'_>, together: usize) -> u64 {
        let claim = |(signer, bytes, signature): &(ReplicaId, Vec<u8>, Signature)| Claim::Vote {
            signer: *signer,
            bytes: bytes.clone(),
            signature: *signature,
        };
        let claims: Vec<Claim> = self.signed.iter().map(claim).collect();
        let mut verifiers: Vec<Verifier> = (0..ROUNDS).map(|_| self.verifier()).collect();
        let verify = || {
            let verifier = verifiers.pop().expect("one verifier for each round");
            assert!(claims.chunks(together).all(|claims| verifier.check(claims)));
        };
        watch.fastest(verify) / SIGNATURES as u64
    }

    fn verify_strict(&self, watch: &Watch<'_>) -> u64 {
        let verify = || {
            for (signer, bytes, signature) in &self.signed {
                assert!(Strict.check(&self.keys[signer.position()], bytes, signature));
            }
        };
        watch.fastest(verify) / SIGNATURES as u64
    }

    fn verifier(&self) -> Verifier {
        let chain = Chain::parse("0123456789abcdef").expect("sixteen digits");
        let name = "calibrate.localhost".to_owned();
        let origin = Origin { name, chain, model: FaultModel::Bft };
        let policy = MacKeyring::new(0).policy(&origin, self.committee).expect("a policy of keys");
        Verifier::new(self.committee, &self.keys, policy).expect("four different keys")
    }
}

/// A write of 512 bytes.
fn item(number: usize) -> Item {
    let field = |name: &str, value: String| (name.to_owned(), value);
    let request = Arc::new(Request {
        method: "PUT".to_owned(),
        path: format!("/kv/key-{number:016}"),
        query: "?".to_owned(),
        fields: vec![
            field("content-type", "application/octet-stream".to_owned()),
            field("idempotency-key", format!("\"calibrate-{number:016}\"")),
        ],
        body: vec![7; 512].into(),
        salt: Salt([7; 16]),
        signature: None,
    });
    Item::Request(Asked { request, since: Index(0) })
}

/// A write to a state that holds something, its exchange, and its share of the slot's root.
fn execute(watch: &Watch<'_>, batch: &Batch) -> u64 {
    let (mut state, coverage, authority) = (State::new(), Coverage::default(), "calibrate");
    for number in 0..KEYS {
        state.put(format!("other-{number}"), vec![7; 512]);
    }
    black_box(state.root());
    let mut next = 0;
    let write = || {
        for item in &batch.items {
            let Item::Request(Asked { request, .. }) = item else { continue };
            next += 1;
            let (now, seed) = (UnixMillis(next), Digest([7; 32]));
            let mut context = Context::new(now, Index(next), seed, authority, &mut state);
            let response = with_defaults(Kv.handle(&mut context, request), &coverage);
            let base = exchange_base(authority, request, &response, &coverage);
            black_box(exchange_digest(&request.salt, &base.expect("a sound exchange")));
        }
        black_box(state.root());
    };
    watch.fastest(write) / batch.items.len() as u64
}

/// One event of a calm run: a little more than an input, since clients and checks are in it.
fn step(watch: &Watch<'_>) -> u64 {
    let mut least = u64::MAX;
    for seed in 0..ROUNDS {
        let plan = Plan::calm(seed.into(), 4);
        let mut events = 0;
        let took = watch.time(|| events = run(plan).events);
        least = least.min(took / events.max(1));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By a clock that goes on by a millisecond whenever somebody looks.
    #[test]
    fn every_operation_takes_some_time() {
        let looks = std::cell::Cell::new(0);
        let rows = calibrate(|| {
            looks.set(looks.get() + 1);
            Duration::from_millis(looks.get())
        });
        assert!(rows.iter().map(|row| row.operation).eq(Operation::ALL));
        rows.iter().for_each(|row| assert!(row.picos > 0, "{row}"));
        let signatures = SIGNATURES as u64;
        assert_eq!(rows[0].picos, 1_000_000_000 / signatures, "one round of all signatures");
    }
}
