//! Identifiers. Each is a newtype, so that a view cannot stand where a slot is meant.

use borsh::{BorshDeserialize, BorshSerialize};
use std::{fmt, io};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq,
            PartialOrd,
        )]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this, or this one at the end of the range.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A replica of a committee, by its position; shown as `r0`, `r1`, ...
    ReplicaId, u16, "r");
number!(
    /// A term of one primary. View `v` is led by replica `v mod n`.
    View, u64, "");
number!(
    /// A position in the order of batches. Slot 0 is genesis; the first batch fills slot 1.
    Slot, u64, "");
number!(
    /// A place in the log of entries, from 0 (genesis). Below 2^63.
    Index, u64, "");
number!(
    /// A term of one policy. Always 0 while membership is fixed.
    Epoch, u64, "");

impl ReplicaId {
    /// The position as an index into per-replica tables.
    #[must_use]
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// The sixteen lower-case hex digits that name one chain for its whole life.
#[derive(BorshSerialize, Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Chain([u8; 16]);

/// The text is not sixteen lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainError;

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chain is named by sixteen lower-case hex digits")
    }
}

impl std::error::Error for ChainError {}

impl BorshDeserialize for Chain {
    /// Sixteen bytes that are what [`Chain::parse`] takes.
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let digits = <[u8; 16]>::deserialize_reader(reader)?;
        Self::of_digits(digits).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Chain {
    /// Names a chain by the first eight bytes of a digest.
    #[must_use]
    pub fn of(digest: &crate::Digest) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(digits)
    }

    /// Reads sixteen lower-case hex digits.
    ///
    /// # Errors
    /// [`ChainError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        Self::of_digits(text.as_bytes().try_into().map_err(|_| ChainError)?)
    }

    fn of_digits(digits: [u8; 16]) -> Result<Self, ChainError> {
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.iter().all(hex) { Ok(Self(digits)) } else { Err(ChainError) }
    }

    /// The sixteen digits as ASCII bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The sixteen digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("????????????????")
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_sixteen_lower_case_hex_digits() {
        assert_eq!(
            Chain::parse("5f2c9a17d0e84b63").map(|c| c.to_string()).as_deref(),
            Ok("5f2c9a17d0e84b63")
        );
        for wrong in
            ["", "5f2c9a17d0e84b6", "5F2c9a17d0e84b63", "5f2c9a17d0e84b63 ", "gggggggggggggggg"]
        {
            assert_eq!(Chain::parse(wrong), Err(ChainError), "{wrong}");
        }
    }

    #[test]
    fn a_chain_named_by_a_digest_parses_back() {
        let chain = Chain::of(&crate::Digest([0xa5; 32]));
        assert_eq!(Chain::parse(chain.as_str()), Ok(chain));
    }
}
