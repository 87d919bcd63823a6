//! The verifier: what a response claims, checked against what the policy trusts.

use crate::{
    checkpoint::{Checkpoint, NoteSignature},
    cosignature::cosignature_message,
    coverage::{Coverage, CoverageError},
    entry::{Entry, EntryError, EntryKind},
    exchange::{ExchangeError, content_digest, exchange_base, exchange_digest, has_content},
    head::head_text,
    policy::Policy,
    request_check::{RequestFault, check_target, quoted_string},
    strict::SignatureCheck,
    text::{base64_array, base64_bytes, byte_sequence, digest_of_value, number, trimmed},
    tlog_proof::{TlogProof, TlogProofError},
    tree::{root_from_path, sha256},
};
use bytes::Bytes;
use quorate_types::{
    Digest, EntryFacts, Epoch, Head, Index, Request, Response, Salt, Signature, StableCertificate,
    StateRecord, UnixMillis, Wire as _,
    bug::{Bug, seeded},
};
use thiserror::Error;

/// What a client sent, as it knows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SentRequest {
    /// The method.
    pub method: String,
    /// The raw path, never empty.
    pub path: String,
    /// `?` and the raw rest; `?` alone where there is none.
    pub query: String,
    /// All header fields, names in any case. Uncovered ones do not matter.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Bytes,
}

/// What a client received, transfer coding and interim responses removed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReceivedResponse {
    /// The status code.
    pub status: u16,
    /// All header fields, names in any case, `Quorate-*` among them.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Bytes,
}

/// A head that the policy's quorum stands behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnessed {
    /// The head.
    pub head: Head,
    /// How many witnesses below the quorum signed: K of "K of N replicas".
    pub signers: usize,
    /// How many witnesses there are below the quorum: N.
    pub replicas: usize,
    /// The names of those that signed, in the policy's order.
    pub names: Vec<String>,
}

/// What a verified response says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// How many witnesses below the quorum signed.
    pub signers: usize,
    /// How many witnesses there are below the quorum.
    pub replicas: usize,
    /// The names of those that signed, in the policy's order.
    pub names: Vec<String>,
    /// The entry's facts.
    pub facts: EntryFacts,
    /// The head that proves it.
    pub head: Head,
    /// Whether the request held a key, so that the answer is to this request and to no older one.
    pub fresh: bool,
    /// Whether the policy's keys are for development only.
    pub development: bool,
}

