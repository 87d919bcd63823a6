//! `quorate bench`, where it does something else than a load.

use crate::{
    binary::Person,
    running::{Dev, free_ports, gateway},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// The requests of a file, each behind its length.
fn requests(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    while let Some(end) = file.iter().position(|byte| *byte == b'\n') {
        let length: usize = std::str::from_utf8(&file[..end]).unwrap().parse().unwrap();
        let (request, rest) = file[end + 1..].split_at(length);
        requests.push(request.to_vec());
        file = rest;
    }
    requests
}

fn send(url: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn index(answer: &str) -> &str {
    let line = answer.lines().find(|line| line.to_lowercase().starts_with("quorate-index: "));
    line.unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn saved_requests_are_signed_and_ordered_once_each() {
    let person = Person::new();
    let dev = Dev::start(&person, &["--dir", "c", "--port", &free_ports().to_string()]);
    let ready = dev.event("ready");
    let targets = [gateway(&ready, 0), gateway(&ready, 1)];
    let bench = ["bench", "--sign", "--policy", "c/policy.txt", "--target", &targets.join(",")];
    let save = ["--save-requests", "saved", "--requests", "5"];
    person.run(&[&bench[..], &save].concat()).exits(0);
    let saved = requests(&std::fs::read(person.path("saved")).unwrap());
    assert_eq!(saved.len(), 5);

    let answers: Vec<_> =
        saved.iter().enumerate().map(|(i, request)| send(&targets[i % 2], request)).collect();
    assert!(answers.iter().all(|it| it.starts_with("HTTP/1.1 201 ")), "{answers:?}");
    // Sent again, one is answered as before; with another path, it is not the client's.
    assert_eq!(index(&send(&targets[0], &saved[0])), index(&answers[0]));
    let altered = String::from_utf8_lossy(&saved[1]).replacen("/bench-", "/bunch-", 1);
    let answer = send(&targets[1], altered.as_bytes());
    assert!(answer.contains("client-signature-wrong"), "{answer}");

    person.run(&[&bench[..], &save[..2]].concat()).exits(2);
    let nowhere = ["--save-requests", "no/such/folder", "--requests", "5"];
    person.run(&[&bench[..], &nowhere].concat()).fails(1, "file");
}

#[test]
fn the_help_breaks_no_line_where_it_names_a_mark_in_braces() {
    let help = Person::new().run(&["bench", "--help"]).exits(0).stdout;
    assert!(help.contains("n in braces stands for a number"), "{help}");
    assert!(help.lines().all(|line| !line.trim_end().ends_with('`')), "{help}");
}
