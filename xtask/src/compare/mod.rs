//! `cargo xtask compare`, what `bench/compare.sh` runs: the systems one after the other on one
//! machine, with the same payload, connections and load generator, and what comes of it as ratios.
//!
//! | file | holds |
//! |---|---|
//! | this | arguments, and the order of everything |
//! | [`system`] | what is compared: how each starts, what a write looks like to it, how it stops |
//! | [`comet`] | the files of a CometBFT network |
//! | [`load`] | one run of the load generator |
//! | [`disk`] | whether the disk is one on which durability costs |
//! | [`bar`] | what is to be reached |
//! | [`report`] | the best of the rounds: a table, ratios, bars, JSON |
//! | [`chart`] | the same as a picture |
//!
//! Rounds go through all systems before the next begins, so that a machine that grows slower or
//! faster meanwhile does so for all of them.

pub(crate) mod bar;
mod chart;
mod comet;
pub(crate) mod disk;
pub(crate) mod load;
pub(crate) mod report;
pub(crate) mod system;

use disk::Disk;
use load::Generator;
use report::{Measurement, Report};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use system::System;

const HELP: &str = "\
cargo xtask compare [OPTIONS]

  --only NAME,..        quorate, cometbft-tuned, cometbft, etcd, plain; default: what is installed
  --connections C,..    default 1,100,200
  --payload B           bytes of content in a request; default 512
  --seconds S           how long each measurement takes; default 10
  --rounds R            how often all is measured; the best counts; default 3
  --dir DIR             where the systems keep their data; default: compare in the target folder
  --output DIR          where compare.json and compare.svg go; default: as --dir
  --memory-disk         measure on a file system in memory too, where durability costs nothing";

/// What was asked for.
#[derive(Debug)]
struct Options {
    only: Option<Vec<System>>,
    connections: Vec<u32>,
    payload: usize,
    measure: Duration,
    rounds: u32,
    dir: PathBuf,
    output: Option<PathBuf>,
    memory_disk: bool,
}

/// See [`HELP`].
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("compare: {reason}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match options.carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("compare: {reason}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            only: None,
            connections: vec![1, 100, 200],
            payload: 512,
            measure: Duration::from_secs(10),
            rounds: 3,
            dir: crate::target().join("compare"),
            output: None,
            memory_disk: false,
        };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            if option == "--memory-disk" {
                options.memory_disk = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{option} needs a value"))?;
            match option.as_str() {
                "--only" => options.only = Some(list(value, System::named)?),
                "--connections" => options.connections = list(value, number)?,
                "--payload" => options.payload = number(value)? as usize,
                "--seconds" => options.measure = Duration::from_secs(number(value)?.into()),
                "--rounds" => options.rounds = number(value)?,
                "--dir" => options.dir = value.into(),
                "--output" => options.output = Some(value.into()),
                _ => return Err(format!("there is no option {option}")),
            }
        }
        Ok(options)
    }

    fn carry_out(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.dir.display());
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let dir = self.dir.canonicalize().map_err(failed)?;
        let disk = Disk::of(&dir, self.memory_disk)?;
        let generator = Generator::find();
        println!("load       {generator}, {} B, best of {}", self.payload, self.rounds);
        let mut report = Report::new(disk, generator, self.payload, self.rounds);
        for system in self.systems()? {
            report.version(system, system.version()?);
        }
        for round in 1..=self.rounds {
            for system in report.systems() {
                self.measure(system, round, &dir.join(system.name()), generator, &mut report)?;
            }
        }
        print!("\n{}", report.text());
        let output = self.output.as_deref().unwrap_or(&dir);
        write(&output.join("compare.json"), &report.json())?;
        write(&output.join("compare.svg"), &chart::draw(&report))
    }

    /// What is asked for, and may be missing; else what is there.
    fn systems(&self) -> Result<Vec<System>, String> {
        if let Some(only) = &self.only {
            return Ok(only.clone());
        }
        let (there, missing): (Vec<_>, Vec<_>) =
            System::ALL.into_iter().partition(|system| system.is_installed());
        for system in missing {
            println!("left out   {}: not installed; see --install", system.name());
        }
        Ok(there)
    }

    /// One system, under all loads.
    fn measure(
        &self,
        system: System,
        round: u32,
        dir: &Path,
        generator: Generator,
        report: &mut Report,
    ) -> Result<(), String> {
        let mut running = system.start(dir, self.payload)?;
        for spread in system.spreads() {
            for connections in &self.connections {
                let load = running.load(running.targets(*spread), *connections);
                // What is compiled, allocated and connected first is no part of the measurement.
                generator.run(&load, Duration::from_secs(2))?;
                let sample = generator.run(&load, self.measure)?;
                let measurement =
                    Measurement { system, spread: *spread, connections: *connections, sample };
                println!("round {round}    {measurement}");
                report.add(measurement);
            }
        }
        report.weigh(system, running.weight());
        running.stop()?;
        fs::remove_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
    }
}

fn number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{text}` is no number above 0"))
}

fn list<T>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(one).collect()
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written    {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let options = parse("--only etcd,quorate --connections 1,8 --rounds 2").unwrap();
        assert_eq!(options.only, Some(vec![System::Etcd, System::Quorate]));
        assert_eq!((options.connections, options.rounds), (vec![1, 8], 2));
        for wrong in ["--only tendermint", "--connections 0", "--seconds", "--fast 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
