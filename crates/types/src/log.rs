//! What one place of the log holds.

use crate::{request::Request, response::Response};
use borsh::{BorshDeserialize, BorshSerialize};
use std::sync::Arc;

/// An entry's public text, and the private exchange behind it where there is one.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct LogItem {
    /// The entry, six newline-ended lines or fewer.
    pub entry: String,
    /// The request and its response; absent for genesis, marks and rejoins.
    pub exchange: Option<Exchange>,
}

/// A request with the response that all replicas agreed on, defaults included.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The request as it was ordered.
    pub request: Arc<Request>,
    /// The response as it was executed.
    pub response: Response,
}
