//! Requests that no honest client sends, over raw connections to a running gateway.

use super::Site;
use quorate_crypto::{Role, SecretKey};
use quorate_proof::{content_digest, signature_base, signature_params};
use quorate_types::{ClientSignature, Request, Salt, Signature};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const HOST: &str = "dev.localhost";

/// What came back.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) status: u16,
    /// The code of a problem document.
    pub(super) code: String,
    /// Whether it claims a place in the log.
    pub(super) index: Option<u64>,
}

/// Sends bytes over a connection of their own, and reads the first answer.
pub(super) fn send(to: SocketAddr, bytes: &[u8]) -> Came {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that refuses early may stop reading.
    let _ = stream.write_all(bytes);
    came(stream)
}

fn came(mut stream: TcpStream) -> Came {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
            };
            let length = usize::try_from(field("content-length:").unwrap_or(0)).unwrap();
            if bytes.len() >= head + 4 + length {
                let body = &bytes[head + 4..head + 4 + length];
                let problem: Value = serde_json::from_slice(body).unwrap_or_default();
                let index = field("quorate-index:");
                if !problem.is_null() && index.is_none() {
                    assert_eq!(problem["proven"], false, "{text}");
                }
                return Came {
                    status: text[9..12].parse().unwrap(),
                    code: problem["code"].as_str().unwrap_or_default().to_owned(),
                    index,
                };
            }
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            ended => panic!("no answer ({ended:?}): {}", String::from_utf8_lossy(&bytes)),
        }
    }
}

fn head(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{fields}\r\n")
}

fn with(line: &str, fields: &str, body: &str) -> Vec<u8> {
    (head(line, &format!("{fields}Content-Length: {}\r\n", body.len())) + body).into_bytes()
}

#[test]
fn a_running_gateway_refuses_ambiguous_framing_floods_and_path_tricks_by_a_code() {
    let site = Site::start();
    let smuggled = "0\r\n\r\nDELETE /kv/still HTTP/1.1\r\nHost: dev.localhost\r\n\r\n";
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let many = "A: b\r\n".repeat(1_000);
    let long = "a".repeat(20_000);
    let deep = format!("{{\"expect\":{}", "[".repeat(500_000));
    let text = |line: &str, fields: &str| head(line, fields).into_bytes();
    let refused = [
        ((head("POST /kv/a", both) + smuggled).into_bytes(), 400, "framing-ambiguous"),
        (text("PUT /kv/a", "Content-Length: 5,5\r\n"), 400, "framing-malformed"),
        (text("PUT /kv/a", "Transfer-Encoding : chunked\r\n"), 400, "head-malformed"),
        (text("PUT /kv/a", "Content-Length: 104857600\r\n"), 413, "body-too-large"),
        (text("GET /kv/a", &many), 431, "too-many-headers"),
        (text(&format!("GET /kv/{long}"), ""), 414, "target-too-long"),
        (text("GET http://dev.localhost/kv/a", ""), 400, "target-form"),
        (text("GET /kv/a#b", ""), 400, "target-malformed"),
        (text("GET /kv/a\\..\\b c", ""), 400, "head-malformed"),
        (b"GET /kv/a HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec(), 421, "host-foreign"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), 400, "head-malformed"),
        (text("GET /.well-known/quorate/../../kv/a", ""), 404, "not-found"),
        (text("GET /.well-known/quorate/proof/%31", ""), 404, "not-found"),
    ];
    for (bytes, status, code) in &refused {
        let came = send(site.address(0, 1), bytes);
        assert_eq!((came.status, came.code.as_str()), (*status, *code), "{bytes:.80?}");
        assert_eq!(came.index, None, "{came:?}");
    }
    // The service's own answers, ordered and proven: a path means itself, and no file.
    let answered = [
        (text("GET /kv/../../etc/passwd", ""), 404, "not-found"),
        (text("GET /kv/%2e%2e%2f%2e%2e%2fetc%2fpasswd", ""), 404, "not-found"),
        (text("GET //kv/a", ""), 404, "not-found"),
        (text("GET /kv/%00", ""), 404, "not-found"),
        (text("GET /kv/%zz", ""), 400, "key-encoding"),
        (text(&format!("GET /kv/{}", "k".repeat(1_025)), ""), 414, "kv-key-too-long"),
        (with("POST /kv/a/cas", "", &deep), 400, "cas-malformed"),
    ];
    for (bytes, status, code) in &answered {
        let came = send(site.address(0, 2), bytes);
        assert_eq!((came.status, came.code.as_str()), (*status, *code), "{bytes:.80?}");
        assert!(came.index.is_some(), "{came:?}");
    }
    for (_, _, code) in refused.iter().chain(&answered) {
        site.person.run(&["explain", code]).exits(0);
    }
    site.ends_unharmed();
}

#[test]
fn a_hundred_megabytes_sent_all_the_same_are_not_read_to_their_end() {
    let site = Site::start();
    let mut stream = TcpStream::connect(site.address(0, 0)).unwrap();
    stream.write_all(head("PUT /kv/a", "Transfer-Encoding: chunked\r\n").as_bytes()).unwrap();
    let chunk = format!("100000\r\n{}\r\n", "a".repeat(1 << 20)).into_bytes();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let sent = (0..100).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 100, "all of it was taken");
    site.ends_unharmed();
}

