//! The operations listener.

use crate::{
    backend,
    client::{Client, ask, field, problem},
};
use quorate_gateway::{
    Fault, Fetch, Fetched, Limits, OperationsBackend, Status, codes, serve_operations,
};
use quorate_types::Refusal;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct Node {
    fault: Arc<Mutex<Option<Fault>>>,
    production: bool,
}

impl OperationsBackend for Node {
    async fn ready(&self) -> Result<(), String> {
        if self.production { Err("catching up".to_owned()) } else { Ok(()) }
    }

    fn metrics_text(&self) -> String {
        "quorate_height 17\n".to_owned()
    }

    async fn status(&self) -> Status {
        backend::status()
    }

    async fn published(&self, what: Fetch) -> Result<Fetched, Refusal> {
        if what == Fetch::Policy {
            let body = "quorum replicas\n".into();
            return Ok(Fetched { content_type: "text/plain; charset=utf-8", body });
        }
        Err(codes::NOT_FOUND.refusal("there is nothing yet"))
    }

    async fn set_fault(&self, fault: Option<Fault>) -> Result<(), Refusal> {
        if self.production {
            return Err(codes::FAULTS_REFUSED.refusal("this is no development cluster"));
        }
        *self.fault.lock().unwrap() = fault;
        Ok(())
    }
}

async fn start(node: Node) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { header_timeout_ms: 200, ..Limits::default() };
    tokio::spawn(serve_operations(listener, limits, node, std::future::pending()));
    address
}

fn request(line: &str, headers: &str, content: &str) -> String {
    let length = content.len();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{content}"
    )
}

#[tokio::test]
async fn the_pages_are_there() {
    let address = start(Node::default()).await;
    for (path, content) in
        [("/livez", "live\n"), ("/readyz", "ready\n"), ("/metrics", "quorate_height 17\n")]
    {
        let (_, received) = ask(address, &request(&format!("GET {path}"), "", "")).await;
        assert_eq!((received.status, &received.body[..]), (200, content.as_bytes()), "{path}");
    }
    let (_, received) = ask(address, &request("GET /status", "", "")).await;
    let status: Status = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(status, backend::status());
    let address = start(Node { production: true, ..Node::default() }).await;
    let (_, received) = ask(address, &request("GET /readyz", "", "")).await;
    assert_eq!(problem(&received), (503, "not-ready".to_owned()));
    assert!(String::from_utf8_lossy(&received.body).contains("catching up"));
}

