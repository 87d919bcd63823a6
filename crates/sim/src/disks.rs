//! Which troubles a disk brings, and who comes to help.
//!
//! A process whose disk fails ends, or refuses to start, and says why; somebody starts it again. A
//! disk that does other things than it says makes its replica a faulty one, though it never means
//! to lie: sooner or later its operator notices, empties the folder, and has it rejoin.

use crate::{
    process::{Process, Work},
    rng::Rng,
    seat::Seat,
    trouble::Halt,
    violation::Check,
    watch::Watch,
    world::{Event, Watching, World},
};
use quorate_ledger::{MemoryDisk, memory_disk};
use quorate_types::ReplicaId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// How long a process waits for room until it tries again, as in production.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest time a slow disk takes to read, in nanoseconds.
const READ_NS_MAX: u64 = 100_000_000;
/// The longest time a slow disk takes to write, in nanoseconds.
const WRITE_NS_MAX: u64 = 1_000_000_000;
/// What only a faulty replica's disk does.
const LIES: [&str; 5] =
    ["disk-lost-write", "disk-forgotten-write", "disk-misdirected", "disk-rot", "fsync-ignored"];

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskTrouble {
    /// There is room for so many more bytes.
    Full {
        /// Bytes.
        room: u64,
    },
    /// Nothing can be written.
    ReadOnly,
    /// Everything takes long.
    Slow,
    /// An operation fails, or does something else than it says.
    Strikes {
        /// What happens to it.
        #[serde(with = "crate::plain")]
        fault: memory_disk::Fault,
        /// How many operations of its kind come before it.
        after: u64,
    },
    /// Fsyncs are reported done, and are not.
    IgnoresSyncs,
    /// What was durable rots.
    Rots {
        /// How many bits.
        bits: u64,
    },
}

impl DiskTrouble {
    /// Draws what any disk may do.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let strikes = |fault, after| Self::Strikes { fault, after };
        match rng.below(8) {
            0 | 1 => Self::Full { room: rng.below(6_000) },
            2 => Self::ReadOnly,
            3 => strikes(memory_disk::Fault::SyncError, rng.below(20)),
            4 => strikes(memory_disk::Fault::WriteError, rng.below(60)),
            5 => strikes(memory_disk::Fault::ReadError, rng.below(30)),
            _ => Self::Slow,
        }
    }

    /// Draws what only a faulty replica's disk does.
    #[must_use]
    pub fn draw_lie(rng: &mut Rng) -> Self {
        let after = rng.below(40);
        match rng.below(6) {
            0 => Self::Strikes { fault: memory_disk::Fault::LostWrite, after },
            1 => Self::Strikes { fault: memory_disk::Fault::ForgottenWrite, after },
            2 => Self::Strikes { fault: memory_disk::Fault::MisdirectedWrite, after },
            3 => Self::IgnoresSyncs,
            _ => Self::Rots { bits: rng.range(1, 6) },
        }
    }

    /// Whether the disk does something else than it says.
    #[must_use]
    pub fn is_lie(self) -> bool {
        match self {
            Self::Strikes { fault, .. } => LIES.contains(&fault.name()),
            Self::Rots { .. } | Self::IgnoresSyncs => true,
            Self::Full { .. } | Self::ReadOnly | Self::Slow => false,
        }
    }
}

impl DiskTrouble {
    /// Whether it goes on for a while.
    #[must_use]
    pub fn lasts(self) -> bool {
        !matches!(self, Self::Strikes { .. } | Self::Rots { .. })
    }
}

impl std::fmt::Display for DiskTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { room } => write!(f, "room for {room} bytes"),
            Self::ReadOnly => f.write_str("read-only"),
            Self::Slow => f.write_str("slow"),
            Self::Strikes { fault, after } => write!(f, "{} after {after}", fault.name()),
            Self::IgnoresSyncs => f.write_str("ignores fsyncs"),
            Self::Rots { bits } => write!(f, "rot of {bits} bits"),
        }
    }
}

