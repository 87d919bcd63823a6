//! Four replicas in one place: a map, a log, and keys that cosign every head.

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use quorate_gateway::{
    Backend, Counters, Fetch, Fetched, Gateway, GatewayConfig, Status, Submitted, Timing, codes,
};
use quorate_proof::{
    Coverage, Entry, EntryKind, Frontier, Origin, Policy, checkpoint_text, cosignature_message,
    exchange_base, exchange_digest, flat_policy, head_text, proof_text, with_defaults,
};
use quorate_types::{
    Cosignature, Digest, EntryFacts, Epoch, Head, Index, Proven, PublicKey, Refusal, ReplicaId,
    Request, Response, Signature, UnixMillis,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub(crate) const AUTHORITY: &str = "shop.example";
const NOW: UnixMillis = UnixMillis(1_763_658_123_456);

/// The replica behind the gateway.
#[derive(Clone)]
pub(crate) struct Replicas(Arc<Inner>);

struct Inner {
    policy: Policy,
    coverage: Coverage,
    cosigners: Vec<SigningKey>,
    logs: Vec<SigningKey>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    log: Frontier,
    map: BTreeMap<String, Bytes>,
    requests: Vec<Request>,
    fetched: Vec<Fetch>,
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

impl Replicas {
    pub(crate) fn new(coverage: Coverage) -> Self {
        let keys = |first: u8| (first..first + 4).map(|n| SigningKey::from_bytes(&[n; 32]));
        let (cosigners, logs): (Vec<_>, Vec<_>) = (keys(1).collect(), keys(11).collect());
        let origin = Origin::parse(&format!("{AUTHORITY}/quorate/5f2c9a17d0e84b63/bft")).unwrap();
        let members: Vec<_> = cosigners
            .iter()
            .zip(&logs)
            .enumerate()
            .map(|(n, (cosigner, log))| {
                (format!("org.example/r{n}"), public(cosigner), public(log))
            })
            .collect();
        let policy = Policy::parse(&flat_policy(&origin, &members, 3)).unwrap();
        let mut book = Book::default();
        let genesis = EntryKind::Policy(policy.digest());
        book.log.push(entry(Index(0), genesis).leaf());
        Self(Arc::new(Inner { policy, coverage, cosigners, logs, book: Mutex::new(book) }))
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// All requests that were ordered, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.book.lock().unwrap().requests.clone()
    }

    /// All pages that were asked for, in order.
    pub(crate) fn fetched(&self) -> Vec<Fetch> {
        self.0.book.lock().unwrap().fetched.clone()
    }

    fn order(&self, request: Request) -> Submitted {
        let inner = &*self.0;
        let mut book = inner.book.lock().unwrap();
        let response = with_defaults(execute(&mut book.map, &request), &inner.coverage);
        let base = exchange_base(AUTHORITY, &request, &response, &inner.coverage).unwrap();
        let index = Index(book.log.size());
        let entry = entry(index, EntryKind::Exchange(exchange_digest(&request.salt, &base)));
        let path = book.log.append(&[entry.leaf()]).remove(0);
        let head = Head { size: book.log.size(), root: book.log.root() };
        let facts = EntryFacts {
            index,
            epoch: entry.epoch,
            time: entry.time,
            state: entry.state,
            salt: request.salt,
        };
        book.requests.push(request);
        drop(book);
        let proof = proof_text(index, &path, &inner.checkpoint(&head));
        let timing = Timing { order_us: 1_500, exec_us: 20, sign_us: 300 };
        Submitted { proven: Proven { response, facts, proof }, timing }
    }
}

impl Inner {
    fn checkpoint(&self, head: &Head) -> String {
        let text = head_text(self.policy.origin_text(), head);
        let message = cosignature_message(&text, NOW.seconds());
        let cosignatures: Vec<_> = (0..3)
            .map(|n| Cosignature {
                replica: ReplicaId(n),
                signature: Signature(self.cosigners[usize::from(n)].sign(&message).to_bytes()),
            })
            .collect();
        let log = Signature(self.logs[0].sign(text.as_bytes()).to_bytes());
        checkpoint_text(&self.policy, head, NOW, Some((ReplicaId(0), log)), &cosignatures)
    }
}

fn entry(index: Index, kind: EntryKind) -> Entry {
    Entry { index, epoch: Epoch(0), time: NOW, state: Digest([7; 32]), kind }
}

/// A map of paths, and a few answers that a map would not give.
fn execute(map: &mut BTreeMap<String, Bytes>, request: &Request) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/cookies") => Response::new(200)
            .with_field("set-cookie", "a=1")
            .with_field("set-cookie", "b=2")
            .with_field("x-uncovered", "never sent")
            .with_body("text/plain", "two cookies"),
        ("GET", "/total") => Response::new(200).with_field("x-total", "17"),
        ("GET" | "HEAD", path) => match map.get(path) {
            Some(value) => Response::new(200)
                .with_field("etag", "\"17\"")
                .with_body("application/octet-stream", value.clone()),
            None => Response::problem(404, "not-found", "no value has this key"),
        },
        ("PUT", path) => {
            let old = map.insert(path.to_owned(), request.body.clone());
            Response::new(if old.is_some() { 204 } else { 201 })
        }
        _ => Response::new(200).with_body("text/plain", request.body.clone()),
    }
}

