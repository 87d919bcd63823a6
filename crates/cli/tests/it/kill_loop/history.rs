//! What clients asked and saw, judged by a checker from elsewhere.
//!
//! The histories go to the Wing-Gong-Lowe checker of the crate `todc-utils`, one a key: registers
//! are linearizable if and only if each of them is. What a key of the `kv` service answers is
//! written down here once, as [`Ask::on`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::Specification,
};

/// The most operations in one history: the checker's time grows faster than their number.
pub(crate) const OPERATIONS_MOST: u64 = 250;

/// What a client asks of a key. Values are numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    Put(u32),
    Get,
    Delete,
    Cas { expect: Option<u32>, set: u32 },
}

/// What a client saw: the status, and the value that a 200 to GET or a 409 to CAS tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) value: Option<u32>,
}

impl Ask {
    /// What the service answers when a key has this value, and the value afterwards.
    fn on(self, value: Option<u32>) -> (Seen, Option<u32>) {
        let held = value.is_some();
        let (status, told, after) = match self {
            Self::Put(put) => (if held { 204 } else { 201 }, None, Some(put)),
            Self::Get => (if held { 200 } else { 404 }, value, value),
            Self::Delete => (if held { 204 } else { 404 }, None, None),
            Self::Cas { expect, set } if expect == value => (200, None, Some(set)),
            Self::Cas { .. } => (409, value, value),
        };
        (Seen { status, value: told }, after)
    }
}

/// An operation as the checker sees it; without `seen`, one that nobody ever answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Operation {
    ask: Ask,
    seen: Option<Seen>,
}

/// One key.
struct Key;

impl Specification for Key {
    type State = Option<u32>;
    type Operation = Operation;

    fn init() -> Self::State {
        None
    }

    fn apply(operation: &Operation, value: &Self::State) -> (bool, Self::State) {
        let (seen, after) = operation.ask.on(*value);
        (operation.seen.is_none_or(|actually| actually == seen), after)
    }
}

/// The history of one key, in the order of real time.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyHistory {
    actions: Vec<(usize, Action<Operation>)>,
    open: BTreeMap<usize, Ask>,
    calls: usize,
}

impl KeyHistory {
    /// Notes that a request is about to be sent; returns the number of the operation.
    fn call(&mut self, ask: Ask) -> usize {
        let id = self.calls;
        self.calls += 1;
        self.actions.push((id, Action::Call(Operation { ask, seen: None })));
        self.open.insert(id, ask);
        id
    }

    /// Notes that its answer is here.
    fn answered(&mut self, id: usize, seen: Seen) {
        let ask = self.open.remove(&id).expect("an operation is answered once");
        self.actions.push((id, Action::Response(Operation { ask, seen: Some(seen) })));
    }

    /// Whether there is an order that explains it all.
    ///
    /// An operation without an answer may have been executed at any time after its call, or never:
    /// it responds at the very end, where it can no longer be told from one that never was. A read
    /// without an answer says nothing and is left out.
    pub(crate) fn is_linearizable(&self) -> bool {
        let reads: BTreeSet<_> =
            self.open.iter().filter(|(_, ask)| **ask == Ask::Get).map(|(id, _)| *id).collect();
        let mut actions = self.actions.clone();
        actions.retain(|(id, _)| !reads.contains(id));
        let unanswered = self.open.iter().filter(|(id, _)| !reads.contains(id));
        actions.extend(
            unanswered
                .map(|(id, ask)| (*id, Action::Response(Operation { ask: *ask, seen: None }))),
        );
        actions.is_empty() || WGLChecker::<Key>::is_linearizable(History::from_actions(actions))
    }
}

/// The histories of all keys.
#[derive(Debug, Default)]
pub(crate) struct Histories(Mutex<BTreeMap<String, KeyHistory>>);

/// What was judged.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) keys: usize,
    pub(crate) operations: usize,
    pub(crate) unanswered: usize,
}

impl Histories {
    /// Notes that a request about a key is about to be sent; returns the number of the operation.
    pub(crate) fn call(&self, key: &str, ask: Ask) -> usize {
        self.with(|keys| keys.entry(key.to_owned()).or_default().call(ask))
    }

    /// Notes that its answer is here.
    pub(crate) fn answered(&self, key: &str, id: usize, seen: Seen) {
        self.with(|keys| keys.entry(key.to_owned()).or_default().answered(id, seen));
    }

    /// Judges every key; fails with the history that nothing explains.
    pub(crate) fn judge(&self) -> Result<Judged, String> {
        let keys = self.with(|keys| keys.clone());
        let mut judged = Judged::default();
        for (key, history) in &keys {
            if !history.is_linearizable() {
                return Err(format!("not linearizable: {key}: {:?}", history.actions));
            }
            judged.keys += 1;
            judged.operations += history.calls;
            judged.unanswered += history.open.len();
        }
        Ok(judged)
    }

