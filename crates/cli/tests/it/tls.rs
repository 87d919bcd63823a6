//! Gateways that others than this machine reach: by TLS, or not without a word.

use crate::{
    binary::Person,
    proxy::Proxy,
    running::{Dev, free_ports, wait_for},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A file of self-signed certificates of `dev.localhost`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/testdata/tls").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap()
}

/// The certificate that a gateway shows, and what it serves as the policy.
fn shown(address: SocketAddr) -> (&'static str, String) {
    let mut roots = RootCertStore::empty();
    for name in ["one", "two"] {
        roots.add(certificate(name)).unwrap();
    }
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("dev.localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    let request = "GET /.well-known/quorate/policy HTTP/1.1\r\nHost: dev.localhost\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let chain = connection.peer_certificates().unwrap();
    let name = ["one", "two"].into_iter().find(|name| chain[0] == certificate(name)).unwrap();
    (name, answer)
}

/// Changes the configuration of a replica that `init` made in `c`.
fn edit(person: &Person, change: impl FnOnce(&mut toml::Table)) {
    let path = person.path("c/r0/quorate.toml");
    let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

fn use_certificate(config: &mut toml::Table) {
    let table: toml::Table = "certificate = \"cert.pem\"\nkey = \"cert.key.pem\"".parse().unwrap();
    config.insert("tls".into(), table.into());
}

fn initialised() -> (Person, u16) {
    let (person, base) = (Person::new(), free_ports());
    person.run(&["init", "--dir", "c", "--port", &base.to_string()]).exits(0);
    (person, base)
}

#[test]
fn plain_http_beyond_the_loopback_is_refused_unless_it_is_asked_for() {
    let (person, base) = initialised();
    let config = person.path("c/r0/quorate.toml");
    edit(&person, |config| {
        let listen = config["listen"].as_table_mut().unwrap();
        listen.insert("gateway".into(), format!("0.0.0.0:{base}").into());
    });
    let run = person.run(&["start", "--config", &config]).fails(2, "insecure-http");
    assert!(run.stderr.contains("--insecure-http"), "{run:?}");
    // With TLS, or told so, it gets as far as to look at the certificate.
    edit(&person, use_certificate);
    person.run(&["start", "--config", &config]).fails(1, "tls-unreadable");
    fs::copy(fixture("one.pem"), person.path("c/r0/cert.pem")).unwrap();
    fs::copy(fixture("two.key.pem"), person.path("c/r0/cert.key.pem")).unwrap();
    person.run(&["start", "--config", &config]).fails(1, "tls-unusable");
    edit(&person, |config| {
        config.remove("tls");
        // Taken before anything else that could keep the replica from starting.
        config.insert("keys".into(), "nowhere".into());
    });
    person.run(&["start", "--config", &config]).fails(2, "insecure-http");
    person.run(&["start", "--insecure-http", "--config", &config]).fails(1, "key-missing");
}

#[test]
fn init_says_what_gateways_that_others_reach_need_and_start_takes_it() {
    let person = Person::new();
    let run = person.run(&["init", "--dir", "here"]).exits(0);
    assert!(!run.stderr.contains("[tls]"), "{run:?}");
    let run = person.run(&["init", "--dir", "c", "--host", "a.example"]).exits(0);
    assert!(run.stderr.contains("  [tls]\n  certificate = \"fullchain.pem\"\n"), "{run:?}");
    assert!(run.stderr.contains("--insecure-http"), "{run:?}");
    let config = person.path("c/r0/quorate.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("gateway = \"https://a.example:7400\"\n"), "{text}");
    person.run(&["start", "--config", &config]).fails(2, "insecure-http");
    let hint: String = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("  ") && !line.contains("start"))
        .fold(String::new(), |text, line| text + line.trim() + "\n");
    fs::write(&config, format!("{text}\n{hint}")).unwrap();
    person.run(&["start", "--config", &config]).fails(1, "tls-unreadable");
}

