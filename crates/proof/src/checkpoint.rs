//! The C2SP checkpoint: a head as a signed note.

use crate::{
    head::{head_text, parse_head},
    key::VerifierKey,
    policy::Policy,
    text::{base64_bytes, is_key_name, push_base64},
};
use quorate_types::{Cosignature, Head, ReplicaId, Signature, UnixMillis};
use thiserror::Error;

/// The most signature lines that a note may have.
pub const SIGNATURES_MOST: usize = 256;

/// A head with signature lines, as parsed: nothing in it is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// The first line.
    pub origin: String,
    /// Size and root.
    pub head: Head,
    /// The signature lines, in order.
    pub signatures: Vec<NoteSignature>,
}

/// A signature line: `— NAME base64(ID || BYTES)`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// What follows the id; of whatever form the key's type asks for.
    pub bytes: Vec<u8>,
}

/// The text is not a signed head of three lines.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a signed head: three lines, an empty one, and signature lines")]
pub struct CheckpointError;

impl CheckpointError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "checkpoint-malformed"
    }
}

impl Checkpoint {
    /// Reads a checkpoint; what this accepts, [`Self::text`] gives back byte for byte.
    ///
    /// # Errors
    /// [`CheckpointError`] for extension lines, no or more than [`SIGNATURES_MOST`] signature
    /// lines, and every spelling that is not canonical.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        Self::read(text).ok_or(CheckpointError)
    }

    fn read(text: &str) -> Option<Self> {
        let (head, lines) = text.split_once("\n\n")?;
        let head_end = head.len() + 1;
        let (origin, head) = parse_head(text.get(..head_end)?)?;
        let lines = lines.strip_suffix('\n')?.split('\n');
        if !is_key_name(origin) || lines.clone().count() > SIGNATURES_MOST {
            return None;
        }
        let signatures = lines.map(NoteSignature::read).collect::<Option<Vec<_>>>()?;
        Some(Self { origin: origin.to_owned(), head, signatures })
    }

    /// The signed note.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = self.head_text();
        out.push('\n');
        for signature in &self.signatures {
            push_line(&mut out, &signature.name, signature.id, &[&signature.bytes]);
        }
        out
    }

    /// The three lines that are signed.
    #[must_use]
    pub fn head_text(&self) -> String {
        head_text(&self.origin, &self.head)
    }
}

impl NoteSignature {
    fn read(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = base64_bytes(base64)?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        if bytes.is_empty() || !is_key_name(name) {
            return None;
        }
        Some(Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }

    /// Whether the line claims to be by this key.
    #[must_use]
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.id == key.id && self.name == key.name
    }
}

/// Writes the signed note of a head: the log signature, where given, then the cosignatures.
///
/// `time` is the head's agreed time, whose whole seconds the cosignatures hold. Signatures of
/// replicas outside the policy are left out.
#[must_use]
pub fn checkpoint_text(
    policy: &Policy,
    head: &Head,
    time: UnixMillis,
    log: Option<(ReplicaId, Signature)>,
    cosignatures: &[Cosignature],
) -> String {
    let mut out = head_text(policy.origin_text(), head);
    out.reserve(1 + 192 * (1 + cosignatures.len()));
    out.push('\n');
    if let Some((replica, signature)) = log
        && let Some(key) = policy.logs().get(replica.position())
    {
        push_line(&mut out, &key.name, key.id, &[&signature.0]);
    }
    let seconds = time.seconds().to_be_bytes();
    for cosignature in cosignatures {
        if let Some(key) = policy.witnesses().get(cosignature.replica.position()) {
            push_line(&mut out, &key.name, key.id, &[&seconds, &cosignature.signature.0]);
        }
    }
    out
}

fn push_line(out: &mut String, name: &str, id: [u8; 4], parts: &[&[u8]]) {
    let mut bytes = Vec::with_capacity(76);
    bytes.extend_from_slice(&id);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    out.push_str("\u{2014} ");
    out.push_str(name);
    out.push(' ');
    push_base64(out, &bytes);
    out.push('\n');
}
