//! The runs that found something, as small as they could be made: they hold by now.

use quorate_sim::{Plan, run};
use std::{fs, path::Path};

#[test]
fn what_was_found_once_does_not_come_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/found");
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let plan = Plan::parse(&fs::read_to_string(&name).unwrap()).unwrap();
        assert_eq!(run(plan).failures, [], "{}", name.display());
    }
}
