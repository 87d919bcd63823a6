//! How links behave in a run: distance, bandwidth, and what goes wrong on them.
//!
//! These are settings, a part of the plan; [`crate::wires`] is what moves by them. Partitions are
//! not among them: each is a fault of the plan, with its time.

use crate::{regions::Region, rng::Rng};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// From what kind of network a plan's was drawn.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// None: it was made.
    Even,
    /// One room.
    Lan,
    /// Anything up to a bad WAN.
    Mixed,
    /// Some of the regions.
    Wan,
    /// The worst that others test with.
    Harsh,
}

/// How long a message is under way, beside what it waits for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Delay {
    /// Any time from `least` to `least + jitter`, all alike.
    Even {
        /// The least.
        #[serde(with = "crate::plain")]
        least: Duration,
        /// How much more it can be.
        #[serde(with = "crate::plain")]
        jitter: Duration,
    },
    /// `least`, and beyond it an exponential tail: most come soon, a few very late.
    Tail {
        /// The least.
        #[serde(with = "crate::plain")]
        least: Duration,
        /// The mean, `least` included.
        #[serde(with = "crate::plain")]
        mean: Duration,
    },
    /// Half the round trip between two regions, and up to so many thousandths of it more.
    Regions {
        /// Where nodes stand, in their order, round and round.
        #[serde(with = "crate::plain")]
        places: Vec<Region>,
        /// Thousandths.
        jitter_permille: u64,
    },
}

/// Bits a second. Where it is not given, length costs nothing, and nobody measures it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// Out of a node, to all others together.
    pub up: u64,
    /// Into a node, from all others together.
    pub down: u64,
    /// From one node to another in the same region.
    pub inside: Option<u64>,
    /// From one node to another, if one stands in North America and the other in Asia.
    pub overseas: Option<u64>,
    /// Out of a region, from all nodes in it together, to other regions.
    pub site: Option<u64>,
}

/// How links behave, for a whole run or until healed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// From which profile it was drawn, for the reader.
    pub profile: Profile,
    /// How long messages take.
    pub delay: Delay,
    /// Whether a link keeps the order of what it carries, as one TCP connection does. Else messages
    /// overtake each other as their delays have it, as they do where connections are made anew.
    pub in_order: bool,
    /// Lost messages in a thousand: connections that break.
    pub loss_permille: u64,
    /// Messages in a thousand that come again, at once or up to [`Self::REPLAY_AFTER_MAX`] later.
    pub replay_permille: u64,
    /// Messages in a thousand behind which the link clogs: nothing on it arrives for a while.
    pub clog_permille: u64,
    /// How long a clog lasts at most.
    #[serde(with = "crate::plain")]
    pub clog_max: Duration,
    /// How many messages a link carries at once at most; what is beyond is dropped.
    pub capacity: Option<usize>,
    /// How fast it is, where that matters.
    pub bandwidth: Option<Bandwidth>,
}

impl Network {
    /// How much later than the first a repeated message comes, at most.
    pub const REPLAY_AFTER_MAX: Duration = Duration::from_secs(2);

