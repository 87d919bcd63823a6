//! What PBFT replicas say to each other, what of it is signed, and what they persist.

use super::Command;
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Claim, Claims, Domain, VoteSigner};
use quorate_types::{
    Committee, Digest, ReplicaId, Signature, Slot, StableCertificate, Tally, View, Wire,
    bug::{Bug, seeded},
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, sync::Arc};

/// A message of one instance of the protocol.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Message<C: Clone> {
    /// Which instance: part of everything signed, so that one lane's vote is void in another.
    pub instance: u32,
    /// What it says.
    pub body: Body<C>,
}

/// The kinds of message; the module's table says when each is sent.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Body<C: Clone> {
    /// The primary proposes.
    PrePrepare(PrePrepare<C>),
    /// A backup accepts the proposal.
    Prepare(Vote),
    /// A replica holds a prepared certificate.
    Commit(Vote),
    /// A decision with its proof.
    Decided(Decided<C>),
    /// A replica left for a view.
    ViewChange(ViewChange),
    /// The primary of a view opens it.
    NewView(NewView),
    /// Where a replica stands, so that others send what it lacks.
    Status(Status),
    /// Asks for a payload.
    Fetch(Fetch),
    /// A payload.
    Payload(Payload<C>),
    /// The newest stable slot, for a replica that lags.
    Stable(Arc<StableCertificate>),
}

/// The three votes on a slot.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// The primary's proposal, which is its vote for it.
    PrePrepare,
    /// A backup's vote for the proposal.
    Prepare,
    /// A vote to commit.
    Commit,
}

impl Phase {
    /// The kind of statement that a vote of this phase signs.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::PrePrepare => "quorate-pbft-preprepare/1",
            Self::Prepare => "quorate-pbft-prepare/1",
            Self::Commit => "quorate-pbft-commit/1",
        }
    }
}

/// What a vote is for. The digest stands in every vote (rule 8).
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Header {
    /// The view in which it was proposed.
    pub view: View,
    /// The slot that it would fill.
    pub slot: Slot,
    /// Of the command, or of the no-op.
    pub digest: Digest,
}

impl Header {
    /// What a vote of this phase signs.
    #[must_use]
    pub fn statement(&self, domain: &Domain, instance: u32, phase: Phase) -> Vec<u8> {
        if seeded(Bug::ViewNotSigned) {
            return domain.statement(phase.kind(), &(instance, self.slot, self.digest));
        }
        domain.statement(phase.kind(), &(instance, self))
    }
}

/// A signed vote.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Vote {
    /// What for.
    pub header: Header,
    /// By whom.
    pub signer: ReplicaId,
    /// Over [`Header::statement`].
    pub signature: Signature,
}

impl Vote {
    /// Signs a vote.
    #[must_use]
    pub fn sign(
        header: Header,
        phase: Phase,
        me: ReplicaId,
        key: &VoteSigner,
        domain: &Domain,
        instance: u32,
    ) -> Self {
        let signature = key.sign(&header.statement(domain, instance, phase));
        Self { header, signer: me, signature }
    }

    pub(super) fn claim(&self, domain: &Domain, instance: u32, phase: Phase) -> Claim {
        let bytes = self.header.statement(domain, instance, phase);
        Claim::Vote { signer: self.signer, bytes, signature: self.signature }
    }
}

/// A vote inside a certificate, whose header all votes share.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ballot {
    /// Who voted.
    pub signer: ReplicaId,
    /// Over the certificate's header.
    pub signature: Signature,
}

impl Ballot {
    pub(super) fn vote(&self, header: Header) -> Vote {
        Vote { header, signer: self.signer, signature: self.signature }
    }
}

/// The digest of a command, or of the no-op: SHA-256 over a tag and the command's wire form.
#[must_use]
pub fn digest_of<C: Wire>(command: Option<&C>) -> Digest {
    let mut hash = Sha256::new();
    match command {
        None => hash.update(b"quorate-pbft-noop/1"),
        Some(command) => {
            hash.update(b"quorate-pbft-command/1");
            hash.update(command.to_wire());
        }
    }
    Digest(hash.finalize().into())
}

/// The primary's proposal, with the command: `None` is a no-op.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct PrePrepare<C: Clone> {
    /// The primary's vote for it.
    pub vote: Vote,
    /// What fills the slot.
    pub command: Option<Arc<C>>,
}

/// Proof that a slot was prepared: the proposal and a quorum that voted for it, its primary among
/// them. No two can exist for one view and slot with different digests.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// What was prepared.
    pub header: Header,
    /// The primary's PrePrepare.
    pub proposal: Ballot,
    /// The backups' Prepares.
    pub prepares: Vec<Ballot>,
}

