//! Messages under way: queues at both ends, and on each directed link chance and clogs.
//!
//! ```text
//! depart   = max(now, up_free) + bytes * 8 / up        the sender's queue; a cap of the pair, too
//! arrive   = depart + delay                            loss, repetition, order, clogs
//! received = max(arrive, down_free + bytes * 8 / down) the receiver's queue
//! ```
//!
//! What waits for others (at a site's exit, at a clog, at the receiver) is looked at again when it
//! gets there, in the order in which it gets there; else a message from afar would hold up what was
//! sent later from nearby. So a message takes up to three events, and without bandwidth and clogs
//! one.
//!
//! - **Order.** A link that keeps order delivers nothing before what was sent before it, but for
//!   the second copy of a repeated message. Others deliver as delays have it.
//! - **Clogs** begin when a message is sent, and hold up that one, too. What arrives while its link
//!   is clogged waits, and comes at the end, all at once, in the order of arrival.
//! - **A full link** drops what is sent; what it dropped was never on the sender's queue.
//! - **A cut link** carries nothing that is sent; what is under way arrives. Cuts add up: a link
//!   under two carries again when both have ended.
//! - **A lost message** was sent, and took its place in the sender's queue.
//!
//! Each link draws from a generator of its own, and as often for each message, whatever the
//! settings: to leave a fault out changes nothing else.

use crate::{
    network::{Delay, Network, jitter, transmission},
    outcome::Counts,
    regions::Region,
    rng::Rng,
};
use quorate_types::Time;
use std::{collections::BTreeMap, time::Duration};

/// Where a message is that will be looked at again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// At the exit of its site.
    Exit {
        /// How long it takes from there.
        delay: Duration,
    },
    /// At the end of its link.
    Arrival,
    /// Where a clog was.
    Released,
    /// Through the receiver's queue.
    Received,
}

/// When to look at a message again, and where it will be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop {
    /// When.
    pub at: Time,
    /// Where.
    pub stage: Stage,
}

/// All links between the nodes of a run; a node is known by its number.
#[derive(Clone, Debug)]
pub struct Wires {
    network: Network,
    nodes: Vec<Node>,
    /// By sender and receiver.
    links: Vec<Link>,
    /// When the exit of a region is free.
    exits: BTreeMap<Region, Time>,
    met: Met,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    up_free: Time,
    down_free: Time,
}

#[derive(Clone, Debug)]
struct Link {
    rng: Rng,
    /// How many cuts it is under.
    cuts: u32,
    /// How many messages are on it.
    carries: usize,
    /// When the cap of the pair lets the next one out.
    free: Time,
    /// When the last one arrives that must keep its order.
    last: Time,
    clogged_until: Time,
}

/// Faults that messages met.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    cut: u64,
    full: u64,
    lost: u64,
    repeated: u64,
    clogs: u64,
    queued: u64,
}

/// What one message draws.
struct Chance {
    lost: bool,
    delay: Duration,
    /// When, after departing, a second copy arrives.
    again: Option<Duration>,
    /// For how long the link clogs.
    clog: Option<Duration>,
}

impl Wires {
    /// Links between `nodes` nodes.
    #[must_use]
    pub fn new(network: Network, nodes: usize, rng: &mut Rng) -> Self {
        let link = |_| Link {
            rng: rng.fork(),
            cuts: 0,
            carries: 0,
            free: Time::default(),
            last: Time::default(),
            clogged_until: Time::default(),
        };
        Self {
            network,
            nodes: vec![Node::default(); nodes],
            links: (0..nodes * nodes).map(link).collect(),
            exits: BTreeMap::new(),
            met: Met::default(),
        }
    }

    /// Whether it matters how long a message is.
    #[must_use]
    pub fn weighs(&self) -> bool {
        self.network.bandwidth.is_some()
    }