    /// A network drawn from a seed: one room, what most test with, the world, or the worst.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0 | 1 => Self::draw_lan(rng),
            2..=5 => Self::draw_mixed(rng),
            6 | 7 => Self::draw_wan(rng),
            _ => Self::draw_harsh(rng),
        }
    }

    /// A network without faults, on which everything takes as long.
    #[must_use]
    pub fn even(least: Duration, jitter: Duration) -> Self {
        Self {
            profile: Profile::Even,
            delay: Delay::Even { least, jitter },
            in_order: false,
            loss_permille: 0,
            replay_permille: 0,
            clog_permille: 0,
            clog_max: Duration::ZERO,
            capacity: None,
            bandwidth: None,
        }
    }

    /// One room: 50 us to 1 ms, hardly any loss.
    fn draw_lan(rng: &mut Rng) -> Self {
        let least = Duration::from_micros(rng.range(50, 300));
        let jitter = Duration::from_micros(rng.range(10, 700));
        Self {
            profile: Profile::Lan,
            in_order: rng.permille(500),
            loss_permille: some(rng, 200, 20),
            bandwidth: rng.permille(300).then(|| Bandwidth::draw(rng, 1_000)),
            ..Self::even(least, jitter)
        }
    }

    /// Anything from a quiet LAN to a bad WAN, with loss and repetition.
    fn draw_mixed(rng: &mut Rng) -> Self {
        let least = Duration::from_micros(rng.range(50, 10_000));
        let jitter = Duration::from_micros(rng.range(50, 30_000));
        Self {
            profile: Profile::Mixed,
            in_order: rng.permille(200),
            loss_permille: some(rng, 500, 150),
            replay_permille: some(rng, 500, 200),
            clog_permille: some(rng, 200, 5),
            clog_max: Duration::from_millis(rng.range(10, 2_000)),
            ..Self::even(least, jitter)
        }
    }

    /// Some of the regions, real distances, links that keep order, and seldom a loss.
    fn draw_wan(rng: &mut Rng) -> Self {
        let all: Vec<Region> = Region::all().collect();
        let places = rng.range(2, 10);
        let places = (0..places).filter_map(|_| rng.pick(&all).copied()).collect();
        Self {
            profile: Profile::Wan,
            delay: Delay::Regions { places, jitter_permille: rng.range(0, 200) },
            in_order: rng.permille(800),
            loss_permille: some(rng, 500, 30),
            replay_permille: some(rng, 200, 30),
            clog_permille: some(rng, 200, 5),
            clog_max: Duration::from_millis(rng.range(100, 5_000)),
            bandwidth: rng.permille(500).then(|| Bandwidth::draw(rng, 10)),
            ..Self::even(Duration::ZERO, Duration::ZERO)
        }
    }

    /// The ranges under which TigerBeetle is tested.
    fn draw_harsh(rng: &mut Rng) -> Self {
        let least = Duration::from_millis(rng.range(0, 30));
        let mean = Duration::from_millis(rng.range(30, 100));
        Self {
            profile: Profile::Harsh,
            delay: Delay::Tail { least, mean },
            in_order: rng.permille(200),
            loss_permille: some(rng, 700, 300),
            replay_permille: some(rng, 700, 500),
            clog_permille: some(rng, 500, 20),
            clog_max: Duration::from_millis(rng.range(100, 5_000)),
            capacity: rng.permille(500).then(|| usize::try_from(rng.range(2, 20)).unwrap_or(2)),
            bandwidth: rng.permille(200).then(|| Bandwidth::draw(rng, 10)),
        }
    }

    /// Ends loss, repetition and clogs, and what a full link drops. Delays and bandwidth stay.
    pub fn heal(&mut self) {
        self.loss_permille = 0;
        self.replay_permille = 0;
        self.clog_permille = 0;
        self.capacity = None;
    }

    /// A slow round trip, as an operator would measure it: there and back between those who are
    /// farthest apart, where a tail is as bad as in one case of twenty, for 64 KiB.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        let one_way = match &self.delay {
            Delay::Even { least, jitter } => *least + *jitter,
            Delay::Tail { least, mean } => *least + mean.saturating_sub(*least) * 3,
            Delay::Regions { places, jitter_permille } => {
                let from = |a: &Region| places.iter().map(|b| a.one_way(*b)).max();
                let far = places.iter().filter_map(from).max().unwrap_or_default();
                far + jitter(far, *jitter_permille)
            }
        };
        let slowest = self.bandwidth.as_ref().map_or(Duration::ZERO, Bandwidth::slowest_64_kib);
        one_way * 2 + slowest
    }
}

impl Bandwidth {
    /// As Azure has it: so many bits a second for each node, 6 Gbit/s for a pair inside a region,
    /// 400 Mbit/s for one of which one stands in North America and the other in Asia.
    #[must_use]
    pub fn azure(node: u64) -> Self {
        let (inside, overseas) = (Some(6_000_000_000), Some(400_000_000));
        Self { up: node, down: node, inside, overseas, site: None }
    }

    /// What a node in one region can send to a node in another, where that is less than what the
    /// nodes themselves can.
    #[must_use]
    pub fn pair(&self, from: Region, to: Region) -> Option<u64> {
        if from == to {
            return self.inside;
        }
        let overseas = |_: &u64| {
            (from.is_american() && to.is_asian()) || (from.is_asian() && to.is_american())
        };
        self.overseas.filter(overseas)
    }

