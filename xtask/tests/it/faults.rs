//! The table of faults: every test that it names is there.

use crate::tree::{Text, files, none, read};
use std::collections::BTreeSet;

/// How far above its `fn` a test may say that it is one.
const ATTRIBUTE_LINES: usize = 4;

/// The rows of all tables in a text: first and second cell.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let cells = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        Some((cells.next()?, cells.next()?))
    });
    cells.filter(|(fault, _)| *fault != "fault")
}

/// The tests that a cell names, as `room::function`.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All tests of these sources, as `room::function`.
fn tests(sources: &[Text]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources {
        let mut parts = source.path.split('/');
        let (Some("crates"), Some(room)) = (parts.next(), parts.next()) else { continue };
        let lines: Vec<_> = source.text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            let Some(name) = name.and_then(|rest| rest.split('(').next()) else { continue };
            let above = &lines[at.saturating_sub(ATTRIBUTE_LINES)..at];
            if above.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test")) {
                found.insert(format!("{room}::{name}"));
            }
        }
    }
    found
}

/// What of a table is named and not there, and the faults for which nothing is named.
fn missing(table: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (fault, cell) in rows(table) {
        if named(cell).next().is_none() {
            wrong.push(format!("{fault}: no test"));
        }
        let gone = named(cell).filter(|name| !tests.contains(*name));
        wrong.extend(gone.map(|name| format!("{fault}: there is no test {name}")));
    }
    wrong
}

#[test]
fn every_fault_has_tests_and_every_test_named_for_one_exists() {
    let table = read("docs/faults.md");
    let tests = tests(&files(".rs"));
    assert!(tests.len() > 400, "only {} tests were seen", tests.len());
    assert!(rows(&table).count() > 30, "only {} faults were seen", rows(&table).count());
    none(missing(&table, &tests), "the table of faults");
}

#[test]
fn a_test_that_is_gone_and_a_fault_without_one_are_noticed() {
    let source = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
    let tests = tests(&[
        source("crates/node/src/a.rs", "#[test]\nfn one() {}\n\n\n\n\n    fn no_test() {}"),
        source("crates/cli/tests/it/b.rs", "    #[tokio::test]\n    async fn two() {}"),
    ]);
    let table = "| fault | tests |\n|---|---|\n| a | `node::one` `cli::two` |\n";
    assert_eq!(missing(table, &tests), [""; 0]);
    let rotten = format!("{table}| b | `node::two` |\n| c | nothing |\n| d | `node::no_test` |\n");
    assert_eq!(missing(&rotten, &tests).len(), 3);
}
