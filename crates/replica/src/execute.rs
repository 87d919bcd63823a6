//! `Ordered -> Executed`: the replicated state, and the one way to change it.
//!
//! Every replica executes the same slots and comes to the same [`StateRecord`]. The same value
//! executes a log again: after a restart, in state transfer, and in an audit. What a slot's
//! repeated requests do is nothing, so the log alone is enough to get from one root to the next.

use crate::{
    config::Config,
    order::Ordered,
    replay::{ReplayKey, ReplayTable, SIGNED_WINDOW, Seen},
    signatures::Signatures,
};
use quorate_proof::{
    Entry, EntryKind, check_request, created_s, exchange, exchange_digest, fingerprint,
    response_content, sha256, state_digest,
};
use quorate_service::{Context, Service, State};
use quorate_types::{
    Asked, Call, Chain, Digest, Epoch, Exchange, Index, Item, LogItem, Request, Response, Slot,
    StateRecord, UnixMillis,
    bug::{Bug, seeded},
};
use std::{fmt, sync::Arc};

/// The replicated state: what every correct replica has after the same slot.
pub struct Execution {
    service: Box<dyn Service>,
    state: State,
    replay: ReplayTable,
    signatures: Signatures,
    record: StateRecord,
    rules: Rules,
}

/// What execution needs to know of its cluster; equal at all replicas.
#[derive(Clone, Debug)]
pub struct Rules {
    /// NAME, which the service sees as the authority.
    pub authority: String,
    /// The chain, which enters the seed.
    pub chain: Chain,
    /// The service's extra fields.
    pub coverage: quorate_proof::Coverage,
    /// SHA-256 of the policy text.
    pub policy: Digest,
    /// The first agreed time.
    pub genesis: UnixMillis,
    /// The largest content of a response, in bytes.
    pub body_max: usize,
    /// The replay table's reach, in entries.
    pub replay_window: u64,
    /// The most signed requests that it holds.
    pub replay_signed_max: usize,
    /// Whether the service runs outside: its answers are agreed on, and are then what was executed.
    pub copies: bool,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self {
            authority: config.domain.authority().to_owned(),
            chain: config.chain,
            coverage: config.coverage.clone(),
            policy: config.policy,
            genesis: config.genesis,
            body_max: config.limits.body_max,
            replay_window: config.limits.replay_window,
            replay_signed_max: config.limits.replay_signed_max,
            copies: config.copies,
        }
    }
}

impl Rules {
    /// Whether the private half of a log item is the one that its entry was made from, and holds
    /// nothing that the entry does not cover: a field, or the content of a 204.
    #[must_use]
    pub fn exchange_holds(&self, item: &LogItem) -> bool {
        let Ok(entry) = Entry::parse(&item.entry) else { return false };
        match (entry.kind, &item.exchange) {
            (EntryKind::Exchange(digest), Some(Exchange { request, response })) => {
                let base =
                    exchange::exchange_base(&self.authority, request, response, &self.coverage);
                self.covers_all(request, response)
                    && base.is_ok_and(|base| exchange_digest(&request.salt, &base) == digest)
            }
            (EntryKind::Exchange(_), None) | (_, Some(_)) => false,
            (_, None) => true,
        }
    }

    /// Whether a request is one that could be ordered, and a response one that execution makes:
    /// what an exchange does not cover, neither of them has.
    fn covers_all(&self, request: &Request, response: &Response) -> bool {
        check_request(request, &self.coverage).is_ok()
            && exchange::with_defaults(response.clone(), &self.coverage) == *response
            && response_content(&request.method, response).len() == response.body.len()
    }
}

/// A slot's results, before they stand in the log. Made by [`Execution`] alone.
#[derive(Debug)]
pub struct Executed {
    pub(crate) outcomes: Vec<Outcome>,
    /// Requests that were ordered too late to be executed.
    pub(crate) expired: Vec<Asked>,
    pub(crate) fresh: Vec<Fresh>,
    pub(crate) record: StateRecord,
    /// The root of the replay table alone.
    pub(crate) table: Digest,
    pub(crate) state: Digest,
}

