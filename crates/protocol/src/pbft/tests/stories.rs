//! The stories of `testdata`: files to be read, in which each command stands above what the
//! replicas then do. They are played on a [`Stage`], whose documentation lists the commands.
//!
//! ```text
//! # What a comment says stays as it is.
//! propose r0 a
//! deliver PrePrepare
//! ----
//! what happens, up to the next empty line
//! ```
//!
//! `QUORATE_REWRITE=1 cargo test -p quorate-protocol stories` writes anew what happens; the
//! difference is then read before it is committed.

mod stage;
mod words;

use stage::Stage;
use std::{fs, path::Path};

/// What parts the commands from what they lead to.
const RULE: &str = "----";
const UNFINISHED: &str = "the commands above have no outcome: a line of ---- is missing";

/// Where a line of a story belongs.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Between,
    Commands,
    Outcome,
}

/// The story as it goes today; what is wrong with it, by file and line, if it cannot be told.
fn play(name: &str, text: &str) -> Result<String, String> {
    let mut stage = Stage::new();
    let mut told = String::new();
    let mut part = Part::Between;
    let mut last = 1;
    for (at, line) in text.lines().enumerate() {
        last = at + 1;
        let fault = |what: &str| format!("{name}:{last}: {what}");
        let is_comment = line.starts_with('#');
        part = match part {
            _ if line.ends_with(char::is_whitespace) => return Err(fault("it ends with a blank")),
            Part::Outcome if is_comment || line == RULE => {
                return Err(fault("an outcome ends with an empty line"));
            }
            Part::Outcome if !line.is_empty() => continue,
            Part::Commands if line == RULE => {
                told.push_str(&format!("{line}\n{}", stage.take_told()));
                part = Part::Outcome;
                continue;
            }
            Part::Commands if line.is_empty() || is_comment => {
                return Err(fault(UNFINISHED));
            }
            Part::Between if line == RULE => return Err(fault("an outcome of no command")),
            _ if line.is_empty() || is_comment => Part::Between,
            _ => {
                stage.command(line).map_err(|what| fault(&what))?;
                Part::Commands
            }
        };
        told.push_str(&format!("{line}\n"));
    }
    let fault = |what: &str| format!("{name}:{last}: {what}");
    match part {
        Part::Commands => Err(fault(UNFINISHED)),
        _ if !text.starts_with("# ") => Err(format!("{name}:1: it does not say what it is about")),
        _ if stage.inputs() == 0 => Err(fault("nothing happens in it")),
        _ => Ok(told),
    }
}

/// Where a story and what happens part, with what happens from there on.
fn difference(name: &str, text: &str, told: &str) -> Option<String> {
    if text == told {
        return None;
    }
    let same = text.lines().zip(told.lines()).take_while(|(line, other)| line == other).count();
    if text.lines().eq(told.lines()) {
        return Some(format!(
            "{name}:{same}: each line ends with a newline, and with nothing else"
        ));
    }
    let wanted = text.lines().nth(same).unwrap_or("(the end)");
    let happens: Vec<&str> = told.lines().skip(same).take(12).collect();
    let at = same + 1;
    Some(format!("{name}:{at}: it says\n{wanted}\nbut this happens:\n{}\n", happens.join("\n")))
}

/// What is wrong with the stories of a folder, after they were written anew if that is wanted.
fn faults(folder: &Path, rewrite: bool) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.map(|it| it.unwrap().path()));
    let mut paths: Vec<_> = entries.map(Iterator::collect).unwrap_or_default();
    paths.sort();
    let mut faults = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|ending| ending != "txt") {
            faults.push(format!("{name}: not a story; their names end in .txt"));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        match play(&name, &text) {
            Err(fault) => faults.push(fault),
            Ok(told) if rewrite && told != text => fs::write(path, told).unwrap(),
            Ok(told) => faults.extend(difference(&name, &text, &told)),
        }
    }
    if paths.is_empty() {
        faults.push(format!("{}: no story there", folder.display()));
    }
    faults
}

