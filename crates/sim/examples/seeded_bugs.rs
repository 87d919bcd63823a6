//! The table of seeded bugs: which check finds which mistake, and after how many seeds.
//!
//! ```text
//! cargo xtask bugs                       looks for all bugs of the table
//! cargo xtask bugs --only stale-read     looks for one
//! cargo xtask bugs --write               looks for all anew, and writes docs/seeded-bugs.md
//! ```
//!
//! With `--write`, `--only` replaces the lines of the bugs that it looked for. `--seeds` says how
//! many seeds are tried at most, `--threads` on how many threads. One line a bug is printed; the
//! exit code is 1 if one stays unfound.

use quorate_sim::bugs::{Deal, Find, SEEDS_MAX, hunt};
use quorate_types::bug::Bug;
use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
};

const TABLE: &str = "docs/seeded-bugs.md";

/// A bug of the table is given so many times the seeds that it took when the table was written, and
/// no fewer than so many: each change of a plan deals anew. One that is not there may be elsewhere
/// by now, and so many seeds of every deal are tried.
const PATIENCE: u64 = 3;
const SEEDS_LEAST: u64 = 50;
const SEEDS_ELSEWHERE: u64 = 1_000;

/// How far all deals are tried before any is tried further.
const STEPS: [u64; 7] = [25, 100, 300, 1_000, 3_000, 10_000, SEEDS_MAX];

const ABOUT: &str = "\
# Seeded bugs

A check that never failed shows nothing. So mistakes that implementations of such protocols really
make stand in the code on purpose (`crates/types/src/bug.rs`), each at the line where it would be
made, behind a switch that only the simulator's feature `seeded-bugs` has: in everything else it is
the constant `false`. Each is switched on alone, and seeds run until a check fails that does not
fail without the bug.

Written by `cargo xtask bugs --write`; `cargo xtask bugs --only NAME` repeats a line. *Plans* says
what deals them: `swarm` as `quorate sim swarm` does, `laggards` with somebody who is away for long
and liars who wait for it, `twins` with two machines for each faulty key, `disks` with disks that
make trouble, `copies` with bad copies of a service that runs outside, `crash-points` with a death
right after a write, a message or an answer. *Seeds* is how many of them it took, with so many
replicas in the last. `.ci/run --stage bugs` looks for all of them.

";

/// What the command line asks for.
#[derive(Debug)]
struct Task {
    only: Vec<String>,
    seeds: Option<u64>,
    threads: NonZero<usize>,
    write: bool,
}

impl Task {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let mut task = Self { only: Vec::new(), seeds: None, threads, write: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--write" => task.write = true,
                "--only" => task.only.push(value()?),
                "--seeds" => task.seeds = Some(number(&value()?)?),
                "--threads" => task.threads = number(&value()?)?,
                _ => return Err(format!("there is no `{word}`")),
            }
        }
        let unknown = |name: &&String| Bug::ALL.iter().all(|bug| bug.name() != **name);
        match task.only.iter().find(unknown) {
            Some(name) => Err(format!("there is no bug `{name}`")),
            None => Ok(task),
        }
    }

    /// Which bugs, in the order of the table.
    fn bugs(&self) -> Vec<Bug> {
        let named = |bug: &Bug| self.only.iter().any(|name| name == bug.name());
        Bug::ALL.iter().copied().filter(|bug| self.only.is_empty() || named(bug)).collect()
    }

    /// Looks for a bug where the table says that it is, then everywhere; if the table is to be
    /// written, at once everywhere.
    fn hunt(&self, bug: Bug, tabled: Option<(Deal, u64)>) -> Option<Find> {
        if self.write {
            return self.hunt_everywhere(bug, self.seeds.unwrap_or(SEEDS_MAX));
        }
        let (deal, seeds) = tabled?;
        let usual = seeds.saturating_mul(PATIENCE).clamp(SEEDS_LEAST, SEEDS_MAX);
        self.step(bug, deal, 0, self.seeds.unwrap_or(usual))
            .or_else(|| self.hunt_everywhere(bug, self.seeds.unwrap_or(SEEDS_ELSEWHERE)))
    }

    fn hunt_everywhere(&self, bug: Bug, most: u64) -> Option<Find> {
        let mut first = 0;
        for end in STEPS.map(|step| step.min(most)) {
            let find = Deal::ALL.into_iter().find_map(|deal| self.step(bug, deal, first, end));
            if find.is_some() {
                return find;
            }
            first = end;
        }
        None
    }

    fn step(&self, bug: Bug, deal: Deal, first: u64, end: u64) -> Option<Find> {
        let hunt = hunt(bug, deal, first..end, self.threads);
        for Find { deal, seed, failure, .. } in hunt.unsound {
            println!("without any bug, seed {seed} of {deal} fails: {failure}");
        }
        hunt.found
    }
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

