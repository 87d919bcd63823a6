//! What no honest client sends. Each gets one problem with a code; nothing is ordered.

use crate::{
    backend::{AUTHORITY, Front},
    client::{Client, problem, refused},
};
use std::time::Instant;
use tokio::io::AsyncWriteExt as _;

fn head(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {AUTHORITY}\r\n{headers}\r\n")
}

async fn each_refused(front: &Front, cases: &[(String, u16, &str)]) {
    for (bytes, status, code) in cases {
        let seen = refused(front.address, bytes).await;
        assert_eq!(seen, (*status, (*code).to_owned()), "{bytes:.100?}");
    }
    assert!(front.replicas.requests().is_empty());
    assert_eq!(front.counters.refused(), cases.len() as u64);
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let front = Front::start().await;
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let turned = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    each_refused(
        &front,
        &[
            (head("POST /a", both) + smuggled, 400, "framing-ambiguous"),
            (head("POST /a", turned) + smuggled, 400, "framing-ambiguous"),
            (
                head("POST /a", &"Content-Length: 5\r\n".repeat(2)) + "hello",
                400,
                "framing-ambiguous",
            ),
            (
                head("POST /a", "Content-Length: 5\r\nContent-Length: 6\r\n") + "hello",
                400,
                "framing-ambiguous",
            ),
            (
                head("POST /a", &"Transfer-Encoding: chunked\r\n".repeat(2)) + "0\r\n\r\n",
                400,
                "framing-ambiguous",
            ),
            (head("POST /a", "Content-Length: 5,5\r\n") + "hello", 400, "framing-malformed"),
            (head("POST /a", "Content-Length: -5\r\n"), 400, "framing-malformed"),
            (head("POST /a", "Transfer-Encoding: gzip, chunked\r\n"), 400, "framing-malformed"),
            (head("POST /a", "Transfer-Encoding: xchunked\r\n"), 400, "framing-malformed"),
            (head("POST /a", "Transfer-Encoding : chunked\r\n"), 400, "head-malformed"),
            (head("POST /a", "A: b\r\n Transfer-Encoding: chunked\r\n"), 400, "header-folded"),
        ],
    )
    .await;
}

#[tokio::test]
async fn bad_chunks_are_refused() {
    let front = Front::start().await;
    let chunked = head("POST /echo", "Transfer-Encoding: chunked\r\n");
    for bad in [
        "x\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ] {
        let seen = refused(front.address, format!("{chunked}{bad}")).await;
        assert_eq!(seen, (400, "body-malformed".to_owned()), "{bad:?}");
    }
    for partial in [chunked + "5\r\nhel", head("POST /a", "Content-Length: 5\r\n") + "hel"] {
        let mut client = Client::connect(front.address).await;
        client.write(partial).await;
        client.socket.shutdown().await.unwrap();
        assert_eq!(problem(&client.read("POST").await), (400, "body-malformed".to_owned()));
        assert!(client.is_closed().await);
    }
    assert!(front.replicas.requests().is_empty());
}

#[tokio::test]
async fn targets_in_other_forms_are_refused() {
    let front = Front::start().await;
    each_refused(
        &front,
        &[
            (head("GET http://shop.example/a", ""), 400, "target-form"),
            (head("GET shop.example", ""), 400, "target-form"),
            (head("OPTIONS *", ""), 400, "target-form"),
            (head("HEAD *", ""), 400, "target-form"),
            (head("GET /a#b", ""), 400, "target-malformed"),
            (head("GET /a?b#c", ""), 400, "target-malformed"),
            (head("GET /\u{fc}", ""), 400, "target-malformed"),
            (head("GET /a b", ""), 400, "head-malformed"),
            (head("GET /a\tb", ""), 400, "head-malformed"),
            (head("GET /\u{1}", ""), 400, "head-malformed"),
            (head("CONNECT shop.example:80", ""), 501, "method-unsupported"),
            (head("TRACE /a", ""), 501, "method-unsupported"),
        ]
        .map(|(bytes, status, code)| {
            // A HEAD gets no content, so its refusal's code cannot be read: another test has it.
            (bytes.replace("HEAD *", "OPTIONS *"), status, code)
        }),
    )
    .await;
}

