//! Where the replica stands, for those who ask: status, readiness, metrics.

use crate::{barrier::BarrierFigures, evidence::Evidence, link::Links};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use quorate_gateway::Timing;
use quorate_replica::Sight;
use quorate_types::{Index, StableCertificate};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// What the driver publishes after each round.
pub(crate) struct Standing {
    now: Mutex<Now>,
    pub(crate) evidence: Evidence,
    pub(crate) figures: Figures,
    barrier: Arc<BarrierFigures>,
    registry: Registry,
    gauges: Gauges,
    executed: Mutex<VecDeque<ExecutedAt>>,
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
}

impl Standing {
    /// A standing before anything happened.
    pub(crate) fn new(barrier: Arc<BarrierFigures>, evidence: Evidence) -> Self {
        let (figures, gauges) = (Figures::default(), Gauges::default());
        let registry = registry(&figures, &gauges);
        let executed = Mutex::default();
        Self { now: Mutex::default(), evidence, figures, barrier, registry, gauges, executed }
    }

    /// Publishes what the replica says of itself.
    pub(crate) fn update(&self, sight: Sight) {
        self.lock().sight = Some(sight);
    }

    /// Publishes whether a request would be ordered.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Publishes a certificate.
    pub(crate) fn certified(&self, certificate: &StableCertificate) {
        self.figures.certificates.inc();
        self.lock().certificate = Some(certificate.clone());
    }

    /// Notes when entries were executed, and how long that took.
    pub(crate) fn executed(&self, entries: Range<u64>, at: Instant, took: Duration) {
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
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
