//! `quorate proxy` between clients that know nothing of proofs and gateways that may lie.

use crate::{
    binary::{Person, example},
    cluster::{Cluster, Gateway, field, hello, plain, refusal},
    running::{Dev, gateway, pid, wait_for},
};
use quorate_proof::{ReceivedResponse, parse_response};
use quorate_types::Response;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const NAME: &str = "dev.localhost";

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    ready: Value,
    address: String,
}

impl Proxy {
    pub(crate) fn start(person: &Person, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["--output", "json", "proxy", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(person.home.path())
            .env_clear()
            .env("HOME", person.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready");
        let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, ready, address }
    }

    /// A proxy of the cluster's policy before these gateways.
    fn before(person: &Person, cluster: &Cluster, gateways: &[&str]) -> Self {
        let policy = person.write("policy.txt", cluster.policy.text());
        Self::start(person, &[&["--policy", &policy], gateways].concat())
    }

    fn ask(&self, line: &str, fields: &str, body: &str) -> ReceivedResponse {
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let host = &self.address;
        self.send(line, &format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n{body}"))
    }

    pub(crate) fn get(&self, path: &str) -> ReceivedResponse {
        self.ask(&format!("GET {path}"), "", "")
    }

    /// Sends bytes over a connection of their own, and reads the first answer.
    fn send(&self, line: &str, request: &str) -> ReceivedResponse {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read(&mut stream, line.split(' ').next().unwrap())
    }

    fn metrics(&self) -> String {
        let response = self.get("/.well-known/quorate/proxy/metrics");
        assert_eq!(response.status, 200);
        String::from_utf8(response.body.to_vec()).unwrap()
    }

    /// Stops it as `kill` does; tells its exit code.
    fn stop(&mut self) -> Option<i32> {
        kill_process(pid(u64::from(self.child.id())), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one answer.
fn read(stream: &mut TcpStream, method: &str) -> ReceivedResponse {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let silent = method == "HEAD" || head.contains(" 204 ");
            let length: usize =
                if silent { 0 } else { length.map_or(0, |length| length.parse().unwrap()) };
            if bytes.len() >= end + 4 + length {
                return parse_response(&bytes, method).unwrap();
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).unwrap() {
            0 => panic!("no whole answer: {}", String::from_utf8_lossy(&bytes)),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn value<'a>(response: &'a ReceivedResponse, name: &str) -> Option<&'a str> {
    let mut fields = response.fields.iter();
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[track_caller]
fn refused(response: &ReceivedResponse, status: u16, code: &str) {
    let problem: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    assert_eq!((response.status, problem["code"].as_str()), (status, Some(code)), "{response:?}");
    assert_eq!(problem["proven"], false);
    assert_eq!(value(response, "quorate-index"), None);
}

#[test]
fn an_unchanged_client_gets_what_was_verified_and_no_uncovered_field() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let adds = Gateway::serving(cluster, |cluster, request| {
        let mut answer = cluster.answer(request, hello().with_field("etag", "\"17\""));
        for (name, value) in [
            ("X-Injected", "1"),
            ("Server-Timing", "order;dur=1"),
            ("Refresh", "0; url=http://evil.example/"),
            ("Access-Control-Allow-Origin", "*"),
            ("Link", "</x>; rel=preload"),
            ("Content-Security-Policy", "none"),
        ] {
            answer.fields.push((name.to_owned(), value.to_owned()));
        }
        answer.inline()
    });
    let proxy = Proxy::start(&person, &["--policy", &policy, &adds.url]);
    let fields = "User-Agent: any\r\nX-Extra: kept\r\nX-Hop: gone\r\nConnection: X-Hop\r\n\
                  Quorate-Index: 9\r\nPrefer: return=minimal\r\n";
    let response = proxy.ask("GET /kv/a?x=%20&y", fields, "");
    assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    assert_eq!(value(&response, "etag"), Some("\"17\""));
    assert_eq!(value(&response, "content-type"), Some("text/plain"));
    let known = [
        "cache-control",
        "content-digest",
        "content-length",
        "content-type",
        "date",
        "etag",
        "quorate-epoch",
        "quorate-index",
        "quorate-proof",
        "quorate-salt",
        "quorate-state",
        "quorate-time",
        "vary",
    ];
    for (name, _) in &response.fields {
        assert!(known.contains(&name.to_ascii_lowercase().as_str()), "{name} was passed on");
    }
    let [request] = &adds.requests()[..] else { panic!("one request") };
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/kv/a", "?x=%20&y"));
    assert_eq!(field(request, "host"), Some(NAME));
    assert_eq!(field(request, "idempotency-key").unwrap().len(), 34);
    assert_eq!(field(request, "prefer"), Some("proof=inline, return=minimal"));
    assert_eq!(field(request, "x-extra"), Some("kept"));
    assert_eq!(field(request, "x-hop"), None);
    assert_eq!(field(request, "quorate-index"), None);
}

#[test]
fn every_request_gets_a_key_of_its_own_unless_it_has_one() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let proxy = Proxy::start(&person, &["--policy", &policy, &honest.url]);
    let own = "Idempotency-Key: \"0123456789012345678901\"\r\n";
    for fields in ["", "", own] {
        assert_eq!(proxy.ask("GET /", fields, "").status, 200);
    }
    let requests = honest.requests();
    let keys: Vec<_> =
        requests.iter().map(|request| field(request, "idempotency-key").unwrap()).collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[2], "\"0123456789012345678901\"");
    refused(&proxy.ask("GET /", "Idempotency-Key: \"short\"\r\n", ""), 400, "key-too-short");
}

#[test]
fn a_key_that_a_gateway_spent_on_another_request_is_replaced() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let mut spent = true;
    let gateway = Gateway::serving(cluster, move |cluster, request| {
        let own = field(request, "idempotency-key").unwrap().starts_with("\"own");
        if own || std::mem::take(&mut spent) {
            let reused = Response::problem(422, "idempotency-key-reused", "it stood elsewhere");
            return cluster.answer(request, reused).inline();
        }
        cluster.answer(request, hello()).inline()
    });
    let proxy = Proxy::start(&person, &["--policy", &policy, &gateway.url]);
    assert_eq!(proxy.get("/").status, 200);
    let requests = gateway.requests();
    let key = |i: usize| field(&requests[i], "idempotency-key").unwrap();
    assert_eq!(requests.len(), 2);
    assert_ne!(key(0), key(1));
    let own = "Idempotency-Key: \"own-0123456789012345678901\"\r\n";
    assert_eq!(proxy.ask("GET /", own, "").status, 422, "a client's key is the client's matter");
    assert_eq!(gateway.requests().len(), 3);
}

#[test]
fn gateways_that_lie_refuse_or_are_gone_are_passed_over() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let liar = Gateway::start(|_| plain(200, "", "believe me"));
    let denier = Gateway::start(|_| refusal(404, "not-found", ""));
    let busy = Gateway::start(|_| refusal(503, "overloaded", "Retry-After: 9\r\n"));
    let honest = Gateway::honest(cluster);
    let gone = "http://127.0.0.1:1";
    let gateways = [&liar.url[..], &denier.url, &busy.url, gone, &honest.url];
    let proxy = Proxy::start(&person, &[&["--policy", &policy], &gateways[..]].concat());
    for _ in 0..3 {
        let response = proxy.ask("POST /x", "", "tea");
        assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    }
    assert_eq!(honest.requests().len(), 3);
    let asked = &liar.requests()[0];
    assert_eq!(field(asked, "idempotency-key"), field(&honest.requests()[0], "idempotency-key"));
    let metrics = proxy.metrics();
    for (gateway, outcome) in [
        (&liar.url[..], "unverified"),
        (&denier.url[..], "refused"),
        (&busy.url[..], "refused"),
        (gone, "unreachable"),
        (&honest.url[..], "verified"),
    ] {
        let line =
            format!("quorate_proxy_tries_total{{gateway=\"{gateway}\",outcome=\"{outcome}\"}} ");
        let count = metrics.lines().find_map(|metric| metric.strip_prefix(&line)).unwrap();
        assert_ne!(count, "0", "{metrics}");
    }
    assert!(metrics.contains("quorate_proxy_proven_total 3\n"), "{metrics}");
}

#[test]
fn a_lying_gateway_alone_is_a_502_and_none_of_its_answers_comes_through() {
    let person = Person::new();
    let cluster = Cluster::new(1, NAME);
    let mut first = None;
    let replays = Gateway::serving(Cluster::new(1, NAME), move |cluster, request| {
        first.get_or_insert_with(|| cluster.answer(request, hello()).inline()).clone()
    });
    let changes = Gateway::serving(Cluster::new(1, NAME), |cluster, request| {
        let mut answer = cluster.answer(request, hello());
        answer.body = "jello".into();
        answer.inline()
    });
    let other = Gateway::honest(Cluster::new(2, NAME));
    let invents = Gateway::start(|_| plain(200, "", "believe me"));
    for liar in [&changes, &other, &invents] {
        let proxy = Proxy::before(&person, &cluster, &[&liar.url]);
        refused(&proxy.get("/kv/a"), 502, "answer-unverified");
    }
    let proxy = Proxy::before(&person, &cluster, &[&replays.url]);
    assert_eq!(proxy.get("/kv/a").status, 200);
    refused(&proxy.get("/kv/a"), 502, "answer-unverified");
}

#[test]
fn a_refusal_is_never_passed_on_as_if_the_service_had_spoken() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    for (status, code) in [(404, "not-found"), (401, "login"), (410, "gone"), (413, "x")] {
        let liar = Gateway::start(move |_| refusal(status, code, ""));
        let proxy = Proxy::before(&person, &cluster, &[&liar.url]);
        refused(&proxy.get("/kv/a"), 502, "gateways-refused");
    }
    let running = Gateway::start(|_| refusal(409, "request-running", "Retry-After: 1\r\n"));
    let proxy = Proxy::before(&person, &cluster, &["--max-time", "1", &running.url]);
    refused(&proxy.get("/kv/a"), 503, "gateways-busy");
    let proxy = Proxy::before(&person, &cluster, &["http://127.0.0.1:1"]);
    let response = proxy.get("/kv/a");
    refused(&response, 503, "gateways-unreachable");
    assert_eq!(value(&response, "retry-after"), Some("1"));
    refused(&proxy.get("/.well-known/quorate/readyz"), 503, "not-ready");
}

