//! Hours of seeds, kills and fuzzing on one commit, and a line in the ledger for each kind.
//!
//! A kind has its share of the time. Seeds go on where the ledger's last campaign on the same code
//! ended, so that hours add up. What fails is in the ledger and in the exit code, and its own
//! output says how to repeat it.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// Where campaigns are written down, from the repository's root.
const LEDGER: &str = "docs/campaigns.tsv";

/// The rooms whose code decides what a campaign shows.
const CORE: [&str; 8] =
    ["types", "proof", "crypto", "protocol", "service", "replica", "ledger", "sim"];

/// Seeds that one process of the simulator runs before the time is looked at again.
const SEEDS_AT_ONCE: u64 = 5_000;

/// One seed in so many signs with Ed25519; the others authenticate by MAC, which behaves alike. At
/// one in 30, as in a short swarm, signatures cost more time than all else.
const REAL_ONE_IN: &str = "300";

/// The names that `--mix` takes.
const KINDS: [&str; 6] = ["swarm", "twins", "disks", "copies", "kill", "fuzz"];

struct Campaign {
    hours: f64,
    mix: Vec<String>,
}

/// What one kind came to.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    /// Seeds, kills or executions.
    count: u64,
    first: u64,
    failures: u64,
}

/// Runs `cargo xtask campaign --hours H --mix swarm,twins,disks,copies,kill,fuzz`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let campaign = match Campaign::parse(arguments) {
        Ok(campaign) => campaign,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    match campaign.carry_out() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("campaign: {failures} failures");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("campaign: {reason}");
            ExitCode::FAILURE
        }
    }
}

impl Campaign {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut hours, mut mix) = (None, vec!["swarm".to_owned()]);
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--hours" => hours = value.parse().ok().filter(|hours: &f64| *hours > 0.0),
                "--mix" => mix = value.split(',').map(str::to_owned).collect(),
                other => return Err(format!("there is no option {other}")),
            }
        }
        if let Some(unknown) = mix.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(format!("there is no kind {unknown}; there are {}", KINDS.join(", ")));
        }
        let hours = hours.ok_or("--hours needs a positive number")?;
        Ok(Self { hours, mix })
    }

    fn carry_out(&self) -> Result<u64, String> {
        let commit = crate::output("git", &["rev-parse", "--short=12", "HEAD"])?;
        let apart = format!(":!{LEDGER}");
        let changed = ["status", "--porcelain", "--untracked-files=no", "--", ".", &apart];
        let clean = crate::output("git", &changed)?.is_empty();
        let commit = if clean { commit } else { format!("{commit}+") };
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let core = core_hash(&cargo)?;
        succeed(Command::new(&cargo).args([
            "build",
            "--locked",
            "--release",
            "-p",
            "quorate-cli",
        ]))?;
        let share = Duration::from_secs_f64(self.hours * 3600.0 / self.mix.len() as f64);
        let mut failures = 0;
        for kind in &self.mix {
            let began = Instant::now();
            let tally = match kind.as_str() {
                "kill" => kills(&cargo, share)?,
                "fuzz" => fuzzing(share)?,
                _ => seeds(kind, &core, share)?,
            };
            if tally.count == 0 {
                return Err(format!("{kind} ran nothing"));
            }
            failures += tally.failures;
            write_down(&commit, &core, kind, &tally, began.elapsed())?;
        }
        Ok(failures)
    }
}

/// A hash of the code that runs seeds: what git knows of the core rooms, their tests and examples
/// aside, and the versions of the packages that they use.
fn core_hash(cargo: &str) -> Result<String, String> {
    let parts = |room: &str| ["src", "Cargo.toml"].map(|part| format!("crates/{room}/{part}"));
    let parts: Vec<String> = CORE.into_iter().flat_map(parts).collect();
    let mut arguments = vec!["ls-tree", "HEAD"];
    arguments.extend(parts.iter().map(String::as_str));
    let trees = crate::output("git", &arguments)?;
    let packages = crate::output(
        cargo,
        &["tree", "--locked", "--package", "quorate-sim", "--edges", "normal", "--prefix", "none"],
    )?;
    // A line is a name, a version, and where it comes from or what is left out below it.
    let versions: BTreeSet<&str> =
        packages.lines().map(|line| line.split(" (").next().unwrap_or(line)).collect();
    let mut child = Command::new("git")
        .args(["hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    child
        .stdin
        .take()
        .ok_or("git takes no input")?
        .write_all(format!("{trees}{versions:?}").as_bytes())
        .map_err(|error| error.to_string())?;
    let hash = child.wait_with_output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&hash.stdout).trim().chars().take(12).collect())
}

/// Seeds of the simulator until the time is over.
fn seeds(kind: &str, core: &str, share: Duration) -> Result<Tally, String> {
    let began = Instant::now();
    let first = next_seed(&fs::read_to_string(LEDGER).unwrap_or_default(), core, kind);
    let mut tally = Tally { first, ..Tally::default() };
    let quorate = crate::target().join("release/quorate");
    let mut pace = 0.0;
    while began.elapsed() < share {
        // What fits into the rest of the time, judged by what fitted before.
        let left = share.saturating_sub(began.elapsed()).as_secs_f64();
        let fits = if pace > 0.0 { (left * pace).ceil().max(1.0) as u64 } else { 200 };
        let number = fits.min(SEEDS_AT_ONCE);
        let mut command = Command::new(&quorate);
        let (from, number) = ((first + tally.count).to_string(), number.to_string());
        command.args([
            "sim",
            "swarm",
            "--output",
            "json",
            "--mix",
            kind,
            "--first-seed",
            &from,
            "--seeds",
            &number,
            "--real-one-in",
            REAL_ONE_IN,
        ]);
        let done = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&done.stdout);
        text.lines()
            .filter(|line| line.contains("\"failure\""))
            .for_each(|line| println!("{line}"));
        let last = text.lines().rfind(|line| line.contains("\"done\"")).ok_or("no last line")?;
        println!("{last}");
        let number = |name| number_in(last, name).ok_or_else(|| format!("no {name} in {last}"));
        tally.count += number("seeds")?;
        tally.failures += number("violations")? + number("stuck")?;
        pace = tally.count as f64 / began.elapsed().as_secs_f64();
    }
    Ok(tally)
}

