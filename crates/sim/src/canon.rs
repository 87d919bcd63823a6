//! The one log, as it grows: what correct replicas append, sign and keep is held against it at
//! once, so that a failure has the time at which it happened.
//!
//! Every item that a correct replica appends was decided, or stands under a certified head: from
//! then on no correct replica may ever hold another at its place, not even after it lost power and
//! executed the slot again. So whoever comes first says what stands there, and is judged by the
//! model; all others must say the same.

use crate::{
    check::{Asked, answers, key_of},
    client::Operation,
    cluster::Tuning,
    model::{Expected, Leeway, Model},
    violation::{Check, Violation},
};
use quorate_proof::{Frontier, leaf_hash};
use quorate_types::{
    Digest, Head, Index, LogItem, PublicKey, Request, StableCertificate, StateRecord,
};
use std::collections::{BTreeMap, BTreeSet};

/// The entries that correct replicas hold, and what was certified of them.
#[derive(Debug)]
pub struct Canon {
    items: Vec<LogItem>,
    frontier: Frontier,
    /// The root of the log at each size with which a correct replica ended an append.
    roots: BTreeMap<u64, Digest>,
    /// What certificates say of the state, by size.
    records: BTreeMap<u64, StateRecord>,
    asked: Asked,
    model: Model,
    /// Keys under which something was executed.
    effects: BTreeSet<(Option<PublicKey>, Option<String>, String)>,
    window: u64,
}

impl Canon {
    /// Nothing yet.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        Self {
            items: Vec::new(),
            frontier: Frontier::new(),
            roots: BTreeMap::new(),
            records: BTreeMap::new(),
            asked: Asked::default(),
            model: Model::new(tuning),
            effects: BTreeSet::new(),
            window: tuning.replay_window,
        }
    }

    /// Bears with so much from now on.
    pub fn bear(&mut self, leeway: Leeway) {
        self.model.bear(leeway);
    }

    /// How many items correct replicas hold.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.items.len() as u64
    }

    /// A client asks for something.
    pub fn asked(&mut self, operation: &Operation) {
        self.asked.add(operation);
    }

    /// A correct replica appends items. `invented` is what liars asked for in nobody's name.
    ///
    /// # Errors
    /// What they contradict: what stands there at another correct replica, what was asked for, or
    /// the model.
    pub fn appended<'a>(
        &mut self,
        from: Index,
        items: &[LogItem],
        invented: impl Iterator<Item = &'a Request> + Clone,
    ) -> Result<(), Violation> {
        for (place, item) in (from.0..).zip(items) {
            match usize::try_from(place).ok().and_then(|at| self.items.get(at)) {
                Some(known) if known == item => {}
                Some(known) => {
                    let reason = format!("entry {place} is {item:?}, and elsewhere {known:?}");
                    return Err(Check::Agreement.broken(reason));
                }
                None if place == self.items.len() as u64 => {
                    self.extend(item, invented.clone())?;
                }
                None => {
                    let reason = format!("entry {place} follows on what no correct replica holds");
                    return Err(Check::Agreement.broken(reason));
                }
            }
        }
        if from.0 + items.len() as u64 == self.items.len() as u64 {
            self.roots.insert(self.frontier.size(), self.frontier.root());
        }
        Ok(())
    }

    /// A correct replica signs a head.
    ///
    /// # Errors
    /// It is not one of the log's.
    pub fn signed(&mut self, head: &Head) -> Result<(), Violation> {
        match self.root(head.size) {
            Some(root) if root == head.root => Ok(()),
            Some(_) => Err(Check::Signatures
                .broken(format!("a head of size {} has another root than the log", head.size))),
            None => Err(Check::Signatures
                .broken(format!("a head of size {} is of a log that nobody has", head.size))),
        }
    }

    /// A correct replica keeps a certificate.
    ///
    /// # Errors
    /// Its head is not one of the log's, or another certificate says something else of its state.
    pub fn certified(&mut self, certificate: &StableCertificate) -> Result<(), Violation> {
        let StableCertificate { head, record, .. } = certificate;
        self.signed(head)?;
        match *self.records.entry(head.size).or_insert(*record) == *record {
            true => Ok(()),
            false => Err(Check::State
                .broken(format!("two certificates of size {} name two states", head.size))),
        }
    }

    fn extend<'a>(
        &mut self,
        item: &LogItem,
        invented: impl Iterator<Item = &'a Request>,
    ) -> Result<(), Violation> {
        let place = self.items.len();
        if let Some(exchange) = &item.exchange {
            self.asked.covers(&exchange.request, invented)?;
        }
        let wrong = |it: Violation| it.check.broken(format!("entry {place}: {}", it.reason));
        let expected = self.model.next(item).map_err(wrong)?;
        answers(place, item, expected.as_ref())?;
        if let (Some(exchange), Some(Expected { executed: true, .. })) = (&item.exchange, &expected)
            && let Some((signer, credentials, key)) = key_of(&exchange.request)
            && !self.effects.insert((signer, credentials.map(str::to_owned), key.to_owned()))
            && place as u64 <= self.window
        {
            let reason = format!("entry {place}: {key} took effect twice");
            return Err(Check::AtMostOnce.broken(reason));
        }
        self.frontier.push(leaf_hash(item.entry.as_bytes()));
        self.items.push(item.clone());
        Ok(())
    }

    fn root(&mut self, size: u64) -> Option<Digest> {
        if let Some(root) = self.roots.get(&size) {
            return Some(*root);
        }
        // It was stored in pages, and nobody who executed it came first.
        let below = self.items.get(..usize::try_from(size).ok()?)?;
        let mut frontier = Frontier::new();
        below.iter().for_each(|item| frontier.push(leaf_hash(item.entry.as_bytes())));
        let root = frontier.root();
        self.roots.insert(size, root);
        Some(root)
    }
}
