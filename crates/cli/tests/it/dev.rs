//! `quorate dev`, `init` and `start`: real processes on real ports and disks.

use crate::{
    binary::Person,
    running::{Dev, SOON, free_ports, gateway, pid, wait_for},
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn replica_pid(ready: &Value, i: usize) -> Pid {
    pid(ready["replicas"][i]["pid"].as_u64().unwrap())
}

/// PUTs through a gateway, verified.
#[track_caller]
fn put(person: &Person, gateway: &str, key: &str, value: &str) {
    let url = format!("{gateway}/kv/{key}");
    let run = person.run(&["curl", "-X", "PUT", "-d", value, &url]).exits(0);
    assert!(run.stderr.starts_with("verified: 3 of 4 replicas, entry "), "{run:?}");
    assert!(run.stderr.contains("(development keys)"), "{run:?}");
}

/// GETs through a gateway, verified.
#[track_caller]
fn get(person: &Person, gateway: &str, key: &str) -> String {
    person.run(&["curl", &format!("{gateway}/kv/{key}")]).exits(0).stdout
}

fn is_ready(person: &Person, gateway: &str) -> bool {
    let run = person.run(&["--output", "json", "status", gateway]);
    run.exit == 0 && serde_json::from_str::<Value>(&run.stdout).unwrap()["ready"] == true
}

#[test]
fn a_cluster_answers_with_proofs_survives_kills_and_resumes() {
    let person = Person::new();
    let base = free_ports().to_string();
    let mut dev = Dev::start(&person, &["--dir", "cluster", "--port", &base]);
    let ready = dev.event("ready");
    for i in 0..4 {
        put(&person, &gateway(&ready, i), &format!("k{i}"), "hello");
        assert_eq!(get(&person, &gateway(&ready, 3 - i), &format!("k{i}")), "hello");
    }

    // A saved exchange is checked offline.
    let url = format!("{}/kv/k0", gateway(&ready, 1));
    person.run(&["curl", "--save", "saved", &url]).exits(0);
    let policy = ready["policy"].as_str().unwrap();
    let verify = ["verify", "--policy", policy, "--request", "saved/request.http", "--response"];
    person.run(&[&verify[..], &["saved/response.http"]].concat()).exits(0);

    // While it runs, a second one on the same folder is refused.
    let second = person.run(&["dev", "--dir", "cluster"]).exits(1);
    assert!(second.stderr.contains("error[dev-running]"), "{second:?}");

    // The primary dies; the others answer within seconds, and it comes back.
    kill_process(replica_pid(&ready, 0), Signal::KILL).unwrap();
    let killed = Instant::now();
    put(&person, &gateway(&ready, 1), "after", "primary died");
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    assert_eq!(dev.event("died")["id"], 0);
    assert_eq!(dev.event("restarted")["id"], 0);
    wait_for("r0 to be ready again", || is_ready(&person, &gateway(&ready, 0)));
    assert_eq!(get(&person, &gateway(&ready, 0), "after"), "primary died");

    // Stopped and resumed, it has everything.
    assert_eq!(dev.stop(), Some(0));
    let mut dev = Dev::start(&person, &["--dir", "cluster"]);
    let ready = dev.event("ready");
    assert_eq!(get(&person, &gateway(&ready, 2), "after"), "primary died");
    put(&person, &gateway(&ready, 2), "k0", "again");

    // All killed at one time, all come back with everything.
    (0..4).for_each(|i| kill_process(replica_pid(&ready, i), Signal::KILL).unwrap());
    let events: Vec<_> = (0..8).map(|_| dev.events.recv_timeout(SOON).unwrap()).collect();
    assert_eq!(events.iter().filter(|event| event["event"] == "restarted").count(), 4);
    wait_for("r1 to be ready again", || is_ready(&person, &gateway(&ready, 1)));
    assert_eq!(get(&person, &gateway(&ready, 1), "k0"), "again");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_cluster_without_a_folder_leaves_nothing_behind() {
    let person = Person::new();
    let base = free_ports().to_string();
    let mut dev = Dev::start(&person, &["--port", &base]);
    let ready = dev.event("ready");
    let folder = ready["dir"].as_str().unwrap().to_owned();
    assert!(fs::metadata(&folder).is_ok());
    assert_eq!(dev.stop(), Some(0));
    assert!(fs::metadata(&folder).is_err(), "{folder} is still there");
    for i in 0..4 {
        assert!(test_kill_process(replica_pid(&ready, i)).is_err(), "r{i} still runs");
    }
}

#[test]
fn replicas_end_with_a_parent_that_was_killed() {
    let person = Person::new();
    let base = free_ports().to_string();
    let mut dev = Dev::start(&person, &["--port", &base]);
    let ready = dev.event("ready");
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    for i in 0..4 {
        wait_for("a replica to end", || {
            // A zombie of nobody's is reaped by init; in a container it may stay, but is no process.
            let stat = format!("/proc/{}/stat", ready["replicas"][i]["pid"]);
            fs::read_to_string(stat).map_or(true, |stat| stat.contains(") Z "))
        });
    }
}

#[test]
fn a_port_in_use_is_named() {
    let person = Person::new();
    let base = free_ports();
    let _held = TcpListener::bind(("127.0.0.1", base + 101)).unwrap();
    let run = person.run(&["dev", "--port", &base.to_string()]).exits(1);
    assert!(run.stderr.contains("error[port-in-use]"), "{run:?}");
    assert!(run.stderr.contains(&(base + 101).to_string()), "{run:?}");
}

#[test]
fn init_makes_a_cluster_once_and_never_overwrites() {
    let person = Person::new();
    person.run(&["init", "--replicas", "4", "--dir", "c", "--name", "shop.example"]).exits(0);
    let policy = fs::read_to_string(person.path("c/policy.txt")).unwrap();
    assert!(policy.contains("/bft+"), "{policy}");
    let before = fs::read(person.path("c/r2/keys/vote.key")).unwrap();
    let again = person.run(&["init", "--replicas", "4", "--dir", "c"]).exits(1);
    assert!(again.stderr.contains("error[init-exists]"), "{again:?}");
    assert_eq!(fs::read(person.path("c/r2/keys/vote.key")).unwrap(), before);
    for (arguments, code) in [
        (&["--replicas", "3"][..], "config-no-quorum"),
        (&["--replicas", "101"], "init-ports"),
        (&["--port", "65400"], "init-ports"),
        (&["--host", "a", "--host", "b"], "init-hosts"),
        (&["--engine", "raft"], "config-unknown-engine"),
        (&["--service", "sql"], "config-unknown-service"),
        (&["--name", "no/name"], "config-value"),
    ] {
        let run = person.run(&[&["init", "--dir", "d"], arguments].concat()).exits(2);
        assert!(run.stderr.contains(&format!("error[{code}]")), "{run:?}");
    }
    assert!(fs::metadata(person.path("d")).is_err(), "something was written");
}

#[test]
fn start_refuses_what_cannot_work_by_one_clear_error() {
    let person = Person::new();
    let base = free_ports().to_string();
    person.run(&["init", "--dir", "a", "--port", &base]).exits(0);
    person.run(&["init", "--dir", "b", "--port", &base]).exits(0);
    let start = |config: &str, code: &str| {
        let run = person.run(&["start", "--config", config]);
        assert!(run.exit == 1 || run.exit == 2, "{run:?}");
        assert!(run.stderr.contains(&format!("error[{code}]")), "{code}: {run:?}");
    };
    start("nowhere.toml", "config-unreadable");

    // Another cluster's data, and another's keys.
    let swap = |what: &str| {
        fs::rename(person.path(&format!("a/r0/{what}")), person.path("aside")).unwrap();
        fs::rename(person.path(&format!("b/r0/{what}")), person.path(&format!("a/r0/{what}")))
            .unwrap();
        fs::rename(person.path("aside"), person.path(&format!("b/r0/{what}"))).unwrap();
    };
    swap("data");
    start("a/r0/quorate.toml", "foreign-data");
    swap("data");
    swap("keys");
    start("a/r0/quorate.toml", "key-not-listed");
    swap("keys");
    fs::remove_file(person.path("b/r0/keys/tls.key")).unwrap();
    start("b/r0/quorate.toml", "key-missing");

    // A port that somebody else holds.
    let held = TcpListener::bind(("127.0.0.1", base.parse().unwrap())).unwrap();
    start("a/r0/quorate.toml", "port-in-use");
    drop(held);

    // A copy of the folder beside the running original.
    let mut original = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["start", "--config", &person.path("a/r0/quorate.toml")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let gateway = format!("http://127.0.0.1:{base}");
    wait_for("the replica", || person.run(&["status", &gateway]).exit == 0);
    let (from, to) = (person.path("a"), person.path("copy"));
    assert!(Command::new("cp").args(["-r", &from, &to]).status().unwrap().success());
    start("copy/r0/quorate.toml", "key-in-use");

    // Alone it is not ready, and SIGTERM ends it in time.
    assert!(!is_ready(&person, &gateway));
    let asked = Instant::now();
    kill_process(pid(u64::from(original.id())), Signal::TERM).unwrap();
    assert_eq!(original.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
}