/// A state to return to.
pub(crate) struct Checkpoint {
    state: State,
    replay: ReplayTable,
    signatures: Signatures,
    record: StateRecord,
}

/// What became of one item of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) request: Arc<Request>,
    pub(crate) index: Index,
    /// Whether this slot made the entry.
    pub(crate) fresh: bool,
}

/// Something new for the log.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) kind: EntryKind,
    pub(crate) exchange: Option<Exchange>,
}

/// Where a request's answer comes from.
enum Answers<'a> {
    /// The service, here and now.
    Service,
    /// The copies, which gave them in the order of the calls.
    Given(std::vec::IntoIter<Response>),
    /// Nowhere yet: the calls are only listed.
    Listed(&'a mut Vec<Call>),
}

/// Why a log does not follow from its own requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diverged {
    /// The first entry that differs.
    pub index: Index,
    /// What differs, in a sentence.
    pub reason: String,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.index, self.reason)
    }
}

impl std::error::Error for Diverged {}

impl Execution {
    /// The state before the first slot.
    #[must_use]
    pub fn genesis(service: Box<dyn Service>, rules: Rules) -> Self {
        let mut state = State::new();
        let mut replay = ReplayTable::new(rules.replay_window, rules.replay_signed_max);
        let signatures = Signatures::NONE;
        let record = StateRecord {
            slot: Slot(0),
            next_index: Index(1),
            epoch: Epoch(0),
            time: rules.genesis,
            service: state.root(),
            replay: signatures.seal(&replay.root()),
            engine: engine_root(&rules.policy),
        };
        Self { service, state, replay, signatures, record, rules }
    }

