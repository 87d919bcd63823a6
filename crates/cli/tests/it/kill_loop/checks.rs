//! What must hold of a cluster whatever was killed.

use super::{
    load::{Acknowledged, Probe, World},
    victims::{Kill, Victims},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_client::Call;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many exchanges are fetched at a time.
const FETCHERS: usize = 8;

/// How long replicas may take to agree after the load has ended.
const AGREE_MAX: Duration = Duration::from_secs(60);

/// What is asked of the log.
#[derive(Debug, Default)]
pub(crate) struct InLog {
    pub(crate) exchanges: usize,
    /// How many replicas had an exchange only behind a snapshot that they installed.
    pub(crate) elsewhere: usize,
}

/// Every acknowledged exchange stands in the log at its index, as it was answered, and no two
/// stand at one.
pub(crate) async fn nothing_acknowledged_is_lost(world: &Arc<World>) -> InLog {
    let acknowledged = world.acknowledged.lock().unwrap().clone();
    let mut by_index = BTreeMap::new();
    for one in &acknowledged {
        let before = by_index.insert(one.index, key_of(one));
        assert!(before.is_none_or(|key| key == key_of(one)), "two exchanges at {}", one.index);
    }
    let mut parts: Vec<Vec<_>> = vec![Vec::new(); FETCHERS];
    for (n, one) in acknowledged.into_iter().enumerate() {
        parts[n % FETCHERS].push(one);
    }
    let fetch = |part: Vec<Acknowledged>| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut found = InLog::default();
            for one in part {
                found.elsewhere += is_in_log(&world, &one).await;
                found.exchanges += 1;
            }
            found
        })
    };
    let parts: Vec<_> = parts.into_iter().map(fetch).collect();
    let mut sum = InLog::default();
    for part in parts {
        let part = part.await.expect("every exchange is found");
        sum.exchanges += part.exchanges;
        sum.elsewhere += part.elsewhere;
    }
    sum
}

/// Finds one exchange at a replica; tells how many did not have it.
async fn is_in_log(world: &World, one: &Acknowledged) -> usize {
    let client = world.client(0);
    let mut gateways = world.gateways.clone();
    gateways.rotate_left(usize::try_from(one.index).unwrap() % world.gateways.len());
    for (absent, gateway) in gateways.iter().enumerate() {
        let answer = client.fetch(gateway, &format!("exchange/{}", one.index)).await;
        let answer = answer.expect("a replica that answers");
        if answer.status == 404 {
            continue;
        }
        let logged: Value = serde_json::from_slice(&answer.body).expect("an exchange in JSON");
        is_same(one, &logged);
        return absent;
    }
    panic!("acknowledged and lost: {one:?}");
}

/// Compares what a client holds with what the log holds.
fn is_same(one: &Acknowledged, logged: &Value) {
    let (request, response) = (&logged["request"], &logged["response"]);
    let same = [
        (&logged["index"], json!(one.index)),
        (&logged["salt"], json!(STANDARD.encode(one.salt))),
        (&request["method"], json!(one.sent.method)),
        (&request["path"], json!(one.sent.path)),
        (&request["body"], json!(STANDARD.encode(&one.sent.body))),
        (&response["status"], json!(one.status)),
        (&response["body"], json!(STANDARD.encode(&one.body))),
    ];
    for (logged, acknowledged) in &same {
        assert_eq!(*logged, acknowledged, "at {}", one.index);
    }
    let fields = |value: &Value| -> Vec<(String, String)> {
        serde_json::from_value(value.clone()).expect("fields")
    };
    let key = ("idempotency-key".to_owned(), key_of(one));
    assert!(fields(&request["fields"]).contains(&key), "{logged}");
    for field in fields(&response["fields"]) {
        assert!(one.fields.contains(&field), "{field:?} of {logged} is not in {one:?}");
    }
}

/// The idempotency key of a request.
fn key_of(one: &Acknowledged) -> String {
    let mut fields = one.sent.fields.iter();
    let key = fields.find(|(name, _)| name == "idempotency-key");
    key.expect("every request has a key").1.clone()
}