#[test]
fn the_replicas_do_what_the_stories_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let rewrite = std::env::var_os("QUORATE_REWRITE").is_some_and(|it| it == "1");
    let faults = faults(&folder, rewrite);
    let hint = "If they do right, QUORATE_REWRITE=1 writes the stories anew.";
    assert!(faults.is_empty(), "stories in crates/protocol/testdata:\n{}\n{hint}", {
        faults.join("\n")
    });
}

#[test]
fn a_story_that_cannot_be_told_names_its_file_and_line() {
    let about = "# A story.\n\n";
    let cases = [
        ("dance r0\n----\n", "3: there is no command dance"),
        ("propose r9 a\n----\n", "3: there is no replica r9"),
        ("propose r0\n----\n", "3: propose whom what?"),
        ("propose r0 apple\n----\n", "3: a command is one small letter, not apple"),
        ("propose r0 a\ndeliver Prepare\n----\n", "4: no such message is under way"),
        ("propose r0 a\ndeliver Prapare\n----\n", "4: there is no message Prapare"),
        ("deliver to\n----\n", "3: from or to whom?"),
        ("crash r0 r0\n----\n", "3: r0 is down"),
        ("restart r0\n----\n", "3: r0 is up"),
        ("lose-disk r0\n----\n", "3: r0 is up"),
        ("tick soon\n----\n", "3: a time is like 200ms or 3s, not soon"),
        ("judge r0 maybe\n----\n", "3: a verdict is accepted, refused or untimely"),
        ("propose r0 a\n\n", "4: the commands above have no outcome"),
        ("propose r0 a\n# Then\n", "4: the commands above have no outcome"),
        ("propose r0 a\n", "3: the commands above have no outcome"),
        ("----\n", "3: an outcome of no command"),
        ("propose r0 a\n----\nr0\n# Then\n", "6: an outcome ends with an empty line"),
        ("propose r0 a\n----\nr0\n----\n", "6: an outcome ends with an empty line"),
        ("propose r0 a \n----\n", "3: it ends with a blank"),
        ("show\n----\n", "4: nothing happens in it"),
        ("", "2: nothing happens in it"),
    ];
    for (text, wanted) in cases {
        let fault = play("it.txt", &format!("{about}{text}")).unwrap_err();
        assert!(fault.starts_with(&format!("it.txt:{wanted}")), "{text:?}: {fault}");
    }
    let fault = play("it.txt", "propose r0 a\n----\n").unwrap_err();
    assert_eq!(fault, "it.txt:1: it does not say what it is about");
}

#[test]
fn a_story_that_goes_otherwise_is_told_from_where_it_parts() {
    let text = "# A story.\n\npropose r1 a\n----\nr1 takes it\n\nshow\n----\n";
    let told = play("it.txt", text).unwrap();
    assert_eq!(play("it.txt", &told).unwrap(), told, "written anew, it stays so");
    let fault = difference("it.txt", text, &told).unwrap();
    let parts =
        "it.txt:5: it says\nr1 takes it\nbut this happens:\nr1 is given a\n    hands a back\n";
    assert!(fault.starts_with(parts), "{fault}");
    assert_eq!(difference("it.txt", &told, &told), None);
    assert!(difference("it.txt", told.trim_end(), &told).unwrap().contains("newline"));
}

#[test]
fn two_liars_of_four_divide_the_others_and_the_stage_notices() {
    let text = "# r0 and r3 lie to r1.

propose r0 a
contradict PrePrepare to r1
deliver PrePrepare
contradict Prepare from r3 to r1
deliver Prepare
drop PrePrepare
contradict Commit from r0 r3 to r1
deliver Commit
----
";
    let fault = play("it.txt", text).unwrap_err();
    assert_eq!(fault, "it.txt:10: r1 commits no-op in s1, where a was committed");
}

#[test]
fn a_folder_without_stories_fails() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(faults(&folder.join("nowhere"), false).len(), 1);
    let others = faults(folder, false);
    assert!(!others.is_empty() && others.iter().all(|it| it.contains("not a story")), "{others:?}");
}
