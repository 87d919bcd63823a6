//! The slots that an engine works on: one window above the stable slot, and one kept below it.

use crate::Stable;
use quorate_types::Slot;

/// Where an engine stands. Three marks that only ever rise:
///
/// ```text
///      lowest kept        stable                 high                    far
///  ---------|---------------|----------------------|-----------------------|----->
///           ^ one window    ^ a quorum holds the   ^ votes are cast up     ^ others' votes are
///             for laggards    state here             to here                 kept up to here
/// ```
///
/// `committed` is this replica's own position, anywhere up to `far`: below `stable` when it lags.
#[derive(Clone, Debug)]
pub struct Window {
    size: u64,
    stable: Stable,
    committed: Slot,
    forgotten: Slot,
}

impl Window {
    /// A window of `size` slots (at least 1) right above genesis.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size: size.max(1),
            stable: Stable::genesis(),
            committed: Slot(0),
            forgotten: Slot(0),
        }
    }

    /// How many slots it spans.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The newest slot known to be held by a quorum, with its proof.
    #[must_use]
    pub fn stable(&self) -> &Stable {
        &self.stable
    }

    /// The last slot committed without gaps.
    #[must_use]
    pub fn committed(&self) -> Slot {
        self.committed
    }

    /// The highest slot to vote for.
    #[must_use]
    pub fn high(&self) -> Slot {
        Slot(self.stable.slot.0.saturating_add(self.size))
    }

    /// The highest slot about which anything is kept: peers may have learnt of a later stable slot
    /// a little earlier.
    #[must_use]
    pub fn far(&self) -> Slot {
        let base = self.stable.slot.max(self.committed);
        Slot(base.0.saturating_add(self.size.saturating_mul(2)))
    }

    /// The lowest slot that is kept: a window below the stable slot, and whatever this replica
    /// has not committed itself.
    #[must_use]
    pub fn lowest_kept(&self) -> Slot {
        Slot(self.stable.slot.0.saturating_sub(self.size).min(self.committed.0).saturating_add(1))
    }

    /// Whether this replica may still vote for the slot: above the stable slot, up to `high`.
    #[must_use]
    pub fn is_open(&self, slot: Slot) -> bool {
        slot > self.stable.slot && slot <= self.high()
    }

    /// Whether something about the slot can still be learnt: votes to count, or a decision.
    #[must_use]
    pub fn is_known(&self, slot: Slot) -> bool {
        slot > self.stable.slot.min(self.committed) && slot <= self.far()
    }

    /// Whether a replica that committed this far is beyond what others keep for it, when `stable`
    /// is their stable slot.
    #[must_use]
    pub fn is_beyond_help(&self, committed: Slot, stable: Slot) -> bool {
        committed.0.saturating_add(self.size) < stable.0
    }

    /// Takes a higher stable slot; `false` if it is not higher, or comes without proof.
    pub fn raise_stable(&mut self, stable: Stable) -> bool {
        if stable.slot <= self.stable.slot || stable.certificate.is_none() {
            return false;
        }
        self.stable = stable;
        true
    }

    /// Notes that this replica holds the state after this slot.
    pub fn raise_committed(&mut self, slot: Slot) {
        self.committed = self.committed.max(slot);
    }

    /// The slot below which records may go, when that moved by half a window since the last time.
    pub fn forget(&mut self) -> Option<Slot> {
        let below = self.lowest_kept();
        let step = (self.size / 2).max(1);
        if below.0 < self.forgotten.0.max(1).saturating_add(step) {
            return None;
        }
        self.forgotten = below;
        Some(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::certificate;
    use std::sync::Arc;

    fn stable(slot: u64) -> Stable {
        Stable::certified(Arc::new(certificate(Slot(slot))))
    }

    #[test]
    fn votes_are_cast_within_the_window_and_learnt_within_two() {
        let mut window = Window::new(8);
        assert!(window.is_open(Slot(1)) && window.is_open(Slot(8)) && !window.is_open(Slot(9)));
        assert!(
            !window.is_open(Slot(0)) && window.is_known(Slot(16)) && !window.is_known(Slot(17))
        );
        assert!(window.raise_stable(stable(4)));
        assert!(!window.is_open(Slot(4)) && window.is_open(Slot(12)));
        assert!(window.is_known(Slot(1)), "not committed here yet");
        window.raise_committed(Slot(4));
        assert!(!window.is_known(Slot(4)));
    }

    #[test]
    fn a_stable_slot_needs_a_proof_and_never_falls() {
        let mut window = Window::new(8);
        assert!(!window.raise_stable(Stable { slot: Slot(3), certificate: None }));
        assert!(window.raise_stable(stable(3)));
        assert!(!window.raise_stable(stable(3)) && !window.raise_stable(stable(2)));
        assert_eq!(window.stable().slot, Slot(3));
    }

    #[test]
    fn records_are_forgotten_half_a_window_at_a_time_and_one_window_late() {
        let mut window = Window::new(8);
        let mut forgotten = Vec::new();
        for slot in 1..=24 {
            window.raise_committed(Slot(slot));
            window.raise_stable(stable(slot));
            forgotten.extend(window.forget().map(|below| (slot, below.0)));
        }
        assert_eq!(forgotten, [(12, 5), (16, 9), (20, 13), (24, 17)]);
    }

    #[test]
    fn what_this_replica_has_not_committed_is_not_forgotten() {
        let mut window = Window::new(8);
        window.raise_committed(Slot(2));
        window.raise_stable(stable(40));
        assert_eq!(window.lowest_kept(), Slot(3));
        assert!(
            window.is_beyond_help(Slot(2), Slot(40)) && !window.is_beyond_help(Slot(32), Slot(40))
        );
    }
}
