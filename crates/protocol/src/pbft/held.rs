//! How much the engine keeps, and how much it may (invariant 6).

use super::{Command, Pbft, slot::SlotState, status, view_change::REPORT_WINDOWS};
use quorate_types::Held;

/// How many windows of slots are kept at most: one below the stable slot and four above it while
/// it runs, see [`Window`](crate::window::Window); and two that a restart may bring back, since
/// the newest certificate is not durable before the window moves by half.
pub const SLOTS_WINDOWS: u64 = 7;

impl<C: Command> Pbft<C> {
    /// What each queue, map and set holds, with its bound.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let n = u64::try_from(self.config.committee.n()).unwrap_or(u64::MAX);
        let (others, window) = (n.saturating_sub(1), self.window.size());
        let payloads = self.slots.values().map(|slot| slot.payloads_held()).max().unwrap_or(0);
        let votes = self.slots.values().map(|slot| slot.votes_held()).max().unwrap_or(0);
        let (early, proposals) = self.early.held();
        let early_most = u64::try_from(self.early_most()).unwrap_or(u64::MAX);
        let payloads_max = u64::try_from(SlotState::<C>::PAYLOADS_MAX).unwrap_or(u64::MAX);
        let proposals_max = u64::try_from(status::EARLY_PROPOSALS_MAX).unwrap_or(u64::MAX);
        vec![
            Held::new("engine.slots", self.slots.len(), window.saturating_mul(SLOTS_WINDOWS)),
            Held::new("engine.payloads-of-a-slot", payloads, payloads_max),
            // Of two phases.
            Held::new("engine.votes-of-a-slot", votes, n.saturating_mul(2)),
            Held::new("engine.implied", self.implied.len(), window.saturating_mul(REPORT_WINDOWS)),
            Held::new("engine.reports", self.reports.len(), n),
            Held::new("engine.early-of-a-peer", early, early_most),
            Held::new("engine.early-proposals-of-a-peer", proposals, proposals_max),
            Held::new("engine.early-peers", self.early.peers(), others),
            // For each of three phases.
            Held::new("engine.accused", self.accused.len(), others.saturating_mul(3)),
            Held::new("engine.peers", self.peers.len(), others),
        ]
    }
}
