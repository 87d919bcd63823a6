//! The operator's certificate: shown, renewed, and kept where the new one is broken.

use crate::{
    backend::{AUTHORITY, Replicas},
    client::PATIENCE,
};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate_gateway::{Gateway, GatewayConfig, Tls, TlsFiles};
use quorate_proof::{Coverage, Strict, parse_request, parse_response, verify};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A file of `testdata/tls`: self-signed certificates `one` and `two` of `shop.example`.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(name)).unwrap()
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fixture(&format!("{name}.pem"))).unwrap()
}

/// A folder with a certificate that is in use, and a gateway that shows it.
struct Site {
    dir: tempfile::TempDir,
    tls: Tls,
    address: SocketAddr,
    replicas: Replicas,
}

impl Site {
    async fn start(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        fs::write(&files.certificate, fixture("one.pem")).unwrap();
        fs::write(&files.key, fixture("one.key.pem")).unwrap();
        let tls = Tls::load(files).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = GatewayConfig::new(AUTHORITY);
        change(&mut config);
        let replicas = Replicas::new(Coverage::default());
        let gateway = Gateway::new(&config, replicas.clone()).unwrap();
        let serving = tls.clone();
        tokio::spawn(async move {
            gateway.serve_tls(listener, serving, std::future::pending()).await;
        });
        Self { dir, tls, address, replicas }
    }

    fn write(&self, certificate: &[u8], key: &[u8]) {
        fs::write(self.dir.path().join("cert.pem"), certificate).unwrap();
        fs::write(self.dir.path().join("key.pem"), key).unwrap();
    }

    fn renew(&self, name: &str) {
        self.write(&fixture(&format!("{name}.pem")), &fixture(&format!("{name}.key.pem")));
    }

    async fn connect(&self, alpn: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        for name in ["one", "two"] {
            roots.add(certificate(name)).unwrap();
        }
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(AUTHORITY).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        timeout(PATIENCE, connector.connect(name, socket)).await.unwrap().unwrap()
    }

    /// Which certificate a new connection is shown.
    async fn shown(&self) -> &'static str {
        shown(&self.connect("http/1.1").await)
    }

    /// Asks over a connection that stays open, and verifies the answer.
    async fn ask(&self, stream: &mut TlsStream<TcpStream>) {
        let text = format!("GET /kv/a HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let response = loop {
            if let Ok(response) = parse_response(&bytes, "GET") {
                break response;
            }
            let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&bytes));
        };
        let sent = parse_request(text.as_bytes()).unwrap();
        verify(self.replicas.policy(), &Strict, &sent, &response).unwrap();
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> &'static str {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    ["one", "two"].into_iter().find(|name| chain[0] == certificate(name)).unwrap()
}

#[tokio::test]
async fn answers_come_over_tls_in_both_versions_of_http() {
    let site = Site::start(|_| {}).await;
    let mut one = site.connect("http/1.1").await;
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    site.ask(&mut one).await;
    site.ask(&mut one).await;
    let two = site.connect("h2").await;
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(two))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::put(format!("https://{AUTHORITY}/kv/a"));
    let request = request.body(Full::new(bytes::Bytes::from_static(b"x"))).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.headers().contains_key("quorate-proof"));
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let site = Site::start(|_| {}).await;
    let mut open = site.connect("http/1.1").await;
    assert_eq!(shown(&open), "one");
    assert!(!site.tls.reload().unwrap(), "nothing has changed");
    site.renew("two");
    assert!(site.tls.reload().unwrap());
    assert_eq!(site.shown().await, "two");
    site.ask(&mut open).await;
    assert_eq!(shown(&open), "one", "what is open goes on as it began");
    let (one, one_key) = (fixture("one.pem"), fixture("one.key.pem"));
    let broken: [(&[u8], &[u8], &str); 5] = [
        (b"no certificate", &one_key, "tls-malformed"),
        (b"", b"", "tls-malformed"),
        (&one, b"no key", "tls-malformed"),
        (&one[..one.len() / 2], &one_key, "tls-malformed"),
        // One file was replaced and the other not yet.
        (&one, &fixture("two.key.pem"), "tls-unusable"),
    ];
    for (certificate, key, code) in broken {
        site.write(certificate, key);
        assert_eq!(site.tls.reload().unwrap_err().code(), code);
        assert!(!site.tls.reload().unwrap(), "it is said once");
        assert_eq!(site.shown().await, "two");
    }
    fs::remove_file(site.dir.path().join("key.pem")).unwrap();
    assert_eq!(site.tls.reload().unwrap_err().code(), "tls-unreadable");
    assert_eq!(site.shown().await, "two");
    site.renew("one");
    assert!(site.tls.reload().unwrap());
    assert_eq!(site.shown().await, "one");
}

#[tokio::test]
async fn a_change_of_the_files_is_noticed() {
    let site = Site::start(|_| {}).await;
    tokio::spawn(site.tls.clone().watch(Duration::from_millis(10)));
    site.renew("two");
    let noticed = async {
        while site.shown().await != "two" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, noticed).await.unwrap();
}

#[tokio::test]
async fn plain_http_and_silence_get_nothing_and_hold_nobody_up() {
    let site = Site::start(|config| config.limits.header_timeout_ms = 2_000).await;
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    let mut plain = TcpStream::connect(site.address).await.unwrap();
    let request = format!("GET /kv/a HTTP/1.1\r\nHost: {AUTHORITY}\r\n\r\n");
    plain.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(site.shown().await, "one");
    for stream in [&mut silent, &mut plain] {
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("HTTP"), "{bytes:?}");
    }
    assert!(site.replicas.requests().is_empty());
}
