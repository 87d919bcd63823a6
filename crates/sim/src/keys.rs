//! Who signs, and how: keyed MACs, or the signatures of production.

use quorate_crypto::{
    CosignKeys, Cosigner, MacKeyring, Role, SecretKey, Verifier, VerifierError, VoteSigner,
};
use quorate_proof::{Origin, Policy, PolicyError, flat_policy, sha256};
use quorate_types::{Committee, PublicKey, ReplicaId, Signature};

/// What stands in for signatures in a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Signatures {
    /// Keyed hashes: a seed costs a hundredth.
    #[default]
    Macs,
    /// Ed25519, as in production.
    Real,
}

/// The keys of everybody, drawn from a seed.
#[derive(Clone, Debug)]
pub enum Keys {
    /// One secret for all.
    Macs(MacKeyring),
    /// A key for each role of each replica and client.
    Real {
        /// From which they are drawn.
        seed: u64,
    },
}

impl Keys {
    /// The keys of a seed.
    #[must_use]
    pub fn new(signatures: Signatures, seed: u64) -> Self {
        match signatures {
            Signatures::Macs => Self::Macs(MacKeyring::new(seed)),
            Signatures::Real => Self::Real { seed },
        }
    }

    /// What signs a replica's votes.
    #[must_use]
    pub fn vote_signer(&self, replica: ReplicaId) -> VoteSigner {
        match self {
            Self::Macs(keyring) => VoteSigner::Mac { keyring: *keyring, replica },
            Self::Real { seed } => {
                VoteSigner::Ed25519(Box::new(secret(*seed, Role::Vote, replica.0.into())))
            }
        }
    }

    /// What signs a replica's heads.
    #[must_use]
    pub fn cosigner(&self, replica: ReplicaId) -> Cosigner {
        match self {
            Self::Macs(keyring) => Cosigner::mac(*keyring, replica),
            Self::Real { seed } => {
                let key = |role| secret(*seed, role, replica.0.into());
                let keys = CosignKeys { cosign: key(Role::Cosign), log: key(Role::Log) };
                Cosigner::Ed25519(Box::new(keys))
            }
        }
    }

    /// The key of the client of that number.
    #[must_use]
    pub fn client_key(&self, client: u64) -> PublicKey {
        match self {
            Self::Macs(keyring) => keyring.client_key(client),
            Self::Real { seed } => secret(*seed, Role::Client, client).public(),
        }
    }

    /// The signature of the client of that number.
    #[must_use]
    pub fn sign_as_client(&self, client: u64, bytes: &[u8]) -> Signature {
        match self {
            Self::Macs(keyring) => keyring.mac_by(&keyring.client_key(client), bytes),
            Self::Real { seed } => secret(*seed, Role::Client, client).sign(bytes),
        }
    }

    /// The flat policy of a committee with these keys: a quorum of all replicas.
    ///
    /// # Errors
    /// [`PolicyError`], which would be a defect of the keys.
    pub fn policy(&self, origin: &Origin, committee: Committee) -> Result<Policy, PolicyError> {
        let seed = match self {
            Self::Macs(keyring) => return keyring.policy(origin, committee),
            Self::Real { seed } => *seed,
        };
        let member = |replica: ReplicaId| {
            let key = |role| secret(seed, role, replica.0.into()).public();
            (format!("simulation.localhost/{replica}"), key(Role::Cosign), key(Role::Log))
        };
        let members: Vec<_> = committee.replicas().map(member).collect();
        Policy::parse(&flat_policy(origin, &members, committee.quorum()))
    }

    /// What decides whether a signature is right.
    ///
    /// # Errors
    /// [`VerifierError`], which would be a defect of the keys.
    pub fn verifier(
        &self,
        committee: Committee,
        policy: Policy,
    ) -> Result<Verifier, VerifierError> {
        match self {
            Self::Macs(keyring) => Ok(Verifier::mac(committee, *keyring, policy)),
            Self::Real { seed } => {
                let key = |replica: ReplicaId| secret(*seed, Role::Vote, replica.0.into()).public();
                let keys: Vec<PublicKey> = committee.replicas().map(key).collect();
                Verifier::new(committee, &keys, policy)
            }
        }
    }
}

fn secret(seed: u64, role: Role, number: u64) -> SecretKey {
    let name = format!("quorate-simulation/{seed}/{}/{number}", role.as_str());
    SecretKey::from_seed(role, &sha256(name.as_bytes()).0)
}
