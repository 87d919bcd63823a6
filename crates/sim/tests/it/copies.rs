//! A service that runs outside, a copy beside each replica.

use quorate_sim::{
    Deed, Outcome,
    copy::{Copies, Habit},
    model::{Leeway, Void},
    record,
    scenario::Scenario,
    swarm::{Event, Mix, Options, swarm},
};
use quorate_types::{ReplicaId, Response};
use std::ops::ControlFlow;

/// Runs seeds of the mix, and gives the sum of what they met; names every one that fails.
fn seeds(first: u64, seeds: u64) -> Outcome {
    let options = Options { mix: Mix::Copies, ..Options::new(first, seeds) };
    let summary = swarm(&options, |event| {
        if let Event::Failed(failed) = event {
            println!("{}  # {}", failed.repeat(), failed.failure);
        }
        ControlFlow::Continue(())
    });
    assert!(summary.failed.is_empty(), "{} of {seeds} fail", summary.failed.len());
    summary.sum
}

#[test]
fn bad_copies_stop_nothing_and_no_wrong_answer_is_certified() {
    let sum = seeds(0, 60);
    let habits = Habit::ALL.map(Habit::name);
    // Few ask a liar for an answer, and few liars lead: campaigns see all deeds.
    let deeds = [Deed::ReportTwice, Deed::ReportFalsely].map(Deed::name);
    for name in habits.iter().chain(&deeds).chain(&["copy-restored"]) {
        assert!(sum.injected.contains_key(name), "nobody did {name}: {:?}", sum.injected);
    }
    for name in ["copies-that-agree", "copies-that-differ", "copies-that-are-silent"] {
        assert!(sum.checked.contains_key(name), "{name}: {:?}", sum.checked);
    }
    assert!(sum.accusations.contains_key("double-report"), "{:?}", sum.accusations);
}

#[test]
fn one_copy_that_lies_is_heard_to_differ_and_changes_nothing() {
    for seed in 0..5 {
        let plan = Scenario::named("copies").unwrap().plan(seed, None);
        let (outcome, trace) = record(plan);
        assert_eq!(outcome.failures, [], "seed {seed}");
        assert_eq!(trace.leeway, Leeway::default());
        assert!(outcome.checked.contains_key("copies-that-differ"), "{:?}", outcome.checked);
        assert!(!outcome.checked.contains_key("copies-that-are-silent"), "{:?}", outcome.checked);
        assert!(outcome.accusations.is_empty(), "a copy convicts nobody");
    }
}

#[test]
fn two_pairs_of_copies_that_differ_stop_nothing() {
    let dialect = |at: u16| if at < 2 { Habit::SpeaksA } else { Habit::SpeaksB };
    for seed in 0..5 {
        let mut plan = Scenario::named("copies").unwrap().plan(seed, None);
        let habits = (0..4).map(|at| (ReplicaId(at), dialect(at))).collect();
        plan.copies = Some(Copies { habits });
        let (outcome, trace) = record(plan);
        assert_eq!(outcome.failures, [], "seed {seed}");
        assert!(trace.leeway.wrong && outcome.entries > 1);
    }
}

#[test]
fn copies_that_never_answer_make_every_answer_void() {
    let mut plan = Scenario::named("copies").unwrap().plan(1, None);
    let habits = (0..4).map(|at| (ReplicaId(at), Habit::Silent)).collect();
    plan.copies = Some(Copies { habits });
    let (outcome, trace) = record(plan);
    assert_eq!(outcome.failures, []);
    let answers = trace.history.iter().filter_map(|operation| operation.returned.as_ref());
    let voids: Vec<_> = answers.map(|answer| Void::of(&answer.response)).collect();
    assert!(voids.iter().all(|void| *void == Some(Void::Silent)) && !voids.is_empty(), "{voids:?}");
}

#[test]
fn an_answer_that_is_void_without_need_is_noticed() {
    let plan = Scenario::named("copies").unwrap().plan(1, None);
    let (_, mut trace) = record(plan);
    for log in &mut trace.logs {
        let exchange = log.iter_mut().find_map(|item| item.exchange.as_mut()).unwrap();
        exchange.response = Response::problem(502, "copies-disagree", "");
    }
    let said = trace.check().expect_err("the change must be noticed").to_string();
    assert!(said.starts_with("copies"), "{said}");
}
