//! How long a process is busy with an input: a table of costs, and the cores that are busy.
//!
//! The table is measured (`quorate sim calibrate`) and checked in with its date and machine
//! (`data/costs.txt`), so that a run is the same everywhere. A process has one ordered protocol
//! thread and a pool of crypto workers: a message is decoded and verified by the first worker that
//! is free, then handled in order by the thread; what it sends leaves when the thread is done with
//! it. Without workers the thread verifies, too, as the node does today.
//!
//! | charged to the pool | for each message that is wanted |
//! |---|---|
//! | `decode-byte` | byte of it |
//! | `hash-call`, `hash-byte` | it, if it claims anything; byte of it |
//! | `verify`, `verify-batched`, `verify-strict` | claim, one of three or more; in certificates |
//!
//! | charged to the thread | for each |
//! |---|---|
//! | `step` | input |
//! | `verify-strict` | cosignature that is taken |
//! | `sign` | vote, report, cosignature or log signature that is sent |
//! | `encode-byte` | byte of each message that is sent, once however many it goes to |
//! | `execute` | entry that its log grows by |
//!
//! Fsync is the disk's. Not modelled: starting up, what a gateway does for HTTP and TLS, copies in
//! the kernel, contention of caches.

use quorate_crypto::Recent;
use quorate_types::{Signature, Time};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, ops::AddAssign, sync::LazyLock, time::Duration};

const TABLE: &str = include_str!("../data/costs.txt");

static MEASURED: LazyLock<[u64; Operation::ALL.len()]> = LazyLock::new(|| read(TABLE));

/// What costs time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// One Ed25519 signature is made.
    Sign,
    /// One is checked by ZIP-215, alone.
    Verify,
    /// One of many is checked by ZIP-215, in a batch.
    VerifyBatched,
    /// One is checked strictly, as everything in a proof.
    VerifyStrict,
    /// SHA-256 of next to nothing.
    HashCall,
    /// Each byte more of it.
    HashByte,
    /// A byte of a message is written.
    EncodeByte,
    /// A byte of a message is read.
    DecodeByte,
    /// An input goes through the pipeline, whatever it is.
    Step,
    /// A request is executed and its exchange recorded.
    Execute,
}

/// Costs of all operations, and how many workers verify.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Costs {
    /// In thousandths of a nanosecond.
    picos: [u64; Operation::ALL.len()],
    /// Cores beside the protocol thread's.
    pub workers: usize,
}

/// Costs as a plan has them in its text: what is not in it costs nothing.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    workers: usize,
    /// Thousandths of a nanosecond, by operation.
    #[serde(default)]
    picos: BTreeMap<String, u64>,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// What costs.
    pub operation: Operation,
    /// Thousandths of a nanosecond.
    pub picos: u64,
}

/// How often each operation is done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Work([u64; Operation::ALL.len()]);

/// The cores of one machine, and until when they are busy.
#[derive(Clone, Debug)]
pub struct Cpu {
    costs: Costs,
    workers: Vec<Time>,
    thread: Time,
    /// What was verified lately and costs nothing again, as in production.
    recent: Recent<Signature>,
}

impl Operation {
    /// All, in the table's order.
    pub const ALL: [Self; 10] = [
        Self::Sign,
        Self::Verify,
        Self::VerifyBatched,
        Self::VerifyStrict,
        Self::HashCall,
        Self::HashByte,
        Self::EncodeByte,
        Self::DecodeByte,
        Self::Step,
        Self::Execute,
    ];

    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::VerifyBatched => "verify-batched",
            Self::VerifyStrict => "verify-strict",
            Self::HashCall => "hash-call",
            Self::HashByte => "hash-byte",
            Self::EncodeByte => "encode-byte",
            Self::DecodeByte => "decode-byte",
            Self::Step => "step",
            Self::Execute => "execute",
        }
    }
}

impl Costs {
    /// Nothing costs anything, and nothing is counted.
    #[must_use]
    pub fn free() -> Self {
        Self { picos: [0; Operation::ALL.len()], workers: 0 }
    }

