//! Keys, policy and configuration of a simulated cluster.

use quorate_crypto::{Cosigner, Domain, MacKeyring, Verifier, VoteSigner};
use quorate_ledger::Owner;
use quorate_proof::{Coverage, Origin, Policy};
use quorate_protocol::pbft::{Pbft, PbftConfig};
use quorate_replica::{Config, Limits, Replica};
use quorate_service::Kv;
use quorate_types::{Batch, Chain, Committee, FaultModel, ReplicaId, UnixMillis};
use std::time::Duration;

/// The chain's first agreed time, and the wall clocks' at the start of a run.
pub const GENESIS: UnixMillis = UnixMillis(1_700_000_000_000);

/// Everything that is equal at all replicas of one run.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The replicas.
    pub committee: Committee,
    /// Stands in for all keys.
    pub keyring: MacKeyring,
    /// The trust root of clients.
    pub policy: Policy,
    /// The chain.
    pub chain: Chain,
    /// Bounds of the pipeline, small enough that a short run meets them.
    pub limits: Limits,
    /// The engine's window.
    pub window: u64,
}

impl Cluster {
    /// A cluster of `n` replicas; `None` if no committee has that size.
    #[must_use]
    pub fn new(n: u16, keyring_seed: u64) -> Option<Self> {
        let committee = Committee::new(n, FaultModel::Bft).ok()?;
        let keyring = MacKeyring::new(keyring_seed);
        let chain = Chain::parse("0123456789abcdef").ok()?;
        let name = "simulation.localhost".to_owned();
        let origin = Origin { name, chain, model: FaultModel::Bft };
        let policy = keyring.policy(&origin, committee).ok()?;
        let limits = Limits {
            patience: Duration::from_millis(800),
            snapshot_bytes: 6_000,
            snapshot_lag: 40,
            batch_items_max: 16,
            ..Limits::default()
        };
        Some(Self { committee, keyring, policy, chain, limits, window: 16 })
    }

    /// A replica that was not started yet.
    #[must_use]
    pub fn replica(&self, me: ReplicaId) -> Replica<Pbft<Batch>> {
        let domain = Domain::new(self.policy.origin_text());
        let config = Config {
            me,
            committee: self.committee,
            domain: domain.clone(),
            chain: self.chain,
            policy: self.policy.digest(),
            genesis: GENESIS,
            coverage: Coverage::default(),
            window: self.window,
            limits: self.limits.clone(),
        };
        let mut engine = PbftConfig::new(me, self.committee, domain);
        engine.window = self.window;
        engine.view_timeout = Duration::from_millis(600);
        let signer = VoteSigner::Mac { keyring: self.keyring, replica: me };
        Replica::new(
            config,
            Pbft::new(engine, signer.clone()),
            Box::new(Kv),
            signer,
            Cosigner::mac(self.keyring, me),
            self.verifier(),
        )
    }

    /// Checks what replicas sign.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier::mac(self.committee, self.keyring, self.policy.clone())
    }

    /// Whose data a replica's folder holds.
    #[must_use]
    pub fn owner(&self, replica: ReplicaId) -> Owner {
        Owner { chain: self.chain, replica }
    }
}
