//! How fast the bare gateway is: one server thread, answers made beforehand.
//!
//! `cargo test --release -p quorate-gateway -- --ignored --nocapture load`

use crate::backend::{self, AUTHORITY, Replicas};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use quorate_gateway::{Backend, Fetch, Fetched, Gateway, GatewayConfig, Status, Submitted, codes};
use quorate_proof::Coverage;
use quorate_types::{Refusal, Request, Salt};
use std::{
    convert::Infallible,
    future::Future,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const LASTS: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;

/// Answers every request by the same certified answer.
#[derive(Clone)]
struct Canned(Arc<Submitted>);

impl Backend for Canned {
    async fn submit(&self, _: Request) -> Result<Submitted, Refusal> {
        Ok((*self.0).clone())
    }

    async fn fetch(&self, _: Fetch) -> Result<Fetched, Refusal> {
        Err(codes::NOT_FOUND.refusal("nothing is published"))
    }

    async fn status(&self) -> Status {
        backend::status()
    }
}

/// A server on a thread of its own.
struct Served {
    address: SocketAddr,
    /// Where Linux tells the thread's nanoseconds on a processor: what counts on a busy machine.
    schedule: PathBuf,
}

impl Served {
    fn busy_ns(&self) -> f64 {
        let text = std::fs::read_to_string(&self.schedule).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(f64::NAN)
    }
}

fn served<F>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> Served
where
    F: Future<Output = ()>,
{
    let (told, server) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        let schedule = Path::new("/proc").join(thread).join("schedstat");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            told.send(Served { address, schedule }).unwrap();
            serve(listener).await;
        });
    });
    server.recv().unwrap()
}

/// Processor time of a request, in microseconds, over keep-alive connections that each wait for
/// their answer.
fn measured(name: &str, server: &Served, request: &[u8]) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (begun, busy, address) = (Instant::now(), server.busy_ns(), server.address);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 1 << 16];
                // All answers are equally long, so one look at the first is enough.
                socket.write_all(request).unwrap();
                thread::sleep(Duration::from_millis(200));
                let length = socket.read(&mut buffer).unwrap();
                assert!(buffer.starts_with(b"HTTP/1.1 200"));
                while !stop.load(Relaxed) {
                    socket.write_all(request).unwrap();
                    socket.read_exact(&mut buffer[..length]).unwrap();
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        thread::sleep(LASTS);
        stop.store(true, Relaxed);
    });
    let served = count.load(Relaxed) as f64;
    let rate = served / begun.elapsed().as_secs_f64();
    let cost_us = (server.busy_ns() - busy) / 1_000.0 / served;
    println!("{name}: {rate:.0} requests/s, {cost_us:.1} us of the server's thread each");
    cost_us
}

async fn canned() -> Submitted {
    let replicas = Replicas::new(Coverage::default());
    let request = |method: &str| Request {
        method: method.to_owned(),
        path: "/kv/a".to_owned(),
        query: "?".to_owned(),
        fields: Vec::new(),
        body: Bytes::from(vec![b'a'; 512]),
        salt: Salt([7; 16]),
        signature: None,
    };
    replicas.submit(request("PUT")).await.unwrap();
    replicas.submit(request("GET")).await.unwrap()
}

#[test]
#[ignore = "slow"]
fn the_bare_gateway_is_measured_slow() {
    let content = "a".repeat(512);
    let request = format!(
        "PUT /kv/a HTTP/1.1\r\nHost: {AUTHORITY}\r\nUser-Agent: quorate\r\nAccept: */*\r\n\
         Content-Type: application/octet-stream\r\n\
         Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\nContent-Length: 512\r\n\r\n\
         {content}"
    );
    let gateway = served(|listener| async {
        let backend = Canned(Arc::new(canned().await));
        let gateway = Gateway::new(&GatewayConfig::new(AUTHORITY), backend).unwrap();
        gateway.serve(listener, std::future::pending()).await;
    });
    let plain = served(|listener| async move {
        let content = Bytes::from(vec![b'a'; 3_000]);
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let content = content.clone();
            let service = service_fn(move |_| {
                let content = content.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(content))) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection);
        }
    });
    let library = measured("the library alone, 3,000 bytes", &plain, request.as_bytes());
    let whole = measured("the gateway", &gateway, request.as_bytes());
    println!("the gateway adds {:.1} us a request", whole - library);
    // Ten times what it took when this was written: only a mistake in kind goes beyond.
    assert!(whole < 500.0);
}
