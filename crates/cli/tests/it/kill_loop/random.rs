//! Choices from a seed, so that a run can be repeated as far as real processes allow.

use std::{env, time::SystemTime};

/// A `SplitMix64` generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// The seed in `QUORATE_SEED`, or a new one.
pub(crate) fn seed() -> u64 {
    let given = env::var("QUORATE_SEED").ok().map(|seed| seed.parse().expect("QUORATE_SEED"));
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Random(u64::from(now.subsec_nanos())).next() >> 32
    })
}

impl Random {
    /// A generator of its own for each user of one seed.
    pub(crate) fn new(seed: u64, user: u64) -> Self {
        Self(seed ^ Self(user).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of several.
    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        let bound = u64::try_from(items.len()).unwrap();
        items[usize::try_from(self.below(bound)).unwrap()]
    }
}
