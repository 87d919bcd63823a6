//! Time, connections and requests in progress are bounded.

use crate::{
    backend::{AUTHORITY, Front},
    client::{Client, PATIENCE, field, problem},
};
use quorate_gateway::{GatewayConfig, Limits};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n")
}

fn quick(config: &mut GatewayConfig) {
    config.limits.header_timeout_ms = 300;
    config.limits.body_timeout_ms = 300;
    config.limits.idle_timeout_ms = 600;
}

#[tokio::test]
async fn a_head_that_drips_is_answered_408() {
    let front = Front::with(quick).await;
    let mut client = Client::connect(front.address).await;
    let begun = Instant::now();
    for byte in get("/a").bytes().take(12) {
        client.write([byte]).await;
        sleep(Duration::from_millis(40)).await;
    }
    assert_eq!(problem(&client.read("GET").await), (408, "header-timeout".to_owned()));
    assert!(client.is_closed().await);
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_millis(300) && lasted < Duration::from_secs(3), "{lasted:?}");
}

#[tokio::test]
async fn the_second_head_of_a_connection_has_its_own_time() {
    let front = Front::with(quick).await;
    let mut client = Client::connect(front.address).await;
    for _ in 0..3 {
        let text = get("/a");
        client.write(&text[..10]).await;
        sleep(Duration::from_millis(200)).await;
        client.write(&text[10..]).await;
        assert_eq!(client.read("GET").await.status, 404);
    }
    client.write("GET ").await;
    assert_eq!(problem(&client.read("GET").await), (408, "header-timeout".to_owned()));
}

#[tokio::test]
async fn content_that_drips_is_answered_408() {
    let front = Front::with(quick).await;
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect(front.address).await;
        client.write(format!("PUT /a HTTP/1.1\r\nHost: {AUTHORITY}\r\n{framing}\r\n\r\n")).await;
        for _ in 0..10 {
            client.write("1\r\na\r\n").await;
            sleep(Duration::from_millis(40)).await;
        }
        assert_eq!(problem(&client.read("PUT").await), (408, "body-timeout".to_owned()));
        assert!(client.is_closed().await);
    }
    assert!(front.replicas.requests().is_empty());
}

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let front = Front::with(quick).await;
    let begun = Instant::now();
    let mut silent = Client::connect(front.address).await;
    assert!(silent.is_closed().await);
    assert!(begun.elapsed() < Duration::from_secs(3));
    let mut idle = Client::connect(front.address).await;
    idle.write(get("/a")).await;
    idle.read("GET").await;
    let begun = Instant::now();
    assert!(idle.is_closed().await);
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_millis(500) && lasted < Duration::from_secs(4), "{lasted:?}");
    let mut preface = Client::connect(front.address).await;
    preface.write("PRI * HT").await;
    assert_eq!(problem(&preface.read("GET").await), (408, "header-timeout".to_owned()));
}

