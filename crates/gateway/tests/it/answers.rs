//! What a client gets: answers that verify, with the headers of the specification.

use crate::{
    backend::{AUTHORITY, Front},
    client::{Client, ask, field, problem},
};
use quorate_proof::{Coverage, ReceivedResponse, SentRequest, Strict, verify};
use quorate_types::{Index, PublicKey};

const KEY: &str = "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"";

fn request(line: &str, headers: &str, content: &str) -> String {
    let length = format!("Content-Length: {}\r\n", content.len());
    let length = if content.is_empty() { "" } else { &length };
    format!("{line} HTTP/1.1\r\nHost: {AUTHORITY}\r\n{headers}{length}\r\n{content}")
}

fn verified(front: &Front, sent: &SentRequest, received: &ReceivedResponse) -> Index {
    let verdict = verify(front.replicas.policy(), &Strict, sent, received);
    let verdict = verdict.unwrap_or_else(|error| panic!("{error}: {received:?}"));
    assert_eq!((verdict.signers, verdict.replicas), (3, 4));
    verdict.facts.index
}

#[tokio::test]
async fn every_answer_of_the_service_verifies() {
    let front = Front::start().await;
    for (position, (line, headers, content, status)) in [
        ("PUT /kv/a", "", "hello", 201),
        ("PUT /kv/a", "", "world", 204),
        ("GET /kv/a", "", "", 200),
        ("HEAD /kv/a", "", "", 200),
        ("GET /kv/missing", "", "", 404),
        ("GET /cookies", "Cookie: a=1; b=2\r\n", "", 200),
        ("POST /echo?x=%20&&y", "Content-Type: text/plain\r\nAccept-Language:\r\n", "echo", 200),
        ("DELETE /a/../b//c/%2e%2E/;x?", "If-Match: \"1\"\r\nAuthorization: Bearer x\r\n", "", 200),
        ("OPTIONS /plain", "", "", 200),
        ("PATCH /?", "Accept: */*\r\nIf-None-Match: *\r\n", "empty path", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let headers = format!("{headers}{KEY}\r\nX-Uncovered: \u{fc}\r\n");
        let text = request(line, &headers, content);
        let (sent, received) = ask(front.address, &text).await;
        assert_eq!(received.status, status, "{line}");
        assert_eq!(verified(&front, &sent, &received).0, position as u64 + 1, "{line}");
        assert_eq!(field(&received, "x-uncovered"), None);
        assert!(field(&received, "content-digest").unwrap().starts_with("sha-256=:"));
        let cached = field(&received, "cache-control");
        assert_eq!(cached, Some("no-store, no-transform"), "{line}");
    }
}

#[tokio::test]
async fn the_service_gets_the_target_and_the_covered_fields_as_they_were_sent() {
    let front = Front::start().await;
    let headers = format!(
        "Accept:  text/plain ,\ttext/html \r\n{KEY}\r\nX-Forwarded-For: 1\r\nCookie: a=1\r\n\
         Quorate-Index: 5\r\nQuorate-Proof: :AA==:\r\nQuorate-Covers: x-forwarded-for;req\r\n\
         Content-Type: text/plain\r\nPrefer: proof=inline\r\nAUTHORIZATION: Basic eDp5\r\n"
    );
    ask(front.address, &request("POST /a%2Fb/%2e./../c?d=e?f&&%", &headers, "x")).await;
    let seen = front.replicas.requests().remove(0);
    assert_eq!((seen.path.as_str(), seen.query.as_str()), ("/a%2Fb/%2e./../c", "?d=e?f&&%"));
    let fields: Vec<_> = seen.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("content-type", "text/plain"),
            ("accept", "text/plain ,\ttext/html"),
            ("authorization", "Basic eDp5"),
            ("cookie", "a=1"),
            ("idempotency-key", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\""),
        ]
    );
    assert_eq!(seen.signature, None);
}

#[tokio::test]
async fn salts_differ_from_request_to_request() {
    let front = Front::start().await;
    for _ in 0..3 {
        ask(front.address, &request("GET /a", "", "")).await;
    }
    let salts: Vec<_> = front.replicas.requests().iter().map(|request| request.salt).collect();
    assert!(salts[0] != salts[1] && salts[1] != salts[2] && salts[0] != salts[2]);
}

#[tokio::test]
async fn the_service_may_have_fields_of_its_own_covered() {
    let front = Front::with(|config| {
        config.coverage = Coverage::parse("x-api-key;req, x-total").unwrap();
    })
    .await;
    let (sent, received) = ask(front.address, &request("GET /total", "X-Api-Key: k\r\n", "")).await;
    verified(&front, &sent, &received);
    assert_eq!(field(&received, "x-total"), Some("17"));
    assert_eq!(field(&received, "quorate-covers"), Some("x-api-key;req, x-total"));
    assert!(field(&received, "access-control-expose-headers").unwrap().contains("x-total"));
    let (sent, received) = ask(front.address, &request("GET /a", "", "")).await;
    verified(&front, &sent, &received);
    let text = request("GET /a", "X-Api-Key: k\r\nx-api-key: l\r\n", "");
    let (_, received) = ask(front.address, &text).await;
    assert_eq!(problem(&received), (400, "field-repeated".to_owned()));
}