#[test]
fn a_gateway_that_never_answers_costs_one_try() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_url = format!("http://{}", mute.local_addr().unwrap());
    let arguments = ["--policy", &policy, "--attempt-time", "1", &mute_url, &honest.url];
    let proxy = Proxy::start(&person, &arguments);
    let before = Instant::now();
    assert_eq!(proxy.get("/").status, 200);
    assert!(before.elapsed() >= Duration::from_secs(1), "the first one is asked first");
    let alone = Proxy::start(&person, &["--policy", &policy, "--max-time", "1", &mute_url]);
    refused(&alone.get("/"), 504, "gateways-silent");
}

#[test]
fn content_is_read_whole_within_its_limit() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let proxy = Proxy::start(&person, &["--policy", &policy, "--body-max", "100", &honest.url]);
    let long = "a".repeat(101);
    refused(&proxy.ask("PUT /kv/a", "", &long), 413, "body-too-large");
    let chunked = |body: &str| {
        let host = &proxy.address;
        let request = format!(
            "PUT /kv/a HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-T\r\n\r\n{:x}\r\n{body}\r\n1\r\nz\r\n0\r\nX-T: dropped\r\n\r\n",
            body.len()
        );
        proxy.send("PUT", &request)
    };
    refused(&chunked(&long), 413, "body-too-large");
    assert_eq!(honest.requests().len(), 0);
    assert_eq!(chunked("tea").status, 200);
    let [request] = &honest.requests()[..] else { panic!("one request") };
    assert_eq!(&request.body[..], b"teaz");
    assert_eq!(field(request, "content-length"), Some("4"));
    assert_eq!(field(request, "x-t").or(field(request, "trailer")), None);
}

