//! `quorate curl` against gateways that are honest, and some that are not.

use crate::{
    binary::{Person, example},
    cluster::{Answer, Cluster, Gateway, field, hello, plain, refusal},
};
use quorate_types::Response;
use std::fs;

const NAME: &str = "dev.localhost";

fn policy_of(person: &Person, cluster: &Cluster) -> String {
    person.write("policy.txt", cluster.policy.text())
}

/// The verdict line without its duration.
fn without_duration(line: &str) -> String {
    let parts: Vec<&str> = line.trim_end().split(", ").collect();
    let [counts, entry, rest] = parts[..] else { panic!("{line}") };
    let (number, rest) = rest.split_once(" ms").unwrap();
    assert!(number.parse::<f64>().unwrap() > 0.0, "{line}");
    format!("{counts}, {entry}, _ ms{rest}")
}

#[test]
fn a_verified_answer_prints_its_body_and_the_verdict_beside_it() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    let url = format!("{}/kv/greeting?x=%20", gateway.url);
    let run = person.run(&["curl", "--policy", &policy, &url]).exits(0);
    assert_eq!(run.stdout, "hello");
    assert_eq!(
        without_duration(&run.stderr),
        "verified: 3 of 4 replicas, entry 1, _ ms (development keys)"
    );
    let [request] = &gateway.requests()[..] else { panic!("one request") };
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/kv/greeting", "?x=%20"));
    assert_eq!(field(request, "idempotency-key").unwrap().len(), 34);
}

#[test]
fn every_request_has_a_key_of_its_own_unless_it_is_given_one() {
    let (person, cluster) = (Person::new(), Cluster::new(1, "shop.example"));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    let curl = |more: &[&str]| {
        person.run(&[&["curl", "--policy", &policy, &gateway.url], more].concat()).exits(0)
    };
    assert!(curl(&[]).stderr.starts_with("verified: "));
    curl(&[]);
    curl(&["-H", "Idempotency-Key: \"0123456789012345678901\""]);
    let keys: Vec<_> = gateway
        .requests()
        .iter()
        .map(|request| field(request, "idempotency-key").unwrap().to_owned())
        .collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[2], "\"0123456789012345678901\"");
}

#[test]
fn methods_fields_and_data_go_out_as_they_were_given() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    let file = person.write("data", "a\nb\n");
    let at_file = format!("@{file}");
    let curl = |more: &[&str], input: &[u8]| {
        let arguments = [&["curl", "--policy", &policy, &gateway.url], more].concat();
        person.run_with(&arguments, &[], input).exits(0)
    };
    curl(&["-X", "PUT", "-d", "hello", "-H", "X-One:  1 "], b"");
    curl(&["-d", &at_file, "-d", "c"], b"");
    curl(&["--data-binary", &at_file, "-H", "Content-Type: text/plain"], b"");
    curl(&["--data-binary", "@-"], b"piped\n");
    curl(&["--json", "{\"a\":1}", "-H", "Accept: a/b"], b"");
    curl(&["-I"], b"");
    let requests = gateway.requests();
    let bodies: Vec<_> = requests.iter().map(|r| String::from_utf8_lossy(&r.body)).collect();
    assert_eq!(bodies, ["hello", "ab&c", "a\nb\n", "piped\n", "{\"a\":1}", ""]);
    let methods: Vec<_> = requests.iter().map(|r| r.method.as_str()).collect();
    assert_eq!(methods, ["PUT", "POST", "POST", "POST", "POST", "HEAD"]);
    assert_eq!(field(&requests[0], "x-one"), Some("1"));
    let form = Some("application/x-www-form-urlencoded");
    assert_eq!(field(&requests[1], "content-type"), form);
    assert_eq!(field(&requests[2], "content-type"), Some("text/plain"));
    assert_eq!(field(&requests[4], "content-type"), Some("application/json"));
    assert_eq!(field(&requests[4], "accept"), Some("a/b"));
}

