//! A replica that lost its disk, and how it may vote again (rule 28a).
//!
//! Without its vote log it cannot know what it voted for. So it asks all others where anybody may
//! have voted, takes the highest answer of a quorum of them, and neither votes, cosigns nor leads
//! before it holds a stable state at or above that slot. The rejoin is ordered, so that everyone
//! sees it, and the others fill the slots up to there with no-ops, so that an idle cluster does not
//! keep it waiting.

use crate::config::Config;
use quorate_crypto::{Verifier, VoteSigner, rejoin_claim, rejoin_statement};
use quorate_types::{Digest, Rejoin, RejoinReport, ReplicaId, Slot, Tally};
use std::collections::BTreeMap;

/// Answers a replica that asks where it may have voted.
pub(crate) fn report(
    config: &Config,
    signer: &VoteSigner,
    nonce: &Digest,
    replica: ReplicaId,
    stable: Slot,
) -> RejoinReport {
    let window_end = Slot(stable.0.saturating_add(config.window));
    let bytes = rejoin_statement(&config.domain, nonce, replica, window_end);
    RejoinReport { reporter: config.me, window_end, signature: signer.sign(&bytes) }
}

/// A rejoin under way, at the replica that lost its disk.
#[derive(Debug)]
pub(crate) struct Rejoining {
    pub(crate) nonce: Digest,
    reports: BTreeMap<ReplicaId, RejoinReport>,
}

impl Rejoining {
    pub(crate) fn new(nonce: Digest) -> Self {
        Self { nonce, reports: BTreeMap::new() }
    }

    /// Takes a report, if it answers this start's nonce.
    pub(crate) fn add(
        &mut self,
        config: &Config,
        verifier: &Verifier,
        nonce: &Digest,
        report: RejoinReport,
    ) {
        let claim = rejoin_claim(&config.domain, nonce, config.me, &report);
        let stranger = report.reporter == config.me || *nonce != self.nonce;
        if stranger || self.offer(config).is_some() || !verifier.check(&[claim]) {
            return;
        }
        self.reports.insert(report.reporter, report);
    }

    /// What to have ordered, once a quorum of others reported.
    pub(crate) fn offer(&self, config: &Config) -> Option<Rejoin> {
        let mut reporters = Tally::new(config.committee);
        reporters.extend(self.reports.keys().copied());
        let reports = self.reports.values().cloned().collect();
        reporters.is_quorum().then_some(Rejoin { replica: config.me, nonce: self.nonce, reports })
    }

    /// The slot at or above which a stable state is needed.
    pub(crate) fn bound(&self, config: &Config) -> Option<Slot> {
        self.offer(config).as_ref().map(bound)
    }
}

/// The highest slot in which the rejoining replica may have voted.
pub(crate) fn bound(rejoin: &Rejoin) -> Slot {
    rejoin.reports.iter().map(|report| report.window_end).max().unwrap_or_default()
}
