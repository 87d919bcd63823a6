//! `cargo xtask instructions`: how many instructions the hot stages take, beside what is on record.
//!
//! Time is noise on a machine that others use too; instructions are not. Each stage of the
//! simulator's example `stages` runs twice under `valgrind --tool=callgrind`, with few and with
//! more repetitions, so that starting the process does not count. Counts depend on the compiler, so
//! the record names it, and counts of another one are shown and not judged.

use std::{
    collections::BTreeMap,
    env, fs,
    process::{Command, ExitCode},
};

const HELP: &str = "\
cargo xtask instructions [--write]

Counts instructions of the hot stages with valgrind, and fails where one takes 5 % more than on
record (docs/instructions.tsv); --write puts what was counted on record. What another compiler made
is shown and not judged. Ends with 2 where valgrind is missing.";

const RECORD: &str = "docs/instructions.tsv";

/// By how much a count may differ from the record, in percent.
const TOLERANCE: f64 = 5.0;

/// How often a stage is repeated, so that the difference counts.
const REPEATED: [u64; 2] = [1, 4];

/// See [`HELP`].
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let write = match arguments {
        [] => false,
        [option] if option == "--write" => true,
        _ => {
            println!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match compare(write) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("instructions: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compare(write: bool) -> Result<ExitCode, String> {
    if !crate::compare::system::is_on_path("valgrind") {
        println!("instructions: valgrind is not installed (Debian: valgrind)");
        return Ok(ExitCode::from(2));
    }
    let compiler = crate::output("rustc", &["--version"])?;
    let counts = count()?;
    if write {
        let rows = counts.iter().map(|(stage, count)| format!("{stage}\t{count}\n"));
        let text = format!("# {compiler}\n{}", rows.collect::<String>());
        fs::write(RECORD, text).map_err(|error| format!("{RECORD}: {error}"))?;
    }
    let text = fs::read_to_string(RECORD).map_err(|error| format!("{RECORD}: {error}"))?;
    let (known, record) = read(&text).ok_or(format!("{RECORD} is malformed"))?;
    println!("| stage | instructions | on record | % |\n|---|---:|---:|---:|");
    let mut worse = Vec::new();
    for (stage, count) in &counts {
        let Some(recorded) = record.get(stage) else {
            println!("| {stage} | {count} | - | - |");
            worse.push(format!("{stage} is not on record"));
            continue;
        };
        let percent = (*count as f64 / *recorded as f64 - 1.0) * 100.0;
        println!("| {stage} | {count} | {recorded} | {percent:+.1} |");
        if percent > TOLERANCE {
            worse.push(format!("{stage} takes {percent:.1} % more than on record"));
        } else if percent < -TOLERANCE {
            println!("{stage} became cheaper: put it on record with --write");
        }
    }
    if known != compiler {
        println!("instructions: not judged, the record is of {known}, this is {compiler}");
    }
    match worse.is_empty() || known != compiler {
        true => {
            println!("instructions: {} stages", counts.len());
            Ok(ExitCode::SUCCESS)
        }
        false => Err(worse.join("; ")),
    }
}

/// The compiler of a record, and its counts.
fn read(text: &str) -> Option<(&str, BTreeMap<String, u64>)> {
    let (first, rows) = text.split_once('\n')?;
    let row = |line: &str| {
        let (stage, count) = line.split_once('\t')?;
        Some((stage.to_owned(), count.parse().ok()?))
    };
    Some((first.strip_prefix("# ")?, rows.lines().map(row).collect::<Option<_>>()?))
}

/// Instructions of each stage, for one repetition.
fn count() -> Result<BTreeMap<String, u64>, String> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let what = ["build", "--release", "--locked", "--quiet", "--package", "quorate-sim"];
    let built = Command::new(cargo).args(what).args(["--example", "stages"]).status();
    if !built.map_err(|error| error.to_string())?.success() {
        return Err("the stages do not build".to_owned());
    }
    let binary = crate::target().join("release/examples/stages");
    let binary = binary.to_string_lossy();
    let stages = crate::output(&binary, &[])?;
    let one = |stage: &str| {
        let few = instructions(&binary, stage, REPEATED[0])?;
        let more = instructions(&binary, stage, REPEATED[1])?;
        let each = more.saturating_sub(few) / (REPEATED[1] - REPEATED[0]);
        Ok((stage.to_owned(), each))
    };
    stages.lines().map(one).collect()
}

fn instructions(binary: &str, stage: &str, times: u64) -> Result<u64, String> {
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", binary, stage])
        .arg(times.to_string())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.filter(|_| done.status.success()).ok_or(format!("{stage} was not counted: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_its_compiler() {
        let text = "# rustc 1.0\ncodec\t5\nroot\t7\n";
        let rows = BTreeMap::from([("codec".to_owned(), 5), ("root".to_owned(), 7)]);
        assert_eq!(read(text), Some(("rustc 1.0", rows)));
        assert_eq!(read("codec\t5\n"), None);
        assert_eq!(read("# rustc 1.0\ncodec\tmany\n"), None);
    }
}