#[test]
fn a_saved_exchange_verifies_offline() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    person.run(&["curl", "--policy", &policy, "--save", "x", "-d", "tea", &gateway.url]).exits(0);
    let (request, response) = (person.path("x/request.http"), person.path("x/response.http"));
    let verify = ["verify", "--policy", &policy, "--request", &request, "--response", &response];
    let run = person.run(&verify).exits(0);
    assert_eq!(run.stdout, "verified: 3 of 4 replicas, entry 1 (development keys)\n");
    let text = fs::read_to_string(&response).unwrap();
    fs::write(&response, text.replace("hello", "jello")).unwrap();
    person.run(&verify).fails(3, "content-digest-wrong");
}

#[test]
fn a_linked_proof_is_fetched_and_saved() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let mut proof = String::new();
    let gateway = Gateway::serving(cluster, move |cluster, request| {
        if request.path == "/.well-known/quorate/proof/1" {
            return plain(200, "", &proof);
        }
        let answer = cluster.answer(request, hello());
        proof.clone_from(&answer.proof);
        answer.linked()
    });
    person.run(&["curl", "--policy", &policy, "--save", "x", &gateway.url]).exits(0);
    let saved = fs::read_to_string(person.path("x/response.http")).unwrap();
    assert!(saved.contains("quorate-proof: :"), "{saved}");
}

#[test]
fn a_link_to_no_proof_is_not_verified() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::serving(cluster, |cluster, request| match request.path.as_str() {
        "/" => cluster.answer(request, hello()).linked(),
        _ => plain(404, "", ""),
    });
    let run = person.run(&["curl", "--policy", &policy, &gateway.url]);
    assert_eq!(run.fails(3, "proof-unavailable").stdout, "");
}

#[test]
fn an_old_answer_does_not_pass_as_a_new_one() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let mut first = None;
    let gateway = Gateway::serving(cluster, move |cluster, request| {
        first.get_or_insert_with(|| cluster.answer(request, hello()).inline()).clone()
    });
    person.run(&["curl", "--policy", &policy, &gateway.url]).exits(0);
    let run = person.run(&["curl", "--policy", &policy, &gateway.url]).fails(3, "not-in-log");
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("hint: "), "{run:?}");
}

#[test]
fn the_worked_example_verifies_to_who_asks_its_question_and_to_nobody_else() {
    let person = Person::new();
    let response = fs::read(example("response.http")).unwrap();
    let gateway = Gateway::start(move |_| response.clone());
    let url = format!("{}/orders", gateway.url);
    let policy = example("policy.txt");
    let body = "{\"item\":\"tea\",\"qty\":2}";
    let asked =
        ["curl", "--policy", &policy, "-H", "Content-Type: application/json", "-d", body, &url];
    let same =
        [&asked[..], &["-H", "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\""]].concat();
    let run = person.run(&same).exits(0);
    assert_eq!(run.stdout, "{\"order\":42,\"status\":\"accepted\"}\n");
    assert_eq!(without_duration(&run.stderr), "verified: 3 of 4 replicas, entry 5, _ ms");
    person.run(&asked).fails(3, "not-in-log");
    person.run(&[&same[..], &["--max-age", "60"]].concat()).fails(3, "too-old");
}

#[test]
fn what_a_gateway_changes_is_never_shown() {
    type Spoil = fn(&mut Answer);
    let spoilers: [(&str, Spoil); 5] = [
        ("content-digest", |answer| answer.body = "jello".into()),
        ("status", |answer| answer.status = 404),
        ("added", |answer| answer.fields.push(("etag".into(), "\"1\"".into()))),
        ("signature", |answer| answer.proof = answer.proof.replace("org2/r2", "org3/r3")),
        ("proof", |answer| answer.proof.clear()),
    ];
    for (what, spoil) in spoilers {
        let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
        let policy = policy_of(&person, &cluster);
        let gateway = Gateway::serving(cluster, move |cluster, request| {
            let mut answer = cluster.answer(request, hello());
            spoil(&mut answer);
            answer.inline()
        });
        let run = person.run(&["curl", "--policy", &policy, "-i", &gateway.url]).exits(3);
        assert_eq!(run.stdout, "", "{what}");
    }
}