/// What is known of one machine's disk.
#[derive(Debug, Default)]
pub(crate) struct Drive {
    /// What lasts: no room, little speed, syncs that do nothing.
    ailment: Option<DiskTrouble>,
    /// Whether an operation failed or was refused since the process began.
    struck: bool,
    /// Whether something was done that is not what was said.
    lied: bool,
    /// Whether what is there was read, for which a slow disk takes its time.
    read: bool,
}

impl Drive {
    pub(crate) fn crawls(&self) -> bool {
        self.ailment == Some(DiskTrouble::Slow)
    }
}

/// What is known of all disks.
#[derive(Debug)]
pub(crate) struct Disks {
    rng: Rng,
    /// Those that may do something else than they say, from when it may happen.
    lying: BTreeSet<Seat>,
    /// Those of them whose operator is on the way.
    noticed: BTreeSet<Seat>,
    /// Whose ever did.
    lied: BTreeSet<ReplicaId>,
    watching: Option<Watching>,
}

impl Disks {
    pub(crate) fn new(rng: Rng) -> Self {
        let (lying, noticed) = (BTreeSet::new(), BTreeSet::new());
        Self { rng, lying, noticed, lied: BTreeSet::new(), watching: None }
    }

    /// Whether nothing may be expected of the replica because its disk lies.
    pub(crate) fn lies(&self, at: Seat) -> bool {
        self.lying.contains(&at)
    }

    /// Whether a replica may have contradicted itself, because its disk lied at some time.
    pub(crate) fn ever_lied(&self, who: ReplicaId) -> bool {
        self.lied.contains(&who)
    }

    fn milliseconds(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.range(low, high))
    }
}

impl World {
    // --- what a disk does ----------------------------------------------------------------------

    pub(crate) fn trouble(&mut self, at: Seat, trouble: DiskTrouble, lasting: Duration) {
        let who = self.who(at);
        if trouble.is_lie() {
            self.disks.lying.insert(at);
            self.disks.lied.insert(who);
        }
        let seed = self.disks.rng.draw();
        let machine = &mut self.machines[at.position()];
        match trouble {
            DiskTrouble::Strikes { fault, after } => machine.disk.strike_after(after, fault),
            DiskTrouble::Rots { bits } => (0..bits).for_each(|bit| {
                machine.disk.rot(seed.wrapping_add(bit));
            }),
            DiskTrouble::Full { .. }
            | DiskTrouble::ReadOnly
            | DiskTrouble::Slow
            | DiskTrouble::IgnoresSyncs => {
                self.relieve(at);
                let machine = &mut self.machines[at.position()];
                machine.drive.ailment = Some(trouble);
                let until = self.now.plus(lasting).min(self.plan.healed.max(self.now));
                self.schedule(until, Event::Relieve { at });
                self.ail(at);
            }
        }
    }

    /// Makes a disk, perhaps a new one, what it is to be for a while.
    fn ail(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        match machine.drive.ailment {
            Some(DiskTrouble::Full { room }) => machine.disk.limit_room(Some(room)),
            Some(DiskTrouble::ReadOnly) => machine.disk.set_read_only(true),
            Some(DiskTrouble::IgnoresSyncs) => machine.disk.ignore_syncs(true),
            Some(DiskTrouble::Slow) => {
                self.outcome.inject("disk-slow");
                if let Some(process) = &mut machine.process {
                    process.set_crawling(true);
                }
            }
            _ => {}
        }
    }

    /// What lasted is over.
    pub(crate) fn relieve(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        machine.drive.ailment = None;
        machine.disk.limit_room(None);
        machine.disk.set_read_only(false);
        machine.disk.ignore_syncs(false);
        if let Some(process) = &mut machine.process {
            process.set_crawling(false);
        }
    }

