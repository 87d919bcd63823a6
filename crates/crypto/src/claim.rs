//! What a message claims: every signature in it, nested ones too.

use crate::Domain;
use quorate_types::{PublicKey, ReplicaId, Signature, StableCertificate};
use std::sync::Arc;

/// One claim of a message, to be checked before the message is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// A replica signed `bytes` with its vote key.
    Vote {
        /// Whose vote key.
        signer: ReplicaId,
        /// The statement, from [`Domain::statement`].
        bytes: Vec<u8>,
        /// By ZIP-215.
        signature: Signature,
    },
    /// A client signed `bytes`.
    Client {
        /// The client's key.
        key: PublicKey,
        /// The RFC 9421 signature base.
        bytes: Vec<u8>,
        /// By ZIP-215.
        signature: Signature,
    },
    /// A quorum of replicas cosigned a head, which proves a slot stable.
    Stable(Arc<StableCertificate>),
    /// The message is broken in a way that only its parts show; it is refused as a whole.
    Broken(&'static str),
}

/// A message that can list its claims.
pub trait Claims {
    /// Who made the message, when it carries its maker's signature; else whoever sent it made it.
    ///
    /// Whoever is named must have a [`Claim::Vote`] among the claims: the verify stage refuses a
    /// message that borrows a name.
    fn signer(&self) -> Option<ReplicaId>;

    /// Adds every claim in it, nested ones too. A message without claims adds nothing.
    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>);
}
