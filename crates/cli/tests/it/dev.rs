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
            // A zombie of nobody's is reaped by init; in a container it may stay: no process.
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

/// What `status` says of a replica.
fn status(person: &Person, url: &str) -> Value {
    let run = person.run(&["--output", "json", "status", url]).exits(0);
    serde_json::from_str(&run.stdout).unwrap()
}

fn is_accused(person: &Person, url: &str, id: u16, charge: &str) -> bool {
    let status = status(person, url);
    let divergent = status["divergent"].as_array().unwrap();
    divergent.iter().any(|one| one["id"] == id && one["evidence"]["charge"] == charge)
}

#[test]
fn faults_that_an_operator_injects_are_masked_and_named() {
    let person = Person::new();
    let base = free_ports();
    let mut dev = Dev::start(&person, &["--port", &base.to_string()]);
    let ready = dev.event("ready");
    let operations = format!("http://127.0.0.1:{}", base + 100);
    let url = |i| gateway(&ready, i);
    let set = |arguments: &[&str]| {
        person.run(&[&["fault"], arguments, &["--url", &operations]].concat()).exits(0);
    };

    // Through the others still verified, through itself exit 3, and the others hold its signature.
    set(&["set", "r2", "--corrupt-responses"]);
    (0..3).for_each(|i| put(&person, &url(0), &format!("a{i}"), "hello"));
    let corrupted = person.run(&["curl", &format!("{}/kv/a1", url(2))]).exits(3);
    assert_eq!(corrupted.stdout, "", "a body that nothing proves was shown");
    wait_for("evidence against r2", || is_accused(&person, &url(0), 2, "wrong-result"));
    let policy = ready["policy"].as_str().unwrap();
    let evidence = status(&person, &url(0))["divergent"][0].to_string();
    let file = person.write("evidence.json", &evidence);
    let verify = ["verify", "--policy", policy, "--evidence"];
    let run = person.run(&[&verify[..], &[&file]].concat()).exits(0);
    assert!(run.stdout.starts_with("convicted: r2 ("), "{run:?}");
    assert!(run.stdout.contains(" of wrong-result: "), "{run:?}");
    let innocent = evidence.replacen("\"id\":2", "\"id\":1", 1);
    let file = person.write("innocent.json", innocent);
    person.run(&[&verify[..], &[&file]].concat()).fails(3, "evidence-wrong");
    set(&["clear", "r2"]);
    assert_eq!(get(&person, &url(2), "a1"), "hello");

    // A gateway that replays an old valid answer is found out by the key.
    set(&["set", "r3", "--replay"]);
    let replaying = format!("{}/kv/a2", url(3));
    person.run(&["curl", &replaying]).fails(3, "not-in-log");
    set(&["clear", "r3"]);

    // A mute backup is masked, and so is one that is slow.
    set(&["set", "r3", "--mute"]);
    put(&person, &url(1), "b", "without r3");
    set(&["set", "r3", "--delay", "100"]);
    put(&person, &url(1), "b", "with a slow r3");
    set(&["clear", "r3"]);

    // A primary that equivocates is convicted, and replaced.
    let primary = status(&person, &url(0))["primary"].as_u64().unwrap();
    let other = usize::from(primary == 0);
    set(&["set", &format!("r{primary}"), "--equivocate"]);
    put(&person, &url(other), "c", "two faces");
    let accused = u16::try_from(primary).unwrap();
    wait_for("evidence against the primary", || {
        put(&person, &url(other), "c", "two faces");
        is_accused(&person, &url(other), accused, "equivocation")
    });
    // Vote keys stand in configurations alone. A whole status is as good as one accusation.
    let whole = status(&person, &url(other)).to_string();
    let (config, dir) = ("r0/quorate.toml", ready["dir"].as_str().unwrap());
    let config = format!("{dir}/{config}");
    let all = ["verify", "--policy", policy, "--evidence", "-", "--config", &config];
    let run = person.run_with(&all, &[], whole.as_bytes()).exits(0);
    assert!(run.stdout.contains(&format!("convicted: r{primary} (")), "{run:?}");
    assert!(run.stdout.contains(" of equivocation: it signed two different proposals"), "{run:?}");
    let run = person.run_with(&all[..5], &[], whole.as_bytes());
    run.fails(2, "evidence-needs-config");
    set(&["clear", &format!("r{primary}")]);

    // What is held against somebody outlives the process that saw it.
    let held = |url: &str| status(&person, url)["divergent"].clone();
    let before = held(&url(other));
    kill_process(replica_pid(&ready, other), Signal::KILL).unwrap();
    dev.event("died");
    assert_eq!(dev.event("restarted")["id"], other);
    wait_for("the replica is back", || is_ready(&person, &url(other)));
    assert_eq!(held(&url(other)), before);
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_replica_that_lost_its_disk_comes_back_and_serves() {
    let person = Person::new();
    let base = free_ports().to_string();
    let mut dev = Dev::start(&person, &["--dir", "cluster", "--port", &base]);
    let ready = dev.event("ready");
    (0..5).for_each(|i| put(&person, &gateway(&ready, 0), &format!("k{i}"), "kept"));
    fs::remove_dir_all(person.path("cluster/r2/data")).unwrap();
    kill_process(replica_pid(&ready, 2), Signal::KILL).unwrap();
    assert_eq!(dev.event("died")["id"], 2);
    assert_eq!(dev.event("restarted")["id"], 2);
    wait_for("r2 to rejoin", || {
        let run = person.run(&["status", &gateway(&ready, 2)]);
        run.exit == 0 && is_ready(&person, &gateway(&ready, 2))
    });
    assert_eq!(get(&person, &gateway(&ready, 2), "k3"), "kept");

    // From now on its vote log is whole again: a restart needs no second rejoin.
    let before = status(&person, &gateway(&ready, 0))["height"].as_u64().unwrap();
    assert_eq!(dev.stop(), Some(0));
    let mut dev = Dev::start(&person, &["--dir", "cluster"]);
    let ready = dev.event("ready");
    put(&person, &gateway(&ready, 2), "again", "yes");
    let after = status(&person, &gateway(&ready, 2))["height"].as_u64().unwrap();
    assert!(after < before + 64, "it rejoined again: {before} slots, then {after}");
    assert_eq!(dev.stop(), Some(0));
}
