//! What signs a replica's votes: its Ed25519 vote key, or a keyed MAC in simulation.

use quorate_types::{ReplicaId, Signature};
use sha2::{Digest as _, Sha256};

/// Signs votes. Deterministic: the same bytes give the same signature.
#[derive(Clone)]
pub enum VoteSigner {
    /// Production.
    Ed25519(ed25519_zebra::SigningKey),
    /// Simulation and engine tests: as cheap as a hash, and forgeable by whoever holds the keyring.
    Mac {
        /// The shared keyring.
        keyring: MacKeyring,
        /// Whose key of it signs.
        replica: ReplicaId,
    },
}

impl VoteSigner {
    /// Signs the bytes of a statement.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        match self {
            Self::Ed25519(key) => Signature(key.sign(bytes).to_bytes()),
            Self::Mac { keyring, replica } => keyring.mac(*replica, bytes),
        }
    }
}

impl std::fmt::Debug for VoteSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "VoteSigner::Ed25519(..)",
            Self::Mac { .. } => "VoteSigner::Mac(..)",
        })
    }
}

/// One secret per replica, all derived from a seed: stands in for key pairs in simulation.
#[derive(Clone, Copy, Debug)]
pub struct MacKeyring {
    seed: u64,
}

impl MacKeyring {
    /// The keyring of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The MAC of `replica` over `bytes`.
    #[must_use]
    pub fn mac(&self, replica: ReplicaId, bytes: &[u8]) -> Signature {
        let mut hash = Sha256::new();
        hash.update(b"quorate-simulation-mac/1");
        hash.update(self.seed.to_be_bytes());
        hash.update(replica.0.to_be_bytes());
        hash.update(bytes);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&hash.finalize());
        Signature(signature)
    }
}