#[test]
fn head_and_options_are_ordered_and_connections_are_kept() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let proxy = Proxy::start(&person, &["--policy", &policy, &honest.url]);
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    for method in ["HEAD", "GET", "OPTIONS"] {
        let request = format!("{method} /kv/a HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
        stream.write_all(request.as_bytes()).unwrap();
        let response = read(&mut stream, method);
        let content: &[u8] = if method == "HEAD" { b"" } else { b"hello" };
        assert_eq!((response.status, &response.body[..]), (200, content), "{method}");
    }
    let requests = honest.requests();
    let methods: Vec<_> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "GET", "OPTIONS"]);
    refused(&proxy.ask("TRACE /", "", ""), 501, "method-unsupported");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    refused(&proxy.ask("GET /", upgrade, ""), 501, "upgrade-unsupported");
}

#[test]
fn foreign_hosts_and_pages_of_other_origins_are_refused() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let allowed = "http://app.example";
    let arguments = ["--policy", &policy, "--origin", allowed, "--alias", "p.example", &honest.url];
    let proxy = Proxy::start(&person, &arguments);
    let host = |host: &str| proxy.send("GET", &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    refused(&host("evil.example"), 421, "host-foreign");
    let port = proxy.address.rsplit(':').next().unwrap();
    for known in ["p.example", NAME, &format!("localhost:{port}")] {
        assert_eq!(host(known).status, 200, "{known}");
    }
    let origin = |origin: &str| proxy.ask("POST /", &format!("Origin: {origin}\r\n"), "x");
    let before = honest.requests().len();
    refused(&origin("http://evil.example"), 403, "origin-refused");
    refused(&origin("null"), 403, "origin-refused");
    assert_eq!(honest.requests().len(), before);
    let own = origin(&format!("http://{}", proxy.address));
    assert_eq!((own.status, value(&own, "access-control-allow-origin")), (200, None));
    let app = origin(allowed);
    assert_eq!(value(&app, "access-control-allow-origin"), Some(allowed));
    let ask = |origin: &str| {
        let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n");
        proxy.ask("OPTIONS /", &fields, "")
    };
    assert!(value(&ask(allowed), "access-control-allow-methods").unwrap().contains("PUT"));
    assert_eq!(value(&ask("http://evil.example"), "access-control-allow-methods"), None);
}