#[test]
fn an_invented_answer_is_not_verified_and_a_plain_server_neither() {
    let person = Person::new();
    let policy = policy_of(&person, &Cluster::new(1, NAME));
    let plain_server = Gateway::start(|_| plain(200, "", "hello"));
    person.run(&["curl", "--policy", &policy, &plain_server.url]).exits(3);
    let other = Gateway::honest(Cluster::new(2, NAME));
    person.run(&["curl", "--policy", &policy, &other.url]).fails(3, "policy-changed");
}

#[test]
fn an_error_of_the_service_is_an_answer() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::serving(cluster, |cluster, request| {
        cluster.answer(request, Response::problem(404, "not-found", "no such key")).inline()
    });
    let run = person.run(&["curl", "--policy", &policy, "-i", &gateway.url]).exits(0);
    assert!(run.stdout.starts_with("HTTP/1.1 404\n"), "{run:?}");
    assert!(run.stdout.contains("\nquorate-index: 1\n"), "{run:?}");
}

#[test]
fn a_refusal_is_exit_1_and_no_result() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::start(|_| refusal(413, "body-too-large", ""));
    let run = person.run(&["curl", "--policy", &policy, "-d", "x", &gateway.url]);
    let run = run.fails(1, "body-too-large");
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("hint: `quorate explain body-too-large`"), "{run:?}");
    assert_eq!(gateway.requests().len(), 1);
    let json = ["curl", "--policy", &policy, "--output", "json", &gateway.url];
    assert_eq!(person.run(&json).exits(1).json()["refused"], true);
}

