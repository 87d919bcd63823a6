//! Keys, signatures, and the stage that verifies before anything is believed.
//!
//! | file | holds |
//! |---|---|
//! | [`keys`] | a replica's four secret keys and their files |
//! | [`lock`] | the lock that keeps one key from being used by two processes |
//! | [`signer`] | what signs votes, and what cosigns heads |
//! | [`mac`] | keyed hashes that stand in for keys in simulation |
//! | [`domain`] | what ties a vote to one chain and one kind of statement |
//! | [`claim`] | what a message claims: every signature in it |
//! | [`request_claims`] | what requests, batches and rejoins claim |
//! | [`verifier`] | what decides whether a claim is true |
//! | [`verify`] | the stage: decoded messages in, verified or refused ones out |
//!
//! Two rules for Ed25519, never mixed. What a proof holds (cosignatures, log signatures) is checked
//! strictly and singly, by `quorate_proof::Strict`. Votes and client signatures follow ZIP-215,
//! singly or batched with the same result, so that all replicas agree on every one of them.

mod batch;
pub mod claim;
pub mod domain;
pub mod keys;
pub mod lock;
pub mod mac;
mod recent;
pub mod request_claims;
pub mod signer;
pub mod verifier;
pub mod verify;

pub use claim::{Claim, Claims};
pub use domain::Domain;
pub use keys::{KeyError, PublicKeys, ReplicaKeys, Role, SecretKey};
pub use lock::KeyLock;
pub use mac::MacKeyring;
pub use recent::Recent;
pub use request_claims::{rejoin_claims, rejoin_statement, report_statement};
pub use signer::{CosignKeys, Cosigner, VoteSigner};
pub use verifier::{Fault, Verifier, VerifierError};
pub use verify::{Delivery, Forged, Inbound, Verified, verify_batch, verify_one};
