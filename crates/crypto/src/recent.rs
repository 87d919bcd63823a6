//! A bounded memory of what was verified lately.
//!
//! Measured by the ignored test `cost_of_a_view_change_with_and_without_the_memory_slow`: a view
//! change at n = 4 whose reports nest the votes of 64 slots costs 2 ms with it and 26 ms without,
//! at n = 31 41 ms and 480 ms. A vote that is new pays one SHA-256 of itself for that, of 1 us.

use std::{collections::HashSet, hash::Hash};

/// A hash that binds a key, a signature and the bytes signed.
pub(crate) type Mark = [u8; 32];

/// Remembers at least the last [`Self::LEAST`] marks and at most twice as many.
///
/// Two generations: when the young one is full it becomes the old one, and the old one is
/// forgotten at once, so nothing is ever evicted one by one. Sets by hash, since nothing asks for
/// an order: a look-up touches one place of the memory instead of one at each level of a tree.
#[derive(Clone, Debug)]
pub struct Recent<M> {
    young: HashSet<M>,
    old: HashSet<M>,
}

impl<M> Default for Recent<M> {
    fn default() -> Self {
        Self { young: HashSet::new(), old: HashSet::new() }
    }
}

impl<M: Eq + Hash> Recent<M> {
    /// The votes of a whole window of a middle-sized committee; of 32-byte marks 2.2 MB at most.
    pub const LEAST: usize = 16_384;

    /// Whether the mark is remembered.
    #[must_use]
    pub fn contains(&self, mark: &M) -> bool {
        self.young.contains(mark) || self.old.contains(mark)
    }

    /// Remembers a mark.
    pub fn insert(&mut self, mark: M) {
        if self.young.len() >= Self::LEAST {
            // Emptied instead of replaced, so that it does not grow anew.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: usize) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&n.to_be_bytes());
        mark
    }

    #[test]
    fn the_last_marks_are_remembered_and_never_more_than_twice_as_many() {
        let mut recent = Recent::<Mark>::default();
        for n in 0..5 * Recent::<Mark>::LEAST {
            recent.insert(mark(n));
            assert!(recent.young.len() + recent.old.len() <= 2 * Recent::<Mark>::LEAST);
            assert!(recent.contains(&mark(n.saturating_sub(Recent::<Mark>::LEAST - 1))));
        }
        assert!(!recent.contains(&mark(0)));
    }
}
