//! Watches what correct replicas sign and of whom they complain, while a run goes on.

use crate::{
    cluster::Cluster,
    keys::Signatures,
    process::Sent,
    violation::{Check, Violation},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_crypto::{Claim, Domain, Verifier};
use quorate_proof::{Policy, Strict};
use quorate_protocol::{
    Accusation,
    pbft::{
        Body, evidence_holds,
        message::{Phase, Vote},
    },
};
use quorate_replica::{Message, double_report_holds, wrong_result_holds};
use quorate_types::{Digest, ReplicaId, Report, Slot, View};
use std::collections::BTreeMap;

/// What correct replicas signed so far, over all their lives: a restart forgets nothing.
#[derive(Debug, Default)]
pub struct Witness {
    roots: BTreeMap<(ReplicaId, u64), Digest>,
    votes: BTreeMap<(ReplicaId, Phase, View, Slot), Digest>,
    reports: BTreeMap<(ReplicaId, Slot), Vec<Option<Digest>>>,
}

impl Witness {
    /// A correct replica sends a message.
    ///
    /// # Errors
    /// What it contradicts: two roots for one size of the log, two votes for one place, or two
    /// reports on one slot.
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
            Message::Report(report) => self.reported(from, report),
            _ => Ok(()),
        }
    }

    fn reported(&mut self, from: ReplicaId, report: &Report) -> Result<(), Violation> {
        let (place, answers) = ((from, report.slot), &report.answers);
        match self.reports.entry(place).or_insert_with(|| answers.clone()) == answers {
            true => Ok(()),
            false => {
                let slot = report.slot;
                Err(Check::Signatures.broken(format!("{from} reported twice on slot {slot}")))
            }
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
    if evidence.is_empty() {
        return Ok(false);
    }
    match convinces(cluster, verifier, accusation) {
        Some(true) => Ok(true),
        _ => Err(Check::Evidence
            .broken(format!("accuses {replica} of {charge} with evidence that proves nothing"))),
    }
}

/// What `quorate verify --evidence` makes of the file in which a node keeps an accusation: it knows
/// the text of the policy, and for votes the replicas' vote keys; it takes two messages in base64,
/// and four charges. `None` where it cannot read them.
fn convinces(cluster: &Cluster, verifier: &Verifier, accusation: &Accusation) -> Option<bool> {
    let policy = Policy::parse(cluster.policy.text()).ok()?;
    let in_file = accusation.evidence.iter().map(|message| STANDARD.encode(message));
    let messages: Result<Vec<_>, _> = in_file.map(|text| STANDARD.decode(text)).collect();
    let [first, second] = messages.ok()?.try_into().ok()?;
    let accused = accusation.replica;
    match (accusation.charge, cluster.keys.signatures()) {
        ("wrong-result", Signatures::Macs) => {
            Some(wrong_result_holds(&policy, verifier, accused, &first, &second))
        }
        ("wrong-result", Signatures::Real) => {
            Some(wrong_result_holds(&policy, &Strict, accused, &first, &second))
        }
        ("equivocation" | "double-vote", _) => {
            let verifier = cluster.keys.verifier(cluster.committee, policy.clone()).ok()?;
            let domain = Domain::new(policy.origin_text());
            let read = Accusation { evidence: vec![first, second], ..accusation.clone() };
            Some(evidence_holds(&read, &domain, |claims| verifier.check(claims)))
        }
        ("double-report", _) => {
            let verifier = cluster.keys.verifier(cluster.committee, policy.clone()).ok()?;
            let domain = Domain::new(policy.origin_text());
            let check = |claims: &[Claim]| verifier.check(claims);
            Some(double_report_holds(&domain, accused, (&first, &second), check))
        }
        _ => None,
    }
}
