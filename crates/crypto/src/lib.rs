//! Keys, signatures, and the stage that verifies before anything is believed.

pub mod claim;
pub mod domain;
pub mod signer;
pub mod verify;

pub use claim::{Claim, Claims};
pub use domain::Domain;
pub use signer::{MacKeyring, VoteSigner};
pub use verify::Verified;
