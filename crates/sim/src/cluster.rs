//! Keys, policy and configuration of a simulated cluster.

use crate::{
    keys::{Keys, Signatures},
    rng::Rng,
    wrong::{Wrong, Wrongs},
};
use quorate_crypto::{Domain, Verifier};
use quorate_ledger::Owner;
use quorate_proof::{Coverage, Origin, Policy};
use quorate_protocol::pbft::{Pbft, PbftConfig};
use quorate_replica::{Config, Limits, Replica};
use quorate_service::{Elsewhere, Kv, Service};
use quorate_types::{Batch, Chain, Committee, FaultModel, ReplicaId, Time, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// The chain's first agreed time, and the wall clocks' at the start of a run.
pub const GENESIS: UnixMillis = UnixMillis(1_700_000_000_000);

/// How many replicas of a committee of `n` may be faulty.
#[must_use]
pub fn faults_of(n: u16) -> usize {
    Committee::new(n, FaultModel::Bft).map_or(0, |committee| committee.f())
}

/// Bounds of the pipeline that differ from seed to seed, small enough that a short run meets them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The engine's window, in slots.
    pub window: u64,
    /// How many entries the replay table reaches back.
    pub replay_window: u64,
    /// How many signed requests it holds.
    pub replay_signed_max: usize,
    /// Bytes of requests between two snapshots.
    pub snapshot_bytes: u64,
    /// Entries from which on a lagging replica takes a snapshot.
    pub snapshot_lag: u64,
    /// Requests in a batch.
    pub batch_items_max: usize,
    /// How long a proposal may stay uncommitted before its primary is suspected, at first. A
    /// request has a third more.
    #[serde(with = "crate::plain")]
    pub view_timeout: Duration,
}

impl Tuning {
    /// Fit for anything from a room to a continent.
    pub const VIEW_TIMEOUT_LEAST: Duration = Duration::from_millis(600);

    /// Draws bounds; `small` ones are such that requests are forgotten, and states transferred,
    /// again and again.
    #[must_use]
    pub fn draw(rng: &mut Rng, small: bool) -> Self {
        let pick = |rng: &mut Rng, range: [(u64, u64); 2]| {
            let (low, high) = range[usize::from(small)];
            rng.range(low, high)
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(1);
        Self {
            window: if small { rng.range(4, 8) } else { 16 },
            replay_window: pick(rng, [(10_000, 10_000), (4, 60)]),
            replay_signed_max: size(pick(rng, [(10_000, 10_000), (4, 60)])),
            snapshot_bytes: pick(rng, [(8_000, 16_000), (2_000, 6_000)]),
            snapshot_lag: pick(rng, [(20, 60), (3, 20)]),
            batch_items_max: size(rng.range(1, 16)),
            view_timeout: Self::VIEW_TIMEOUT_LEAST,
        }
    }
}

/// Everything that is equal at all replicas of one run.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The replicas.
    pub committee: Committee,
    /// Everybody's keys.
    pub keys: Keys,
    /// The trust root of clients.
    pub policy: Policy,
    /// What everything signed is bound to.
    pub domain: Domain,
    /// The chain.
    pub chain: Chain,
    /// Bounds of the pipeline, small enough that a short run meets them.
    pub limits: Limits,
    /// The engine's window.
    pub window: u64,
    /// Whether the service runs outside, a copy beside each replica.
    pub copies: bool,
    /// Whose service gives wrong results.
    pub wrong: BTreeSet<ReplicaId>,
    /// How often it did.
    pub wrongs: Wrongs,
    /// The engine's patience.
    pub view_timeout: Duration,
}

impl Cluster {
    /// A cluster of `n` replicas; `None` if no committee has that size.
    #[must_use]
    pub fn new(n: u16, signatures: Signatures, seed: u64, tuning: Tuning) -> Option<Self> {
        let committee = Committee::new(n, FaultModel::Bft).ok()?;
        let keys = Keys::new(signatures, seed, n);
        let chain = Chain::parse("0123456789abcdef").ok()?;
        let name = "simulation.localhost".to_owned();
        let origin = Origin { name, chain, model: FaultModel::Bft };
        let policy = keys.policy(&origin, committee).ok()?;
        keys.verifier(committee, policy.clone()).ok()?;
        let limits = Limits {
            patience: tuning.view_timeout * 4 / 3,
            snapshot_bytes: tuning.snapshot_bytes,
            snapshot_lag: tuning.snapshot_lag,
            batch_items_max: tuning.batch_items_max,
            replay_window: tuning.replay_window,
            replay_signed_max: tuning.replay_signed_max,
            ..Limits::default()
        };
        let domain = Domain::new(policy.origin_text());
        let (window, view_timeout) = (tuning.window, tuning.view_timeout);
        let (wrong, wrongs) = (BTreeSet::new(), Wrongs::default());
        Some(Self {
            committee,
            keys,
            policy,
            domain,
            chain,
            limits,
            window,
            view_timeout,
            copies: false,
            wrong,
            wrongs,
        })
    }

    /// A replica that was not started yet.
    #[must_use]
    pub fn replica(&self, me: ReplicaId) -> Replica<Pbft<Batch>> {
        let domain = self.domain.clone();
        let config = Config {
            me,
            committee: self.committee,
            domain: domain.clone(),
            chain: self.chain,
            policy: self.policy.digest(),
            genesis: GENESIS,
            coverage: Coverage::default(),
            copies: self.copies,
            window: self.window,
            limits: self.limits.clone(),
        };
        let mut engine = PbftConfig::new(me, self.committee, domain);
        engine.window = self.window;
        engine.view_timeout = self.view_timeout;
        let signer = self.keys.vote_signer(me);
        let service: Box<dyn Service> = match self.wrong.contains(&me) {
            _ if self.copies => Box::new(Elsewhere::default()),
            true => Box::new(Wrong::new(Kv, self.wrongs.clone())),
            false => Box::new(Kv),
        };
        Replica::new(
            config,
            Pbft::new(engine, signer.clone()),
            service,
            signer,
            self.keys.cosigner(me).clone(),
            self.verifier(),
        )
    }

    /// What a wall clock says that is off by so much.
    #[must_use]
    pub fn clock(now: Time, skew_ms: i64) -> UnixMillis {
        let truth = GENESIS.0.saturating_add(now.0 / 1_000_000);
        UnixMillis(truth.saturating_add_signed(skew_ms))
    }

    /// Checks what replicas sign.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        let verifier = self.keys.verifier(self.committee, self.policy.clone());
        verifier.expect("the keys were tried when the cluster was made")
    }

    /// Whose data a replica's folder holds.
    #[must_use]
    pub fn owner(&self, replica: ReplicaId) -> Owner {
        Owner { chain: self.chain, replica }
    }
}
