//! Tests of the stages, one file a stage; whole clusters run in the simulator.

mod admission;
mod at_most_once;
mod batching;
mod certifying;
mod demanding;
mod outcomes;
mod rejoining;
mod repeating;
mod signing;
mod transfer;

use crate::{
    Config, Limits, Rules,
    admit::Admission,
    execute::{Executed, Execution},
    order::Ordered,
    record::{Recorded, Recorder},
};
use bytes::Bytes;
use quorate_crypto::{Cosigner, Domain, MacKeyring, Verifier};
use quorate_proof::{Coverage, Frontier, Origin, Policy, leaf_hash};
use quorate_service::Kv;
use quorate_types::{
    Asked, Batch, Chain, ClientSignature, Committee, Digest, FaultModel, Index, Item, LogItem,
    PublicKey, ReplicaId, Request, Salt, Signature, UnixMillis,
};
use std::sync::Arc;

const GENESIS: UnixMillis = UnixMillis(1_700_000_000_000);

fn committee() -> Committee {
    Committee::new(4, FaultModel::Bft).unwrap()
}

fn keyring() -> MacKeyring {
    MacKeyring::new(7)
}

fn policy() -> Policy {
    let chain = Chain::parse("0123456789abcdef").unwrap();
    let origin = Origin { name: "test.localhost".to_owned(), chain, model: FaultModel::Bft };
    keyring().policy(&origin, committee()).unwrap()
}

fn verifier() -> Verifier {
    Verifier::mac(committee(), keyring(), policy())
}

fn cosigner(replica: u16) -> Cosigner {
    Cosigner::mac(keyring(), ReplicaId(replica))
}

fn config() -> Config {
    Config {
        me: ReplicaId(0),
        committee: committee(),
        domain: Domain::new(policy().origin_text()),
        chain: policy().origin().chain,
        policy: policy().digest(),
        genesis: GENESIS,
        coverage: Coverage::default(),
        copies: false,
        window: 16,
        limits: Limits { replay_window: 8, replay_signed_max: 2, ..Limits::default() },
    }
}

fn admission() -> Admission {
    Admission::new(&config())
}

/// A request that every test may order; its salt and key follow from `number`.
fn put(number: u8, key: &str, value: &str) -> Request {
    Request {
        method: "PUT".to_owned(),
        path: format!("/kv/{key}"),
        query: "?".to_owned(),
        fields: vec![("idempotency-key".to_owned(), format!("\"key-number-{number:016}\""))],
        body: Bytes::from(value.to_owned()),
        salt: Salt([number; 16]),
        signature: None,
    }
}

/// The same, signed by a client whose signature nobody checks here.
fn signed(number: u8, created_s: u64) -> Request {
    let key = keyring().client_key(1);
    let params = quorate_proof::signature_params(created_s, &key);
    let signature = Signature([0; 64]);
    Request { signature: Some(ClientSignature { key, params, signature }), ..put(number, "s", "v") }
}

fn execution() -> Execution {
    Execution::genesis(Box::new(Kv), Rules::from(&config()))
}

/// As a gateway takes it in that knows all there is.
fn item(request: Request) -> Item {
    Item::Request(Asked { request: Arc::new(request), since: Index(u64::MAX) })
}

/// The next slot, with these requests, `after_ms` after genesis.
fn slot(execution: &mut Execution, after_ms: u64, requests: &[Request]) -> Executed {
    let items = requests.iter().map(|request| item(request.clone()));
    let batch = Batch { time: UnixMillis(GENESIS.0 + after_ms), items: items.collect() };
    let next = execution.record().slot.next();
    execution.execute(Ordered::new(next, Some(Arc::new(batch))))
}

/// A log that begins with the genesis entry.
fn recorder(execution: &Execution) -> (Recorder, LogItem) {
    let entry = execution.genesis_entry().text();
    let genesis = LogItem { entry, exchange: None, opening: None };
    let mut frontier = Frontier::new();
    frontier.push(leaf_hash(genesis.entry.as_bytes()));
    (Recorder::new(frontier), genesis)
}

/// A log of so many slots with two requests each, with the last slot as it was recorded.
fn written(slots: u8) -> (Vec<LogItem>, Recorded, Execution) {
    let mut execution = execution();
    let (mut recorder, genesis) = recorder(&execution);
    let mut log = vec![genesis];
    let mut last = None;
    for n in 0..slots {
        let requests = [put(2 * n, "a", "1"), put(2 * n + 1, "b", "2")];
        let recorded = recorder.record(slot(&mut execution, 10 + u64::from(n), &requests));
        log.extend(recorded.items().iter().cloned());
        last = Some(recorded);
    }
    (log, last.unwrap(), execution)
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn stranger() -> PublicKey {
    keyring().client_key(99)
}
