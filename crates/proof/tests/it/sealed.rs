//! A quorum with real keys, and exchanges that it sealed: what the traps are set in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use quorate_proof::{
    Coverage, Entry, EntryKind, Frontier, Origin, Policy, ReceivedResponse, SentRequest, Strict,
    Verdict, VerifierKey, cosignature_message, digest_value, exchange_base, exchange_digest,
    flat_policy, head_text, leaf_hash, proof_text, salt_value, verify, with_defaults,
    write_request, write_response,
};
use quorate_types::{
    Digest, Epoch, Head, Index, PublicKey, Request, Response, Salt, Signature, UnixMillis,
};

pub(crate) const ORIGIN: &str = "shop.example/quorate/5f2c9a17d0e84b63/bft";
pub(crate) const TIME_S: u64 = 1_763_658_123;

/// Replicas with their keys.
pub(crate) struct Quorum {
    pub(crate) origin: Origin,
    pub(crate) cosigners: Vec<SigningKey>,
    pub(crate) logs: Vec<SigningKey>,
}

impl Quorum {
    pub(crate) fn new(replicas: u8) -> Self {
        let key = |kind: u8| move |replica: u8| SigningKey::from_bytes(&[kind + replica; 32]);
        Self {
            origin: Origin::parse(ORIGIN).unwrap(),
            cosigners: (0..replicas).map(key(1)).collect(),
            logs: (0..replicas).map(key(101)).collect(),
        }
    }

    pub(crate) fn members(&self) -> Vec<(String, PublicKey, PublicKey)> {
        let keys = self.cosigners.iter().zip(&self.logs).enumerate();
        keys.map(|(replica, (cosigner, log))| {
            (format!("org-{replica}.example/r{replica}"), public(cosigner), public(log))
        })
        .collect()
    }

    pub(crate) fn policy(&self, threshold: usize) -> String {
        flat_policy(&self.origin, &self.members(), threshold)
    }

    /// The log's signature line of a replica.
    pub(crate) fn log_line(&self, replica: usize, head: &str) -> String {
        let policy = Policy::parse(&self.policy(1)).unwrap();
        line(&policy.logs()[replica], &self.logs[replica].sign(head.as_bytes()).to_bytes())
    }

    /// A replica's cosignature line.
    pub(crate) fn cosigner_line(&self, replica: usize, head: &str, time_s: u64) -> String {
        let policy = Policy::parse(&self.policy(1)).unwrap();
        let signature = self.cosign(replica, head, time_s);
        let bytes = [&time_s.to_be_bytes()[..], &signature.0].concat();
        line(&policy.witnesses()[replica], &bytes)
    }

    pub(crate) fn cosign(&self, replica: usize, head: &str, time_s: u64) -> Signature {
        Signature(self.cosigners[replica].sign(&cosignature_message(head, time_s)).to_bytes())
    }

    /// The signed note of a head by replica 0's log key and these cosigners.
    pub(crate) fn checkpoint(&self, head: &str, signers: &[usize]) -> String {
        let cosigners = signers.iter().map(|&signer| self.cosigner_line(signer, head, TIME_S));
        format!("{head}\n{}{}", self.log_line(0, head), cosigners.collect::<String>())
    }
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// `— NAME base64(ID || BYTES)` and a newline.
pub(crate) fn line(key: &VerifierKey, bytes: &[u8]) -> String {
    named_line(&key.name, key.id, bytes)
}

pub(crate) fn named_line(name: &str, id: [u8; 4], bytes: &[u8]) -> String {
    format!("\u{2014} {name} {}\n", STANDARD.encode([&id, bytes].concat()))
}

/// What is to be sealed.
pub(crate) struct Draft {
    pub(crate) request: Request,
    pub(crate) response: Response,
    pub(crate) coverage: Coverage,
    pub(crate) index: u64,
    pub(crate) size: u64,
}

pub(crate) fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

pub(crate) fn request() -> Request {
    Request {
        method: "POST".to_owned(),
        path: "/orders".to_owned(),
        query: "?".to_owned(),
        fields: vec![
            field("content-type", "application/json"),
            field("idempotency-key", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\""),
        ],
        body: Vec::from("{\"item\":\"tea\",\"qty\":2}").into(),
        salt: Salt(std::array::from_fn(|at| at as u8)),
        signature: None,
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            request: request(),
            response: Response::new(201)
                .with_field("location", "/orders/42")
                .with_body("application/json", "{\"order\":42}\n"),
            coverage: Coverage::default(),
            index: 5,
            size: 7,
        }
    }
}

