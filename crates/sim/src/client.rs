//! Clients: most retry under one key at any gateway, some misbehave, all remember what they were
//! told.

use crate::{cluster::Cluster, keys::ClientSigner, rng::Rng};
use bytes::Bytes;
use quorate_proof::{signature_base, signature_params};
use quorate_types::{ClientSignature, Index, ReplicaId, Request, Response, Salt, Signature, Time};
use std::sync::Arc;

/// What a client asked, and what it was told in the end.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// The request as it was sent first; each gateway draws another salt.
    pub request: Request,
    /// When it was sent first.
    pub called: Time,
    /// When a proven answer came, and which.
    pub returned: Option<Returned>,
    /// How the client behaves.
    pub manner: Manner,
    /// Whether its signature, if any, is right; else the request may never be ordered.
    pub sound: bool,
}

/// A proven answer.
#[derive(Clone, Debug)]
pub struct Returned {
    /// When it came.
    pub at: Time,
    /// The entry.
    pub index: Index,
    /// The salt of the entry's exchange.
    pub salt: Salt,
    /// The response.
    pub response: Response,
}

/// How a client goes about one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// It retries under its key until it is answered.
    Patient,
    /// As before, but it tells each gateway after a while that it waits no longer.
    Restless,
    /// It asks once, and goes away if nothing comes.
    Once,
}

/// Who a client is to replicas.
#[derive(Clone, Debug)]
enum Identity {
    Anonymous,
    Credentials(String),
    Key(Box<ClientSigner>),
}

/// One client: a closed loop over a few keys.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// Requests still to make.
    pub left: usize,
    /// Which operation of the history is under way.
    pub current: Option<usize>,
    /// The gateway that it always asks, where there is one.
    pub pinned: Option<ReplicaId>,
    identity: Identity,
    cluster: Arc<Cluster>,
    /// The last request, and the last salt, to be used a second time.
    last: Option<Request>,
    salt: Salt,
    rng: Rng,
}

/// What a client does with its next request that an honest one would not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Trick {
    /// Another content under the key of the request before.
    ReuseKey,
    /// The request before once more, though it was answered.
    Repeat,
    /// No `Idempotency-Key`.
    NoKey,
    /// A signature that was made an hour ago.
    OldSignature,
    /// A signature of something else.
    WrongSignature,
}

impl Trick {
    /// The name under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReuseKey => "client-reuses-key",
            Self::Repeat => "client-repeats",
            Self::NoKey => "client-without-key",
            Self::OldSignature => "client-signs-in-the-past",
            Self::WrongSignature => "client-signs-wrongly",
        }
    }
}

impl Client {
    /// A client that will make `requests` requests: one in three signs, one has credentials.
    #[must_use]
    pub fn new(number: usize, requests: usize, cluster: Arc<Cluster>, rng: Rng) -> Self {
        let identity = match number % 3 {
            0 => Identity::Key(Box::new(cluster.keys.client(number as u64))),
            1 => Identity::Credentials(format!("Bearer client-{number}")),
            _ => Identity::Anonymous,
        };
        let (last, salt) = (None, Salt([0; 16]));
        let (left, current, pinned) = (requests, None, None);
        Self { number, left, current, pinned, identity, cluster, last, salt, rng }
    }

    /// A client that asks one gateway for one write.
    #[must_use]
    pub fn probe(number: usize, gateway: ReplicaId, cluster: Arc<Cluster>, rng: Rng) -> Self {
        Self { pinned: Some(gateway), ..Self::new(number, 1, cluster, rng) }
    }

