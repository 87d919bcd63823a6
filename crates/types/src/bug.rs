//! Bugs on purpose: each is a mistake that implementations of such protocols really make, at the
//! very line where it would be made. The simulator switches one on and counts the seeds until a
//! check notices, which shows what the checks are worth.
//!
//! Only the feature `seeded-bugs` makes a switch of them. Without it [`seeded`] is the constant
//! `false`, and the compiler leaves nothing of a bug.

use std::fmt;

macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident = $name:literal,)+) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        impl Bug {
            /// All of them, by room in the order of the pipeline.
            pub const ALL: &[Self] = &[$(Self::$bug),+];

            /// Its name, in kebab case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)+ }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$bug => concat!($($what),+).trim_ascii(),)+ }
            }
        }
    };
}

bugs! {
    /// A quorum is one replica smaller than two quorums need to share a correct one.
    QuorumMinusOne = "quorum-minus-one",
    /// A view change proposes the no-op everywhere, whatever the reports say was prepared.
    NewViewForgetsPrepared = "new-view-forgets-prepared",
    /// Votes for different digests in one slot count together.
    VotesOfAnyDigest = "votes-of-any-digest",
    /// Slots are stored in state transfer whoever is said to have signed their requests.
    StoreUnopened = "store-unopened",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this mistake is to be made: never, in anything that is not built to look for bugs.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
#[must_use]
pub const fn seeded(_: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{Seeded, seed, seeded};

#[cfg(feature = "seeded-bugs")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static SEEDED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this mistake is to be made, on this thread.
    #[must_use]
    pub fn seeded(bug: Bug) -> bool {
        SEEDED.get() == Some(bug)
    }

    /// Has this thread make a mistake, or none, until what this gives is dropped.
    #[must_use = "the mistake is made as long as this lives"]
    pub fn seed(bug: Option<Bug>) -> Seeded {
        Seeded { before: SEEDED.replace(bug) }
    }

    /// While it lives, its thread makes a mistake; then what it made before.
    #[derive(Debug)]
    pub struct Seeded {
        before: Option<Bug>,
    }

    impl Drop for Seeded {
        fn drop(&mut self) {
            SEEDED.set(self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_says_what_is_wrong() {
        let names: BTreeSet<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            let variant = bug.name().split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
            assert_eq!(variant.collect::<String>(), format!("{bug:?}"));
            assert!(bug.what().len() > 20 && bug.what().ends_with('.'), "{bug}: {}", bug.what());
        }
    }

    #[cfg(not(feature = "seeded-bugs"))]
    #[test]
    fn nothing_is_seeded_in_what_is_shipped() {
        assert!(Bug::ALL.iter().all(|bug| !seeded(*bug)));
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn a_bug_is_made_on_one_thread_while_its_guard_lives() {
        let made = || Bug::ALL.iter().copied().filter(|bug| seeded(*bug)).collect::<Vec<_>>();
        let guard = seed(Some(Bug::QuorumMinusOne));
        assert_eq!(made(), [Bug::QuorumMinusOne]);
        assert_eq!(
            std::thread::spawn(move || Bug::ALL.iter().any(|b| seeded(*b))).join().ok(),
            Some(false)
        );
        drop(guard);
        assert!(made().is_empty());
    }
}
