//! Whether what clients were told is linearizable, judged by a checker from elsewhere.
//!
//! The log does not enter: for each key of the service, what was asked, when, and what a client's
//! verifier accepted as the answer goes to the Wing-Gong-Lowe checker of the crate `todc-utils`
//! (registers are linearizable if and only if each of them is). An operation is a request's
//! content, under its `Idempotency-Key`: retries at other gateways, and the same request once
//! more, are the same operation, begun when it was sent first. One that nobody answered may have
//! taken effect at any time after that, or never.
//!
//! Two things that clients do not see can change a key all the same, and are told to this check as
//! [`Beside`]: requests that liars made in nobody's name, and requests that a small replay table
//! forgot and that took effect again. Their values may appear at any time: then the state of a key
//! is not one value but a set of them.
//!
//! The checker's time can grow faster than any power of the number of operations, so it has a
//! number of steps. A history that takes more is counted, not judged.

use crate::{
    check::{Trace, took_effect},
    client::{Operation, Returned},
    model::{Void, content},
    violation::{Check, Violation},
};
use bytes::Bytes;
use quorate_types::{Index, Request, Response, Time};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::Specification,
};

/// The most operations in the history of one key.
pub const OPERATIONS_MAX: usize = 500;

/// The most steps that the checker may take for one key.
pub const STEPS_MAX: u64 = 30_000;

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Judged {
    /// Keys whose histories can be explained.
    pub keys: u64,
    /// The operations in these histories.
    pub operations: u64,
    /// Those among them that nobody answered.
    pub unanswered: u64,
    /// Keys whose histories are too long to be judged.
    pub too_long: u64,
}

/// What took effect beside what clients asked for, and were told of.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    requests: Vec<Request>,
    /// Whether a request can take effect twice, because the replay table forgets.
    forgets: bool,
}

impl Beside {
    /// What a run's log says of it. A larger answer makes this check weaker, never wrong; where no
    /// request can be forgotten, each has a key and no liar made one, it is empty, whatever the log
    /// holds.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let Trace { logs, history, invented, tuning, .. } = trace;
        let log = logs.iter().max_by_key(|log| log.len()).map_or(&[][..], |log| log);
        let forgets = tuning.replay_window < log.len() as u64;
        let keyed = |request: &Request| request.field("idempotency-key").is_some();
        let mut beside = Self { requests: Vec::new(), forgets };
        let all_keyed = history.iter().all(|operation| keyed(&operation.request));
        if !forgets && invented.is_empty() && all_keyed {
            return beside;
        }
        let may_repeat = |request: &Request| forgets || !invented.is_empty() || !keyed(request);
        let mut asked = BTreeMap::new();
        for operation in history.iter().filter(|operation| operation.sound) {
            let asked: &mut Asked = asked.entry(content(&operation.request)).or_default();
            asked.add(operation);
        }
        for (at, item) in log.iter().enumerate() {
            let Some(exchange) = &item.exchange else { continue };
            if !took_effect(&exchange.response) || !may_repeat(&exchange.request) {
                continue;
            }
            let asked = asked.get_mut(&content(&exchange.request));
            if asked.is_none_or(|asked| !asked.explains(Index(at as u64))) {
                beside.requests.push(Request::clone(&exchange.request));
            }
        }
        beside
    }
}

/// Judges what a run's clients were told, key by key.
///
/// # Errors
/// The history of a key that nothing explains.
pub fn check(history: &[Operation], beside: &Beside) -> Result<Judged, Violation> {
    let mut asked: BTreeMap<Vec<u8>, Asked> = BTreeMap::new();
    for operation in history.iter().filter(|operation| operation.sound) {
        asked.entry(content(&operation.request)).or_default().add(operation);
    }
    let mut values = Values::default();
    let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
    for asked in asked.values() {
        let Some((request, called)) = asked.first else { continue };
        if asked.answers.len() > 1 && !beside.forgets {
            let places: Vec<_> = asked.answers.keys().map(ToString::to_string).collect();
            let places = places.join(" and ");
            let reason = format!("{} was answered at {places}", request.path);
            return Err(Check::AtMostOnce.broken(reason));
        }
        let Some((name, ask)) = values.ask(request) else { continue };
        let key = keys.entry(name).or_default();
        for (at, response) in asked.answers.values() {
            let seen = values.seen(ask, response);
            key.operations.push(Timed { ask, called, returned: Some((*at, seen)) });
        }
        if asked.answers.is_empty() && !asked.refused && ask != Ask::Get {
            key.operations.push(Timed { ask, called, returned: None });
        }
    }
    for request in &beside.requests {
        let Some((name, ask)) = values.ask(request) else { continue };
        keys.entry(name).or_default().wild.extend(ask.leaves());
    }
    let mut judged = Judged::default();
    for (name, key) in keys {
        match key.is_linearizable() {
            Some(true) => {
                judged.keys += 1;
                judged.operations += key.operations.len() as u64;
                let unanswered = key.operations.iter().filter(|it| it.returned.is_none());
                judged.unanswered += unanswered.count() as u64;
            }
            Some(false) => {
                let reason = format!("nothing explains {name}: {}", key.told(&values));
                return Err(Check::Linearizability.broken(reason));
            }
            None => judged.too_long += 1,
        }
    }
    Ok(judged)
}

