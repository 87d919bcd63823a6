//! Watches what correct replicas sign and of whom they complain, while a run goes on.

use crate::{
    cluster::Cluster,
    process::Sent,
    violation::{Check, Violation},
};
use quorate_crypto::Verifier;
use quorate_protocol::{
    Accusation,
    pbft::{
        Body, evidence_holds,
        message::{Phase, Vote},
    },
};
use quorate_replica::{Message, wrong_result_holds};
use quorate_types::{Digest, ReplicaId, Slot, View};
use std::collections::BTreeMap;

/// What correct replicas signed so far, over all their lives: a restart forgets nothing.
#[derive(Debug, Default)]
pub struct Witness {
    roots: BTreeMap<(ReplicaId, u64), Digest>,
    votes: BTreeMap<(ReplicaId, Phase, View, Slot), Digest>,
}

impl Witness {
    /// A correct replica sends a message.
    ///
    /// # Errors
    /// What it contradicts: two roots for one size of the log, or two votes for one place.
    pub fn sent(&mut self, from: ReplicaId, message: &Sent) -> Result<(), Violation> {
        match message {
            Message::Cosign(cosign) => {
                let (size, root) = (cosign.head.size, cosign.head.root);
                match *self.roots.entry((from, size)).or_insert(root) == root {
                    true => Ok(()),
                    false => Err(Check::Signatures
                        .broken(format!("{from} cosigned two roots for size {size}"))),
                }
            }
            Message::Engine(order) => match &order.body {
                Body::PrePrepare(proposal) => self.voted(from, Phase::PrePrepare, &proposal.vote),
                Body::Prepare(vote) => self.voted(from, Phase::Prepare, vote),
                Body::Commit(vote) => self.voted(from, Phase::Commit, vote),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn voted(&mut self, from: ReplicaId, phase: Phase, vote: &Vote) -> Result<(), Violation> {
        let (view, slot, digest) = (vote.header.view, vote.header.slot, vote.header.digest);
        if vote.signer != from {
            return Ok(());
        }
        match *self.votes.entry((from, phase, view, slot)).or_insert(digest) == digest {
            true => Ok(()),
            false => Err(Check::Signatures
                .broken(format!("{from} voted twice ({phase:?}, view {view}, slot {slot})"))),
        }
    }
}

/// Judges an accusation by a correct replica: only liars may be accused, and evidence must convince
/// a third party. Gives whether there was evidence.
///
/// # Errors
/// Why the accusation is wrong.
pub fn accused(
    cluster: &Cluster,
    verifier: &Verifier,
    accusation: &Accusation,
    lies: bool,
) -> Result<bool, Violation> {
    let Accusation { replica, charge, evidence } = accusation;
    if !lies {
        let reason = format!("accuses {replica} of {charge}, who did nothing wrong");
        return Err(Check::Evidence.broken(reason));
    }
    let holds = match (&**evidence, *charge) {
        ([], _) => return Ok(false),
        ([cosign, certificate], "wrong-result") => {
            wrong_result_holds(&cluster.policy, verifier, *replica, cosign, certificate)
        }
        _ => evidence_holds(accusation, &cluster.domain, |claims| verifier.check(claims)),
    };
    match holds {
        true => Ok(true),
        false => Err(Check::Evidence
            .broken(format!("accuses {replica} of {charge} with evidence that proves nothing"))),
    }
}
