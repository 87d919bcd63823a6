//! `quorate explain CODE`.

mod codes;

use crate::{
    console::Console,
    failure::{Exit, Failure},
};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate explain not-in-log\n  \
    quorate explain --output json certify-timeout\n  \
    quorate explain            # all codes")]
pub(crate) struct Explain {
    /// The code, as it stands in `error[CODE]` or in a problem document; all codes without it
    code: Option<String>,
}

/// What is known of a code: those of gateways and replicas have a table of their own, and a word
/// that both sides use has two paragraphs.
struct Known {
    name: &'static str,
    status: Option<u16>,
    paragraphs: Vec<&'static str>,
}

impl Explain {
    /// Tells.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let all = all();
        let Some(code) = self.code else {
            for known in &all {
                if console.is_json() {
                    console.json(&known.json());
                } else {
                    console.line(format_args!("{:<28} {}", known.name, known.summary()));
                }
            }
            return Ok(Exit::Done);
        };
        let name = code.trim().trim_start_matches("error[").trim_end_matches(']');
        let known = all.iter().find(|known| known.name == name).ok_or_else(|| {
            let failure = Failure::usage("code-unknown", format!("no code is called `{name}`"));
            match nearest(name, &all) {
                Some(near) => failure.hint(format!("`{near}` is one; `quorate explain` lists all")),
                None => failure.hint("`quorate explain` lists all"),
            }
        })?;
        if console.is_json() {
            console.json(&known.json());
        } else {
            let status =
                known.status.map_or_else(String::new, |status| format!(" (status {status})"));
            console.line(format_args!(
                "{}{status}\n\n{}",
                known.name,
                wrapped(&known.paragraphs.join("\n\n"), 88)
            ));
        }
        Ok(Exit::Done)
    }
}

impl Known {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.name,
            "status": self.status,
            "explanation": self.paragraphs.join("\n\n"),
        })
    }

    /// The first sentence.
    fn summary(&self) -> &'static str {
        let first = self.paragraphs.first().copied().unwrap_or_default();
        first.find(". ").map_or(first, |end| &first[..=end])
    }
}

fn all() -> Vec<Known> {
    let mut all: Vec<Known> = codes::ALL
        .iter()
        .map(|&(name, text)| Known { name, status: None, paragraphs: vec![text] })
        .collect();
    for &(name, text) in quorate_node::codes::EXPLANATIONS {
        match all.iter_mut().find(|known| known.name == name) {
            Some(known) => known.paragraphs.push(text),
            None => all.push(Known { name, status: None, paragraphs: vec![text] }),
        }
    }
    for code in quorate_gateway::codes::ALL {
        let name = code.name;
        let position = all.iter().position(|known| known.name == name).unwrap_or_else(|| {
            all.push(Known { name, status: None, paragraphs: Vec::new() });
            all.len() - 1
        });
        if let Some(known) = all.get_mut(position) {
            known.status = Some(code.status);
            known.paragraphs.insert(0, code.explanation);
        }
    }
    all.sort_by_key(|known| known.name);
    all
}

/// The known code with the fewest different letters, if it is near at all.
fn nearest(name: &str, all: &[Known]) -> Option<&'static str> {
    let near = |known: &&Known| distance(name, known.name);
    let best = all.iter().min_by_key(near)?;
    (distance(name, best.name) <= 3 || best.name.contains(name)).then_some(best.name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn wrapped(text: &str, width: usize) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let mut out = String::new();
        let mut column = 0;
        for word in paragraph.split_whitespace() {
            if column > 0 && column + 1 + word.len() > width {
                out.push('\n');
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += word.len();
        }
        out
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    #[test]
    fn every_explanation_is_a_sentence_and_stands_once() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), all.len());
        let own: BTreeSet<_> = codes::ALL.iter().map(|(name, _)| name).collect();
        assert_eq!(own.len(), codes::ALL.len());
        for known in &all {
            for text in &known.paragraphs {
                assert!(text.len() > 20 && text.ends_with('.'), "{}", known.name);
                assert!(!text.contains("  "), "{}", known.name);
            }
        }
    }

    /// Reads the sources of all rooms, so that no code can be added without its explanation.
    #[test]
    fn every_code_that_a_room_gives_is_explained() {
        let known: BTreeSet<_> = all().iter().map(|known| known.name).collect();
        let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut given = BTreeSet::new();
        for room in fs::read_dir(rooms).unwrap() {
            sources(&room.unwrap().path().join("src"), &mut |text| codes_in(text, &mut given));
        }
        let module = fs::read_to_string(rooms.join("gateway/ui/verify.mjs")).unwrap();
        let of_the_module = codes_of_the_module(&module);
        assert!(of_the_module.len() > 40, "{of_the_module:?}");
        given.extend(of_the_module);
        assert!(given.len() > 100, "only {} codes were found in the sources", given.len());
        let missing: Vec<_> = given.iter().filter(|code| !known.contains(code.as_str())).collect();
        assert!(missing.is_empty(), "codes without an explanation: {missing:?}");
    }

    fn sources(dir: &Path, visit: &mut impl FnMut(&str)) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, visit);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                visit(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// The words of `fn code(&self)` bodies, of failures made in the commands, and of refusals and
    /// problems that replicas and services answer.
    fn codes_in(text: &str, given: &mut BTreeSet<String>) {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for body in text.split("fn code(&self)").skip(1) {
            let body = body.split("\n    }\n").next().unwrap();
            let pieces: Vec<&str> = body.split('"').collect();
            // The value of an arm, or of the whole function; other words are arguments.
            let values = pieces.windows(2).step_by(2).filter(|pair| {
                pair[0].trim_end().ends_with("=>") || pair[0].trim_end().ends_with('{')
            });
            given.extend(values.map(|pair| pair[1].to_owned()));
        }
        for made in ["Refusal::new(", "Response::problem("] {
            for call in text.split(made).skip(1) {
                // The status comes first.
                let second = call.split_once(',').map_or("", |(_, rest)| rest.trim_start());
                let word = second.strip_prefix('"').and_then(|rest| rest.split('"').next());
                given.extend(word.map(str::to_owned));
            }
        }
        for made in ["Failure::failed(", "Failure::usage(", "Failure::not_verified("] {
            for call in text.split(made).skip(1) {
                let first = call.trim_start();
                if let Some(word) = first.strip_prefix('"').and_then(|rest| rest.split('"').next())
                {
                    given.insert(word.to_owned());
                }
            }
        }
    }

    /// The words of `fail("..` and `wrong("..` in the JavaScript verifier.
    fn codes_of_the_module(text: &str) -> BTreeSet<String> {
        let made = ["fail(", "wrong("].into_iter().flat_map(|made| text.split(made).skip(1));
        let words = made.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
        words.map(str::to_owned).collect()
    }

    #[test]
    fn a_misspelt_code_is_answered_with_its_neighbour() {
        let all = all();
        assert_eq!(nearest("not-in-lgo", &all), Some("not-in-log"));
        assert_eq!(nearest("zzzzzzzzzzzz", &all), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("aa bb cc dd", 5), "aa bb\ncc dd");
        assert_eq!(wrapped("aa\n\nbb", 5), "aa\n\nbb");
    }
}