#[test]
fn pages_of_the_configured_origins_alone_may_ask_a_gateway() {
    let (person, base) = initialised();
    edit(&person, |config| {
        config.insert("cors_origins".into(), vec!["https://app.example".to_owned()].into());
    });
    let mut dev = Dev::start(&person, &["--dir", "c"]);
    dev.event("ready");
    // What r0 or another replica says to a page of this origin that asks for leave.
    let leave = |i: u16, origin: &str| {
        let address = format!("127.0.0.1:{}", base + i);
        let mut socket = TcpStream::connect(&address).unwrap();
        let request = format!(
            "OPTIONS /kv/a HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let lines = answer.to_ascii_lowercase();
        let mut lines = lines.lines().map(str::to_owned);
        lines.find_map(|line| Some(line.strip_prefix("access-control-allow-origin: ")?.to_owned()))
    };
    assert_eq!(leave(0, "https://app.example").as_deref(), Some("https://app.example"));
    assert_eq!(leave(0, "https://other.example"), None);
    assert_eq!(leave(1, "https://other.example").as_deref(), Some("*"));
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_gateway_serves_tls_by_the_operators_certificate_and_takes_up_a_new_one() {
    let (person, base) = initialised();
    edit(&person, use_certificate);
    let renew = |name: &str| {
        let key = fixture(&format!("{name}.key.pem"));
        fs::copy(fixture(&format!("{name}.pem")), person.path("c/r0/cert.pem")).unwrap();
        fs::copy(key, person.path("c/r0/cert.key.pem")).unwrap();
    };
    renew("one");
    let mut dev = Dev::start(&person, &["--dir", "c"]);
    dev.event("ready");
    let address = SocketAddr::from(([127, 0, 0, 1], base));
    let (name, answer) = shown(address);
    assert_eq!(name, "one");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("log dev.localhost/quorate/"), "{answer}");
    fs::write(person.path("c/r0/cert.pem"), "broken").unwrap();
    let log = || fs::read_to_string(person.path("c/r0/replica.log")).unwrap_or_default();
    wait_for("the broken certificate to be noticed", || log().contains("tls-malformed"));
    assert_eq!(shown(address).0, "one");
    renew("two");
    wait_for("the new certificate to be shown", || shown(address).0 == "two");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn clients_reach_a_gateway_by_tls_where_they_believe_who_issued_its_certificate() {
    let (person, base) = initialised();
    edit(&person, use_certificate);
    fs::copy(fixture("one.pem"), person.path("c/r0/cert.pem")).unwrap();
    fs::copy(fixture("one.key.pem"), person.path("c/r0/cert.key.pem")).unwrap();
    let mut dev = Dev::start(&person, &["--dir", "c"]);
    dev.event("ready");
    let by_tls = format!("https://localhost:{base}");
    let plain = format!("http://127.0.0.1:{}", base + 1);
    let url = format!("{by_tls}/kv/tea");
    let (one, two) = (fixture("one.pem"), fixture("two.pem"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let curl = |more: &[&str]| person.run(&[&["curl", &url], more].concat());
    let run = curl(&["--cacert", one, "-X", "PUT", "-d", "hot"]).exits(0);
    assert!(run.stderr.contains("verified: 3 of 4 replicas"), "{run:?}");
    for version in [&[][..], &["--http2"]] {
        assert_eq!(curl(&[&["--cacert", one], version].concat()).exits(0).stdout, "hot");
    }
    let environment = [("SSL_CERT_FILE", one)];
    assert_eq!(person.run_with(&["curl", &url], &environment, b"").exits(0).stdout, "hot");

    // Who issued it is not believed, the URL names another host, or nobody could be believed.
    let run = curl(&["--cacert", two]).fails(1, "tls-untrusted");
    assert!(run.stderr.contains("--cacert"), "{run:?}");
    let elsewhere = format!("https://127.0.0.2:{base}/kv/tea");
    if person.run(&["curl", "--cacert", one, &elsewhere]).stderr.contains("connect") {
        eprintln!("left out: another address of this machine");
    } else {
        person.run(&["curl", "--cacert", one, &elsewhere]).fails(1, "tls-untrusted");
    }
    curl(&["--cacert", "nowhere.pem"]).fails(1, "tls-authorities");
    let empty = person.write("empty.pem", "nothing");
    curl(&["--cacert", &empty]).fails(1, "tls-authorities");
    // The proof convinces, whichever way it came.
    let run = curl(&["--policy", "c/policy.txt", "--cacert", two, "--also", &plain]).exits(0);
    assert_eq!(run.stdout, "hot");
    assert!(run.stderr.contains("tls-untrusted"), "{run:?}");
    let no_tls = plain.replace("http:", "https:");
    person.run(&["curl", "--cacert", one, &no_tls]).fails(1, "tls-handshake");

    let given = ["--policy", "c/policy.txt", "--cacert", one];
    let bench = ["bench", "--verify", "--target", &by_tls, "--connections", "2"];
    let short = ["--warm-up", "0s", "--duration", "300ms"];
    person.run(&[&bench[..], &short, &given].concat()).exits(0);
    let run = person.run(&[&bench[..], &short, &given[..2]].concat()).fails(1, "bench-no-answers");
    assert!(run.stdout.contains("tls-"), "{run:?}");
    let run = person.run(&["proxy", "--policy", "c/policy.txt", "--cacert", &empty, &by_tls]);
    run.fails(1, "tls-authorities");
    let proxy = Proxy::start(&person, &[&given[..], &[&by_tls]].concat());
    assert_eq!(proxy.get("/kv/tea").body, "hot");
    person.run(&["audit", "--cacert", one, &by_tls]).exits(0);
    assert_eq!(dev.stop(), Some(0));
}
