//! The small commands.

use crate::binary::{Person, example};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn explain_tells_what_a_code_means() {
    let person = Person::new();
    let run = person.run(&["explain", "not-in-log"]).exits(0);
    assert!(run.stdout.starts_with("not-in-log\n\n"), "{run:?}");
    assert!(run.stdout.lines().all(|line| line.len() <= 100));
    let json = person.run(&["explain", "quorum-missing", "--output", "json"]).exits(0).json();
    assert_eq!(json["code"], "quorum-missing");
    assert_eq!(person.run(&["explain", "error[not-in-log]"]).exits(0).stdout, run.stdout);
}

#[test]
fn explain_lists_all_codes_and_answers_an_unknown_one_with_a_near_one() {
    let person = Person::new();
    assert!(person.run(&["explain"]).exits(0).stdout.lines().count() > 100);
    let run = person.run(&["explain", "not-in-lug"]).fails(2, "code-unknown");
    assert!(run.stderr.contains("hint: `not-in-log`"), "{run:?}");
}

#[test]
fn completions_are_written_for_every_shell() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = person.run(&["completions", shell]).exits(0);
        assert!(run.stdout.contains("max-age"), "{shell}");
    }
    person.run(&["completions", "sh"]).exits(2);
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let person = Person::new();
    let page = person.run(&["man"]).exits(0).stdout;
    assert!(page.contains(".TH quorate 1 "), "{page}");
    let run = person.run(&["man", "--dir", "man1"]).exits(0);
    let page = |name: &str| std::fs::read_to_string(person.path(&format!("man1/{name}"))).unwrap();
    let curl = page("quorate-curl.1");
    for word in [".TH quorate-curl 1", "\\-\\-max\\-age", "Examples:", "\\-\\-output"] {
        assert!(curl.contains(word), "{word}: {curl}");
    }
    assert!(page("quorate-fault-set.1").contains("corrupt\\-responses"));
    let pages = std::fs::read_dir(person.path("man1")).unwrap().count();
    assert!(pages > 25, "{pages}");
    assert_eq!(run.stdout, format!("{pages} pages in man1\n"));
}

#[test]
fn the_version_is_told_shortly_and_at_length() {
    let person = Person::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(person.run(&["version"]).exits(0).stdout, format!("quorate {version}\n"));
    assert_eq!(person.run(&["--version"]).exits(0).stdout, format!("quorate {version}\n"));
    let json = person.run(&["version", "--verbose", "--output", "json"]).exits(0).json();
    assert_eq!(json["version"], version);
    assert_eq!(json["engines"][0], "pbft");
}

#[test]
fn a_key_is_made_for_its_owner_alone_and_never_overwritten() {
    let person = Person::new();
    let run = person.run(&["keygen", "me.key"]).exits(0);
    assert!(run.stdout.starts_with("me.key: a client key, public "), "{run:?}");
    let path = person.home.path().join("me.key");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let before = std::fs::read(&path).unwrap();
    person.run(&["keygen", "me.key"]).fails(2, "key-exists");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_replica_makes_its_own_keys_in_a_new_folder() {
    let person = Person::new();
    let run = person.run(&["keygen", "--replica", "keys"]).exits(0);
    assert_eq!(run.stdout.lines().count(), 4);
    for name in ["vote", "cosign", "log", "tls"] {
        assert!(run.stdout.contains(&format!("{name} ")), "{run:?}");
        let file = person.home.path().join(format!("keys/{name}.key"));
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    person.run(&["keygen", "--replica", "keys"]).fails(2, "key-exists");
}

#[test]
fn a_policy_is_shown_in_words_raw_and_as_json() {
    let person = Person::new();
    let policy = example("policy.txt");
    let run = person.run(&["policy", "show", "--policy", &policy]).exits(0);
    assert!(run.stdout.contains("origin:      shop.example/quorate/5f2c9a17d0e84b63/bft\n"));
    assert!(run.stdout.ends_with("quorum replicas\n"), "{run:?}");
    let raw = person.run(&["policy", "show", "--raw", "--policy", &policy]).exits(0);
    assert_eq!(raw.stdout, std::fs::read_to_string(&policy).unwrap());
    let json =
        person.run(&["policy", "show", "--output", "json", "--policy", &policy]).exits(0).json();
    assert_eq!(json["fault_model"], "bft");
    assert_eq!(json["replicas"][3]["name"], "org-d.example/r3");
    assert_eq!(json["source"], "file");
}

#[test]
fn a_policy_is_pinned_and_forgotten_by_hand() {
    let person = Person::new();
    let url = "http://shop.example:7400/";
    person.run(&["policy", "pin", &example("policy.txt"), url]).exits(0);
    let json = person.run(&["policy", "show", "--output", "json", url]).exits(0).json();
    assert_eq!(json["source"], "pinned");
    let file = person.home.path().join(".config/quorate/pins/shop.example:7400.policy");
    assert!(file.exists());
    person.run(&["policy", "forget", url]).exits(0);
    assert!(!file.exists());
    let run = person.run(&["policy", "forget", url]).exits(0);
    assert_eq!(run.stdout, "nothing was pinned\n");
}

#[test]
fn every_command_has_help_with_an_example() {
    let person = Person::new();
    let help = person.run(&["--help"]).exits(0).stdout;
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let help = person.run(&[name, "--help"]).exits(0).stdout;
        if help.contains("Commands:") {
            continue; // its subcommands have them
        }
        assert!(help.contains("Examples:\n"), "{name} has no examples");
    }
    let actions = [
        ["policy", "show"],
        ["fault", "set"],
        ["fault", "clear"],
        ["sim", "run"],
        ["sim", "swarm"],
    ];
    for [command, action] in actions {
        let help = person.run(&[command, action, "--help"]).exits(0).stdout;
        assert!(help.contains("Examples:\n"), "{command} {action} has no examples");
    }
}

#[test]
fn an_error_in_json_is_one_object_on_standard_error() {
    let person = Person::new();
    let run = person.run(&["curl", "--output", "json", "ftp://h/"]).exits(2);
    let error: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["code"], "url-scheme");
    assert_eq!(run.stdout, "");
}
