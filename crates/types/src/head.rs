//! A tree head, its cosignatures, and the certificate that makes a slot stable.

use crate::{
    digest::{Digest, Signature},
    ids::{Epoch, Index, ReplicaId, Slot},
    time::UnixMillis,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The log's size and Merkle root after a slot.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// How many entries the log has.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Digest,
}

/// One replica's C2SP cosignature over a head.
///
/// The timestamp is not here: it is the head's agreed time in whole seconds, the same for all.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cosignature {
    /// Who signed.
    pub replica: ReplicaId,
    /// Ed25519 by its cosigner key, checked strictly.
    pub signature: Signature,
}

/// What the state root is the hash of: everything replicated that later decisions read, in short.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct StateRecord {
    /// The slot after which this is the state.
    pub slot: Slot,
    /// The index that the next entry will have: the log's size.
    pub next_index: Index,
    /// The policy's epoch.
    pub epoch: Epoch,
    /// The slot's agreed time.
    pub time: UnixMillis,
    /// The service's own root.
    pub service: Digest,
    /// The hash of the replay table's root and of all clients' signatures so far.
    pub replay: Digest,
    /// The hash of the engine's replicated state and of the policy.
    pub engine: Digest,
}

/// A certified head with what ties it to a slot: proves the slot to one who executed nothing.
///
/// Holds when a quorum cosigned the head, `last_entry` is the head's last leaf by `path`, and the
/// state digest in it is the hash of `record`.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct StableCertificate {
    /// The head.
    pub head: Head,
    /// A smallest quorum of cosignatures, by ascending replica.
    pub cosignatures: Vec<Cosignature>,
    /// The text of the entry at `head.size - 1`.
    pub last_entry: String,
    /// Its inclusion path, from the leaf up.
    pub path: Vec<Digest>,
    /// The state's short record.
    pub record: StateRecord,
}

impl StableCertificate {
    /// The slot that it makes stable.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.record.slot
    }
}