    /// The next operation, if any is left, and what is wrong with it.
    pub fn next(&mut self, now: Time) -> Option<(Operation, Option<Trick>)> {
        self.left = self.left.checked_sub(1)?;
        let trick = if self.pinned.is_some() { None } else { self.draw_trick() };
        let mut request = match trick {
            Some(Trick::Repeat) => self.last.clone()?,
            _ => self.draw_request(),
        };
        match (trick, self.last.take()) {
            (Some(Trick::ReuseKey), Some(last)) => request.fields = last.fields,
            (Some(Trick::NoKey), _) => {
                request.fields.retain(|(name, _)| name == "authorization");
                if self.rng.permille(600) {
                    // The same as others ask: an old answer fits.
                    (request.method, request.path) = ("GET".to_owned(), "/kv/k0".to_owned());
                    request.body = Bytes::new();
                }
            }
            _ => {}
        }
        if let Identity::Key(signer) = &self.identity
            && trick != Some(Trick::Repeat)
        {
            let age_s = if trick == Some(Trick::OldSignature) { 3_600 } else { 0 };
            self.sign(&mut request, signer, now, age_s);
            if trick == Some(Trick::WrongSignature) {
                request.body = Bytes::from_static(b"what was not signed");
            }
        }
        if !matches!(trick, Some(Trick::NoKey | Trick::WrongSignature)) {
            self.last = Some(request.clone());
        }
        let manner = match (trick, self.rng.below(10)) {
            (Some(Trick::NoKey | Trick::WrongSignature), _) => Manner::Once,
            (_, 0) if self.pinned.is_none() => Manner::Once,
            (_, 1 | 2) => Manner::Restless,
            _ => Manner::Patient,
        };
        let (client, sound) = (self.number, trick != Some(Trick::WrongSignature));
        Some((Operation { client, request, called: now, returned: None, manner, sound }, trick))
    }

    /// The gateway for the next try.
    pub fn gateway(&mut self, n: u16) -> ReplicaId {
        let any = ReplicaId(u16::try_from(self.rng.below(n.into())).unwrap_or(0));
        self.pinned.unwrap_or(any)
    }

    /// A salt, as the gateway that takes the request would draw it; `true` where it is that of the
    /// try before.
    pub fn salt(&mut self) -> (Salt, bool) {
        let again = self.salt != Salt([0; 16]) && self.rng.permille(30);
        if !again {
            self.salt = Salt(self.rng.sixteen());
        }
        (self.salt, again)
    }

    fn draw_trick(&mut self) -> Option<Trick> {
        let signs = matches!(self.identity, Identity::Key(_));
        match self.rng.below(100) {
            0..=7 if self.last.is_some() => Some(Trick::ReuseKey),
            8..=15 if self.last.is_some() => Some(Trick::Repeat),
            16..=20 if !signs => Some(Trick::NoKey),
            16..=20 if signs => Some(Trick::OldSignature),
            21..=23 if signs => Some(Trick::WrongSignature),
            _ => None,
        }
    }

    fn draw_request(&mut self) -> Request {
        let path = format!("/kv/k{}", self.rng.below(3));
        let value = format!("value-{}-{}", self.number, self.left);
        match self.rng.below(10) {
            _ if self.pinned.is_some() => self.request("PUT", path, Bytes::from(value)),
            0..=4 => self.request("PUT", path, Bytes::from(value)),
            5..=7 => self.request("GET", path, Bytes::new()),
            8 => self.request("DELETE", path, Bytes::new()),
            _ => {
                let set = format!("{{\"expect\":null,\"set\":\"{value}\"}}");
                self.request("POST", format!("{path}/cas"), Bytes::from(set))
            }
        }
    }

    fn request(&mut self, method: &str, path: String, body: Bytes) -> Request {
        let key = format!("\"client-{:04}-{:016x}\"", self.number, self.rng.draw());
        let mut fields = Vec::new();
        if let Identity::Credentials(credentials) = &self.identity {
            fields.push(("authorization".to_owned(), credentials.clone()));
        }
        fields.push(("idempotency-key".to_owned(), key));
        Request {
            method: method.to_owned(),
            path,
            query: "?".to_owned(),
            fields,
            body,
            salt: Salt([0; 16]),
            signature: None,
        }
    }

    fn sign(&self, request: &mut Request, signer: &ClientSigner, now: Time, age_s: u64) {
        let created_s = Cluster::clock(now, 0).seconds().saturating_sub(age_s);
        let key = signer.public();
        let params = signature_params(created_s, &key);
        let mut signature = ClientSignature { key, params, signature: Signature([0; 64]) };
        let authority = self.cluster.domain.authority().to_owned();
        if let Ok(base) = signature_base(request, &authority, &signature) {
            signature.signature = signer.sign(base.as_bytes());
        }
        request.signature = Some(signature);
    }
}
