//! What `/metrics` exposes is what docs/metrics.md says.

use crate::{
    binary::Person,
    running::{Dev, free_ports, gateway},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

/// The rows of the tables of metrics: name and type.
fn documented() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = fs::read_to_string(path).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `quorate_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let (name, "counter" | "gauge") = (cells[1].trim_matches('`'), cells[2]) {
            assert!(rows.insert(name.to_owned(), cells[2].to_owned()).is_none(), "{name} twice");
        }
    }
    rows
}

/// The families of an exposition, a counter by the name of its samples; and every sample's name.
fn exposed(text: &str) -> (BTreeMap<String, String>, Vec<&str>) {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        let total = kind == "counter" && !name.ends_with("_total");
        (format!("{name}{}", if total { "_total" } else { "" }), kind.to_owned())
    });
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    (types.collect(), samples.map(|line| line.split([' ', '{']).next().unwrap()).collect())
}

#[test]
fn the_documented_metrics_are_those_that_a_replica_exposes() {
    let person = Person::new();
    let dev = Dev::start(&person, &["--port", &free_ports().to_string()]);
    let ready = dev.event("ready");
    let url = format!("{}/kv/greeting", gateway(&ready, 0));
    person.run(&["curl", "-X", "PUT", "-d", "hello", &url]).exits(0);
    // A refusal, so that there is a sample with a code.
    let long = format!("{}/kv/{}", gateway(&ready, 0), "k".repeat(20_000));
    person.run(&["curl", &long]).exits(1);
    let operations = ready["operations"][0].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(operations).unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {operations}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let documented = documented();
    assert!(documented.len() >= 25, "{documented:?}");
    let (families, samples) = exposed(text);
    assert_eq!(families, documented, "docs/metrics.md and /metrics differ");
    for sample in samples {
        assert!(documented.contains_key(sample), "{sample} is of no family: {text}");
    }
    assert!(text.contains("\nquorate_gateway_proven_total 1\n"), "{text}");
    assert!(text.contains("\nquorate_gateway_refusals_total{code="), "{text}");
}
