//! The reserved prefix.

use crate::{
    backend::{AUTHORITY, Front},
    client::{ask, field, problem},
};
use quorate_gateway::{Fetch, Status};
use quorate_types::Index;

fn request(method: &str, path: &str) -> String {
    format!("{method} /.well-known/quorate/{path} HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n")
}

#[tokio::test]
async fn what_is_published_is_fetched_from_the_replica() {
    let front = Front::start().await;
    let (_, policy) = ask(front.address, &request("GET", "policy")).await;
    assert_eq!(policy.body, front.replicas.policy().text());
    assert_eq!(field(&policy, "content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(field(&policy, "access-control-allow-origin"), Some("*"));
    for path in ["proof/17", "log/checkpoint", "log/tile/0/x001/002", "log/tile/entries/000.p/3"] {
        let (_, received) = ask(front.address, &request("GET", path)).await;
        assert_eq!((received.status, &received.body[..]), (200, &b"bytes"[..]), "{path}");
        let lasting = field(&received, "cache-control").unwrap().contains("immutable");
        assert_eq!(lasting, path == "log/tile/0/x001/002");
    }
    assert_eq!(
        front.replicas.fetched(),
        [
            Fetch::Policy,
            Fetch::Proof(Index(17)),
            Fetch::Checkpoint,
            Fetch::Tile { level: 0, n: 1002, width: 256 },
            Fetch::Entries { n: 0, width: 3 },
        ]
    );
    let (_, head) = ask(front.address, &request("HEAD", "policy?x=y")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(front.replicas.requests().is_empty());
}

#[tokio::test]
async fn status_and_readiness_are_told_in_json_and_words() {
    let front = Front::start().await;
    let (_, received) = ask(front.address, &request("GET", "status")).await;
    let status: Status = serde_json::from_slice(&received.body).unwrap();
    assert_eq!((status.engine.as_str(), status.height), ("pbft", 17));
    let json: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    for name in [
        "engine",
        "fault_model",
        "view",
        "primary",
        "height",
        "lag",
        "peers",
        "last_head",
        "divergent",
    ] {
        assert!(json.get(name).is_some(), "{name}");
    }
    let (_, received) = ask(front.address, &request("GET", "readyz")).await;
    assert_eq!((received.status, &received.body[..]), (200, &b"ready\n"[..]));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let front = Front::start().await;
    for (method, path, status, code) in [
        ("GET", "", 404, "not-found"),
        ("GET", "nothing", 404, "not-found"),
        ("GET", "proof/101", 404, "not-found"),
        ("GET", "proof/01", 404, "not-found"),
        ("GET", "log/tile/0/x000/001", 404, "not-found"),
        ("GET", "%70olicy", 404, "not-found"),
        ("GET", "exchange/5", 403, "exchange-restricted"),
        ("PUT", "policy", 405, "method-not-allowed"),
        ("DELETE", "proof/5", 405, "method-not-allowed"),
    ] {
        let (_, received) = ask(front.address, &request(method, path)).await;
        assert_eq!(problem(&received), (status, code.to_owned()), "{path}");
        assert_eq!(field(&received, "allow").is_some(), status == 405, "{path}");
    }
}

#[tokio::test]
async fn only_the_exact_prefix_is_reserved() {
    let front = Front::start().await;
    for path in
        ["/.well-known/quorate", "/.well-known/Quorate/policy", "/.well-known//quorate/policy"]
    {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n");
        let (_, received) = ask(front.address, &text).await;
        assert!(field(&received, "quorate-index").is_some(), "{path}");
    }
    assert_eq!(front.replicas.requests().len(), 3);
}
