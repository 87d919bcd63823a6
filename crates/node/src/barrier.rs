//! The barrier: nothing that follows a record leaves before the record is durable.
//!
//! The driver hands over what the replica wants done, in order. What stands before the first record
//! is done at once, on the driver's own thread, as long as nothing handed over earlier is still
//! waiting. The rest goes to the barrier's thread, which takes all that waits, appends its records,
//! syncs once for all of them, and then does the rest in order, while the driver goes on and the
//! next group gathers. So a lone request pays for one fsync and no delay, and under load one fsync
//! serves many.

use crate::patience::patiently;
use quorate_ledger::{Disk, Wal, WalError};
use quorate_types::Slot;
use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};
use tracing::{error, warn};

/// The driver waits while so many things wait for a sync: the disk is then the bottleneck.
const WAITING_MAX: usize = 16_384;

/// One thing to do, in order.
#[derive(Debug)]
pub(crate) enum Step<A> {
    /// Make this durable before any later step.
    Persist {
        /// The slot that it is about, if any.
        slot: Option<Slot>,
        /// The record.
        bytes: Vec<u8>,
    },
    /// Write this in its place, with the next record that has to be durable.
    Note {
        /// The slot that it is about, if any.
        slot: Option<Slot>,
        /// The record.
        bytes: Vec<u8>,
    },
    /// Drop what is no longer needed, once the log of entries is durable.
    Forget {
        /// The lowest slot still needed.
        below: Slot,
    },
    /// From here on the write-ahead log holds every vote that binds the replica.
    Rejoined,
    /// Let this out.
    Release(A),
}

/// Where released things go.
pub(crate) trait Outlet<A>: Send + Sync + 'static {
    /// Does it. Called by one thread at a time, in order.
    fn release(&self, action: A);

    /// Makes everything released so far to the log of entries durable. `false` if that failed, and
    /// the process ends for it.
    fn sync_log(&self) -> bool;

    /// Ends the process: what is said here cannot be masked.
    fn halt(&self, code: &'static str, reason: String);
}

/// The driver's end.
pub(crate) struct Barrier<A, O> {
    shared: Arc<Shared<A>>,
    outlet: Arc<O>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared<A> {
    waiting: Mutex<Waiting<A>>,
    /// Something came for the barrier's thread.
    wake: Condvar,
    /// There is room again for the driver.
    room: Condvar,
    figures: Arc<BarrierFigures>,
}

/// What the barrier counts.
#[derive(Debug, Default)]
pub(crate) struct BarrierFigures {
    /// Groups made durable.
    pub(crate) syncs: AtomicU64,
    /// Records in them.
    pub(crate) records: AtomicU64,
    /// Microseconds spent writing and syncing.
    pub(crate) sync_us: AtomicU64,
    /// 1 while the disk takes nothing.
    pub(crate) stuck: AtomicU64,
}

struct Waiting<A> {
    steps: Vec<Step<A>>,
    /// The barrier's thread works on an earlier group.
    busy: bool,
    closed: bool,
}

impl<A: Send + 'static, O: Outlet<A>> Barrier<A, O> {
    /// Starts the barrier's thread on a log.
    pub(crate) fn start<D: Disk>(
        wal: Wal<D>,
        outlet: Arc<O>,
        figures: Arc<BarrierFigures>,
    ) -> std::io::Result<Self> {
        let waiting = Mutex::new(Waiting { steps: Vec::new(), busy: false, closed: false });
        let shared =
            Arc::new(Shared { waiting, wake: Condvar::new(), room: Condvar::new(), figures });
        let worker = Worker { wal, shared: Arc::clone(&shared), outlet: Arc::clone(&outlet) };
        let thread = thread::Builder::new().name("wal".into()).spawn(move || worker.run())?;
        Ok(Self { shared, outlet, thread: Some(thread) })
    }