impl Backend for Replicas {
    async fn submit(&self, request: Request) -> Result<Submitted, Refusal> {
        match request.path.as_str() {
            "/never" => std::future::pending().await,
            "/busy" => Err(codes::OVERLOADED.refusal("too many requests wait")),
            "/unsigned" => {
                Err(codes::CLIENT_SIGNATURE_WRONG.refusal("the signature does not verify"))
            }
            "/broken" => {
                let mut submitted = self.order(request);
                let field = ("x-total".to_owned(), "a\nb".to_owned());
                submitted.proven.response.fields.push(field);
                Ok(submitted)
            }
            _ => Ok(self.order(request)),
        }
    }

    async fn fetch(&self, what: Fetch) -> Result<Fetched, Refusal> {
        self.0.book.lock().unwrap().fetched.push(what);
        match what {
            Fetch::Policy => Ok(Fetched {
                content_type: "text/plain; charset=utf-8",
                body: self.0.policy.text().to_owned().into(),
            }),
            Fetch::Exchange(_) => Err(codes::EXCHANGE_RESTRICTED.refusal("not for you")),
            Fetch::Proof(Index(n)) if n > 100 => Err(codes::NOT_FOUND.refusal("no such entry")),
            _ => Ok(Fetched {
                content_type: "application/octet-stream",
                body: Bytes::from_static(b"bytes"),
            }),
        }
    }

    async fn status(&self) -> Status {
        status()
    }
}

pub(crate) fn status() -> Status {
    Status {
        replica: 0,
        replicas: 4,
        origin: format!("{AUTHORITY}/quorate/5f2c9a17d0e84b63/bft"),
        engine: "pbft".to_owned(),
        service: "kv".to_owned(),
        fault_model: "bft".to_owned(),
        development: false,
        ready: true,
        reason: None,
        view: 0,
        primary: 0,
        height: 17,
        lag: 0,
        peers: Vec::new(),
        last_head: None,
        divergent: Vec::new(),
        copy: None,
        answers: None,
        version: "0.1.0".to_owned(),
        operations: None,
    }
}

/// A running gateway; it ends with this value.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) replicas: Replicas,
    pub(crate) counters: Counters,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = GatewayConfig::new(AUTHORITY);
        config.aliases.push(address.to_string());
        change(&mut config);
        let replicas = Replicas::new(config.coverage.clone());
        let gateway = Gateway::new(&config, replicas.clone()).unwrap();
        let counters = gateway.counters();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            gateway.serve(listener, stopped).await;
        });
        Self { address, replicas, counters, stop: Some(stop), served }
    }
}
