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
