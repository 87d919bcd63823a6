//! Faults that an operator injects, in development clusters only: what a Byzantine replica does.
//!
//! They act at the driver's edges, on what the replica sends, signs and serves. The replica inside
//! stays correct, and does not know.

use crate::link::Links;
use bytes::Bytes;
use quorate_crypto::Cosigner;
use quorate_gateway::Fault;
use quorate_proof::{cosignature_message, head_text};
use quorate_replica::message::Cosign;
use quorate_types::{Proven, ReplicaId};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Old messages that are sent again.
const REPLAYED_MAX: usize = 256;

/// Messages that are held back, of all peers together.
const DELAYED_MAX: usize = 65_536;

/// The fault of now.
pub(crate) struct Faults {
    /// Spares those who ask at every message the lock.
    active: AtomicBool,
    state: Mutex<State>,
    delayed: mpsc::Sender<Delayed>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    sent: VecDeque<(ReplicaId, Bytes)>,
    served: Option<Proven>,
}

struct Delayed {
    due: Instant,
    to: ReplicaId,
    bytes: Bytes,
}

impl Faults {
    /// No fault yet; a task on `runtime` holds back what is to be late.
    pub(crate) fn new(runtime: &tokio::runtime::Handle, links: Links) -> Self {
        let (delayed, mut receiver) = mpsc::channel::<Delayed>(DELAYED_MAX);
        runtime.spawn(async move {
            while let Some(Delayed { due, to, bytes }) = receiver.recv().await {
                tokio::time::sleep_until(due.into()).await;
                links.send(to, bytes);
            }
        });
        Self { active: AtomicBool::new(false), state: Mutex::default(), delayed }
    }

    /// Sets the fault, or clears it. A replica that replays begins with the `old` answer, or else
    /// with the next one that it gives.
    pub(crate) fn set(&self, fault: Option<Fault>, old: Option<Proven>) {
        *self.lock() = State { fault, served: old, ..State::default() };
        self.active.store(fault.is_some(), Release);
    }

    /// The fault of now.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.active.load(Acquire).then(|| self.lock().fault).flatten()
    }

    /// Sends, or does not, or late, or something old as well.
    pub(crate) fn send(&self, links: &Links, to: ReplicaId, bytes: Bytes) {
        if !self.active.load(Acquire) {
            links.send(to, bytes);
            return;
        }
        let mut state = self.lock();
        match state.fault {
            Some(Fault::Mute) => {}
            Some(Fault::Delay { ms }) => {
                let due = Instant::now() + Duration::from_millis(ms);
                // What does not fit is lost, as on any bad network.
                let _ = self.delayed.try_send(Delayed { due, to, bytes });
            }
            Some(Fault::Replay) => {
                state.sent.push_back((to, bytes.clone()));
                if state.sent.len() > REPLAYED_MAX {
                    state.sent.pop_front();
                }
                let old = state.sent.front().cloned();
                drop(state);
                links.send(to, bytes);
                if let Some((to, bytes)) = old {
                    links.send(to, bytes);
                }
            }
            Some(Fault::CorruptResponses | Fault::Equivocate) | None => {
                drop(state);
                links.send(to, bytes);
            }
        }
    }

    /// Signs another head than the replica's own: evidence that convinces anybody.
    pub(crate) fn cosign_wrongly(cosign: Cosign, origin: &str, cosigner: &Cosigner) -> Cosign {
        let mut wrong = cosign;
        wrong.head.root.0[0] ^= 1;
        let text = head_text(origin, &wrong.head);
        wrong.signature = cosigner.cosign(&cosignature_message(&text, wrong.time.seconds()));
        wrong
    }

    /// Serves another answer than the quorum's, or an old one.
    pub(crate) fn serve(&self, proven: Proven) -> Proven {
        let mut state = self.lock();
        match state.fault {
            Some(Fault::CorruptResponses) => corrupt(proven),
            Some(Fault::Replay) => state.served.get_or_insert(proven).clone(),
            _ => proven,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another content where there is one, another status where there is none.
fn corrupt(mut proven: Proven) -> Proven {
    let mut body = proven.response.body.to_vec();
    match body.first_mut() {
        Some(byte) => *byte ^= 1,
        None => proven.response.status = if proven.response.status == 200 { 201 } else { 200 },
    }
    proven.response.body = body.into();
    proven
}
