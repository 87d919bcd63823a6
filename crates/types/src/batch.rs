//! What fills one slot.

use crate::{
    digest::{Digest, Signature},
    head::StableCertificate,
    ids::{Index, ReplicaId, Slot, View},
    outcome::Outcome,
    request::Request,
    time::UnixMillis,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::sync::Arc;

/// The command of a slot: items in order, at one agreed time.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// The primary's clock when it proposed; execution uses max(previous + 1, this).
    pub time: UnixMillis,
    /// What to execute, in this order.
    pub items: Vec<Item>,
}

/// One thing to execute.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A client's request.
    Request(Asked),
    /// A replica that lost its disk asks to vote again (rule 28a).
    Rejoin(Rejoin),
    /// What the copies of the service answered to an earlier slot's calls.
    Outcome(Outcome),
}

/// A request, with how old it may be.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// The request.
    pub request: Arc<Request>,
    /// The size of the certified log in which its gateway did not find it answered. Nothing is
    /// executed that comes later than the table of requests reaches back to there (rule 15).
    pub since: Index,
}

/// A replica that lost its disk, with what a quorum of others said about where it may have voted.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Rejoin {
    /// Who rejoins.
    pub replica: ReplicaId,
    /// A random value drawn at this start; an ordered nonce is never accepted again.
    pub nonce: Digest,
    /// Reports of a quorum of others.
    pub reports: Vec<RejoinReport>,
}

/// One replica's signed answer to the nonce of a rejoining one.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct RejoinReport {
    /// Who reports.
    pub reporter: ReplicaId,
    /// The last slot that the reporter executed.
    pub executed: Slot,
    /// The highest view that it was in, or on its way to.
    pub view: View,
    /// The newest certificate that it holds, without which its word for a slot is worth nothing;
    /// absent at genesis.
    pub stable: Option<Arc<StableCertificate>>,
    /// The reporter's vote key over (nonce, replica, executed slot, view, stable slot).
    pub signature: Signature,
}

impl RejoinReport {
    /// The slot that its certificate proves stable.
    #[must_use]
    pub fn stable_slot(&self) -> Slot {
        self.stable.as_ref().map_or(Slot(0), |certificate| certificate.slot())
    }
}