    /// Has all steps done, in order, after those of earlier calls. Leaves `steps` empty.
    pub(crate) fn pass(&self, steps: &mut Vec<Step<A>>) {
        // Only this thread adds, so what is idle now stays idle.
        if self.shared.is_idle() {
            release_unheld(steps, steps.len(), &*self.outlet);
        }
        if steps.is_empty() {
            return;
        }
        let mut waiting = self.shared.lock();
        while waiting.steps.len() >= WAITING_MAX && !waiting.closed {
            waiting = self.shared.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        // Whoever works looks again before it sleeps, and who was woken is on its way.
        let asleep = !waiting.busy && waiting.steps.is_empty();
        waiting.steps.append(steps);
        drop(waiting);
        if asleep {
            self.shared.wake.notify_one();
        }
    }
}

impl<A, O> Drop for Barrier<A, O> {
    /// Waits for what was handed over.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<A> Shared<A> {
    fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.steps.is_empty() && !waiting.busy
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, Waiting<A>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for steps; false at the end.
    fn next(&self, steps: &mut Vec<Step<A>>) -> bool {
        let mut waiting = self.lock();
        waiting.busy = false;
        while waiting.steps.is_empty() {
            if waiting.closed {
                return false;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.busy = true;
        mem::swap(&mut waiting.steps, steps);
        drop(waiting);
        self.room.notify_one();
        true
    }
}

struct Worker<A, O, D: Disk> {
    wal: Wal<D>,
    shared: Arc<Shared<A>>,
    outlet: Arc<O>,
}

/// Why nothing may follow.
enum Broken {
    /// The write-ahead log.
    Votes(WalError),
    /// The log of entries; the outlet has said so.
    Entries,
}

impl From<WalError> for Broken {
    fn from(error: WalError) -> Self {
        Self::Votes(error)
    }
}

impl<A, O: Outlet<A>, D: Disk> Worker<A, O, D> {
    fn run(mut self) {
        let mut steps = Vec::new();
        while self.shared.next(&mut steps) {
            if let Err(broken) = self.group(&mut steps) {
                if let Broken::Votes(error) = broken {
                    error!(%error, code = error.code(), "the write-ahead log cannot go on");
                    self.outlet.halt(error.code(), error.to_string());
                }
                // Whatever is still to come must not leave.
                let mut waiting = self.shared.lock();
                waiting.closed = true;
                drop(waiting);
                self.shared.room.notify_one();
                return;
            }
        }
        // Notes that no record took along.
        if let Err(error) = self.wal.sync() {
            warn!(%error, code = error.code(), "the last records were not written");
        }
    }

    /// Does a group. What changes the log's segments splits it, since it counts records before it
    /// and after it differently.
    fn group(&mut self, steps: &mut Vec<Step<A>>) -> Result<(), Broken> {
        while !steps.is_empty() {
            let is_split = |step: &Step<A>| matches!(step, Step::Forget { .. } | Step::Rejoined);
            let end = steps.iter().position(is_split).unwrap_or(steps.len());
            // What follows records of an earlier group only need not wait for this one's.
            let end = end - release_unheld(steps, end, &*self.outlet);
            let (mut count, mut held) = (0, false);
            for step in &steps[..end] {
                if let Step::Persist { slot, bytes } | Step::Note { slot, bytes } = step {
                    self.wal.append(*slot, bytes)?;
                    count += 1;
                    held |= matches!(step, Step::Persist { .. });
                }
            }
            if held {
                self.sync(count)?;
            }
            for step in steps.drain(..end) {
                if let Step::Release(action) = step {
                    self.outlet.release(action);
                }
            }
            if !steps.is_empty() {
                match steps.remove(0) {
                    Step::Forget { below } => self.forget(below)?,
                    Step::Rejoined => {
                        // What the replica rejoined with must not be lost after it votes again.
                        self.sync_log()?;
                        patiently(&self.shared.figures.stuck, || self.wal.rejoined())?;
                    }
                    Step::Persist { .. } | Step::Note { .. } | Step::Release(_) => {}
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self, records: u64) -> Result<(), WalError> {
        let started = Instant::now();
        let figures = Arc::clone(&self.shared.figures);
        patiently(&figures.stuck, || self.wal.sync())?;
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        figures.syncs.fetch_add(1, Relaxed);
        figures.records.fetch_add(records, Relaxed);
        figures.sync_us.fetch_add(took, Relaxed);
        Ok(())
    }

    /// The write-ahead log can repeat what the log of entries lost, until it forgets.
    fn forget(&mut self, below: Slot) -> Result<(), Broken> {
        self.sync_log()?;
        Ok(patiently(&self.shared.figures.stuck, || self.wal.rotate(below))?)
    }

    fn sync_log(&self) -> Result<(), Broken> {
        if self.outlet.sync_log() { Ok(()) } else { Err(Broken::Entries) }
    }
}

/// Lets out what no record among the first `end` steps holds back; tells how many steps that were.
fn release_unheld<A>(steps: &mut Vec<Step<A>>, end: usize, outlet: &impl Outlet<A>) -> usize {
    let holds = |step: &Step<A>| !matches!(step, Step::Release(_) | Step::Note { .. });
    let first = steps[..end].iter().position(holds).unwrap_or(end);
    let before = steps.len();
    for step in steps.extract_if(..first, |step| matches!(step, Step::Release(_))) {
        if let Step::Release(action) = step {
            outlet.release(action);
        }
    }
    before - steps.len()
}

#[cfg(test)]
mod tests;
