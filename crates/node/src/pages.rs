//! Reads pages of the log for peers that lag, off the path of everything else.

use crate::{faults::Faults, link::Links};
use quorate_ledger::{FileDisk, LogReader};
use quorate_replica::{message::Page, sync};
use quorate_types::{Index, ReplicaId};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};
use tracing::debug;

/// Questions that wait, of all peers together. One who asks and is not heard asks again.
const WAITING_MAX: usize = 32;

/// Hands questions for pages to a thread of their own.
pub(crate) struct PageSender(SyncSender<Question>);

struct Question {
    to: ReplicaId,
    from: Index,
    size: u64,
}

/// What answers them.
pub(crate) struct Pages {
    pub(crate) reader: LogReader<FileDisk>,
    pub(crate) links: Links,
    pub(crate) faults: Arc<Faults>,
    /// Makes a message of a page.
    pub(crate) encode: fn(Page) -> Vec<u8>,
}

impl PageSender {
    /// Starts the thread.
    pub(crate) fn start(pages: Pages) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("pages".into()).spawn(move || pages.run(&receiver))?;
        Ok(Self(sender))
    }

    /// Has a page sent, unless too many questions wait.
    pub(crate) fn send(&self, to: ReplicaId, from: Index, size: u64) {
        if self.0.try_send(Question { to, from, size }).is_err() {
            debug!(%to, "a question for a page is passed over: others wait");
        }
    }
}

impl Pages {
    fn run(&self, questions: &Receiver<Question>) {
        while let Ok(Question { to, from, size }) = questions.recv() {
            let item = |index| self.reader.item(index).ok().flatten();
            let path = |index, size| self.reader.path(index, size).ok().flatten();
            match sync::page(from, size, item, path) {
                Some(page) => self.faults.send(&self.links, to, (self.encode)(page).into()),
                None => debug!(%to, %from, size, "a page was asked for that is not in the log"),
            }
        }
    }
}