/// A signed `PUT`.
struct Signed {
    key: SecretKey,
    created_s: u64,
    idempotency_key: &'static str,
    body: &'static str,
}

impl Signed {
    /// The request in bytes, with a body that may be another than the signed one.
    fn bytes(&self, named: &SecretKey, body: &str) -> Vec<u8> {
        let key = format!("\"{}\"", self.idempotency_key);
        let request = Request {
            method: "PUT".into(),
            path: "/kv/signed".into(),
            query: "?".into(),
            fields: vec![("idempotency-key".into(), key.clone())],
            body: self.body.into(),
            salt: Salt([0; 16]),
            signature: None,
        };
        let public = named.public();
        let params = signature_params(self.created_s, &public);
        let unsigned =
            ClientSignature { key: public, params: params.clone(), signature: Signature([0; 64]) };
        let base = signature_base(&request, HOST, &unsigned).unwrap();
        let signature = base64(&self.key.sign(base.as_bytes()).0);
        let fields = format!(
            "Idempotency-Key: {key}\r\nContent-Digest: {}\r\nSignature-Input: quorate={params}\r\n\
             Signature: quorate=:{signature}:\r\n",
            content_digest(body.as_bytes())
        );
        with("PUT /kv/signed", &fields, body)
    }

    fn own(&self) -> Vec<u8> {
        self.bytes(&self.key, self.body)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

#[test]
fn forged_expired_and_replayed_client_signatures_and_reused_keys_have_their_codes() {
    let site = Site::start();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = |seed| SecretKey::from_seed(Role::Client, &[seed; 32]);
    let signed = |idempotency_key, created_s| Signed {
        key: key(1),
        created_s,
        idempotency_key,
        body: "hello",
    };
    let ask = |i, bytes: &[u8]| {
        let came = send(site.address(0, i), bytes);
        (came.status, came.code.clone(), came.index)
    };
    let refused = |code: &str| (401, code.to_owned(), None);

    let honest = signed("one", now_s);
    let (status, _, first) = ask(0, &honest.own());
    assert!(status == 201 && first.is_some(), "{status}");
    // Whoever replays it, wherever, gets the first answer: nothing is executed twice.
    assert_eq!(ask(3, &honest.own()).2, first);

    let forged = honest.bytes(&key(1), "jello");
    assert_eq!(ask(1, &forged), refused("client-signature-wrong"));
    let borrowed = honest.bytes(&key(2), "hello");
    assert_eq!(ask(1, &borrowed), refused("client-signature-wrong"));
    let cut = String::from_utf8(honest.own()).unwrap().replace(";keyid=\"", ";keyid=\"A");
    assert_eq!(ask(1, cut.as_bytes()), refused("signature-malformed"));
    // Only replicas agree on the time, so this answer is theirs.
    for created_s in [now_s - 3_600, now_s + 3_600] {
        let (status, code, index) = ask(1, &signed("late", created_s).own());
        assert_eq!((status, code.as_str()), (401, "signature-outside-window"));
        assert!(index.is_some());
    }

    // One key on two requests: the second is told so, the first keeps its answer.
    let fields = "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\n";
    let (_, _, first) = ask(0, &with("PUT /kv/b", fields, "one"));
    let (status, code, index) = ask(2, &with("PUT /kv/b", fields, "two"));
    assert_eq!((status, code.as_str()), (422, "idempotency-key-reused"));
    assert!(index.is_some());
    assert_eq!(ask(2, &with("PUT /kv/b", fields, "one")).2, first);
    let short = ask(2, &with("PUT /kv/b", "Idempotency-Key: \"x\"\r\n", "one"));
    assert_eq!(short, (400, "key-too-short".to_owned(), None));
    site.ends_unharmed();
}

#[test]
fn two_thousand_idle_connections_and_slow_heads_hold_nobody_up() {
    let site = Site::start();
    let to = site.address(0, 1);
    let mut slow = Vec::new();
    for n in 0..2_000 {
        let mut stream = TcpStream::connect(to).unwrap();
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /kv/a HT").unwrap(),
            _ => stream.write_all(b"GET /kv/a HTTP/1.1\r\nX: ").unwrap(),
        }
        slow.push(stream);
    }
    let begun = Instant::now();
    let url = format!("{}/kv/busy", site.gateway(1));
    site.person.run(&["curl", "-X", "PUT", "-d", "x", &url]).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // A head that drips is told so; a silent connection is closed without a word.
    let came = came(slow.swap_remove(1_001));
    assert_eq!((came.status, came.code.as_str()), (408, "header-timeout"));
    let mut silent = slow.swap_remove(0);
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    silent.shutdown(Shutdown::Write).unwrap();
    silent.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    site.ends_unharmed();
}
