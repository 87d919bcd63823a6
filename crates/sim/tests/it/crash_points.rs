//! One replica dies right after some of the things that it does; `quorate sim crash-points` visits
//! all of them.

use quorate_sim::crash_points::{Course, Effort, Report, crash_points};
use std::num::NonZero;

/// Visits all courses, and prints how many places of each kind that were.
fn visit(one_in: u64, losses: u64) -> Report {
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let mut sum = Report::default();
    for course in Course::ALL {
        let report = crash_points(course, Effort { one_in, at: None, losses, threads });
        let (name, points, passed) = (course.name(), report.points, report.passed);
        println!("{name}: {points} crashes at {passed} places: {:?}", report.places);
        assert!(points > 0, "{name} visited nothing");
        sum.absorb(report);
    }
    println!("{} crashes in all: {:?}", sum.points, sum.places);
    let failed = sum.failures.len();
    sum.failures.truncate(5);
    assert_eq!(failed, 0, "{:#?}", sum.failures);
    sum
}

#[test]
fn a_crash_at_one_place_in_many_is_recovered_from() {
    assert!(visit(17, 1).points > 100);
}
