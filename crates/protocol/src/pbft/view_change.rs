//! Leaving a view and opening the next (section 4.4 of the paper).

use super::{
    Body, Command, Out, Pbft, Record,
    message::{NewView, ViewChange},
};
use crate::{Effect, Stable, To};
use quorate_types::{
    Committee, Digest, Signature, Slot, StableCertificate, Tally, View,
    bug::{Bug, seeded},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How far above its stable slot a report may reach. Votes are cast two windows above it at most
/// (`Window::high`); a loss of power may have taken the newest one and a half from the log.
pub const REPORT_WINDOWS: u64 = 4;

/// What a quorum of reports implies for the view that they open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chosen {
    /// h: the highest stable slot reported.
    pub stable: Slot,
    /// What proves it; absent for genesis alone.
    pub certificate: Option<Arc<StableCertificate>>,
    /// Every slot above h through the last prepared one, with the digest to propose there again.
    pub slots: BTreeMap<Slot, Digest>,
}

/// The choice that everyone computes from the same reports (rule 17): in each slot the digest with
/// the prepared certificate of the highest view, or the no-op where no report has one.
#[must_use]
pub fn choose(reports: &[ViewChange], noop: Digest) -> Chosen {
    let highest = reports.iter().max_by_key(|report| report.stable);
    let stable = highest.map_or(Slot(0), |report| report.stable);
    let mut best: BTreeMap<Slot, (View, Digest)> = BTreeMap::new();
    for prepared in reports.iter().flat_map(|report| &report.prepared) {
        let candidate = (prepared.header.view, prepared.header.digest);
        let known = best.entry(prepared.header.slot).or_insert(candidate);
        *known = candidate.max(*known);
    }
    if seeded(Bug::NewViewForgetsPrepared) {
        best.values_mut().for_each(|(_, digest)| *digest = noop);
    }
    let last = best.last_key_value().map_or(stable, |(slot, _)| *slot);
    let digest = |slot| best.get(&slot).map_or(noop, |(_, digest)| *digest);
    let above = (stable.next().0..=last.0).map(Slot);
    Chosen {
        stable,
        certificate: highest.and_then(|report| report.certificate.clone()),
        slots: above.map(|slot| (slot, digest(slot))).collect(),
    }
}

/// Whether a report is one that a correct replica can make: certificates of earlier views, one a
/// slot, ascending, within four windows above its stable slot (which bounds its size, rule 19).
#[must_use]
pub fn report_is_sound(report: &ViewChange, committee: Committee, window: u64) -> bool {
    let far = report.stable.0.saturating_add(window.saturating_mul(REPORT_WINDOWS));
    let certificate = report.certificate.as_ref().map(|it| it.slot());
    let mut last = report.stable;
    certificate.unwrap_or(Slot(0)) == report.stable
        && committee.contains(report.signer)
        && report.prepared.iter().all(|prepared| {
            let slot = prepared.header.slot;
            let ascends = slot > last && slot.0 <= far;
            last = slot;
            ascends && prepared.header.view < report.view && prepared.is_quorum(committee)
        })
}

/// Whether a NewView is signed by its view's primary and holds sound reports for it from a quorum.
#[must_use]
pub fn opening_is_sound(opening: &NewView, committee: Committee, window: u64) -> bool {
    let mut tally = Tally::new(committee);
    opening.view > View(0)
        && opening.signer == committee.primary(opening.view)
        && opening.view_changes.iter().all(|report| {
            report.view == opening.view
                && tally.add(report.signer)
                && report_is_sound(report, committee, window)
        })
        && tally.is_quorum()
}

impl<C: Command> Pbft<C> {
    /// Leaves for a higher view: no vote is cast in a lower one from here on.
    pub(super) fn leave(&mut self, to: View, out: &mut Out<C>) {
        if to <= self.view {
            return;
        }
        self.quit(to, out);
        self.view = to;
        self.active = false;
        let report = self.report();
        self.own_report = Some(report.clone());
        self.reports.insert(self.config.me, to, report.clone());
        if !seeded(Bug::ViewChangeNotPersisted) {
            let record = Record::ViewChange(report.clone());
            out.push(Effect::Persist { slot: None, record });
        }
        self.send(To::All, Body::ViewChange(report), out);
        self.collect(out);
    }

    /// What leaving a view and jumping over it have in common.
    fn quit(&mut self, to: View, out: &mut Out<C>) {
        out.push(Effect::Leave { to });
        self.return_unsent(out);
        self.patience.left();
        self.joined();
        self.suspects_until = None;
        self.waiting_since = None;
        self.progress_is_armed = false;
        self.accused.clear();
        self.fill = Slot(0);
        self.implied.clear();
        self.slots.values_mut().for_each(|slot| slot.leave_view());
    }

    /// Commands that this primary took and never proposed to anyone.
    fn return_unsent(&self, out: &mut Out<C>) {
        if !self.leads() {
            return;
        }
        for (slot, state) in &self.slots {
            let unsent = state.unsent().filter(|_| !self.implied.contains_key(slot));
            if let Some(command) = unsent {
                out.push(Effect::Returned(C::clone(command)));
            }
        }
    }

