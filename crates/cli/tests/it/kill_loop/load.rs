//! Eight clients and a probe: what they ask, what they were answered, what they must remember.

use super::{
    cart::{Orders, shop},
    history::{Ask, Histories, OPERATIONS_MOST, Seen},
    random::Random,
};
use bytes::Bytes;
use quorate_client::{Answer, Call, Client, Endpoint, Options, SendError};
use quorate_proof::{Policy, SentRequest};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

/// How many clients work at a time: as many as the checker judges in reasonable time.
const CLIENTS: u64 = 8;

/// Keys in use at a time. The last ones are counters, moved by CAS alone.
const SLOTS: usize = 5;
const COUNTERS: usize = 1;

/// How often the probe writes.
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// How long a client insists before it counts a request as never answered.
const INSIST: Duration = Duration::from_secs(90);

/// Bytes that follow a written number, so that snapshots come often.
const PADDING: usize = 1024;

/// An answer that a client has verified and may rely on for ever.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) sent: SentRequest,
    pub(crate) index: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) status: u16,
    /// All fields but the proof.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl From<Answer> for Acknowledged {
    fn from(answer: Answer) -> Self {
        let mut fields = answer.response.fields;
        fields.retain(|(name, _)| name != "quorate-proof");
        Self {
            sent: answer.sent,
            index: answer.verdict.facts.index.0,
            salt: answer.verdict.facts.salt.0,
            status: answer.response.status,
            fields,
            body: answer.response.body,
        }
    }
}

/// One write of the probe that succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) sent: Instant,
    pub(crate) done: Instant,
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    /// Keys and values.
    Keys,
    /// Shopping carts.
    Carts,
}

/// What all clients share.
pub(crate) struct World {
    pub(crate) work: Work,
    pub(crate) orders: Orders,
    /// Proven answers that say that the copies of the service gave none in common.
    pub(crate) voids: AtomicU64,
    pub(crate) policy: Arc<Policy>,
    pub(crate) gateways: Vec<Endpoint>,
    pub(crate) histories: Histories,
    pub(crate) acknowledged: Mutex<Vec<Acknowledged>>,
    pub(crate) probes: Mutex<Vec<Probe>>,
    /// Answers that nobody should have given: without a valid proof, or refused for good.
    pub(crate) wrong: Mutex<Vec<String>>,
    calls: [AtomicU64; SLOTS],
    values: AtomicU32,
    stop: AtomicBool,
}

impl World {
    pub(crate) fn new(work: Work, policy: Arc<Policy>, gateways: Vec<Endpoint>) -> Self {
        Self {
            work,
            orders: Orders::default(),
            voids: AtomicU64::new(0),
            policy,
            gateways,
            histories: Histories::default(),
            acknowledged: Mutex::default(),
            probes: Mutex::default(),
            wrong: Mutex::default(),
            calls: Default::default(),
            values: AtomicU32::new(1),
            stop: AtomicBool::new(false),
        }
    }

    /// A client that asks the gateways in turn, beginning with one of them.
    pub(crate) fn client(&self, first: usize) -> Client {
        let mut gateways = self.gateways.clone();
        gateways.rotate_left(first % self.gateways.len());
        let options = Options {
            attempt: Duration::from_secs(5),
            deadline: Duration::from_secs(20),
            ..Options::default()
        };
        Client::new(self.policy.clone(), gateways, options)
    }

