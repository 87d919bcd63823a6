//! The example does what its first lines say.

#[path = "../../../../examples/counter.rs"]
mod counter;

const SOURCE: &str = include_str!("../../../../examples/counter.rs");

#[test]
fn the_example_prints_what_it_says() {
    let shown = SOURCE.split("```").nth(1).unwrap();
    let shown = shown.lines().filter_map(|line| line.strip_prefix("//! "));
    // Past the language and the command.
    let shown: Vec<&str> = shown.filter(|line| line.contains(" -> ")).collect();
    assert_eq!(counter::run().lines().collect::<Vec<_>>(), shown);
}

#[test]
fn the_example_has_under_100_lines() {
    assert!(SOURCE.lines().count() < 100);
}
