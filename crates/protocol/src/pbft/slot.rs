//! One slot: its proposal in the current view, the votes counted for it, and what outlives views.

use super::message::{Ballot, Decided, Header, PrePrepare, Prepared, Stage, Vote};
use quorate_types::{
    Committee, Digest, ReplicaId, Signature, Slot, Tally, Time, View,
    bug::{Bug, seeded},
};
use std::sync::Arc;

/// The votes of one phase of one view on one slot: the first of each replica.
#[derive(Clone, Debug)]
pub(super) struct Ballots {
    committee: Committee,
    /// By replica; as long as the committee once anybody voted.
    first: Vec<Option<(Digest, Signature)>>,
    /// By ascending digest; one, where nobody lies.
    tallies: Vec<(Digest, Tally)>,
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counted {
    /// It counts.
    New,
    /// It was counted before.
    Repeated,
    /// Its signer voted for this digest before, which proves it faulty.
    Conflict(Digest, Signature),
}

impl Ballots {
    fn new(committee: Committee) -> Self {
        Self { committee, first: Vec::new(), tallies: Vec::new() }
    }

    pub(super) fn count(&mut self, vote: &Vote) -> Counted {
        let digest = vote.header.digest;
        if let Some((known, signature)) = self.first(vote.signer) {
            if known != digest {
                return Counted::Conflict(known, signature);
            }
            if !seeded(Bug::DuplicateSignerCounted) {
                return Counted::Repeated;
            }
        }
        if self.first.is_empty() {
            self.first.resize(self.committee.n(), None);
        }
        // Who is no member has no vote; the verify stage refused it before.
        let Some(first) = self.first.get_mut(vote.signer.position()) else {
            return Counted::Repeated;
        };
        *first = Some((digest, vote.signature));
        let at = self.tallies.binary_search_by_key(&digest, |(digest, _)| *digest);
        let at = at.unwrap_or_else(|at| {
            self.tallies.insert(at, (digest, Tally::new(self.committee)));
            at
        });
        if let Some((_, tally)) = self.tallies.get_mut(at) {
            tally.add(vote.signer);
        }
        if seeded(Bug::VotesOfAnyDigest) {
            self.tallies.iter_mut().for_each(|(_, tally)| tally.extend([vote.signer]));
        }
        Counted::New
    }

    /// The first vote of a replica.
    fn first(&self, signer: ReplicaId) -> Option<(Digest, Signature)> {
        self.first.get(signer.position()).copied().flatten()
    }

    /// All first votes, by ascending replica.
    fn firsts(&self) -> impl Iterator<Item = (ReplicaId, Digest, Signature)> + '_ {
        let firsts = self.committee.replicas().zip(&self.first);
        firsts.filter_map(|(signer, first)| first.map(|(digest, it)| (signer, digest, it)))
    }

    /// Whether this would be the signer's first vote, or one that conflicts with its first.
    pub(super) fn is_news(&self, vote: &Vote) -> bool {
        let known = self.first(vote.signer).filter(|_| !seeded(Bug::DuplicateSignerCounted));
        known.is_none_or(|(known, _)| known != vote.header.digest)
    }

    /// Whether the signer voted for another digest before.
    pub(super) fn conflicts(&self, vote: &Vote) -> bool {
        self.first(vote.signer).is_some_and(|(known, _)| known != vote.header.digest)
    }

    /// A replica's vote, for this view and slot.
    pub(super) fn vote_of(&self, signer: ReplicaId, view: View, slot: Slot) -> Option<Vote> {
        let (digest, signature) = self.first(signer)?;
        Some(Vote { header: Header { view, slot, digest }, signer, signature })
    }

    pub(super) fn is_quorum(&self, digest: &Digest) -> bool {
        self.tallies.iter().any(|(voted, tally)| voted == digest && tally.is_quorum())
    }

    /// The digest that a quorum voted for: two quorums share a correct replica, so there is one.
    pub(super) fn quorum(&self) -> Option<Digest> {
        self.tallies.iter().find(|(_, tally)| tally.is_quorum()).map(|(digest, _)| *digest)
    }

    /// Whether at least one correct replica voted for something.
    pub(super) fn has_one_correct(&self) -> bool {
        self.tallies.iter().any(|(_, tally)| tally.has_one_correct())
    }

    /// The votes for another digest than this header's, at its place.
    pub(super) fn others_than(&self, header: Header) -> Vec<Vote> {
        let others = self.firsts().filter(|(_, voted, _)| *voted != header.digest);
        let vote = |(signer, digest, signature)| Vote {
            header: Header { digest, ..header },
            signer,
            signature,
        };
        others.map(vote).collect()
    }

    pub(super) fn of(&self, digest: Digest) -> impl Iterator<Item = Ballot> + '_ {
        let same = self.firsts().filter(move |(_, voted, _)| *voted == digest);
        same.map(|(signer, _, signature)| Ballot { signer, signature })
    }

    /// How many replicas voted.
    fn held(&self) -> usize {
        self.first.iter().flatten().count()
    }
}

/// Where the judgement of a proposal stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// Above the window: kept, judged when the window gets there.
    Waits,
    /// Asked for.
    Asked,
    /// The engine voted for it.
    Accepted,
    /// The engine will not vote for it.
    Refused,
}

/// The proposal of the current view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    pub(super) vote: Vote,
    pub(super) judgement: Judgement,
}

