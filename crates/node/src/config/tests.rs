use super::*;
use quorate_crypto::{Role, SecretKey};

fn key(seed: u8) -> String {
    SecretKey::from_seed(Role::Vote, &[seed; 32]).public().to_string()
}

/// A good file of four members.
fn good() -> toml::Table {
    let members = (0..4_u8).map(|i| {
        format!(
            "[[members]]\nid = {i}\nname = \"org-{i}.example/r{i}\"\naddress = \"127.0.0.1:760{i}\"\n\
             gateway = \"http://127.0.0.1:740{i}\"\nvote = \"{}\"\ncosign = \"{}\"\nlog = \"{}\"\n\
             tls = \"{}\"\n",
            key(4 * i + 1),
            key(4 * i + 2),
            key(4 * i + 3),
            key(4 * i + 4)
        )
    });
    let head = "chain = \"0123456789abcdef\"\nname = \"shop.example\"\ngenesis_ms = 1763658123456\n\
                replica = 2\n[listen]\ngateway = \"127.0.0.1:7402\"\n\
                operations = \"127.0.0.1:7502\"\nreplica = \"127.0.0.1:7602\"\n";
    toml::from_str(&members.fold(head.to_owned(), |text, member| text + &member)).unwrap()
}

fn load(table: &toml::Table) -> Result<Config, ConfigError> {
    Config::parse(&toml::to_string(table).unwrap(), "/cluster/r2".into())
}

/// The table with one value put at a path such as `members.1.id`.
fn with(path: &str, new: impl Into<toml::Value>) -> toml::Table {
    let mut root = toml::Value::Table(good());
    let mut place = &mut root;
    for part in path.split('.') {
        place = match (part.parse::<usize>(), place) {
            (Ok(number), toml::Value::Array(array)) => &mut array[number],
            (_, toml::Value::Table(table)) => {
                table.entry(part).or_insert_with(|| toml::Table::new().into())
            }
            _ => panic!("{path} leads nowhere"),
        };
    }
    *place = new.into();
    match root {
        toml::Value::Table(table) => table,
        _ => panic!("{path} replaced everything"),
    }
}

/// The table with this second web origin.
fn origins(second: &str) -> toml::Table {
    with("cors_origins", vec!["https://app.example:8443".to_owned(), second.to_owned()])
}

/// The table with a service that runs outside, and one value of its copy's.
fn outside(field: &str, new: impl Into<toml::Value>) -> toml::Table {
    let mut table = with(&format!("copy.{field}"), new);
    table.insert("service".to_owned(), "http://127.0.0.1:9000".into());
    table
}

#[test]
fn a_copy_is_reset_by_one_way_and_its_own_path_is_no_clients() {
    let mut table = outside("restore", "replay");
    let copy = table["copy"].as_table_mut().unwrap();
    copy.insert("reset_url".to_owned(), "http://127.0.0.1:9000/admin/reset".into());
    copy.insert("volatile_fields".to_owned(), vec!["etag", "x-total"].into());
    copy.insert("response_fields".to_owned(), vec!["x-total"].into());
    let config = load(&table).unwrap();
    let plan = config.copy().unwrap();
    assert_eq!(plan.at.address(), "127.0.0.1:9000");
    assert_eq!(plan.own_paths, ["/admin/reset"]);
    let text = toml::to_string(config.file()).unwrap();
    assert_eq!(Config::parse(&text, "/".into()).unwrap().file(), config.file());
    let copy = table["copy"].as_table_mut().unwrap();
    copy.insert("reset_url".to_owned(), "http://127.0.0.1:9001/reset".into());
    assert!(load(&table).unwrap().copy().unwrap().own_paths.is_empty(), "another listener");
    assert!(load(&good()).unwrap().copy().is_none());
}

#[test]
fn a_copys_state_is_saved_and_loaded_by_paths_that_are_no_clients() {
    let mut table = outside("restore", "snapshot");
    let copy = table["copy"].as_table_mut().unwrap();
    copy.insert("save_url".to_owned(), "http://127.0.0.1:9000/state".into());
    copy.insert("load_url".to_owned(), "http://127.0.0.1:9000/state/new".into());
    let config = load(&table).unwrap();
    let plan = config.copy().unwrap();
    assert_eq!(plan.own_paths, ["/state", "/state/new"]);
    assert_eq!((plan.saves.as_ref().unwrap().entries, &plan.reset), (1000, &None));
    let copy = table["copy"].as_table_mut().unwrap();
    copy.insert("reset_url".to_owned(), "http://127.0.0.1:9000/reset".into());
    assert_eq!(load(&table).unwrap().copy().unwrap().own_paths.len(), 3);
    let copy = table["copy"].as_table_mut().unwrap();
    copy.insert("reset_command".to_owned(), vec!["true"].into());
    assert!(load(&table).unwrap_err().to_string().contains("at most one of"));
}

