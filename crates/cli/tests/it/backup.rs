//! `quorate snapshot` and `quorate restore`, beside a cluster that runs.

use crate::{
    binary::{Person, Run},
    running::{Dev, free_ports, gateway, pid, wait_for},
};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A cluster that takes snapshots often, with a short history.
fn cluster_with_history(person: &Person) -> (Dev, Value) {
    let base = free_ports().to_string();
    person.run(&["init", "--dir", "cluster", "--port", &base]).exits(0);
    for i in 0..4 {
        let path = person.path(&format!("cluster/r{i}/quorate.toml"));
        let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let often: toml::Table = "every_bytes = 65536".parse().unwrap();
        config.insert("snapshots".into(), often.into());
        fs::write(&path, config.to_string()).unwrap();
    }
    let dev = Dev::start(person, &["--no-restart", "--dir", "cluster"]);
    let ready = dev.event("ready");
    person.run(&["keygen", "me.key"]).exits(0);
    let big = "x".repeat(20_000);
    for i in 0..12 {
        put(person, &ready, i % 4, &format!("big-{i}"), &big);
    }
    let url = format!("{}/kv/signed", gateway(&ready, 1));
    person.run(&["curl", "--sign", "me.key", "-X", "PUT", "-d", "mine", &url]).exits(0);
    // Genesis and thirteen requests, at each replica, and a snapshot on each disk.
    for i in 0..4 {
        wait_for("the history and a snapshot", || {
            let status = status(person, &ready, i);
            let snapshots = person.path(&format!("cluster/r{i}/data/snapshots"));
            let mut files = fs::read_dir(snapshots).unwrap().map(|file| file.unwrap().file_name());
            let saved = files.any(|file| file.to_str().unwrap().starts_with("snapshot-"));
            saved && status["last_head"]["size"].as_u64() >= Some(14)
        });
    }
    (dev, ready)
}

/// What a replica says of itself; null while it does not answer.
fn status(person: &Person, ready: &Value, i: usize) -> Value {
    let run = person.run(&["status", "--output", "json", &gateway(ready, i)]);
    if run.exit == 0 { run.json() } else { Value::Null }
}

fn put(person: &Person, ready: &Value, i: usize, key: &str, value: &str) {
    let url = format!("{}/kv/{key}", gateway(ready, i));
    person.run(&["curl", "-X", "PUT", "-d", value, &url]).exits(0);
}

fn snapshot(person: &Person, replica: usize, backup: &str) -> Run {
    let config = format!("cluster/r{replica}/quorate.toml");
    person.run(&["snapshot", "--output", "json", "--config", &config, backup])
}

fn restore(person: &Person, replica: usize, backup: &str) -> Run {
    let config = format!("cluster/r{replica}/quorate.toml");
    person.run(&["restore", "--output", "text", "--config", &config, backup])
}

/// Ends a replica of the cluster for good.
fn end(dev: &Dev, ready: &Value, id: usize) {
    kill_process(pid(ready["replicas"][id]["pid"].as_u64().unwrap()), Signal::TERM).unwrap();
    assert_eq!(dev.event("died")["id"], id);
}

/// A replica that was started by hand.
struct Started(Child);