    /// Ends all troubles, and empties what cannot be trusted any more.
    pub(crate) fn heal_disks(&mut self) {
        for at in self.seating.all() {
            self.tell_struck(at);
            self.relieve(at);
            let machine = &mut self.machines[at.position()];
            machine.disk.heal();
            if machine.drive.lied {
                self.empty(at);
            }
        }
        self.disks.lying.clear();
        // What they appended until now, and cosign from now on, nobody saw.
        self.seating.all().for_each(|at| self.show_log(at));
    }

    /// How long the disk is busy.
    pub(crate) fn working(&mut self, at: Seat, work: Work) -> Duration {
        let slow = self.machines[at.position()].drive.crawls();
        let rng = &mut self.disks.rng;
        let most = u64::try_from(self.plan.fsync_max.as_nanos()).unwrap_or(1);
        let sync = rng.below(most) + 1;
        let writing = match slow {
            true => rng.range(0, WRITE_NS_MAX),
            false => 0,
        };
        match work {
            Work::Write => Duration::from_nanos(rng.below(writing)),
            Work::Sync => Duration::from_nanos(sync + rng.below(writing)),
            Work::Wait => PAUSE,
        }
    }

    /// How long it takes to read a page.
    pub(crate) fn reading(&mut self, at: Seat) -> Duration {
        match self.machines[at.position()].drive.crawls() {
            true => Duration::from_nanos(self.disks.rng.below(READ_NS_MAX)),
            false => Duration::ZERO,
        }
    }

    /// Whether a slow disk is still being read; the process starts later then.
    pub(crate) fn is_reading(&mut self, at: Seat) -> bool {
        let machine = &mut self.machines[at.position()];
        if !machine.drive.crawls() || machine.drive.read {
            return false;
        }
        machine.drive.read = true;
        let took = self.reading(at) + self.working(at, Work::Sync);
        self.schedule(self.now.plus(took), Event::Start { at });
        true
    }

    /// Counts what really happened on a disk.
    pub(crate) fn tell_struck(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        for (name, count) in machine.disk.take_struck() {
            *self.outcome.injected.entry(name).or_default() += count;
            machine.drive.lied |= LIES.contains(&name);
            machine.drive.struck |= name != "disk-torn";
        }
    }

    /// Whether an operation failed or was refused since the process began.
    pub(crate) fn disk_failed(&mut self, at: Seat) -> bool {
        self.tell_struck(at);
        self.machines[at.position()].drive.struck
    }

    // --- what becomes of the process -----------------------------------------------------------

    /// A process dies, and perhaps its machine loses power.
    pub(crate) fn kill(&mut self, at: Seat, power: bool) {
        let [seed, of_snapshot, of_front] = [(); 3].map(|()| self.disks.rng.draw());
        let machine = &mut self.machines[at.position()];
        if let Some(mut process) = machine.process.take() {
            machine.watch = process.take_watch();
            process.die(of_snapshot, of_front);
        }
        self.tell_struck(at);
        let machine = &mut self.machines[at.position()];
        machine.disk = if power { machine.disk.crash(seed) } else { machine.disk.fork() };
        self.tell_struck(at);
        self.bury(at);
    }

    /// A process dies, and nothing is left of what it had on its disk.
    pub(crate) fn lose_disk(&mut self, at: Seat) {
        self.tell_struck(at);
        let machine = &mut self.machines[at.position()];
        if let Some(mut process) = machine.process.take() {
            machine.watch = process.take_watch();
        }
        machine.disk = MemoryDisk::new();
        machine.drive = Drive::default();
        self.disks.lying.remove(&at);
        self.disks.noticed.remove(&at);
        self.bury(at);
    }

    fn bury(&mut self, at: Seat) {
        let machine = &mut self.machines[at.position()];
        machine.process = None;
        machine.ready = false;
        machine.life += 1;
        machine.drive.struck = false;
        machine.drive.read = false;
        self.ail(at);
        let links = self.seating.all().map(|other| (other, at)).collect();
        self.notice(&links, false);
    }

