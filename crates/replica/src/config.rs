//! What a pipeline is told once, when it is made.

use quorate_crypto::Domain;
use quorate_proof::Coverage;
use quorate_types::{Chain, Committee, Digest, ReplicaId, UnixMillis};
use std::time::Duration;

/// One replica's place in its cluster, and its bounds. All but `me` is equal at all replicas.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which replica this is.
    pub me: ReplicaId,
    /// All replicas.
    pub committee: Committee,
    /// The chain.
    pub domain: Domain,
    /// Its name's sixteen digits, which enter every seed.
    pub chain: Chain,
    /// The SHA-256 of the policy text, which entry 0 states.
    pub policy: Digest,
    /// The chain's first agreed time.
    pub genesis: UnixMillis,
    /// The service's extra fields.
    pub coverage: Coverage,
    /// Whether the service runs outside, one copy beside each replica, whose answers are agreed on.
    pub copies: bool,
    /// The engine's window, in slots: how far above the stable slot anybody may vote.
    pub window: u64,
    /// Bounds and delays.
    pub limits: Limits,
}

/// Bounds and delays of the pipeline.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest content of a request or a response, in bytes.
    pub body_max: usize,
    /// The most requests in one batch.
    pub batch_items_max: usize,
    /// The most bytes of requests in one batch; one request larger than this goes alone.
    pub batch_bytes_max: usize,
    /// How many own batches may be undecided before only a full one is proposed.
    pub pipeline: usize,
    /// How long requests wait for others while no own batch is undecided, at most: twice the time
    /// that the last batch took. Not at all where they are as many as that one had.
    pub gather_max: Duration,
    /// How long requests wait for own batches that are undecided.
    pub linger: Duration,
    /// The most requests that wait to be ordered, of all gateways together.
    pub waiting_max: usize,
    /// The most bytes that they take; those of one peer take half of it at most.
    pub waiting_bytes_max: usize,
    /// The most of them that one peer may have forwarded.
    pub waiting_per_peer_max: usize,
    /// How long a request may stay unordered before the primary is suspected; after half of it,
    /// the request goes to all.
    pub patience: Duration,
    /// How often a replica tells the others how far it is.
    pub progress: Duration,
    /// How long a question of state transfer may stay unanswered.
    pub sync_patience: Duration,
    /// How long after one rejoin of a replica it is helped to another.
    pub rejoin_pause: Duration,
    /// How far an agreed time may lie from a backup's clock.
    pub clock_skew_max: Duration,
    /// How many entries the replay table reaches back.
    pub replay_window: u64,
    /// How many signed requests the table holds at most; they stay for
    /// [`crate::replay::SIGNED_KEPT`]. That is 1,747 a second for ever, or a burst of a million,
    /// at about 200 bytes each.
    pub replay_signed_max: usize,
    /// Bytes of requests executed between two snapshots, at least.
    pub snapshot_bytes: u64,
    /// Entries from which on a lagging replica takes a snapshot instead of executing them.
    pub snapshot_lag: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_max: 1 << 20,
            batch_items_max: 512,
            batch_bytes_max: 2 << 20,
            pipeline: 8,
            gather_max: Duration::from_millis(50),
            linger: Duration::from_millis(40),
            waiting_max: 16_384,
            waiting_bytes_max: 256 << 20,
            waiting_per_peer_max: 8_192,
            patience: Duration::from_millis(1_000),
            progress: Duration::from_millis(500),
            sync_patience: Duration::from_millis(1_000),
            rejoin_pause: Duration::from_millis(2_000),
            clock_skew_max: Duration::from_secs(2),
            replay_window: 32_768,
            replay_signed_max: 1 << 20,
            snapshot_bytes: 32 << 20,
            snapshot_lag: 20_000,
        }
    }
}
