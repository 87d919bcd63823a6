//! The entry: the short public text that stands in the log.

use crate::{
    text::{digest_of_value, number, push_digest, push_number},
    tree::leaf_hash,
};
use quorate_types::{Digest, Epoch, Index, ReplicaId, UnixMillis};
use thiserror::Error;

/// One line of the log's history. Its text is the leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The place in the log.
    pub index: Index,
    /// The policy's epoch.
    pub epoch: Epoch,
    /// The agreed time.
    pub time: UnixMillis,
    /// The state root after the entry's slot.
    pub state: Digest,
    /// What the entry stands for.
    pub kind: EntryKind,
}

/// What an entry stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A request with its response, by their salted hash.
    Exchange(Digest),
    /// The policy of an epoch, by the hash of its text. Entry 0 is one.
    Policy(Digest),
    /// A replica that lost its disk votes again.
    Rejoin(ReplicaId),
    /// A slot that answered no request.
    Mark,
}

/// The text is not an entry.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not an entry of the log")]
pub struct EntryError;

impl EntryError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "entry-malformed"
    }
}

impl Entry {
    /// The text, each line newline-ended.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(224);
        out.push_str("quorate-");
        out.push_str(self.kind.word());
        out.push_str("/1\nindex ");
        push_number(&mut out, self.index.0);
        out.push_str("\nepoch ");
        push_number(&mut out, self.epoch.0);
        out.push_str("\ntime ");
        push_number(&mut out, self.time.0);
        out.push_str("\nstate ");
        push_digest(&mut out, &self.state);
        out.push('\n');
        match &self.kind {
            EntryKind::Exchange(digest) => {
                out.push_str("exchange ");
                push_digest(&mut out, digest);
                out.push('\n');
            }
            EntryKind::Policy(digest) => {
                out.push_str("policy ");
                push_digest(&mut out, digest);
                out.push('\n');
            }
            EntryKind::Rejoin(replica) => {
                out.push_str("replica r");
                push_number(&mut out, replica.0.into());
                out.push('\n');
            }
            EntryKind::Mark => {}
        }
        out
    }

    /// Reads an entry's text; what this accepts, [`Self::text`] gives back byte for byte.
    ///
    /// # Errors
    /// [`EntryError`] for any other text, numbers from 2^63 on included.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        Self::read(text).ok_or(EntryError)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let word = lines.next()?.strip_prefix("quorate-")?.strip_suffix("/1")?;
        let index = Index(number(lines.next()?.strip_prefix("index ")?)?);
        let epoch = Epoch(number(lines.next()?.strip_prefix("epoch ")?)?);
        let time = UnixMillis(number(lines.next()?.strip_prefix("time ")?)?);
        let state = digest_of_value(lines.next()?.strip_prefix("state ")?)?;
        let kind = match word {
            "exchange" => {
                EntryKind::Exchange(digest_of_value(lines.next()?.strip_prefix("exchange ")?)?)
            }
            "policy" => EntryKind::Policy(digest_of_value(lines.next()?.strip_prefix("policy ")?)?),
            "rejoin" => {
                let replica = number(lines.next()?.strip_prefix("replica r")?)?;
                EntryKind::Rejoin(ReplicaId(u16::try_from(replica).ok()?))
            }
            "mark" => EntryKind::Mark,
            _ => return None,
        };
        lines.next().is_none().then_some(Self { index, epoch, time, state, kind })
    }

    /// The leaf hash of the text.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        leaf_hash(self.text().as_bytes())
    }
}

impl EntryKind {
    /// The word in the first line, `quorate-WORD/1`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Policy(_) => "policy",
            Self::Rejoin(_) => "rejoin",
            Self::Mark => "mark",
        }
    }
}
