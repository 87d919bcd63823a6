//! Which sockets listen at the copy's port: a program that was started anew listens at another one.
//!
//! A copy that keeps its state in memory and is restarted between two calls answers the next one as
//! if nothing had been, and no connection that broke tells so for sure: servers close idle ones.
//! The system's table of sockets does, for a copy on this host.

use quorate_client::Endpoint;
use std::{fs, net::ToSocketAddrs as _};

/// The tables, one a version of IP.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A socket's state in them: it listens.
const LISTENS: &str = "0A";

/// The numbers of the sockets that listen at an address of this host, ascending; `None` where there
/// is none to be seen, as for a copy on another host or in another network namespace.
pub(super) fn listeners(at: &Endpoint) -> Option<Vec<u64>> {
    let mut addresses = at.address().to_socket_addrs().ok()?;
    let address = addresses.find(|address| address.ip().is_loopback())?;
    let tables = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok());
    let mut found: Vec<u64> =
        tables.flat_map(|table| of_port(&table, address.port()).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    if found.is_empty() { None } else { Some(found) }
}

/// The numbers of a table's sockets that listen at a port.
fn of_port(table: &str, port: u16) -> impl Iterator<Item = u64> {
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let here = u16::from_str_radix(local, 16).ok()? == port && state == LISTENS;
        here.then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n   \
             0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        \
             0 41234 1 0000000000000000 100 0 0 10 0\n   \
             1: 0100007F:2328 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        \
             0 41299 1 0000000000000000 20 4 30 10 -1\nnonsense\n";
        assert_eq!(of_port(table, 9000).collect::<Vec<_>>(), [41234]);
        assert_eq!(of_port(table, 9001).count(), 0);
    }

    #[test]
    fn a_program_that_was_started_anew_listens_at_another_socket() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let endpoint = Endpoint::parse(&address.to_string()).unwrap();
        let before = listeners(&endpoint).unwrap();
        assert_eq!(listeners(&endpoint), Some(before.clone()));
        drop(first);
        assert_eq!(listeners(&endpoint), None);
        let _second = TcpListener::bind(address).unwrap();
        assert_ne!(listeners(&endpoint).unwrap(), before);
    }
}
