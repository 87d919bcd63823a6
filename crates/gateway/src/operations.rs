//! The operations listener: `/livez`, `/readyz`, `/metrics`, `/status` and fault control.
//!
//! It listens on the loopback by default and has no authentication of its own. What changes
//! something is refused to web pages: a request that names an `Origin`, or a `Host` that is a
//! domain other than `localhost` (so that no page reaches it by rebinding a name).

use crate::backend::Status;
use quorate_types::Refusal;
use serde::{Deserialize, Serialize};
use std::future::Future;

/// The node, as its operations listener sees it. A clone is a handle to the same node.
pub trait OperationsBackend: Clone + Send + Sync + 'static {
    /// Nothing when a request sent to this replica would be ordered; else why it would not.
    ///
    /// # Errors
    /// The reason, as one sentence.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// All metrics in Prometheus' text form.
    fn metrics_text(&self) -> String;

    /// How the replica is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Injects a fault, or (`None`) clears it.
    ///
    /// # Errors
    /// A [`Refusal`] (403) outside of development clusters.
    fn set_fault(&self, fault: Option<Fault>) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// A fault to inject, in JSON `{"fault":"delay","ms":250}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Corrupt what the replica signs and what it serves.
    CorruptResponses,
    /// Send nothing to other replicas.
    Mute,
    /// Send everything late.
    Delay {
        /// By how many milliseconds.
        ms: u64,
    },
    /// Propose and vote differently to different replicas.
    Equivocate,
    /// Answer requests with old valid answers.
    Replay,
}