#[tokio::test]
async fn a_refused_head_request_gets_no_content() {
    let front = Front::start().await;
    let mut client = Client::connect(front.address).await;
    client.write(head("HEAD /a#b", "")).await;
    let answer = client.read("HEAD").await;
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn hosts_are_named_once_and_rightly() {
    let front = Front::start().await;
    let get = |hosts: &str| format!("GET /a HTTP/1.1\r\n{hosts}\r\n");
    each_refused(
        &front,
        &[
            (get(""), 400, "host-missing"),
            (get("Host: evil.example\r\n"), 421, "host-foreign"),
            (get("Host:\r\n"), 421, "host-foreign"),
            (get("Host: shop.example@evil.example\r\n"), 421, "host-foreign"),
            (get("Host: shop.example:81\r\n"), 421, "host-foreign"),
            (get("Host: shop.example\r\nHost: shop.example\r\n"), 400, "host-ambiguous"),
            (get("Host: shop.example\r\nHost: evil.example\r\n"), 400, "host-ambiguous"),
            (get("Host: \u{fc}\r\n"), 400, "field-value"),
            (
                "GET /.well-known/quorate/policy HTTP/1.1\r\nHost: a\r\n\r\n".into(),
                421,
                "host-foreign",
            ),
        ],
    )
    .await;
    let mut client = Client::connect(front.address).await;
    client.write("GET /a HTTP/1.1\r\nhOST: SHOP.example\r\n\r\n").await;
    assert_eq!(client.read("GET").await.status, 404);
}

#[tokio::test]
async fn covered_fields_stand_once_and_in_ascii() {
    let front = Front::start().await;
    let twice = |field: &str| head("GET /a", &format!("{field}\r\n{field}\r\n"));
    each_refused(
        &front,
        &[
            (twice("Content-Type: a/b"), 400, "field-repeated"),
            (twice("Accept: a/b"), 400, "field-repeated"),
            (twice("Accept-Language: de"), 400, "field-repeated"),
            (twice("Authorization: Bearer x"), 400, "field-repeated"),
            (twice("Cookie: a=b"), 400, "field-repeated"),
            (twice("If-Match: *"), 400, "field-repeated"),
            (twice("If-None-Match: *"), 400, "field-repeated"),
            (twice("Idempotency-Key: \"8e03978e-40d5-43e8-bc93\""), 400, "field-repeated"),
            (head("GET /a", "Accept: \u{fc}\r\n"), 400, "field-value"),
            (head("GET /a", "Cookie: a=\u{2028}\r\n"), 400, "field-value"),
            (head("GET /a", "Accept: a\r\n b\r\n"), 400, "header-folded"),
            (head("GET /a", "A: b\r\n\tc\r\n"), 400, "header-folded"),
            (head("GET /a", "Accept: a\0b\r\n"), 400, "head-malformed"),
            (head("GET /a", "Accept: a\u{7f}b\r\n"), 400, "head-malformed"),
            (head("GET /a", "Acc ept: a\r\n"), 400, "head-malformed"),
            (head("GET /a", ": a\r\n"), 400, "head-malformed"),
            (head("GET /a", "Accept: a\n"), 400, "head-malformed"),
            ("GET /a HTTP/1.1\nHost: shop.example\n\n".into(), 400, "head-malformed"),
            ("GET /a HTTP/1.1\r\rHost: shop.example\r\n\r\n".into(), 400, "head-malformed"),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused() {
    let front = Front::start().await;
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    each_refused(
        &front,
        &[
            (head("GET /a", websocket), 501, "upgrade-unsupported"),
            (head("GET /a", "Accept: text/event-stream\r\n"), 501, "event-stream-unsupported"),
            (
                head("GET /a", "Accept: Text/Event-Stream;charset=utf-8\r\n"),
                501,
                "event-stream-unsupported",
            ),
            (head("GET /a", "Content-Encoding: gzip\r\n"), 415, "content-encoding"),
            (head("GET /a", "Content-Encoding: identity\r\n"), 415, "content-encoding"),
            (head("GET /a", "Content-Range: bytes 0-1/2\r\n"), 400, "content-range"),
        ],
    )
    .await;
}

#[tokio::test]
async fn garbage_is_refused_whatever_it_is() {
    let front = Front::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"hello\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\xff\xfe: a\r\n\r\n",
    ] {
        let (status, code) = refused(front.address, garbage).await;
        assert_eq!((status, code.as_str()), (400, "head-malformed"), "{garbage:?}");
    }
    let mut client = Client::connect(front.address).await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.write([0xff; 1000]).await;
    client.read_old().await;
}

#[tokio::test]
async fn heads_that_pass_the_guard_pass_the_library_too() {
    // Random heads from pieces that matter: whatever happens, there is one answer with a code, or
    // an answer of the service.
    let front = Front::start().await;
    let pieces = [
        "GET ",
        "PUT ",
        "/a",
        "?",
        "%",
        "\\",
        "^",
        "|",
        "~",
        "{",
        "\"",
        " HTTP/1.1\r\n",
        "Host: ",
        "shop.example",
        "\r\n",
        ": ",
        "Accept",
        "Content-Length: 0",
        "Connection: close",
        ",",
        ";",
        "\t",
        " ",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "Trailer: a",
        "TE: trailers",
        "Keep-Alive: 5",
        "Proxy-Connection: x",
        "\u{fc}",
        "0",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % bound
    };
    for _ in 0..400 {
        let mut line = String::from("GET /");
        (0..next(4)).for_each(|_| line.push_str(pieces[next(12)].trim_end_matches("\r\n")));
        let mut headers = String::from("Host: shop.example\r\n");
        for _ in 0..next(4) {
            (0..next(4)).for_each(|_| headers.push_str(pieces[next(pieces.len())]));
            headers.push_str("\r\n");
        }
        let bytes = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let mut client = Client::connect(front.address).await;
        client.write(&bytes).await;
        let answer = client.read("GET").await;
        if answer.status >= 400 && !answer.fields.iter().any(|(name, _)| name == "Quorate-Index") {
            problem(&answer);
        }
    }
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_before_they_are_read() {
    let front = Front::start().await;
    let begun = Instant::now();
    let mut client = Client::connect(front.address).await;
    client.write(head("PUT /kv/a", "Content-Length: 104857600\r\n")).await;
    assert_eq!(problem(&client.read("PUT").await), (413, "body-too-large".to_owned()));
    assert!(begun.elapsed().as_millis() < 500);
    // A client that sends first and reads later still finds the answer.
    for framing in ["Content-Length: 104857600\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = Client::connect(front.address).await;
        client.write(head("PUT /kv/a", framing)).await;
        let chunk = format!("100000\r\n{}\r\n", "a".repeat(1 << 20));
        for _ in 0..5 {
            client.write(&chunk).await;
        }
        assert_eq!(problem(&client.read("PUT").await), (413, "body-too-large".to_owned()));
    }
    assert!(front.replicas.requests().is_empty());
    let most = "a".repeat(1 << 20);
    let mut client = Client::connect(front.address).await;
    client.write(head("PUT /kv/a", "Content-Length: 1048576\r\n") + &most).await;
    assert_eq!(client.read("PUT").await.status, 201);
    let chunks = format!("80000\r\n{}\r\n", &most[..1 << 19]).repeat(2);
    client
        .write(head("POST /echo", "Transfer-Encoding: chunked\r\n") + &chunks + "0\r\n\r\n")
        .await;
    assert_eq!(client.read("POST").await.body, most);
}

#[tokio::test]
async fn floods_of_headers_are_refused_while_they_come() {
    let front = Front::start().await;
    let long = "a".repeat(20_000);
    each_refused(
        &front,
        &[
            (head(&format!("GET /{long}"), ""), 414, "target-too-long"),
            (head("GET /a", &format!("Cookie: {long}\r\n")), 431, "head-too-large"),
            (head("GET /a", &"A: b\r\n".repeat(3_000)), 431, "head-too-large"),
            (head("GET /a", &"A: b\r\n".repeat(100)), 431, "too-many-headers"),
            (head("GET /a", &"A: b\r\n".repeat(1_000)), 431, "too-many-headers"),
        ],
    )
    .await;
    let mut client = Client::connect(front.address).await;
    client.write("GET /a HTTP/1.1\r\n").await;
    let line = format!("X: {}\r\n", "a".repeat(1 << 16));
    for _ in 0..64 {
        client.write(&line).await;
    }
    assert_eq!(problem(&client.read("GET").await), (431, "head-too-large".to_owned()));
}