#[test]
fn a_copys_rules_stand_in_the_policy_and_are_fixed_with_it() {
    let mut table = outside("volatile_fields", vec!["etag", "cache-control"]);
    let plain = load(&outside("canonical_json", false)).unwrap();
    let config = load(&table).unwrap();
    let lines = "# quorate-answers/1 not-covered field cache-control\n\
                 # quorate-answers/1 not-covered field etag\n";
    assert_eq!(config.policy().text(), format!("{lines}{}", plain.policy().text()));
    // Entry 0 of a log names the policy by its digest alone.
    config.check_genesis(&config.policy().digest()).unwrap();
    let error = config.check_genesis(&plain.policy().digest()).unwrap_err();
    assert_eq!(error.code(), "config-answers-differ");
    let both = "answers: nothing; [copy] says: not-covered field cache-control, not-covered field";
    assert!(error.to_string().contains(both), "{error}");
    let error = plain.check_genesis(&config.policy().digest()).unwrap_err();
    assert_eq!(error.code(), "config-policy-differs");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quorate.toml");
    table.insert("policy".to_owned(), "policy.txt".into());
    std::fs::write(&path, toml::to_string(&table).unwrap()).unwrap();
    let load_by = |policy: &str| {
        std::fs::write(folder.path().join("policy.txt"), policy).unwrap();
        Config::load(&path).map(|config| config.policy().text().to_owned())
    };
    assert_eq!(load_by(config.policy().text()).as_deref(), Ok(config.policy().text()));
    let code = |policy: &str| load_by(policy).unwrap_err().code();
    assert_eq!(code(plain.policy().text()), "config-answers-differ");
    let more = format!("# quorate-answers/1 not-covered json-spelling\n{}", config.policy().text());
    let error = load_by(&more).unwrap_err().to_string();
    assert!(error.contains("answers: not-covered json-spelling, not-covered field"), "{error}");
    assert_eq!(
        code(&format!("# quorate-answers/2 x\n{}", plain.policy().text())),
        "policy-answers"
    );
    assert_eq!(code(&(config.policy().text().to_owned() + "\n")), "config-policy-differs");
    std::fs::remove_file(folder.path().join("policy.txt")).unwrap();
    assert_eq!(Config::load(&path).unwrap_err().code(), "config-unreadable");
}

#[test]
fn a_good_file_is_taken_with_defaults() {
    let config = load(&good()).unwrap();
    assert_eq!((config.me(), config.committee().quorum()), (ReplicaId(2), 3));
    assert_eq!(config.keys(), Path::new("/cluster/r2/keys"));
    assert_eq!(config.file().ordering, Ordering::default());
    assert_eq!((&*config.file().engine, &*config.file().service), ("pbft", "kv"));
    assert_eq!(config.policy().witnesses().len(), 4);
    assert!(!config.policy().is_development());
}

#[test]
fn what_was_written_reads_back() {
    let config = load(&good()).unwrap();
    let text = toml::to_string(config.file()).unwrap();
    assert_eq!(Config::parse(&text, "/".into()).unwrap().file(), config.file());
    assert!(!text.contains("[limits]"), "defaults need no lines: {text}");
}