/// What was asked under one content, and what became of it.
#[derive(Default)]
struct Asked<'a> {
    /// The request, and when it was sent first.
    first: Option<(&'a Request, Time)>,
    /// Answers by entry: more than one only where the first was forgotten.
    answers: BTreeMap<Index, (Time, &'a Response)>,
    /// Whether a refusal was the answer.
    refused: bool,
    /// Whether an effect that no answer tells of was explained by its not being answered.
    explained: bool,
}

impl<'a> Asked<'a> {
    fn add(&mut self, operation: &'a Operation) {
        let first = self.first.get_or_insert((&operation.request, operation.called));
        first.1 = first.1.min(operation.called);
        let Some(Returned { at, index, response, .. }) = &operation.returned else { return };
        // Nobody was told what the service did.
        if Void::of(response).is_some() {
            return;
        }
        if took_effect(response) {
            let answer = self.answers.entry(*index).or_insert((*at, response));
            answer.0 = answer.0.min(*at);
        } else {
            self.refused = true;
        }
    }

    /// Whether an effect at a place of the log is one that its client expects.
    fn explains(&mut self, place: Index) -> bool {
        let unanswered = self.answers.is_empty() && !self.refused;
        self.answers.contains_key(&place)
            || (unanswered && !std::mem::replace(&mut self.explained, true))
    }
}

/// What a client asks of a key. Values are numbers: see [`Values`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ask {
    Put(u32),
    Get,
    Delete,
    /// CAS from no value to one.
    Create(u32),
}

/// What a client saw: the status, and the value that a 200 to GET or a 409 to CAS tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    status: u16,
    value: Option<u32>,
}

impl Ask {
    /// What the service answers when a key has this value, and the value afterwards.
    fn on(self, value: Option<u32>) -> (Seen, Option<u32>) {
        let held = value.is_some();
        let (status, told, after) = match self {
            Self::Put(put) => (if held { 204 } else { 201 }, None, Some(put)),
            Self::Get => (if held { 200 } else { 404 }, value, value),
            Self::Delete => (if held { 204 } else { 404 }, None, None),
            Self::Create(set) if !held => (200, None, Some(set)),
            Self::Create(_) => (409, value, value),
        };
        (Seen { status, value: told }, after)
    }

    /// The value that it leaves, if it leaves one of its own.
    fn leaves(self) -> Option<Option<u32>> {
        match self {
            Self::Put(value) | Self::Create(value) => Some(Some(value)),
            Self::Delete => Some(None),
            Self::Get => None,
        }
    }
}

/// The contents that were written or read, each with a number.
#[derive(Default)]
struct Values(BTreeMap<Bytes, u32>);

impl Values {
    fn number(&mut self, content: &[u8]) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(Bytes::copy_from_slice(content)).or_insert(next)
    }

    /// Which key a request is about, and what it asks; `None` for what only a liar asks.
    fn ask<'a>(&mut self, request: &'a Request) -> Option<(&'a str, Ask)> {
        let path = request.path.strip_prefix("/kv/")?;
        Some(match (request.method.as_str(), path.strip_suffix("/cas")) {
            ("PUT", None) => (path, Ask::Put(self.number(&request.body))),
            ("GET", None) => (path, Ask::Get),
            ("DELETE", None) => (path, Ask::Delete),
            ("POST", Some(key)) => {
                let set = between(&request.body, b"{\"expect\":null,\"set\":\"", b"\"}")?;
                (key, Ask::Create(self.number(set)))
            }
            _ => return None,
        })
    }

    fn seen(&mut self, ask: Ask, response: &Response) -> Seen {
        let told = match (ask, response.status) {
            (Ask::Get, 200) => Some(&response.body[..]),
            (Ask::Create(_), 409) => between(&response.body, b"{\"actual\":\"", b"\"}"),
            _ => None,
        };
        Seen { status: response.status, value: told.map(|told| self.number(told)) }
    }

    fn name(&self, number: u32) -> String {
        let named = self.0.iter().find(|(_, known)| **known == number);
        named.map_or_else(String::new, |(content, _)| String::from_utf8_lossy(content).into_owned())
    }
}

