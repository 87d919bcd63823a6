//! What the copies of a service answered: an upstream's answers are agreed on, not trusted to be
//! equal.

use crate::{
    digest::{Digest, Signature},
    ids::{Index, ReplicaId, Slot},
    request::Request,
    time::UnixMillis,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::sync::Arc;

/// A request that every replica has its own copy of the service execute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The entry that the answer will stand in.
    pub index: Index,
    /// The slot's agreed time.
    pub time: UnixMillis,
    /// The entry's seed, the same at all replicas.
    pub seed: Digest,
    /// The request, reduced to what the exchange covers.
    pub request: Arc<Request>,
}

/// One replica's signed word on what its copy answered to the calls of a slot. A vote: one a slot,
/// durable before it is sent, and repeated unchanged after a restart.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Whose copy.
    pub reporter: ReplicaId,
    /// Which slot.
    pub slot: Slot,
    /// A digest for each call, in order; `None` where the copy gave no answer in time.
    pub answers: Vec<Option<Digest>>,
    /// By the reporter's vote key, over the slot and the answers.
    pub signature: Signature,
}

/// The reports from which everybody computes what a slot's answers are. Ordered like a request; of
/// several for one slot the first counts.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The slot whose calls they are about.
    pub slot: Slot,
    /// Reports of a quorum at least, one a replica, in ascending order of reporters.
    pub reports: Vec<Report>,
}
