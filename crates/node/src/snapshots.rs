//! Saves snapshots, off the request path.

use crate::{fatal::Fatal, outlet::LogWriter};
use quorate_ledger::{FileDisk, Snapshots};
use quorate_replica::Snapshot;
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tracing::{info, warn};

/// Snapshots that wait to be saved. The next one is newer and as good, so few may wait.
const WAITING_MAX: usize = 1;

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
        while let Ok(snapshot) = receiver.recv() {
            let slot = snapshot.slot();
            // A snapshot says that the log below it is whole, so the log comes first.
            match self.log.sync() {
                Ok(()) => {}
                Err(error) if error.is_fatal() => {
                    self.fatal.end(error.code(), error.to_string());
                    return;
                }
                // The one before still stands, and the write-ahead log is kept above it.
                Err(error) => {
                    warn!(%slot, %error, code = error.code(), "no snapshot was saved");
                    continue;
                }
            }
            match self.snapshots.save(slot, &snapshot.manifest(), snapshot.chunks()) {
                Ok(()) => info!(%slot, "snapshot saved"),
                Err(error) if error.is_fatal() => {
                    self.fatal.end(error.code(), error.to_string());
                    return;
                }
                Err(error) => warn!(%slot, %error, code = error.code(), "no snapshot was saved"),
            }
        }
    }
}
