//! `quorate doctor`, over copies that run in this process and over programs that it starts.

use crate::{
    binary::{Person, Run},
    cluster::{Gateway, field, plain},
    running::wait_for,
};
use quorate_proof::SentRequest;
use serde_json::{Value, json};
use std::{
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

/// Two copies on neighbouring ports, which answer as a test says by the copy's number.
struct Copies {
    pattern: String,
    both: [Gateway; 2],
}

impl Copies {
    fn new(answer: fn(usize, &SentRequest) -> Vec<u8>) -> Self {
        let (ten, listeners) = neighbours();
        let mut number = 0;
        let both = listeners.map(|listener| {
            let i = number;
            number += 1;
            Gateway::at(listener, move |request| answer(i, request))
        });
        Self { pattern: format!("http://127.0.0.1:{ten}{{i}}"), both }
    }

    fn examine(&self, more: &[&str]) -> (Person, Run) {
        let person = Person::new();
        let arguments = ["doctor", "determinism", "--service", &self.pattern];
        let run = person.run(&[&arguments[..], more].concat());
        (person, run)
    }

    fn findings(&self) -> Value {
        self.examine(&["--output", "json"]).1.fails_in_json("answers-differ").json()
    }
}

impl Run {
    #[track_caller]
    fn fails_in_json(self, code: &str) -> Self {
        let error: Value = serde_json::from_str(&self.stderr).unwrap();
        assert_eq!(error["error"]["code"], code, "{self:?}");
        self.exits(1)
    }
}

/// Listeners on the ports N0 and N1, and N.
fn neighbours() -> (u16, [TcpListener; 2]) {
    let process = u16::try_from(std::process::id() % 1000).unwrap();
    for step in 0..500 {
        let ten = 3200 + (process + step) % 1000;
        let bind = |i| TcpListener::bind(("127.0.0.1", ten * 10 + i));
        if let (Ok(first), Ok(second)) = (bind(0), bind(1)) {
            return (ten, [first, second]);
        }
    }
    panic!("no two neighbouring ports are free");
}

fn json_answer(body: &str) -> Vec<u8> {
    plain(200, "Content-Type: application/json\r\n", body)
}

#[test]
fn copies_that_answer_alike_are_told_so_and_asked_alike() {
    let copies = Copies::new(|_, request| json_answer(&format!("{:?}", request.path)));
    let (_, run) = copies.examine(&[]);
    let run = run.exits(0);
    assert_eq!(run.stdout, "same: 2 copies answered 5 requests alike\n");
    assert!(run.stderr.contains("--replay"), "{run:?}");
    let asked = copies.both.each_ref().map(Gateway::requests);
    assert_eq!(asked[0], asked[1]);
    let names = ["quorate-index", "quorate-time", "quorate-seed", "accept-encoding"];
    for request in &asked[0] {
        assert!(names.iter().all(|name| field(request, name).is_some()), "{request:?}");
    }
}

#[test]
fn a_difference_is_named_with_its_place_its_cause_and_its_cure() {
    let copies = Copies::new(|i, _| {
        let at = ["2026-01-31T10:00:00Z", "2026-01-31T10:00:01Z"][i];
        json_answer(&format!("{{\"items\":[{{\"at\":\"{at}\"}},{{\"at\":\"{at}\"}}],\"n\":2}}"))
    });
    let found = copies.findings();
    assert_eq!((&found["requests"], &found["differing"]), (&json!(5), &json!(4)), "{found}");
    let finding = &found["findings"][0];
    assert_eq!(finding["place"], "$.items[*].at");
    assert_eq!(finding["cause"], "time");
    assert!(finding["cure"].as_str().unwrap().contains("Quorate-Time"));
    assert_eq!(found["configuration"], Value::Null);
    let (_, run) = copies.examine(&[]);
    let run = run.fails(1, "answers-differ");
    let line = "GET /: $.items[*].at differs (request 1 and 3 more)\n";
    assert!(run.stdout.contains(line), "{run:?}");
}

#[test]
fn what_a_configuration_cures_is_proposed_and_the_rest_is_counted() {
    let copies = Copies::new(|i, request| match request.method.as_str() {
        "HEAD" => plain(200 + u16::try_from(i).unwrap(), "", ""),
        _ => {
            let etag = ["\"5ec0a1b2c3d4\"", "\"0123456789ab\""][i];
            let fields = format!("Content-Type: application/json\r\nETag: {etag}\r\n");
            plain(200, &fields, ["{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"][i])
        }
    });
    let found = copies.findings();
    let configuration = "[copy]\ncanonical_json = true\nvolatile_fields = [\"etag\"]\n";
    assert_eq!(found["configuration"], configuration);
    let options = serde_json::json!(["--canonical-json", "--volatile-field", "etag"]);
    assert_eq!(found["options"], options);
    assert_eq!(found["differing"], 5);
    assert_eq!(found["differing_when_configured"], 1);
    let (_, run) = copies.examine(&[]);
    assert!(run.stdout.contains("\n  --canonical-json --volatile-field etag\n"), "{run:?}");
    assert!(run.stdout.contains("with it, 1 of 5 requests are answered differently"), "{run:?}");
}

#[test]
fn a_configuration_that_is_there_is_applied() {
    let copies = Copies::new(|i, request| match field(request, "x-shop") {
        Some("far") => plain(200 + u16::try_from(i).unwrap(), "", ""),
        _ => {
            let fields = format!("Content-Type: application/json\r\nETag: \"{i}\"\r\n");
            plain(200, &fields, ["{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"][i])
        }
    });
    let person = Person::new();
    let rules = ["--canonical-json", "--volatile-field", "etag", "--request-field", "x-shop"];
    let init = ["init", "--dir", "c", "--service", "http://127.0.0.1:900{i}"];
    person.run(&[&init[..], &rules].concat()).exits(0);
    let config = person.path("c/r0/quorate.toml");
    let (_, run) = copies.examine(&["--config", &config]);
    assert_eq!(run.exits(0).stdout, "same: 2 copies answered 5 requests alike\n");
    // A field that is covered by configuration reaches the copies, and one that is not does not.
    let line = "{\"path\": \"/\", \"headers\": {\"X-Shop\": \"far\"}}";
    let replay = person.write("replay.jsonl", line);
    let (_, run) = copies.examine(&["--config", &config, "--replay", &replay]);
    run.fails(1, "answers-differ");
    person.run(&["init", "--dir", "inside"]).exits(0);
    let inside = person.path("inside/r0/quorate.toml");
    let (_, run) = copies.examine(&["--config", &inside]);
    run.fails(2, "doctor-config");
}

#[test]
fn an_answer_that_does_not_come_is_a_difference() {
    let copies = Copies::new(|i, request| match (i, request.method.as_str()) {
        (1, "POST") => b"nonsense\r\n\r\n".to_vec(),
        _ => plain(200, "", "here"),
    });
    let found = copies.findings();
    assert_eq!(found["differing"], 1, "{found}");
    assert_eq!(found["findings"][0]["cause"], "silence");
    assert_eq!(found["findings"][0]["place"], "the answer");
}

#[test]
fn a_file_says_what_is_asked() {
    let copies = Copies::new(|_, request| json_answer(&format!("{:?}", request.path)));
    let person = Person::new();
    let file = person.write(
        "requests.jsonl",
        "{\"method\":\"POST\",\"path\":\"/orders?x=1\",\"body\":{\"item\":\"tea\"}}\n\n\
         {\"path\":\"/orders\",\"headers\":{\"Accept\":\"text/plain\",\"X-Own\":\"1\"}}\n",
    );
    let arguments = ["doctor", "determinism", "--service", &copies.pattern, "--replay", &file];
    let run = person.run(&arguments).exits(0);
    assert_eq!(run.stdout, "same: 2 copies answered 2 requests alike\n");
    let [posted, got, again @ ..] = &copies.both[1].requests()[..] else { panic!("requests") };
    assert_eq!((posted.query.as_str(), &posted.body[..]), ("?x=1", &b"{\"item\":\"tea\"}"[..]));
    assert_eq!(field(posted, "content-type"), Some("application/json"));
    assert!(!again.is_empty() && again.iter().all(|one| one.path == got.path), "{again:?}");
    assert_eq!((field(got, "accept"), field(got, "x-own")), (Some("text/plain"), None));
    person.write("requests.jsonl", "{\"path\":\"/\"}\nGET /\n");
    let run = person.run(&arguments).fails(2, "replay-malformed");
    assert!(run.stderr.contains("line 2"), "{run:?}");
    person.write("requests.jsonl", "\n");
    person.run(&arguments).fails(2, "replay-malformed");
}

#[test]
fn a_service_that_names_one_copy_is_refused() {
    let person = Person::new();
    for service in ["http://127.0.0.1:9000", "python3 app.py", "http://127.0.0.1:900{i}/path"] {
        let run = person.run(&["doctor", "determinism", "--service", service]);
        run.fails(2, "doctor-service");
    }
}

#[test]
fn a_program_that_does_not_start_is_told_with_its_last_words() {
    let person = Person::new();
    let service = "echo no module named app >&2; exit {port}";
    let temporary = [("TMPDIR", person.home.path().to_str().unwrap())];
    let arguments = ["doctor", "determinism", "--service", service];
    let run = person.run_with(&arguments, &temporary, b"").fails(1, "doctor-start");
    assert!(run.stderr.contains("hint: it said: no module named app"), "{run:?}");
    let gone = "http://127.0.0.1:1{i}";
    person.run(&["doctor", "determinism", "--service", gone]).fails(1, "doctor-start");
    let left = std::fs::read_dir(person.home.path()).unwrap().count();
    assert_eq!(left, 0, "its folders go with it");
}

/// A program with what makes programs differ; it says where it listens, for the test to see it end.
const PROGRAM: &str = r#"
import http.server, json, os, sys, time, uuid
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        value = {
            "names": list({"ada", "bob", "cleo", "dora", "emil", "fay"}),
            "at": time.strftime("%Y-%m-%d %H:%M"),
            "id": str(uuid.uuid4()),
            "where": os.environ["PWD"],
            "threads": os.environ["GOMAXPROCS"],
            "self": "http://127.0.0.1:%s/" % sys.argv[1],
            "agreed": self.headers["Quorate-Time"],
        }
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def log_message(self, *_):
        pass
with open("port.txt", "a") as file:
    file.write(sys.argv[1] + "\n")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[test]
fn a_program_runs_twice_in_unequal_surroundings_and_ends_with_all_its_children() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let person = Person::new();
    person.write("app.py", PROGRAM);
    person.write("requests.jsonl", "{\"path\":\"/\"}\n");
    let path = std::env::var("PATH").unwrap();
    // The shell is the program's parent, as a script of a user's would be.
    let service = "python3 app.py {port}; true";
    let arguments = ["doctor", "determinism", "--output", "json", "--service", service];
    let arguments = [&arguments[..], &["--replay", "requests.jsonl"]].concat();
    let run = person.run_with(&arguments, &[("PATH", &path)], b"");
    let found = run.fails_in_json("answers-differ").json();
    let all: Vec<_> = found["findings"].as_array().unwrap().iter().collect();
    let cause = |place: &str| {
        let found = all.iter().find(|finding| finding["place"] == place);
        found.map(|finding| finding["cause"].as_str().unwrap().to_owned())
    };
    let expected = [
        ("$.names", "order"),
        ("$.at", "time"),
        ("$.id", "random"),
        ("$.where", "surroundings"),
        ("$.threads", "unknown"),
        ("$.self", "address"),
    ];
    for (place, expected) in expected {
        assert_eq!(cause(place).as_deref(), Some(expected), "{place}: {found}");
    }
    assert_eq!(all.len(), expected.len(), "{found}");
    let ports = std::fs::read_to_string(person.path("port.txt")).unwrap();
    assert_eq!(ports.lines().count(), 2, "{ports}");
    for port in ports.lines() {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        wait_for("the end of a copy", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
        });
    }
}
