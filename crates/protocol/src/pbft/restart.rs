//! From records to state: a replica that starts again never contradicts what it said before.

use super::{
    Body, Command, Out, Pbft, Record,
    message::{NewView, Phase, PrePrepare, ViewChange},
    slot::{Judgement, Proposal},
};
use crate::{Effect, Stable, To};
use quorate_types::{
    Slot, View,
    bug::{Bug, seeded},
};

/// What the records say beside what goes into slots.
struct Found<C: Clone> {
    opening: Option<NewView>,
    report: Option<ViewChange>,
    proposals: Vec<PrePrepare<C>>,
}

impl<C: Command> Pbft<C> {
    pub(super) fn start(&mut self, records: Vec<Record<C>>, stable: Stable, out: &mut Out<C>) {
        self.started = true;
        self.window.raise_committed(stable.slot);
        self.window.learn(stable);
        self.window.settle();
        let found = self.read(records);
        self.restore_view(&found);
        if let Some(opening) = found.opening {
            let stable = self.adopt(opening);
            self.window.learn(stable);
        }
        self.window.settle();
        if self.active {
            found.proposals.iter().for_each(|proposal| self.restore_proposal(proposal));
        } else {
            self.implied.clear();
        }
        self.slots = self.slots.split_off(&self.window.lowest_kept());
        self.resume(out);
    }

    fn read(&mut self, records: Vec<Record<C>>) -> Found<C> {
        let mut found = Found { opening: None, report: None, proposals: Vec::new() };
        for record in records {
            match record {
                Record::Proposal(proposal) => {
                    let header = proposal.vote.header;
                    if let Some(command) = proposal.command.clone() {
                        self.slot(header.slot).keep_payload(header.digest, command);
                    }
                    let _ = self.slot(header.slot).record_payload(header.digest);
                    found.proposals.push(proposal);
                }
                Record::Payload(payload) => {
                    let state = self.slot(payload.slot);
                    state.keep_payload(payload.digest, payload.command);
                    let _ = state.record_payload(payload.digest);
                }
                Record::Prepared(prepared) => {
                    let state = self.slot(prepared.header.slot);
                    let known = state.prepared.as_ref().map(|known| known.header.view);
                    if known.is_none_or(|known| known < prepared.header.view) {
                        state.prepared = Some(prepared);
                    }
                }
                Record::Decided(header, commits) => {
                    let state = self.slot(header.slot);
                    state.decided = Some((header, commits));
                    state.decided_is_recorded = true;
                }
                Record::Stable(certificate) => {
                    self.window.learn(Stable::certified(certificate));
                }
                Record::ViewChange(report) => {
                    if found.report.as_ref().is_none_or(|known| known.view < report.view) {
                        found.report = Some(report);
                    }
                }
                Record::NewView(opening) => {
                    if found.opening.as_ref().is_none_or(|known| known.view < opening.view) {
                        found.opening = Some(opening);
                    }
                }
            }
        }
        found
    }

    fn restore_view(&mut self, found: &Found<C>) {
        let entered = found.opening.as_ref().map_or(View(0), |opening| opening.view);
        self.view = entered;
        if let Some(report) = found.report.as_ref().filter(|report| report.view > entered) {
            self.view = report.view;
            self.active = false;
            self.own_report = Some(report.clone());
            self.reports.insert(self.config.me, report.view, report.clone());
        }
    }

    /// The votes that this replica cast in the current view, signed again to the same bytes.
    fn restore_proposal(&mut self, proposal: &PrePrepare<C>) {
        let vote = proposal.vote;
        let header = vote.header;
        if header.view != self.view || seeded(Bug::VotesForgottenAtRestart) {
            return;
        }
        let leads = self.leads();
        if leads {
            self.assigned = self.assigned.max(header.slot);
        }
        let prepare = self.sign(Phase::Prepare, header);
        let commit = self.sign(Phase::Commit, header);
        let (me, view) = (self.config.me, self.view);
        let state = self.slot(header.slot);
        state.prepares.count(&vote);
        if !leads {
            state.prepares.count(&prepare);
        }
        state.proposal = Some(Proposal { vote, judgement: Judgement::Accepted });
        if let Some(prepared) = state.prepared.clone().filter(|_| state.is_prepared_in(view)) {
            for ballot in prepared.prepares.iter().filter(|ballot| ballot.signer != me) {
                state.prepares.count(&ballot.vote(header));
            }
            state.commits.count(&commit);
        }
    }

    /// Says again what the replica around this engine must know, and asks others what is new.
    fn resume(&mut self, out: &mut Out<C>) {
        let entered = self.opening.as_ref().map_or(View(0), |opening| opening.view);
        if self.active {
            out.push(Effect::Enter { view: entered, primary: self.primary(entered) });
        } else {
            out.push(Effect::Leave { to: self.view });
        }
        self.advance(out);
        if self.window.is_beyond_help(self.window.committed(), self.window.known().slot) {
            out.push(Effect::Behind { stable: self.window.known().clone() });
        }
        let noop = self.noop;
        for (slot, state) in self.slots.range(self.window.committed().next()..) {
            let Some(proposal) = state.preprepare(&noop) else { continue };
            out.push(Effect::Judge {
                slot: *slot,
                view: self.view,
                digest: proposal.vote.header.digest,
                proposal: proposal.command,
                fresh: !self.implied.contains_key(slot),
            });
        }
        if let Some(report) = self.own_report.clone() {
            self.send(To::All, Body::ViewChange(report), out);
        }
        self.tell_status(To::All, false, out);
        self.propose_again(out);
        let slots: Vec<Slot> = self.slots.keys().copied().collect();
        for slot in slots {
            self.want_decided_payload(slot, out);
        }
    }
}
