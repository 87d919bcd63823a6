//! A client's signing key.

use crate::failure::{Exit, Failure};
use quorate_client::RequestSigner;
use quorate_crypto::{KeyError, Role, SecretKey};
use std::path::Path;

/// The signer of a key file made by `quorate keygen`.
pub(crate) fn request_signer(path: &Path) -> Result<RequestSigner, Failure> {
    let key = SecretKey::read(path, Role::Client).map_err(key_failure)?;
    Ok(signer_of(key))
}

/// The signer of a key.
pub(crate) fn signer_of(key: SecretKey) -> RequestSigner {
    RequestSigner::new(key.public(), move |message| key.sign(message))
}

/// A key file that cannot be used: exit 2, or 1 where the operating system is to blame.
pub(crate) fn key_failure(error: KeyError) -> Failure {
    let exit = match error {
        KeyError::Io { .. } | KeyError::Randomness(_) | KeyError::Lock { .. } => Exit::Failed,
        _ => Exit::Usage,
    };
    let failure = Failure { exit, ..Failure::failed(error.code(), &error) };
    match error {
        KeyError::Missing { role: Role::Client, .. } => {
            failure.hint("`quorate keygen FILE` makes one")
        }
        _ => failure,
    }
}
