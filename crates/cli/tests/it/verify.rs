//! `quorate verify`, on the worked example that another implementation made.

use crate::{
    binary::{Person, Run, example},
    cluster::{Cluster, hello},
};
use std::fs;

fn verify(person: &Person, policy: &str, request: &str, response: &str) -> Run {
    person.run(&["verify", "--policy", policy, "--request", request, "--response", response])
}

fn changed(person: &Person, name: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(example(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    person.write(name, text.replacen(from, to, 1))
}

#[test]
fn the_worked_example_is_verified() {
    let person = Person::new();
    let (policy, request, response) =
        (example("policy.txt"), example("request.http"), example("response.http"));
    let run = verify(&person, &policy, &request, &response).exits(0);
    assert_eq!(run.stdout, "verified: 3 of 4 replicas, entry 5\n");
    assert_eq!(run.stderr, "");
}

#[test]
fn the_policy_may_come_from_the_environment_and_the_verdict_as_json() {
    let person = Person::new();
    let run = person.run_with(
        &[
            "verify",
            "--output",
            "json",
            "--request",
            &example("request.http"),
            "--response",
            &example("response.http"),
        ],
        &[("QUORATE_POLICY", &example("policy.txt"))],
        b"",
    );
    let json = run.exits(0).json();
    assert_eq!(json["verified"], true);
    assert_eq!(json["fresh"], true);
    assert_eq!(json["development"], false);
    assert_eq!((&json["signers"], &json["replicas"]), (&3.into(), &4.into()));
    assert_eq!(json["index"], 5);
    assert_eq!(json["names"][2], "org-c.example/r2");
    assert_eq!(json["origin"], "shop.example/quorate/5f2c9a17d0e84b63/bft");
}

#[test]
fn what_was_changed_is_not_verified() {
    let person = Person::new();
    let (policy, request, response) =
        (example("policy.txt"), example("request.http"), example("response.http"));
    let body = changed(&person, "response.http", "\"order\":42", "\"order\":43");
    verify(&person, &policy, &request, &body).fails(3, "content-digest-wrong");
    let status = changed(&person, "response.http", "201 Created", "200 Created");
    verify(&person, &policy, &request, &status).fails(3, "not-in-log");
    let path = changed(&person, "request.http", "POST /orders", "POST /Orders");
    verify(&person, &policy, &path, &response).fails(3, "not-in-log");
    let quorum = changed(&person, "policy.txt", "replicas 3 r0", "replicas 4 r0");
    verify(&person, &quorum, &request, &response).fails(3, "quorum-missing");
    let covered = changed(&person, "response.http", "Location: ", "ETag: \"1\"\r\nLocation: ");
    verify(&person, &policy, &request, &covered).fails(3, "not-in-log");
}

#[test]
fn a_header_that_nobody_covers_changes_nothing() {
    let person = Person::new();
    let added = changed(&person, "response.http", "Location: ", "X-Added: 1\r\nLocation: ");
    verify(&person, &example("policy.txt"), &example("request.http"), &added).exits(0);
}

#[test]
fn a_file_that_is_none_is_not_verified_and_says_which() {
    let person = Person::new();
    let (policy, request, response) =
        (example("policy.txt"), example("request.http"), example("response.http"));
    let cut = changed(&person, "request.http", "\r\n\r\n", "\r\n");
    let run = verify(&person, &policy, &cut, &response).fails(3, "file-truncated");
    assert!(run.stderr.contains("request.http: "), "{run:?}");
    let empty = person.write("empty", "");
    verify(&person, &empty, &request, &response).fails(3, "policy-malformed");
    let missing = person.path("nowhere");
    verify(&person, &policy, &missing, &response).fails(1, "file");
}

#[test]
fn freshness_cannot_be_taken_away_on_the_way() {
    // The key is covered, so removing it from the request breaks the proof.
    let person = Person::new();
    let key = "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\n";
    let keyless = changed(&person, "request.http", key, "");
    verify(&person, &example("policy.txt"), &keyless, &example("response.http"))
        .fails(3, "not-in-log");
}

#[test]
fn an_answer_to_a_request_without_a_key_is_verified_but_not_fresh() {
    let (person, mut cluster) = (Person::new(), Cluster::new(1, "shop.example"));
    let asked = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let sent = quorate_proof::parse_request(asked.as_bytes()).unwrap();
    let policy = person.write("policy.txt", cluster.policy.text());
    let request = person.write("request.http", asked);
    let response = person.write("response.http", cluster.answer(&sent, hello()).inline());
    let run = verify(&person, &policy, &request, &response).exits(0);
    assert_eq!(run.stdout, "verified, not fresh: 3 of 4 replicas, entry 1\n");
    let json = person
        .run(&[
            "verify",
            "--output",
            "json",
            "--policy",
            &policy,
            "--request",
            &request,
            "--response",
            &response,
        ])
        .exits(0)
        .json();
    assert_eq!((&json["verified"], &json["fresh"]), (&true.into(), &false.into()));
}

#[test]
fn an_old_answer_is_refused_where_age_matters() {
    let person = Person::new();
    let (policy, request, response) =
        (example("policy.txt"), example("request.http"), example("response.http"));
    let run = person.run(&[
        "verify",
        "--policy",
        &policy,
        "--request",
        &request,
        "--response",
        &response,
        "--max-age",
        "60",
        "--output",
        "json",
    ]);
    assert_eq!(run.json()["verified"], false);
    assert_eq!(run.json()["code"], "too-old");
    assert_eq!(run.exit, 3);
}

#[test]
fn a_command_line_that_cannot_be_used_is_exit_2() {
    let person = Person::new();
    person.run(&["verify"]).exits(2);
    person.run(&["verify", "--nonsense"]).exits(2);
    person
        .run(&["verify", "--request", &example("request.http"), "--response", "x"])
        .fails(2, "policy-needed");
}