    /// Each node has `mbits_least` to a thousand times that, in Mbit/s, and not the same both ways.
    fn draw(rng: &mut Rng, mbits_least: u64) -> Self {
        let draw = |rng: &mut Rng| mbits_least * 1_000_000 * 10_u64.pow(rng.below(4) as u32);
        let capped = rng.permille(500);
        let (up, down) = (draw(rng), draw(rng));
        let site = rng.permille(300).then(|| draw(rng));
        let Self { inside, overseas, .. } = Self::azure(up);
        let cap = |cap: Option<u64>| cap.filter(|_| capped);
        Self { up, down, inside: cap(inside), overseas: cap(overseas), site }
    }

    fn slowest_64_kib(&self) -> Duration {
        let rates = [Some(self.up), Some(self.down), self.site, self.overseas.or(self.inside)];
        rates.into_iter().flatten().map(|rate| transmission(1 << 16, rate)).sum()
    }
}

/// How long so many bytes take at so many bits a second.
pub(crate) fn transmission(bytes: u64, bits_per_s: u64) -> Duration {
    let nanos = u128::from(bytes) * 8_000_000_000 / u128::from(bits_per_s.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// So many thousandths of a time.
pub(crate) fn jitter(of: Duration, permille: u64) -> Duration {
    let nanos = of.as_nanos() * u128::from(permille) / 1_000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// In so many of a thousand cases a number from 1 to `most`, else 0.
fn some(rng: &mut Rng, chance_permille: u64, most: u64) -> u64 {
    if rng.permille(chance_permille) { rng.range(1, most) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn all_profiles_are_drawn_within_their_ranges() {
        let mut rng = Rng::new(1);
        let mut seen = BTreeMap::new();
        for _ in 0..1_000 {
            let network = Network::draw(&mut rng);
            assert!(network.loss_permille <= 300 && network.replay_permille <= 500);
            assert!(network.clog_permille <= 20 && network.clog_max <= Duration::from_secs(5));
            assert!(network.capacity.is_none_or(|most| (2..=20).contains(&most)));
            assert!(network.round_trip() <= Duration::from_secs(1), "{network:?}");
            *seen.entry(network.profile).or_insert(0) += 1;
        }
        use Profile::{Harsh, Lan, Mixed, Wan};
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [Lan, Mixed, Wan, Harsh]);
        assert!(seen.values().all(|&count| count > 100), "{seen:?}");
    }

    #[test]
    fn healing_ends_faults_and_leaves_distances() {
        let mut rng = Rng::new(2);
        for _ in 0..100 {
            let mut network = Network::draw(&mut rng);
            let trip = network.round_trip();
            network.heal();
            let faults = network.loss_permille + network.replay_permille + network.clog_permille;
            assert_eq!((faults, network.capacity), (0, None));
            assert_eq!(network.round_trip(), trip);
        }
    }

    #[test]
    fn a_slow_round_trip_is_there_and_back_between_the_farthest() {
        let even = Network::even(Duration::from_millis(3), Duration::from_millis(2));
        assert_eq!(even.round_trip(), Duration::from_millis(10));
        let places = ["eastus", "westus", "southeastasia"].map(|it| Region::named(it).unwrap());
        let delay = Delay::Regions { places: places.to_vec(), jitter_permille: 100 };
        let wan = Network { delay, ..even };
        assert_eq!(wan.round_trip(), Duration::from_micros(244_750));
    }

    #[test]
    fn a_transmission_takes_its_bits_by_the_rate() {
        assert_eq!(transmission(1_000, 8_000_000), Duration::from_millis(1));
        assert_eq!(transmission(125_000_000, 1_000_000_000), Duration::from_secs(1));
        assert_eq!(transmission(0, 1), Duration::ZERO);
    }

    #[test]
    fn azure_is_slow_between_america_and_asia_only() {
        let azure = Bandwidth::azure(1_000_000_000);
        let between = |a, b| azure.pair(Region::named(a).unwrap(), Region::named(b).unwrap());
        assert_eq!(between("westus2", "southeastasia"), Some(400_000_000));
        assert_eq!(between("southeastasia", "canadaeast"), Some(400_000_000));
        assert_eq!(between("westeurope", "southeastasia"), None);
        assert_eq!(between("eastus", "eastus"), Some(6_000_000_000));
        assert_eq!(between("eastus", "westus"), None);
    }
}
