//! What ties a signature to one chain and one kind of statement.

use borsh::BorshSerialize;

/// What most statements take beside their kind and origin, at most: a vote takes 60 bytes.
const CONTENT_BYTES_USUAL: usize = 96;

/// The chain for which votes are signed: a vote of one chain means nothing in another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Domain {
    origin: String,
    authority: String,
}

impl Domain {
    /// The domain of a chain by its origin, `NAME/quorate/CHAIN/MODEL`.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        let authority = origin.split('/').next().unwrap_or_default().to_owned();
        Self { origin: origin.to_owned(), authority }
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// NAME: the public authority that all replicas serve.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The bytes that a replica signs to state `content` as a `kind` (`quorate-pbft-prepare/1`):
    /// the wire form of (kind, origin, content).
    #[must_use]
    pub fn statement(&self, kind: &str, content: &impl BorshSerialize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(kind.len() + self.origin.len() + CONTENT_BYTES_USUAL);
        // Appending to a Vec cannot fail; see `Wire::to_wire`.
        let _ = kind.serialize(&mut bytes);
        let _ = self.origin.serialize(&mut bytes);
        let _ = content.serialize(&mut bytes);
        bytes
    }
}
