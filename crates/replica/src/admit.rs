//! `Proposal -> Admitted`: what may be ordered at all.
//!
//! The rules here read nothing but the request and the configuration, which is equal at all
//! replicas: what one correct replica admits, every correct replica accepts in a proposal.

use crate::{config::Config, outcome, rejoin};
use quorate_crypto::Verified;
use quorate_proof::check_request;
use quorate_protocol::Verdict;
use quorate_types::{Batch, Committee, Item, Outcome, Refusal, Rejoin, Request, UnixMillis};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// A request that somebody wants to have ordered. Its claims are checked, its content is not.
#[derive(Clone, Debug)]
pub struct Proposal(Arc<Request>);

impl From<Verified<Arc<Request>>> for Proposal {
    fn from(request: Verified<Arc<Request>>) -> Self {
        Self(request.into_inner())
    }
}

impl Proposal {
    /// A request out of a verified message.
    pub(crate) fn part_of_verified(request: Arc<Request>) -> Self {
        Self(request)
    }
}

/// A request that every correct replica will accept in a batch. Made by [`Admission`] alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admitted(Arc<Request>);

impl Admitted {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Arc<Request> {
        &self.0
    }

    /// About how many bytes it takes in a batch.
    #[must_use]
    pub fn weight(&self) -> usize {
        weight(&self.0)
    }
}

/// About how many bytes a request takes in a batch or a forward.
pub(crate) fn weight(request: &Request) -> usize {
    let fields: usize = request.fields.iter().map(|(n, v)| n.len() + v.len() + 8).sum();
    request.body.len() + request.path.len() + request.query.len() + fields + 160
}

fn weight_of(item: &Item) -> usize {
    match item {
        Item::Request(asked) => weight(&asked.request),
        Item::Rejoin(_) => 0,
        Item::Outcome(outcome) => outcome_weight(outcome),
    }
}

/// About how many bytes an outcome takes in a batch.
pub(crate) fn outcome_weight(outcome: &Outcome) -> usize {
    outcome.reports.iter().map(|report| report.answers.len() * 33 + 80).sum()
}

/// Whether no replica rejoins twice, and one outcome is settled at most. Rejoins have no weight,
/// so this bounds them.
fn once_each(batch: &Batch) -> bool {
    let (mut replicas, mut outcomes) = (BTreeSet::new(), 0);
    batch.items.iter().all(|item| match item {
        Item::Rejoin(rejoin) => replicas.insert(rejoin.replica),
        Item::Request(_) => true,
        Item::Outcome(_) => {
            outcomes += 1;
            outcomes == 1
        }
    })
}

/// The rules of admission.
#[derive(Clone, Debug)]
pub struct Admission {
    coverage: quorate_proof::Coverage,
    committee: Committee,
    body_max: usize,
    items_max: usize,
    bytes_max: usize,
    clock_skew_max: Duration,
    copies: bool,
}

impl Admission {
    /// The rules that a configuration states.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            coverage: config.coverage.clone(),
            committee: config.committee,
            body_max: config.limits.body_max,
            items_max: config.limits.batch_items_max,
            bytes_max: config.limits.batch_bytes_max,
            clock_skew_max: config.limits.clock_skew_max,
            copies: config.copies,
        }
    }

    /// Admits one request.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn admit(&self, proposal: Proposal) -> Result<Admitted, Refusal> {
        let request = &proposal.0;
        if request.body.len() > self.body_max {
            let detail = format!("a content of at most {} bytes is taken", self.body_max);
            return Err(Refusal::new(413, "body-too-large", detail));
        }
        check_request(request, &self.coverage)
            .map_err(|fault| Refusal::new(fault.status(), fault.code(), fault.to_string()))?;
        Ok(Admitted(proposal.0))
    }

    /// Whether this replica may vote for a proposed batch, whose claims were verified.
    ///
    /// `clock` is this replica's own, for a fresh proposal; a re-proposal keeps its time and is
    /// exempt (rule 28b).
    #[must_use]
    pub fn judge(&self, batch: &Batch, clock: Option<UnixMillis>) -> Verdict {
        let timely = clock.is_none_or(|clock| batch.time.distance(clock) <= self.clock_skew_max);
        let bytes: usize = batch.items.iter().map(weight_of).sum();
        let fits = bytes <= self.bytes_max || batch.items.len() == 1;
        let sized = !batch.items.is_empty() && batch.items.len() <= self.items_max && fits;
        match sized && once_each(batch) && batch.items.iter().all(|item| self.may_order(item)) {
            false => Verdict::Refused,
            true if timely => Verdict::Accepted,
            true => Verdict::Untimely,
        }
    }

    /// Whether a rejoin carries believable reports of a quorum of others.
    #[must_use]
    pub fn may_rejoin(&self, rejoin: &Rejoin) -> bool {
        rejoin::is_sound(rejoin, self.committee)
    }

    fn may_order(&self, item: &Item) -> bool {
        match item {
            Item::Request(asked) => self.admit(Proposal(asked.request.clone())).is_ok(),
            Item::Rejoin(rejoin) => self.may_rejoin(rejoin),
            Item::Outcome(it) => {
                self.copies && outcome::is_sound(it, self.committee, self.items_max)
            }
        }
    }
}
