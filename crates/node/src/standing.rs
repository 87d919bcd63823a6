//! Where the replica stands, for those who ask: status, readiness, metrics.

use crate::{
    barrier::BarrierFigures,
    evidence::Evidence,
    host::{CopySight, CopyStanding},
    link::Links,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use quorate_gateway::{Divergent, Timing};
use quorate_protocol::Accusation;
use quorate_replica::{Heard, Sight};
use quorate_types::{Index, ReplicaId, Slot, StableCertificate, View};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// What the driver publishes after each round.
pub(crate) struct Standing {
    now: Mutex<Now>,
    pub(crate) evidence: Evidence,
    pub(crate) figures: Figures,
    barrier: Arc<BarrierFigures>,
    registry: Registry,
    gauges: Gauges,
    executed: Mutex<VecDeque<ExecutedAt>>,
    /// The own copy of the service, where that runs outside.
    copy: Option<Arc<CopySight>>,
    /// Whose copies did otherwise than was agreed on, when last heard of; at most one a replica.
    apart: Mutex<BTreeMap<ReplicaId, (Slot, Heard)>>,
}

/// How many slots' times are kept: as many as wait for their certificates, and more.
const EXECUTED_KEPT: usize = 256;

/// When a slot was executed.
struct ExecutedAt {
    entries: Range<u64>,
    at: Instant,
    took: Duration,
}

/// A copy of what was published last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// The replica's own view of itself; `None` before it was started.
    pub(crate) sight: Option<Sight>,
    /// Whether a request would be ordered.
    pub(crate) ready: bool,
    /// The newest certificate.
    pub(crate) certificate: Option<StableCertificate>,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: Counter,
    pub(crate) refused: Counter,
    pub(crate) entries: Counter,
    pub(crate) messages: Counter,
    pub(crate) messages_unwanted: Counter,
    pub(crate) messages_forged: Counter,
    pub(crate) messages_malformed: Counter,
    pub(crate) view_changes: Counter,
    pub(crate) certificates: Counter,
}

/// What is read when somebody asks.
#[derive(Default)]
struct Gauges {
    view: Gauge,
    height: Gauge,
    stable: Gauge,
    lag: Gauge,
    waiting: Gauge,
    ready: Gauge,
    links_up: Gauge,
    links_waiting_bytes: Gauge,
    links_dropped: Gauge,
    wal_syncs: Gauge,
    wal_records: Gauge,
    wal_sync_us: Gauge,
    wal_stuck: Gauge,
    copy_in_step: Gauge,
    copies_divergent: Gauge,
}

impl Standing {
    /// A standing before anything happened, with the own copy's where the service runs outside.
    pub(crate) fn new(
        barrier: Arc<BarrierFigures>,
        evidence: Evidence,
        copy: Option<Arc<CopySight>>,
    ) -> Self {
        let (figures, gauges) = (Figures::default(), Gauges::default());
        let mut registry = registry(&figures, &gauges);
        register_copy(&mut registry, &copy.clone().unwrap_or_default(), &gauges);
        Self {
            now: Mutex::default(),
            evidence,
            figures,
            barrier,
            registry,
            gauges,
            executed: Mutex::default(),
            copy,
            apart: Mutex::default(),
        }
    }

    /// The own copy, where the service runs outside.
    pub(crate) fn copy(&self) -> Option<&CopySight> {
        self.copy.as_deref()
    }

    /// Keeps an accusation.
    pub(crate) fn accused(&self, accusation: &Accusation) {
        warn!(replica = %accusation.replica, charge = accusation.charge, "accused");
        self.evidence.keep(accusation);
    }

    /// Notes how a replica's copy did in a slot. Who agrees again is no longer named.
    pub(crate) fn heard(&self, slot: Slot, replica: ReplicaId, heard: Heard) {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match heard {
            Heard::Agrees => apart.remove(&replica),
            Heard::Silent | Heard::Differs => apart.insert(replica, (slot, heard)),
        };
        if before.map(|(_, before)| before) != Some(heard) {
            match heard {
                Heard::Agrees if before.is_none() => {}
                Heard::Agrees => info!(%replica, %slot, "the replica's copy agrees again"),
                Heard::Silent => {
                    warn!(%replica, %slot, code = "copy-silent", "a copy gave no answer");
                }
                Heard::Differs => {
                    warn!(%replica, %slot, code = "copy-differs", "a copy gave another answer");
                }
            }
        }
    }

    /// Replicas that provably did wrong, and those whose copies did otherwise than was agreed on.
    pub(crate) fn divergent(&self) -> Vec<Divergent> {
        let mut divergent = self.evidence.all();
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        divergent.extend(apart.iter().map(|(replica, (slot, heard))| {
            let how = if *heard == Heard::Silent { "silent" } else { "differs" };
            Divergent { id: replica.0, evidence: json!({ "copy": how, "slot": slot.0 }) }
        }));
        divergent
    }

    /// Publishes what the replica says of itself.
    pub(crate) fn update(&self, sight: Sight) {
        self.lock().sight = Some(sight);
    }

    /// Publishes whether a request would be ordered.
    pub(crate) fn set_ready(&self, ready: bool) {
        info!(ready, "readiness changed");
        self.lock().ready = ready;
    }

    /// Notes that the replica works in a view under a primary, or left it.
    pub(crate) fn moved(&self, view: View, primary: Option<ReplicaId>) {
        match primary {
            Some(primary) => info!(%view, %primary, "works in a view"),
            None => info!(%view, "left a view"),
        }
        self.figures.view_changes.inc();
    }

