//! C2SP verifier keys: `NAME+ID+KEY`.

use crate::text::{base64_bytes, is_key_name, push_base64};
use quorate_types::PublicKey;
use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// What a key signs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KeyKind {
    /// Type 0x01: a log's plain Ed25519 signature over a head.
    Log = 1,
    /// Type 0x04: a timestamped Ed25519 cosignature.
    Cosigner = 4,
}

/// A public key with its name and id, as notes refer to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifierKey {
    /// The name in signature lines.
    pub name: String,
    /// What it signs.
    pub kind: KeyKind,
    /// The first four bytes of SHA-256(name || newline || kind || key).
    pub id: [u8; 4],
    /// The Ed25519 key.
    pub key: PublicKey,
}

/// Why a text is not a verifier key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeyError {
    /// Not `NAME+ID+BASE64` in its one spelling.
    #[error("not a verifier key of the form NAME+ID+BASE64")]
    Malformed,
    /// Another type than 0x01 and 0x04.
    #[error("a verifier key of another type than 0x01 and 0x04")]
    Kind,
    /// The id is not that of name, type and key.
    #[error("the verifier key's id is wrong")]
    Id,
}

impl KeyError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "key-malformed",
            Self::Kind => "key-type",
            Self::Id => "key-id",
        }
    }
}

impl VerifierKey {
    /// A key under a name; the id follows.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: KeyKind, key: PublicKey) -> Self {
        let name = name.into();
        let hash = Sha256::new()
            .chain_update(&name)
            .chain_update([b'\n', kind as u8])
            .chain_update(key.0)
            .finalize();
        Self { name, kind, id: [hash[0], hash[1], hash[2], hash[3]], key }
    }

    /// Reads a verifier key; its `Display` gives the text back.
    ///
    /// # Errors
    /// [`KeyError`]; the id is computed again and compared. Weakness of the key is not looked at.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(KeyError::Malformed);
        let (name, id, material) = (part()?, part()?, part()?);
        if !is_key_name(name) {
            return Err(KeyError::Malformed);
        }
        // Another algorithm's key may have any length; its first byte says what it is.
        let material = base64_bytes(material).ok_or(KeyError::Malformed)?;
        let (kind, key) = match material.split_first() {
            Some((1, key)) => (KeyKind::Log, key),
            Some((4, key)) => (KeyKind::Cosigner, key),
            Some(_) => return Err(KeyError::Kind),
            None => return Err(KeyError::Malformed),
        };
        let key = PublicKey(key.try_into().map_err(|_| KeyError::Malformed)?);
        let key = Self::new(name, kind, key);
        if hex(&key.id) == *id.as_bytes() { Ok(key) } else { Err(KeyError::Id) }
    }
}

fn hex(id: &[u8; 4]) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 8];
    for (pair, byte) in out.chunks_exact_mut(2).zip(id) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = [0; 33];
        material[0] = self.kind as u8;
        material[1..].copy_from_slice(&self.key.0);
        let mut base64 = String::with_capacity(44);
        push_base64(&mut base64, &material);
        write!(f, "{}+", self.name)?;
        hex(&self.id).iter().try_for_each(|&digit| write!(f, "{}", char::from(digit)))?;
        write!(f, "+{base64}")
    }
}