/// An exchange with its proof, every part open to be broken.
pub(crate) struct Sealed {
    pub(crate) quorum: Quorum,
    pub(crate) policy: String,
    pub(crate) sent: SentRequest,
    pub(crate) received: ReceivedResponse,
    pub(crate) entry: Entry,
    pub(crate) head: Head,
    pub(crate) path: Vec<Digest>,
}

impl Default for Sealed {
    fn default() -> Self {
        Draft::default().seal()
    }
}

impl Draft {
    /// Sealed by replicas 0, 1 and 2 of four.
    pub(crate) fn seal(self) -> Sealed {
        let quorum = Quorum::new(4);
        let response = with_defaults(self.response, &self.coverage);
        let base =
            exchange_base(&quorum.origin.name, &self.request, &response, &self.coverage).unwrap();
        let entry = Entry {
            index: Index(self.index),
            epoch: Epoch(0),
            time: UnixMillis(TIME_S * 1000 + 456),
            state: Digest([9; 32]),
            kind: EntryKind::Exchange(exchange_digest(&self.request.salt, &base)),
        };
        let leaves: Vec<Digest> = (0..self.size)
            .map(|at| if at == self.index { entry.leaf() } else { leaf_hash(&at.to_be_bytes()) })
            .collect();
        let mut frontier = Frontier::new();
        let path = frontier.append(&leaves).swap_remove(self.index as usize);
        let head = Head { size: self.size, root: frontier.root() };
        let Request { method, path: target, query, fields, body, salt, .. } = self.request;
        let content = quorate_proof::response_content(&method, &response).to_vec();
        let mut received = ReceivedResponse {
            status: response.status,
            fields: response.fields.clone(),
            body: content.into(),
        };
        received.fields.extend([
            field("Content-Digest", &quorate_proof::content_digest(&received.body)),
            field("Quorate-Index", &entry.index.to_string()),
            field("Quorate-Epoch", &entry.epoch.to_string()),
            field("Quorate-Time", &entry.time.to_string()),
            field("Quorate-State", &digest_value(&entry.state)),
            field("Quorate-Salt", &salt_value(&salt)),
        ]);
        let sent = SentRequest { method, path: target, query, fields, body };
        let policy = quorum.policy(3);
        let mut sealed = Sealed { quorum, policy, sent, received, entry, head, path };
        sealed.prove(&sealed.proof());
        sealed
    }
}

impl Sealed {
    pub(crate) fn head_text(&self) -> String {
        head_text(ORIGIN, &self.head)
    }

    pub(crate) fn proof(&self) -> String {
        self.proof_with(&self.quorum.checkpoint(&self.head_text(), &[0, 1, 2]))
    }

    pub(crate) fn proof_with(&self, checkpoint: &str) -> String {
        proof_text(self.entry.index, &self.path, checkpoint)
    }

    /// Puts a proof text in place of the one that stands.
    pub(crate) fn prove(&mut self, proof: &str) {
        self.set("Quorate-Proof", &format!(":{}:", STANDARD.encode(proof)));
    }

    /// Sets a response field in place of all of that name.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.received.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.received.fields.push(field(name, value));
    }

    pub(crate) fn verdict(&self) -> Result<Verdict, &'static str> {
        let policy = Policy::parse(&self.policy).map_err(|error| error.code())?;
        verify(&policy, &Strict, &self.sent, &self.received).map_err(|error| error.code())
    }

    /// The code of what is wrong, or the number of signers.
    pub(crate) fn outcome(&self) -> Result<usize, &'static str> {
        self.verdict().map(|verdict| verdict.signers)
    }

    /// The outcome with another proof text.
    pub(crate) fn outcome_of(&mut self, proof: &str) -> Result<usize, &'static str> {
        self.prove(proof);
        self.outcome()
    }
}

#[test]
fn what_a_quorum_sealed_is_verified() {
    assert_eq!(Sealed::default().outcome(), Ok(3));
}

/// A policy, a request and a response, as files.
pub(crate) type Files = [Vec<u8>; 3];

pub(crate) fn files(draft: Draft) -> Files {
    let sealed = draft.seal();
    [
        sealed.policy.clone().into_bytes(),
        write_request(&sealed.sent, "127.0.0.1:7400"),
        write_response(&sealed.received, &sealed.sent.method),
    ]
}
