//! What one place of the log holds.

use crate::{digest::Digest, ids::Slot, request::Request, response::Response};
use borsh::{BorshDeserialize, BorshSerialize};
use std::sync::Arc;

/// An entry's public text, and the private exchange behind it where there is one.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct LogItem {
    /// The entry, six newline-ended lines or fewer.
    pub entry: String,
    /// The request and its response; absent for genesis, marks and rejoins.
    pub exchange: Option<Exchange>,
    /// What opens the state digest of the entry's slot; with the last entry of a slot only, and
    /// never with genesis.
    pub opening: Option<Opening>,
}

/// A request with the response that all replicas agreed on, defaults included.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The request as it was ordered.
    pub request: Arc<Request>,
    /// The response as it was executed.
    pub response: Response,
}

/// The parts of a slot's [`crate::StateRecord`] that neither its entries nor the clients'
/// signatures in the log up to it lead to.
///
/// With it, whoever holds the log can make the record again without executing anything, and see by
/// the entry's state digest that all of it, signatures included, is what was executed.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opening {
    /// The slot.
    pub slot: Slot,
    /// The service's own root.
    pub service: Digest,
    /// The root of the table of requests.
    pub table: Digest,
    /// The hash of the engine's replicated state and of the policy.
    pub engine: Digest,
}
