//! How much the pipeline keeps, and how much it may.
//!
//! Every queue, map and set of a replica stands here with its bound, which follows from the
//! configuration; each stage says its own part, and so does the engine (`Pbft::held`). What grows
//! with what users store, the service's state and the log, is no queue.

use crate::{
    rejoin::Rejoining,
    replica::{Replica, SNAPSHOTS_MAX},
};
use quorate_protocol::Protocol;
use quorate_types::{Batch, Held};

impl<P: Protocol<Command = Batch>> Replica<P> {
    /// What each queue, map and set of the pipeline holds, with its bound.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let n = self.config.committee.n() as u64;
        let others = n.saturating_sub(1);
        let items = self.config.limits.batch_items_max as u64;
        let waiting = self.config.limits.waiting_max as u64;
        let snapshots = SNAPSHOTS_MAX as u64;
        let reports = self.rejoining.as_ref().map_or(0, Rejoining::reports);
        let mut held = vec![
            Held::new("replica.decided", self.decided.len(), self.decided_max()),
            Held::new("replica.candidates", self.candidates.len(), snapshots),
            Held::new("replica.snapshots", self.snapshots.len(), snapshots),
            Held::new("replica.peers", self.peers.len(), others),
            Held::new("replica.unreachable", self.unreachable.len(), others),
            Held::new("replica.rejoined", self.rejoined.len(), n),
            Held::new("replica.offers", self.offers.len(), n),
            Held::new("replica.served", self.served.len(), others),
            Held::new("replica.reported", self.reported.len(), others),
            Held::new("replica.transferred", self.transferred.len(), waiting),
            Held::new("rejoin.reports", reports, others),
            // Part of one slot.
            Held::new("sync.pending", self.syncer.pending(), items),
        ];
        held.extend(self.batcher.held(n));
        held.extend(self.certifier.held(items));
        held.extend(self.copies.held());
        held.extend(self.execution.iter().flat_map(|execution| execution.replay().held(items)));
        held
    }
}