/// Retried under its key, at every gateway by itself, a request gets the answer that it had.
pub(crate) async fn retries_give_the_first_answer(world: &Arc<World>, kept: &[Acknowledged]) {
    for one in kept {
        for first in 0..world.gateways.len() {
            let again = world.client(first).send_prepared(one.sent.clone()).await;
            let again = Acknowledged::from(again.expect("an answer to a retry"));
            assert_eq!((again.index, again.salt), (one.index, one.salt), "{one:?}");
            assert_eq!((again.status, &again.body), (one.status, &one.body), "{one:?}");
        }
        is_in_log(world, one).await;
    }
}

/// Once nobody asks, all replicas name the same head, that covers all that was acknowledged.
pub(crate) fn all_replicas_agree(world: &World, victims: &mut Victims) -> Value {
    let least = world.acknowledged.lock().unwrap().iter().map(|one| one.index).max().unwrap();
    let start = Instant::now();
    loop {
        victims.check_deaths();
        let states: Vec<_> = (0..world.gateways.len()).map(|i| victims.status(i)).collect();
        let of = |name: &str| -> Vec<_> {
            states.iter().map(|state| state.as_ref().map(|state| state[name].clone())).collect()
        };
        let (heads, heights) = (of("last_head"), of("height"));
        let same = |all: &[Option<Value>]| all.iter().all(|one| one.is_some() && *one == all[0]);
        let head = heads[0].clone().unwrap_or_default();
        if same(&heads) && same(&heights) && head["size"].as_u64() > Some(least) {
            // A copy that was killed may have been silent last; nobody lied.
            let lies = |state: &Value| -> usize {
                let all = state["divergent"].as_array().expect("a list").iter();
                all.filter(|one| one["evidence"]["copy"].is_null()).count()
            };
            assert_eq!(states.iter().flatten().map(lies).sum::<usize>(), 0, "{states:#?}");
            return head;
        }
        assert!(start.elapsed() < AGREE_MAX, "no agreement above {least}: {states:#?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Every replica's newest checkpoint says the same: origin, size, root.
pub(crate) async fn checkpoints_agree(world: &World) {
    let client = world.client(0);
    let mut first: Option<String> = None;
    for gateway in &world.gateways {
        let answer = client.fetch(gateway, "log/checkpoint").await.expect("a checkpoint");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let head = text.split("\n\n").next().unwrap().to_owned();
        assert_eq!(*first.get_or_insert(head.clone()), head);
    }
}

/// A counter stands where its acknowledged steps brought it: none lost, none taken twice. Returns
/// how many steps that were.
pub(crate) async fn counters_count_every_success(world: &World) -> u32 {
    let client = world.client(0);
    let mut steps = 0;
    for (key, (succeeded, unanswered)) in world.histories.counted() {
        if succeeded + unanswered == 0 {
            continue;
        }
        let answer = client.send(Call::get(format!("/kv/{key}"), "?")).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer.response.body).into_owned();
        let value: u32 = text.parse().unwrap_or(0);
        assert!((succeeded..=succeeded + unanswered).contains(&value), "{key} is {text}");
        steps += succeeded;
    }
    steps
}

/// Gaps after kills, by kind: until the first success of a write that was sent after the kill.
pub(crate) fn gaps(kills: &[Kill], probes: &[Probe]) -> BTreeMap<&'static str, Vec<Duration>> {
    let mut gaps: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kill in kills {
        let later = probes.iter().filter(|probe| probe.sent >= kill.at);
        let done = later.map(|probe| probe.done).min().expect("a success after every kill");
        gaps.entry(kill.kind).or_default().push(done - kill.at);
    }
    gaps
}

/// Prints a line of percentiles for each kind.
pub(crate) fn print_gaps(mut gaps: BTreeMap<&'static str, Vec<Duration>>) {
    for (kind, gaps) in &mut gaps {
        gaps.sort();
        // The nearest rank.
        let percentile = |p: usize| gaps[(gaps.len() * p).div_ceil(100).max(1) - 1].as_millis();
        println!(
            "gap after kill: {kind:<18} p50 {:>5} ms  p99 {:>5} ms  ({} kills)",
            percentile(50),
            percentile(99),
            gaps.len()
        );
    }
}