#[test]
fn each_mistake_has_its_code() {
    let no_members = toml::Value::Array(good()["members"].as_array().unwrap()[..3].to_vec());
    let unlisted = {
        let mut table = good();
        table.remove("chain");
        table
    };
    let table: Vec<(&str, toml::Table, &str)> = vec![
        ("config-syntax", unlisted, "chain"),
        ("config-syntax", with("ports", 7), "ports"),
        ("config-syntax", with("listen.gateway", "nowhere"), "socket address"),
        ("config-syntax", with("members.0.id", -1), "id = -1"),
        ("config-syntax", with("limits.body_max", 1), "body_max"),
        ("config-value", with("chain", "XYZ"), "chain"),
        ("config-value", with("name", "shop.example/a"), "name"),
        ("config-value", with("name", ""), "name"),
        ("config-value", with("aliases", vec!["a b"]), "aliases[0]"),
        ("config-value", with("listen.gateway", "127.0.0.1:0"), "listen"),
        ("config-value", with("members.1.vote", "00"), "members[1].vote"),
        ("config-value", with("members.1.tls", key(1).to_uppercase()), "members[1].tls"),
        ("config-value", with("members.1.address", "10.0.0.1"), "members[1].address"),
        ("config-value", with("members.1.address", "a:b:1"), "members[1].address"),
        ("config-value", origins("https://a.example/"), "cors_origins[1]"),
        ("config-value", origins("a.example"), "cors_origins[1]"),
        ("config-value", origins("https://A.example"), "cors_origins[1]"),
        ("config-value", origins("https://a.example:443"), "cors_origins[1]"),
        ("config-value", origins("https://a@a.example"), "cors_origins[1]"),
        ("config-value", with("members.1.gateway", "10.0.0.1:80"), "members[1].gateway"),
        ("config-value", with("members.1.gateway", "http://a/b"), "members[1].gateway"),
        ("config-value", with("members.1.name", "a b"), "members[1].name"),
        ("config-out-of-bounds", with("ordering.window", 0), "ordering.window"),
        ("config-out-of-bounds", with("limits.certify_timeout_ms", 0), "certify_timeout_ms"),
        ("config-out-of-bounds", with("genesis_ms", 0), "genesis_ms"),
        ("config-duplicate-id", with("members.1.id", 0), "id 0"),
        ("config-missing-id", with("members.3.id", 7), "id 3"),
        ("config-duplicate-name", with("members.1.name", "org-0.example/r0"), "org-0"),
        ("config-duplicate-address", with("members.1.address", "127.0.0.1:7600"), "7600"),
        ("config-duplicate-address", with("listen.gateway", "127.0.0.1:7502"), "7502"),
        ("config-duplicate-key", with("members.1.vote", key(1)), "members[0].vote"),
        ("config-duplicate-key", with("members.1.vote", key(6)), "members[1].cosign"),
        ("config-not-a-member", with("replica", 4), "4"),
        ("config-no-quorum", with("members", no_members), "at least 4"),
        ("config-unknown-engine", with("engine", "raft"), "raft"),
        ("config-unknown-service", with("service", "sql"), "sql"),
        ("config-value", with("service", "https://127.0.0.1:9000"), "http://HOST:PORT"),
        ("config-value", with("service", "http://127.0.0.1"), "http://HOST:PORT"),
        ("config-value", with("service", "http://127.0.0.1:9000/api"), "http://HOST:PORT"),
        ("config-value", with("copy.canonical_json", true), "where `service` is a URL"),
        ("config-value", outside("restore", "replay"), "exactly one"),
        ("config-value", outside("reset_url", "http://127.0.0.1:9000/reset"), "restore"),
        ("config-value", outside("response_fields", vec!["X-A"]), "lower case"),
        ("config-value", outside("request_fields", vec!["accept"]), "not covered otherwise"),
        ("config-value", outside("volatile_fields", vec!["date"]), "date"),
        ("config-value", outside("restore", "snapshot"), "save_url and load_url"),
        ("config-value", outside("save_url", "http://127.0.0.1:9000/save"), "the only one"),
        ("config-out-of-bounds", outside("snapshot_entries", 0), "snapshot_entries"),
        ("config-syntax", outside("restore", "pray"), "pray"),
        ("config-out-of-bounds", outside("call_timeout_ms", 1), "call_timeout_ms"),
        ("config-not-for-development", with("development", true), "shop.example"),
        ("config-policy", with("members.1.cosign", "00".repeat(32)), "policy"),
    ];
    let mut wrong = Vec::new();
    for (code, table, names) in table {
        match load(&table) {
            Err(error) if error.code() == code && error.to_string().contains(names) => {}
            other => wrong.push((code, names, other.err().map(|error| error.to_string()))),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/quorate.toml")).unwrap_err();
    assert_eq!(error.code(), "config-unreadable");
    assert!(error.to_string().contains("/nowhere/quorate.toml"));
}

#[test]
fn bytes_that_are_no_configuration_never_panic() {
    let text = toml::to_string(&good()).unwrap();
    for cut in (0..text.len()).step_by(7) {
        let _ = Config::parse(&text[..cut], PathBuf::new());
        let mut bytes = text.clone().into_bytes();
        bytes[cut] ^= 0x15;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = Config::parse(&text, PathBuf::new());
        }
    }
}
