//! The host: has this replica's copy of the service execute what was ordered.
//!
//! A thread of its own owns the copy, since a copy answers one call after the other and may take
//! its time. The driver hands it a slot's calls at a time and gets their answers back through the
//! inbox; it never waits.
//!
//! What a copy holds cannot be asked for. It is known as long as every call was answered, and as
//! the replicas agreed on that answer:
//!
//! - **in step**: it executed every request up to a place of the log. Calls are executed, after
//!   what the copy missed of the log before them.
//! - **restoring**: what it holds became unknown, and there is a way back, by a reset or a
//!   snapshot. Calls wait for a while, and have no answer then.
//! - **fenced**: what it holds became unknown, and there is no way back. Calls have no answer.
//!
//! It becomes unknown when a call has no answer, when its answer is not the agreed one, and when
//! this process starts, since the copy may have executed what nobody here remembers.
//!
//! | file | holds |
//! |---|---|
//! | `line` | one connection to the copy |
//! | `listener` | whether the copy was started anew |
//! | `json` | one spelling of a JSON text |
//! | `copy` | the copy as a client sees it: a call, and its answer or none |
//! | `desk` | calls that wait, and where answers go |
//! | `keeper` | what the copy holds, and how it gets to hold it again |
//! | `stored` | a snapshot of the copy's state on the disk |
//! | `saves` | when it is taken, and how it is put back |
//! | `sight` | the same, for those who ask |

mod copy;
mod desk;
#[cfg(test)]
mod fake;
mod json;
mod keeper;
mod line;
mod listener;
mod saves;
mod sight;
mod stored;

pub use copy::{NoAnswer, OwnCopy, Rules};
pub use json::canonical;

pub(crate) use keeper::{Past, Reset};
pub(crate) use saves::{SavePlan, Saves};
pub(crate) use sight::{CopySight, CopyStanding};

use desk::{Desk, Work};
use keeper::{Keeper, Lost};
use quorate_ledger::Disk;
use quorate_types::{Call, Response, Slot};
use std::{io, sync::Arc, thread, time::Duration};
use tokio::{
    runtime::Builder,
    sync::mpsc::{self, Sender, error::TrySendError},
    time::{Instant, timeout_at},
};
use tracing::warn;

/// How many slots may wait for a copy that lags. It executes those beyond from the log.
const WORK_MAX: usize = 64;

/// How long after a failed restoration the next one begins: doubled from the first to the last.
const PAUSE_LEAST: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// Where the answers to a slot's calls go.
pub(crate) type Answered = Arc<dyn Fn(Slot, Vec<Option<Response>>) + Send + Sync>;

/// What a host is made of.
pub(crate) struct Parts<D> {
    /// The copy.
    pub(crate) copy: OwnCopy,
    /// The log.
    pub(crate) past: Past<D>,
    /// How the copy is put back to its beginning, where it can be.
    pub(crate) reset: Option<Reset>,
    /// Snapshots of the copy's state, where they are taken.
    pub(crate) saves: Option<Saves<D>>,
    /// Whether nothing was ever executed, so that a copy at its beginning is in step.
    pub(crate) fresh: bool,
    /// Where answers go.
    pub(crate) answered: Answered,
}

/// The driver's handle to the host. The host ends when it is dropped.
pub(crate) struct Host {
    work: Sender<Work>,
    answered: Answered,
    sight: Arc<CopySight>,
}

impl Host {
    /// Starts the host's thread.
    pub(crate) fn start<D: Disk>(parts: Parts<D>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (work, waiting) = mpsc::channel(WORK_MAX);
        let Parts { copy, past, reset, saves, fresh, answered } = parts;
        let sight = Arc::new(CopySight::default());
        let desk = Desk::new(waiting, Arc::clone(&answered));
        let mut keeper = Keeper::new(copy, past, reset, saves, Arc::clone(&sight));
        if fresh {
            keeper.begin();
        } else {
            keeper.lose(&Lost::Restarted);
        }
        thread::Builder::new()
            .name("copy".into())
            .spawn(move || runtime.block_on(Hosting { desk, keeper }.run()))?;
        Ok(Self { work, answered, sight })
    }

