//! What must hold at the end of a run, whatever happened.
//!
//! The log is a witness: it says in which order requests took effect. So a history is linearizable
//! if the responses are those of executing the log one by one on a plain model of the service, and
//! if that order respects real time. Both are checked here without the code under test.

use crate::{
    client::{Operation, Returned},
    cluster::Tuning,
    model::{Expected, Leeway, Model, Void, content},
    violation::{Check, Violation},
};
use quorate_replica::Snapshot;
use quorate_types::{Index, LogItem, PublicKey, Request, Response, Slot, StableCertificate, Time};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

/// What a run left behind: everything that the checks read.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The logs of the replicas that never lied.
    pub logs: Vec<Vec<LogItem>>,
    /// What clients asked, and were told.
    pub history: Vec<Operation>,
    /// What liars asked in nobody's name.
    pub invented: Vec<Request>,
    /// The bounds of the replay table.
    pub tuning: Tuning,
    /// What the service's copies may have answered.
    pub leeway: Leeway,
}

impl Trace {
    /// Checks everything.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let log = one_log(&self.logs)?;
        valid(log, &self.history, &self.invented)?;
        let expected = executed(log, self.tuning, self.leeway)?;
        if self.tuning.replay_window >= log.len() as u64 {
            at_most_once(log, &expected)?;
        }
        linearizable(log, &expected, &self.history)
    }
}

/// All logs are prefixes of one log.
///
/// # Errors
/// The first place at which two differ.
pub fn one_log(logs: &[Vec<LogItem>]) -> Result<&[LogItem], Violation> {
    let longest = logs.iter().max_by_key(|log| log.len()).map_or(&[][..], |log| log);
    logs.iter().try_for_each(|log| agree(log.iter(), longest))?;
    Ok(longest)
}

/// One log is a prefix of the other.
///
/// # Errors
/// The first place at which they differ.
pub fn agree<'a>(
    log: impl IntoIterator<Item = impl Borrow<LogItem>>,
    other: impl IntoIterator<Item = &'a LogItem>,
) -> Result<(), Violation> {
    match log.into_iter().zip(other).position(|(a, b)| a.borrow() != b) {
        Some(at) => Err(Check::Agreement.broken(format!("two logs differ at entry {at}"))),
        None => Ok(()),
    }
}

/// Replicas at one slot have one state, byte for byte: as snapshots hold it, but for who signed the
/// head. Gives how many had somebody to be compared with.
///
/// # Errors
/// The first slot after which two differ.
pub fn one_state(states: &[Snapshot]) -> Result<u64, Violation> {
    let mut known: BTreeMap<Slot, &Snapshot> = BTreeMap::new();
    let mut compared = 0;
    for state in states {
        match known.entry(state.slot()) {
            Entry::Vacant(first) => _ = first.insert(state),
            Entry::Occupied(first) if same_bytes(first.get(), state) => compared += 1,
            Entry::Occupied(first) => {
                let reason = format!("the bytes of two states after slot {} differ", first.key());
                return Err(Check::State.broken(reason));
            }
        }
    }
    Ok(compared)
}

fn same_bytes(one: &Snapshot, other: &Snapshot) -> bool {
    // Any quorum's signatures will do.
    let manifest = |state: &Snapshot| {
        let mut certificate = StableCertificate::clone(&state.certificate);
        certificate.cosignatures.clear();
        Snapshot { certificate: Arc::new(certificate), ..state.clone() }.manifest()
    };
    manifest(one) == manifest(other) && one.chunks().eq(other.chunks())
}

/// Everything in the log was asked for, like this, by a client or by a liar that acts as one. What
/// a client signed, it alone can have asked for.
///
/// # Errors
/// The request.
pub fn valid(
    log: &[LogItem],
    history: &[Operation],
    invented: &[Request],
) -> Result<(), Violation> {
    let mut asked = Asked::default();
    history.iter().for_each(|operation| asked.add(operation));
    let mut exchanges = log.iter().filter_map(|item| item.exchange.as_ref());
    exchanges.try_for_each(|exchange| asked.covers(&exchange.request, invented.iter()))
}

/// What clients asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked(BTreeSet<Vec<u8>>);

impl Asked {
    /// A client asks for something.
    pub fn add(&mut self, operation: &Operation) {
        if operation.sound {
            self.0.insert(content(&operation.request));
        }
    }

    /// Whether this was asked for, by a client or by a liar.
    ///
    /// # Errors
    /// Nobody did.
    pub fn covers<'a>(
        &self,
        request: &Request,
        mut invented: impl Iterator<Item = &'a Request>,
    ) -> Result<(), Violation> {
        let asked = content(request);
        let same = |other: &Request| other.signature.is_none() && content(other) == asked;
        if self.0.contains(&asked) || invented.any(same) {
            return Ok(());
        }
        let key = request.field("idempotency-key").unwrap_or_default();
        Err(Check::Validity.broken(format!("nobody asked for {key} {}", request.path)))
    }
}