/// The kill loop, again and again; it says how many processes it killed.
fn kills(cargo: &str, share: Duration) -> Result<Tally, String> {
    let (began, mut tally) = (Instant::now(), Tally::default());
    while began.elapsed() < share {
        let mut command = Command::new(cargo);
        command.args(["test", "--package", "quorate-cli", "--test", "it", "--", "--nocapture"]);
        command.args(["--include-ignored", "--test-threads=1", "kill_loop"]);
        let done = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&done.stdout);
        print!("{text}");
        tally.count += text.lines().filter_map(killed_in).sum::<u64>();
        tally.failures += u64::from(!done.status.success());
    }
    Ok(tally)
}

/// Every target for an equal part of the time; the count is of executions.
fn fuzzing(share: Duration) -> Result<Tally, String> {
    let targets = crate::output("cargo", &["+nightly", "fuzz", "list"])?;
    let targets: Vec<&str> = targets.lines().collect();
    let seconds = (share.as_secs() / targets.len().max(1) as u64).max(1);
    let (limit, mut tally) = (format!("-max_total_time={seconds}"), Tally::default());
    for target in targets {
        println!("repeat: cargo +nightly fuzz run {target} -- {limit}");
        // Through rustup: the cargo that started this has a toolchain of its own.
        let mut command = Command::new("cargo");
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        command.args(["+nightly", "fuzz", "run", target, "--", &limit, "-print_final_stats=1"]);
        let done = command.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&done.stderr);
        let stat = "stat::number_of_executed_units:";
        let units =
            text.lines().filter_map(|line| line.strip_prefix(stat)?.trim().parse::<u64>().ok());
        tally.count += units.sum::<u64>();
        if !done.status.success() {
            print!("{text}");
            tally.failures += 1;
        }
    }
    Ok(tally)
}

/// The seed after all that the ledger has of this kind on this code.
fn next_seed(ledger: &str, core: &str, kind: &str) -> u64 {
    let rows = ledger.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&core) && row.get(2) == Some(&kind))
        .filter_map(|row| Some(row.get(4)?.parse::<u64>().ok()? + row.get(5)?.parse::<u64>().ok()?))
        .max()
        .unwrap_or(0)
}

fn write_down(
    commit: &str,
    core: &str,
    kind: &str,
    tally: &Tally,
    took: Duration,
) -> Result<(), String> {
    let text = |error: std::io::Error| format!("{LEDGER}: {error}");
    if !Path::new(LEDGER).exists() {
        let head = "commit\tcore\tkind\tengine\tfirst\tcount\tseconds\tfailures\n";
        fs::write(LEDGER, head).map_err(text)?;
    }
    let Tally { count, first, failures } = tally;
    let seconds = took.as_secs();
    let row = format!("{commit}\t{core}\t{kind}\tpbft\t{first}\t{count}\t{seconds}\t{failures}\n");
    print!("{row}");
    let mut ledger = fs::OpenOptions::new().append(true).open(LEDGER).map_err(text)?;
    ledger.write_all(row.as_bytes()).map_err(text)
}

/// A number in a line of JSON, by its name.
fn number_in(line: &str, name: &str) -> Option<u64> {
    let rest = line.split_once(&format!("\"{name}\":"))?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The number in a line of the kill loop, `N processes killed in ...`.
fn killed_in(line: &str) -> Option<u64> {
    line.split_once(" processes killed")?.0.split(' ').next_back()?.parse().ok()
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_on_where_the_same_code_and_kind_ended() {
        let ledger = "commit\tcore\tkind\tengine\tfirst\tcount\tseconds\tfailures\n\
                      a\tx\tswarm\tpbft\t0\t500\t9\t0\n\
                      b\tx\tswarm\tpbft\t500\t70\t9\t1\n\
                      c\ty\tswarm\tpbft\t0\t9000\t9\t0\n";
        assert_eq!(next_seed(ledger, "x", "swarm"), 570);
        assert_eq!(next_seed(ledger, "x", "kill"), 0);
        assert_eq!(next_seed(ledger, "z", "swarm"), 0);
    }

    #[test]
    fn numbers_are_found_where_the_tools_write_them() {
        let line = r#"{"event":"done","seeds":120,"violations":0,"stuck":3}"#;
        assert_eq!((number_in(line, "seeds"), number_in(line, "stuck")), (Some(120), Some(3)));
        assert_eq!(number_in(line, "views"), None);
        assert_eq!(killed_in("in all 255 processes killed in 586 s"), Some(255));
    }

    #[test]
    fn a_campaign_needs_hours_and_kinds_that_exist() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            Campaign::parse(&words).map(|campaign| (campaign.hours, campaign.mix.len()))
        };
        assert_eq!(parse("--hours 0.5 --mix swarm,kill"), Ok((0.5, 2)));
        for wrong in ["--mix swarm", "--hours 0", "--hours 1 --mix sworm", "--hour 1", "--hours"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
