//! Runs the tests that are too slow for every day, and fails if there was none.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

/// Runs `cargo test OPTIONS -- --ignored slow`, of the whole workspace unless told otherwise.
pub(crate) fn run(options: Vec<String>) -> ExitCode {
    let options = if options.is_empty() { vec!["--workspace".to_owned()] } else { options };
    // One at a time: most of them start processes or fill memory, and measure what happens.
    let tail = ["--", "--ignored", "--test-threads=1", "--nocapture", "slow"].map(str::to_owned);
    passing("slow", options.into_iter().chain(tail).collect())
}

/// Runs `cargo test OPTIONS` and says how many tests passed; fails if there was none.
pub(crate) fn passing(kind: &str, options: Vec<String>) -> ExitCode {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let child = Command::new(cargo).arg("test").args(options).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut passed = 0;
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let Ok(line) = line else { break };
        passed += passed_in(&line).unwrap_or(0);
        println!("{line}");
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    match (succeeded, passed) {
        (false, _) => ExitCode::FAILURE,
        (true, 0) => {
            eprintln!("no {kind} test was run");
            ExitCode::FAILURE
        }
        (true, passed) => {
            println!("{kind}: {passed} passed");
            ExitCode::SUCCESS
        }
    }
}

/// The number in `test result: ok. N passed; ...`.
fn passed_in(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("test result: ")?;
    rest.split_once(". ")?.1.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_summary_of_a_test_run_is_counted() {
        let line = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out";
        assert_eq!(passed_in(line), Some(12));
        assert_eq!(passed_in("test kv::a_test ... ok"), None);
        assert_eq!(passed_in("12 passed"), None);
    }
}
