//! One fixed value of every type with a wire form: what the conformance hashes are of, and where
//! fuzzing starts.

use super::wire;
use bytes::Bytes;
use quorate_types::{
    Asked, Batch, Chain, ClientSignature, Committee, Cosignature, Digest, EntryFacts, Epoch,
    Exchange, FaultModel, Head, Index, Item, LogItem, Opening, Outcome, Proven, PublicKey, Rejoin,
    RejoinReport, ReplicaId, Report, Request, Response, Salt, Signature, Slot, StableCertificate,
    StateRecord, UnixMillis, View, Wire,
};
use std::{fmt::Debug, sync::Arc};

/// A client's signature.
pub fn client_signature() -> ClientSignature {
    ClientSignature {
        key: PublicKey([0xc1; 32]),
        params: "(\"@method\");created=1763658123;alg=\"ed25519\"".into(),
        signature: Signature([0xc2; 64]),
    }
}

/// A signed request with a body.
pub fn request() -> Request {
    Request {
        method: "POST".into(),
        path: "/orders/a%20b".into(),
        query: "?x=1".into(),
        fields: vec![
            ("content-type".into(), "application/json".into()),
            ("idempotency-key".into(), "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"".into()),
        ],
        body: Bytes::from_static(b"{\"item\":7}"),
        salt: Salt([0x5a; 16]),
        signature: Some(client_signature()),
    }
}

fn response() -> Response {
    Response::new(201).with_field("location", "/orders/42").with_body("text/plain", "made\n")
}

/// A report.
pub fn report() -> RejoinReport {
    RejoinReport {
        reporter: ReplicaId(3),
        executed: Slot(4096),
        view: View(7),
        stable: Some(Arc::new(certificate())),
        signature: Signature([0xe1; 64]),
    }
}

/// A rejoin with two reports.
pub fn rejoin() -> Rejoin {
    Rejoin { replica: ReplicaId(2), nonce: Digest([0xe0; 32]), reports: vec![report(), report()] }
}

/// A head.
pub fn head() -> Head {
    Head { size: 618, root: Digest([0x4e; 32]) }
}

fn cosignature(replica: u16) -> Cosignature {
    Cosignature { replica: ReplicaId(replica), signature: Signature([0xc5; 64]) }
}

/// A state record.
pub fn record() -> StateRecord {
    StateRecord {
        slot: Slot(300),
        next_index: Index(618),
        epoch: Epoch(0),
        time: UnixMillis(1_763_658_123_456),
        service: Digest([1; 32]),
        replay: Digest([2; 32]),
        engine: Digest([3; 32]),
    }
}

/// A certificate of three.
pub fn certificate() -> StableCertificate {
    StableCertificate {
        head: head(),
        cosignatures: vec![cosignature(0), cosignature(1), cosignature(3)],
        last_entry: "quorate-mark/1\nindex 617\n".into(),
        path: vec![Digest([7; 32]), Digest([8; 32])],
        record: record(),
    }
}

fn facts() -> EntryFacts {
    EntryFacts {
        index: Index(617),
        epoch: Epoch(0),
        time: UnixMillis(1_763_658_123_456),
        state: Digest([0x57; 32]),
        salt: Salt([0x5a; 16]),
    }
}

fn proven() -> Proven {
    Proven { response: response(), facts: facts(), proof: "c2sp.org/tlog-proof@v1\n".into() }
}

/// What a replica says of its copy's answers.
pub fn copies_report(reporter: u16) -> Report {
    let answers = vec![Some(Digest([9; 32])), None];
    let (reporter, slot) = (ReplicaId(reporter), Slot(0x0102_0304));
    Report { reporter, slot, answers, signature: Signature([0xcd; 64]) }
}

/// Reports to be ordered.
pub fn outcome() -> Outcome {
    Outcome { slot: Slot(0x0102_0304), reports: vec![copies_report(0), copies_report(1)] }
}

fn opening() -> Opening {
    Opening {
        slot: Slot(17),
        service: Digest([1; 32]),
        table: Digest([2; 32]),
        engine: Digest([3; 32]),
    }
}

fn exchange() -> Exchange {
    Exchange { request: Arc::new(request()), response: response() }
}

fn asked() -> Asked {
    Asked { request: Arc::new(request()), since: Index(0x0102_0304) }
}

/// A batch of a request and a rejoin.
pub fn batch() -> Batch {
    Batch {
        time: UnixMillis(1_763_658_123_456),
        items: vec![Item::Request(asked()), Item::Rejoin(rejoin())],
    }
}

/// Every type's sample in wire form, by name, in the order of `DECODERS`.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let committee = Committee::new(7, FaultModel::Hybrid).unwrap();
    let (entry, exchange_of) = ("quorate-exchange/1\n".into(), Some(exchange()));
    let item = LogItem { entry, exchange: exchange_of, opening: Some(opening()) };
    vec![
        ("Asked", sample(asked())),
        ("Batch", sample(batch())),
        ("Chain", sample(Chain::parse("5f2c9a17d0e84b63").unwrap())),
        ("ClientSignature", sample(client_signature())),
        ("Committee", sample(committee)),
        ("Cosignature", sample(cosignature(0x0102))),
        ("Digest", sample(Digest(std::array::from_fn(|i| i.to_le_bytes()[0])))),
        ("EntryFacts", sample(facts())),
        ("Epoch", sample(Epoch(0x0102_0304_0506_0708))),
        ("Exchange", sample(exchange())),
        ("FaultModel", sample(FaultModel::Hybrid)),
        ("Head", sample(head())),
        ("Index", sample(Index(0x0102_0304_0506_0708))),
        ("Item", sample(Item::Rejoin(rejoin()))),
        ("LogItem", sample(item)),
        ("Opening", sample(opening())),
        ("Outcome", sample(outcome())),
        ("Proven", sample(proven())),
        ("PublicKey", sample(PublicKey(std::array::from_fn(|i| i.to_le_bytes()[0])))),
        ("Rejoin", sample(rejoin())),
        ("RejoinReport", sample(report())),
        ("ReplicaId", sample(ReplicaId(0x0102))),
        ("Report", sample(copies_report(0x0102))),
        ("Request", sample(request())),
        ("Response", sample(response())),
        ("Salt", sample(Salt(std::array::from_fn(|i| i.to_le_bytes()[0])))),
        ("Signature", sample(Signature(std::array::from_fn(|i| i.to_le_bytes()[0])))),
        ("Slot", sample(Slot(0x0102_0304_0506_0708))),
        ("StableCertificate", sample(certificate())),
        ("StateRecord", sample(record())),
        ("UnixMillis", sample(UnixMillis(0x0102_0304_0506_0708))),
        ("View", sample(View(0x0102_0304_0506_0708))),
    ]
}

/// The bytes of a value that decode to it again.
fn sample<T: Wire + Debug + PartialEq>(value: T) -> Vec<u8> {
    let bytes = value.to_wire();
    assert_eq!(wire::<T>(&bytes), Some(value));
    bytes
}
