//! `quorate sim crash-points`: short runs, with a crash after each thing that one replica does.

use super::told::{grouped, row};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use clap::builder::PossibleValuesParser;
use quorate_sim::{
    crash_points::{Course, Effort, Report, crash_points},
    watch::Place,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, num::NonZero, time::Instant};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate sim crash-points --one-in 20\n  \
    quorate sim crash-points --course transfer --losses 3\n  \
    quorate sim crash-points --course restart --at 13\n\n\
    What a replica does in a short run is counted once: each write to its disk, each message to\n\
    each receiver, each answer. Then the run is repeated, and the replica dies after the first of\n\
    these, after the second, and so on, as a process and with its machine's power; it is started\n\
    again, and everything must hold that holds of any run. Exit 1 if anything did not.")]
pub(super) struct CrashPoints {
    /// Only this course [default: all of them]
    #[arg(long, value_name = "COURSE", value_parser = courses())]
    course: Option<String>,
    /// Visit one place in so many
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    one_in: u64,
    /// Visit only the place after so many others
    #[arg(long, value_name = "PLACE", conflicts_with = "one_in")]
    at: Option<u64>,
    /// How many losses of power each place sees, beside the death of the process alone
    #[arg(long, value_name = "N", default_value_t = 1)]
    losses: u64,
    /// How many threads run them [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

fn courses() -> PossibleValuesParser {
    PossibleValuesParser::new(Course::ALL.map(Course::name))
}

impl CrashPoints {
    /// Runs it.
    pub(super) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let all = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let threads = self.threads.unwrap_or(all);
        let effort = Effort { one_in: self.one_in, at: self.at, losses: self.losses, threads };
        let chosen = |course: &Course| self.course.as_deref().is_none_or(|it| it == course.name());
        let (began, mut sum) = (Instant::now(), Report::default());
        for course in Course::ALL.into_iter().filter(chosen) {
            let report = crash_points(course, effort);
            match console.is_json() {
                true => console.json(&course_json(course, &report)),
                false => console.line(course_text(course, &report).trim_end()),
            }
            sum.absorb(report);
        }
        let seconds = (began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        let failures = sum.failures.len();
        if console.is_json() {
            console.json(&json!({
                "event": "done", "crashes": sum.points, "places": sum.passed,
                "failures": failures, "seconds": seconds,
            }));
        } else {
            let mut out = String::new();
            let crashes = format!("{} crashes", grouped(sum.points));
            row(
                &mut out,
                "in all",
                [crashes, format!("{failures} failures"), format!("{seconds} s")],
            );
            console.line(out.trim_end());
        }
        if sum.points == 0 {
            let message = format!("there is no place {} to crash at", self.at.unwrap_or(0));
            return Err(Failure::usage("place-unknown", message));
        }
        if let Some(missed) = self.missed(&sum) {
            console.note(format_args!("warning: nobody died at: {missed}"));
        }
        Ok(if failures == 0 { Exit::Done } else { Exit::Failed })
    }
}

impl CrashPoints {
    /// Where nobody died, though every place was visited.
    fn missed(&self, sum: &Report) -> Option<String> {
        let all = self.course.is_none() && self.at.is_none() && self.one_in == 1;
        let missed = Place::ALL.into_iter().filter(|place| !sum.places.contains_key(place));
        let missed: Vec<&str> = missed.map(Place::name).collect();
        (all && !missed.is_empty()).then(|| missed.join(", "))
    }
}

/// What a course came to, and a line for each failure that repeats it.
fn course_text(course: Course, report: &Report) -> String {
    let (mut out, crashes) = (String::new(), grouped(report.points));
    let begin = format!("{crashes} crashes at {} places", grouped(report.passed));
    let places = report.places.iter().map(|(place, count)| format!("{} {count}", place.name()));
    row(&mut out, course.name(), std::iter::once(begin).chain(places));
    for (limit, power, failure) in &report.failures {
        let how = if *power { "its machine loses power" } else { "it dies" };
        out.push_str(&format!("{}  # {how}: {failure}\n", repeat(course, *limit)));
    }
    out
}

fn course_json(course: Course, report: &Report) -> Value {
    let places = report.places.iter().map(|(place, count)| (place.name(), *count));
    let failure = |(limit, power, failure): &(u64, bool, quorate_sim::Failure)| {
        json!({
            "at": limit, "power": power, "check": failure.violation.check.name(),
            "reason": failure.violation.reason, "repeat": repeat(course, *limit),
        })
    };
    json!({
        "event": "course", "course": course.name(), "crashes": report.points,
        "places": report.passed, "crashes_at": places.collect::<BTreeMap<_, _>>(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn repeat(course: Course, limit: u64) -> String {
    format!("quorate sim crash-points --course {} --at {limit}", course.name())
}
