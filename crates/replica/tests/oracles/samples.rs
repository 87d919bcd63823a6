//! A message of every kind, and a record of every kind: where fuzzing starts.

use super::{Peer, Record};
use bytes::Bytes;
use quorate_protocol::pbft::{
    self, Body, Message as Pbft,
    message::{
        Ballot, Decided, Fetch, Header, NewView, Payload, PrePrepare, Prepared, Stage, Status,
        ViewChange, Vote,
    },
};
use quorate_replica::{
    Message,
    message::{Cosign, Manifest, Page, Progress, StateMap, Sync},
};
use quorate_types::{
    Asked, Batch, Cosignature, Digest, Epoch, Exchange, Head, Index, Item, LogItem, Opening,
    Outcome, Rejoin, RejoinReport, ReplicaId, Report, Request, Response, Salt, Signature, Slot,
    StableCertificate, StateRecord, UnixMillis, View, Wire,
};
use std::sync::Arc;

const SIGNATURE: Signature = Signature([7; 64]);
const DIGEST: Digest = Digest([8; 32]);

fn asked() -> Asked {
    Asked { request: request(), since: Index(3) }
}

fn request() -> Arc<Request> {
    Arc::new(Request {
        method: "PUT".into(),
        path: "/kv/a".into(),
        query: "?".into(),
        fields: vec![("content-type".into(), "text/plain".into())],
        body: Bytes::from_static(b"b"),
        salt: Salt([1; 16]),
        signature: None,
    })
}

fn rejoin() -> Rejoin {
    Rejoin { replica: ReplicaId(2), nonce: DIGEST, reports: vec![report()] }
}

fn report() -> RejoinReport {
    RejoinReport {
        reporter: ReplicaId(1),
        executed: Slot(256),
        view: View(3),
        stable: Some(certificate()),
        signature: SIGNATURE,
    }
}

fn copies_report(reporter: u16) -> Report {
    let answers = vec![Some(DIGEST), None];
    Report { reporter: ReplicaId(reporter), slot: Slot(3), answers, signature: SIGNATURE }
}

fn batch() -> Arc<Batch> {
    let reports = (0..3).map(copies_report).collect();
    let outcome = Outcome { slot: Slot(3), reports };
    let items = vec![Item::Request(asked()), Item::Rejoin(rejoin()), Item::Outcome(outcome)];
    Arc::new(Batch { time: UnixMillis(1_763_658_123_456), items })
}

fn certificate() -> Arc<StableCertificate> {
    Arc::new(StableCertificate {
        head: Head { size: 3, root: DIGEST },
        cosignatures: vec![Cosignature { replica: ReplicaId(0), signature: SIGNATURE }],
        last_entry: "quorate-mark/1\nindex 2\n".into(),
        path: vec![DIGEST],
        record: StateRecord {
            slot: Slot(2),
            next_index: Index(3),
            epoch: Epoch(0),
            time: UnixMillis(1_763_658_123_456),
            service: DIGEST,
            replay: DIGEST,
            engine: DIGEST,
        },
    })
}

fn header() -> Header {
    Header { view: View(1), slot: Slot(3), digest: DIGEST }
}

fn ballot(signer: u16) -> Ballot {
    Ballot { signer: ReplicaId(signer), signature: SIGNATURE }
}

fn vote() -> Vote {
    Vote { header: header(), signer: ReplicaId(1), signature: SIGNATURE }
}

fn prepared() -> Prepared {
    Prepared { header: header(), proposal: ballot(1), prepares: vec![ballot(0), ballot(2)] }
}

fn view_change() -> ViewChange {
    ViewChange {
        view: View(2),
        stable: Slot(2),
        certificate: Some(certificate()),
        prepared: vec![prepared()],
        signer: ReplicaId(3),
        signature: SIGNATURE,
    }
}

fn new_view() -> NewView {
    NewView {
        view: View(2),
        view_changes: vec![view_change()],
        signer: ReplicaId(2),
        signature: SIGNATURE,
    }
}

fn pre_prepare() -> PrePrepare<Batch> {
    PrePrepare { vote: vote(), command: Some(batch()) }
}

fn payload() -> Payload<Batch> {
    Payload { slot: Slot(3), command: batch(), digest: DIGEST }
}

