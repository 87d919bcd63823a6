//! The slots that an engine works on: one window above the stable slot, and one kept below it.

use crate::Stable;
use quorate_types::Slot;

/// Where an engine stands. Marks that rise:
///
/// ```text
///      lowest kept        stable                 high                    far
///  ---------|---------------|----------------------|-----------------------|----->
///           ^ one window    ^ a quorum holds the   ^ votes are cast up     ^ others' votes are
///             for laggards    state here             to here                 kept up to here
/// ```
///
/// `committed` is this replica's own position, anywhere up to `far`: below `stable` when it lags
/// by more than a window.
///
/// A certificate says that a quorum *held* the state. When everybody lost power, nobody may hold
/// it any more; then what was voted on below must be voted on again. So `stable` follows what this
/// replica committed, and jumps ahead only where that lies beyond its records: more than a window
/// below a slot `known` to be certified. It comes back when the replica gets to hold a certified
/// slot less than a window below, and `low` stays for the rest of the view.
#[derive(Clone, Debug)]
pub struct Window {
    size: u64,
    stable: Stable,
    known: Stable,
    /// A certified slot above `committed`: the next that `stable` is raised to.
    next: Option<Stable>,
    opened_at: Slot,
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
            known: Stable::genesis(),
            next: None,
            opened_at: Slot(0),
            committed: Slot(0),
            forgotten: Slot(0),
        }
    }

    /// How many slots it spans.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The slot above which this replica can account for all its votes, with its proof.
    #[must_use]
    pub fn stable(&self) -> &Stable {
        &self.stable
    }

    /// The newest slot known to be certified, with its proof.
    #[must_use]
    pub fn known(&self) -> &Stable {
        &self.known
    }

    /// The last slot committed without gaps.
    #[must_use]
    pub fn committed(&self) -> Slot {
        self.committed
    }

    /// The slot above which votes are cast: stable, and not below where the view began.
    #[must_use]
    pub fn low(&self) -> Slot {
        self.stable.slot.max(self.opened_at)
    }

    /// The highest slot to vote for.
    #[must_use]
    pub fn high(&self) -> Slot {
        Slot(self.low().0.saturating_add(self.size))
    }

    /// Notes from where on the current view's NewView says what was decided: below it, this view
    /// knows nothing, and nothing is voted for.
    pub fn open_above(&mut self, slot: Slot) {
        self.opened_at = slot;
    }

    /// The highest slot about which anything is kept: peers may have learnt of a later stable slot
    /// a little earlier.
    #[must_use]
    pub fn far(&self) -> Slot {
        // Nothing is decided more than a window above what somebody can prove to be certified: who
        // committed further waits for the proof, so that he keeps no more than he may.
        let proven = Slot(self.known.slot.0.saturating_add(self.size));
        let base = self.known.slot.max(self.committed.min(proven));
        Slot(base.0.saturating_add(self.size.saturating_mul(2)))
    }

    /// The lowest slot that is kept: a window below the stable slot, and what this replica has not
    /// committed itself, as far as it may still be needed. That is two windows below what is known
    /// to be certified: a loss of power takes one and a half from those who held it, and who holds
    /// less can be helped by a transfer of state alone.
    #[must_use]
    pub fn lowest_kept(&self) -> Slot {
        let needed = Slot(self.known.slot.0.saturating_sub(self.size.saturating_mul(2)));
        let open = self.committed.max(needed).0;
        Slot(self.stable.slot.0.saturating_sub(self.size).min(open).saturating_add(1))
    }

    /// Whether this replica may still vote for the slot: above `low`, up to `high`.
    #[must_use]
    pub fn is_open(&self, slot: Slot) -> bool {
        slot > self.low() && slot <= self.high()
    }

    /// Whether something about the slot can still be learnt: votes to count, or a decision.
    #[must_use]
    pub fn is_known(&self, slot: Slot) -> bool {
        let open = slot > self.stable.slot.min(self.committed) && slot <= self.far();
        open && slot >= self.lowest_kept()
    }

    /// Whether a replica that committed this far is beyond what others keep for it, when `stable`
    /// is their stable slot.
    #[must_use]
    pub fn is_beyond_help(&self, committed: Slot, stable: Slot) -> bool {
        committed.0.saturating_add(self.size) < stable.0
    }

    /// Learns of a certified slot; `false` if that is no news, or comes without proof.
    pub fn learn(&mut self, stable: Stable) -> bool {
        let is_held = stable.slot <= self.committed;
        let news = stable.slot > self.known.slot || (stable.slot > self.stable.slot && is_held);
        let jumped = self.stable.slot > self.committed;
        let comes_back = jumped && is_held && !self.is_beyond_help(stable.slot, self.known.slot);
        if !(news || comes_back) || stable.certificate.is_none() {
            return false;
        }
        if comes_back {
            // All records above are still there, for one window below `known` was kept; and it lies
            // above where the jump began, which was more than that below.
            self.opened_at = self.low();
            self.stable = stable;
            self.next = Some(self.known.clone());
            return true;
        }
        let first = self.next.as_ref().is_none_or(|next| stable.slot < next.slot);
        if first || stable.slot <= self.committed {
            self.next = Some(stable.clone());
        }
        if stable.slot > self.known.slot {
            self.known = stable;
        }
        true
    }

    /// Raises the stable slot to what was learnt and committed, or is beyond this replica's
    /// records; whether it moved.
    pub fn settle(&mut self) -> bool {
        let before = self.stable.slot;
        if let Some(next) = self.next.take_if(|next| next.slot <= self.committed) {
            self.stable = if self.known.slot <= self.committed { self.known.clone() } else { next };
            self.next = Some(self.known.clone()).filter(|known| known.slot > self.committed);
        }
        if self.is_beyond_help(self.stable.slot, self.known.slot) {
            self.stable = self.known.clone();
            self.next = None;
        }
        self.stable.slot > before
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
        assert!(window.learn(stable(4)) && !window.settle());
        assert!(window.is_open(Slot(4)), "perhaps nobody holds its state any more");
        window.raise_committed(Slot(4));
        assert!(window.settle());
        assert!(!window.is_open(Slot(4)) && window.is_open(Slot(12)));
        assert!(!window.is_known(Slot(4)));
    }

    #[test]
    fn nothing_is_voted_for_below_where_the_view_began() {
        let mut window = Window::new(8);
        window.open_above(Slot(5));
        assert!(!window.is_open(Slot(5)) && window.is_open(Slot(6)) && window.is_open(Slot(13)));
        assert!(window.is_known(Slot(5)), "a decision can still be learnt");
    }

    #[test]
    fn the_stable_slot_follows_what_is_committed_while_others_run_ahead() {
        let mut window = Window::new(8);
        let mut raised = Vec::new();
        for slot in 1..=20 {
            // Certified slots are always three ahead, and only the newest is heard of.
            window.learn(stable(slot + 3));
            window.raise_committed(Slot(slot));
            if window.settle() {
                raised.push(window.stable().slot.0);
            }
        }
        assert_eq!(raised, [4, 7, 10, 13, 16, 19]);
        assert_eq!(window.known().slot, Slot(23));
    }

    #[test]
    fn a_stable_slot_needs_a_proof_and_never_falls() {
        let mut window = Window::new(8);
        window.raise_committed(Slot(5));
        assert!(!window.learn(Stable { slot: Slot(3), certificate: None }) && !window.settle());
        assert!(window.learn(stable(3)) && window.settle());
        assert!(!window.learn(stable(3)) && !window.learn(stable(2)) && !window.settle());
        assert_eq!(window.stable().slot, Slot(3));
    }

    #[test]
    fn records_are_forgotten_half_a_window_at_a_time_and_one_window_late() {
        let mut window = Window::new(8);
        let mut forgotten = Vec::new();
        for slot in 1..=24 {
            window.raise_committed(Slot(slot));
            window.learn(stable(slot));
            window.settle();
            forgotten.extend(window.forget().map(|below| (slot, below.0)));
        }
        assert_eq!(forgotten, [(12, 5), (16, 9), (20, 13), (24, 17)]);
    }

    #[test]
    fn a_stable_slot_that_nobody_holds_is_given_up_for_one_that_is_held() {
        let mut window = Window::new(8);
        window.learn(stable(10));
        assert!(window.settle() && window.stable().slot == Slot(10), "it may be up to date soon");
        window.raise_committed(Slot(9));
        assert!(!window.learn(stable(1)), "more than a window below, records may be gone");
        assert!(window.learn(stable(8)) && !window.settle());
        assert_eq!((window.stable().slot, window.known().slot), (Slot(8), Slot(10)));
        assert!(!window.is_open(Slot(10)), "in this view it said that it does not vote there");
        assert!(window.is_open(Slot(18)) && !window.is_open(Slot(19)));
        assert!(window.lowest_kept() <= Slot(9));
        window.open_above(Slot(8));
        assert!(window.is_open(Slot(9)) && window.is_open(Slot(16)) && !window.is_open(Slot(17)));
        window.raise_committed(Slot(10));
        assert!(window.settle() && window.stable().slot == Slot(10));
    }

    #[test]
    fn what_this_replica_has_not_committed_is_kept_as_far_as_others_may_need_it() {
        let mut window = Window::new(8);
        window.raise_committed(Slot(2));
        window.learn(stable(40));
        assert!(window.settle() && window.stable().slot == Slot(40), "beyond its records");
        assert_eq!(window.lowest_kept(), Slot(25));
        assert!(!window.is_known(Slot(24)) && window.is_known(Slot(25)));
        window.raise_committed(Slot(30));
        assert_eq!(window.lowest_kept(), Slot(31));
        assert!(!window.is_known(Slot(30)) && window.is_known(Slot(31)));
        assert!(
            window.is_beyond_help(Slot(2), Slot(40)) && !window.is_beyond_help(Slot(32), Slot(40))
        );
    }
}
