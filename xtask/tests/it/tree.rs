//! The files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file with its text.
pub(crate) struct Text {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files whose name ends so, hidden folders, build output and others' packages aside.
pub(crate) fn files(ending: &str) -> Vec<Text> {
    let mut found = Vec::new();
    visit(&root(), &mut found);
    let path = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut texts: Vec<Text> = found
        .iter()
        .filter(|found| found.to_str().is_some_and(|name| name.ends_with(ending)))
        .map(|found| Text { path: path(found), text: fs::read_to_string(found).unwrap() })
        .collect();
    texts.sort_by(|one, other| one.path.cmp(&other.path));
    texts
}

fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or(".");
        match path.is_dir() {
            true if name.starts_with('.') => {}
            true if ["target", "node_modules", "venv"].contains(&name) => {}
            true => visit(&path, found),
            false => found.push(path),
        }
    }
}

/// Fails with one line for each broken rule.
pub(crate) fn none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