    /// Publishes a certificate.
    pub(crate) fn certified(&self, certificate: &StableCertificate) {
        self.figures.certificates.inc();
        self.lock().certificate = Some(certificate.clone());
    }

    /// Notes that entries were executed from that moment on until now.
    pub(crate) fn executed(&self, from: Index, entries: u64, started: Instant) {
        self.figures.entries.inc_by(entries);
        let at = Instant::now();
        let took = at.saturating_duration_since(started);
        let entries = from.0..from.0.saturating_add(entries);
        let mut executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        executed.push_back(ExecutedAt { entries, at, took });
        if executed.len() > EXECUTED_KEPT {
            executed.pop_front();
        }
    }

    /// Where the time of a request went that was submitted and answered at these moments.
    pub(crate) fn timing(&self, index: Index, submitted: Instant, answered: Instant) -> Timing {
        let executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = executed.iter().rev().find(|slot| slot.entries.contains(&index.0));
        let Some(slot) = slot else { return Timing::default() };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let ordered = slot.at.saturating_duration_since(submitted);
        Timing {
            order_us: micros(ordered.saturating_sub(slot.took)),
            exec_us: micros(slot.took),
            sign_us: micros(answered.saturating_duration_since(slot.at)),
        }
    }

    /// What was published last.
    pub(crate) fn now(&self) -> Now {
        self.lock().clone()
    }

    /// Whether the disk takes writes.
    pub(crate) fn disk_takes_writes(&self) -> bool {
        self.barrier.stuck.load(Relaxed) == 0
    }

    /// All metrics in Prometheus' text form.
    pub(crate) fn metrics_text(&self, links: &Links) -> String {
        let now = self.now();
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let gauges = &self.gauges;
        if let Some(sight) = now.sight {
            set(&gauges.view, sight.view.0);
            set(&gauges.height, sight.executed.0);
            set(&gauges.stable, sight.stable.0);
            set(&gauges.lag, sight.highest.0.saturating_sub(sight.executed.0));
            set(&gauges.waiting, sight.waiting as u64);
        }
        set(&gauges.ready, u64::from(now.ready));
        let (mut up, mut waiting, mut dropped) = (0, 0, 0);
        for link in links.states() {
            up += u64::from(link.up);
            waiting += link.waiting_bytes as u64;
            dropped += link.dropped;
        }
        set(&gauges.links_up, up);
        set(&gauges.links_waiting_bytes, waiting);
        set(&gauges.links_dropped, dropped);
        set(&gauges.wal_syncs, self.barrier.syncs.load(Relaxed));
        set(&gauges.wal_records, self.barrier.records.load(Relaxed));
        set(&gauges.wal_sync_us, self.barrier.sync_us.load(Relaxed));
        set(&gauges.wal_stuck, self.barrier.stuck.load(Relaxed));
        if let Some(copy) = self.copy() {
            let in_step = matches!(copy.standing(), CopyStanding::InStep { .. });
            set(&gauges.copy_in_step, u64::from(in_step));
        }
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner).len();
        set(&gauges.copies_divergent, apart as u64);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn register_copy(registry: &mut Registry, copy: &CopySight, gauges: &Gauges) {
    let calls = "Requests that the own copy was to execute";
    registry.register("copy_calls", calls, copy.calls.clone());
    let failures = "Requests that the own copy gave no answer to";
    registry.register("copy_failures", failures, copy.failures.clone());
    let in_step = "1 if the own copy executed everything";
    registry.register("copy_in_step", in_step, gauges.copy_in_step.clone());
    let divergent = "Replicas whose copies did otherwise than agreed";
    registry.register("copies_divergent", divergent, gauges.copies_divergent.clone());
}

fn registry(figures: &Figures, gauges: &Gauges) -> Registry {
    let mut registry = Registry::with_prefix("quorate");
    let counters = [
        ("requests", "Requests handed to the replica", &figures.requests),
        ("requests_refused", "Requests that it refused", &figures.refused),
        ("entries", "Entries appended to the log", &figures.entries),
        ("messages", "Messages from peers that were verified", &figures.messages),
        ("messages_unwanted", "Messages that nobody needed", &figures.messages_unwanted),
        ("messages_forged", "Messages with a wrong signature", &figures.messages_forged),
        ("messages_malformed", "Frames that are no message", &figures.messages_malformed),
        ("view_changes", "Views entered or left", &figures.view_changes),
        ("certificates", "Heads certified", &figures.certificates),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, counter.clone());
    }
    let readings = [
        ("view", "The view", &gauges.view),
        ("height", "The last slot executed", &gauges.height),
        ("stable", "The newest stable slot", &gauges.stable),
        ("lag", "Slots certified elsewhere above the height", &gauges.lag),
        ("waiting", "Requests that wait to be ordered", &gauges.waiting),
        ("ready", "1 if a request would be ordered", &gauges.ready),
        ("links_up", "Peers that can be reached", &gauges.links_up),
        ("links_waiting_bytes", "Bytes that wait for peers", &gauges.links_waiting_bytes),
        ("links_dropped", "Frames forgotten because too many waited", &gauges.links_dropped),
        ("wal_syncs", "Groups of records made durable", &gauges.wal_syncs),
        ("wal_records", "Records made durable", &gauges.wal_records),
        ("wal_sync_microseconds", "Time spent writing and syncing", &gauges.wal_sync_us),
        ("wal_stuck", "1 while the disk takes nothing", &gauges.wal_stuck),
    ];
    for (name, help, gauge) in readings {
        registry.register(name, help, gauge.clone());
    }
    registry
}
