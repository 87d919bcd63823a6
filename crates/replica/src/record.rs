//! `Executed -> Recorded`: a slot's entries, their place in the Merkle log, and the head after
//! them.

use crate::execute::{Executed, Outcome};
use quorate_proof::{Entry, Frontier};
use quorate_types::{
    Asked, Digest, EntryFacts, Exchange, Head, Index, LogItem, Opening, Salt, Slot,
    StableCertificate, StateRecord,
};
use std::sync::Arc;

/// The log's right edge, and what is appended to it.
#[derive(Clone, Debug)]
pub struct Recorder {
    frontier: Frontier,
}

/// A slot's entries and the head after them. Made by [`Recorder`] alone.
#[derive(Debug)]
pub struct Recorded {
    pub(crate) from: Index,
    pub(crate) items: Arc<Vec<LogItem>>,
    pub(crate) paths: Vec<Vec<Digest>>,
    pub(crate) head: Head,
    pub(crate) record: StateRecord,
    pub(crate) state: Digest,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) expired: Vec<Asked>,
}

impl Recorder {
    /// A log that ends at a frontier.
    #[must_use]
    pub fn new(frontier: Frontier) -> Self {
        Self { frontier }
    }

    /// The right edge.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Appends what a slot made.
    pub fn record(&mut self, executed: Executed) -> Recorded {
        let Executed { outcomes, expired, fresh, record, table, state } = executed;
        let from = Index(self.frontier.size());
        let mut items = Vec::with_capacity(fresh.len());
        let mut leaves = Vec::with_capacity(fresh.len());
        for (index, new) in (from.0..).map(Index).zip(fresh) {
            let (epoch, time) = (record.epoch, record.time);
            let entry = Entry { index, epoch, time, state, kind: new.kind };
            let text = entry.text();
            leaves.push(quorate_proof::leaf_hash(text.as_bytes()));
            items.push(LogItem { entry: text, exchange: new.exchange, opening: None });
        }
        if let Some(last) = items.last_mut() {
            let StateRecord { slot, service, engine, .. } = record;
            last.opening = Some(Opening { slot, service, table, engine });
        }
        let paths = self.frontier.append(&leaves);
        let head = Head { size: self.frontier.size(), root: self.frontier.root() };
        Recorded { from, items: Arc::new(items), paths, head, record, state, outcomes, expired }
    }
}

impl Recorded {
    /// The slot recorded.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.record.slot
    }

    /// The log after the slot.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The slot's entries and exchanges, in order.
    #[must_use]
    pub fn items(&self) -> &Arc<Vec<LogItem>> {
        &self.items
    }

    /// What one of this slot's entries says, its exchange and its path.
    pub(crate) fn at(&self, index: Index) -> Option<(EntryFacts, &Exchange, &[Digest])> {
        let place = usize::try_from(index.0.checked_sub(self.from.0)?).ok()?;
        let exchange = self.items.get(place)?.exchange.as_ref()?;
        let salt: Salt = exchange.request.salt;
        let (epoch, time) = (self.record.epoch, self.record.time);
        let facts = EntryFacts { index, epoch, time, state: self.state, salt };
        Some((facts, exchange, self.paths.get(place)?))
    }

    /// The certificate that cosignatures of this head make.
    pub(crate) fn certificate(
        &self,
        cosignatures: Vec<quorate_types::Cosignature>,
    ) -> Option<StableCertificate> {
        Some(StableCertificate {
            head: self.head,
            cosignatures,
            last_entry: self.items.last()?.entry.clone(),
            path: self.paths.last()?.clone(),
            record: self.record,
        })
    }
}