impl Prepared {
    /// Whether distinct backups and the primary make a quorum.
    #[must_use]
    pub fn is_quorum(&self, committee: Committee) -> bool {
        let mut tally = Tally::new(committee);
        tally.add(self.proposal.signer)
            && self.proposal.signer == committee.primary(self.header.view)
            && self.prepares.iter().all(|ballot| tally.add(ballot.signer))
            && tally.is_quorum()
    }

    fn votes(&self) -> impl Iterator<Item = (Phase, Vote)> + '_ {
        let prepares =
            self.prepares.iter().map(|ballot| (Phase::Prepare, ballot.vote(self.header)));
        std::iter::once((Phase::PrePrepare, self.proposal.vote(self.header))).chain(prepares)
    }
}

/// A decision: the command and a quorum of Commits of one view. Holds for ever, in any view.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Decided<C: Clone> {
    /// What was decided.
    pub header: Header,
    /// The command; `None` is a no-op.
    pub command: Option<Arc<C>>,
    /// The Commits.
    pub commits: Vec<Ballot>,
}

impl<C: Clone> Decided<C> {
    /// Whether distinct members make a quorum.
    #[must_use]
    pub fn is_quorum(&self, committee: Committee) -> bool {
        let mut tally = Tally::new(committee);
        self.commits.iter().all(|ballot| tally.add(ballot.signer)) && tally.is_quorum()
    }
}

/// "I left for this view, and this is what I know": headers and certificates, no payloads.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct ViewChange {
    /// The view that its maker wants to enter; it votes in no lower one any more.
    pub view: View,
    /// Its newest stable slot.
    pub stable: Slot,
    /// What proves it; absent for genesis alone.
    pub certificate: Option<Arc<StableCertificate>>,
    /// Its prepared certificate of the highest view for every slot above `stable` that has one,
    /// by ascending slot.
    pub prepared: Vec<Prepared>,
    /// Who reports.
    pub signer: ReplicaId,
    /// Over everything above.
    pub signature: Signature,
}

impl ViewChange {
    /// The statement's kind.
    pub const KIND: &'static str = "quorate-pbft-view-change/1";

    /// What its maker signs: the view, and the hash of the rest.
    #[must_use]
    pub fn statement(&self, domain: &Domain, instance: u32) -> Vec<u8> {
        let content = (&self.stable, &self.certificate, &self.prepared, &self.signer);
        domain.statement(Self::KIND, &(instance, self.view, hash_of(&content)))
    }

    fn votes(&self, votes: &mut BTreeSet<(Phase, Vote)>) {
        votes.extend(self.prepared.iter().flat_map(Prepared::votes));
    }

    fn own_claims(&self, domain: &Domain, instance: u32, out: &mut Vec<Claim>) {
        let bytes = self.statement(domain, instance);
        out.push(Claim::Vote { signer: self.signer, bytes, signature: self.signature });
        match &self.certificate {
            None if self.stable == Slot(0) => {}
            Some(certificate) if certificate.slot() == self.stable => {
                out.push(Claim::Stable(Arc::clone(certificate)));
            }
            _ => out.push(Claim::Broken("a stable slot without its certificate")),
        }
    }
}

/// The opening of a view: everyone computes from the reports what must be proposed again.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct NewView {
    /// The view.
    pub view: View,
    /// A quorum of reports for it, by ascending replica.
    pub view_changes: Vec<ViewChange>,
    /// Its primary.
    pub signer: ReplicaId,
    /// Over everything above.
    pub signature: Signature,
}

impl NewView {
    /// The statement's kind.
    pub const KIND: &'static str = "quorate-pbft-new-view/1";

    /// What the primary signs: the view, and the hash of the reports.
    #[must_use]
    pub fn statement(&self, domain: &Domain, instance: u32) -> Vec<u8> {
        let content = (&self.view_changes, &self.signer);
        domain.statement(Self::KIND, &(instance, self.view, hash_of(&content)))
    }
}

/// Where a replica stands.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The view that it is in, or on its way to.
    pub view: View,
    /// Whether it is in it.
    pub active: bool,
    /// Whether it suspects the primary of this view.
    pub suspects: bool,
    /// Whether it asks for the decisions that it lacks.
    pub pull: bool,
    /// Counts its sender's Statuses, so that helpers take turns.
    pub round: u32,
    /// Its newest stable slot.
    pub stable: Slot,
    /// Its last committed slot.
    pub committed: Slot,
    /// How far it is with each slot from `committed + 1` on; nothing after the last.
    pub stages: Vec<Stage>,
}