    /// How many CAS of a key succeeded, and how many were never answered.
    pub(crate) fn counted(&self) -> BTreeMap<String, (u32, u32)> {
        let succeeded = |history: &KeyHistory| {
            let is_success = |action: &Action<Operation>| {
                matches!(
                    action,
                    Action::Response(Operation {
                        ask: Ask::Cas { .. },
                        seen: Some(Seen { status: 200, .. }),
                    })
                )
            };
            history.actions.iter().filter(|(_, action)| is_success(action)).count()
        };
        let is_cas = |ask: &&Ask| matches!(ask, Ask::Cas { .. });
        let small = |count: usize| u32::try_from(count).unwrap();
        let count = |history: &KeyHistory| {
            (small(succeeded(history)), small(history.open.values().filter(is_cas).count()))
        };
        self.with(|keys| keys.iter().map(|(key, history)| (key.clone(), count(history))).collect())
    }

    fn with<T>(&self, read: impl FnOnce(&mut BTreeMap<String, KeyHistory>) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history in which eight clients write, read, delete and count, as a correct service
    /// answers them; each operation overlaps with the seven around it.
    fn sound(operations: usize) -> KeyHistory {
        let (mut history, mut value, mut waiting) = (KeyHistory::default(), None, Vec::new());
        for i in 0..operations {
            let number = u32::try_from(i).unwrap();
            let ask = match i % 5 {
                0 | 2 => Ask::Put(number),
                3 if i % 3 == 0 => Ask::Delete,
                4 => Ask::Cas { expect: value, set: number },
                _ => Ask::Get,
            };
            let (seen, after) = ask.on(value);
            value = after;
            waiting.push((history.call(ask), seen));
            if waiting.len() == 8 {
                // Not in the order of execution: answers overtake each other.
                let (id, seen) = waiting.remove((i * 5) % 8);
                history.answered(id, seen);
            }
        }
        for (id, seen) in waiting {
            history.answered(id, seen);
        }
        history
    }

    /// One operation after all others.
    fn then(history: &mut KeyHistory, ask: Ask, status: u16, value: Option<u32>) {
        let id = history.call(ask);
        history.answered(id, Seen { status, value });
    }

    /// The sound history, followed by two writes that their clients saw succeed.
    fn with_a_write() -> KeyHistory {
        let mut history = sound(300);
        then(&mut history, Ask::Put(9_000), 204, None);
        then(&mut history, Ask::Put(9_001), 204, None);
        history
    }

    #[test]
    fn a_sound_history_is_linearizable() {
        assert!(sound(300).is_linearizable());
        let mut history = with_a_write();
        then(&mut history, Ask::Get, 200, Some(9_001));
        assert!(history.is_linearizable());
    }

    #[test]
    fn a_stale_read_is_noticed() {
        let mut history = with_a_write();
        then(&mut history, Ask::Get, 200, Some(9_000));
        assert!(!history.is_linearizable());
    }

    #[test]
    fn a_lost_write_is_noticed() {
        // As if the key had never been written.
        let mut history = with_a_write();
        then(&mut history, Ask::Get, 404, None);
        assert!(!history.is_linearizable());
        // By its status alone: a PUT creates what an acknowledged PUT had left.
        let mut history = with_a_write();
        then(&mut history, Ask::Put(9_002), 201, None);
        assert!(!history.is_linearizable());
    }

    #[test]
    fn a_double_execution_is_noticed() {
        // 9,002 is read, overwritten, and read again.
        let mut history = with_a_write();
        then(&mut history, Ask::Put(9_002), 204, None);
        then(&mut history, Ask::Put(9_003), 204, None);
        then(&mut history, Ask::Get, 200, Some(9_002));
        assert!(!history.is_linearizable());
        // A counter that one client moved once stands two higher.
        let mut history = KeyHistory::default();
        then(&mut history, Ask::Cas { expect: None, set: 1 }, 200, None);
        then(&mut history, Ask::Cas { expect: Some(1), set: 2 }, 409, Some(2));
        assert!(!history.is_linearizable());
        // A DELETE whose second execution is what its client heard of.
        let mut history = with_a_write();
        then(&mut history, Ask::Delete, 404, None);
        assert!(!history.is_linearizable());
    }

    #[test]
    fn what_nobody_answered_may_have_happened_late_or_never() {
        for (read, linearizable) in [(9_001, true), (9_009, true), (9_000, false)] {
            let mut history = with_a_write();
            history.call(Ask::Put(9_009));
            history.call(Ask::Get);
            then(&mut history, Ask::Get, 200, Some(read));
            assert_eq!(history.is_linearizable(), linearizable, "{read}");
        }
        // But not twice.
        let mut history = with_a_write();
        history.call(Ask::Put(9_009));
        then(&mut history, Ask::Get, 200, Some(9_009));
        then(&mut history, Ask::Put(9_010), 204, None);
        then(&mut history, Ask::Get, 200, Some(9_009));
        assert!(!history.is_linearizable());
    }
}
