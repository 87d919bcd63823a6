//! What only signatures and quorums keep out: votes of others in another view, certificates that
//! nobody signed, decisions of one, proposals of who does not lead.

use super::{Adversary, Deed};
use crate::process::Sent;
use quorate_protocol::pbft::{
    Body,
    message::{
        Ballot, Decided, Header, Message as Order, Phase, PrePrepare, Prepared, ViewChange, Vote,
        digest_of,
    },
};
use quorate_replica::Message;
use quorate_types::{Batch, Digest, ReplicaId, Signature, Slot, StableCertificate, View};
use std::sync::Arc;

impl Adversary {
    /// Notes where the others are.
    pub(super) fn follow(&mut self, message: &Sent) {
        let Message::Engine(Order { body: Body::Prepare(vote) | Body::Commit(vote), .. }) = message
        else {
            return;
        };
        let place = (vote.header.view, vote.header.slot);
        self.newest = self.newest.max(Some(place));
    }

    /// Messages of the order that no correct replica makes, unasked for.
    pub(super) fn pretended(&mut self) -> Vec<Sent> {
        let Some((view, slot)) = self.newest else { return Vec::new() };
        let mut bodies = Vec::new();
        let moved = self.relabelled();
        if !moved.is_empty() && self.tempted(Deed::Relabel, 700) {
            bodies.extend(moved);
        }
        if self.cluster.committee.primary(view) != self.me && self.tempted(Deed::Usurp, 700) {
            let slot = Slot(slot.0.saturating_add(self.rng.below(3)));
            let header = self.nothing(view, slot);
            let vote = self.signed(header, Phase::PrePrepare);
            bodies.push(Body::PrePrepare(PrePrepare { vote, command: None }));
        }
        if self.tempted(Deed::InventDecisions, 700) {
            let slot = Slot(slot.0.saturating_add(self.rng.below(3)));
            let header = self.nothing(view, slot);
            bodies.push(Body::Decided(self.decision(header)));
        }
        bodies.into_iter().map(|body| Message::Engine(Order { instance: 0, body })).collect()
    }

    /// The no-op at a place.
    fn nothing(&self, view: View, slot: Slot) -> Header {
        Header { view, slot, digest: digest_of::<Batch>(None) }
    }

    fn signed(&self, header: Header, phase: Phase) -> Vote {
        Vote::sign(header, phase, self.me, &self.key(), &self.cluster.domain, 0)
    }

    /// Others' votes, as if they had been cast in the view after.
    fn relabelled(&self) -> Vec<Body<Batch>> {
        let moved = |vote: &Vote| Vote {
            header: Header { view: vote.header.view.next(), ..vote.header },
            ..*vote
        };
        let relabel = |message: &Arc<Sent>| match &**message {
            Message::Engine(Order { body: Body::Prepare(vote), .. }) => {
                Some(Body::Prepare(moved(vote)))
            }
            Message::Engine(Order { body: Body::Commit(vote), .. }) => {
                Some(Body::Commit(moved(vote)))
            }
            _ => None,
        };
        self.heard.iter().filter_map(relabel).take(16).collect()
    }

    /// A decision that it made alone, or one that others are said to have made.
    fn decision(&mut self, header: Header) -> Decided<Batch> {
        let own =
            Ballot { signer: self.me, signature: self.signed(header, Phase::Commit).signature };
        let commits = match self.rng.permille(500) {
            true => vec![own],
            false => self.cluster.committee.replicas().map(unsigned).collect(),
        };
        Decided { header, command: None, commits }
    }

    /// Another command, under the digest of the one that was decided or asked for.
    pub(super) fn swapped(&mut self, mut body: Body<Batch>) -> Body<Batch> {
        let command = match &mut body {
            Body::Decided(Decided { command: Some(command), .. }) => command,
            Body::Payload(payload) => &mut payload.command,
            _ => return body,
        };
        if !command.items.is_empty() && self.tempted(Deed::InventDecisions, 500) {
            Arc::make_mut(command).items.clear();
        }
        body
    }

    /// In its report, certificates of the no-op that nobody voted for.
    pub(super) fn invent_prepared(&mut self, report: &mut ViewChange) {
        let committee = self.cluster.committee;
        let Some(view) = report.view.0.checked_sub(1).map(View) else { return };
        let (first, primary) = (report.stable.next(), committee.primary(view));
        for slot in (first.0..first.0 + self.rng.range(1, 4)).map(Slot) {
            let others = committee.replicas().filter(|&it| it != primary);
            let invented = Prepared {
                header: self.nothing(view, slot),
                proposal: unsigned(primary),
                prepares: others.take(committee.quorum() - 1).map(unsigned).collect(),
            };
            report.prepared.retain(|prepared| prepared.header.slot != slot);
            report.prepared.push(invented);
        }
        report.prepared.sort_by_key(|prepared| prepared.header.slot);
        report.signature = self.key().sign(&report.statement(&self.cluster.domain, 0));
    }

    /// A certificate that no quorum stands behind: of another root, of a later slot, or of one.
    pub(super) fn forged_certificate(
        &mut self,
        certificate: Arc<StableCertificate>,
    ) -> Arc<StableCertificate> {
        if !self.tempted(Deed::ForgeCertificates, 600) {
            return certificate;
        }
        let mut forged = StableCertificate::clone(&certificate);
        match self.rng.below(3) {
            0 => forged.head.root.0[0] ^= 0xff,
            1 => {
                let ahead = self.rng.range(1, 100);
                forged.record.slot = Slot(forged.record.slot.0 + ahead);
                forged.head.size += ahead;
            }
            _ => {
                forged.record.service = Digest([0xee; 32]);
                forged.cosignatures.truncate(1);
            }
        }
        Arc::new(forged)
    }
}

/// A vote that nobody signed.
fn unsigned(signer: ReplicaId) -> Ballot {
    Ballot { signer, signature: Signature([0x55; 64]) }
}