    /// Has the copy execute a slot's calls.
    pub(crate) fn call(&self, slot: Slot, calls: Arc<Vec<Call>>) {
        match self.work.try_send(Work::Call { slot, calls }) {
            Ok(()) => {}
            Err(TrySendError::Full(work) | TrySendError::Closed(work)) => {
                if let Work::Call { slot, calls } = work {
                    (self.answered)(slot, vec![None; calls.len()]);
                }
            }
        }
    }

    /// Tells whether the copy kept up with what was agreed on about a slot.
    pub(crate) fn agreed(&self, slot: Slot, kept_up: bool) {
        if self.work.try_send(Work::Agreed { slot, kept_up }).is_err() {
            // It looks into the log before the next call.
            warn!(%slot, code = "copy-busy", "the copy of the service lags far behind");
        }
    }

    /// Tells that the log has grown: by what the copy was called for, or by what it missed.
    pub(crate) fn grown(&self) {
        // Where the copy is busy, it looks before the next call.
        let _ = self.work.try_send(Work::Grown);
    }

    /// How the copy stands.
    pub(crate) fn sight(&self) -> &Arc<CopySight> {
        &self.sight
    }
}

/// What the host's thread runs.
struct Hosting<D> {
    desk: Desk,
    keeper: Keeper<D>,
}

/// The driver is gone.
struct Ended;

impl<D: Disk> Hosting<D> {
    async fn run(mut self) {
        while self.settle().await.is_ok() && self.desk.next().await.is_ok() {}
    }

    /// Gets the copy in step, and the call that waits executed.
    async fn settle(&mut self) -> Result<(), Ended> {
        let mut saved = false;
        loop {
            if let Some((slot, kept_up)) = self.desk.agreed() {
                self.keeper.agreed(slot, kept_up);
            }
            if self.desk.first().is_some() || self.keeper.is_recorded() {
                self.keeper.check_served();
            }
            if self.keeper.is_fenced() {
                self.desk.give_up();
                return Ok(());
            }
            if self.keeper.is_lost()
                || self.desk.first().is_some_and(|it| self.keeper.is_before(it))
            {
                self.restore().await?;
                continue;
            }
            let Some((slot, calls)) = self.desk.take() else {
                // Once a turn: a copy that cannot be saved now is asked again at the next.
                if saved || !self.keeper.is_save_due() {
                    return Ok(());
                }
                saved = true;
                self.save().await?;
                continue;
            };
            let answers = self.keeper.serve(slot, &calls).await;
            self.desk.answer(slot, answers);
        }
    }

    /// Brings the copy to the log's end, with as many attempts as that takes. A copy that cannot
    /// be brought back has one.
    async fn restore(&mut self) -> Result<(), Ended> {
        let mut pause = PAUSE_LEAST;
        while let Err(lost) = self.attempt().await? {
            self.keeper.fail(&lost);
            // Nobody need wait for an attempt that may never succeed.
            self.desk.give_up();
            if !self.keeper.can_restore() {
                return Ok(());
            }
            let next = Instant::now() + pause;
            while let Ok(held) = timeout_at(next, self.desk.hold()).await {
                held?;
                self.desk.give_up();
            }
            pause = (pause * 2).min(PAUSE_MOST);
        }
        Ok(())
    }

    /// Saves the copy's state, while calls that come wait, each for its time.
    async fn save(&mut self) -> Result<(), Ended> {
        let (keeper, desk) = (&mut self.keeper, &mut self.desk);
        let mut saving = std::pin::pin!(keeper.save());
        loop {
            tokio::select! {
                biased;
                () = &mut saving => return Ok(()),
                held = desk.hold() => held?,
            }
        }
    }

    /// One attempt, while calls that come wait, each for its time.
    async fn attempt(&mut self) -> Result<Result<(), Lost>, Ended> {
        let (keeper, desk) = (&mut self.keeper, &mut self.desk);
        let mut attempt = std::pin::pin!(keeper.catch_up());
        loop {
            tokio::select! {
                biased;
                caught_up = &mut attempt => return Ok(caught_up),
                held = desk.hold() => held?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
