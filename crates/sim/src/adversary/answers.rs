//! Lies about what a copy of the service answered.

use super::{Adversary, Deed};
use bytes::Bytes;
use quorate_crypto::report_statement;
use quorate_types::{Batch, Digest, Item, Outcome, Report, Response, Signature};
use std::sync::Arc;

/// On how many slots it remembers what it reported.
const REPORTS_MAX: usize = 256;

impl Adversary {
    /// What it reports, for which there is no ground; the same each time it is sent.
    pub(super) fn reported(&mut self, report: Report) -> Report {
        let own = report.reporter == self.me && self.deeds.contains(&Deed::ReportFalsely);
        if !own {
            return report;
        }
        if let Some(known) = self.reports.get(&report.slot) {
            return known.clone();
        }
        let mut told = report;
        if self.tempted(Deed::ReportFalsely, 700) {
            for at in 0..told.answers.len() {
                let invented = self.invented_digest();
                told.answers[at] = match self.rng.below(3) {
                    0 => None,
                    1 => Some(invented),
                    _ => told.answers[at],
                };
            }
            // Perhaps on another number of calls than there were.
            if self.rng.permille(100) {
                told.answers.push(None);
            }
            told = self.signed_report(told);
        }
        self.reports.insert(told.slot, told.clone());
        if self.reports.len() > REPORTS_MAX {
            self.reports.pop_first();
        }
        told
    }

    /// Something else than what it reported.
    pub(super) fn other_report(&mut self, report: &Report) -> Report {
        let mut other = report.clone();
        let invented = self.rng.permille(500).then(|| self.invented_digest());
        if let Some(first) = other.answers.first_mut() {
            *first = invented;
        }
        self.signed_report(other)
    }

    /// The body of an answer that another one lacks.
    pub(super) fn answered(&mut self, mut response: Box<Response>) -> Box<Response> {
        if self.tempted(Deed::AnswerWrongly, 700) {
            response.body = Bytes::from_static(b"made up");
        }
        response
    }

    /// Its proposal, with no outcome in it, or with one that does not count.
    pub(super) fn without_outcome(&mut self, batch: &Arc<Batch>) -> Option<Arc<Batch>> {
        let is_outcome = |item: &Item| matches!(item, Item::Outcome(_));
        if !batch.items.iter().any(is_outcome) {
            return Some(batch.clone());
        }
        let mut other = Batch::clone(batch);
        if self.tempted(Deed::WithholdOutcome, 1_000) {
            other.items.retain(|item| !is_outcome(item));
            return (!other.items.is_empty()).then(|| Arc::new(other));
        }
        if self.tempted(Deed::ForgeOutcome, 700) {
            for item in &mut other.items {
                if let Item::Outcome(outcome) = item {
                    self.forge_outcome(outcome);
                }
            }
        }
        Some(Arc::new(other))
    }

    fn forge_outcome(&mut self, outcome: &mut Outcome) {
        let Some(own) = outcome.reports.iter().find(|it| it.reporter == self.me).cloned() else {
            outcome.reports.truncate(1);
            return;
        };
        let other = self.other_report(&own);
        match self.rng.below(4) {
            // One of its own is not enough, however it is signed.
            0 => outcome.reports = vec![other],
            1 => outcome.reports = vec![other; outcome.reports.len()],
            2 => outcome.reports.truncate(self.cluster.committee.quorum() - 1),
            _ => {
                for report in &mut outcome.reports {
                    report.answers.clone_from(&other.answers);
                    report.signature = Signature([0x55; 64]);
                }
            }
        }
    }

    fn invented_digest(&mut self) -> Digest {
        let mut digest = Digest([0; 32]);
        digest.0[..16].copy_from_slice(&self.rng.sixteen());
        digest
    }

    fn signed_report(&self, mut report: Report) -> Report {
        let statement = report_statement(&self.cluster.domain, report.slot, &report.answers);
        report.signature = self.key().sign(&statement);
        report
    }
}
