//! HTTP/2 with prior knowledge makes the same entries as HTTP/1.1.

use crate::{
    backend::{AUTHORITY, Front},
    client::{ask, field, problem},
};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate_proof::{ReceivedResponse, SentRequest, Strict, verify};
use quorate_types::Salt;
use std::net::SocketAddr;
use tokio::net::TcpStream;

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> ReceivedResponse {
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let (head, content) = response.into_parts();
    let fields = head.headers.iter();
    let fields = fields
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = content.collect().await.unwrap().to_bytes();
    ReceivedResponse { status: head.status.as_u16(), fields, body }
}

fn request(
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{AUTHORITY}{target}"))
        .version(Version::HTTP_2);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

#[tokio::test]
async fn the_same_request_is_the_same_exchange_in_both_versions() {
    let front = Front::start().await;
    let mut sender = connect(front.address).await;
    let key = ("idempotency-key", "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"");
    for (method, target, fields, body) in [
        ("PUT", "/kv/a", vec![key, ("content-type", "text/plain")], "hello"),
        ("GET", "/kv/a", vec![key, ("accept", "*/*"), ("x-other", "1")], ""),
        ("POST", "/echo//../%2e?a=b&%20?", vec![("authorization", "Bearer x")], "x"),
        ("DELETE", "/a?", vec![("if-match", "\"1\"")], ""),
        ("HEAD", "/kv/a", vec![("cookie", "a=1; b=2")], ""),
        ("GET", "/cookies", vec![], ""),
    ] {
        let lines: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let length = format!("Content-Length: {}\r\n", body.len());
        let length = if body.is_empty() { "" } else { &length };
        let text =
            format!("{method} {target} HTTP/1.1\r\nHost: {AUTHORITY}\r\n{lines}{length}\r\n{body}");
        let (sent, one) = ask(front.address, &text).await;
        let two = send(&mut sender, request(method, target, &fields, body)).await;
        let first = verify(front.replicas.policy(), &Strict, &sent, &one).unwrap();
        let second = verify(front.replicas.policy(), &Strict, &sent, &two).unwrap();
        assert_eq!(second.facts.index.0, first.facts.index.0 + 1);
        let mut ordered = front.replicas.requests().split_off(first.facts.index.0 as usize - 1);
        for request in &mut ordered {
            request.salt = Salt([0; 16]);
        }
        assert_eq!(ordered[0], ordered[1]);
    }
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_joined() {
    let front = Front::start().await;
    let mut sender = connect(front.address).await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let received = send(&mut sender, request("GET", "/kv/a", &crumbs, "")).await;
    let sent = SentRequest {
        method: "GET".to_owned(),
        path: "/kv/a".to_owned(),
        query: "?".to_owned(),
        fields: vec![("Cookie".to_owned(), "a=1; b=2; c=3".to_owned())],
        body: Bytes::new(),
    };
    verify(front.replicas.policy(), &Strict, &sent, &received).unwrap();
}

#[tokio::test]
async fn what_http_1_refuses_http_2_refuses_by_the_same_code() {
    let front = Front::start().await;
    let mut sender = connect(front.address).await;
    let long = "a".repeat(17_000);
    let flood: Vec<_> = (0..120).map(|_| ("x-a", "b")).collect();
    for (request, status, code) in [
        (request("GET", "/a", &[("accept", "a"), ("accept", "b")], ""), 400, "field-repeated"),
        (request("GET", "/a", &[("host", "evil.example")], ""), 400, "host-ambiguous"),
        (request("GET", "/a", &[("content-encoding", "gzip")], ""), 415, "content-encoding"),
        (request("GET", "/a", &[("content-range", "bytes 0-1/2")], ""), 400, "content-range"),
        (
            request("GET", "/a", &[("accept", "text/event-stream")], ""),
            501,
            "event-stream-unsupported",
        ),
        (request("GET", "/a", &[("idempotency-key", "a")], ""), 400, "key-form"),
        (request("TRACE", "/a", &[], ""), 501, "method-unsupported"),
        (request("GET", &format!("/{long}"), &[], ""), 414, "target-too-long"),
        (request("GET", "/a", &[("cookie", &long)], ""), 431, "head-too-large"),
        (request("GET", "/a", &flood, ""), 431, "too-many-headers"),
        (request("GET", "/\u{fc}", &[], ""), 400, "target-malformed"),
        (request("PUT", "/a", &[], &"a".repeat((1 << 20) + 1)), 413, "body-too-large"),
        (request("GET", "/busy", &[], ""), 503, "overloaded"),
    ] {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let received = send(&mut sender, request).await;
        assert_eq!(problem(&received), (status, code.to_owned()), "{asked:.40}");
        assert_eq!(field(&received, "connection"), None);
    }
    assert!(front.replicas.requests().is_empty());
    let foreign = Request::get("http://evil.example/a").body(Full::default()).unwrap();
    assert_eq!(problem(&send(&mut sender, foreign).await), (421, "host-foreign".to_owned()));
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed() {
    let front = Front::with(|config| config.limits.idle_timeout_ms = 200).await;
    let mut sender = connect(front.address).await;
    let received = send(&mut sender, request("GET", "/a", &[], "")).await;
    assert_eq!(received.status, 404);
    let gone = async {
        while front.counters.connections() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, gone).await.expect("it stays open");
}

#[tokio::test]
async fn an_http_2_client_without_window_is_cut_off() {
    let front = Front::with(|config| config.limits.write_timeout_ms = 200).await;
    let socket = TcpStream::connect(front.address).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(10)
        .initial_connection_window_size(65_535)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = "a".repeat(1 << 19);
    send(&mut sender, request("PUT", "/kv/a", &[], &body)).await;
    // Taken but not read: the window stays shut.
    let held = sender.send_request(request("GET", "/kv/a", &[], "")).await.unwrap();
    let gone = async {
        while front.counters.connections() > 0 || front.counters.in_flight() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, gone).await.expect("it stays open");
    drop(held);
}

#[tokio::test]
async fn a_stream_that_is_reset_keeps_its_turn_until_the_request_is_answered() {
    let front = Front::with(|config| {
        config.limits.in_flight_per_client_max = 3;
        config.limits.certify_timeout_ms = 500;
    })
    .await;
    let mut sender = connect(front.address).await;
    for open in 1..=3 {
        let asked = sender.send_request(request("GET", "/never", &[], ""));
        let asked = tokio::spawn(asked);
        while front.counters.in_flight() < open {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        asked.abort();
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let received = send(&mut sender, request("GET", "/a", &[], "")).await;
    assert_eq!(problem(&received), (429, "client-busy".to_owned()));
    while front.counters.in_flight() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(send(&mut sender, request("GET", "/a", &[], "")).await.status, 404);
}
