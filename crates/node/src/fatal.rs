//! What cannot be masked ends the process (P8), with its reason.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tracing::error;

/// How long the orderly end may take before the process is ended where it stands.
const ORDERLY_END_MAX: Duration = Duration::from_secs(2);

/// Why the process has to end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Any thread's way to end the process. The first reason counts.
#[derive(Clone, Default)]
pub(crate) struct Fatal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    reason: Mutex<Option<Reason>>,
    ended: Notify,
}

impl Fatal {
    /// Ends the process with exit code 1.
    ///
    /// The caller must not go on to let anything out that rests on what failed; others may, until
    /// the process has ended.
    pub(crate) fn end(&self, code: &'static str, message: String) {
        error!(code, message, "the replica halts");
        let mut reason = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_some() {
            return;
        }
        *reason = Some(Reason { code, message });
        drop(reason);
        self.0.ended.notify_one();
    }

    /// Whether anybody ended it.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.0.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until somebody ends it; tells why.
    pub(crate) async fn ended(&self) -> Reason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.0.ended.notified().await;
        }
    }

    /// Ends the process even when its threads do not: one may hang in the very disk that failed.
    pub(crate) fn insist(code: i32) {
        std::thread::spawn(move || {
            std::thread::sleep(ORDERLY_END_MAX);
            std::process::exit(code);
        });
    }
}
