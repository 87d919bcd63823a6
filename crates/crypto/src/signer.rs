//! What signs for a replica: its Ed25519 keys, or a keyed MAC in simulation.

use crate::{MacKeyring, SecretKey};
use quorate_types::{PublicKey, ReplicaId, Signature};
use std::fmt;

/// Signs votes. Deterministic: the same bytes give the same signature.
#[derive(Clone)]
pub enum VoteSigner {
    /// Production.
    Ed25519(Box<SecretKey>),
    /// Simulation and engine tests.
    Mac {
        /// The shared keyring.
        keyring: MacKeyring,
        /// Whose key of it signs.
        replica: ReplicaId,
    },
}

impl VoteSigner {
    /// Signs the bytes of a statement ([`crate::Domain::statement`]).
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        match self {
            Self::Ed25519(key) => key.sign(bytes),
            Self::Mac { keyring, replica } => keyring.mac(*replica, bytes),
        }
    }
}

impl fmt::Debug for VoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => write!(f, "VoteSigner::Ed25519({})", key.public()),
            Self::Mac { replica, .. } => write!(f, "VoteSigner::Mac({replica})"),
        }
    }
}

/// The two keys with which a replica signs heads, and nothing else.
#[derive(Clone, Debug)]
pub struct CosignKeys {
    /// C2SP cosignatures.
    pub cosign: SecretKey,
    /// C2SP log signatures.
    pub log: SecretKey,
}

/// Signs heads. Deterministic, so that signing a head again gives the same bytes.
#[derive(Clone)]
pub enum Cosigner {
    /// Production.
    Ed25519(Box<CosignKeys>),
    /// Simulation; see [`Cosigner::mac`].
    Mac {
        /// The shared keyring.
        keyring: MacKeyring,
        /// Whose cosignatures they are.
        cosign: PublicKey,
        /// Whose log signatures they are.
        log: PublicKey,
    },
}

impl Cosigner {
    /// The cosigner of a replica in simulation.
    #[must_use]
    pub fn mac(keyring: MacKeyring, replica: ReplicaId) -> Self {
        let (cosign, log) = (keyring.cosign_key(replica), keyring.log_key(replica));
        Self::Mac { keyring, cosign, log }
    }

    /// Cosigns the bytes of a cosignature message (timestamp and head).
    #[must_use]
    pub fn cosign(&self, message: &[u8]) -> Signature {
        match self {
            Self::Ed25519(keys) => keys.cosign.sign(message),
            Self::Mac { keyring, cosign, .. } => keyring.mac_by(cosign, message),
        }
    }

    /// Signs the text of a head as a log.
    #[must_use]
    pub fn log_sign(&self, message: &[u8]) -> Signature {
        match self {
            Self::Ed25519(keys) => keys.log.sign(message),
            Self::Mac { keyring, log, .. } => keyring.mac_by(log, message),
        }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(keys) => write!(f, "Cosigner::Ed25519({})", keys.cosign.public()),
            Self::Mac { cosign, .. } => write!(f, "Cosigner::Mac({cosign})"),
        }
    }
}