#[tokio::test]
async fn the_page_for_people_runs_no_script_but_its_own() {
    let address = start(Node::default()).await;
    let mut seen = 0;
    for (path, kind) in [
        ("", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/page.mjs", "text/javascript; charset=utf-8"),
        ("/standing.mjs", "text/javascript; charset=utf-8"),
        ("/checker.mjs", "text/javascript; charset=utf-8"),
        ("/verify.mjs", "text/javascript; charset=utf-8"),
    ] {
        let (_, received) = ask(address, &request(&format!("GET /ui{path}"), "", "")).await;
        assert_eq!(received.status, 200, "{path}");
        assert_eq!(field(&received, "content-type"), Some(kind));
        assert_eq!(field(&received, "x-content-type-options"), Some("nosniff"));
        let policy = field(&received, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(received.body.to_vec()).unwrap();
        // Nothing inline, which that policy would switch off without a word.
        for inline in ["<script>", "<style", " style=", " onclick=", " onload="] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
        // What a file names is there: `"./x.mjs"` in scripts, `"/ui/x"` in the page.
        for named in text
            .split('"')
            .filter_map(|word| word.strip_prefix("/ui/").or_else(|| word.strip_prefix("./")))
        {
            let (_, received) = ask(address, &request(&format!("GET /ui/{named}"), "", "")).await;
            assert_eq!(received.status, 200, "{path} names {named}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} names were seen");
    let (_, received) = ask(address, &request("GET /ui/none.mjs", "", "")).await;
    assert_eq!(problem(&received), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn policy_and_log_are_public_and_exchanges_are_not() {
    let address = start(Node::default()).await;
    let get = async |path: &str| {
        let line = format!("GET /.well-known/quorate/{path}");
        ask(address, &request(&line, "", "")).await.1
    };
    let policy = get("policy").await;
    assert_eq!((policy.status, &policy.body[..]), (200, &b"quorum replicas\n"[..]));
    for path in ["log/checkpoint", "exchange/1", "proof/1", "status", "nothing", "log/tile/x"] {
        assert_eq!(problem(&get(path).await), (404, "not-found".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn faults_are_set_and_cleared() {
    let node = Node::default();
    let address = start(node.clone()).await;
    let json = "Content-Type: application/json\r\n";
    let set = request("POST /fault", json, r#"{"fault":"delay","ms":250}"#);
    assert_eq!(ask(address, &set).await.1.status, 204);
    assert_eq!(*node.fault.lock().unwrap(), Some(Fault::Delay { ms: 250 }));
    for content in ["", "{}", r#"{"fault":"sleep"}"#, r#"{"fault":"delay"}"#] {
        let (_, received) = ask(address, &request("POST /fault", json, content)).await;
        assert_eq!(problem(&received), (400, "fault-malformed".to_owned()), "{content}");
    }
    assert_eq!(ask(address, &request("DELETE /fault", "", "")).await.1.status, 204);
    assert_eq!(*node.fault.lock().unwrap(), None);
    let address = start(Node { production: true, ..Node::default() }).await;
    let (_, received) = ask(address, &request("DELETE /fault", "", "")).await;
    assert_eq!(problem(&received), (403, "faults-refused".to_owned()));
}

#[tokio::test]
async fn a_web_page_cannot_set_faults() {
    let node = Node::default();
    let address = start(node.clone()).await;
    let mute = r#"{"fault":"mute"}"#;
    let json = "Content-Type: application/json\r\n";
    let (_, plain) =
        ask(address, &request("POST /fault", "Content-Type: text/plain\r\n", mute)).await;
    assert_eq!(problem(&plain), (400, "fault-malformed".to_owned()));
    let origin = format!("{json}Origin: http://localhost\r\n");
    let (_, page) = ask(address, &request("POST /fault", &origin, mute)).await;
    assert_eq!(problem(&page), (403, "faults-refused".to_owned()));
    let rebound = request("POST /fault", json, mute).replace("localhost", "evil.example");
    assert_eq!(problem(&ask(address, &rebound).await.1), (403, "faults-refused".to_owned()));
    let (_, preflight) = ask(address, &request("OPTIONS /fault", &origin, "")).await;
    assert_eq!(problem(&preflight), (403, "faults-refused".to_owned()));
    assert_eq!(*node.fault.lock().unwrap(), None);
}

#[tokio::test]
async fn bad_requests_are_problems_here_too() {
    let address = start(Node::default()).await;
    let (_, missing) = ask(address, &request("GET /ui/x", "", "")).await;
    assert_eq!(problem(&missing), (404, "not-found".to_owned()));
    let (_, method) = ask(address, &request("PUT /livez", "", "")).await;
    assert_eq!(problem(&method), (405, "method-not-allowed".to_owned()));
    assert_eq!(field(&method, "allow"), Some("GET, HEAD"));
    let (_, method) = ask(address, &request("PUT /fault", "", "")).await;
    assert_eq!(field(&method, "allow"), Some("POST, DELETE"));
    let mut client = Client::connect(address).await;
    client.write("GET /livez HTTP/1.1\r\n").await;
    assert_eq!(problem(&client.read("GET").await), (408, "header-timeout".to_owned()));
    let mut client = Client::connect(address).await;
    client.write("GET /livez#a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(problem(&client.read("GET").await), (400, "target-malformed".to_owned()));
}

#[tokio::test]
async fn a_fault_is_small_and_comes_at_once() {
    let address = start(Node::default()).await;
    let head = |framing: &str| {
        format!(
            "POST /fault HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             {framing}\r\n\r\n"
        )
    };
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
    for (bytes, status, code) in [
        (head("Content-Length: 104857600"), 413, "body-too-large"),
        (head("Transfer-Encoding: chunked") + &chunk, 413, "body-too-large"),
        (head("Content-Length: 9") + "{\"fault\"", 408, "body-timeout"),
        (head("Content-Length: 9") + "{\"fault\":", 400, "fault-malformed"),
    ] {
        let mut client = Client::connect(address).await;
        client.write(bytes).await;
        assert_eq!(problem(&client.read("POST").await), (status, code.to_owned()));
    }
}
