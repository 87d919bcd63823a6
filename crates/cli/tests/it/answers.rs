//! Rules about answers that all members share: clients find them in the policy.

use crate::{
    binary::Person,
    cluster::{Gateway, plain},
    running::{Dev, copy_listeners, free_ports, gateway, wait_for},
};
use serde_json::json;
use std::{fs, path::Path, process::Command, thread, time::Duration};

const RULES: &str = "# quorate-answers/1 not-covered json-spelling\n\
                     # quorate-answers/1 not-covered field etag\n\
                     # quorate-answers/1 covered response-field x-total\n";

/// Copies that say the same in spellings of their own, each with its own ETag.
fn start(copies: u16) -> (String, Vec<Gateway>) {
    let (service, listeners) = copy_listeners(copies);
    let start = |(number, listener)| {
        let mut count = 0;
        Gateway::at(listener, move |_| {
            count += 1;
            let body = match number % 2 {
                0 => format!("{{\"a\": {count}, \"b\": []}}"),
                _ => format!("{{\"b\":[],\"a\":{count}}}\n"),
            };
            let fields = "Content-Type: application/json\r\nX-Total: 7\r\n";
            plain(200, &format!("{fields}ETag: \"of-{number}\"\r\n"), body)
        })
    };
    (service, listeners.into_iter().enumerate().map(start).collect())
}

fn init(person: &Person, service: &str) {
    let base = free_ports().to_string();
    let plan = ["init", "--dir", "cluster", "--port", &base, "--service", service];
    let rules = ["--canonical-json", "--volatile-field", "etag", "--response-field", "x-total"];
    person.run(&[&plan[..], &rules].concat()).exits(0);
}

#[test]
fn they_stand_in_the_policy_for_clients_auditors_and_other_verifiers() {
    let person = Person::new();
    let (service, _copies) = start(5);
    init(&person, &service);
    let policy = fs::read_to_string(person.path("cluster/policy.txt")).unwrap();
    assert!(policy.starts_with(RULES), "{policy}");
    assert_eq!(fs::read_to_string(person.path("cluster/r2/policy.txt")).unwrap(), policy);
    let shown = ["policy", "show", "--output", "json", "--policy", "cluster/policy.txt"];
    let shown = person.run(&shown).exits(0).json();
    let said = json!({
        "canonical_json": true,
        "volatile_fields": ["etag"],
        "request_fields": [],
        "response_fields": ["x-total"],
    });
    assert_eq!(shown["answers"], said);
    let text = person.run(&["policy", "show", "--policy", "cluster/policy.txt"]).exits(0).stdout;
    assert!(text.contains("\nanswers:     not-covered json-spelling, not-covered"), "{text}");

    let other = ["dev", "--dir", "cluster", "--volatile-field", "etag"];
    person.run(&other).fails(2, "dev-other-settings");
    let dev = Dev::start(&person, &["--dir", "cluster"]);
    let ready = dev.event("ready");
    for number in 1..=3 {
        let url = gateway(&ready, number);
        let run = person.run(&["curl", "--save", "x", "-X", "POST", &url]).exits(0);
        assert_eq!(run.stdout, format!("{{\"a\":{number},\"b\":[]}}"));
        assert!(run.stderr.contains("verified: "), "{run:?}");
    }
    let response = fs::read_to_string(person.path("x/response.http")).unwrap().to_lowercase();
    assert!(
        response.contains("\r\nx-total: 7\r\n") && !response.contains("\r\netag:"),
        "{response}"
    );
    let files = ["--request", "x/request.http", "--response", "x/response.http"];
    let verify = [&["verify", "--policy", "cluster/policy.txt"], &files[..]].concat();
    assert!(person.run(&verify).exits(0).stdout.starts_with("verified: "));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.sh");
    let by_script = Command::new("bash")
        .arg(script)
        .args([person.path("x"), person.path("cluster/policy.txt")])
        .output()
        .unwrap();
    assert!(by_script.stdout.starts_with(b"verified: "), "{by_script:?}");

    // What a replica says is what the policy says, at its gateway and at its operations listener.
    for url in [gateway(&ready, 2), ready["operations"][2].as_str().unwrap().to_owned()] {
        let status = person.run(&["--output", "json", "status", &url]).exits(0).json();
        assert_eq!(status["answers"], said, "{status}");
        let text = person.run(&["status", &url]).exits(0).stdout;
        let rules = "\nanswers:      not-covered json-spelling, not-covered field etag, covered \
                     response-field x-total\n";
        assert!(text.contains(rules), "{text}");
    }

    for i in 0..4 {
        let operations = ready["operations"][i].as_str().unwrap();
        let status = || person.run(&["--output", "json", "status", operations]).exits(0).json();
        assert_eq!(status()["copy"]["standing"], "in-step", "{}", status());
        wait_for("every copy to execute all of it", || status()["copy"]["next"] == 4);
    }
    // The fifth copy spells and tags otherwise than the first.
    let fresh = service.replace("{i}", "4");
    let audit = ["audit", "--output", "json", "--policy", "cluster/policy.txt"];
    let source = gateway(&ready, 0);
    let audited = [&audit[..], &["--upstream", &fresh, &source]].concat();
    assert_eq!(person.run(&audited).exits(0).json()["re_executed"], true);
    let foreign = ["--config", "foreign.toml", "--upstream", &fresh, &source];
    let config = fs::read_to_string(person.path("cluster/r0/quorate.toml")).unwrap();
    let config = config.replace("canonical_json = true", "canonical_json = false");
    person.write("foreign.toml", config.replace("policy = \"policy.txt\"\n", ""));
    let refused = person.run(&[&audit[..], &foreign].concat()).exits(2);
    assert!(refused.stderr.contains("\"config-policy-differs\""), "{refused:?}");
}

#[test]
fn a_replica_that_would_keep_others_does_not_start() {
    let person = Person::new();
    let (service, _copies) = start(4);
    init(&person, &service);
    let path = person.path("cluster/r1/quorate.toml");
    let sound = fs::read_to_string(&path).unwrap();
    let start = ["start", "--config", &path];
    let other = sound.replace("volatile_fields = [\"etag\"]\n", "");
    assert_ne!(other, sound);
    fs::write(&path, &other).unwrap();
    let run = person.run(&start).fails(2, "config-answers-differ");
    let both = "the policy says of answers: not-covered json-spelling, not-covered field etag, \
                covered response-field x-total; [copy] says: not-covered json-spelling, covered";
    assert!(run.stderr.contains(both), "{run:?}");

    // With the file out of the way, the log tells.
    fs::write(&path, &sound).unwrap();
    let mut dev = Dev::start(&person, &["--dir", "cluster"]);
    dev.event("ready");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(dev.stop(), Some(0));
    fs::write(&path, other.replace("policy = \"policy.txt\"\n", "")).unwrap();
    let run = person.run(&start).fails(1, "config-policy-differs");
    assert!(run.stderr.contains("entry 0 of the log"), "{run:?}");

    // Without its log, only the others can tell.
    fs::remove_dir_all(person.path("cluster/r1/data")).unwrap();
    let mut dev = Dev::start(&person, &["--dir", "cluster"]);
    let tells = |i: usize| {
        let log = fs::read_to_string(person.path(&format!("cluster/r{i}/replica.log")));
        log.is_ok_and(|log| log.contains("code=\"link-policy-differs\""))
    };
    wait_for("everybody to say that r1 has another policy", || (0..4).all(tells));
    dev.stop();
    for code in
        ["link-policy-differs", "config-policy-differs", "config-answers-differ", "policy-answers"]
    {
        person.run(&["explain", code]).exits(0);
    }
}
