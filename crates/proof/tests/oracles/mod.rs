//! What must hold of every parser of this room, for any bytes: shared by the property tests and by
//! the fuzz targets.

#![allow(unreachable_pub, reason = "the fuzz targets include this file and export it")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_proof::{
    Checkpoint, Coverage, Entry, Origin, Policy, ReceivedResponse, SentRequest, Strict, TlogProof,
    VerifierKey, check_request, created_s, leaf_hash, parse_request, parse_response,
    parse_signature, sha256, signature_base, verify, write_request, write_response,
};
use quorate_types::{Request, Salt};

const POLICY: &str = include_str!("../../testdata/example/policy.txt");
const REQUEST: &[u8] = include_bytes!("../../testdata/example/request.http");
const RESPONSE: &[u8] = include_bytes!("../../testdata/example/response.http");

/// What each text parser makes of a text: nothing, or the text.
pub fn readings(text: &str) -> [Option<String>; 7] {
    [
        Entry::parse(text).ok().map(|entry| entry.text()),
        Origin::parse(text).ok().map(|origin| origin.to_string()),
        VerifierKey::parse(text).ok().map(|key| key.to_string()),
        Checkpoint::parse(text).ok().map(|checkpoint| checkpoint.text()),
        TlogProof::parse(text).ok().map(|proof| proof.text()),
        Policy::parse(text).ok().map(|policy| policy.text().to_owned()),
        Coverage::parse(text).ok().and_then(|coverage| coverage.header_value()),
    ]
}

/// A text that a parser accepts is the one text of its value.
///
/// # Panics
/// When it is not.
pub fn one_text(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        for reading in readings(text).into_iter().flatten() {
            assert_eq!(reading, text, "another text of one value");
        }
    }
}

/// A request file that is read is the same request when it is written and read again.
///
/// # Panics
/// When it is not.
pub fn saved_request(bytes: &[u8]) {
    let Ok(request) = parse_request(bytes) else { return };
    let again = parse_request(&write_request(&request, "shop.example"));
    let again = again.unwrap_or_else(|error| panic!("{error}: {request:?}"));
    let parts = |request: &SentRequest| {
        let SentRequest { method, path, query, fields, body } = request;
        (method.clone(), path.clone(), query.clone(), end_to_end(fields), body.clone())
    };
    assert_eq!(parts(&again), parts(&request));
}

/// The same for a response file, to a request with content in its answer and to one without.
///
/// # Panics
/// When it is not.
pub fn saved_response(bytes: &[u8]) {
    for method in ["GET", "HEAD"] {
        let Ok(response) = parse_response(bytes, method) else { continue };
        let again = parse_response(&write_response(&response, method), method);
        let again = again.unwrap_or_else(|error| panic!("{error}: {response:?}"));
        let parts = |response: &ReceivedResponse| {
            (response.status, end_to_end(&response.fields), response.body.clone())
        };
        assert_eq!(parts(&again), parts(&response));
    }
}

/// The fields that the writer does not set itself.
fn end_to_end(fields: &[(String, String)]) -> Vec<(String, String)> {
    let own = ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te"];
    let kept = |(name, _): &&(String, String)| !own.contains(&&*name.to_ascii_lowercase());
    fields.iter().filter(kept).cloned().collect()
}

/// A response file that is verified for the worked example's request is the worked example's, in
/// everything that is covered. Whether it is verified.
///
/// # Panics
/// When it is not.
pub fn verified_response(bytes: &[u8]) -> bool {
    let policy = Policy::parse(POLICY).expect("the example's policy");
    let request = parse_request(REQUEST).expect("the example's request");
    let example = parse_response(RESPONSE, &request.method).expect("the example's response");
    let Ok(response) = parse_response(bytes, &request.method) else { return false };
    let Ok(verdict) = verify(&policy, &Strict, &request, &response) else { return false };
    assert_eq!(verdict.facts.index.0, 5);
    assert_eq!((response.status, &response.body), (example.status, &example.body));
    let covered = |response: &ReceivedResponse| {
        // Only these: a name that is none of Quorate's own is anybody's, and says nothing.
        let names = ["content-type", "etag", "location", "cache-control", "content-digest"];
        let own = ["index", "epoch", "time", "state", "salt", "covers"];
        let own = |name: &str| name.strip_prefix("quorate-").is_some_and(|it| own.contains(&it));
        let mut covered: Vec<(String, String)> = response
            .fields
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| names.contains(&&**name) || own(name))
            .collect();
        covered.sort();
        covered
    };
    assert_eq!(covered(&response), covered(&example));
    true
}

