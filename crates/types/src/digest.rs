//! Fixed-size byte strings: digests, salts, signatures, public keys.

use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;

macro_rules! octets {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(
            BorshDeserialize, BorshSerialize, Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd,
        )]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// How many bytes it has.
            pub const SIZE: usize = $size;
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}..)"), a, b, c, d)
            }
        }
    };
}

octets!(
    /// A SHA-256 hash.
    Digest, 32);
octets!(
    /// Sixteen random bytes that keep an exchange from being guessed from its entry.
    Salt, 16);
octets!(
    /// An Ed25519 public key.
    PublicKey, 32);
octets!(
    /// An Ed25519 signature, or a MAC of the same size in simulation.
    Signature, 64);

impl Digest {
    /// All zero bytes: the digest of nothing, never of a value.
    pub const ZERO: Self = Self([0; 32]);
}
