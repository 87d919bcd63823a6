//! A plain model of what execution must do: the key-value service, and at most once. It executes a
//! log entry by entry and says what each must answer, without the code under test.

use crate::{
    cluster::Tuning,
    violation::{Check, Violation},
};
use borsh::BorshSerialize as _;
use bytes::Bytes;
use quorate_proof::{Entry, created_s};
use quorate_types::{
    ClientSignature, Index, LogItem, PublicKey, Request, Response, Salt, UnixMillis,
};
use std::collections::BTreeMap;

/// How far a signature's time may lie from the agreed one, in seconds.
const SIGNATURE_AGE_S_MAX: u64 = 300;

/// What answers of copies may be, beside the right one. None may be anything else where the service
/// runs inside the replicas, or f copies are bad at most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Leeway {
    /// Too few copies may agree.
    pub voids: bool,
    /// So many may agree on something wrong.
    pub wrong: bool,
}

/// How a call ended on whose answer the copies did not agree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Void {
    /// It was executed.
    Disagree,
    /// It counts as not executed.
    Silent,
}

impl Void {
    /// Whether a response says so.
    #[must_use]
    pub fn of(response: &Response) -> Option<Self> {
        let says = |code: &[u8]| response.body.windows(code.len()).any(|window| window == code);
        match response.status {
            502 if says(b"\"copies-disagree\"") => Some(Self::Disagree),
            502 if says(b"\"copies-silent\"") => Some(Self::Silent),
            _ => None,
        }
    }
}

/// What an entry must answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// The status.
    pub status: u16,
    /// The content, where the model words it.
    pub body: Option<Bytes>,
    /// Whether the service executed the request, and did not only refuse it.
    pub executed: bool,
}

/// Under what a request is remembered.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Name {
    Signed(PublicKey, String),
    Credentials(String, String),
    Anonymous(String),
    Salt(Salt),
}

impl Name {
    fn of(request: &Request) -> Self {
        let key = request.field("idempotency-key").map(str::to_owned);
        match (key, &request.signature, request.field("authorization")) {
            (None, ..) => Self::Salt(request.salt),
            (Some(key), Some(signature), _) => Self::Signed(signature.key, key),
            (Some(key), None, Some(credentials)) => Self::Credentials(credentials.to_owned(), key),
            (Some(key), None, None) => Self::Anonymous(key),
        }
    }
}

/// What was asked, whoever took it in and however often it was signed.
#[must_use]
pub fn content(request: &Request) -> Vec<u8> {
    let signer = request.signature.as_ref().map(|signature| signature.key);
    // The wire form of the request without salt and signature, which is not made for it.
    let Request { method, path, query, fields, body, .. } = request;
    let (salt, unsigned) = (Salt([0; 16]), None::<ClientSignature>);
    let mut bytes = Vec::with_capacity(256 + body.len());
    // Appending to a Vec cannot fail; see `Wire::to_wire`.
    let _ = (signer, method, path, query, fields, body, salt, unsigned).serialize(&mut bytes);
    bytes
}

#[derive(Clone, Debug)]
struct Seen {
    index: Index,
    content: Vec<u8>,
    signed: bool,
}

/// The state after some entries.
#[derive(Debug)]
pub struct Model {
    tuning: Tuning,
    leeway: Leeway,
    store: BTreeMap<String, Bytes>,
    seen: BTreeMap<Name, Seen>,
    time: UnixMillis,
}

