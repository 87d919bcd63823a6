//! Keyed hashes that stand in for key pairs in simulation.

use ed25519_dalek::SigningKey;
use quorate_proof::{Origin, Policy, PolicyError, flat_policy};
use quorate_types::{Committee, PublicKey, ReplicaId, Signature};
use sha2::{Digest as _, Sha256};

/// One secret for everybody: as cheap as a hash, and forgeable by whoever holds it.
///
/// A vote's MAC is keyed by its replica, any other by its public key, so that a MAC of one does not
/// pass for that of another. The public keys are points of the curve, so that a policy takes them.
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

    /// The MAC of `replica`'s vote over `bytes`.
    #[must_use]
    pub fn mac(&self, replica: ReplicaId, bytes: &[u8]) -> Signature {
        self.tag(b"quorate-simulation-mac/1", &replica.0.to_be_bytes(), bytes)
    }

    /// The MAC of the holder of `key` (a cosigner, a log, a client) over `bytes`.
    #[must_use]
    pub fn mac_by(&self, key: &PublicKey, bytes: &[u8]) -> Signature {
        self.tag(b"quorate-simulation-mac-by-key/1", &key.0, bytes)
    }

    /// The public key under which a replica cosigns.
    #[must_use]
    pub fn cosign_key(&self, replica: ReplicaId) -> PublicKey {
        self.public(b"cosign", replica.0.into())
    }

    /// The public key under which a replica signs as a log.
    #[must_use]
    pub fn log_key(&self, replica: ReplicaId) -> PublicKey {
        self.public(b"log", replica.0.into())
    }

    /// The public key of the client of that number.
    #[must_use]
    pub fn client_key(&self, client: u64) -> PublicKey {
        self.public(b"client", client)
    }

    /// The flat policy of a committee that signs by this keyring: a quorum of all replicas.
    ///
    /// # Errors
    /// [`PolicyError`], which would be a defect of the keyring.
    pub fn policy(&self, origin: &Origin, committee: Committee) -> Result<Policy, PolicyError> {
        let member = |replica| {
            let name = format!("simulation.localhost/{replica}");
            (name, self.cosign_key(replica), self.log_key(replica))
        };
        let members: Vec<_> = committee.replicas().map(member).collect();
        Policy::parse(&flat_policy(origin, &members, committee.quorum()))
    }

    fn public(&self, role: &[u8], number: u64) -> PublicKey {
        let mut hash = Sha256::new();
        hash.update(b"quorate-simulation-key/1");
        hash.update(self.seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        hash.update(role);
        PublicKey(SigningKey::from_bytes(&hash.finalize().into()).verifying_key().to_bytes())
    }

    fn tag(&self, kind: &[u8], who: &[u8], bytes: &[u8]) -> Signature {
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update(self.seed.to_be_bytes());
        hash.update(who);
        hash.update(bytes);
        let mut signature = [0; Signature::SIZE];
        signature[..32].copy_from_slice(&hash.finalize());
        Signature(signature)
    }
}
