//! The clients' signatures, which no exchange covers (rule 12).
//!
//! An entry stands for what was asked and what was answered. Who signed the request, and when,
//! decides what is executed, and is not in it: a peer could take a signature off an exchange, or
//! put another there, and the entry would still fit. So the replicated state holds a running hash
//! over every signature in the log, and the state digest in each slot's entries stands for it. A
//! replica that stores a slot without executing it makes the slot's record again from what it was
//! sent, and stores nothing that does not lead to the certified digest.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_proof::{Entry, sha256, state_digest};
use quorate_types::{
    ClientSignature, Digest, Index, LogItem, StateRecord, Wire,
    bug::{Bug, seeded},
};

/// The running hash over all clients' signatures, in the order of the log.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signatures(Digest);

impl Signatures {
    /// Before the first signature.
    pub const NONE: Self = Self(Digest::ZERO);

    /// Adds the signature of the request that the entry at `index` answers.
    pub fn add(&mut self, index: Index, signature: &ClientSignature) {
        let (index, signature) = (index.0.to_be_bytes(), signature.to_wire());
        let parts = [b"quorate-signatures/1", &self.0.0[..], &index, &signature];
        self.0 = sha256(&parts.concat());
    }

    /// What a state's record says of these and of the replay table with that root.
    #[must_use]
    pub fn seal(&self, table: &Digest) -> Digest {
        sha256(&[b"quorate-replay/1", &table.0[..], &self.0.0].concat())
    }
}

/// What is known of the state after a slot that was opened instead of executed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Opened {
    pub(crate) signatures: Signatures,
    /// The root of the replay table.
    pub(crate) table: Digest,
}

/// Opens a slot, given all its items, whose entries are certified, and the signatures before it.
/// `None` if the signatures or the opening are not those of the slot as it was executed.
pub(crate) fn open(items: &[LogItem], before: Signatures) -> Option<Opened> {
    let (last, others) = items.split_last()?;
    let opening = last.opening.filter(|_| others.iter().all(|item| item.opening.is_none()))?;
    let mut signatures = before;
    for item in items {
        let signature = item.exchange.as_ref().and_then(|it| it.request.signature.as_ref());
        if let Some(signature) = signature {
            signatures.add(Entry::parse(&item.entry).ok()?.index, signature);
        }
    }
    let entry = Entry::parse(&last.entry).ok()?;
    let record = StateRecord {
        slot: opening.slot,
        next_index: entry.index.next(),
        epoch: entry.epoch,
        time: entry.time,
        service: opening.service,
        replay: signatures.seal(&opening.table),
        engine: opening.engine,
    };
    let certified = state_digest(&record) == entry.state || seeded(Bug::StoreUnopened);
    certified.then_some(Opened { signatures, table: opening.table })
}
