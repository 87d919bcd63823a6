//! What is in progress, in numbers, and the bounds on it.
//!
//! Everything taken is given back by a drop, so that no path of a request can forget to.

use crate::{codes, limits::Limits};
use quorate_types::Refusal;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The gateway's counters of what is in progress.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    body_bytes: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, Client>>,
}

/// One client address.
#[derive(Debug, Default)]
struct Client {
    connections: usize,
    in_flight: Arc<AtomicUsize>,
}

impl Quota {
    /// Counts a connection, unless there are as many as allowed.
    pub(crate) fn connect(self: &Arc<Self>, from: IpAddr, limits: &Limits) -> Option<Connected> {
        if !take(&self.connections, 1, limits.connections_max) {
            return None;
        }
        let address = client_address(from);
        let mut clients = self.clients();
        let client = clients.entry(address).or_default();
        client.connections += 1;
        let in_flight = client.in_flight.clone();
        drop(clients);
        Some(Connected { quota: self.clone(), address, in_flight })
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// How many requests are in progress.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, Client>> {
        // The map is whole between any two statements, so a panic elsewhere cannot have torn it.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, counted.
#[derive(Debug)]
pub(crate) struct Connected {
    quota: Arc<Quota>,
    address: IpAddr,
    in_flight: Arc<AtomicUsize>,
}

impl Connected {
    /// Counts a request of this connection.
    pub(crate) fn begin(&self, limits: &Limits) -> Result<InFlight, Refusal> {
        if !take(&self.in_flight, 1, limits.in_flight_per_client_max) {
            return Err(codes::CLIENT_BUSY.refusal(format!(
                "{} requests of this client address are in progress",
                limits.in_flight_per_client_max
            )));
        }
        if !take(&self.quota.in_flight, 1, limits.in_flight_max) {
            self.in_flight.fetch_sub(1, Relaxed);
            return Err(codes::GATEWAY_BUSY.refusal("too many requests are in progress"));
        }
        Ok(InFlight { quota: self.quota.clone(), client: self.in_flight.clone() })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.quota.connections.fetch_sub(1, Relaxed);
        let mut clients = self.quota.clients();
        if let Some(client) = clients.get_mut(&self.address) {
            client.connections -= 1;
            if client.connections == 0 {
                clients.remove(&self.address);
            }
        }
    }
}

/// A request in progress, counted until its answer was handed over.
#[derive(Debug)]
pub(crate) struct InFlight {
    quota: Arc<Quota>,
    client: Arc<AtomicUsize>,
}

impl InFlight {
    /// An account of content bytes for this request, empty at first.
    pub(crate) fn content(&self) -> ContentBytes {
        ContentBytes { quota: self.quota.clone(), held: 0 }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.quota.in_flight.fetch_sub(1, Relaxed);
        self.client.fetch_sub(1, Relaxed);
    }
}

/// Bytes of content held in memory for one request.
#[derive(Debug)]
pub(crate) struct ContentBytes {
    quota: Arc<Quota>,
    held: usize,
}

impl ContentBytes {
    /// Accounts for `bytes` in all.
    pub(crate) fn hold(&mut self, bytes: usize, limits: &Limits) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.held);
        if !take(&self.quota.body_bytes, more, limits.in_flight_body_bytes_max) {
            return Err(codes::GATEWAY_BUSY.refusal("too much content is in progress"));
        }
        self.held += more;
        Ok(())
    }
}

impl Drop for ContentBytes {
    fn drop(&mut self) {
        self.quota.body_bytes.fetch_sub(self.held, Relaxed);
    }
}

/// Adds to a counter unless that takes it above `most`.
fn take(counter: &AtomicUsize, amount: usize, most: usize) -> bool {
    let before = counter.fetch_add(amount, Relaxed);
    let fits = before.checked_add(amount).is_some_and(|after| after <= most);
    if !fits {
        counter.fetch_sub(amount, Relaxed);
    }
    fits
}

/// One client: an IPv4 address, or the /64 that one IPv6 subscriber commonly has.
fn client_address(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_max: 2,
            in_flight_max: 3,
            in_flight_per_client_max: 2,
            in_flight_body_bytes_max: 100,
            ..Limits::default()
        }
    }

    #[test]
    fn what_was_taken_is_given_back_by_a_drop() {
        let (quota, limits) = (Arc::new(Quota::default()), limits());
        let first = quota.connect([10, 0, 0, 1].into(), &limits).unwrap();
        let second = quota.connect([10, 0, 0, 2].into(), &limits).unwrap();
        assert!(quota.connect([10, 0, 0, 3].into(), &limits).is_none());
        let held = [first.begin(&limits).unwrap(), first.begin(&limits).unwrap()];
        assert_eq!(first.begin(&limits).unwrap_err().status, 429);
        let last = second.begin(&limits).unwrap();
        assert_eq!(second.begin(&limits).unwrap_err().status, 503);
        assert_eq!(quota.in_flight(), 3);
        let mut content = last.content();
        content.hold(60, &limits).unwrap();
        content.hold(100, &limits).unwrap();
        assert_eq!(held[0].content().hold(1, &limits).unwrap_err().code, "gateway-busy");
        drop((held, last, content, first, second));
        assert_eq!((quota.in_flight(), quota.connections()), (0, 0));
        assert_eq!(quota.body_bytes.load(Relaxed), 0);
        assert!(quota.clients().is_empty());
    }

    #[test]
    fn connections_of_one_client_share_its_quota() {
        let (quota, limits) = (Arc::new(Quota::default()), limits());
        let one = quota.connect("2001:db8::1".parse().unwrap(), &limits).unwrap();
        let two = quota.connect("2001:db8::ffff".parse().unwrap(), &limits).unwrap();
        let _held = (one.begin(&limits).unwrap(), two.begin(&limits).unwrap());
        assert!(one.begin(&limits).is_err());
        drop(two);
        assert!(one.begin(&limits).is_err());
    }
}
