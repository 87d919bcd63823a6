//! The worked example, made by an independent implementation of the format.

use quorate_proof::{
    Checkpoint, Coverage, Entry, Policy, Strict, TlogProof, Verdict, VerifyError, exchange_base,
    exchange_digest, parse_request, parse_response, verify,
};
use quorate_types::{Request, Response, Salt};

pub(crate) const POLICY: &str = include_str!("../../testdata/example/policy.txt");
pub(crate) const REQUEST: &[u8] = include_bytes!("../../testdata/example/request.http");
pub(crate) const RESPONSE: &[u8] = include_bytes!("../../testdata/example/response.http");
pub(crate) const ENTRY: &str = include_str!("../../testdata/example/entry");
pub(crate) const EXCHANGE: &str = include_str!("../../testdata/example/exchange");
pub(crate) const PROOF: &str = include_str!("../../testdata/example/proof");

/// The verdict on three files, or the code of what is wrong.
pub(crate) fn judge(policy: &[u8], request: &[u8], response: &[u8]) -> Result<Verdict, String> {
    let text = std::str::from_utf8(policy).map_err(|_| "policy-malformed".to_owned())?;
    let policy = Policy::parse(text).map_err(|error| error.code().to_owned())?;
    judge_by(&policy, request, response)
}

/// The same, by a policy that is read already.
pub(crate) fn judge_by(
    policy: &Policy,
    request: &[u8],
    response: &[u8],
) -> Result<Verdict, String> {
    let request = parse_request(request).map_err(|error| error.code().to_owned())?;
    let response =
        parse_response(response, &request.method).map_err(|error| error.code().to_owned())?;
    verify(policy, &Strict, &request, &response)
        .map_err(|error: VerifyError| error.code().to_owned())
}

#[test]
fn the_worked_example_is_verified() {
    let verdict = judge(POLICY.as_bytes(), REQUEST, RESPONSE).unwrap();
    assert_eq!((verdict.signers, verdict.replicas), (3, 4));
    assert_eq!(verdict.names, ["org-a.example/r0", "org-b.example/r1", "org-c.example/r2"]);
    assert_eq!((verdict.facts.index.0, verdict.head.size), (5, 7));
    assert!(verdict.fresh);
    assert!(!verdict.development);
}

#[test]
fn the_example_s_texts_are_rebuilt_byte_for_byte() {
    let entry = Entry::parse(ENTRY).unwrap();
    assert_eq!(entry.text(), ENTRY);
    let proof = TlogProof::parse(PROOF).unwrap();
    assert_eq!(proof.text(), PROOF);
    let (_, checkpoint) = PROOF.split_once("\n\n").unwrap();
    assert_eq!(Checkpoint::parse(checkpoint).unwrap().text(), checkpoint);
    assert_eq!(Policy::parse(POLICY).unwrap().text(), POLICY);
}

#[test]
fn the_example_s_exchange_is_rebuilt_byte_for_byte() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
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
    };
    let response = Response::new(201)
        .with_field("location", "/orders/42")
        .with_body("application/json", "{\"order\":42,\"status\":\"accepted\"}\n");
    let response = quorate_proof::with_defaults(response, &Coverage::default());
    let base = exchange_base("shop.example", &request, &response, &Coverage::default()).unwrap();
    assert_eq!(base, EXCHANGE);
    let digest = exchange_digest(&request.salt, &base);
    let stated = Entry::parse(ENTRY).unwrap();
    assert_eq!(stated.kind, quorate_proof::EntryKind::Exchange(digest));
}
