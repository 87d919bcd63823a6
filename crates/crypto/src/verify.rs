//! The verify stage.

use quorate_types::ReplicaId;

/// A message whose every claim was checked. Made by the verify stage alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified<M>(M);

impl<M> Verified<M> {
    /// The message.
    pub fn get(&self) -> &M {
        &self.0
    }

    /// The message, by value.
    pub fn into_inner(self) -> M {
        self.0
    }

    /// A part of a verified message is verified.
    pub fn map<N>(self, part: impl FnOnce(M) -> N) -> Verified<N> {
        Verified(part(self.0))
    }
}

/// A verified message, with who made it and who delivered it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery<M> {
    /// Who made it.
    pub signer: ReplicaId,
    /// Who delivered it.
    pub via: ReplicaId,
    /// The message.
    pub message: Verified<M>,
}