/// Every entry answers what the model says.
///
/// # Errors
/// The first entry that does not.
pub fn executed(
    log: &[LogItem],
    tuning: Tuning,
    leeway: Leeway,
) -> Result<Vec<Option<Expected>>, Violation> {
    let mut model = Model::new(tuning);
    model.bear(leeway);
    let mut all = Vec::with_capacity(log.len());
    for (at, item) in log.iter().enumerate() {
        let wrong = |it: Violation| it.check.broken(format!("entry {at}: {}", it.reason));
        let expected = model.next(item).map_err(wrong)?;
        answers(at, item, expected.as_ref())?;
        all.push(expected);
    }
    Ok(all)
}

/// Whether the entry at a place answers what the model says.
///
/// # Errors
/// It does not.
pub fn answers(at: usize, item: &LogItem, expected: Option<&Expected>) -> Result<(), Violation> {
    let (Some(expected), Some(exchange)) = (expected, &item.exchange) else { return Ok(()) };
    let (request, response) = (&exchange.request, &exchange.response);
    let same_body = expected.body.as_ref().is_none_or(|body| *body == response.body);
    if expected.status == response.status && same_body {
        return Ok(());
    }
    let (method, path) = (&request.method, &request.path);
    let (status, body) = (response.status, &response.body);
    Err(Check::Execution.broken(format!(
        "entry {at} ({method} {path}) answers {status} {body:?}, the model says {} {:?}",
        expected.status, expected.body
    )))
}

/// One key, one effect: where the replay table forgets nothing, no two entries executed the same
/// client's same key. Says it again in other words than the model.
///
/// # Errors
/// The key.
pub fn at_most_once(log: &[LogItem], expected: &[Option<Expected>]) -> Result<(), Violation> {
    let mut effects = BTreeSet::new();
    for (item, expected) in log.iter().zip(expected) {
        let (Some(exchange), Some(Expected { executed: true, .. })) = (&item.exchange, expected)
        else {
            continue;
        };
        let Some(name) = key_of(&exchange.request) else { continue };
        let key = name.2;
        if !effects.insert(name) {
            return Err(Check::AtMostOnce.broken(format!("{key} took effect twice")));
        }
    }
    Ok(())
}

/// Under what a request takes effect once: its signer, or else its credentials, and its key.
#[must_use]
pub fn key_of(request: &Request) -> Option<(Option<PublicKey>, Option<&str>, &str)> {
    let signer = request.signature.as_ref().map(|signature| signature.key);
    // A key that is signed for is its signer's, whatever credentials come with it.
    let credentials = request.field("authorization").filter(|_| signer.is_none());
    Some((signer, credentials, request.field("idempotency-key")?))
}

/// How many requests took effect again because the replay table had forgotten them: what a small
/// window permits, and no more than that.
#[must_use]
pub fn forgotten(log: &[LogItem]) -> u64 {
    let requests = log.iter().filter_map(|item| item.exchange.as_ref());
    let keyed = requests.filter(|it| it.request.field("idempotency-key").is_some());
    let executed = keyed.filter(|it| took_effect(&it.response));
    let mut seen = BTreeSet::new();
    executed.filter(|exchange| !seen.insert(content(&exchange.request))).count() as u64
}

/// Whether a response is the service's. The others are refusals that change nothing: a signature
/// too old, a key used twice, a replay table that is full; or no copy executed the request.
#[must_use]
pub fn took_effect(response: &Response) -> bool {
    !matches!(response.status, 401 | 422 | 503) && Void::of(response) != Some(Void::Silent)
}

/// The answers are those of the log, in an order that respects real time.
///
/// # Errors
/// The operation that contradicts it.
pub fn linearizable(
    log: &[LogItem],
    expected: &[Option<Expected>],
    history: &[Operation],
) -> Result<(), Violation> {
    // One that was asked for again took effect, perhaps, when it was asked for first.
    let mut first_called: BTreeMap<Vec<u8>, Time> = BTreeMap::new();
    for operation in history {
        let called = first_called.entry(content(&operation.request)).or_insert(operation.called);
        *called = (*called).min(operation.called);
    }
    let mut finished: BTreeMap<Index, (Time, Time)> = BTreeMap::new();
    for operation in history {
        let Some(Returned { at, index, salt, response }) = &operation.returned else { continue };
        let place = usize::try_from(index.0).unwrap_or(usize::MAX);
        let (Some(item), Some(Some(_))) = (log.get(place), expected.get(place)) else {
            let reason = format!("the acknowledged entry {index} is not in the log");
            return Err(Check::Durability.broken(reason));
        };
        let Some(exchange) = &item.exchange else { continue };
        let asked = content(&operation.request);
        if content(&exchange.request) != asked {
            let reason = format!("entry {index} answers another request than it was told to");
            return Err(Check::Linearizability.broken(reason));
        }
        if exchange.request.salt != *salt || exchange.response != *response {
            let reason = format!("entry {index} was told with another salt or response");
            return Err(Check::Linearizability.broken(reason));
        }
        let called = first_called.get(&asked).copied().unwrap_or(operation.called);
        let times = finished.entry(*index).or_insert((called, *at));
        times.1 = times.1.min(*at);
    }
    // In log order, nothing may have returned before something earlier in the log was called.
    let mut latest_call = Time::default();
    for (index, (called, returned)) in finished {
        if returned < latest_call {
            let reason = format!("real time: entry {index} returned before an earlier one began");
            return Err(Check::Linearizability.broken(reason));
        }
        latest_call = latest_call.max(called);
    }
    Ok(())
}