impl Model {
    /// The state before the first entry.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        let (store, seen) = (BTreeMap::new(), BTreeMap::new());
        Self { tuning, leeway: Leeway::default(), store, seen, time: UnixMillis(0) }
    }

    /// Bears with so much from now on.
    pub fn bear(&mut self, leeway: Leeway) {
        self.leeway = leeway;
    }

    /// What the next entry must answer; `None` if it answers no request.
    ///
    /// # Errors
    /// Why it may not stand in the log.
    pub fn next(&mut self, item: &LogItem) -> Result<Option<Expected>, Violation> {
        let entry = Entry::parse(&item.entry);
        let entry = entry.map_err(|error| Check::Execution.broken(error.to_string()))?;
        if entry.time != self.time {
            // Another slot begins; what lies before the window was forgotten with the one before.
            self.time = entry.time;
            let oldest = entry.index.0.saturating_sub(self.tuning.replay_window);
            self.seen.retain(|_, seen| seen.signed || seen.index.0 >= oldest);
        }
        let Some(exchange) = &item.exchange else { return Ok(None) };
        let (request, index) = (&exchange.request, entry.index);
        let asked = content(request);
        let mut name = Name::of(request);
        let first = self.seen.get(&name).cloned();
        let reused = first.as_ref().is_some_and(|first| first.content != asked);
        let late = first.is_none() && self.is_late(request);
        if reused || late {
            name = Name::Salt(request.salt);
        }
        let seen = self.seen.get(&name);
        if let Some(seen) = seen.filter(|seen| seen.content == asked) {
            let reason = format!("it was answered before, at entry {}", seen.index);
            return Err(Check::AtMostOnce.broken(reason));
        }
        let unseen = seen.is_none();
        let signed = request.signature.is_some();
        let refused = match (reused, late) {
            (true, _) => Some(422),
            (_, true) => Some(401),
            _ => (signed && self.is_full()).then_some(503),
        };
        if unseen && refused != Some(503) {
            let signed = signed && refused.is_none();
            self.seen.insert(name, Seen { index, content: asked, signed });
        }
        Ok(Some(match refused {
            Some(status) => Expected { status, body: None, executed: false },
            None => self.called(request, &exchange.response)?,
        }))
    }

    fn is_late(&self, request: &Request) -> bool {
        let created = request.signature.as_ref().map(|signature| created_s(signature).unwrap_or(0));
        created.is_some_and(|s| s.abs_diff(self.time.seconds()) > SIGNATURE_AGE_S_MAX)
    }

    /// No run is long enough for a signed request to be forgotten.
    fn is_full(&self) -> bool {
        self.seen.values().filter(|seen| seen.signed).count() >= self.tuning.replay_signed_max
    }

    /// The service, wherever it runs. What its copies came to counts as executed, unless they were
    /// silent.
    fn called(&mut self, request: &Request, response: &Response) -> Result<Expected, Violation> {
        let any = Expected { status: response.status, body: None, executed: true };
        match Void::of(response) {
            Some(void) if !self.leeway.voids => {
                let reason = format!("{void:?}, though no more than f copies are bad");
                Err(Check::Copies.broken(reason))
            }
            Some(Void::Silent) => Ok(any),
            Some(Void::Disagree) => {
                self.serve(request, response);
                Ok(any)
            }
            None => {
                let expected = self.serve(request, response);
                Ok(if self.leeway.wrong { any } else { expected })
            }
        }
    }

    /// The service. How it words its problems is its own affair, and so is what a liar asks of it
    /// that no client would.
    fn serve(&mut self, request: &Request, response: &Response) -> Expected {
        let (path, cas) = match request.path.strip_suffix("/cas") {
            Some(path) => (path, true),
            None => (&*request.path, false),
        };
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric());
        let known = path.strip_prefix("/kv/").is_some_and(|name| !name.is_empty() && plain(name));
        let key = path.to_owned();
        let (status, body) = match (request.method.as_str(), cas) {
            _ if !known => (response.status, None),
            ("POST", true) => match (set_of(&request.body), self.store.get(path)) {
                (None, _) => (400, None),
                (Some(_), Some(_)) => (409, None),
                (Some(set), None) => {
                    self.store.insert(key, set);
                    (200, None)
                }
            },
            ("PUT", false) => match self.store.insert(key, request.body.clone()) {
                Some(_) => (204, Some(Bytes::new())),
                None => (201, Some(Bytes::new())),
            },
            ("DELETE", false) => match self.store.remove(path) {
                Some(_) => (204, Some(Bytes::new())),
                None => (404, None),
            },
            ("GET", false) => match self.store.get(path) {
                Some(value) => (200, Some(value.clone())),
                None => (404, None),
            },
            _ => (response.status, None),
        };
        Expected { status, body, executed: true }
    }
}

/// The value in the simulator's own `cas` bodies, `{"expect":null,"set":"..."}`; `None` for a body
/// that a liar made up.
fn set_of(body: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.strip_prefix("{\"expect\":null,\"set\":\"")?.strip_suffix("\"}")?;
    let string = !value.contains(|c: char| c == '"' || c == '\\' || c.is_control());
    string.then(|| Bytes::from(value.to_owned()))
}
