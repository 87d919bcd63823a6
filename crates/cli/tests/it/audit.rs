//! `quorate audit` of a real cluster: what holds, and what was changed.

use crate::{
    binary::{Person, Run},
    cluster::{Gateway, plain},
    running::{Dev, free_ports, gateway},
};
use quorate_proof::SentRequest;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

/// A cluster with a short history: new and replaced values, misses, retries, a reused key, signed
/// requests.
fn cluster_with_history(person: &Person) -> (Dev, serde_json::Value) {
    let base = free_ports().to_string();
    let dev = Dev::start(person, &["--dir", "cluster", "--port", &base]);
    let ready = dev.event("ready");
    person.run(&["keygen", "me.key"]).exits(0);
    let curl = |i: usize, arguments: &[&str]| {
        let url = format!("{}/kv/greeting", gateway(&ready, i));
        person.run(&[&["curl"], arguments, &[&url]].concat()).exits(0);
    };
    for i in 0..8 {
        curl(i % 4, &["-X", "PUT", "-d", &format!("hello {i}")]);
    }
    let key = "Idempotency-Key: \"0123456789012345678901\"";
    curl(0, &["-H", key]);
    curl(1, &["-H", key]);
    curl(2, &["-H", key, "-X", "DELETE"]);
    curl(3, &["--sign", "me.key", "-X", "DELETE"]);
    curl(0, &[]);
    (dev, ready)
}

fn audit(person: &Person, source: &str) -> Run {
    person.run(&["audit", "--output", "json", "--policy", "cluster/policy.txt", source])
}

#[track_caller]
fn finds(run: Run, code: &str, index: u64) {
    let run = run.exits(3);
    let json = run.json();
    assert_eq!((&json["verified"], &json["code"]), (&false.into(), &code.into()), "{run:?}");
    assert_eq!(json["index"], index, "{run:?}");
}

#[test]
fn a_cluster_passes_its_audit_running_and_stopped() {
    let person = Person::new();
    let (mut dev, ready) = cluster_with_history(&person);
    let json = audit(&person, &gateway(&ready, 3)).exits(0).json();
    assert_eq!((&json["verified"], &json["re_executed"]), (&true.into(), &true.into()));
    // Genesis, eight writes, a read that was retried, a reused key, a deletion, a miss.
    let entries = json["size"].as_u64().unwrap();
    assert!(entries >= 13, "{json}");
    assert_eq!((&json["entries"]["policy"], &json["entries"]["exchange"]), (&1.into(), &12.into()));
    assert_eq!(json["exchanges_checked"], 12);

    let folder = audit(&person, "cluster/r1/data").exits(0).json();
    assert_eq!(folder["re_executed"], true);
    let text = person.run(&["audit", "--policy", "cluster/policy.txt", &gateway(&ready, 0)]);
    let text = text.exits(0).stdout;
    assert!(text.starts_with("audited: ") && text.contains("re-executed, all state roots equal"));

    let later = ["audit", "--output", "json", "--from", "5", "--policy", "cluster/policy.txt"];
    let json = person.run(&[&later[..], &[&gateway(&ready, 0)]].concat()).exits(0).json();
    assert_eq!(json["re_executed"], false);
    assert_eq!(json["not_re_executed"], "the state before entry 5 is not known");

    assert_eq!(dev.stop(), Some(0));
    let before = content(Path::new(&person.path("cluster/r2/data")));
    let json = audit(&person, "cluster/r2").exits(0).json();
    assert_eq!(json["entries"]["exchange"], 12);
    assert!(content(Path::new(&person.path("cluster/r2/data"))) == before, "a byte was changed");
}

/// All files below a folder.
fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.push((path.to_str().unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_changed_byte_in_a_folder_is_named() {
    let person = Person::new();
    let (mut dev, _) = cluster_with_history(&person);
    assert_eq!(dev.stop(), Some(0));
    let flipped = |file: &str, at: &dyn Fn(&[u8]) -> usize| {
        let path = person.path(&format!("cluster/r0/data/log/{file}"));
        let sound = fs::read(&path).unwrap();
        let mut bytes = sound.clone();
        let at = at(&sound);
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let run = audit(&person, "cluster/r0/data");
        fs::write(&path, sound).unwrap();
        run
    };
    let find = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
    };
    finds(flipped("log-exchanges", &|bytes| find(bytes, "hello 3")), "corrupt-log", 4);
    let state = |bytes: &[u8]| find(bytes, "\nindex 6\n") + 60;
    finds(flipped("log-entries", &state), "corrupt-log", 6);
    // Found where the entry is read, or where the tile is compared.
    let run = flipped("log-tiles-0", &|_| 7 * 32 + 5).exits(3);
    assert_eq!(run.json()["index"], 7, "{run:?}");
    let run = flipped("log-certificates", &|bytes| bytes.len() / 2).exits(3);
    assert_eq!(run.json()["index"], serde_json::Value::Null, "{run:?}");
    audit(&person, "cluster/r0/data").exits(0);
}

#[test]
fn a_gateway_that_tells_another_story_is_caught() {
    let person = Person::new();
    let (_dev, ready) = cluster_with_history(&person);
    let honest = gateway(&ready, 1);
    let told = |what: &'static str, change: fn(&mut Vec<u8>)| {
        let honest = honest.clone();
        let liar = Gateway::start(move |request| {
            let (status, mut body) = fetch(&honest, request);
            if request.path.contains(what) {
                change(&mut body);
            }
            plain(status, "", &body)
        });
        audit(&person, &liar.url)
    };
    fn replace(bytes: &mut [u8], after: &str, by: usize) {
        let at = bytes.windows(after.len()).position(|window| window == after.as_bytes()).unwrap();
        let byte = &mut bytes[at + after.len() + by];
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    audit(&person, &honest).exits(0);
    // A state, an exchange's digest, a body, a tile, a proof, the newest head.
    finds(told("tile/entries", |body| replace(body, "\nindex 4\n", 48)), "audit-state", 4);
    let digest: fn(&mut Vec<u8>) = |body| {
        let at = body.windows(9).position(|window| window == b"\nindex 5\n").unwrap();
        replace(&mut body[at..], "exchange sha-256=:", 0);
    };
    finds(told("tile/entries", digest), "audit-exchange", 5);
    finds(told("exchange/3", |body| replace(body, "\"body\":\"", 0)), "audit-exchange", 3);
    finds(told("tile/0/", |body| body[32 * 6] ^= 1), "audit-tile", 6);
    let proof = told("proof/2", |body| replace(body, "index 2\n", 0)).exits(3);
    assert_eq!(proof.json()["index"], 2, "{proof:?}");
    let run = told("log/checkpoint", |body| replace(body, "\n", 3)).exits(3);
    assert_eq!(run.json()["code"], "signature-wrong", "{run:?}");
    finds(told("exchange/9", |body| body.clear()), "audit-exchange", 9);
}

/// Asks the honest gateway the same.
fn fetch(gateway: &str, request: &SentRequest) -> (u16, Vec<u8>) {
    let address = gateway.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let path = &request.path;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&bytes[9..12]).unwrap().parse().unwrap();
    (status, bytes.split_off(end + 4))
}
