//! What the gateway asks of the replica behind it: three questions, and the shapes of the answers.

use bytes::Bytes;
use quorate_types::{Index, Proven, Refusal, Request};
use serde::{Deserialize, Serialize};
use std::future::Future;

/// The replica, as the gateway sees it. A clone is a handle to the same replica.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Has the request ordered, executed and certified.
    ///
    /// May take for ever: the gateway gives up after `Limits::certify_timeout_ms` and drops the
    /// future, which must free what waited for the answer but never un-orders the request.
    ///
    /// # Errors
    /// A [`Refusal`] when the replica did not take the request: overloaded (503), not ready (503),
    /// a wrong client signature (401), the same key still running (409), a malformed request (400).
    fn submit(&self, request: Request) -> impl Future<Output = Result<Submitted, Refusal>> + Send;

    /// Reads something that the replica publishes, below `/.well-known/quorate/`.
    ///
    /// # Errors
    /// A [`Refusal`]: 404 for what is not there (yet), 403 for an exchange that the operator does
    /// not show, 503 while it cannot be read.
    fn fetch(&self, what: Fetch) -> impl Future<Output = Result<Fetched, Refusal>> + Send;

    /// How the replica is.
    fn status(&self) -> impl Future<Output = Status> + Send;
}

/// A certified answer and how long it took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submitted {
    /// The response with its proof.
    pub proven: Proven,
    /// For `Server-Timing`.
    pub timing: Timing,
}

/// Where the time of a request went, in microseconds. All zero for a retry answered from the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timing {
    /// From submission to commit.
    pub order_us: u64,
    /// Execution of the request's slot.
    pub exec_us: u64,
    /// From execution to a quorum of cosignatures.
    pub sign_us: u64,
}

/// Something that a replica publishes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fetch {
    /// The policy text, the trust root.
    Policy,
    /// The C2SP tlog-proof text of an entry, with a head that covers it.
    Proof(Index),
    /// Request, response and salt of an entry, for callers whom the operator allows.
    Exchange(Index),
    /// The newest certified head as a C2SP checkpoint.
    Checkpoint,
    /// A C2SP tile of hashes: `level` 0 to 63, tile number `n`, `width` 1 to 256 hashes, of which
    /// 256 make a full one.
    Tile {
        /// 0 holds leaf hashes, each level above one hash for 256 below.
        level: u8,
        /// Which tile of its level.
        n: u64,
        /// How many hashes of it; 256 for a full tile.
        width: u16,
    },
    /// A C2SP entry bundle: `width` entries (256: full) from entry `256 * n` on.
    Entries {
        /// Which bundle.
        n: u64,
        /// How many entries of it; 256 for a full bundle.
        width: u16,
    },
}

/// What was fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetched {
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// How a replica is: what `quorate status` prints and `/status` serves, by these names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// This replica's number.
    pub replica: u16,
    /// How many replicas there are.
    pub replicas: u16,
    /// The chain's origin, `NAME/quorate/CHAIN/MODEL`.
    pub origin: String,
    /// The ordering engine (`pbft`).
    pub engine: String,
    /// The service's name (`kv`).
    pub service: String,
    /// `bft` or `hybrid`.
    pub fault_model: String,
    /// Whether the policy's keys are for development.
    pub development: bool,
    /// Whether a request sent here would be ordered.
    pub ready: bool,
    /// Why not, when not.
    pub reason: Option<String>,
    /// The engine's view.
    pub view: u64,
    /// The replica that leads it.
    pub primary: u16,
    /// The last slot that this replica executed.
    pub height: u64,
    /// How many slots it knows to be certified elsewhere above its own height.
    pub lag: u64,
    /// The other replicas, in order.
    pub peers: Vec<Peer>,
    /// The newest certified head.
    pub last_head: Option<LastHead>,
    /// Replicas that signed something wrong, with the evidence, and those whose copies of the
    /// service answered otherwise than was agreed on, or not at all.
    pub divergent: Vec<Divergent>,
    /// This replica's copy of the service, where that runs outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyStatus>,
    /// The rules about answers that the policy holds; none where it says nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerStatus>,
    /// The version of the software.
    pub version: String,
    /// This replica's operations listener, as a URL.
    pub operations: Option<String>,
}

/// Another replica, as this one sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Peer {
    /// Its number.
    pub id: u16,
    /// Whether a link to it is up.
    pub connected: bool,
    /// Its operations listener as a URL, where known.
    pub operations: Option<String>,
}

/// The newest certified head.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LastHead {
    /// How many entries the log has.
    pub size: u64,
    /// The RFC 6962 root, in base64.
    pub root: String,
    /// The agreed time, in Unix milliseconds.
    pub time: u64,
}

/// A replica's copy of a service that runs outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CopyStatus {
    /// Where it is.
    pub url: String,
    /// `in-step`, `restoring` or `fenced`.
    pub standing: String,
    /// The place of the log before which it executed every request; none while it is fenced.
    pub next: Option<u64>,
}

/// Rules about a service's answers, which all members share, by the names that they have in a
/// replica's configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnswerStatus {
    /// Whether JSON contents are put into one spelling.
    pub canonical_json: bool,
    /// Response fields that are dropped.
    pub volatile_fields: Vec<String>,
    /// Further request fields that are covered.
    pub request_fields: Vec<String>,
    /// Further response fields that are covered.
    pub response_fields: Vec<String>,
}

/// A replica that provably diverged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Divergent {
    /// Its number.
    pub id: u16,
    /// What convinces a third party, or names where it lies.
    pub evidence: serde_json::Value,
}
