//! The table of seeded bugs: it names those that the code can make, and where.

use crate::tree::{Text, files, none, read};
use std::collections::{BTreeMap, BTreeSet};

/// The bugs of the code, by their names: how the code calls them.
fn bugs(code: &str) -> BTreeMap<&str, &str> {
    let pairs = code.lines().filter_map(|line| {
        let (bug, name) = line.trim().strip_suffix("\",")?.split_once(" = \"")?;
        Some((name, bug))
    });
    pairs.collect()
}

/// The rows of the table: name, and the files where the bug is made.
fn rows(table: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, _) = (cells.next()?.strip_suffix('`')?, cells.next()?);
        Some((name, cells.next()?.split('`').skip(1).step_by(2).collect()))
    });
    rows.collect()
}

/// The files in which a bug is made, as the table calls them.
fn places(bug: &str, sources: &[Text]) -> BTreeSet<String> {
    let word = format!("seeded(Bug::{bug})");
    let made = sources.iter().filter(|source| source.text.contains(&word));
    made.filter_map(|source| Some(source.path.strip_prefix("crates/")?.replace("/src/", "/")))
        .collect()
}

/// What the table and the code do not agree about.
fn wrong(table: &str, code: &str, sources: &[Text]) -> Vec<String> {
    let (bugs, rows) = (bugs(code), rows(table));
    let gone = rows.keys().filter(|name| !bugs.contains_key(**name));
    let mut wrong: Vec<_> = gone.map(|name| format!("{name}: the code has no such bug")).collect();
    for (name, bug) in bugs {
        let made = places(bug, sources);
        match rows.get(name) {
            None => wrong.push(format!("{name}: not in the table")),
            Some(_) if made.is_empty() => wrong.push(format!("{name}: nothing makes it")),
            Some(places) if !places.iter().copied().eq(made.iter().map(String::as_str)) => {
                wrong.push(format!("{name}: made in {made:?}, the table says {places:?}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

#[test]
fn the_table_of_seeded_bugs_names_those_of_the_code() {
    let (table, code) = (read("docs/seeded-bugs.md"), read("crates/types/src/bug.rs"));
    assert!(bugs(&code).len() >= 40, "only {} bugs were seen", bugs(&code).len());
    none(wrong(&table, &code, &files(".rs")), "`cargo xtask bugs --write` was not run");
}

#[test]
fn a_bug_without_a_row_and_a_row_without_a_bug_are_noticed() {
    let source = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
    let sources = [source("crates/a/src/b.rs", "if seeded(Bug::One) {}"), source("c.rs", "")];
    let code = "    /// What.\n    One = \"one\",\n";
    let table = "| bug | what |\n|---|---|\n| `one` | What. | `a/b.rs` | swarm | 1 (4) | state |\n";
    assert_eq!(wrong(table, code, &sources), [""; 0]);
    assert_eq!(wrong(table, "", &sources).len(), 1);
    assert_eq!(wrong("", code, &sources).len(), 1);
    assert_eq!(wrong(&table.replace("b.rs", "c.rs"), code, &sources).len(), 1);
    assert_eq!(wrong(table, code, &[]).len(), 1);
}