    /// The state that a snapshot holds.
    ///
    /// # Errors
    /// A reason when the maps are not those that the record names.
    pub fn restore(
        service: Box<dyn Service>,
        rules: Rules,
        record: StateRecord,
        mut state: State,
        replay: State,
        signatures: Signatures,
    ) -> Result<Self, &'static str> {
        let (window, signed_max) = (rules.replay_window, rules.replay_signed_max);
        let at = (record.next_index, record.time);
        let mut replay = ReplayTable::restore(replay, at, window, signed_max)?;
        let sealed = signatures.seal(&replay.root());
        if state.root() != record.service || sealed != record.replay {
            return Err("a snapshot's maps do not have the roots that its certificate names");
        }
        Ok(Self { service, state, replay, signatures, record, rules })
    }

    /// The first entry of every log: the policy, on the empty state. Asked for before any slot.
    #[must_use]
    pub fn genesis_entry(&self) -> Entry {
        self.entry(Index(0), EntryKind::Policy(self.rules.policy))
    }

    /// The short record of the state now.
    #[must_use]
    pub fn record(&self) -> &StateRecord {
        &self.record
    }

    /// The service's state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The replay table.
    #[must_use]
    pub fn replay(&self) -> &ReplayTable {
        &self.replay
    }

    /// The running hash over the clients' signatures.
    #[must_use]
    pub fn signatures(&self) -> Signatures {
        self.signatures
    }

    /// The state now, to return to with [`Self::roll_back`].
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            state: self.state.clone(),
            replay: self.replay.clone(),
            signatures: self.signatures,
            record: self.record,
        }
    }

    /// Forgets everything since a checkpoint.
    pub(crate) fn roll_back(&mut self, to: Checkpoint) {
        self.state = to.state;
        self.replay = to.replay;
        self.signatures = to.signatures;
        self.record = to.record;
    }

    /// Gives back the service, for a state that replaces this one.
    #[must_use]
    pub fn into_service(self) -> Box<dyn Service> {
        self.service
    }

    /// The calls that the next slot makes to the copies of the service.
    pub(crate) fn calls(&mut self, ordered: &Ordered) -> Vec<Call> {
        let before = self.checkpoint();
        let mut calls = Vec::new();
        // Which requests are executed does not depend on any answer.
        self.run(ordered, &mut Answers::Listed(&mut calls));
        self.roll_back(before);
        calls
    }

    /// Executes the next slot.
    pub fn execute(&mut self, ordered: Ordered) -> Executed {
        self.run(&ordered, &mut Answers::Service)
    }

    /// Executes the next slot, whose calls the copies answered so.
    pub(crate) fn execute_answered(
        &mut self,
        ordered: &Ordered,
        answers: Vec<Response>,
    ) -> Executed {
        match self.rules.copies {
            true => self.run(ordered, &mut Answers::Given(answers.into_iter())),
            false => self.run(ordered, &mut Answers::Service),
        }
    }

    fn run(&mut self, ordered: &Ordered, answers: &mut Answers<'_>) -> Executed {
        let proposed = ordered.batch().map_or(UnixMillis(0), |batch| batch.time);
        let mut time = UnixMillis(proposed.0.max(self.record.time.0.saturating_add(1)));
        if seeded(Bug::TimeStandsStill) {
            time = proposed.max(self.record.time);
        }
        let (mut outcomes, mut expired) = (Vec::new(), Vec::new());
        let mut fresh = Vec::new();
        for item in ordered.batch().map_or(&[][..], |batch| &batch.items) {
            match item {
                Item::Request(asked) if self.is_expired(asked) => expired.push(asked.clone()),
                Item::Request(asked) => {
                    outcomes.push(self.apply(&asked.request, time, answers, &mut fresh));
                }
                // It is about an earlier slot, which is recorded.
                Item::Outcome(_) => {}
                Item::Rejoin(rejoin) => {
                    fresh.push(Fresh { kind: EntryKind::Rejoin(rejoin.replica), exchange: None });
                    self.record.next_index = self.record.next_index.next();
                }
            }
        }
        Executed { expired, ..self.finish(time, outcomes, fresh) }
    }

    /// Whether a request may have been executed and forgotten since its gateway took it in. It is
    /// executed as nothing: a log that is executed again does not hold it. The table remembers
    /// who signs for longer than a signature is taken.
    pub(crate) fn is_expired(&self, asked: &Asked) -> bool {
        let Asked { request, since } = asked;
        let reached = since.0.saturating_add(self.rules.replay_window);
        request.signature.is_none()
            && self.record.next_index.0 > reached
            && self.replay.answered(request).is_none()
    }

    /// Executes one slot again from what the log holds of it: all its items, and no other's.
    ///
    /// # Errors
    /// [`Diverged`], naming the first entry that these requests do not lead to. The state is then
    /// of no further use.
    pub fn repeat(&mut self, items: &[LogItem]) -> Result<Executed, Diverged> {
        let start = self.record.next_index;
        let fail = |at: Index, reason: &str| Diverged { index: at, reason: reason.to_owned() };
        let entries = items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                Entry::parse(&item.entry)
                    .map_err(|error| fail(Index(start.0 + i as u64), &error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let time = entries.first().ok_or_else(|| fail(start, "a slot has an entry"))?.time;
        if time <= self.record.time {
            return Err(fail(start, "its time is not after that of the slot before"));
        }
        let mut outcomes = Vec::new();
        let mut fresh = Vec::new();
        for (entry, item) in entries.iter().zip(items) {
            let at = self.record.next_index;
            match (&entry.kind, &item.exchange) {
                // Not every answer depends on all of a request, nor is all of it remembered.
                (EntryKind::Exchange(_), Some(Exchange { request, response }))
                    if !self.rules.covers_all(request, response) =>
                {
                    return Err(fail(at, "its exchange holds what no entry covers"));
                }
                (EntryKind::Exchange(_), Some(exchange)) => {
                    let mut answers = match self.rules.copies {
                        true => Answers::Given(vec![exchange.response.clone()].into_iter()),
                        false => Answers::Service,
                    };
                    let request = &exchange.request;
                    outcomes.push(self.apply(request, time, &mut answers, &mut fresh));
                }
                (EntryKind::Rejoin(replica), None) => {
                    fresh.push(Fresh { kind: EntryKind::Rejoin(*replica), exchange: None });
                    self.record.next_index = at.next();
                }
                (EntryKind::Mark, None) if items.len() == 1 => {}
                _ => return Err(fail(at, "its kind does not go with what the log holds of it")),
            }
            if entry.kind != EntryKind::Mark && self.record.next_index != at.next() {
                return Err(fail(at, "its request had been answered before"));
            }
        }
        let executed = self.finish(time, outcomes, fresh);
        self.agrees(start, &entries, &executed)?;
        Ok(executed)
    }

    fn agrees(&self, start: Index, entries: &[Entry], executed: &Executed) -> Result<(), Diverged> {
        for (at, (entry, fresh)) in entries.iter().zip(&executed.fresh).enumerate() {
            let index = Index(start.0.saturating_add(at as u64));
            if entry.kind != fresh.kind {
                return Err(Diverged { index, reason: "another response was executed".to_owned() });
            }
            if *entry != self.entry(index, fresh.kind) {
                let reason = format!("the state root is {}, not {}", executed.state, entry.state);
                return Err(Diverged { index, reason });
            }
        }
        Ok(())
    }

    fn entry(&self, index: Index, kind: EntryKind) -> Entry {
        let state = state_digest(&self.record);
        Entry { index, epoch: self.record.epoch, time: self.record.time, state, kind }
    }

    fn finish(
        &mut self,
        time: UnixMillis,
        outcomes: Vec<Outcome>,
        mut fresh: Vec<Fresh>,
    ) -> Executed {
        if fresh.is_empty() {
            fresh.push(Fresh { kind: EntryKind::Mark, exchange: None });
            self.record.next_index = self.record.next_index.next();
        }
        self.record.slot = self.record.slot.next();
        self.record.time = time;
        self.replay.evict(self.record.next_index, time);
        self.record.service = self.state.root();
        let table = self.replay.root();
        self.record.replay = self.signatures.seal(&table);
        let (record, state) = (self.record, state_digest(&self.record));
        Executed { outcomes, expired: Vec::new(), fresh, record, table, state }
    }

    /// Executes one request, or finds the entry that answered it before.
    fn apply(
        &mut self,
        request: &Arc<Request>,
        time: UnixMillis,
        answers: &mut Answers<'_>,
        fresh: &mut Vec<Fresh>,
    ) -> Outcome {
        let asked = fingerprint(request);
        let mut key = ReplayKey::of(request);
        let first = self.replay.lookup(&key);
        let reused = first.is_some_and(|first| first.fingerprint != asked)
            && !seeded(Bug::ReusedKeyExecutes);
        let late = first.is_none()
            && !created_in_window(request, time)
            && !seeded(Bug::OldSignatureAccepted);
        let seen = if reused || late {
            // Answered under the salt alone, so that the key's first request keeps its place.
            key = ReplayKey::salted(&request.salt);
            self.replay.lookup(&key)
        } else {
            first
        };
        let again = |seen: &Seen| seen.fingerprint == asked && !seeded(Bug::RetryExecutesAgain);
        if let Some(seen) = seen.filter(again) {
            return Outcome { request: request.clone(), index: seen.index, fresh: false };
        }
        let index = self.record.next_index;
        let signed = request.signature.is_some();
        let full = signed && self.replay.is_full(time);
        let response = match (reused, late, full) {
            (true, ..) => key_reused(),
            (_, true, _) => signature_outside_window(),
            (.., true) => replay_table_full(),
            _ => self.serve(request, index, time, answers),
        };
        let executed = !(reused || late || full);
        let (exchange, digest) = self.exchange(request, response);
        if executed && self.rules.copies {
            self.chain(index, &digest);
        }
        // A record is never replaced, and a request refused for lack of room may come again.
        if seen.is_none() && (executed || reused || late) {
            let salt = request.salt;
            // An answer under the salt alone needs no long memory: nothing was executed.
            let signed = signed && executed;
            let seen = Seen { index, time, salt, fingerprint: asked, exchange: digest, signed };
            self.replay.insert(key, &seen);
        }
        if let Some(signature) = &request.signature {
            self.signatures.add(index, signature);
        }
        fresh.push(Fresh { kind: EntryKind::Exchange(digest), exchange: Some(exchange) });
        self.record.next_index = index.next();
        Outcome { request: request.clone(), index, fresh: true }
    }

    fn serve(
        &mut self,
        request: &Arc<Request>,
        index: Index,
        time: UnixMillis,
        answers: &mut Answers<'_>,
    ) -> Response {
        let seed = seed(&self.rules.chain, index, request);
        match answers {
            Answers::Service => {}
            // There are as many answers as calls: both were listed from the same state.
            Answers::Given(answers) => {
                return answers.next().unwrap_or_else(|| Response::new(500));
            }
            Answers::Listed(calls) => {
                calls.push(Call { index, time, seed, request: request.clone() });
                return Response::new(204);
            }
        }
        let mut context = Context::new(time, index, seed, &self.rules.authority, &mut self.state);
        let mut response = self.service.handle(&mut context, request);
        if request.method == "HEAD" || matches!(response.status, 204 | 304) {
            response.body.clear();
        }
        response
    }

    /// What stands for the state of a service that runs outside: all that it answered, in order.
    fn chain(&mut self, index: Index, exchange: &Digest) {
        let before = self.state.get(CHAIN).cloned().unwrap_or_default();
        let parts = [&b"quorate-outcomes/1"[..], &before, &index.0.to_be_bytes(), &exchange.0];
        self.state.put(CHAIN, sha256(&parts.concat()).0.to_vec());
    }

    /// The response with its defaults, and the salted digest of the exchange.
    ///
    /// A response that no exchange can hold (too long, not ASCII, an interim status) becomes a 500,
    /// the same at all replicas: it never halts the chain.
    fn exchange(&self, request: &Arc<Request>, response: Response) -> (Exchange, Digest) {
        let fits = response.body.len() <= self.rules.body_max;
        let response = exchange::with_defaults(response, &self.rules.coverage);
        let base = |response: &Response| {
            exchange::exchange_base(&self.rules.authority, request, response, &self.rules.coverage)
        };
        let (response, text) = match base(&response) {
            Ok(text) if fits => (response, text),
            _ => {
                let problem = Response::problem(
                    500,
                    "response-not-coverable",
                    "the service gave a response that no proof can cover",
                );
                let response = exchange::with_defaults(problem, &self.rules.coverage);
                // Admission has measured the request's part of the base, so this one fits; were it
                // otherwise, the digest of an empty text would still be the same everywhere.
                let text = base(&response).unwrap_or_default();
                (response, text)
            }
        };
        let digest = exchange_digest(&request.salt, &text);
        (Exchange { request: request.clone(), response }, digest)
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("record", &self.record).finish_non_exhaustive()
    }
}

/// Where a service that runs outside has its chain of outcomes in the service's map.
const CHAIN: &[u8] = b"outcomes";

/// The hash of the replicated state that no map holds. PBFT has none of its own, so it is that of
/// the policy.
fn engine_root(policy: &Digest) -> Digest {
    let mut bytes = b"quorate-engine-state/1".to_vec();
    bytes.extend_from_slice(&policy.0);
    sha256(&bytes)
}

/// The seed that a service sees, as `proof.md` defines it.
#[must_use]
pub fn seed(chain: &Chain, index: Index, request: &Request) -> Digest {
    let index = index.0.to_be_bytes();
    sha256(&[b"quorate-seed/1", &chain.as_bytes()[..], &index, &request.salt.0].concat())
}

fn created_in_window(request: &Request, time: UnixMillis) -> bool {
    let Some(signature) = &request.signature else { return true };
    let created = created_s(signature).unwrap_or(0);
    created.abs_diff(time.seconds()) <= SIGNED_WINDOW.as_secs()
}

pub(crate) fn key_reused() -> Response {
    Response::problem(
        422,
        "idempotency-key-reused",
        "another request was made under this Idempotency-Key",
    )
}

pub(crate) fn signature_outside_window() -> Response {
    Response::problem(
        401,
        "signature-outside-window",
        "the signature was created more than 300 s from the agreed time",
    )
}

pub(crate) fn replay_table_full() -> Response {
    Response::problem(
        503,
        "replay-table-full",
        "too many signed requests within 600 s; nothing was executed, try again later",
    )
}
