//! The one rule by which a signature in a proof is checked.

use ed25519_dalek::VerifyingKey;
use quorate_types::{PublicKey, Signature};

/// Whoever can say whether a signature in a proof is right.
///
/// [`Strict`] in production; a keyed MAC in simulation.
pub trait SignatureCheck {
    /// Whether `signature` is `key`'s over `message`.
    fn check(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// Ed25519, singly and cofactorless: S below L, A and R canonical and not of small order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Strict;

impl SignatureCheck for Strict {
    fn check(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        SoundKey::parse(key).is_some_and(|key| key.check(message, signature))
    }
}

/// A canonical encoding of a point that is not of small order, parsed: for a key whose signatures
/// are checked again and again, since parsing it is a fifth of a check.
#[derive(Clone, Copy, Debug)]
pub struct SoundKey(VerifyingKey);

impl SoundKey {
    /// The key; `None` for one that is not sound.
    #[must_use]
    pub fn parse(key: &PublicKey) -> Option<Self> {
        let point = VerifyingKey::from_bytes(&key.0).ok()?;
        // Decompression accepts y beyond the field's prime; compressing again shows it.
        let canonical = point.to_edwards().compress().to_bytes() == key.0;
        (canonical && !point.is_weak()).then_some(Self(point))
    }

    /// Whether `signature` is this key's over `message`, by [`Strict`].
    #[must_use]
    pub fn check(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// Whether a key is a canonical encoding of a point that is not of small order.
#[must_use]
pub fn is_sound_key(key: &PublicKey) -> bool {
    SoundKey::parse(key).is_some()
}