fn engine() -> Vec<Body<Batch>> {
    let status = Status {
        view: View(1),
        active: true,
        suspects: false,
        pull: true,
        round: 3,
        stable: Slot(2),
        committed: Slot(2),
        stages: vec![Stage::Nothing, Stage::Proposed, Stage::Prepared, Stage::Decided],
    };
    let commits = vec![ballot(0), ballot(1), ballot(2)];
    vec![
        Body::PrePrepare(pre_prepare()),
        Body::Prepare(vote()),
        Body::Commit(vote()),
        Body::Decided(Decided { header: header(), command: None, commits }),
        Body::ViewChange(view_change()),
        Body::NewView(new_view()),
        Body::Status(status),
        Body::Fetch(Fetch { slot: Slot(3), digest: DIGEST }),
        Body::Payload(payload()),
        Body::Stable(certificate()),
    ]
}

fn sync() -> Vec<Sync> {
    let exchange = Exchange { request: request(), response: Response::new(201) };
    let (entry, exchange) = ("quorate-exchange/1\n".into(), Some(exchange));
    let opening = Opening { slot: Slot(2), service: DIGEST, table: DIGEST, engine: DIGEST };
    let item = LogItem { entry, exchange, opening: Some(opening) };
    let (slot, map, from) = (Slot(2), StateMap::Replay, quorate_service::Cursor::START);
    vec![
        Sync::AskCertificate,
        Sync::Certificate(certificate()),
        Sync::AskPage { from: Index(1), size: 3 },
        Sync::Page(Page { from: Index(1), size: 3, items: vec![item], path: vec![DIGEST] }),
        Sync::AskManifest,
        Sync::NoSnapshot,
        Sync::Manifest(Manifest { certificate: certificate() }),
        Sync::AskState { slot, map, from },
        Sync::State {
            slot,
            map,
            from,
            page: Box::new(quorate_service::Page {
                levels: 3,
                before: vec![(Bytes::from_static(b"a"), DIGEST)],
                items: vec![(Bytes::from_static(b"k"), Bytes::from_static(b"v"))],
                after: vec![(Bytes::from_static(b"z"), DIGEST)],
                path: vec![DIGEST],
            }),
        },
    ]
}

/// The wire forms of messages.
pub fn messages() -> Vec<Vec<u8>> {
    let cosign = Cosign {
        slot: Slot(2),
        head: Head { size: 3, root: DIGEST },
        time: UnixMillis(1_763_658_123_456),
        signature: SIGNATURE,
    };
    let own = [
        Peer::Forward(vec![asked()]),
        Peer::Cosign(cosign),
        Peer::Progress(Progress { executed: Slot(3), stable: Slot(2) }),
        Peer::RejoinAsk { nonce: DIGEST },
        Peer::RejoinReport { nonce: DIGEST, report: Box::new(report()) },
        Peer::RejoinOffer(rejoin()),
        Peer::Report(copies_report(1)),
        Peer::Told(vec![copies_report(0), copies_report(3)]),
        Peer::AskAnswer { slot: Slot(3), digest: DIGEST },
        Peer::Answer { slot: Slot(3), response: Box::new(Response::new(201)) },
    ];
    let engine = engine().into_iter().map(|body| Message::Engine(Pbft { instance: 0, body }));
    let sync = sync().into_iter().map(Peer::Sync);
    own.into_iter().chain(engine).chain(sync).map(|message| message.to_wire()).collect()
}

/// The wire forms of records.
pub fn records() -> Vec<Vec<u8>> {
    let records = [
        Record::Engine(pbft::Record::Proposal(pre_prepare())),
        Record::Engine(pbft::Record::Prepared(prepared())),
        Record::Engine(pbft::Record::Decided(header(), vec![ballot(0)])),
        Record::Engine(pbft::Record::Payload(payload())),
        Record::Engine(pbft::Record::Stable(certificate())),
        Record::Engine(pbft::Record::ViewChange(view_change())),
        Record::Engine(pbft::Record::NewView(new_view())),
        Record::Report { report: copies_report(1), answers: vec![Some(Response::new(201)), None] },
        Record::Settled {
            slot: Slot(3),
            answers: vec![None, Some(Response::new(201))],
            reports: vec![copies_report(0), copies_report(1)],
        },
    ];
    records.iter().map(Wire::to_wire).collect()
}
