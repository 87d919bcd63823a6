//! Delay, loss, duplication, partitions.

use crate::{rng::Rng, seat::Seat};
use quorate_types::Time;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// How links behave, for a whole run or until healed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The least one-way delay.
    #[serde(with = "crate::plain")]
    pub delay_min: Duration,
    /// How much more it can be.
    #[serde(with = "crate::plain")]
    pub jitter: Duration,
    /// Lost messages in a thousand.
    pub loss_permille: u64,
    /// Messages in a thousand that come twice.
    pub replay_permille: u64,
    /// Directed links that carry nothing now.
    #[serde(with = "crate::plain")]
    pub cut: BTreeSet<(Seat, Seat)>,
    #[serde(with = "crate::plain")]
    rng: Rng,
}

impl Network {
    /// A network drawn from a seed: from a quiet LAN to a bad WAN.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            delay_min: Duration::from_micros(rng.range(50, 10_000)),
            jitter: Duration::from_micros(rng.range(50, 30_000)),
            loss_permille: if rng.permille(500) { rng.range(0, 150) } else { 0 },
            replay_permille: if rng.permille(500) { rng.range(0, 200) } else { 0 },
            cut: BTreeSet::new(),
            rng: rng.fork(),
        }
    }

    /// When a message that leaves now arrives: never, once, or twice.
    pub fn arrivals(&mut self, now: Time, from: Seat, to: Seat) -> Vec<Time> {
        if self.cut.contains(&(from, to)) || self.rng.permille(self.loss_permille) {
            return Vec::new();
        }
        let copies = 1 + u64::from(self.rng.permille(self.replay_permille));
        (0..copies).map(|_| now.plus(self.delay())).collect()
    }

    /// Ends loss, duplication and partitions; delays stay.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.loss_permille = 0;
        self.replay_permille = 0;
    }

    fn delay(&mut self) -> Duration {
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(0);
        self.delay_min + Duration::from_nanos(self.rng.below(jitter + 1))
    }
}
