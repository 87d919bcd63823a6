//! `cargo xtask measure WHAT`: what is measured of Quorate alone, each by a script of its name in
//! `bench/`.
//!
//! | file | holds |
//! |---|---|
//! | this | which measurements there are, and what is common to them |
//! | [`findings`] | what was found: a table, bars, JSON |
//! | [`faults`] | throughput while one replica is faulty |
//! | [`endurance`] | memory and disk after very many writes |
//! | [`signed`] | throughput of signed requests, beside bare verifiers |
//! | [`proofs`] | what a proof costs |
//! | [`growth`], [`chart`] | curves by committee and content, with the model's; as a picture |
//!
//! Processes are started, loaded and weighed by what `cargo xtask compare` is made of.

mod chart;
mod endurance;
mod faults;
mod findings;
mod growth;
mod proofs;
mod signed;

use crate::compare::{
    disk::Disk,
    load::Generator,
    report::machine,
    system::{Running, Spread},
    write,
};
use findings::Findings;
use serde_json::json;
use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

/// One kind of measurement.
struct Measurement {
    /// What it is called, and its files.
    name: &'static str,
    about: &'static str,
    /// Options that take a number, with its default and meaning.
    options: &'static [(&'static str, u64, &'static str)],
    carry_out: fn(&Setting) -> Result<Findings, String>,
}

const ALL: [Measurement; 5] = [
    Measurement {
        name: "faults",
        about: "requests a second while a backup is mute, a primary slow, a primary equivocates",
        options: faults::OPTIONS,
        carry_out: faults::carry_out,
    },
    Measurement {
        name: "endurance",
        about: "memory and disk of a replica after very many writes",
        options: endurance::OPTIONS,
        carry_out: endurance::carry_out,
    },
    Measurement {
        name: "signed",
        about: "requests a second that clients sign, beside what bare verifiers could do",
        options: signed::OPTIONS,
        carry_out: signed::carry_out,
    },
    Measurement {
        name: "proofs",
        about: "what a proof costs those who verify it, and those who add it",
        options: proofs::OPTIONS,
        carry_out: proofs::carry_out,
    },
    Measurement {
        name: "growth",
        about: "curves by replicas and by content, beside what the model expects",
        options: growth::OPTIONS,
        carry_out: growth::carry_out,
    },
];

/// What loads are put on before they count: what is compiled, allocated and connected first is no
/// part of a measurement.
const WARM_UP: Duration = Duration::from_secs(2);

/// How a measurement is to be carried out.
struct Setting {
    numbers: BTreeMap<&'static str, u64>,
    /// Where the cluster keeps its data; there, by its full path.
    dir: PathBuf,
    disk: Disk,
    generator: Generator,
}

/// See [`help`].
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let Some((name, rest)) = arguments.split_first().filter(|_| !asks_for_help(arguments)) else {
        println!("{}", help());
        return ExitCode::SUCCESS;
    };
    let Some(measurement) = ALL.iter().find(|it| it.name == name) else {
        eprintln!("measure: there is no measurement `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    match measurement.run(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("measure {name}: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn asks_for_help(arguments: &[String]) -> bool {
    arguments.iter().any(|it| it == "--help" || it == "-h")
}

fn help() -> String {
    let mut out = "cargo xtask measure WHAT [OPTIONS]\n\n\
                   Measures what is built in release mode; bench/WHAT.sh builds it first.\n"
        .to_owned();
    for Measurement { name, about, options, .. } in &ALL {
        out += &format!("\n  {name:<12} {about}\n");
        for (option, default, meaning) in *options {
            let option = format!("--{option} N");
            out += &format!("    {option:<18} {meaning}; default {default}\n");
        }
    }
    out + "\n  all of them:\n    \
           --dir DIR          where replicas keep their data and results go; default: compare in \
           the target folder\n    \
           --memory-disk      measure on a file system in memory too, where durability costs \
           nothing"
}

impl Measurement {
    fn run(&self, arguments: &[String]) -> Result<(), String> {
        let (numbers, dir, memory_disk) = self.parse(arguments)?;
        let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::create_dir_all(&dir).map_err(failed)?;
        let output = dir.canonicalize().map_err(failed)?;
        let disk = Disk::of(&output, memory_disk)?;
        let generator = Generator::find();
        let setting = Setting { numbers, dir: output.join(self.name), disk, generator };
        let findings = (self.carry_out)(&setting)?;
        if setting.dir.exists() {
            fs::remove_dir_all(&setting.dir)
                .map_err(|error| format!("{}: {error}", setting.dir.display()))?;
        }
        print!("\n{}", findings.text());
        let json = findings.json(json!({
            "measurement": self.name,
            "machine": machine(),
            "file_system": setting.disk.kind,
            "fsync_p50_us": setting.disk.fsync_p50.as_micros() as u64,
            "load_generator": generator.to_string(),
            "options": setting.numbers,
        }));
        write(&output.join(format!("{}.json", self.name)), &format!("{json:#}\n"))?;
        match findings.picture() {
            Some(picture) => write(&output.join(format!("{}.svg", self.name)), picture),
            None => Ok(()),
        }
    }

    /// The numbers, the folder, and whether it may be in memory.
    fn parse(&self, arguments: &[String]) -> Result<Given, String> {
        let defaults = self.options.iter().map(|(name, default, _)| (*name, *default));
        let mut numbers: BTreeMap<&'static str, u64> = defaults.collect();
        let (mut dir, mut memory_disk) = (crate::target().join("compare"), false);
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            if option == "--memory-disk" {
                memory_disk = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{option} needs a value"))?;
            if option == "--dir" {
                dir = value.into();
                continue;
            }
            let name = option.strip_prefix("--").unwrap_or_default();
            let number = numbers.get_mut(name).ok_or(format!("there is no option {option}"))?;
            *number = value.parse().map_err(|_| format!("{option} needs a number"))?;
        }
        Ok((numbers, dir, memory_disk))
    }
}

type Given = (BTreeMap<&'static str, u64>, PathBuf, bool);

impl Setting {
    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    fn connections(&self) -> u32 {
        self.number("connections") as u32
    }

    fn payload(&self) -> usize {
        self.number("payload") as usize
    }

    /// How long a load is on that counts.
    fn duration(&self) -> Duration {
        Duration::from_secs(self.number("seconds").max(1))
    }

    /// So many replicas, fresh, that have served for a while.
    fn cluster(&self, replicas: u16, payload: usize) -> Result<Running, String> {
        let running = Running::cluster(&self.dir.join("run"), replicas, payload)?;
        let load = running.load(running.targets(Spread::All), 10);
        self.generator.run(&load, WARM_UP)?;
        Ok(running)
    }
}

/// The value in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Given, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        ALL[0].parse(&words)
    }

    #[test]
    fn options_are_numbers_that_a_measurement_knows() {
        let (numbers, dir, memory_disk) = parse("--seconds 3 --dir /x --memory-disk").unwrap();
        assert_eq!((numbers["seconds"], numbers["connections"]), (3, 100));
        assert_eq!((dir, memory_disk), (PathBuf::from("/x"), true));
        for wrong in ["--seconds", "--seconds x", "--requests 5", "seconds 3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_tells_of_every_measurement_and_its_options() {
        let help = help();
        for measurement in &ALL {
            assert!(help.contains(measurement.about));
            for (option, ..) in measurement.options {
                assert!(help.contains(&format!("--{option} N")), "{option}");
            }
        }
    }

    #[test]
    fn the_value_in_the_middle_is_no_outlier() {
        assert!((median([1.0, 900.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }
}
