//! The examples of deployment: their form, and that they fit what `quorate init` makes.
//!
//! Where the validators of systemd and Docker are installed, `.ci/run --stage deploy` asks them
//! too; what is here needs nothing but the files.

use crate::tree::read;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const UNITS: [&str; 3] = ["quorate.service", "quorate-backup.service", "quorate-backup.timer"];

/// Sections with their `Key=Value` lines.
fn unit(text: &str) -> Result<Vec<(String, String, String)>, String> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let wrong = || format!("line {}: {line}", at + 1);
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        if section.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(wrong());
        }
        lines.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    Ok(lines)
}

#[test]
fn units_have_the_form_of_units_and_start_what_there_is() {
    for name in UNITS {
        let lines = unit(&read(&format!("examples/deploy/systemd/{name}"))).unwrap();
        let sections: BTreeSet<&str> = lines.iter().map(|(section, ..)| &section[..]).collect();
        let expected: &[&str] = match name {
            "quorate.service" => &["Install", "Service", "Unit"],
            "quorate-backup.service" => &["Service", "Unit"],
            _ => &["Install", "Timer", "Unit"],
        };
        assert_eq!(sections.into_iter().collect::<Vec<_>>(), expected, "{name}");
        for (_, key, value) in lines.iter().filter(|(_, key, _)| key == "ExecStart") {
            assert!(value.contains("/usr/local/bin/quorate "), "{name}: {key}={value}");
            let command = if name == "quorate.service" { " start " } else { " snapshot " };
            assert!(value.contains(command), "{name}: {value}");
            assert!(value.contains("--config "), "{name}: {value}");
        }
    }
    assert!(unit("Key=before any section").is_err());
    assert!(unit("[Service]\nno line of a unit").is_err());
}

/// One line of YAML: how deep it stands, and what it says.
type Line<'a> = (usize, &'a str);

/// As much of YAML as the compose file uses: mappings, lists and plain or quoted words by
/// indentation, lists and empty mappings in one line. Anything else is an error.
fn yaml(text: &str) -> Result<Value, String> {
    let kept = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    let lines: Vec<Line<'_>> =
        kept.map(|line| (line.len() - line.trim_start().len(), line.trim())).collect();
    let mut rest = &lines[..];
    let value = block(&mut rest, 0)?;
    match rest.first() {
        None => Ok(value),
        Some((_, line)) => Err(format!("out of place: {line}")),
    }
}

fn block(rest: &mut &[Line<'_>], depth: usize) -> Result<Value, String> {
    let is_list = rest.first().is_some_and(|(_, line)| line.starts_with("- "));
    let (mut list, mut map) = (Vec::new(), Map::new());
    while let Some((_, line)) = rest.first().filter(|(indent, _)| *indent == depth) {
        *rest = &rest[1..];
        match line.strip_prefix("- ") {
            Some(item) if is_list => list.push(word(item)?),
            None if !is_list => {
                let (key, value) = line.split_once(':').ok_or(format!("no key: {line}"))?;
                let value = match (value.trim(), rest.first()) {
                    ("", Some((deeper, _))) if *deeper > depth => block(rest, *deeper)?,
                    (value, _) => word(value)?,
                };
                if map.insert(key.to_owned(), value).is_some() {
                    return Err(format!("twice: {key}"));
                }
            }
            _ => return Err(format!("a list and a mapping in one: {line}")),
        }
    }
    Ok(if is_list { list.into() } else { map.into() })
}

/// A word, a quoted one, `{}`, or a list of quoted ones.
fn word(text: &str) -> Result<Value, String> {
    match text.bytes().next() {
        Some(b'"' | b'[' | b'{') => serde_json::from_str(text).map_err(|e| format!("{text}: {e}")),
        None => Err("a key without a value".to_owned()),
        Some(_) if text.contains(": ") || text.contains(['\t', '&', '*', '|', '>', '\'']) => {
            Err(format!("not a plain word: {text}"))
        }
        Some(_) => Ok(text.into()),
    }
}

#[test]
fn the_compose_file_runs_four_organisations_on_the_ports_of_init() {
    let compose = yaml(&read("examples/deploy/compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["client", "r0", "r1", "r2", "r3"]);
    let mut own = BTreeSet::new();
    for i in 0..4 {
        let service = &services[&format!("r{i}")];
        assert_eq!(service["volumes"][0], format!("./cluster/r{i}:/replica"));
        assert_eq!(service["command"][2], "/replica/quorate.toml");
        let port = 7400 + i;
        assert_eq!(service["ports"][0], format!("127.0.0.1:{port}:{port}"));
        assert_eq!(service["healthcheck"]["test"][3], format!("http://127.0.0.1:{}", port + 100));
        assert_eq!(service["networks"][1], "between");
        let network = service["networks"][0].as_str().unwrap();
        assert!(own.insert(network), "{network} is two organisations'");
        assert!(compose["networks"].get(network).is_some(), "{network} is not declared");
    }
    assert_eq!(compose["networks"]["between"]["internal"], "true");
}

#[test]
fn what_is_no_such_yaml_is_noticed() {
    assert_eq!(yaml("a:\n  - b\n  - \"c\"\n").unwrap(), serde_json::json!({ "a": ["b", "c"] }));
    for wrong in
        ["a", "a:\n", "a: b\n   c: d\n", "a: b\na: c\n", "a:\n  - b\n  c: d\n", "a: &b c\n"]
    {
        assert!(yaml(wrong).is_err(), "{wrong}");
    }
}
