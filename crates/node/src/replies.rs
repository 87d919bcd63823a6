//! Who waits for which answer.

use quorate_replica::{Reply, Ticket};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::sync::oneshot;

/// An answer, with when it was let out.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) at: Instant,
}

/// Tickets and those who hold them: one entry for each request in progress, which the gateway
/// bounds.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: Mutex<BTreeMap<Ticket, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl Replies {
    /// A new ticket.
    pub(crate) fn wait(&self) -> (Ticket, oneshot::Receiver<Answer>) {
        let ticket = Ticket(self.next.fetch_add(1, Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(ticket, sender);
        (ticket, receiver)
    }

    /// Answers whoever holds the ticket, if anybody still does.
    pub(crate) fn answer(&self, ticket: Ticket, reply: Reply) {
        if let Some(sender) = self.lock().remove(&ticket) {
            let _ = sender.send(Answer { reply, at: Instant::now() });
        }
    }

    /// Gives a ticket up; whether it was still waiting.
    pub(crate) fn give_up(&self, ticket: Ticket) -> bool {
        self.lock().remove(&ticket).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ticket, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