/// Why something is not verified.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum VerifyError {
    /// A field that must stand is missing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field that may stand once stands more often.
    #[error("the field `{0}` is repeated")]
    Repeated(String),
    /// One of Quorate's own fields is not in its one form.
    #[error("the field `{0}` is malformed")]
    Malformed(&'static str),
    /// The method, path or query is not what an exchange can hold.
    #[error("the request's target: {0}")]
    Target(RequestFault),
    /// The content has a coding, which no exchange has.
    #[error("a coded content (`Content-Encoding`) cannot be checked")]
    Coded,
    /// A part of a content, which no exchange has.
    #[error("a part of a content (`Content-Range`) cannot be checked")]
    Partial,
    /// Content where there can be none.
    #[error("content where HEAD, 204 and 304 have none")]
    Content,
    /// The request's `Content-Digest` is not that of its content.
    #[error("the request's Content-Digest is not that of its content")]
    RequestDigest,
    /// The response's `Content-Digest` is not that of its content.
    #[error("the response's Content-Digest is not that of its content")]
    ResponseDigest,
    /// `Quorate-Covers` is not one.
    #[error("the announcement of covered fields: {0}")]
    Coverage(#[from] CoverageError),
    /// Request and response make no exchange.
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    /// The proof is not one.
    #[error("{0}")]
    Proof(#[from] TlogProofError),
    /// The entry is not one.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The header fields and the proof name different entries.
    #[error("the proof is for entry {proof}, the answer says {claimed}")]
    Index {
        /// The index in the proof.
        proof: Index,
        /// The index in the header fields.
        claimed: Index,
    },
    /// The head is another log's.
    #[error("the head is that of another log")]
    Origin,
    /// The path does not lead from the entry to the head.
    #[error("the entry is not in the log: what was answered is not what was agreed")]
    NotInLog,
    /// A line of a key that the policy knows does not verify.
    #[error("the signature of {0} is wrong")]
    Signature(String),
    /// No log key of the policy signed.
    #[error("no log of the policy signed the head")]
    NoLog,
    /// Too few cosigned.
    #[error("{signers} of {replicas} replicas signed, which is no quorum of the policy")]
    Quorum {
        /// How many witnesses below the quorum signed.
        signers: usize,
        /// How many there are.
        replicas: usize,
    },
    /// A stable certificate's parts do not belong together.
    #[error("the certificate's {0} does not fit")]
    Certificate(&'static str),
}

impl VerifyError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "field-missing",
            Self::Repeated(_) => "field-repeated",
            Self::Malformed(_) => "field-malformed",
            Self::Target(fault) => fault.code(),
            Self::Coded => "content-coded",
            Self::Partial => "content-partial",
            Self::Content => "content-unexpected",
            Self::RequestDigest | Self::ResponseDigest => "content-digest-wrong",
            Self::Coverage(error) => error.code(),
            Self::Exchange(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Entry(error) => error.code(),
            Self::Index { .. } => "index-differs",
            Self::Origin => "origin-differs",
            Self::NotInLog => "not-in-log",
            Self::Signature(_) => "signature-wrong",
            Self::NoLog => "log-signature-missing",
            Self::Quorum { .. } => "quorum-missing",
            Self::Certificate(_) => "certificate-inconsistent",
        }
    }
}

/// Checks that a quorum of the policy answered this request with this response.
///
/// # Errors
/// [`VerifyError`], the first thing found wrong.
pub fn verify(
    policy: &Policy,
    check: &impl SignatureCheck,
    request: &SentRequest,
    response: &ReceivedResponse,
) -> Result<Verdict, VerifyError> {
    let coverage = match field(&response.fields, "quorate-covers")? {
        Some(value) => Coverage::parse(value)?,
        None => Coverage::default(),
    };
    let asked = covered_request(request, &coverage)?;
    let answered = covered_response(&request.method, response, &coverage)?;
    let facts = facts(&response.fields)?;
    let base = exchange_base(&policy.origin().name, &asked, &answered, &coverage)?;
    let entry = Entry {
        index: facts.index,
        epoch: facts.epoch,
        time: facts.time,
        state: facts.state,
        kind: EntryKind::Exchange(exchange_digest(&facts.salt, &base)),
    };
    let proof = required(&response.fields, "quorate-proof")?;
    let proof = byte_sequence(proof).and_then(base64_bytes);
    let proof = proof.and_then(|bytes| String::from_utf8(bytes).ok());
    let proof = proof.ok_or(VerifyError::Malformed("quorate-proof"))?;
    let Witnessed { head, signers, replicas, names } =
        verify_proof_text(policy, check, &entry, &proof)?;
    let fresh = asked.field("idempotency-key").and_then(quoted_string).is_some();
    let development = policy.is_development();
    Ok(Verdict { signers, replicas, names, facts, head, fresh, development })
}

/// Checks that a proof text places an entry in the policy's log, under a head with its quorum.
///
/// # Errors
/// [`VerifyError`], the first thing found wrong.
pub fn verify_proof_text(
    policy: &Policy,
    check: &impl SignatureCheck,
    entry: &Entry,
    proof: &str,
) -> Result<Witnessed, VerifyError> {
    let proof = TlogProof::parse(proof)?;
    if proof.index != entry.index {
        return Err(VerifyError::Index { proof: proof.index, claimed: entry.index });
    }
    let Head { size, root } = proof.checkpoint.head;
    let proven = root_from_path(&entry.leaf(), entry.index.0, size, &proof.path) == Some(root);
    if !proven && !seeded(Bug::PathUnchecked) {
        return Err(VerifyError::NotInLog);
    }
    verify_checkpoint(policy, check, &proof.checkpoint)
}

/// Checks that a signed head is the policy's log's, signed by one log key and a quorum.
///
/// Lines of unknown keys are passed over; a wrong line of a known one condemns the head; several
/// right ones of one key count once.
///
/// # Errors
/// [`VerifyError`], the first thing found wrong.
pub fn verify_checkpoint(
    policy: &Policy,
    check: &impl SignatureCheck,
    checkpoint: &Checkpoint,
) -> Result<Witnessed, VerifyError> {
    if checkpoint.origin != policy.origin_text() {
        return Err(VerifyError::Origin);
    }
    let text = checkpoint.head_text();
    let mut logged = false;
    let mut signed = vec![false; policy.witnesses().len()];
    for line in &checkpoint.signatures {
        let wrong = || VerifyError::Signature(line.name.clone());
        if let Some(key) = policy.logs().iter().find(|key| line.is_by(key)) {
            let signature = line.bytes[..].try_into().map(Signature).map_err(|_| wrong())?;
            if !check.check(&key.key, text.as_bytes(), &signature) {
                return Err(wrong());
            }
            logged = true;
        }
        let witnesses = policy.witnesses().iter().zip(&mut signed);
        for (key, signed) in witnesses.filter(|(key, _)| line.is_by(key)) {
            let (time_s, signature) = timestamped(line).ok_or_else(wrong)?;
            if !check.check(&key.key, &cosignature_message(&text, time_s), &signature) {
                return Err(wrong());
            }
            *signed = true;
        }
    }
    if !logged {
        return Err(VerifyError::NoLog);
    }
    witnessed(policy, checkpoint.head, &signed)
}

/// A C2SP `timestamped_signature`: eight bytes of seconds below 2^63, then Ed25519.
fn timestamped(line: &NoteSignature) -> Option<(u64, Signature)> {
    let (time_s, signature) = line.bytes.split_first_chunk::<8>()?;
    let time_s = u64::from_be_bytes(*time_s);
    let signature = Signature(signature.try_into().ok()?);
    (time_s < 1 << 63).then_some((time_s, signature))
}

fn witnessed(policy: &Policy, head: Head, signed: &[bool]) -> Result<Witnessed, VerifyError> {
    let replicas = policy.quorum_witnesses().count();
    let names: Vec<String> = policy
        .quorum_witnesses()
        .filter(|&place| signed.get(place) == Some(&true))
        .filter_map(|place| policy.witnesses().get(place).map(|key| key.name.clone()))
        .collect();
    let signers = names.len();
    if !policy.is_satisfied(signed) {
        return Err(VerifyError::Quorum { signers, replicas });
    }
    Ok(Witnessed { head, signers, replicas, names })
}

/// Checks a stable certificate: a quorum cosigned the head, the last entry is its last leaf, and
/// the state digest in that entry is the hash of the record.
///
/// # Errors
/// [`VerifyError`], the first thing found wrong.
pub fn verify_stable(
    policy: &Policy,
    check: &impl SignatureCheck,
    certificate: &StableCertificate,
) -> Result<(), VerifyError> {
    let StableCertificate { head, cosignatures, last_entry, path, record } = certificate;
    let entry = Entry::parse(last_entry)?;
    if entry.index.0.checked_add(1) != Some(head.size) {
        return Err(VerifyError::Certificate("last entry"));
    }
    if root_from_path(&entry.leaf(), entry.index.0, head.size, path) != Some(head.root) {
        return Err(VerifyError::NotInLog);
    }
    if entry.state != state_digest(record) {
        return Err(VerifyError::Certificate("state"));
    }
    let fits = record.next_index.0 == head.size
        && record.epoch == entry.epoch
        && record.time == entry.time;
    if !fits {
        return Err(VerifyError::Certificate("record"));
    }
    if !cosignatures.is_sorted_by(|a, b| a.replica < b.replica) {
        return Err(VerifyError::Certificate("order of cosignatures"));
    }
    let message = cosignature_message(&head_text(policy.origin_text(), head), entry.time.seconds());
    let mut signed = vec![false; policy.witnesses().len()];
    for cosignature in cosignatures {
        let place = cosignature.replica.position();
        let (Some(key), Some(signed)) = (policy.witnesses().get(place), signed.get_mut(place))
        else {
            return Err(VerifyError::Certificate("signer"));
        };
        if !check.check(&key.key, &message, &cosignature.signature) {
            return Err(VerifyError::Signature(key.name.clone()));
        }
        *signed = true;
    }
    witnessed(policy, *head, &signed).map(|_| ())
}

/// The state root: SHA-256 over the record's wire form.
#[must_use]
pub fn state_digest(record: &StateRecord) -> Digest {
    sha256(&record.to_wire())
}

/// The request as the exchange holds it.
fn covered_request(sent: &SentRequest, coverage: &Coverage) -> Result<Request, VerifyError> {
    check_target(&sent.method, &sent.path, &sent.query).map_err(VerifyError::Target)?;
    if field(&sent.fields, "content-encoding")?.is_some() {
        return Err(VerifyError::Coded);
    }
    if field(&sent.fields, "content-range")?.is_some() {
        return Err(VerifyError::Partial);
    }
    if let Some(given) = field(&sent.fields, "content-digest")?
        && given != content_digest(&sent.body)
    {
        return Err(VerifyError::RequestDigest);
    }
    let mut fields = Vec::new();
    for name in coverage.request_fields() {
        let value = field(&sent.fields, name)?;
        fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    Ok(Request {
        method: sent.method.clone(),
        path: sent.path.clone(),
        query: sent.query.clone(),
        fields,
        body: sent.body.clone(),
        salt: Salt([0; 16]),
        signature: None,
    })
}

/// The response as the exchange holds it.
fn covered_response(
    method: &str,
    received: &ReceivedResponse,
    coverage: &Coverage,
) -> Result<Response, VerifyError> {
    if field(&received.fields, "content-encoding")?.is_some() {
        return Err(VerifyError::Coded);
    }
    let range_is_covered = coverage.response_fields().any(|name| name == "content-range");
    if !range_is_covered && received.fields.iter().any(|(name, _)| is(name, "content-range")) {
        return Err(VerifyError::Partial);
    }
    if !has_content(method, received.status) && !received.body.is_empty() {
        return Err(VerifyError::Content);
    }
    if required(&received.fields, "content-digest")? != content_digest(&received.body) {
        return Err(VerifyError::ResponseDigest);
    }
    let mut fields = Vec::new();
    for name in coverage.response_fields() {
        // A field that may stand once is refused as repeated where the exchange is formed.
        let same = received.fields.iter().filter(|(field, _)| is(field, name));
        fields.extend(same.map(|(_, value)| (name.to_owned(), trimmed(value).to_owned())));
    }
    Ok(Response { status: received.status, fields, body: received.body.clone() })
}

/// The entry's facts from Quorate's own fields, each once and in its one form.
fn facts(fields: &[(String, String)]) -> Result<EntryFacts, VerifyError> {
    let counted = |name| number(required(fields, name)?).ok_or(VerifyError::Malformed(name));
    let index = Index(counted("quorate-index")?);
    let epoch = Epoch(counted("quorate-epoch")?);
    let time = UnixMillis(counted("quorate-time")?);
    let state = digest_of_value(required(fields, "quorate-state")?);
    let state = state.ok_or(VerifyError::Malformed("quorate-state"))?;
    let salt = byte_sequence(required(fields, "quorate-salt")?).and_then(base64_array);
    let salt = Salt(salt.ok_or(VerifyError::Malformed("quorate-salt"))?);
    Ok(EntryFacts { index, epoch, time, state, salt })
}

fn is(field: &str, name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
}

/// The trimmed value of a field that stands at most once.
fn field<'a>(fields: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, VerifyError> {
    let mut same = fields.iter().filter(|(field, _)| is(field, name));
    let value = same.next().map(|(_, value)| trimmed(value));
    match same.next() {
        None => Ok(value),
        Some(_) => Err(VerifyError::Repeated(name.to_owned())),
    }
}

fn required<'a>(
    fields: &'a [(String, String)],
    name: &'static str,
) -> Result<&'a str, VerifyError> {
    field(fields, name)?.ok_or(VerifyError::Missing(name))
}
