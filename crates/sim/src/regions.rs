//! Ten Azure regions, and how long light and routers take between them.
//!
//! Round-trip times in ms are the medians that Azure published for June and July 2023
//! (`data/azure_rtt_ms.csv`); one way is half of one, and 0.6 ms inside a region is an assumption.

use std::{sync::LazyLock, time::Duration};

/// The published table: a line of names, then a line of times for each.
const TABLE: &str = include_str!("../data/azure_rtt_ms.csv");

static REGIONS: LazyLock<Vec<Row>> = LazyLock::new(|| read(TABLE));

struct Row {
    name: &'static str,
    /// Half of the round trip to each region, in the table's order.
    one_way: Vec<Duration>,
}

/// A region, by its place in the table.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Region(u8);

impl Region {
    /// All regions, in the table's order: six of North America, three of Europe, one of Asia.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..REGIONS.len()).filter_map(|place| u8::try_from(place).ok()).map(Self)
    }

    /// The region of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|region| region.name() == name)
    }

    /// Its name, as Azure writes it: `eastus`.
    #[must_use]
    pub fn name(self) -> &'static str {
        REGIONS.get(usize::from(self.0)).map_or("", |row| row.name)
    }

    /// Whether it lies in North America.
    #[must_use]
    pub fn is_american(self) -> bool {
        self.name().contains("us") || self.name().starts_with("canada")
    }

    /// Whether it lies in Asia.
    #[must_use]
    pub fn is_asian(self) -> bool {
        self.name().contains("asia")
    }

    /// How long a message takes to another region, or inside this one.
    #[must_use]
    pub fn one_way(self, to: Self) -> Duration {
        let row = REGIONS.get(usize::from(self.0));
        row.and_then(|row| row.one_way.get(usize::from(to.0))).copied().unwrap_or_default()
    }

    /// Where `n` replicas stand that are spread evenly: the first of them here, the others in the
    /// regions that follow in the table, round and round.
    #[must_use]
    pub fn spread(self, n: usize) -> Vec<Self> {
        let regions: Vec<Self> = Self::all().collect();
        regions.iter().copied().cycle().skip(usize::from(self.0)).take(n).collect()
    }
}

/// Reads the table. It is a part of this crate; what is not a number in it is taken as no delay,
/// which the tests would show.
fn read(table: &'static str) -> Vec<Row> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let (name, times) = line.split_once(',').unwrap_or_default();
            let one_way = |ms: &str| {
                let round_trip: f64 = ms.trim().parse().unwrap_or_default();
                Duration::from_secs_f64(round_trip / 2_000.0)
            };
            Row { name, one_way: times.split(',').map(one_way).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        Region::named(name).unwrap()
    }

    /// Round trips from the first of `n` spread replicas to all of them, itself included, the
    /// nearest first, in microseconds.
    fn round_trips(n: usize) -> Vec<u128> {
        let places = region("eastus").spread(n);
        let mut trips: Vec<_> =
            places.iter().map(|to| 2 * places[0].one_way(*to).as_micros()).collect();
        trips.sort_unstable();
        trips
    }

    #[test]
    fn ten_regions_are_as_far_from_each_other_in_both_directions() {
        assert_eq!(Region::all().count(), 10);
        for a in Region::all() {
            for b in Region::all() {
                assert_eq!(a.one_way(b), b.one_way(a), "{} {}", a.name(), b.name());
                assert!(a.one_way(b) >= Duration::from_micros(300));
            }
            assert_eq!(a.one_way(a), Duration::from_micros(300));
            assert_eq!(Region::named(a.name()), Some(a));
        }
        let far = region("eastus").one_way(region("southeastasia"));
        assert_eq!(far, Duration::from_micros(111_250));
    }

    #[test]
    fn six_regions_are_american_and_one_is_asian() {
        assert_eq!(Region::all().filter(|region| region.is_american()).count(), 6);
        assert_eq!(Region::all().filter(|region| region.is_asian()).count(), 1);
        assert!(!region("uksouth").is_american());
    }

    /// The lower bounds that any engine's latency is compared with.
    #[test]
    fn from_eastus_a_quorum_is_67_ms_away_a_majority_64_and_the_last_222() {
        for f in [6, 16, 32, 64, 100] {
            let (n, quorum) = (3 * f + 1, 2 * f + 1);
            let trips = round_trips(n);
            assert_eq!(trips[quorum - 1], 67_000, "n = {n}");
            assert_eq!(trips[n / 2], 64_000, "n = {n}");
            assert_eq!(trips[n - 1], 222_500, "n = {n}");
        }
    }

    #[test]
    fn replicas_are_spread_evenly_from_a_region_on() {
        let places = region("southeastasia").spread(21);
        assert_eq!(places[0].name(), "southeastasia");
        assert_eq!(places[1].name(), "canadacentral");
        for of in Region::all() {
            let here = places.iter().filter(|place| **place == of).count();
            assert_eq!(here, if of == places[0] { 3 } else { 2 }, "{}", of.name());
        }
    }
}
