//! Who signs, and how: keyed MACs, or the signatures of production.

use quorate_crypto::{
    CosignKeys, Cosigner, MacKeyring, Role, SecretKey, Verifier, VerifierError, VoteSigner,
};
use quorate_proof::{Origin, Policy, PolicyError, flat_policy, sha256};
use quorate_types::{Committee, PublicKey, ReplicaId, Signature};
use serde::{Deserialize, Serialize};

/// What stands in for signatures in a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// Keyed hashes: a seed costs a hundredth.
    #[default]
    Macs,
    /// Ed25519, as in production.
    Real,
}

/// The keys of everybody, drawn from a seed.
#[derive(Clone, Debug)]
pub struct Keys {
    signatures: Signatures,
    seed: u64,
    /// By replica, made once: a public key costs as much as a few hundred MACs.
    replicas: Vec<(VoteSigner, Cosigner)>,
}

impl Keys {
    /// The keys of a committee of `n`.
    #[must_use]
    pub fn new(signatures: Signatures, seed: u64, n: u16) -> Self {
        let keyring = MacKeyring::new(seed);
        let replica = |replica: ReplicaId| match signatures {
            Signatures::Macs => {
                (VoteSigner::Mac { keyring, replica }, Cosigner::mac(keyring, replica))
            }
            Signatures::Real => {
                let key = |role| secret(seed, role, replica.0.into());
                let heads = CosignKeys { cosign: key(Role::Cosign), log: key(Role::Log) };
                let vote = VoteSigner::Ed25519(Box::new(key(Role::Vote)));
                (vote, Cosigner::Ed25519(Box::new(heads)))
            }
        };
        Self { signatures, seed, replicas: (0..n).map(ReplicaId).map(replica).collect() }
    }

    /// What stands in for signatures.
    #[must_use]
    pub fn signatures(&self) -> Signatures {
        self.signatures
    }

    /// What signs a replica's votes.
    ///
    /// # Panics
    /// For a replica that is not of the committee.
    #[must_use]
    pub fn vote_signer(&self, replica: ReplicaId) -> VoteSigner {
        self.replicas[replica.position()].0.clone()
    }

    /// What signs a replica's heads.
    ///
    /// # Panics
    /// For a replica that is not of the committee.
    #[must_use]
    pub fn cosigner(&self, replica: ReplicaId) -> &Cosigner {
        &self.replicas[replica.position()].1
    }

    /// What signs for the client of that number.
    #[must_use]
    pub fn client(&self, number: u64) -> ClientSigner {
        match self.signatures {
            Signatures::Macs => {
                let keyring = MacKeyring::new(self.seed);
                ClientSigner::Mac(keyring, keyring.client_key(number))
            }
            Signatures::Real => ClientSigner::Key(secret(self.seed, Role::Client, number)),
        }
    }

    /// The flat policy of a committee with these keys: a quorum of all replicas.
    ///
    /// # Errors
    /// [`PolicyError`], which would be a defect of the keys.
    pub fn policy(&self, origin: &Origin, committee: Committee) -> Result<Policy, PolicyError> {
        let member = |(number, (_, cosigner)): (usize, &(VoteSigner, Cosigner))| {
            let (cosign, log) = match cosigner {
                Cosigner::Ed25519(keys) => (keys.cosign.public(), keys.log.public()),
                Cosigner::Mac { cosign, log, .. } => (*cosign, *log),
            };
            (format!("simulation.localhost/r{number}"), cosign, log)
        };
        let members: Vec<_> = self.replicas.iter().enumerate().map(member).collect();
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
        let key = |(vote, _): &(VoteSigner, Cosigner)| match vote {
            VoteSigner::Ed25519(key) => Some(key.public()),
            VoteSigner::Mac { .. } => None,
        };
        match self.replicas.iter().map(key).collect::<Option<Vec<PublicKey>>>() {
            Some(keys) => Verifier::new(committee, &keys, policy),
            None => Ok(Verifier::mac(committee, MacKeyring::new(self.seed), policy)),
        }
    }
}

/// What signs for a client.
#[derive(Clone, Debug)]
pub enum ClientSigner {
    /// A keyed hash.
    Mac(MacKeyring, PublicKey),
    /// Ed25519.
    Key(SecretKey),
}

impl ClientSigner {
    /// The client's public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Mac(_, key) => *key,
            Self::Key(secret) => secret.public(),
        }
    }

    /// Its signature.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        match self {
            Self::Mac(keyring, key) => keyring.mac_by(key, bytes),
            Self::Key(secret) => secret.sign(bytes),
        }
    }
}

fn secret(seed: u64, role: Role, number: u64) -> SecretKey {
    let name = format!("quorate-simulation/{seed}/{}/{number}", role.as_str());
    SecretKey::from_seed(role, &sha256(name.as_bytes()).0)
}