    /// A node sends a message of so many bytes: where it is to be looked at next, and the same for
    /// the second copy of one that is repeated.
    pub fn send(&mut self, now: Time, from: usize, to: usize, bytes: u64) -> [Option<Hop>; 2] {
        let places = (self.place(from), self.place(to));
        let number = self.number(from, to);
        let (Some(link), network) = (self.links.get_mut(number), &self.network) else {
            return [None, None];
        };
        let chance = link.draw(network, places);
        if link.cuts > 0 {
            self.met.cut += 1;
            return [None, None];
        }
        if network.capacity.is_some_and(|most| link.carries >= most) {
            self.met.full += 1;
            return [None, None];
        }
        let (mut depart, mut exit) = (now, false);
        if let (Some(bandwidth), Some(node)) = (&network.bandwidth, self.nodes.get_mut(from)) {
            let begin = now.max(node.up_free);
            depart = begin.plus(transmission(bytes, bandwidth.up));
            node.up_free = depart;
            if let Some(rate) = bandwidth.pair(places.0, places.1) {
                link.free = begin.max(link.free).plus(transmission(bytes, rate));
                depart = depart.max(link.free);
            }
            exit = bandwidth.site.is_some() && places.0 != places.1;
        }
        if let Some(lasting) = chance.clog
            && link.clogged_until < now
        {
            self.met.clogs += 1;
            link.clog(now.plus(lasting));
        }
        if chance.lost {
            self.met.lost += 1;
            return [None, None];
        }
        link.carries += 1;
        let first = match exit {
            true => Hop { at: depart, stage: Stage::Exit { delay: chance.delay } },
            false => link.fly(network, depart, chance.delay),
        };
        let again = chance.again.map(|after| {
            self.met.repeated += 1;
            link.carries += 1;
            Hop { at: depart.plus(after), stage: Stage::Arrival }
        });
        [Some(first), again]
    }

    /// The time of a hop has come: the next one, or `None` where the message is received.
    pub fn hop(
        &mut self,
        now: Time,
        (from, to): (usize, usize),
        bytes: u64,
        stage: Stage,
    ) -> Option<Hop> {
        let place = self.place(from);
        let number = self.number(from, to);
        let (link, bandwidth) = (self.links.get_mut(number)?, self.network.bandwidth.as_ref());
        match (stage, bandwidth) {
            (Stage::Exit { delay }, _) => {
                let free = self.exits.entry(place).or_default();
                let rate = bandwidth.and_then(|bandwidth| bandwidth.site).unwrap_or(u64::MAX);
                self.met.queued += u64::from(*free > now);
                *free = now.max(*free).plus(transmission(bytes, rate));
                return Some(link.fly(&self.network, *free, delay));
            }
            (Stage::Arrival, _) if now <= link.clogged_until => {
                return Some(Hop { at: link.clogged_until, stage: Stage::Released });
            }
            (Stage::Arrival | Stage::Released, Some(bandwidth)) => {
                let node = self.nodes.get_mut(to)?;
                let through = node.down_free.plus(transmission(bytes, bandwidth.down));
                node.down_free = now.max(through);
                if through > now {
                    self.met.queued += 1;
                    return Some(Hop { at: through, stage: Stage::Received });
                }
            }
            (Stage::Arrival | Stage::Released | Stage::Received, _) => {}
        }
        link.carries = link.carries.saturating_sub(1);
        None
    }

    /// A directed link carries nothing from now on.
    pub fn cut(&mut self, from: usize, to: usize) {
        let number = self.number(from, to);
        if let Some(link) = self.links.get_mut(number) {
            link.cuts += 1;
        }
    }

    /// A cut of a link ends.
    pub fn mend(&mut self, from: usize, to: usize) {
        let number = self.number(from, to);
        if let Some(link) = self.links.get_mut(number) {
            link.cuts = link.cuts.saturating_sub(1);
        }
    }

    /// All directed links that are cut.
    pub fn cuts(&self) -> impl Iterator<Item = (usize, usize)> {
        let n = self.nodes.len().max(1);
        let cut = self.links.iter().enumerate().filter(|(_, link)| link.cuts > 0);
        cut.map(move |(number, _)| (number / n, number % n))
    }

    /// Ends cuts, loss, repetition, and what full links drop. No clog begins any more, and those
    /// that there are end in their time.
    pub fn heal(&mut self) {
        self.network.heal();
        self.links.iter_mut().for_each(|link| link.cuts = 0);
    }