    /// What the checked-in table says, with one worker.
    #[must_use]
    pub fn measured() -> Self {
        Self { picos: *MEASURED, workers: 1 }
    }

    /// The same on a machine that is so many times slower.
    #[must_use]
    pub fn slower(mut self, times: u64) -> Self {
        self.picos.iter_mut().for_each(|picos| *picos = picos.saturating_mul(times));
        self
    }

    /// The same, but for one operation.
    #[must_use]
    pub fn with(mut self, operation: Operation, cost: Duration) -> Self {
        let picos = cost.as_nanos().saturating_mul(1_000);
        self.picos[operation as usize] = u64::try_from(picos).unwrap_or(u64::MAX);
        self
    }

    /// Whether nothing costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.picos.iter().all(|&picos| picos == 0)
    }

    /// How long some work takes on one core.
    #[must_use]
    pub fn of(&self, work: &Work) -> Duration {
        let cost = |(&picos, &times): (&u64, &u64)| u128::from(picos) * u128::from(times);
        let picos: u128 = self.picos.iter().zip(&work.0).map(cost).sum();
        Duration::from_nanos(u64::try_from(picos / 1_000).unwrap_or(u64::MAX))
    }

    /// The table's lines.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let row = |operation| Row { operation, picos: self.picos[operation as usize] };
        Operation::ALL.into_iter().map(row)
    }
}

impl From<Costs> for Written {
    fn from(costs: Costs) -> Self {
        let costly = costs.rows().filter(|row| row.picos > 0);
        let picos = costly.map(|row| (row.operation.name().to_owned(), row.picos)).collect();
        Self { workers: costs.workers, picos }
    }
}

impl TryFrom<Written> for Costs {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut costs = Self { workers: written.workers, ..Self::free() };
        for (name, picos) in written.picos {
            let known = Operation::ALL.into_iter().find(|operation| operation.name() == name);
            let operation = known.ok_or_else(|| format!("{name:?} is no operation that costs"))?;
            costs.picos[operation as usize] = picos;
        }
        Ok(costs)
    }
}

impl fmt::Display for Row {
    /// The operation and nanoseconds, to three digits: what `data/costs.txt` holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = three_digits(self.picos) as f64 / 1_000.0;
        write!(f, "{:<16}{nanos:>10}", self.operation.name())
    }
}

impl Work {
    /// Some more of an operation.
    pub fn add(&mut self, operation: Operation, times: u64) {
        self.0[operation as usize] += times;
    }

    /// How much of it there is.
    #[must_use]
    pub fn times(&self, operation: Operation) -> u64 {
        self.0[operation as usize]
    }

    /// Some more signatures to check together, by ZIP-215: three or more are checked in a batch.
    pub fn add_claims(&mut self, claims: u64) {
        match claims {
            0..=2 => self.add(Operation::Verify, claims),
            _ => self.add(Operation::VerifyBatched, claims),
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        self.0.iter_mut().zip(more.0).for_each(|(times, more)| *times += more);
    }
}

impl Cpu {
    /// Idle cores.
    #[must_use]
    pub fn new(costs: Costs) -> Self {
        let workers = vec![Time::default(); costs.workers];
        Self { costs, workers, thread: Time::default(), recent: Recent::default() }
    }

    /// Whether a signature was not verified lately; it is from now on.
    pub fn meets(&mut self, signature: &Signature) -> bool {
        let is_new = !self.recent.contains(signature);
        if is_new {
            self.recent.insert(*signature);
        }
        is_new
    }

    /// When a worker is through with something that comes now: the one that is free first takes it.
    pub fn verify(&mut self, now: Time, work: &Work) -> Time {
        let Some(worker) = self.workers.iter_mut().min() else { return self.handle(now, work) };
        *worker = now.max(*worker).plus(self.costs.of(work));
        *worker
    }

    /// When the thread is through with something that comes now, after all that came before.
    pub fn handle(&mut self, now: Time, work: &Work) -> Time {
        self.thread = now.max(self.thread).plus(self.costs.of(work));
        self.thread
    }

    /// When the thread is free.
    #[must_use]
    pub fn free_at(&self) -> Time {
        self.thread
    }