fn between<'a>(text: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// An operation in real time.
#[derive(Clone, Copy, Debug)]
struct Timed {
    ask: Ask,
    called: Time,
    returned: Option<(Time, Seen)>,
}

/// The history of one key.
#[derive(Default)]
struct Key {
    operations: Vec<Timed>,
    /// Values that may stand there at any time.
    wild: BTreeSet<Option<u32>>,
}

impl Key {
    /// Whether there is an order that explains it all; `None` if it takes too long to tell.
    fn is_linearizable(&self) -> Option<bool> {
        if self.operations.is_empty() {
            return Some(true);
        }
        if self.operations.len() > OPERATIONS_MAX {
            return None;
        }
        let wild = Rc::new(self.wild.clone());
        let steps = Rc::new(Cell::new(STEPS_MAX));
        let mut actions = Vec::with_capacity(2 * self.operations.len());
        for (id, &Timed { ask, called, returned }) in self.operations.iter().enumerate() {
            let seen = returned.map(|(_, seen)| seen);
            let step = Step { ask, seen, wild: wild.clone(), steps: steps.clone() };
            // What nobody answered ends after everything else. What happens at one moment overlaps.
            let end = returned.map_or(Time(u64::MAX), |(at, _)| at);
            actions.push(((called, false), (id, Action::Call(step.clone()))));
            actions.push(((end, true), (id, Action::Response(step))));
        }
        actions.sort_by_key(|(when, _)| *when);
        let actions = actions.into_iter().map(|(_, action)| action).collect();
        let explained = WGLChecker::<Step>::is_linearizable(History::from_actions(actions));
        (explained || steps.get() > 0).then_some(explained)
    }

    /// The history, for people.
    fn told(&self, values: &Values) -> String {
        let mut operations = self.operations.clone();
        operations.sort_by_key(|operation| operation.called);
        let name = |value: u32| values.name(value);
        let tell = |operation: &Timed| {
            let asked = match operation.ask {
                Ask::Put(value) => format!("PUT {}", name(value)),
                Ask::Get => "GET".to_owned(),
                Ask::Delete => "DELETE".to_owned(),
                Ask::Create(value) => format!("CREATE {}", name(value)),
            };
            let (from, ms) = (operation.called.0 / 1_000, |at: Time| at.0 / 1_000);
            match operation.returned {
                None => format!("{from}.. us {asked}"),
                Some((at, Seen { status, value })) => {
                    let value = value.map(name).unwrap_or_default();
                    format!("{from}..{} us {asked} -> {status} {value}", ms(at))
                }
            }
        };
        let wild: Vec<_> = self.wild.iter().map(|it| it.map_or("none".to_owned(), name)).collect();
        let told: Vec<_> = operations.iter().map(tell).collect();
        format!("{} (beside them: {})", told.join("; "), wild.join(", "))
    }
}

/// An operation as the checker sees it; without `seen`, one that nobody ever answered.
#[derive(Clone, Debug)]
struct Step {
    ask: Ask,
    seen: Option<Seen>,
    wild: Rc<BTreeSet<Option<u32>>>,
    /// How many more steps the checker may take.
    steps: Rc<Cell<u64>>,
}

impl Specification for Step {
    /// The values that a key may have.
    type State = BTreeSet<Option<u32>>;
    type Operation = Self;

    fn init() -> Self::State {
        BTreeSet::from([None])
    }

    fn apply(step: &Self, state: &Self::State) -> (bool, Self::State) {
        let Some(left) = step.steps.get().checked_sub(1) else { return (false, state.clone()) };
        step.steps.set(left);
        let mut after = BTreeSet::new();
        for value in state.union(&step.wild) {
            let (seen, then) = step.ask.on(*value);
            let told = |told: Seen| {
                told.status == seen.status && (told.value.is_none() || told.value == seen.value)
            };
            if step.seen.is_none_or(told) {
                after.insert(then);
            }
        }
        match after.is_empty() {
            true => (false, state.clone()),
            false => (true, after),
        }
    }
}