/// Everything about one slot.
#[derive(Clone, Debug)]
pub(super) struct SlotState<C> {
    committee: Committee,
    /// Of the current view.
    pub(super) proposal: Option<Proposal>,
    /// Of the current view, the primary's PrePrepare counted as its vote.
    pub(super) prepares: Ballots,
    /// Of the current view.
    pub(super) commits: Ballots,
    /// The certificate of the highest view that this replica voted to commit; persisted.
    pub(super) prepared: Option<Prepared>,
    /// The decision; the command is among the payloads or being fetched.
    pub(super) decided: Option<(Header, Vec<Ballot>)>,
    /// Whether a `Decided` record was persisted.
    pub(super) decided_is_recorded: bool,
    /// When the last vote for it was sent.
    pub(super) sent_at: Time,
    /// When its payload was asked for last.
    pub(super) fetched_at: Option<Time>,
    payloads: Vec<Known<C>>,
}

/// A command that was seen in a slot.
#[derive(Clone, Debug)]
struct Known<C> {
    digest: Digest,
    command: Arc<C>,
    is_recorded: bool,
}

impl<C: Clone> SlotState<C> {
    /// One payload comes with each view that proposes anew; older ones that no certificate names
    /// go first.
    pub(super) const PAYLOADS_MAX: usize = 16;

    pub(super) fn new(committee: Committee) -> Self {
        Self {
            committee,
            proposal: None,
            prepares: Ballots::new(committee),
            commits: Ballots::new(committee),
            prepared: None,
            decided: None,
            decided_is_recorded: false,
            sent_at: Time(0),
            fetched_at: None,
            payloads: Vec::new(),
        }
    }

    /// Forgets what belonged to the view that is left; certificates and payloads stay.
    pub(super) fn leave_view(&mut self) {
        self.proposal = None;
        if seeded(Bug::VotesAcrossViews) {
            return;
        }
        self.prepares = Ballots::new(self.committee);
        self.commits = Ballots::new(self.committee);
    }

    pub(super) fn keep_payload(&mut self, digest: Digest, command: Arc<C>) {
        if self.payload(&digest).is_some() {
            return;
        }
        if self.payloads.len() >= Self::PAYLOADS_MAX {
            let needed = self.needed();
            let old = self.payloads.iter().position(|it| !needed.contains(&Some(it.digest)));
            old.map(|at| self.payloads.remove(at));
        }
        self.payloads.push(Known { digest, command, is_recorded: false });
    }

    /// Notes that the payload is being persisted; the command, if it was not before.
    pub(super) fn record_payload(&mut self, digest: Digest) -> Option<Arc<C>> {
        let known = self.payloads.iter_mut().find(|it| it.digest == digest)?;
        let first = !std::mem::replace(&mut known.is_recorded, true);
        first.then(|| Arc::clone(&known.command))
    }

    /// How many payloads are kept.
    pub(super) fn payloads_held(&self) -> usize {
        self.payloads.len()
    }

    /// How many votes are kept, of both phases.
    pub(super) fn votes_held(&self) -> usize {
        self.prepares.held().saturating_add(self.commits.held())
    }

    fn needed(&self) -> [Option<Digest>; 3] {
        [
            self.proposal.map(|proposal| proposal.vote.header.digest),
            self.prepared.as_ref().map(|prepared| prepared.header.digest),
            self.decided.as_ref().map(|(header, _)| header.digest),
        ]
    }

    pub(super) fn payload(&self, digest: &Digest) -> Option<&Arc<C>> {
        self.payloads.iter().find(|it| it.digest == *digest).map(|it| &it.command)
    }

    /// What has this digest, if it is here: a command, or the no-op.
    pub(super) fn content(&self, digest: &Digest, noop: &Digest) -> Option<Option<Arc<C>>> {
        if digest == noop {
            return Some(None);
        }
        self.payload(digest).map(|command| Some(Arc::clone(command)))
    }

    /// The proposal of the current view as it was sent, once this replica voted for it.
    pub(super) fn preprepare(&self, noop: &Digest) -> Option<PrePrepare<C>> {
        let proposal = self.proposal.filter(|it| it.judgement == Judgement::Accepted)?;
        let command = self.content(&proposal.vote.header.digest, noop)?;
        Some(PrePrepare { vote: proposal.vote, command })
    }

    /// The command of a proposal that this replica took and has not sent.
    pub(super) fn unsent(&self) -> Option<&Arc<C>> {
        let proposal = self.proposal?;
        let unsent = matches!(proposal.judgement, Judgement::Waits | Judgement::Asked);
        self.payload(&proposal.vote.header.digest).filter(|_| unsent)
    }

    /// The decision with its command, once both are here.
    pub(super) fn decision(&self, noop: &Digest) -> Option<Decided<C>> {
        let (header, commits) = self.decided.as_ref()?;
        let command = self.content(&header.digest, noop)?;
        Some(Decided { header: *header, command, commits: commits.clone() })
    }

    /// Whether the decision and its command are here.
    pub(super) fn is_whole(&self, noop: &Digest) -> bool {
        self.decided_digest().is_some_and(|it| it == *noop || self.payload(&it).is_some())
    }

    pub(super) fn decided_digest(&self) -> Option<Digest> {
        self.decided.as_ref().map(|(header, _)| header.digest)
    }

    /// Whether this replica voted to commit in this view.
    pub(super) fn is_prepared_in(&self, view: View) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| prepared.header.view == view)
    }

    /// Whether what was decided is on this replica's disk: by its own vote, or as a decision.
    pub(super) fn is_durable(&self) -> bool {
        let prepared = self.prepared.as_ref().map(|prepared| prepared.header.digest);
        self.decided_is_recorded || (prepared.is_some() && prepared == self.decided_digest())
    }

    pub(super) fn stage(&self, view: View) -> Stage {
        if self.decided.is_some() {
            Stage::Decided
        } else if self.is_prepared_in(view) {
            Stage::Prepared
        } else if self.proposal.is_some() {
            Stage::Proposed
        } else {
            Stage::Nothing
        }
    }
}
