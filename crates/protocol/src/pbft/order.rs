//! The normal case: the primary proposes, a quorum prepares, a quorum commits.

use super::{
    Command, Out, Pbft,
    message::{
        Ballot, Body, Decided, Header, Payload, Phase, PrePrepare, Prepared, Record, Vote,
        digest_of,
    },
    slot::{Counted, Judgement, Proposal},
};
use crate::{Accusation, Effect, Stable, To, Verdict};
use quorate_types::{
    Digest, ReplicaId, Slot,
    bug::{Bug, seeded},
};
use std::sync::Arc;

impl<C: Command> Pbft<C> {
    /// How many more slots the primary may open.
    pub(super) fn room_now(&self) -> u32 {
        if !self.leads() {
            return 0;
        }
        let room = self.window.high().0.saturating_sub(self.assigned.0);
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    pub(super) fn on_propose(&mut self, command: C, out: &mut Out<C>) {
        if self.room_now() == 0 {
            out.push(Effect::Returned(command));
            return;
        }
        self.assigned = self.assigned.next();
        self.propose_at(self.assigned, Some(Arc::new(command)), out);
    }

    pub(super) fn on_fill(&mut self, through: Slot, out: &mut Out<C>) {
        if self.leads() {
            self.fill = self.fill.max(through);
            self.fill_window(out);
        }
    }

    fn fill_window(&mut self, out: &mut Out<C>) {
        let end = self.fill.min(self.window.high());
        while self.leads() && self.assigned < end {
            self.assigned = self.assigned.next();
            self.propose_at(self.assigned, None, out);
        }
    }

    /// Gives every slot that this primary answers for a proposal: what the NewView implies, and a
    /// no-op where a restart left a hole.
    pub(super) fn propose_again(&mut self, out: &mut Out<C>) {
        let first = self.window.low().next();
        let last = self.assigned.min(self.window.high());
        for slot in (first.0..=last.0).map(Slot) {
            if !self.leads() {
                return;
            }
            let digest = self.implied.get(&slot).copied().unwrap_or(self.noop);
            let noop = self.noop;
            let state = self.slot(slot);
            if state.proposal.is_some() {
                continue;
            }
            match state.content(&digest, &noop) {
                Some(content) => self.propose_at(slot, content, out),
                None if seeded(Bug::NoopForMissingPayload) => self.propose_at(slot, None, out),
                None => self.fetch(slot, digest, out),
            }
        }
    }

    /// Section 4.2: assigns the slot. The PrePrepare leaves once it is judged and persisted.
    fn propose_at(&mut self, slot: Slot, command: Option<Arc<C>>, out: &mut Out<C>) {
        let digest = digest_of(command.as_deref());
        let vote = self.sign(Phase::PrePrepare, Header { view: self.view, slot, digest });
        let state = self.slot(slot);
        if state.prepares.count(&vote) == Counted::New {
            self.take_proposal(PrePrepare { vote, command }, out);
        }
    }

    fn take_proposal(&mut self, proposal: PrePrepare<C>, out: &mut Out<C>) {
        let PrePrepare { vote, command } = proposal;
        let header = vote.header;
        let state = self.slot(header.slot);
        if let Some(command) = command {
            state.keep_payload(header.digest, command);
        }
        state.proposal = Some(Proposal { vote, judgement: Judgement::Waits });
        // The Commits may have been faster than the proposal.
        self.advance(out);
        self.judge(header.slot, out);
    }

    pub(super) fn on_preprepare(&mut self, proposal: PrePrepare<C>, out: &mut Out<C>) {
        let vote = proposal.vote;
        let Header { view, slot, digest } = vote.header;
        if vote.signer != self.primary(view) && !seeded(Bug::ProposalFromAnybody) {
            return;
        }
        if self.is_ahead(view) {
            self.early_message(vote.signer, view, Body::PrePrepare(proposal));
            return;
        }
        if !self.is_current(view) || !self.window.is_known(slot) {
            return;
        }
        match self.slot(slot).prepares.count(&vote) {
            Counted::Repeated => return,
            Counted::Conflict(..) if seeded(Bug::SecondProposalOverwrites) => {}
            Counted::Conflict(known, signature) => {
                let header = Header { digest: known, ..vote.header };
                let first = Vote { header, signature, ..vote };
                if self.charge(Phase::PrePrepare, first, vote, out) {
                    self.expose(slot, proposal, out);
                }
                self.suspect(out);
                return;
            }
            Counted::New => {}
        }
        if self.implied.get(&slot).is_some_and(|implied| *implied != digest) {
            // Section 4.4: a backup accepts from a new primary only what its NewView implies.
            self.malformed(vote.signer, out);
            self.suspect(out);
            return;
        }
        self.take_proposal(proposal, out);
    }

    /// Shows both of a primary's proposals to everyone, so that all suspect it.
    fn expose(&mut self, slot: Slot, second: PrePrepare<C>, out: &mut Out<C>) {
        let noop = self.noop;
        if let Some(first) = self.slot(slot).preprepare(&noop) {
            self.send(To::All, Body::PrePrepare(first), out);
        }
        self.send(To::All, Body::PrePrepare(second), out);
    }

    /// Asks whether the slot's proposal may be voted for, once the window reaches it.
    fn judge(&mut self, slot: Slot, out: &mut Out<C>) {
        if !self.active || !self.window.is_open(slot) {
            return;
        }
        let noop = self.noop;
        let fresh = !self.implied.contains_key(&slot);
        let state = self.slot(slot);
        let decided = state.decided_digest();
        let Some(proposal) = &mut state.proposal else { return };
        let Header { view, digest, .. } = proposal.vote.header;
        if proposal.judgement != Judgement::Waits {
            return;
        }
        match decided {
            // What a quorum committed needs no judge; others still need the vote.
            Some(decided) if decided == digest => {
                proposal.judgement = Judgement::Accepted;
                self.vote(slot, out);
            }
            // Impossible with at most f faults, and then never voted for.
            Some(_) => {
                proposal.judgement = Judgement::Refused;
                self.suspect(out);
            }
            None => {
                proposal.judgement = Judgement::Asked;
                let Some(proposal) = state.content(&digest, &noop) else { return };
                out.push(Effect::Judge { slot, view, digest, proposal, fresh });
            }
        }
    }

    pub(super) fn on_verdict(&mut self, header: Header, verdict: Verdict, out: &mut Out<C>) {
        let Header { view, slot, digest } = header;
        if !self.is_current(view) {
            return;
        }
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let decided = state.decided_digest() == Some(digest);
        let Some(proposal) = &mut state.proposal else { return };
        let stale = proposal.judgement != Judgement::Asked || proposal.vote.header != header;
        if stale && !seeded(Bug::StaleVerdictAccepted) {
            return;
        }
        if verdict == Verdict::Accepted || decided {
            proposal.judgement = Judgement::Accepted;
            self.vote(slot, out);
            return;
        }
        proposal.judgement = Judgement::Refused;
        let own = self.leads() && !self.implied.contains_key(&slot);
        match self.slot(slot).payload(&digest).cloned() {
            // A primary that disowns its command leaves no hole: the slot becomes a no-op.
            Some(command) if own => {
                out.push(Effect::Returned(C::clone(&command)));
                self.slot(slot).leave_view();
                self.propose_at(slot, None, out);
            }
            // The primary's clock, or the way here: the progress timer tells which.
            _ if verdict == Verdict::Untimely => {}
            _ => self.suspect(out),
        }
    }

    /// The first of two barriers: the payload and this replica's first vote.
    fn vote(&mut self, slot: Slot, out: &mut Out<C>) {
        let (noop, view, now) = (self.noop, self.view, self.now);
        let leads = self.leads();
        let open = self.window.is_open(slot);
        let state = self.slot(slot);
        let done = state.decided.as_ref().is_some_and(|(header, _)| header.view == view);
        let Some(proposal) = state.preprepare(&noop) else { return };
        if done || !open {
            return;
        }
        state.sent_at = now;
        let header = proposal.vote.header;
        // The record holds the payload, whether or not an earlier one did.
        let _ = state.record_payload(header.digest);
        let record = Record::Proposal(proposal.clone());
        out.push(match seeded(Bug::PrepareBeforeFsync) {
            true => Effect::Note { slot: Some(slot), record },
            false => Effect::Persist { slot: Some(slot), record },
        });
        if leads {
            self.send(To::All, Body::PrePrepare(proposal), out);
        } else {
            let vote = self.sign(Phase::Prepare, header);
            self.slot(slot).prepares.count(&vote);
            self.send(To::All, Body::Prepare(vote), out);
            for vote in self.slot(slot).prepares.others_than(header) {
                self.confront(vote, out);
            }
        }
        self.try_commit(slot, out);
    }

    pub(super) fn wants_vote(&self, phase: Phase, vote: &Vote) -> bool {
        let Header { view, slot, digest } = vote.header;
        let primary = self.primary(view);
        let misplaced = (phase == Phase::PrePrepare) != (vote.signer == primary);
        if misplaced && phase != Phase::Commit && !seeded(Bug::ProposalFromAnybody) {
            return false;
        }
        if self.is_ahead(view) {
            return self.early.has_room(vote.signer, view, self.early_most());
        }
        if !self.is_current(view) || !self.window.is_known(slot) {
            return false;
        }
        let Some(state) = self.slots.get(&slot) else { return true };
        match phase {
            // Also to learn the payload of what others' Commits decided.
            Phase::PrePrepare => state.prepares.is_news(vote),
            Phase::Prepare if state.is_prepared_in(view) || state.decided.is_some() => {
                state.prepares.conflicts(vote)
            }
            Phase::Prepare => state.prepares.is_news(vote),
            Phase::Commit if state.commits.is_quorum(&digest) || self.is_done(slot) => {
                state.commits.conflicts(vote)
            }
            Phase::Commit => state.commits.is_news(vote),
        }
    }

    /// Whether the slot's decision is known, with Commits of the current view.
    fn is_done(&self, slot: Slot) -> bool {
        let decided = self.slots.get(&slot).and_then(|state| state.decided.as_ref());
        decided.is_some_and(|(header, _)| header.view == self.view)
    }

    pub(super) fn on_vote(&mut self, phase: Phase, vote: Vote, out: &mut Out<C>) {
        let Header { view, slot, .. } = vote.header;
        if phase == Phase::Prepare && vote.signer == self.primary(view) {
            return;
        }
        if self.is_ahead(view) {
            let body = match phase {
                Phase::Commit => Body::Commit(vote),
                _ => Body::Prepare(vote),
            };
            self.early_message(vote.signer, view, body);
            return;
        }
        if !self.is_current(view) || !self.window.is_known(slot) {
            return;
        }
        let state = self.slot(slot);
        let ballots = if phase == Phase::Commit { &mut state.commits } else { &mut state.prepares };
        match ballots.count(&vote) {
            Counted::New if phase == Phase::Commit => self.try_decide(slot, out),
            Counted::New => {
                self.confront(vote, out);
                self.try_commit(slot, out);
            }
            Counted::Repeated => {}
            Counted::Conflict(known, signature) => {
                let header = Header { digest: known, ..vote.header };
                self.charge(phase, Vote { header, signature, ..vote }, vote, out);
            }
        }
    }

    /// Whoever prepares another proposal than this replica's was told another: it is shown this
    /// one, and so holds two that convict the primary.
    fn confront(&mut self, vote: Vote, out: &mut Out<C>) {
        let noop = self.noop;
        let Some(mine) = self.slot(vote.header.slot).preprepare(&noop) else { return };
        if mine.vote.header.digest != vote.header.digest && self.may_answer(vote.signer) {
            self.send(To::One(vote.signer), Body::PrePrepare(mine), out);
        }
    }

    /// The second barrier: prepared, so this replica votes to commit.
    fn try_commit(&mut self, slot: Slot, out: &mut Out<C>) {
        let (view, now) = (self.view, self.now);
        if !self.active || !self.window.is_open(slot) || self.is_done(slot) {
            return;
        }
        let state = self.slot(slot);
        let Some(Proposal { vote, judgement: Judgement::Accepted }) = state.proposal else {
            return;
        };
        let header = vote.header;
        if state.is_prepared_in(view) || !state.prepares.is_quorum(&header.digest) {
            return;
        }
        let backups = |ballot: &Ballot| ballot.signer != vote.signer;
        let prepared = Prepared {
            header,
            proposal: Ballot { signer: vote.signer, signature: vote.signature },
            prepares: state.prepares.of(header.digest).filter(backups).collect(),
        };
        state.prepared = Some(prepared.clone());
        state.sent_at = now;
        let record = Record::Prepared(prepared);
        out.push(match seeded(Bug::CommitBeforeFsync) {
            true => Effect::Note { slot: Some(slot), record },
            false => Effect::Persist { slot: Some(slot), record },
        });
        let commit = self.sign(Phase::Commit, header);
        self.slot(slot).commits.count(&commit);
        self.send(To::All, Body::Commit(commit), out);
        self.try_decide(slot, out);
    }

    fn try_decide(&mut self, slot: Slot, out: &mut Out<C>) {
        let view = self.view;
        let state = self.slot(slot);
        let Some(digest) = state.commits.quorum() else { return };
        if state.decided.is_none() {
            let commits = state.commits.of(digest).collect();
            state.decided = Some((Header { view, slot, digest }, commits));
        }
        self.patience.worked();
        self.want_decided_payload(slot, out);
        self.advance(out);
    }

    pub(super) fn want_decided_payload(&mut self, slot: Slot, out: &mut Out<C>) {
        let noop = self.noop;
        let state = self.slot(slot);
        let Some(digest) = state.decided_digest() else { return };
        if state.content(&digest, &noop).is_none() {
            self.fetch(slot, digest, out);
        }
    }

    pub(super) fn wants_decided(&self, decided: &Decided<C>) -> bool {
        let slot = decided.header.slot;
        slot > self.window.committed()
            && self.window.is_known(slot)
            && decided.commits.len() <= self.config.committee.n()
            && self.slots.get(&slot).is_none_or(|state| !state.is_whole(&self.noop))
    }

    pub(super) fn on_decided(&mut self, via: ReplicaId, decided: Decided<C>, out: &mut Out<C>) {
        if !self.wants_decided(&decided) {
            return;
        }
        if !decided.is_quorum(self.config.committee) && !seeded(Bug::DecisionUnchecked) {
            self.malformed(via, out);
            return;
        }
        let Decided { header, command, commits } = decided;
        let voted = self.slots.get(&header.slot).and_then(|state| state.prepared.as_ref());
        let knows = voted.is_some_and(|prepared| prepared.header.view >= header.view);
        // What lies below may have been forgotten as it should.
        let remembers = header.slot > self.window.stable().slot;
        if remembers && !knows && commits.iter().any(|ballot| ballot.signer == self.config.me) {
            return self.forgot(out);
        }
        let state = self.slot(header.slot);
        if let Some(command) = command {
            state.keep_payload(header.digest, command);
        }
        if state.decided.is_none() {
            state.decided = Some((header, commits));
        }
        self.advance(out);
    }

    /// Passes on decisions in slot order, each after it is on this replica's disk.
    pub(super) fn advance(&mut self, out: &mut Out<C>) {
        let noop = self.noop;
        loop {
            let mut slot = self.window.committed().next();
            if seeded(Bug::GapSkipped) {
                let mut decided = self.slots.range(slot..).filter(|(_, it)| it.decided.is_some());
                slot = decided.next().map_or(slot, |(slot, _)| *slot);
            }
            let Some(state) = self.slots.get_mut(&slot) else { break };
            let Some(decided) = state.decision(&noop) else { break };
            if !state.is_durable() {
                let digest = decided.header.digest;
                if let Some(command) = state.record_payload(digest) {
                    let record = Record::Payload(Payload { slot, command, digest });
                    out.push(Effect::Persist { slot: Some(slot), record });
                }
                let record = Record::Decided(decided.header, decided.commits.clone());
                out.push(Effect::Persist { slot: Some(slot), record });
                state.decided_is_recorded = true;
            } else if !state.decided_is_recorded {
                // The own commit vote is durable, so nothing waits for this. But when everybody
                // loses power at once, only a decision on disk leads past a stable slot whose
                // entries nobody had synced.
                let record = Record::Decided(decided.header, decided.commits.clone());
                out.push(Effect::Note { slot: Some(slot), record });
                state.decided_is_recorded = true;
            }
            self.window.raise_committed(slot);
            self.committed_at = self.now;
            self.stuck = 0;
            self.waiting_since = self.waiting_since.map(|_| self.now);
            let command = decided.command.clone();
            let decided = self.message(Body::Decided(decided));
            out.push(Effect::Commit { slot, command, decided });
        }
        self.move_window(out);
    }

    /// A slot is certified.
    pub(super) fn raise_stable(&mut self, stable: Stable, out: &mut Out<C>) {
        if !self.window.learn(stable) {
            return;
        }
        let known = self.window.known().clone();
        self.assigned = self.assigned.max(known.slot);
        if self.window.is_beyond_help(self.window.committed(), known.slot) {
            out.push(Effect::Behind { stable: known });
        }
        self.move_window(out);
    }

    /// The window moves up, if what is certified and what is committed let it.
    fn move_window(&mut self, out: &mut Out<C>) {
        if !self.window.settle() {
            return;
        }
        let slot = self.window.stable().slot;
        while self.implied.first_key_value().is_some_and(|(implied, _)| *implied <= slot) {
            self.implied.pop_first();
        }
        let lowest = self.window.lowest_kept();
        while self.slots.first_key_value().is_some_and(|(kept, _)| *kept < lowest) {
            self.slots.pop_first();
        }
        if let Some(below) = self.window.forget() {
            // Known before anything goes: records are whole above a window below it, only.
            if let Some(record) = self.known_record() {
                out.push(Effect::Persist { slot: None, record });
            }
            out.push(Effect::Forget { below });
            self.persist_slotless(out);
        }
        let above = self.slots.range(slot.next()..);
        let waiting: Vec<Slot> = above.map(|(slot, _)| *slot).collect();
        for slot in waiting {
            self.judge(slot, out);
        }
        self.propose_again(out);
        self.fill_window(out);
    }

    fn known_record(&self) -> Option<Record<C>> {
        self.window.known().certificate.clone().map(Record::Stable)
    }

    /// What concerns no slot, after a `Forget` took the older copies.
    fn persist_slotless(&self, out: &mut Out<C>) {
        let stable = self.known_record();
        let opening = self.opening.as_ref().map(|it| Record::NewView((**it).clone()));
        let report = self.own_report.clone().map(Record::ViewChange);
        for record in stable.into_iter().chain(opening).chain(report) {
            out.push(Effect::Persist { slot: None, record });
        }
    }

    pub(super) fn on_installed(&mut self, stable: Stable, out: &mut Out<C>) {
        // Its proof came with it, or is known already; without either it is not believed.
        if stable.certificate.is_none() && stable.slot > self.window.known().slot {
            return;
        }
        self.window.raise_committed(stable.slot);
        self.committed_at = self.now;
        self.stuck = 0;
        self.raise_stable(stable, out);
        self.advance(out);
    }

    /// Reports two votes that no correct replica casts; `true` the first time.
    pub(super) fn charge(
        &mut self,
        phase: Phase,
        first: Vote,
        second: Vote,
        out: &mut Out<C>,
    ) -> bool {
        let news = self.accused.insert((second.signer, phase));
        if news {
            let instance = self.config.instance;
            out.push(Effect::Accuse(super::evidence::charge(instance, phase, first, second)));
        }
        news
    }

    /// Others hold a vote of this replica that its own log does not: the log was rolled back.
    pub(super) fn forgot(&mut self, out: &mut Out<C>) {
        self.started = false;
        let (replica, evidence) = (self.config.me, Vec::new());
        out.push(Effect::Accuse(Accusation { replica, charge: "forgot-own-vote", evidence }));
    }

    /// Reports a message that no correct replica makes, without proof for others.
    pub(super) fn malformed(&self, replica: ReplicaId, out: &mut Out<C>) {
        let evidence = Vec::new();
        out.push(Effect::Accuse(Accusation { replica, charge: "malformed", evidence }));
    }

    /// Whether the command with this digest is needed in the slot and not here.
    pub(super) fn lacks(&self, slot: Slot, digest: &Digest) -> bool {
        let state = self.slots.get(&slot);
        if *digest == self.noop || state.is_some_and(|state| state.payload(digest).is_some()) {
            return false;
        }
        let decided = state.and_then(|state| state.decided_digest()) == Some(*digest);
        let implied = self.leads() && self.implied.get(&slot) == Some(digest);
        (decided && slot > self.window.committed()) || implied
    }

    pub(super) fn on_payload(&mut self, payload: Payload<C>, out: &mut Out<C>) {
        let Payload { slot, command, digest } = payload;
        if !self.lacks(slot, &digest) {
            return;
        }
        self.slot(slot).keep_payload(digest, command);
        self.advance(out);
        self.propose_again(out);
    }
}