#[tokio::test]
async fn two_thousand_idle_connections_hold_nobody_up() {
    let front = Front::with(|config| config.limits.header_timeout_ms = 3_000).await;
    let mut idle = Vec::new();
    for n in 0..2_000 {
        let mut client = Client::connect(front.address).await;
        match n % 3 {
            0 => {}
            1 => client.write("GET / HT").await,
            _ => client.write(format!("GET / HTTP/1.1\r\nHost: {AUTHORITY}\r\nX: ")).await,
        }
        idle.push(client);
    }
    let begun = Instant::now();
    let mut client = Client::connect(front.address).await;
    client.write(get("/a")).await;
    assert_eq!(client.read("GET").await.status, 404);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let gone = async {
        while front.counters.connections() > 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("idle connections stay open");
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so() {
    let front = Front::with(|config| config.limits.connections_max = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(front.address).await;
        client.write(get("/a")).await;
        client.read("GET").await;
        held.push(client);
    }
    let mut third = Client::connect(front.address).await;
    let answer = third.read("GET").await;
    assert_eq!(problem(&answer), (503, "too-many-connections".to_owned()));
    assert_eq!(field(&answer, "retry-after"), Some("1"));
    held.pop();
    let served = async {
        loop {
            let mut client = Client::connect(front.address).await;
            client.write(get("/a")).await;
            if matches!(client.try_read("GET").await, Some(answer) if answer.status == 404) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("a place that was given back stays taken");
}

#[tokio::test]
async fn requests_in_progress_are_bounded_for_one_client_and_for_all() {
    for (change, status, code) in [
        (Limits { in_flight_per_client_max: 2, ..Limits::default() }, 429, "client-busy"),
        (Limits { in_flight_max: 2, ..Limits::default() }, 503, "gateway-busy"),
    ] {
        let front = Front::with(|config| {
            config.limits = Limits { certify_timeout_ms: 1_000, ..change };
        })
        .await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = Client::connect(front.address).await;
            client.write(get("/never")).await;
            held.push(client);
        }
        while front.counters.in_flight() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        let mut client = Client::connect(front.address).await;
        client.write(get("/a")).await;
        let answer = client.read("GET").await;
        assert_eq!(problem(&answer), (status, code.to_owned()));
        assert_eq!(field(&answer, "retry-after"), Some("1"));
        let put = format!("PUT /a HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: 5\r\n\r\nhello");
        client.write(put).await;
        assert_eq!(problem(&client.read("PUT").await).0, status);
        // The connection lives on, and when the others are done the request passes.
        for held in &mut held {
            assert_eq!(problem(&held.read("GET").await).0, 504);
        }
        client.write(get("/a")).await;
        assert_eq!(client.read("GET").await.status, 404);
        assert_eq!(front.counters.in_flight(), 0);
    }
}

#[tokio::test]
async fn content_in_progress_is_bounded_for_all_together() {
    let front = Front::with(|config| {
        config.limits.body_bytes_max = 1_000;
        config.limits.in_flight_body_bytes_max = 1_500;
    })
    .await;
    let put = |length| {
        format!("PUT /a HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut first = Client::connect(front.address).await;
    first.write(put(1_000)).await;
    while front.counters.in_flight() < 1 {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(50)).await;
    let mut second = Client::connect(front.address).await;
    second.write(put(1_000)).await;
    assert_eq!(problem(&second.read("PUT").await), (503, "gateway-busy".to_owned()));
    first.write("a".repeat(1_000)).await;
    assert_eq!(first.read("PUT").await.status, 201);
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_cut_off() {
    let front = Front::with(|config| config.limits.write_timeout_ms = 300).await;
    let mut client = Client::connect(front.address).await;
    let content = "a".repeat(1 << 20);
    client
        .write(format!(
            "PUT /kv/a HTTP/1.1\r\nHost: {AUTHORITY}\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ))
        .await;
    assert_eq!(client.read("PUT").await.status, 201);
    for _ in 0..40 {
        client.write(get("/kv/a")).await;
    }
    let gone = async {
        while front.counters.connections() > 0 || front.counters.in_flight() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the connection stays open");
}

#[tokio::test]
async fn a_shutdown_lets_open_requests_end_and_takes_no_new_ones() {
    let mut front = Front::with(|config| {
        config.limits.certify_timeout_ms = 700;
        config.limits.shutdown_grace_ms = 5_000;
    })
    .await;
    let mut idle = Client::connect(front.address).await;
    idle.write(get("/a")).await;
    idle.read("GET").await;
    let mut open = Client::connect(front.address).await;
    open.write(get("/never")).await;
    while front.counters.in_flight() < 1 {
        sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    front.stop.take().unwrap().send(()).unwrap();
    assert!(idle.is_closed().await);
    assert_eq!(problem(&open.read("GET").await).0, 504);
    timeout(PATIENCE, &mut front.served).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(tokio::net::TcpStream::connect(front.address).await.is_err());
}

#[tokio::test]
async fn limits_are_read_strictly_with_defaults() {
    let limits: Limits = serde_json::from_str(r#"{"body_bytes_max": 5}"#).unwrap();
    assert_eq!(limits, Limits { body_bytes_max: 5, ..Limits::default() });
    assert!(serde_json::from_str::<Limits>(r#"{"body_byte_max": 5}"#).is_err());
    let limits = Limits::default();
    assert_eq!((limits.head_bytes_max, limits.body_bytes_max), (16 << 10, 1 << 20));
    assert_eq!(limits.header_timeout(), Duration::from_secs(10));
}