#[test]
fn a_client_that_verifies_and_signs_can_do_so_through_a_proxy() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let honest = Gateway::honest(cluster);
    let proxy = Proxy::start(&person, &["--policy", &policy, &honest.url]);
    person.run(&["keygen", "me.key"]).exits(0);
    let url = format!("http://{}/kv/a", proxy.address);
    let run =
        person.run(&["curl", "--policy", &policy, "--sign", "me.key", "-d", "x", &url]).exits(0);
    assert!(run.stderr.starts_with("verified: 3 of 4 replicas"), "{run:?}");
    let request = honest.requests().remove(0);
    let params = field(&request, "signature-input").unwrap();
    assert!(params.starts_with("quorate=(\"@method\""), "{params}");
    assert!(field(&request, "signature").is_some());
}

#[test]
fn an_answer_from_long_ago_is_not_passed_on_where_age_is_bounded() {
    let person = Person::new();
    let response = std::fs::read(example("response.http")).unwrap();
    let gateway = Gateway::start(move |_| response.clone());
    let policy = example("policy.txt");
    let ask = |more: &[&str]| {
        let proxy =
            Proxy::start(&person, &[&["--policy", &policy], more, &[&gateway.url[..]]].concat());
        let key = "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\n";
        let fields = format!("Content-Type: application/json\r\n{key}");
        proxy.ask("POST /orders", &fields, "{\"item\":\"tea\",\"qty\":2}")
    };
    let response = ask(&[]);
    assert_eq!((response.status, value(&response, "location")), (201, Some("/orders/42")));
    refused(&ask(&["--max-age", "60"]), 502, "answer-too-old");
}

