//! What must hold of whatever a peer sends, for any bytes: shared by the property tests here and
//! by the fuzz targets.

#![allow(unreachable_pub, reason = "the fuzz targets include this file and export it")]

pub mod samples;

use quorate_crypto::{Claim, Claims as _, Domain};
use quorate_protocol::pbft;
use quorate_replica::Message;
use quorate_types::{Batch, Wire};

/// What PBFT replicas send each other.
pub type Peer = Message<pbft::Message<Batch>>;

/// What a PBFT replica keeps.
pub type Record = quorate_replica::Record<pbft::Record<Batch>>;

/// No frame is longer.
const MOST: usize = 1 << 24;

/// A message is the one encoding of itself, lists its claims whatever is in it, and if it names
/// its maker holds a vote of that replica, or is broken. Whether the bytes are a message.
///
/// # Panics
/// When it does not.
pub fn peer(bytes: &[u8]) -> bool {
    let Ok(message) = Peer::from_wire(bytes, MOST) else { return false };
    assert_eq!(message.to_wire(), bytes, "another encoding of {message:?}");
    let domain = Domain::new("dev.localhost/quorate/5f2c9a17d0e84b63/bft");
    let mut claims = Vec::new();
    message.claims(&domain, &mut claims);
    if let Some(maker) = message.signer() {
        let vouches = |claim: &Claim| match claim {
            Claim::Vote { signer, .. } => *signer == maker,
            Claim::Broken(_) => true,
            Claim::Client { .. } | Claim::Stable(_) => false,
        };
        assert!(claims.iter().any(vouches), "the verify stage would refuse {message:?}");
    }
    true
}

/// A record is the one encoding of itself. Whether the bytes are a record.
///
/// # Panics
/// When it is not.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(record) = Record::from_wire(bytes, MOST) else { return false };
    assert_eq!(record.to_wire(), bytes, "another encoding of {record:?}");
    true
}
