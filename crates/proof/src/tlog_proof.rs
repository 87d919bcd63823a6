//! The C2SP tlog-proof text.

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    text::{base64_array, number, push_base64, push_number},
};
use quorate_types::{Digest, Index};
use thiserror::Error;

/// The most hashes in a path.
pub const PATH_MOST: usize = 63;

/// The longest proof text, in bytes.
pub const PROOF_BYTES_MOST: usize = 64 * 1024;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// An index, an inclusion path and a checkpoint, as parsed: nothing in it is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlogProof {
    /// The entry's place; below the checkpoint's size.
    pub index: Index,
    /// From the leaf's sibling up.
    pub path: Vec<Digest>,
    /// The signed head.
    pub checkpoint: Checkpoint,
}

/// Why a text is not a proof.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TlogProofError {
    /// More than [`PROOF_BYTES_MOST`] bytes.
    #[error("the proof has more than 64 KiB")]
    TooLong,
    /// Not the first line, the index, at most 63 hashes and an empty line, canonically spelt.
    #[error("not a tlog-proof of the form used here")]
    Malformed,
    /// What follows the path is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The index is not below the checkpoint's size.
    #[error("the proof's index is beyond its head")]
    Beyond,
}

impl TlogProofError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "proof-too-long",
            Self::Malformed => "proof-malformed",
            Self::Checkpoint(error) => error.code(),
            Self::Beyond => "index-beyond-head",
        }
    }
}

/// Writes a proof around a checkpoint's text.
#[must_use]
pub fn proof_text(index: Index, path: &[Digest], checkpoint: &str) -> String {
    let mut out = String::with_capacity(56 + 45 * path.len() + checkpoint.len());
    out.push_str(FIRST_LINE);
    out.push_str("\nindex ");
    push_number(&mut out, index.0);
    out.push('\n');
    for hash in path {
        push_base64(&mut out, &hash.0);
        out.push('\n');
    }
    out.push('\n');
    out.push_str(checkpoint);
    out
}

impl TlogProof {
    /// Reads a proof; what this accepts, [`Self::text`] gives back byte for byte.
    ///
    /// # Errors
    /// [`TlogProofError`]; an `extra` line is refused.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        if text.len() > PROOF_BYTES_MOST {
            return Err(TlogProofError::TooLong);
        }
        let (front, checkpoint) = text.split_once("\n\n").ok_or(TlogProofError::Malformed)?;
        let (index, path) = read_front(front).ok_or(TlogProofError::Malformed)?;
        let checkpoint = Checkpoint::parse(checkpoint)?;
        if index >= checkpoint.head.size {
            return Err(TlogProofError::Beyond);
        }
        Ok(Self { index: Index(index), path, checkpoint })
    }

    /// The proof's text.
    #[must_use]
    pub fn text(&self) -> String {
        proof_text(self.index, &self.path, &self.checkpoint.text())
    }
}

fn read_front(front: &str) -> Option<(u64, Vec<Digest>)> {
    let mut lines = front.split('\n');
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    let index = number(lines.next()?.strip_prefix("index ")?)?;
    let path = lines.map(|line| base64_array(line).map(Digest)).collect::<Option<Vec<_>>>()?;
    (path.len() <= PATH_MOST).then_some((index, path))
}
