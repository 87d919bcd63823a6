//! The two kinds of answer: one that a quorum stands behind, and one that nobody does.

use crate::{
    digest::{Digest, Salt},
    ids::{Epoch, Index},
    response::Response,
    time::UnixMillis,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// What the headers of an answer say about its entry.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryFacts {
    /// The place in the log.
    pub index: Index,
    /// The policy's epoch.
    pub epoch: Epoch,
    /// The agreed time.
    pub time: UnixMillis,
    /// The state root after the entry's slot.
    pub state: Digest,
    /// The salt of the exchange.
    pub salt: Salt,
}

/// A response with its proof, ready to be written as HTTP.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Proven {
    /// The response, defaults and all covered fields included.
    pub response: Response,
    /// The entry's facts.
    pub facts: EntryFacts,
    /// The whole C2SP tlog-proof text.
    pub proof: String,
}

/// An answer that a gateway gives by itself: not ordered, not proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The status: 400, 401, 408, 409, 413, 414, 415, 421, 429, 431, 501, 503 or 504.
    pub status: u16,
    /// A stable code that `quorate explain` knows.
    pub code: &'static str,
    /// One sentence for a person.
    pub detail: String,
    /// Seconds after which another try makes sense, for 429 and 503.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal without `Retry-After`.
    #[must_use]
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// Says when another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}
