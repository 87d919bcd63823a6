//! What must hold, whatever happens.
//!
//! The log is a witness: it says in which order requests took effect. So a history is linearizable
//! if the responses are those of executing the log one by one on a plain model of the service, and
//! if that order respects real time. Both are checked here without the code under test.

use crate::client::Operation;
use bytes::Bytes;
use quorate_proof::Entry;
use quorate_types::{Index, LogItem, Response, Time};
use std::collections::{BTreeMap, BTreeSet};

/// All logs are prefixes of one log.
///
/// # Errors
/// The first place at which two differ.
pub fn one_log(logs: &[Vec<LogItem>]) -> Result<&[LogItem], String> {
    let longest = logs.iter().max_by_key(|log| log.len()).map_or(&[][..], |log| log);
    for log in logs {
        if let Some(at) = log.iter().zip(longest).position(|(a, b)| a != b) {
            return Err(format!("agreement: two logs differ at entry {at}"));
        }
    }
    Ok(longest)
}

/// Each client's request took effect at most once, and only requests of clients did.
///
/// # Errors
/// The request.
pub fn at_most_once(log: &[LogItem], history: &[Operation]) -> Result<(), String> {
    let asked: BTreeMap<&str, &Operation> =
        history.iter().map(|operation| (operation.key.as_str(), operation)).collect();
    let mut seen = BTreeSet::new();
    for exchange in log.iter().filter_map(|item| item.exchange.as_ref()) {
        let key = exchange.request.field("idempotency-key").unwrap_or_default();
        let Some(operation) = asked.get(key) else {
            return Err(format!("validity: nobody asked for {key}"));
        };
        let mut sent = operation.request.clone();
        sent.salt = exchange.request.salt;
        if sent != *exchange.request {
            return Err(format!("validity: {key} was ordered with another content"));
        }
        if !seen.insert(key) {
            return Err(format!("at most once: {key} stands twice in the log"));
        }
    }
    Ok(())
}

/// The history is linearizable, in the order that the log states.
///
/// # Errors
/// The operation that contradicts it.
pub fn linearizable(log: &[LogItem], history: &[Operation]) -> Result<(), String> {
    let expected = execute(log);
    let mut finished: Vec<(Index, Time, Time)> = Vec::new();
    for operation in history {
        let Some((returned, index, response)) = &operation.returned else { continue };
        let Some((key, model)) = expected.get(index) else {
            return Err(format!("durability: the acknowledged entry {index} is not in the log"));
        };
        if key != &operation.key {
            return Err(format!("entry {index} answers {key}, not {}", operation.key));
        }
        if (model.0, &model.1) != (response.status, &response.body) {
            return Err(format!(
                "entry {index} ({} {}): answered {} {:?}, the model says {} {:?}",
                operation.request.method,
                operation.request.path,
                response.status,
                response.body,
                model.0,
                model.1
            ));
        }
        finished.push((*index, operation.called, *returned));
    }
    finished.sort_unstable();
    // In log order, nothing may have returned before something earlier in the log was called.
    let mut latest_call = Time::default();
    for (index, called, returned) in finished {
        if returned < latest_call {
            return Err(format!("real time: entry {index} returned before an earlier one began"));
        }
        latest_call = latest_call.max(called);
    }
    Ok(())
}

/// A plain model of the key-value service, executed along the log: what each entry must answer.
fn execute(log: &[LogItem]) -> BTreeMap<Index, (String, (u16, Bytes))> {
    let mut store: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for item in log {
        let (Some(exchange), Ok(entry)) = (&item.exchange, Entry::parse(&item.entry)) else {
            continue;
        };
        let request = &exchange.request;
        let response: &Response = &exchange.response;
        let (status, body) = match (request.method.as_str(), request.path.strip_suffix("/cas")) {
            ("POST", Some(path)) => match store.get(path) {
                // The body of a conflict is JSON that the service words; its status is the point.
                Some(_) => (409, response.body.clone()),
                None => {
                    let set = set_of(&request.body);
                    store.insert(path.to_owned(), set);
                    (200, response.body.clone())
                }
            },
            ("PUT", _) => {
                let old = store.insert(request.path.clone(), request.body.clone());
                (if old.is_some() { 204 } else { 201 }, Bytes::new())
            }
            ("DELETE", _) => match store.remove(&request.path) {
                Some(_) => (204, Bytes::new()),
                None => (404, response.body.clone()),
            },
            _ => match store.get(&request.path) {
                Some(value) => (200, value.clone()),
                None => (404, response.body.clone()),
            },
        };
        let key = request.field("idempotency-key").unwrap_or_default().to_owned();
        expected.insert(entry.index, (key, (status, body)));
    }
    expected
}

/// The value in the simulator's own `cas` bodies: `{"expect":null,"set":"..."}`.
fn set_of(body: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let value = text.split("\"set\":\"").nth(1).and_then(|rest| rest.split('"').next());
    Bytes::from(value.unwrap_or_default().to_owned())
}