/// The values of `Signature-Input` and `Signature`, one a line: accepted ones are canonical, and
/// their base ends in the parameters as they came.
///
/// # Panics
/// When they are not.
pub fn client_signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((input, value)) = text.split_once('\n') else { return };
    let Ok(signature) = parse_signature(input, value) else { return };
    assert!(created_s(&signature).is_some());
    let (label, params) = input.split_once('=').expect("accepted");
    assert_eq!(signature.params, params);
    assert_eq!(format!("{label}=:{}:", STANDARD.encode(signature.signature.0)), value);
    let request = Request {
        method: "POST".into(),
        path: "/orders".into(),
        query: "?".into(),
        fields: vec![
            ("content-type".into(), "text/plain".into()),
            ("idempotency-key".into(), "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"".into()),
        ],
        body: Bytes::from_static(b"{}"),
        salt: Salt([0; 16]),
        signature: Some(signature.clone()),
    };
    let _ = check_request(&request, &Coverage::default());
    if let Ok(base) = signature_base(&request, "shop.example", &signature) {
        assert!(base.ends_with(&format!("\"@signature-params\": {params}")));
    }
}

/// A policy is its text, and its quorum is made by all witnesses together and not by nobody.
/// Whether the bytes are one.
///
/// # Panics
/// When it is not.
pub fn policy(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(policy) = Policy::parse(text) else { return false };
    let witnesses = policy.witnesses().len();
    assert_eq!(policy.text(), text);
    assert_eq!(policy.digest(), sha256(bytes));
    assert!(!policy.is_satisfied(&vec![false; witnesses]));
    assert!(policy.is_satisfied(&vec![true; witnesses]));
    assert!(policy.quorum_witnesses().all(|place| place < witnesses));
    assert!(policy.logs().iter().all(|key| key.name == policy.origin_text()));
    assert_eq!(policy.origin().to_string(), policy.origin_text());
    true
}

/// A proof is its text, is for an entry of its log, and holds a checkpoint. Whether the bytes are
/// one.
///
/// # Panics
/// When it is not.
pub fn tlog_proof(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(proof) = TlogProof::parse(text) else { return false };
    assert_eq!(proof.text(), text);
    assert!(proof.index.0 < proof.checkpoint.head.size);
    assert!(checkpoint(proof.checkpoint.text().as_bytes()));
    true
}

/// A checkpoint is its text, which begins with its head. Whether the bytes are one.
///
/// # Panics
/// When it is not.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(checkpoint) = Checkpoint::parse(text) else { return false };
    assert_eq!(checkpoint.text(), text);
    let head = checkpoint.head_text();
    assert!(text.starts_with(&head));
    assert_eq!(head.matches('\n').count(), 3);
    true
}

/// An entry is its text, of which the leaf is the hash. Whether the bytes are one.
///
/// # Panics
/// When it is not.
pub fn entry(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(entry) = Entry::parse(text) else { return false };
    assert_eq!(entry.text(), text);
    assert_eq!(entry.leaf(), leaf_hash(bytes));
    assert!(entry.index.0 < 1 << 63 && entry.epoch.0 < 1 << 63 && entry.time.0 < 1 << 63);
    true
}

/// The parameters of a signature, under a label and with a value in their right form.
///
/// # Panics
/// As [`client_signature`].
pub fn signature_parameters(bytes: &[u8]) {
    let value = format!("\nsig1=:{}:", STANDARD.encode([7; 64]));
    client_signature(&[b"sig1=", bytes, value.as_bytes()].concat());
}
