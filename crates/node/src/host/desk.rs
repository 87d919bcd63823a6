//! Calls that wait for the copy, and where answers go.

use super::{Answered, Ended};
use quorate_types::{Call, Index, Response, Slot};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until},
};

/// How long a call waits for a copy that is being restored.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the driver asks for.
#[derive(Debug)]
pub(super) enum Work {
    /// Execute these.
    Call { slot: Slot, calls: Arc<Vec<Call>> },
    /// It is known whether the copy kept up with what was agreed on.
    Agreed { slot: Slot, kept_up: bool },
    /// Look into the log, which has grown.
    Grown,
}

/// See the module.
pub(super) struct Desk {
    work: Receiver<Work>,
    waiting: Option<Waiting>,
    /// The last that was told; what was told before, the log says too.
    agreed: Option<(Slot, bool)>,
    answered: Answered,
}

struct Waiting {
    slot: Slot,
    calls: Arc<Vec<Call>>,
    until: Instant,
}

impl Desk {
    pub(super) fn new(work: Receiver<Work>, answered: Answered) -> Self {
        Self { work, waiting: None, agreed: None, answered }
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Result<(), Ended> {
        let work = self.work.recv().await.ok_or(Ended)?;
        self.take_in(work);
        Ok(())
    }

    /// Waits for what comes next, or for the end of the patience with the call that waits.
    pub(super) async fn hold(&mut self) -> Result<(), Ended> {
        let Some(until) = self.waiting.as_ref().map(|waiting| waiting.until) else {
            return self.next().await;
        };
        tokio::select! {
            next = self.next() => return next,
            () = sleep_until(until) => self.give_up(),
        }
        Ok(())
    }

    fn take_in(&mut self, work: Work) {
        match work {
            Work::Call { slot, calls } => {
                // The slot before was agreed on without this copy.
                self.give_up();
                self.waiting = Some(Waiting { slot, calls, until: Instant::now() + PATIENCE });
            }
            Work::Agreed { slot, kept_up } => self.agreed = Some((slot, kept_up)),
            Work::Grown => {}
        }
    }

    /// The slot that was agreed on last, and whether the copy kept up, if that is news.
    pub(super) fn agreed(&mut self) -> Option<(Slot, bool)> {
        self.agreed.take()
    }

    /// The place of the first call that waits.
    pub(super) fn first(&self) -> Option<Index> {
        self.waiting.as_ref()?.calls.first().map(|call| call.index)
    }

    /// Takes the calls that wait.
    pub(super) fn take(&mut self) -> Option<(Slot, Arc<Vec<Call>>)> {
        self.waiting.take().map(|waiting| (waiting.slot, waiting.calls))
    }

    /// Leaves the calls that wait without answers.
    pub(super) fn give_up(&mut self) {
        if let Some((slot, calls)) = self.take() {
            self.answer(slot, vec![None; calls.len()]);
        }
    }

    pub(super) fn answer(&self, slot: Slot, answers: Vec<Option<Response>>) {
        (self.answered)(slot, answers);
    }
}
