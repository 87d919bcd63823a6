//! Saves snapshots, off the request path, and writes the log back in between.
//!
//! Nobody waits for the log to be durable but a snapshot, which would then have megabytes of it
//! synced at once; and while the disk is at that, the write-ahead log's syncs wait, and with them
//! every request. So the log is synced in small portions all along.

use crate::{fatal::Fatal, outlet::LogWriter};
use quorate_ledger::{FileDisk, Snapshots};
use quorate_replica::Snapshot;
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};
use tracing::{info, warn};

/// Snapshots that wait to be saved. The next one is newer and as good, so few may wait.
const WAITING_MAX: usize = 1;

/// How long what was appended to the log is in memory alone at most, while no snapshot is saved.
const WRITE_BACK: Duration = Duration::from_millis(500);

/// Hands snapshots to a thread of their own.
pub(crate) struct SnapshotSaver(SyncSender<Arc<Snapshot>>);

impl SnapshotSaver {
    /// Starts the thread.
    pub(crate) fn start(
        snapshots: Snapshots<FileDisk>,
        log: Arc<LogWriter>,
        fatal: Fatal,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let saving = Saving { snapshots, log, fatal };
        let run = move || saving.run(&receiver);
        thread::Builder::new().name("snapshots".into()).spawn(run)?;
        Ok(Self(sender))
    }

    /// Saves it, unless others still wait.
    pub(crate) fn save(&self, snapshot: Arc<Snapshot>) {
        match self.0.try_send(snapshot) {
            Ok(()) => {}
            Err(TrySendError::Full(snapshot)) => {
                info!(slot = %snapshot.slot(), "a snapshot is passed over: others still wait");
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

struct Saving {
    snapshots: Snapshots<FileDisk>,
    log: Arc<LogWriter>,
    fatal: Fatal,
}

impl Saving {
    fn run(mut self, receiver: &Receiver<Arc<Snapshot>>) {
        loop {
            let done = match receiver.recv_timeout(WRITE_BACK) {
                Ok(snapshot) => self.save(&snapshot),
                Err(RecvTimeoutError::Timeout) => self.write_back(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(Ended) = done {
                return;
            }
        }
    }

    fn write_back(&self) -> Result<(), Ended> {
        match self.log.write_back() {
            Err(error) if error.is_fatal() => Err(self.end(error.code(), error.to_string())),
            // A snapshot will need it, and will say what is wrong.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn save(&mut self, snapshot: &Snapshot) -> Result<(), Ended> {
        let slot = snapshot.slot();
        // A snapshot says that the log below it is whole, so the log comes first.
        match self.log.sync() {
            Ok(()) => {}
            Err(error) if error.is_fatal() => return Err(self.end(error.code(), error.to_string())),
            // The one before still stands, and the write-ahead log is kept above it.
            Err(error) => {
                warn!(%slot, %error, code = error.code(), "no snapshot was saved");
                return Ok(());
            }
        }
        match self.snapshots.save(slot, &snapshot.manifest(), snapshot.chunks()) {
            Ok(()) => info!(%slot, "snapshot saved"),
            Err(error) if error.is_fatal() => return Err(self.end(error.code(), error.to_string())),
            Err(error) => warn!(%slot, %error, code = error.code(), "no snapshot was saved"),
        }
        Ok(())
    }

    fn end(&self, code: &'static str, reason: String) -> Ended {
        self.fatal.end(code, reason);
        Ended
    }
}

/// The process ends.
struct Ended;
