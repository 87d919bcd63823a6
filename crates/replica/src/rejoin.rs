//! A replica that lost its disk, and how it may vote again (rule 28a).
//!
//! Without its vote log it cannot know what it voted for. So it asks all others how far they are,
//! and from a quorum of answers follows what it may have done at most:
//!
//! - **Slots.** It voted at most one window above a stable slot of its own. That slot was executed
//!   by a quorum, so by a correct one of the reporters, who may have lost up to one and a half
//!   windows of it with all power since: no vote lies above the highest executed slot reported,
//!   plus three windows. A reporter may lie, but nobody executes more than three windows above
//!   what is certified, and that takes a certificate.
//! - **Views.** It left a view only when the view was open, or others were on their way further. A
//!   correct reporter therefore knows at least the view before the highest that it left for.
//!
//! It neither votes, cosigns nor leads before it holds a stable state at or above that slot, and
//! then begins on its way to a view above all those. The rejoin is ordered, so that everyone sees
//! it: they leave for the same view, and fill the slots with no-ops, so that an idle cluster does
//! not keep it waiting.

use crate::config::Config;
use quorate_crypto::{Verifier, VoteSigner, rejoin_claims, rejoin_statement};
use quorate_types::{
    Committee, Digest, Rejoin, RejoinReport, ReplicaId, Signature, Slot, StableCertificate, Tally,
    View,
};
use std::{collections::BTreeMap, sync::Arc};

/// How far the views of two reports may lie apart. A liar could name the last view there is.
pub(crate) const VIEWS_APART_MAX: u64 = 1 << 32;

/// Answers a replica that asks how far this one is.
pub(crate) fn report(
    config: &Config,
    signer: &VoteSigner,
    nonce: &Digest,
    replica: ReplicaId,
    (executed, view): (Slot, View),
    stable: Option<Arc<StableCertificate>>,
) -> RejoinReport {
    let signature = Signature([0; 64]);
    let mut report = RejoinReport { reporter: config.me, executed, view, stable, signature };
    let bytes = rejoin_statement(&config.domain, nonce, replica, &report);
    report.signature = signer.sign(&bytes);
    report
}

/// A rejoin under way, at the replica that lost its disk.
#[derive(Debug)]
pub(crate) struct Rejoining {
    pub(crate) nonce: Digest,
    reports: BTreeMap<ReplicaId, RejoinReport>,
    offer: Option<Rejoin>,
}

impl Rejoining {
    pub(crate) fn new(nonce: Digest) -> Self {
        Self { nonce, reports: BTreeMap::new(), offer: None }
    }

    /// Takes a report, if it answers this start's nonce.
    pub(crate) fn add(
        &mut self,
        config: &Config,
        verifier: &Verifier,
        nonce: &Digest,
        report: RejoinReport,
    ) {
        let known = self.reports.contains_key(&report.reporter);
        let stranger = report.reporter == config.me || *nonce != self.nonce;
        if known || stranger || self.offer.is_some() {
            return;
        }
        let claims: Vec<_> = rejoin_claims(&config.domain, nonce, config.me, &report).collect();
        if verifier.check(&claims) {
            self.reports.insert(report.reporter, report);
            self.offer = self.sound_offer(config);
        }
    }

    /// How many reports came so far.
    pub(crate) fn reports(&self) -> usize {
        self.reports.len()
    }

    /// What to have ordered, once a quorum of others reported believably. It stays the same.
    pub(crate) fn offer(&self) -> Option<&Rejoin> {
        self.offer.as_ref()
    }

    /// The reports of a quorum whose views lie together: a liar may name any view.
    fn sound_offer(&self, config: &Config) -> Option<Rejoin> {
        let mut reports: Vec<_> = self.reports.values().cloned().collect();
        reports.sort_by_key(|report| report.view);
        let quorums = reports.windows(config.committee.quorum());
        let offer = |reports: &[RejoinReport]| Rejoin {
            replica: config.me,
            nonce: self.nonce,
            reports: reports.to_vec(),
        };
        quorums.map(offer).find(|offer| is_sound(offer, config.committee))
    }
}

/// The highest slot in which the rejoining replica may have voted.
pub(crate) fn bound(rejoin: &Rejoin, window: u64) -> Slot {
    let end = |report: &RejoinReport| {
        let proven = report.stable_slot().0.saturating_add(window.saturating_mul(3));
        Slot(report.executed.0.min(proven).saturating_add(window.saturating_mul(3)))
    };
    rejoin.reports.iter().map(end).max().unwrap_or_default()
}

/// The view in which the rejoining replica begins: above every one that it may have left for, and
/// not led by itself, since it does not lead before it holds the state.
pub(crate) fn view(rejoin: &Rejoin, committee: Committee) -> View {
    let known = rejoin.reports.iter().map(|report| report.view).max().unwrap_or_default();
    let view = View(known.0.saturating_add(2));
    if committee.primary(view) == rejoin.replica { view.next() } else { view }
}

/// Whether a rejoin carries believable reports of a quorum of others. Its signatures and
/// certificates are among its claims.
pub(crate) fn is_sound(rejoin: &Rejoin, committee: Committee) -> bool {
    let mut reporters = Tally::new(committee);
    reporters.extend(rejoin.reports.iter().map(|report| report.reporter));
    let views = || rejoin.reports.iter().map(|report| report.view.0);
    let apart = views().max().unwrap_or(0).saturating_sub(views().min().unwrap_or(0));
    committee.contains(rejoin.replica)
        && rejoin.reports.len() == reporters.count()
        && reporters.is_quorum()
        && !reporters.contains(rejoin.replica)
        && apart <= VIEWS_APART_MAX
}
