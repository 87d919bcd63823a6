//! What a source file may look like, and what it may not contain.

use crate::tree::{Text, files, none};

/// Lines of a file, tests aside.
const LINES_MAX: usize = 800;

/// Characters of a line.
const WIDTH_MAX: usize = 100;

/// How a line begins that cannot be broken: a row of a table, a literal.
const WHOLE: [&str; 6] = ["//! |", "/// |", "\"", "r#\"", "br#\"", "b\""];

/// This folder spells out what it forbids.
const RULES: &str = "xtask/tests/";

fn sources() -> Vec<Text> {
    let sources = files(".rs");
    assert!(sources.len() > 50, "only {} sources were seen", sources.len());
    sources
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The lines of a file up to its tests, with their numbers.
fn own_lines(source: &Text) -> impl Iterator<Item = (usize, &str)> {
    let past = if is_test(&source.path) { 0 } else { usize::MAX };
    let lines = source.text.lines().take(past).enumerate();
    lines.take_while(|(_, line)| *line != "#[cfg(test)]").map(|(at, line)| (at + 1, line))
}

/// A line without its comment; good enough where no string holds two slashes.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The places where a line of the sources, tests aside, is wrong.
fn wrong_lines(wrong: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let sources = sources();
    let places =
        sources.iter().filter(|source| !source.path.starts_with(RULES)).flat_map(|source| {
            let lines = own_lines(source).filter(|(_, line)| wrong(&source.path, line));
            lines
                .map(|(at, line)| format!("{}:{at}: {}", source.path, line.trim()))
                .collect::<Vec<_>>()
        });
    places.collect()
}

/// Whether a line has this word, and not as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[test]
fn a_file_has_at_most_800_lines_beside_its_tests() {
    let sources = sources();
    let long = sources.iter().map(|source| (source, own_lines(source).count()));
    let long = long.filter(|(_, lines)| *lines > LINES_MAX);
    let long = long.map(|(source, lines)| format!("{}: {lines} lines", source.path));
    none(long.collect(), "files of more than 800 lines");
}

#[test]
fn a_line_has_at_most_100_characters() {
    let sources = sources();
    let wide = sources.iter().flat_map(|file| {
        let lines = file.text.lines().enumerate().filter(|(_, line)| {
            line.chars().count() > WIDTH_MAX
                && !WHOLE.iter().any(|start| line.trim_start().starts_with(start))
        });
        lines.map(|(at, _)| format!("{}:{}", file.path, at + 1))
    });
    none(wide.collect(), "lines of more than 100 characters");
}

#[test]
fn no_source_is_a_placeholder() {
    let banned = ["todo!", "unimplemented!", "dbg!", "TODO", "FIXME", "XXX"];
    none(wrong_lines(|_, line| banned.iter().any(|word| line.contains(word))), "placeholders");
}

#[test]
fn nothing_escapes_the_bound_on_functions() {
    let escape = |_: &str, line: &str| line.contains("allow(clippy::too_many_lines");
    none(wrong_lines(escape), "functions excused from the bound");
}

#[test]
fn names_say_what_a_thing_is() {
    let vague = ["Manager", "Helper", "Utils", "Impl"];
    let wrong = |_: &str, line: &str| {
        let line = code(line);
        let named = |kind: &str| line.split_once(kind).map(|(_, rest)| rest);
        let kinds = ["struct ", "enum ", "trait "];
        let vaguely = kinds.iter().filter_map(|kind| named(kind)).any(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            vague.iter().any(|word| rest[..end].ends_with(word))
        });
        vaguely || named("fn ").is_some_and(|rest| rest.starts_with("get_"))
    };
    none(wrong_lines(wrong), "names that say nothing");
}

#[test]
fn deterministic_rooms_touch_no_clock_file_socket_thread_or_hash_map() {
    let rooms = ["protocol", "replica", "service", "proof"];
    let words = ["HashMap", "HashSet", "Instant", "SystemTime", "tokio", "getrandom"];
    let modules = ["std::fs", "std::net", "std::thread", "std::process", "std::env"];
    let wrong = |path: &str, line: &str| {
        let room = path.strip_prefix("crates/").and_then(|path| path.split('/').next());
        let has = |words: &[&str]| words.iter().any(|word| has_word(code(line), word));
        // The simulator writes files and reads arguments, but never the time.
        room.is_some_and(|room| rooms.contains(&room) && has(&modules))
            || room.is_some_and(|room| (rooms.contains(&room) || room == "sim") && has(&words))
    };
    none(wrong_lines(wrong), "rooms that must not touch these");
}

#[test]
fn input_paths_of_the_engine_and_the_pipeline_do_not_panic() {
    let calls = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
    let wrong = |path: &str, line: &str| {
        let ours = ["crates/protocol/src/", "crates/replica/src/"];
        // The suite that every engine runs in its tests; it panics to say what is wrong.
        let suite = "crates/protocol/src/conformance/";
        ours.iter().any(|room| path.starts_with(room))
            && !path.starts_with(suite)
            && calls.iter().any(|call| code(line).contains(call))
    };
    none(wrong_lines(wrong), "calls that can panic");
}

#[test]
fn slow_tests_are_named_and_marked_alike() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with(RULES)) {
        let mut marked = false;
        for (at, line) in source.text.lines().map(str::trim).enumerate() {
            let place = format!("{}:{}: {line}", source.path, at + 1);
            if line.starts_with("#[ignore") {
                marked = line == "#[ignore = \"slow\"]";
                // Others say who runs them: another test, or a person with a seed.
                if !line.starts_with("#[ignore = \"") {
                    wrong.push(place);
                }
            } else if let Some((_, rest)) = line.split_once("fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                if marked != name.ends_with("_slow") {
                    wrong.push(place);
                }
                marked = false;
            }
        }
    }
    none(wrong, "slow tests are called `.._slow` and marked #[ignore = \"slow\"]");
}

#[test]
fn names_of_tests_are_sentences() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().enumerate();
        let named = lines.filter(|(_, line)| line.trim_start().starts_with("fn test_"));
        wrong.extend(named.map(|(at, _)| format!("{}:{}", source.path, at + 1)));
    }
    none(wrong, "test names that begin with test_");
}

#[test]
fn the_rules_know_a_word_from_a_part_of_one() {
    assert!(has_word("let map: HashMap<u8, u8>;", "HashMap"));
    assert!(!has_word("let InstantCoffee = 1;", "Instant"));
    assert!(!has_word("std::network", "std::net"));
    assert!(has_word("use std::net;", "std::net"));
}