    /// The machine was started anew: nothing is left to do.
    pub fn reset(&mut self) {
        *self = Self::new(self.costs.clone());
    }
}

/// Rounded to three digits, so that two measurements can be told apart by eye.
fn three_digits(picos: u64) -> u64 {
    let mut unit = 1;
    while picos / unit >= 1_000 {
        unit *= 10;
    }
    (picos + unit / 2) / unit * unit
}

/// Reads the table; what is not in it costs nothing, which the tests would show.
fn read(table: &str) -> [u64; Operation::ALL.len()] {
    let mut picos = [0; Operation::ALL.len()];
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(nanos)) = (words.next(), words.next()) else { continue };
        let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name);
        if let (Some(operation), Ok(nanos)) = (operation, nanos.parse::<f64>()) {
            picos[operation as usize] = (nanos * 1_000.0).round() as u64;
        }
    }
    picos
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn work(operation: Operation, times: u64) -> Work {
        let mut work = Work::default();
        work.add(operation, times);
        work
    }

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn the_table_has_every_operation_in_its_own_print() {
        let rows: Vec<String> = Costs::measured().rows().map(|row| row.to_string()).collect();
        let lines: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rows, lines);
        assert!(Costs::measured().rows().all(|row| row.picos > 0));
        assert!(TABLE.lines().next().unwrap().starts_with('#'), "date and machine");
        assert!(Costs::free().is_free() && !Costs::measured().is_free());
    }

    #[test]
    fn rows_print_three_digits() {
        let row = |picos| Row { operation: Operation::Sign, picos }.to_string();
        assert_eq!(row(16_149_999), "sign                 16100");
        assert_eq!(row(1_996), "sign                     2");
        assert_eq!(row(691), "sign                 0.691");
    }

    #[test]
    fn work_costs_its_sum_and_a_slow_machine_takes_times_as_long() {
        let costs = Costs::free().with(Operation::Sign, MS).with(Operation::HashByte, MS / 1_000);
        let mut both = work(Operation::Sign, 2);
        both.add(Operation::HashByte, 500);
        assert_eq!(costs.of(&both), MS * 5 / 2);
        assert_eq!(costs.slower(3).of(&both), MS * 15 / 2);
        assert_eq!(Costs::free().of(&both), Duration::ZERO);
    }

    #[test]
    fn three_signatures_and_more_are_checked_in_a_batch() {
        let mut few = Work::default();
        few.add_claims(2);
        assert_eq!((few.times(Operation::Verify), few.times(Operation::VerifyBatched)), (2, 0));
        let mut many = Work::default();
        many.add_claims(3);
        assert_eq!((many.times(Operation::Verify), many.times(Operation::VerifyBatched)), (0, 3));
    }

    #[test]
    fn the_thread_does_one_thing_after_the_other_and_workers_do_several_at_once() {
        let costs = Costs::free().with(Operation::Step, MS).with(Operation::Verify, MS * 10);
        let mut cpu = Cpu::new(Costs { workers: 2, ..costs.clone() });
        let (step, verify) = (work(Operation::Step, 1), work(Operation::Verify, 1));
        assert_eq!([0, 0, 5].map(|now| cpu.handle(at(now), &step)), [at(1), at(2), at(6)]);
        assert_eq!([0, 1, 2, 30].map(|now| cpu.verify(at(now), &verify)), [10, 11, 20, 40].map(at));
        assert_eq!(cpu.free_at(), at(6), "the thread did not verify");
        let seen = [1, 2, 1].map(|byte| cpu.meets(&Signature([byte; 64])));
        assert_eq!(seen, [true, true, false]);
        cpu.reset();
        assert!(cpu.meets(&Signature([1; 64])), "nothing outlives the process");
        assert_eq!(cpu.handle(at(0), &step), at(1));
        let mut alone = Cpu::new(Costs { workers: 0, ..costs });
        assert_eq!(alone.verify(at(0), &verify), at(10));
        assert_eq!(alone.handle(at(0), &step), at(11), "verification comes first");
    }
}