    /// A process ends by itself. Somebody starts it again, and perhaps the machine before.
    pub(crate) fn halted(&mut self, at: Seat, halt: &Halt) {
        let who = self.who(at);
        self.tell_struck(at);
        let machine = &self.machines[at.position()];
        let by_disk = halt.is_of_disk() && machine.drive.struck;
        if !self.lies(who) && !self.disks.lies(at) && !by_disk {
            return self.fail(Check::Running.broken(format!("{who} halts: {halt}")));
        }
        let power = self.disks.rng.permille(500);
        self.kill(at, power);
        if self.plan.cast.twins.contains(&who) {
            self.outcome.inject("twin-halted");
        } else if self.lies(who) {
            return;
        } else {
            self.outcome.check("halted-by-disk");
        }
        if halt.reason.starts_with("rolled back") {
            self.outcome.check("stopped-as-rolled-back");
        }
        if self.disks.lies(at) {
            self.notice_lie(at);
        }
        let again = self.disks.milliseconds(1, 1_000);
        self.schedule(self.now.plus(again), Event::Start { at });
    }

    /// A process says why it does not start. It will be tried again.
    pub(crate) fn refused(&mut self, at: Seat, halt: &Halt) {
        let who = self.who(at);
        self.tell_struck(at);
        let machine = &mut self.machines[at.position()];
        machine.drive.read = false;
        let by_disk = halt.is_of_disk() && std::mem::take(&mut machine.drive.struck);
        if self.lies(who) {
            return;
        }
        if !self.disks.lies(at) && !by_disk {
            return self.fail(Check::Running.broken(format!("{who} cannot start: {halt}")));
        }
        self.outcome.check("refused-to-start");
        if self.disks.lies(at) {
            self.notice_lie(at);
        }
        let again = self.disks.milliseconds(10, 1_000);
        self.schedule(self.now.plus(again), Event::Start { at });
    }

    /// An operator learns that the folder is not to be trusted, and comes after a while.
    fn notice_lie(&mut self, at: Seat) {
        if !self.disks.noticed.insert(at) {
            return;
        }
        let comes = self.now.plus(self.disks.milliseconds(100, 3_000));
        let comes = comes.min(self.plan.healed.max(self.now));
        self.schedule(comes, Event::Empty { at });
    }

    /// An operator empties the folder of a replica whose disk lied, and starts it again.
    pub(crate) fn empty(&mut self, at: Seat) {
        if !self.disks.lies(at) {
            return;
        }
        self.outcome.inject("lost-disk");
        self.outcome.check("emptied-by-operator");
        self.lose_disk(at);
        let again = self.disks.milliseconds(1, 500);
        self.schedule(self.now.plus(again), Event::Start { at });
    }

    // --- where somebody watches ----------------------------------------------------------------

    pub(crate) fn watch(&mut self, watching: Option<Watching>) {
        if let Some(watching) = watching {
            let watch = Box::new(Watch::until(watching.limit));
            self.machines[watching.at.position()].watch = Some(watch);
        }
        self.disks.watching = watching;
    }

    pub(crate) fn unwatch(&mut self) -> Watch {
        let Some(watching) = self.disks.watching.take() else { return Watch::default() };
        let machine = &mut self.machines[watching.at.position()];
        let running = machine.process.as_mut().and_then(Process::take_watch);
        running.or(machine.watch.take()).map_or_else(Watch::default, |watch| *watch)
    }

    /// A watched process dies where it was told to, and is started again after a while.
    pub(crate) fn dies(&mut self, at: Seat) {
        let Some(watching) = self.disks.watching else { return };
        self.disks.rng = Rng::new(watching.seed);
        self.outcome.inject(if watching.power { "power-loss" } else { "crash" });
        self.kill(at, watching.power);
        let again = self.disks.milliseconds(1, 400);
        self.schedule(self.now.plus(again), Event::Start { at });
    }
}