/// How far a replica is with a slot in the current view.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// It has no proposal.
    Nothing,
    /// It has the proposal.
    Proposed,
    /// It has a prepared certificate.
    Prepared,
    /// It has the decision.
    Decided,
}

/// Asks for the command with this digest.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// The slot in which it was proposed.
    pub slot: Slot,
    /// Its digest.
    pub digest: Digest,
}

/// A command that was asked for by its digest.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Payload<C: Clone> {
    /// The slot in which it was proposed.
    pub slot: Slot,
    /// The command.
    pub command: Arc<C>,
    /// Its digest.
    pub digest: Digest,
}

/// What a replica persists. Votes are signed deterministically, so that a record is enough to send
/// the identical vote again.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Record<C: Clone> {
    /// Written before the PrePrepare (primary) or the Prepare (backup) is sent.
    Proposal(PrePrepare<C>),
    /// Written before the Commit is sent.
    Prepared(Prepared),
    /// Written before a decision is passed on that this replica did not vote to commit; noted,
    /// without a barrier, of any other.
    Decided(Header, Vec<Ballot>),
    /// The command of such a decision, unless it was written before.
    Payload(Payload<C>),
    /// No vote is cast at or below this slot; written again after each `Forget`.
    Stable(Arc<StableCertificate>),
    /// This replica left for a view; written before it says so.
    ViewChange(ViewChange),
    /// This replica entered a view; written before it votes there.
    NewView(NewView),
}

fn hash_of(content: &impl BorshSerialize) -> Digest {
    let mut bytes = Vec::new();
    // Appending to a Vec cannot fail; see `Wire::to_wire`.
    let _ = content.serialize(&mut bytes);
    Digest(Sha256::digest(&bytes).into())
}

fn matching<C: Wire>(command: Option<&C>, digest: Digest, out: &mut Vec<Claim>) {
    if digest_of(command) != digest && !seeded(Bug::DigestUnchecked) {
        out.push(Claim::Broken("the command is not the one that the digest names"));
    }
}

impl<C: Command> Claims for Message<C> {
    fn signer(&self) -> Option<ReplicaId> {
        match &self.body {
            Body::PrePrepare(proposal) => Some(proposal.vote.signer),
            Body::Prepare(vote) | Body::Commit(vote) => Some(vote.signer),
            Body::ViewChange(report) => Some(report.signer),
            Body::NewView(opening) => Some(opening.signer),
            Body::Decided(_) | Body::Status(_) | Body::Fetch(_) => None,
            Body::Payload(_) | Body::Stable(_) => None,
        }
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        let instance = self.instance;
        match &self.body {
            Body::PrePrepare(PrePrepare { vote, command }) => {
                matching(command.as_deref(), vote.header.digest, out);
                out.push(vote.claim(domain, instance, Phase::PrePrepare));
                if let Some(command) = command {
                    command.claims(domain, out);
                }
            }
            Body::Prepare(vote) => out.push(vote.claim(domain, instance, Phase::Prepare)),
            Body::Commit(vote) => out.push(vote.claim(domain, instance, Phase::Commit)),
            // A quorum checked the command's own signatures before it voted.
            Body::Decided(Decided { header, command, commits }) => {
                matching(command.as_deref(), header.digest, out);
                let votes = commits.iter().map(|ballot| ballot.vote(*header));
                out.extend(votes.map(|vote| vote.claim(domain, instance, Phase::Commit)));
            }
            Body::ViewChange(report) => {
                report.own_claims(domain, instance, out);
                let mut votes = BTreeSet::new();
                report.votes(&mut votes);
                out.extend(votes.iter().map(|(phase, vote)| vote.claim(domain, instance, *phase)));
            }
            Body::NewView(opening) => {
                let bytes = opening.statement(domain, instance);
                out.push(Claim::Vote {
                    signer: opening.signer,
                    bytes,
                    signature: opening.signature,
                });
                // Reports share most of their votes; each is checked once.
                let mut votes = BTreeSet::new();
                for report in &opening.view_changes {
                    report.own_claims(domain, instance, out);
                    report.votes(&mut votes);
                }
                out.extend(votes.iter().map(|(phase, vote)| vote.claim(domain, instance, *phase)));
            }
            // Its digest was prepared or decided by a quorum, which checked its own signatures.
            Body::Payload(Payload { command, digest, .. }) => {
                matching(Some(&**command), *digest, out);
            }
            Body::Stable(certificate) => {
                out.push(Claim::Stable(Arc::clone(certificate)));
            }
            Body::Status(_) | Body::Fetch(_) => {}
        }
    }
}
