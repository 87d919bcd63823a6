//! The binary form of everything that leaves a process: borsh, strict, without trailing bytes.
//!
//! Borsh is canonical: a value has one encoding, and a decoder accepts that one only. So a digest
//! of the bytes is a digest of the value, and a message that was changed on its way is either
//! refused here or another message.

use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;

/// Why bytes are not a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WireError {
    /// The bytes are more than the caller allows.
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many are allowed.
        most: usize,
    },
    /// The bytes end early, go on after the value, or are not canonical.
    Malformed(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, most } => write!(f, "{bytes} bytes where {most} are allowed"),
            Self::Malformed(reason) => write!(f, "malformed: {reason}"),
        }
    }
}

impl std::error::Error for WireError {}

/// What most values take at most.
const WIRE_BYTES_USUAL: usize = 256;

/// A value with a frozen binary form.
pub trait Wire: BorshSerialize + BorshDeserialize {
    /// The value's bytes.
    fn to_wire(&self) -> Vec<u8> {
        // Most messages and records fit; growing from nothing would allocate half a dozen times.
        let mut bytes = Vec::with_capacity(WIRE_BYTES_USUAL);
        // Writing into a Vec fails only for a collection of 2^32 elements, which no bound here
        // allows to exist; the bytes would then be refused by every decoder.
        let _ = self.serialize(&mut bytes);
        bytes
    }

    /// Reads a value that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are truncated, trailing, not canonical, or more than `most`.
    fn from_wire(bytes: &[u8], most: usize) -> Result<Self, WireError> {
        if bytes.len() > most {
            return Err(WireError::TooLong { bytes: bytes.len(), most });
        }
        Self::try_from_slice(bytes).map_err(|error| WireError::Malformed(error.to_string()))
    }
}

impl<T: BorshSerialize + BorshDeserialize> Wire for T {}