#[test]
fn a_busy_gateway_is_asked_again_under_the_same_key() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let mut refusals = vec![
        refusal(409, "request-running", ""),
        refusal(503, "overloaded", "Retry-After: 1\r\n"),
        refusal(504, "certify-timeout", ""),
    ];
    let gateway = Gateway::serving(cluster, move |cluster, request| match refusals.pop() {
        Some(refusal) => refusal,
        None => cluster.answer(request, hello()).inline(),
    });
    let before = std::time::Instant::now();
    let run = person.run(&["curl", "--policy", &policy, &gateway.url]).exits(0);
    assert!(before.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(run.stdout, "hello");
    let keys: std::collections::BTreeSet<_> = gateway
        .requests()
        .iter()
        .map(|request| field(request, "idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!((gateway.requests().len(), keys.len()), (4, 1));
}

#[test]
fn patience_with_a_busy_gateway_ends() {
    let person = Person::new();
    let policy = policy_of(&person, &Cluster::new(1, NAME));
    let gateway = Gateway::start(|_| refusal(503, "overloaded", "Retry-After: 3600\r\n"));
    let before = std::time::Instant::now();
    let run = person.run(&["curl", "--policy", &policy, "--max-time", "1", &gateway.url]);
    run.fails(1, "overloaded");
    assert!(before.elapsed() < std::time::Duration::from_secs(3));
}

#[test]
fn another_gateway_answers_where_one_lies_and_one_is_gone() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let liar = Gateway::start(|_| plain(200, "", "believe me"));
    let honest = Gateway::honest(cluster);
    let run = person
        .run(&[
            "curl",
            "--policy",
            &policy,
            "--also",
            "http://127.0.0.1:1",
            "--also",
            &honest.url,
            &liar.url,
        ])
        .exits(0);
    assert_eq!(run.stdout, "hello");
    assert!(run.stderr.contains("note: http://127.0.0.1:1: connect: "), "{run:?}");
}

#[test]
fn a_gateway_that_is_not_there_is_exit_1_at_once() {
    let person = Person::new();
    let policy = policy_of(&person, &Cluster::new(1, NAME));
    person.run(&["curl", "--policy", &policy, "http://127.0.0.1:1/"]).fails(1, "connect");
}

#[test]
fn a_policy_is_pinned_on_first_use_and_believed_from_then_on() {
    let person = Person::new();
    let gateway = Gateway::honest(Cluster::new(1, NAME));
    let first = person.run(&["curl", &gateway.url]).exits(0);
    let (verdict, note) = first.stderr.split_once('\n').unwrap();
    assert_eq!(
        without_duration(verdict),
        "first use: 3 of 4 replicas, entry 1, _ ms (development keys)"
    );
    assert!(note.starts_with("note: the policy that "), "{note}");
    let second = person.run(&["curl", &gateway.url]).exits(0);
    assert!(second.stderr.starts_with("verified: "), "{second:?}");
    assert_eq!(second.stderr.lines().count(), 1);
}

#[test]
fn a_policy_under_which_nothing_verified_is_not_pinned() {
    let person = Person::new();
    let gateway = Gateway::serving(Cluster::new(1, NAME), |_, _| plain(200, "", "believe me"));
    person.run(&["curl", &gateway.url]).exits(3);
    assert!(!person.home.path().join(".config").exists());
}

#[test]
fn a_changed_policy_is_exit_3_until_the_old_one_is_forgotten() {
    let person = Person::new();
    let (mut old, mut new) = (Cluster::new(1, NAME), Cluster::new(2, NAME));
    let mut served = 0;
    let gateway = Gateway::start(move |request| {
        served += 1;
        // The first two requests fetch the policy and an answer; then the cluster is another.
        let cluster = if served <= 2 { &mut old } else { &mut new };
        match request.path.as_str() {
            "/.well-known/quorate/policy" => plain(200, "", cluster.policy.text()),
            _ => cluster.answer(request, hello()).inline(),
        }
    });
    person.run(&["curl", &gateway.url]).exits(0);
    let run = person.run(&["curl", &gateway.url]).fails(3, "policy-changed");
    assert!(run.stderr.contains("quorate policy forget"), "{run:?}");
    person.run(&["policy", "forget", &gateway.url]).exits(0);
    assert!(person.run(&["curl", &gateway.url]).exits(0).stderr.starts_with("first use: "));
}

#[test]
fn a_verdict_in_json_carries_the_answer() {
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    let run = person.run(&["curl", "--output", "json", "--policy", &policy, &gateway.url]).exits(0);
    let json = run.json();
    assert_eq!((&json["verified"], &json["verdict"]), (&true.into(), &"verified".into()));
    assert_eq!((&json["status"], &json["body"]), (&200.into(), &"hello".into()));
    assert_eq!((&json["development"], &json["fresh"]), (&true.into(), &true.into()));
    assert!(json["elapsed_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_signed_request_names_the_service_and_verifies_as_replicas_check_it() {
    use quorate_proof::{client_signature, client_signature::parse_signature, signature_base};
    let (person, cluster) = (Person::new(), Cluster::new(1, NAME));
    let policy = policy_of(&person, &cluster);
    let gateway = Gateway::honest(cluster);
    person.run(&["keygen", "me.key"]).exits(0);
    person
        .run(&["curl", "--policy", &policy, "--sign", "me.key", "-d", "x", &gateway.url])
        .exits(0);
    let request = gateway.requests().remove(0);
    let value = |name| field(&request, name).unwrap();
    assert_eq!(value("content-digest"), quorate_proof::content_digest(b"x"));
    let signature = parse_signature(value("signature-input"), value("signature")).unwrap();
    let mut ordered = quorate_types::Request {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        fields: vec![("idempotency-key".into(), value("idempotency-key").into())],
        body: request.body.clone(),
        salt: quorate_types::Salt([0; 16]),
        signature: Some(signature.clone()),
    };
    assert!(client_signature::created_s(&signature).is_some());
    let right = |request: &quorate_types::Request| {
        use quorate_proof::SignatureCheck as _;
        let base = signature_base(request, NAME, &signature).unwrap();
        quorate_proof::Strict.check(&signature.key, base.as_bytes(), &signature.signature)
    };
    assert!(right(&ordered));
    ordered.body = "y".into();
    assert!(!right(&ordered));
    person
        .run(&["curl", "--policy", &policy, "--sign", "no.key", &gateway.url])
        .fails(2, "key-missing");
}
