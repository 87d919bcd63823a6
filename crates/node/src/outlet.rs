//! What the replica's effects do to the world: the log of entries, the links, the gateway.

use crate::{
    barrier::{self, BarrierFigures},
    fatal::Fatal,
    faults::Faults,
    host::Host,
    link::Links,
    pages::PageSender,
    patience::patiently,
    replies::Replies,
    snapshots::SnapshotSaver,
};
use bytes::Bytes;
use quorate_ledger::{FileDisk, Log, LogError};
use quorate_protocol::To;
use quorate_replica::{Reply, Snapshot, Ticket};
use quorate_types::{Call, Index, LogItem, ReplicaId, Slot, StableCertificate};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// One thing that leaves the replica.
#[derive(Debug)]
pub(crate) enum Action {
    /// Append to the log of entries.
    Append { from: Index, items: Arc<Vec<LogItem>> },
    /// Cut the log of entries.
    Truncate { size: u64 },
    /// Keep a certificate.
    Certify(Arc<StableCertificate>),
    /// Save a snapshot.
    Snapshot(Arc<Snapshot>),
    /// Send a message in its wire form.
    Send { to: To, bytes: Bytes },
    /// Read a page of the log, and send it.
    SendPage { to: ReplicaId, from: Index, size: u64 },
    /// Have the own copy of the service execute a slot's calls.
    Call { slot: Slot, calls: Arc<Vec<Call>> },
    /// Tell whether the own copy kept up in a slot.
    Agreed { slot: Slot, kept_up: bool },
    /// Answer a gateway.
    Reply { ticket: Ticket, reply: Reply },
    /// End the process.
    Halt(String),
}

/// See the module.
pub(crate) struct Outlet {
    me: ReplicaId,
    n: u16,
    log: Arc<LogWriter>,
    links: Links,
    faults: Arc<Faults>,
    replies: Arc<Replies>,
    snapshots: SnapshotSaver,
    fatal: Fatal,
    pages: PageSender,
    host: Option<Host>,
    figures: Arc<BarrierFigures>,
}

/// The log of entries, with the rule that one sync runs at a time.
pub(crate) struct LogWriter {
    log: Mutex<Log<FileDisk>>,
    syncing: Mutex<()>,
}

impl LogWriter {
    pub(crate) fn new(log: Log<FileDisk>) -> Self {
        Self { log: Mutex::new(log), syncing: Mutex::new(()) }
    }

    /// Makes everything appended before the call durable, while others go on appending.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let point = self.lock().sync_point();
        point.sync()
    }

    /// [`Self::sync`], where there is anything to make durable.
    pub(crate) fn write_back(&self) -> Result<(), LogError> {
        let is_synced = self.lock().is_synced();
        if is_synced { Ok(()) } else { self.sync() }
    }

    /// Cuts the log, while nobody syncs it.
    fn truncate(&self, size: u64) -> Result<(), LogError> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock().truncate_to(size)
    }

    fn lock(&self) -> MutexGuard<'_, Log<FileDisk>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an outlet is made of.
pub(crate) struct Parts {
    pub(crate) me: ReplicaId,
    pub(crate) n: u16,
    pub(crate) log: Arc<LogWriter>,
    pub(crate) links: Links,
    pub(crate) faults: Arc<Faults>,
    pub(crate) replies: Arc<Replies>,
    pub(crate) snapshots: SnapshotSaver,
    pub(crate) fatal: Fatal,
    pub(crate) pages: PageSender,
    pub(crate) host: Option<Host>,
    pub(crate) figures: Arc<BarrierFigures>,
}

impl Outlet {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { me, n, log, links, faults, replies, snapshots, fatal, pages, host, figures } =
            parts;
        Self { me, n, log, links, faults, replies, snapshots, fatal, pages, host, figures }
    }

    fn append(&self, from: Index, items: &[LogItem]) {
        let mut log = self.log.lock();
        if log.size() != from.0 {
            let size = log.size();
            drop(log);
            let reason = format!("the log has {size} entries, and is to go on at {from}");
            self.fatal.end("log-gap", reason);
            return;
        }
        if let Err(error) = patiently(&self.figures.stuck, || log.append(items)) {
            self.fatal.end(error.code(), error.to_string());
        }
        drop(log);
        if let Some(host) = &self.host {
            host.grown();
        }
    }

    fn send(&self, to: &To, bytes: &Bytes) {
        let one = |replica| {
            if replica != self.me {
                self.faults.send(&self.links, replica, bytes.clone());
            }
        };
        match to {
            To::All => (0..self.n).map(ReplicaId).for_each(one),
            To::Group(replicas) => replicas.iter().copied().for_each(one),
            To::One(replica) => one(*replica),
        }
    }
}

impl barrier::Outlet<Action> for Outlet {
    fn release(&self, action: Action) {
        // What follows may rest on what failed.
        if self.fatal.reason().is_some() {
            return;
        }
        match action {
            Action::Append { from, items } => self.append(from, &items),
            Action::Truncate { size } => {
                if let Err(error) = self.log.truncate(size) {
                    self.fatal.end(error.code(), error.to_string());
                }
            }
            Action::Certify(certificate) => {
                if let Err(error) = self.log.lock().put_certificate(&certificate) {
                    // The next certificate covers this one's entries too.
                    warn!(%error, code = error.code(), "a certificate was not stored");
                    if error.is_fatal() {
                        self.fatal.end(error.code(), error.to_string());
                    }
                }
            }
            Action::Snapshot(snapshot) => self.snapshots.save(snapshot),
            Action::Send { to, bytes } => self.send(&to, &bytes),
            Action::SendPage { to, from, size } => self.pages.send(to, from, size),
            Action::Call { slot, calls } => {
                // The replica calls nobody without a copy.
                if let Some(host) = &self.host {
                    host.call(slot, calls);
                }
            }
            Action::Agreed { slot, kept_up } => {
                if let Some(host) = &self.host {
                    host.agreed(slot, kept_up);
                }
            }
            Action::Reply { ticket, reply } => self.replies.answer(ticket, reply),
            Action::Halt(reason) => self.fatal.end("halted", reason),
        }
    }

    fn sync_log(&self) -> bool {
        let synced = patiently(&self.figures.stuck, || self.log.sync());
        if let Err(error) = &synced {
            self.fatal.end(error.code(), error.to_string());
        }
        synced.is_ok()
    }

    fn halt(&self, code: &'static str, reason: String) {
        self.fatal.end(code, reason);
    }
}