#[tokio::test]
async fn the_proof_comes_as_the_client_prefers() {
    let front = Front::with(|config| config.limits.inline_proof_bytes_max = 512).await;
    let link = "</.well-known/quorate/proof/1>; rel=\"describedby\"; type=\"text/plain\"";
    for (index, (prefer, inline, linked, applied)) in [
        ("", false, true, None),
        ("Prefer: proof=inline\r\n", true, true, Some("proof=inline")),
        ("Prefer: proof=link\r\n", false, true, Some("proof=link")),
        ("Prefer: wait=5, proof=none\r\n", false, false, Some("proof=none")),
        ("Prefer: proof=all\r\n", false, true, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (sent, received) = ask(front.address, &request("GET /a", prefer, "")).await;
        assert_eq!(field(&received, "quorate-proof").is_some(), inline, "{prefer}");
        let link = link.replace('1', &(index + 1).to_string());
        assert_eq!(field(&received, "link"), linked.then_some(link.as_str()), "{prefer}");
        assert_eq!(field(&received, "preference-applied"), applied, "{prefer}");
        if inline {
            verified(&front, &sent, &received);
        }
    }
    let front = Front::start().await;
    let (sent, received) = ask(front.address, &request("GET /a", "", "")).await;
    verified(&front, &sent, &received);
    let timing = field(&received, "server-timing");
    assert_eq!(timing, Some("order;dur=1.500, exec;dur=0.020, sign;dur=0.300"));
}

#[tokio::test]
async fn what_the_replica_refuses_is_a_problem_without_an_index() {
    let front = Front::start().await;
    let (_, busy) = ask(front.address, &request("GET /busy", "", "")).await;
    assert_eq!(problem(&busy), (503, "overloaded".to_owned()));
    assert_eq!(field(&busy, "retry-after"), Some("1"));
    let (_, wrong) = ask(front.address, &request("GET /unsigned", "", "")).await;
    assert_eq!(problem(&wrong), (401, "client-signature-wrong".to_owned()));
    assert!(field(&wrong, "www-authenticate").unwrap().contains(AUTHORITY));
    let (_, broken) = ask(front.address, &request("GET /broken", "", "")).await;
    assert_eq!(problem(&broken), (503, "answer-malformed".to_owned()));
    assert_eq!(front.counters.refused(), 3);
}

#[tokio::test]
async fn an_answer_that_no_quorum_certifies_in_time_is_a_504() {
    let front = Front::with(|config| config.limits.certify_timeout_ms = 100).await;
    let (_, received) = ask(front.address, &request("GET /never", "", "")).await;
    assert_eq!(problem(&received), (504, "certify-timeout".to_owned()));
    let (sent, received) = ask(front.address, &request("GET /a", "", "")).await;
    verified(&front, &sent, &received);
}

#[tokio::test]
async fn a_signed_request_reaches_the_replicas_with_its_signature() {
    let front = Front::start().await;
    let params = quorate_proof::signature_params(1_763_658_123, &PublicKey([9; 32]));
    let value = format!("{}==", "A".repeat(86));
    let headers = format!("Signature-Input: a={params}\r\nSignature: a=:{value}:\r\n{KEY}\r\n");
    let (sent, received) = ask(front.address, &request("PUT /a", &headers, "x")).await;
    verified(&front, &sent, &received);
    let signature = front.replicas.requests().remove(0).signature.unwrap();
    assert_eq!((signature.key, signature.params), (PublicKey([9; 32]), params.clone()));
    for headers in [
        format!("Signature-Input: a={params}\r\n"),
        format!("Signature: a=:{value}:\r\n"),
        format!("Signature-Input: a={params}\r\nSignature: b=:{value}:\r\n"),
        format!("Signature-Input: a={params}\r\nSignature: a=:AAAA:\r\n"),
        format!("Signature-Input: a=(\"@path\")\r\nSignature: a=:{value}:\r\n"),
        format!("Signature-Input: a={params}\r\nSignature: a=:{value}:\r\nSignature: b=::\r\n"),
    ] {
        let (_, received) = ask(front.address, &request("PUT /a", &headers, "x")).await;
        assert_eq!(problem(&received), (401, "signature-malformed".to_owned()), "{headers}");
    }
}

#[tokio::test]
async fn a_content_digest_of_the_client_must_be_right() {
    let front = Front::start().await;
    let right = quorate_proof::content_digest(b"hello");
    let wrong = quorate_proof::content_digest(b"other");
    let (sent, received) =
        ask(front.address, &request("PUT /a", &format!("Content-Digest: {right}\r\n"), "hello"))
            .await;
    verified(&front, &sent, &received);
    for (value, code) in [
        (wrong.as_str(), "digest-mismatch"),
        ("sha-512=:AAAA:", "digest-unsupported"),
        ("sha-256=:AAAA:", "digest-unsupported"),
        ("", "digest-unsupported"),
        (&format!("{right}, sha-512=:AAAA:"), "digest-unsupported"),
    ] {
        let text = request("PUT /a", &format!("Content-Digest: {value}\r\n"), "hello");
        let (_, received) = ask(front.address, &text).await;
        assert_eq!(problem(&received), (400, code.to_owned()), "{value}");
    }
    let twice = format!("Content-Digest: {right}\r\nContent-Digest: {right}\r\n");
    let (_, received) = ask(front.address, &request("PUT /a", &twice, "hello")).await;
    assert_eq!(problem(&received), (400, "field-repeated".to_owned()));
    assert_eq!(front.replicas.requests().len(), 1);
}

#[tokio::test]
async fn a_key_is_a_quoted_string_that_nobody_guesses() {
    let front = Front::start().await;
    let long = format!("\"{}\"", "a".repeat(254));
    for (value, code) in [
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", Some("key-form")),
        ("\"8e03978e-40d5-43e8-bc93-6894a57f9324", Some("key-form")),
        ("\"short\"", Some("key-too-short")),
        ("", Some("key-form")),
        (long.as_str(), Some("key-too-long")),
        ("\"8e03978e40d543e8bc9368\"", None),
        ("\"short\"\r\nAuthorization: Bearer x", None),
    ] {
        let text = request("PUT /a", &format!("Idempotency-Key: {value}\r\n"), "x");
        let (sent, received) = ask(front.address, &text).await;
        match code {
            Some(code) => assert_eq!(problem(&received), (400, code.to_owned()), "{value}"),
            None => drop(verified(&front, &sent, &received)),
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_here_and_orders_nothing() {
    let front = Front::start().await;
    let headers = "Origin: https://page.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let (_, received) = ask(front.address, &request("OPTIONS /kv/a", headers, "")).await;
    assert_eq!(received.status, 204);
    assert_eq!(field(&received, "access-control-allow-origin"), Some("*"));
    assert!(field(&received, "access-control-allow-methods").unwrap().contains("PUT"));
    let allowed = field(&received, "access-control-allow-headers").unwrap();
    assert!(allowed.contains("idempotency-key") && allowed.contains("authorization"));
    assert_eq!(field(&received, "quorate-index"), None);
    assert!(front.replicas.requests().is_empty());
    let (sent, received) =
        ask(front.address, &request("OPTIONS /a", "Origin: https://page.example\r\n", "")).await;
    verified(&front, &sent, &received);
    let exposed = field(&received, "access-control-expose-headers").unwrap();
    assert!(exposed.contains("quorate-proof") && exposed.contains("etag"));
}

#[tokio::test]
async fn a_connection_carries_many_requests_pipelined_too() {
    let front = Front::start().await;
    let mut client = Client::connect(front.address).await;
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nHost: {AUTHORITY}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: dropped\r\n\r\n"
    );
    let requests = [
        request("PUT /kv/a", "", "12345"),
        chunked,
        request("GET /kv/a", "", ""),
        request("GET /kv/b", "", ""),
    ];
    for round in 0..3 {
        let text = requests.concat();
        if round == 2 {
            for piece in text.as_bytes().chunks(7) {
                client.write(piece).await;
                tokio::task::yield_now().await;
            }
        } else {
            client.write(text).await;
        }
        let mut contents = Vec::new();
        for _ in &requests {
            let answer = client.read("GET").await;
            contents.push(answer.body);
        }
        assert_eq!(contents[1], "hello world");
        assert_eq!(contents[2], "12345");
        assert!(contents[3].starts_with(b"{"));
    }
}

#[tokio::test]
async fn content_is_asked_for_where_the_client_waits_to_be_asked() {
    let front = Front::start().await;
    let mut client = Client::connect(front.address).await;
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: {AUTHORITY}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    );
    client.write(&head).await;
    let mut interim = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut client.socket, &mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write("hello").await;
    assert_eq!(client.read("POST").await.body, "hello");
}

#[tokio::test]
async fn an_old_client_without_keep_alive_is_served() {
    let front = Front::start().await;
    let mut client = Client::connect(front.address).await;
    client.write(format!("GET /kv/a HTTP/1.0\r\nHost: {AUTHORITY}\r\n\r\n")).await;
    let answer = client.read_old().await;
    assert!(answer.starts_with("HTTP/1.0 404") || answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut client = Client::connect(front.address).await;
    client.write(request("GET /kv/a", "Connection: close\r\n", "")).await;
    assert_eq!(client.read("GET").await.status, 404);
    assert!(client.is_closed().await);
}