fn main() -> ExitCode {
    let task = match Task::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(reason) => {
            let usage = "--only NAME, --seeds MOST, --threads COUNT, --write";
            eprintln!("{reason}\n\n{usage}");
            return ExitCode::from(2);
        }
    };
    match carry_out(&task) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("{missed} bugs were not found");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Looks for the bugs, and gives how many stay unfound.
fn carry_out(task: &Task) -> io::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut table = Table::read(&root.join(TABLE));
    let (bugs, mut missed) = (task.bugs(), 0);
    for &bug in &bugs {
        let Some(find) = task.hunt(bug, table.place(bug)) else {
            missed += 1;
            println!("{bug}: not found");
            continue;
        };
        let Find { deal, seed, n, failure } = find;
        let said: String = failure.to_string().chars().take(240).collect();
        println!("{bug}: seed {seed} of {deal}, {n} replicas, {said}");
        let (seeds, check, what) = (seed + 1, failure.violation.check, bug.what());
        let place = places(&root, bug)?.join(" ");
        let row = format!("| `{bug}` | {what} | {place} | {deal} | {seeds} ({n}) | {check} |");
        table.rows.insert(bug.name().to_owned(), row);
        if task.write {
            fs::write(root.join(TABLE), table.text())?;
        }
    }
    println!("bugs: {} found", bugs.len() - missed);
    Ok(missed)
}

/// What was found before, a line a bug.
struct Table {
    rows: BTreeMap<String, String>,
}

impl Table {
    /// The table as it was written; an empty one where there is none.
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let row = |line: &str| {
            let name = line.strip_prefix("| `")?.split_once('`')?.0;
            Some((name.to_owned(), line.to_owned()))
        };
        Self { rows: text.lines().filter_map(row).collect() }
    }

    /// What dealt the plans in which a bug was found, and how many seeds it took.
    fn place(&self, bug: Bug) -> Option<(Deal, u64)> {
        let mut cells = self.rows.get(bug.name())?.split('|').skip(4).map(str::trim);
        let deal = Deal::named(cells.next()?)?;
        Some((deal, cells.next()?.split(' ').next()?.parse().ok()?))
    }

    /// The document, in the order of the bugs.
    fn text(&self) -> String {
        let head = "| bug | what is wrong | where | plans | seeds | found by |\n\
                    |---|---|---|---|---|---|\n";
        let rows = Bug::ALL.iter().filter_map(|bug| self.rows.get(bug.name()));
        rows.fold(format!("{ABOUT}{head}"), |text, row| text + row + "\n")
    }
}

/// The files in which a bug is made.
fn places(root: &Path, bug: Bug) -> io::Result<Vec<String>> {
    let mut ahead: Vec<PathBuf> = vec![root.join("crates")];
    let (mut places, word) = (Vec::new(), format!("seeded(Bug::{bug:?})"));
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                ahead.push(path);
            } else if path.extension().is_some_and(|it| it == "rs")
                && fs::read_to_string(&path)?.contains(&word)
            {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                let short = name.trim_start_matches("crates/").replace("/src/", "/");
                places.push(format!("`{short}`"));
            }
        }
    }
    places.sort();
    match places.is_empty() {
        true => Err(io::Error::other(format!("nothing makes {bug}"))),
        false => Ok(places),
    }
}
