//! Bugs on purpose: the check is worth what it finds. Needs the feature `seeded-bugs`.

#![cfg(feature = "seeded-bugs")]

use super::*;

/// Whoever lies, the bug makes replicas disagree, or commit what nobody proposed.
fn is_found(bug: Bug) {
    for byzantine in 0..3 {
        let tape = look(Setting { bug: Some(bug), ..Setting::new(byzantine) });
        for (name, run) in &tape.violations {
            println!("violated: {name}\n  {run}");
        }
        assert!(HARMS.iter().any(|it| tape.violations.contains_key(it)), "{bug}: {tape:?}");
    }
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn a_quorum_of_one_less_is_found() {
    is_found(Bug::QuorumMinusOne);
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn a_new_view_that_forgets_what_was_prepared_is_found() {
    is_found(Bug::NewViewForgetsPrepared);
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn votes_that_count_for_any_digest_are_found() {
    is_found(Bug::VotesOfAnyDigest);
}