#[test]
fn a_proxy_publishes_its_own_policy_and_ends_in_order() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let text = cluster.policy.text().to_owned();
    let mut proxy = Proxy::before(&person, &cluster, &["http://127.0.0.1:1"]);
    assert_eq!(proxy.ready["gateways"][0], "http://127.0.0.1:1");
    assert_eq!(proxy.ready["development"], true);
    assert_eq!(proxy.get("/.well-known/quorate/policy").body, text.into_bytes());
    refused(&proxy.get("/.well-known/quorate/status"), 404, "not-found");
    let metrics = "/.well-known/quorate/proxy/metrics";
    refused(&proxy.ask(&format!("POST {metrics}"), "", "x"), 405, "method-not-allowed");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_proxy_starts_only_where_it_is_safe_and_with_something_to_believe() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = person.write("policy.txt", cluster.policy.text());
    let given = ["proxy", "--policy", &policy];
    let run = |more: &[&str]| person.run(&[&given[..], more].concat());
    run(&["--listen", "0.0.0.0:0", "http://h"]).fails(2, "insecure-http");
    run(&["http://h/kv"]).fails(2, "proxy-url");
    run(&["ftp://h"]).fails(2, "url-scheme");
    run(&["--alias", "http://a/", "--listen", "127.0.0.1:0", "http://h"]).fails(2, "proxy-setting");
    run(&[]).exits(2);
    person.run(&["proxy", "http://127.0.0.1:1"]).fails(2, "policy-needed");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&["--listen", &address, "http://h"]).fails(1, "port-in-use");
}

#[test]
fn a_cluster_with_a_lying_and_then_a_dead_replica_is_right_behind_a_proxy() {
    let person = Person::new();
    let port = crate::running::free_ports().to_string();
    let dev = Dev::start(&person, &["--dir", "c", "--port", &port, "--no-restart"]);
    let ready = dev.event("ready");
    let urls: Vec<_> = (0..4).map(|i| gateway(&ready, i)).collect();
    let policy = ready["policy"].as_str().unwrap();
    let arguments = [&["--policy", policy][..], &urls.iter().map(|u| &u[..]).collect::<Vec<_>>()];
    let proxy = Proxy::start(&person, &arguments.concat());
    let put = |path: &str, body: &str| proxy.ask(&format!("PUT /kv/{path}"), "", body).status;
    assert_eq!(put("a", "one"), 201);
    let operations = ready["operations"][1].as_str().unwrap();
    person.run(&["fault", "set", "r0", "--corrupt-responses", "--url", operations]).exits(0);
    assert_eq!(put("a", "two"), 204);
    assert_eq!(&proxy.get("/kv/a").body[..], b"two");
    assert_eq!(proxy.get("/kv/none").status, 404);
    let lies =
        format!("quorate_proxy_tries_total{{gateway=\"{}\",outcome=\"unverified\"}} 0", urls[0]);
    assert!(!proxy.metrics().contains(&lies), "the liar was never asked");
    person.run(&["fault", "clear", "r0", "--url", operations]).exits(0);
    wait_for("r0 to be right again", || {
        person.run(&["curl", "--policy", policy, &format!("{}/kv/a", urls[0])]).exit == 0
    });
    kill_process(pid(ready["replicas"][0]["pid"].as_u64().unwrap()), Signal::KILL).unwrap();
    dev.event("died");
    for i in 0..4 {
        assert_eq!(put(&format!("b{i}"), "x"), 201);
    }
    assert_eq!(&proxy.get("/kv/a").body[..], b"two");
}
