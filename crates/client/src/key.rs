//! Idempotency keys and the clients that sign.

use quorate_types::{PublicKey, Signature};
use std::{fmt, sync::Arc};

/// A new `Idempotency-Key` of 128 random bits, as the quoted string that stands in the field.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn idempotency_key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(quoted_key(u128::from_be_bytes(bytes)))
}

/// The key of these 128 bits, as a quoted string.
#[must_use]
pub fn quoted_key(bits: u128) -> String {
    format!("\"{bits:032x}\"")
}

type Sign = dyn Fn(&[u8]) -> Signature + Send + Sync;

/// An Ed25519 key that signs requests, wherever its secret lies.
#[derive(Clone)]
pub struct RequestSigner {
    key: PublicKey,
    sign: Arc<Sign>,
}

impl RequestSigner {
    /// Signs as `key` by `sign`, which makes RFC 8032 signatures.
    pub fn new(key: PublicKey, sign: impl Fn(&[u8]) -> Signature + Send + Sync + 'static) -> Self {
        Self { key, sign: Arc::new(sign) }
    }

    /// The public half, which names the client.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        (self.sign)(message)
    }
}

impl fmt::Debug for RequestSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestSigner({})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_quoted_string_of_128_bits_and_no_two_are_equal() {
        let (one, two) = (idempotency_key().unwrap(), idempotency_key().unwrap());
        assert_eq!(one.len(), 34);
        assert!(one.starts_with('"') && one.ends_with('"'));
        assert_ne!(one, two);
        assert_eq!(quoted_key(10), "\"0000000000000000000000000000000a\"");
    }
}
