//! The simulator, as people and scripts run it.

use crate::binary::{Person, Run};
use serde_json::Value;

/// The objects on standard output, a line each.
fn objects(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_swarm_ends_with_what_it_came_to() {
    let person = Person::new();
    let swarm = ["sim", "swarm", "--seeds", "6", "--first-seed", "40", "--output", "json"];
    let run = person.run(&swarm).exits(0);
    let done = objects(&run).pop().unwrap();
    assert_eq!(done["event"], "done");
    assert_eq!((done["seeds"].as_u64(), done["first_seed"].as_u64()), (Some(6), Some(40)));
    assert_eq!((done["violations"].as_u64(), done["stuck"].as_u64()), (Some(0), Some(0)));
    assert!(done["seeds_per_second_per_core"].as_f64().unwrap() > 0.0);
    for name in ["view_changes", "state_transfers", "snapshots", "rejoins"] {
        assert!(done["reached"][name].is_u64(), "{name}: {done}");
        assert!(done["reached_in_seeds"][name].as_u64().unwrap() <= 6, "{name}: {done}");
    }
    let again = objects(&person.run(&[&swarm[..], &["--threads", "1"]].concat()).exits(0));
    assert_eq!(again.last().unwrap()["hash"], done["hash"], "the same seeds, the same hash");
}

#[test]
fn a_swarm_tells_people_what_was_reached_and_injected() {
    let run = Person::new().run(&["sim", "swarm", "--seeds", "4", "--replicas", "4"]).exits(0);
    for row in ["seeds      4 from 0 on", "replicas   4 in 4", "reached    ", "faults     "] {
        assert!(run.stdout.contains(row), "{row:?}: {run:?}");
    }
    assert!(run.stdout.ends_with("result     no violation, nobody stuck\n"), "{run:?}");
    assert_eq!(run.stderr, "", "no bar where nobody watches");
}

#[test]
fn an_engine_that_is_not_simulated_is_refused() {
    let person = Person::new();
    let run = person.run(&["sim", "swarm", "--engine", "raft"]).fails(2, "config-unknown-engine");
    assert!(run.stderr.contains("pbft"), "{run:?}");
    person.run(&["sim", "swarm", "--replicas", "3"]).exits(2);
}

#[test]
fn a_run_tells_its_plan_its_outcome_and_how_to_repeat_it() {
    let person = Person::new();
    let run = person.run(&["sim", "run", "view-change", "--seed", "7"]).exits(0);
    for row in ["seed 7", "fault      at 400ms  crash: r0, down for 2000ms", "view changes 1"] {
        assert!(run.stdout.contains(row), "{row:?}: {run:?}");
    }
    let again = "again      quorate sim run view-change --seed 7 --replicas 4\n";
    assert!(run.stdout.ends_with(again), "{run:?}");
    let json = person.run(&["sim", "run", "view-change", "--seed", "7", "--output", "json"]);
    assert_eq!(json.exits(0).json()["failures"], serde_json::json!([]));
    person.run(&["sim", "run", "nothing"]).exits(2);
    person.run(&["sim", "run"]).exits(2);
}

#[test]
fn a_trace_says_who_sent_what_and_what_everybody_believed() {
    let person = Person::new();
    person.run(&["sim", "run", "view-change", "--trace", "trace.txt"]).exits(0);
    let trace = std::fs::read_to_string(person.path("trace.txt")).unwrap();
    for part in [": PrePrepare v0 s1 (", "leaves for view 1", "enters view 1 of r1", "crash: r0"] {
        assert!(trace.contains(part), "{part:?} is not in {trace}");
    }
    let run = person.run(&["sim", "run", "calm", "--trace", "-", "--output", "json"]).exits(0);
    let all = objects(&run);
    assert!(all.iter().any(|note| note["text"].as_str().is_some_and(|text| text.contains("asks"))));
    assert_eq!(all.last().unwrap()["event"], "done");
}

#[test]
fn a_saved_plan_gives_the_same_run() {
    let person = Person::new();
    let json = |arguments: &[&str]| {
        let run = person.run(&[&["sim", "run", "--output", "json"], arguments].concat()).exits(0);
        objects(&run).pop().unwrap()
    };
    let drawn = json(&["swarm", "--seed", "40", "--save-plan", "plan.toml"]);
    assert_eq!(json(&["--plan", "plan.toml"])["hash"], drawn["hash"]);
    let plan = std::fs::read_to_string(person.path("plan.toml")).unwrap();
    person.write("plan.toml", plan.replace("clients", "cleints"));
    person.run(&["sim", "run", "--plan", "plan.toml"]).fails(2, "plan-malformed");
}

#[test]
fn a_run_is_drawn() {
    let person = Person::new();
    person.run(&["sim", "run", "view-change", "--svg", "run.svg", "--until", "600"]).exits(0);
    let svg = std::fs::read_to_string(person.path("run.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(svg.contains("PrePrepare v0 s1") && svg.contains("crash: r0"), "{svg}");
    person.run(&["sim", "run", "calm", "--until", "600"]).exits(2);
}

#[test]
fn a_plan_that_does_not_fail_is_not_made_smaller() {
    let person = Person::new();
    let run = person.run(&["sim", "run", "calm", "--minimise"]).exits(0);
    assert!(run.stderr.contains("nothing to make smaller"), "{run:?}");
    assert!(!std::path::Path::new(&person.path("minimal.toml")).exists());
}

#[test]
fn a_crash_at_some_places_is_told_and_repeated() {
    let person = Person::new();
    let crash_points = ["sim", "crash-points", "--course", "steady"];
    let run = person.run(&[&crash_points[..], &["--one-in", "40"]].concat()).exits(0);
    assert!(run.stdout.contains("crashes at ") && run.stdout.contains("in all "), "{run:?}");
    let json = [&crash_points[..], &["--at", "7", "--output", "json"]].concat();
    let done = objects(&person.run(&json).exits(0)).pop().unwrap();
    assert_eq!((done["crashes"].as_u64(), done["failures"].as_u64()), (Some(2), Some(0)));
    person.run(&[&crash_points[..], &["--at", "1000000"]].concat()).fails(2, "place-unknown");
}

#[test]
fn calibration_prints_the_table_that_is_checked_in() {
    let run = Person::new().run(&["sim", "calibrate"]).exits(0);
    let table = include_str!("../../../sim/data/costs.txt");
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let names = |text: &str| -> Vec<_> {
        text.lines().filter(|line| !line.starts_with('#')).map(name).collect()
    };
    assert_eq!(names(&run.stdout), names(table));
}