impl Started {
    fn start(person: &Person, replica: usize) -> Self {
        let log = fs::File::create(person.path("started.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["start", "--config", &format!("cluster/r{replica}/quorate.toml")])
            .current_dir(person.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_replica_that_lost_its_data_is_restored_rejoins_and_serves() {
    let person = Person::new();
    let (dev, ready) = cluster_with_history(&person);
    // While it runs, and while others write.
    let made = snapshot(&person, 3, "backup").exits(0).json();
    let size = made["size"].as_u64().unwrap();
    assert!(size >= 14, "{made}");
    assert!(made["snapshot"].as_u64().is_some(), "{made}");
    assert_eq!((&made["replica"], &made["audited"]), (&3.into(), &true.into()));
    let folder: Vec<_> = fs::read_dir(person.path("backup")).unwrap().collect();
    assert_eq!(folder.len(), 4, "{folder:?}");
    let audit = ["audit", "--output", "json", "--policy", "cluster/policy.txt", "backup"];
    let audited = person.run(&audit).exits(0).json();
    assert_eq!((&audited["size"], &audited["re_executed"]), (&size.into(), &true.into()));
    snapshot(&person, 3, "backup").exits(2);

    restore(&person, 3, "backup").fails(2, "restore-exists");
    end(&dev, &ready, 3);
    let stopped = snapshot(&person, 3, "backup-stopped").exits(0).json();
    assert!(stopped["size"].as_u64().unwrap() >= size, "{stopped}");
    for i in 0..3 {
        put(&person, &ready, i, &format!("later-{i}"), "while r3 is away");
    }
    fs::remove_dir_all(person.path("cluster/r3/data")).unwrap();
    let told = restore(&person, 3, "backup").exits(0).stdout;
    assert!(told.starts_with(&format!("restored: {size} entries for r3")), "{told}");
    assert!(!Path::new(&person.path("cluster/r3/data/wal")).exists(), "votes were restored");
    restore(&person, 3, "backup").fails(2, "restore-exists");

    let _r3 = Started::start(&person, 3);
    let log = || fs::read_to_string(person.path("started.log")).unwrap();
    wait_for("r3 to rejoin", || status(&person, &ready, 3)["ready"] == true);
    let log = log();
    assert!(log.contains("disk-lost"), "it must know that its votes are gone: {log}");
    assert!(log.contains(&format!("size={size}")), "it begins where the backup ends: {log}");
    let url = format!("{}/kv/later-2", gateway(&ready, 3));
    let run = person.run(&["curl", &url]).exits(0);
    assert_eq!(run.stdout, "while r3 is away");
    put(&person, &ready, 3, "after", "served by r3");
    // It votes: with another one away, the cluster needs it.
    end(&dev, &ready, 2);
    put(&person, &ready, 3, "after", "voted by r3");
    drop(dev);
}

#[test]
fn a_backup_of_one_replica_restores_another_and_the_key_of_one_that_runs_is_in_use() {
    let person = Person::new();
    let (dev, ready) = cluster_with_history(&person);
    snapshot(&person, 0, "backup").exits(0);
    let config = fs::read_to_string(person.path("cluster/r2/quorate.toml")).unwrap();
    let mut config: toml::Table = config.parse().unwrap();
    config.insert("data".into(), "elsewhere".into());
    let beside = person.write("cluster/r2/beside.toml", config.to_string());
    person.run(&["restore", "--config", &beside, "backup"]).fails(1, "key-in-use");
    assert!(!Path::new(&person.path("cluster/r2/elsewhere")).exists());
    end(&dev, &ready, 2);
    fs::remove_dir_all(person.path("cluster/r2/data")).unwrap();
    restore(&person, 2, "backup").exits(0);
    let _r2 = Started::start(&person, 2);
    wait_for("r2 to rejoin", || status(&person, &ready, 2)["ready"] == true);
    put(&person, &ready, 2, "after", "served by r2");
}

#[test]
fn a_backup_that_is_damaged_forged_or_foreign_is_refused_and_nothing_is_made() {
    let person = Person::new();
    let (mut dev, _) = cluster_with_history(&person);
    assert_eq!(dev.stop(), Some(0));
    snapshot(&person, 1, "backup").exits(0);
    fs::remove_dir_all(person.path("cluster/r1/data")).unwrap();
    let data = person.path("cluster/r1/data");
    let copy = |name: &str| {
        let (from, to) = (person.path("backup"), person.path(name));
        assert!(Command::new("cp").args(["-r", &from, &to]).status().unwrap().success());
    };

    copy("damaged");
    flip(&person.path("damaged/log/log-exchanges"));
    let run = restore(&person, 1, "damaged").fails(3, "backup-damaged");
    assert!(run.stderr.contains("log/log-exchanges"), "{run:?}");
    let audited = person.run(&["audit", "--policy", "cluster/policy.txt", "damaged"]);
    audited.fails(3, "backup-damaged");

    // Who can change a file can change the manifest, but not what was certified.
    for file in ["log/log-entries", "log/log-exchanges", "log/log-certificates"] {
        let name = format!("forged-{}", file.replace('/', "-"));
        copy(&name);
        flip(&person.path(&format!("{name}/{file}")));
        adjust_manifest(Path::new(&person.path(&name)), file);
        let run = restore(&person, 1, &name).exits(3);
        assert!(run.stderr.contains("error[") && !run.stderr.contains("backup-damaged"), "{run:?}");
    }

    let other = free_ports().to_string();
    person.run(&["init", "--dir", "other", "--port", &other]).exits(0);
    fs::remove_dir_all(person.path("other/r1/data")).unwrap();
    let run = person.run(&["restore", "--config", "other/r1/quorate.toml", "backup"]);
    run.fails(2, "backup-other-cluster");
    restore(&person, 1, "cluster").fails(2, "backup-format");
    restore(&person, 1, "nowhere").fails(2, "backup-format");
    assert!(!Path::new(&data).exists(), "a refused backup leaves nothing");
}

#[test]
fn what_was_never_certified_is_no_backup() {
    let person = Person::new();
    person.run(&["init", "--dir", "cluster", "--port", &free_ports().to_string()]).exits(0);
    let run = snapshot(&person, 0, "backup").exits(1);
    assert!(run.stderr.contains("file-missing") || run.stderr.contains("uncertified"), "{run:?}");
    let left: Vec<_> = fs::read_dir(person.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("backup"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Changes a bit in the middle of a file.
fn flip(path: &str) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Makes the manifest fit a file that was changed.
fn adjust_manifest(backup: &Path, file: &str) {
    use sha2::{Digest as _, Sha256};
    let path = backup.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let hash = Sha256::digest(fs::read(backup.join(file)).unwrap());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let files = manifest["files"].as_array_mut().unwrap();
    let listed = files.iter_mut().find(|listed| listed["path"] == file).unwrap();
    listed["sha256"] = hash.into();
    fs::write(&path, manifest.to_string()).unwrap();
}
