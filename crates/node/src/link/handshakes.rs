//! Handshakes in progress, bounded in all and for each address.
//!
//! Whoever reaches the replica listener can begin a handshake, so the bounds are what a stranger
//! can take up. Beyond them the oldest handshake is given up, of the same address first: a member
//! needs a few milliseconds for its own, and so gets through where hundreds hold on to theirs.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many handshakes may be in progress at one time.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// How many of them may be with one address.
pub(super) const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    next: u64,
    /// Oldest first.
    begun: VecDeque<Begun>,
}

struct Begun {
    number: u64,
    address: IpAddr,
    /// Dropped when the handshake is given up.
    _held: oneshot::Sender<()>,
}

/// A handshake's place, given back by a drop.
pub(super) struct Place {
    all: Arc<Handshakes>,
    number: u64,
    given_up: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Begins a handshake; gives up an older one where there are too many.
    pub(super) fn begin(self: &Arc<Self>, from: IpAddr) -> Place {
        let address = network_of(from);
        let (held, given_up) = oneshot::channel();
        let mut pending = self.lock();
        let number = pending.next;
        pending.next += 1;
        let same = |begun: &Begun| begun.address == address;
        let oldest =
            if pending.begun.iter().filter(|b| same(b)).count() >= HANDSHAKES_PER_ADDRESS_MAX {
                pending.begun.iter().position(same)
            } else {
                (pending.begun.len() >= HANDSHAKES_MAX).then_some(0)
            };
        if let Some(oldest) = oldest {
            pending.begun.remove(oldest);
        }
        pending.begun.push_back(Begun { number, address, _held: held });
        drop(pending);
        Place { all: Arc::clone(self), number, given_up }
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Completes when the handshake is given up for a newer one.
    pub(super) async fn given_up(&mut self) {
        let _ = (&mut self.given_up).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().begun.retain(|begun| begun.number != self.number);
    }
}

/// Who has one IPv6 address has the 2^64 around it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_given_up(place: &mut Place) -> bool {
        place.given_up.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn one_address_has_a_share_of_the_handshakes_and_loses_its_own_oldest() {
        let all = Arc::new(Handshakes::default());
        let mut other = all.begin(address("10.0.0.1"));
        let mut many: Vec<_> = (0..100).map(|_| all.begin(address("10.0.0.2"))).collect();
        assert!(!is_given_up(&mut other));
        let lost: Vec<_> = many.iter_mut().map(is_given_up).collect();
        let kept = 100 - HANDSHAKES_PER_ADDRESS_MAX;
        assert!(lost[..kept].iter().all(|lost| *lost) && !lost[kept..].contains(&true));
    }

    #[test]
    fn all_addresses_together_lose_the_oldest() {
        let all = Arc::new(Handshakes::default());
        let from = |n: usize| address(&format!("10.0.{}.{}", n / 256, n % 256));
        let mut many: Vec<_> = (0..HANDSHAKES_MAX + 3).map(|n| all.begin(from(n))).collect();
        let lost: Vec<_> = many.iter_mut().map(is_given_up).collect();
        assert!(lost[..3].iter().all(|lost| *lost) && !lost[3..].contains(&true));
        drop(many);
        assert!(all.lock().begun.is_empty(), "what ended is given back");
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_address() {
        let same = |a, b| network_of(address(a)) == network_of(address(b));
        assert!(same("2001:db8::1", "2001:db8::ffff:2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