    fn report(&self) -> ViewChange {
        let Stable { slot: stable, certificate } = self.window.stable().clone();
        let above = self.slots.range(stable.next()..);
        let mut report = ViewChange {
            view: self.view,
            stable,
            certificate,
            prepared: above.filter_map(|(_, state)| state.prepared.clone()).collect(),
            signer: self.config.me,
            signature: Signature([0; 64]),
        };
        report.signature =
            self.key.sign(&report.statement(&self.config.domain, self.config.instance));
        report
    }

    pub(super) fn wants_report(&self, report: &ViewChange) -> bool {
        self.is_ahead(report.view)
            && self.reports.is_news(report.signer, report.view)
            && report_is_sound(report, self.config.committee, self.config.window)
    }

    pub(super) fn on_view_change(&mut self, report: ViewChange, out: &mut Out<C>) {
        if !report_is_sound(&report, self.config.committee, self.config.window) {
            self.malformed(report.signer, out);
            return;
        }
        if !self.is_ahead(report.view) || !self.reports.insert(report.signer, report.view, report) {
            return;
        }
        // Section 4.5.2: f + 1 are on their way to higher views, so at least one correct is.
        if let Some(to) = self.reports.join(self.view) {
            self.leave(to, out);
        }
        self.collect(out);
    }

    /// Opens the view, when this replica is its primary and a quorum reported.
    ///
    /// Any quorum's reports will do. But one who waits in vain for a certified state takes those
    /// that begin lowest, and gives the others half of its patience to come: a liar's report may
    /// begin at a slot that nobody holds, and then nothing below it would be proposed again.
    pub(super) fn collect(&mut self, out: &mut Out<C>) {
        if self.active || self.primary(self.view) != self.config.me {
            return;
        }
        let Some(mut reports) = self.reports.quorum_for(self.view) else { return };
        if self.stuck > 0 {
            let waited = self.waiting_since.map_or(Duration::ZERO, |since| self.now.since(since));
            let all = reports.len() == self.config.committee.n();
            if !all && waited.saturating_mul(2) < self.patience.timeout() {
                return;
            }
            reports.sort_by_key(|report| report.stable);
            reports.truncate(self.config.committee.quorum());
        }
        let mut opening = NewView {
            view: self.view,
            view_changes: reports.into_iter().cloned().collect(),
            signer: self.config.me,
            signature: Signature([0; 64]),
        };
        opening.signature =
            self.key.sign(&opening.statement(&self.config.domain, self.config.instance));
        self.install(opening, out);
    }

    pub(super) fn wants_opening(&self, opening: &NewView) -> bool {
        self.is_ahead(opening.view)
            && opening_is_sound(opening, self.config.committee, self.config.window)
    }

    pub(super) fn on_new_view(&mut self, opening: NewView, out: &mut Out<C>) {
        if !opening_is_sound(&opening, self.config.committee, self.config.window) {
            self.malformed(opening.signer, out);
            return;
        }
        if !self.is_ahead(opening.view) {
            return;
        }
        if opening.view > self.view {
            let me = self.config.me;
            if opening.view_changes.iter().any(|report| report.signer == me) {
                return self.forgot(out);
            }
            self.quit(opening.view, out);
        }
        self.install(opening, out);
    }

    /// Enters a view that its NewView opens.
    fn install(&mut self, opening: NewView, out: &mut Out<C>) {
        let view = opening.view;
        self.view = view;
        self.active = true;
        self.waiting_since = None;
        self.progress_is_armed = false;
        self.own_report = None;
        // This view has its time, too.
        self.stuck = 0;
        self.reports.drop_through(view);
        out.push(Effect::Persist { slot: None, record: Record::NewView(opening.clone()) });
        if self.leads() {
            self.send(To::All, Body::NewView(opening.clone()), out);
        }
        out.push(Effect::Enter { view, primary: self.primary(view) });
        let stable = self.adopt(opening);
        self.raise_stable(stable, out);
        self.propose_again(out);
        for (signer, body) in self.early.take(view) {
            let message = self.message(body);
            self.on_message(signer, message, out);
        }
    }

    /// Takes over what a sound NewView implies; its h as a stable slot.
    pub(super) fn adopt(&mut self, opening: NewView) -> Stable {
        let chosen = choose(&opening.view_changes, self.noop);
        self.opening = Some(Arc::new(opening));
        let last = chosen.slots.last_key_value().map_or(chosen.stable, |(slot, _)| *slot);
        if seeded(Bug::NewPrimaryReusesSlots) {
            self.assigned = chosen.stable;
        } else {
            self.assigned = last.max(self.window.known().slot);
        }
        self.window.open_above(chosen.stable);
        self.implied = chosen.slots;
        Stable { slot: chosen.stable, certificate: chosen.certificate }
    }
}