    /// Sends a request, with one key, until a verified answer is there.
    pub(crate) async fn insist(&self, client: &Client, sent: &SentRequest) -> Option<Acknowledged> {
        let start = Instant::now();
        while start.elapsed() < INSIST {
            match client.send_prepared(sent.clone()).await {
                Ok(answer) => {
                    let acknowledged = Acknowledged::from(answer);
                    push(&self.acknowledged, acknowledged.clone());
                    return Some(acknowledged);
                }
                Err(SendError::NotVerified(failed)) => push(&self.wrong, failed.reason.to_string()),
                Err(SendError::Refused(refused))
                    if !matches!(refused.status, 409 | 429 | 503 | 504) =>
                {
                    push(&self.wrong, format!("{} {}", refused.status, refused.detail));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// The key that a slot stands for now: a new one each time that its history is long enough.
    fn key(&self, slot: usize) -> String {
        let calls = self.calls[slot].fetch_add(1, Relaxed);
        let kind = if is_counter(slot) { "counter" } else { "register" };
        format!("{kind}-{slot}-{}", calls / OPERATIONS_MOST)
    }
}

/// The clients at work.
pub(crate) struct Load {
    world: Arc<World>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts eight clients and the probe on the current runtime.
    pub(crate) fn start(world: &Arc<World>, seed: u64) -> Self {
        let client = |n| tokio::spawn(work(world.clone(), n, Random::new(seed, n + 1)));
        let mut tasks: Vec<_> = (0..CLIENTS).map(client).collect();
        tasks.push(tokio::spawn(probe(world.clone())));
        Self { world: world.clone(), tasks }
    }

    /// Lets everybody finish what they began.
    pub(crate) async fn stop(self) {
        self.world.stop.store(true, Relaxed);
        for task in self.tasks {
            task.await.expect("a client that does not panic");
        }
    }
}

/// One client: one operation after the other.
async fn work(world: Arc<World>, n: u64, mut random: Random) {
    let client = world.client(usize::try_from(n).unwrap());
    while world.work == Work::Carts && !world.stop.load(Relaxed) {
        shop(&world, &client, &mut random).await;
    }
    // What this client last saw a counter at, by the key that stood for it.
    let mut seen: (String, Option<u32>) = Default::default();
    while !world.stop.load(Relaxed) {
        let slot = usize::try_from(random.below(SLOTS as u64)).unwrap();
        let key = world.key(slot);
        if is_counter(slot) && seen.0 != key {
            seen = (key.clone(), None);
        }
        let ask = match random.below(10) {
            _ if is_counter(slot) => Ask::Cas { expect: seen.1, set: seen.1.unwrap_or(0) + 1 },
            0..4 => Ask::Put(world.values.fetch_add(1, Relaxed)),
            4..8 => Ask::Get,
            _ => Ask::Delete,
        };
        let sent = client.prepare(call(&key, ask)).expect("a request that can be sent");
        let id = world.histories.call(&key, ask);
        let answer = world.insist(&client, &sent).await;
        // Whether a void request was executed, its answer does not say for sure.
        let void = answer.as_ref().is_some_and(|answer| answer.status == 502);
        if void {
            world.voids.fetch_add(1, Relaxed);
        } else if let Some(answer) = answer {
            let told = Seen { status: answer.status, value: told(ask, &answer) };
            world.histories.answered(&key, id, told);
            match (ask, told.status) {
                (Ask::Cas { set, .. }, 200) => seen.1 = Some(set),
                (Ask::Cas { .. }, 409) => seen.1 = told.value,
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(20 + random.below(80))).await;
    }
}

/// A write every 20 ms whatever becomes of the ones before, at each gateway in turn.
async fn probe(world: Arc<World>) {
    let clients: Vec<_> = (0..world.gateways.len()).map(|first| world.client(first)).collect();
    let mut every = tokio::time::interval(PROBE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut writes = Vec::new();
    for n in 0.. {
        every.tick().await;
        if world.stop.load(Relaxed) {
            break;
        }
        let (world, client) = (world.clone(), clients[n % clients.len()].clone());
        writes.push(tokio::spawn(async move {
            let sent = Instant::now();
            let call = match world.work {
                Work::Keys => {
                    Call { method: "PUT".into(), ..Call::get(format!("/kv/p{}", n % 8), "?") }
                }
                Work::Carts => Call::get("/cart/items".to_owned(), "?"),
            };
            match client.send(call).await {
                Ok(answer) if answer.response.status == 502 => {
                    world.voids.fetch_add(1, Relaxed);
                }
                Ok(answer) => {
                    push(&world.probes, Probe { sent, done: Instant::now() });
                    push(&world.acknowledged, answer.into());
                }
                Err(SendError::NotVerified(failed)) => {
                    push(&world.wrong, failed.reason.to_string())
                }
                Err(_) => {}
            }
        }));
    }
    for write in writes {
        write.await.expect("a probe that does not panic");
    }
}

/// Adds to a list.
fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

fn is_counter(slot: usize) -> bool {
    slot >= SLOTS - COUNTERS
}

/// The request of an operation.
fn call(key: &str, ask: Ask) -> Call {
    let path = format!("/kv/{key}");
    let text = |value: Option<u32>| value.map_or("null".to_owned(), |v| format!("\"{v}\""));
    let (method, path, body) = match ask {
        Ask::Put(value) => ("PUT", path, format!("{value:<PADDING$}")),
        Ask::Get => ("GET", path, String::new()),
        Ask::Delete => ("DELETE", path, String::new()),
        Ask::Cas { expect, set } => {
            let body = format!(r#"{{"expect":{},"set":{}}}"#, text(expect), text(Some(set)));
            ("POST", path + "/cas", body)
        }
    };
    Call { method: method.to_owned(), body: body.into(), ..Call::get(path, "?") }
}

/// The value that an answer tells.
fn told(ask: Ask, answer: &Acknowledged) -> Option<u32> {
    let text = std::str::from_utf8(&answer.body).expect("text, as it was written");
    match (ask, answer.status) {
        (Ask::Get, 200) => Some(text.trim_end().parse().expect("a number, as it was written")),
        (Ask::Cas { .. }, 409) => {
            let told: serde_json::Value = serde_json::from_str(text).expect("JSON");
            let actual = told.get("actual").expect("what the value is");
            actual.as_str().map(|value| value.parse().expect("a number"))
        }
        _ => None,
    }
}
