//! `Batch -> Ordered`: what the engine decided, in slot order.

use quorate_types::{Batch, Slot};
use std::sync::Arc;

/// A decided slot. Made by the engine's commits alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ordered {
    slot: Slot,
    batch: Option<Arc<Batch>>,
}

impl Ordered {
    /// What the engine committed.
    pub(crate) fn new(slot: Slot, batch: Option<Arc<Batch>>) -> Self {
        Self { slot, batch }
    }

    /// The slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The batch; `None` for a no-op.
    #[must_use]
    pub fn batch(&self) -> Option<&Batch> {
        self.batch.as_deref()
    }
}