    /// Adds what messages met, by name: `loss`, `replay`, `clog`, `queue-full`, `cut-message`, and
    /// `queue-wait`, where one waited for others at an exit or a receiver.
    pub fn count(&self, injected: &mut Counts) {
        let met = self.met;
        for (name, count) in [
            ("loss", met.lost),
            ("replay", met.repeated),
            ("clog", met.clogs),
            ("queue-full", met.full),
            ("cut-message", met.cut),
            ("queue-wait", met.queued),
        ] {
            if count > 0 {
                *injected.entry(name).or_default() += count;
            }
        }
    }

    /// Where a node stands, where that is known.
    fn place(&self, node: usize) -> Region {
        let Delay::Regions { places, .. } = &self.network.delay else { return Region::default() };
        let place = node.checked_rem(places.len()).and_then(|place| places.get(place));
        place.copied().unwrap_or_default()
    }

    fn number(&self, from: usize, to: usize) -> usize {
        assert!(from.max(to) < self.nodes.len(), "a link from {from} to {to}");
        from * self.nodes.len() + to
    }
}

impl Link {
    /// Draws all that may happen to a message, whether it can happen or not.
    fn draw(&mut self, network: &Network, (from, to): (Region, Region)) -> Chance {
        let delay = |rng: &mut Rng| match &network.delay {
            Delay::Even { least, jitter } => *least + up_to(rng, *jitter),
            Delay::Tail { least, mean } => *least + tail(rng, mean.saturating_sub(*least)),
            Delay::Regions { jitter_permille, .. } => {
                let distance = from.one_way(to);
                distance + up_to(rng, jitter(distance, *jitter_permille))
            }
        };
        let first = delay(&mut self.rng);
        let chance = self.rng.draw();
        let happens = |bits: u32, permille| (((chance >> bits) & 0xffff) * 1_000) >> 16 < permille;
        let mut rare = self.rng.fork();
        let again = happens(0, network.replay_permille).then(|| {
            // Every other copy comes as soon as it can, else it may well be too late to matter.
            let later = if rare.permille(500) { Network::REPLAY_AFTER_MAX } else { Duration::ZERO };
            delay(&mut rare) + up_to(&mut rare, later)
        });
        let clog = happens(16, network.clog_permille).then(|| up_to(&mut rare, network.clog_max));
        Chance { lost: happens(32, network.loss_permille), delay: first, again, clog }
    }

    /// When a message arrives that departs now and then.
    fn fly(&mut self, network: &Network, depart: Time, delay: Duration) -> Hop {
        let mut at = depart.plus(delay);
        if network.in_order {
            at = at.max(self.last);
            self.last = at;
        }
        Hop { at, stage: Stage::Arrival }
    }

    /// What is sent from now on stays behind what waits for the clog's end.
    fn clog(&mut self, until: Time) {
        self.clogged_until = until;
        self.last = self.last.max(until.plus(Duration::from_nanos(1)));
    }
}

/// Any time up to that.
fn up_to(rng: &mut Rng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
    Duration::from_nanos(rng.below(most.saturating_add(1)))
}

/// An exponential variate of this mean, without floating point, whose logarithms differ between
/// platforms: -ln of a uniform number, from the place of its first bit and, between powers of two,
/// a parabola through log2 that is off by less than a hundredth.
fn tail(rng: &mut Rng, mean: Duration) -> Duration {
    const ONE: u128 = 1 << 32;
    // ln 2, and the parabola's curvature, in 32 bits behind the point.
    const LN_2: u128 = 2_977_044_472;
    const BEND: u128 = 1_482_000_000;
    let drawn = rng.draw() | 1;
    let zeros = drawn.leading_zeros();
    let fraction = u128::from(((drawn << zeros) << 1) >> 32);
    let log_2 = fraction + ((BEND * fraction) >> 32) * (ONE - fraction) / ONE;
    let halvings = u128::from(zeros + 1) * ONE - log_2;
    let nanos = mean.as_nanos() * ((halvings * LN_2) >> 32) / ONE;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
