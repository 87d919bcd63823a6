//! Configurations, keys and data folders that cannot be used: one error with a code, and no panic.

use crate::{
    binary::Person,
    running::{Dev, free_ports, gateway},
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// The replica does not start: by this code, in one line, perhaps with a hint.
#[track_caller]
fn refuses(person: &Person, exit: i32, code: &str) {
    let run = person.run(&["start", "--config", &person.path("c/r0/quorate.toml")]);
    let errors: Vec<_> = run.stderr.lines().filter(|line| line.starts_with("error[")).collect();
    assert_eq!(errors.len(), 1, "{run:?}");
    assert!(!run.stderr.contains("panic"), "{run:?}");
    run.fails(exit, code);
    person.run(&["explain", code]).exits(0);
}

fn initialised() -> Person {
    let person = Person::new();
    person.run(&["init", "--dir", "c", "--port", &free_ports().to_string()]).exits(0);
    person
}

#[test]
fn a_configuration_that_cannot_work_is_one_error_of_start() {
    let person = initialised();
    let path = person.path("c/r0/quorate.toml");
    let good = fs::read_to_string(&path).unwrap();
    let key = |name: &str, member: usize| {
        let table: toml::Table = good.parse().unwrap();
        table["members"][member][name].as_str().unwrap().to_owned()
    };
    let last_member = good.rfind("[[members]]").unwrap();
    let cases = [
        (good.replacen("id = 1", "id = 0", 1), "config-duplicate-id"),
        (good.replacen("id = 3", "id = 9", 1), "config-missing-id"),
        (good[..last_member].to_owned(), "config-no-quorum"),
        (good.replace(&key("vote", 1), &key("vote", 2)), "config-duplicate-key"),
        (good.replace(&key("cosign", 1), &"0".repeat(64)), "config-policy"),
        (good.replace(&key("address", 1), &key("address", 2)), "config-duplicate-address"),
        (good.replacen("engine = \"pbft\"", "engine = \"raft\"", 1), "config-unknown-engine"),
        (good.replacen("replica = 0", "replica = 4", 1), "config-not-a-member"),
        (format!("surplus = 1\n{good}"), "config-syntax"),
        (good[..good.len() / 2].to_owned(), "config-syntax"),
        ("\u{0}\u{1}".to_owned(), "config-syntax"),
        ("[".repeat(100_000), "config-syntax"),
        (String::new(), "config-syntax"),
    ];
    for (text, code) in cases {
        assert!(text != good, "{code} changes nothing");
        fs::write(&path, text).unwrap();
        refuses(&person, 2, code);
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    refuses(&person, 2, "config-unreadable");
    fs::remove_file(&path).unwrap();
    refuses(&person, 2, "config-unreadable");
}

#[test]
fn a_key_that_is_missing_foreign_readable_or_damaged_is_one_error_of_start() {
    let person = initialised();
    let path = PathBuf::from(person.path("c/r0/keys/vote.key"));
    let good = fs::read(&path).unwrap();
    let put = |bytes: &[u8], mode| {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put(&good, 0o644);
    refuses(&person, 1, "key-mode");
    put(&good[..good.len() - 5], 0o600);
    refuses(&person, 1, "key-malformed");
    put(&[&good[..], b"\n"].concat(), 0o600);
    refuses(&person, 1, "key-malformed");
    put(b"", 0o600);
    refuses(&person, 1, "key-malformed");
    put(&fs::read(person.path("c/r0/keys/cosign.key")).unwrap(), 0o600);
    refuses(&person, 1, "key-mismatch");
    put(&fs::read(person.path("c/r1/keys/vote.key")).unwrap(), 0o600);
    refuses(&person, 1, "key-not-listed");
    fs::remove_file(&path).unwrap();
    refuses(&person, 1, "key-missing");
}

#[test]
fn damaged_data_is_one_error_of_start_and_never_served() {
    let person = Person::new();
    let port = free_ports().to_string();
    let mut dev = Dev::start(&person, &["--dir", "c", "--port", &port]);
    let ready = dev.event("ready");
    for n in 0..8 {
        let url = format!("{}/kv/k{n}", gateway(&ready, n % 4));
        person.run(&["curl", "-X", "PUT", "-d", "hello", &url]).exits(0);
    }
    assert_eq!(dev.stop(), Some(0));
    let folder = PathBuf::from(person.path("c/r0/data"));
    let file = |folder_name: &str, starts: &str| -> PathBuf {
        let files = fs::read_dir(folder.join(folder_name)).unwrap();
        let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let named =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(starts);
        files.into_iter().find(named).unwrap_or_else(|| panic!("no {starts} in {folder_name}"))
    };
    for (path, place) in [
        // In the middle of what was durable, and in the header.
        (file("wal", ""), 2),
        (file("wal", ""), 5),
        (file("wal", ""), 1_000_000),
        (file("log", "log-entries"), 2),
        (file("log", "log-entries"), 1_000_000),
    ] {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let place = if place == 1_000_000 { bad.len() / 3 } else { 8 * place };
        bad[place] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        refuses(&person, 1, "corrupt-log");
        fs::write(&path, &good).unwrap();
    }
    // With everything as it was, it starts.
    let mut dev = Dev::start(&person, &["--dir", "c"]);
    dev.event("ready");
    assert_eq!(dev.stop(), Some(0));
}
