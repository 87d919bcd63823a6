//! The documents: that they are there, and that they point at what is there.

use crate::tree::{files, none, read, root};
use std::path::Path;

#[test]
fn the_repository_has_its_documents() {
    let expected = [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "LICENSE",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "deny.toml",
        "justfile",
        ".ci/run",
        "docs/decisions.md",
        "docs/operations.md",
    ];
    let missing = expected.iter().filter(|path| !root().join(path).is_file());
    none(missing.map(|path| (*path).to_owned()).collect(), "documents that are missing");
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in files(".md") {
        let folder = Path::new(&document.path).parent().unwrap().to_owned();
        for link in links(&document.text) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            if !root().join(&folder).join(path).exists() {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    none(broken, "links that lead nowhere");
    assert!(seen > 5, "only {seen} links were seen");
}

#[test]
fn the_programs_on_the_page_about_services_are_those_that_ci_runs() {
    let page = read("docs/upstream.md");
    for (language, program) in [("python", "flask/orders.py"), ("js", "express/orders.mjs")] {
        let program = read(&format!("examples/services/{program}"));
        assert!(page.contains(&format!("```{language}\n{program}```\n")), "{language}");
    }
}

#[test]
fn the_justfile_stays_short() {
    assert!(read("justfile").lines().count() <= 40);
}

#[test]
fn every_room_says_what_it_is_in_one_line() {
    let rooms = files("Cargo.toml").into_iter().filter(|file| file.path.starts_with("crates/"));
    let wrong = rooms.filter_map(|manifest| {
        let folder = manifest.path.strip_suffix("Cargo.toml").unwrap();
        let entry = ["src/lib.rs", "src/main.rs"].map(|name| format!("{folder}{name}"));
        let first = entry.iter().find_map(|path| std::fs::read_to_string(root().join(path)).ok());
        let documented = first.is_some_and(|text| text.starts_with("//! "));
        let described = manifest.text.contains("\ndescription = \"");
        (!documented || !described).then_some(manifest.path)
    });
    none(wrong.collect(), "rooms without a description");
}
