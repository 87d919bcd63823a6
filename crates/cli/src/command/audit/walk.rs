//! The checks, entry by entry.

use super::{
    Finding, Stop,
    source::{SlotProof, Source},
    tiles::Tiles,
};
use crate::failure::Failure;
use quorate_proof::{
    Coverage, Entry, EntryKind, Frontier, Policy, Strict, digest_value, exchange_base,
    exchange_digest, verify_proof_text,
};
use quorate_replica::Execution;
use quorate_types::{Digest, Epoch, Exchange, Head, LogItem};
use std::collections::BTreeMap;

/// An audit under way: everything before [`Self::next`] went through it.
pub(super) struct Walk<'a> {
    policy: &'a Policy,
    head: Head,
    service: String,
    frontier: Frontier,
    tiles: Tiles,
    /// Roots that heads state for sizes not reached yet, with the entry whose proof says so.
    stated: BTreeMap<u64, (Digest, u64)>,
    /// The last entry, and with it the slot that is not closed yet.
    last: Option<Entry>,
    slot: Vec<LogItem>,
    execution: Option<Execution>,
    walked: Walked,
}

/// What was checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Walked {
    /// The first entry that was.
    pub(super) from: u64,
    pub(super) slots: u64,
    pub(super) heads: u64,
    pub(super) tiles: u64,
    pub(super) exchanges: u64,
    pub(super) kinds: BTreeMap<&'static str, u64>,
    pub(super) state: Option<Digest>,
    /// Why exchanges were not checked against their entries.
    pub(super) not_shown: Option<String>,
    /// Why nothing was executed again.
    pub(super) not_executed: Option<String>,
    /// The fresh copy that executed everything again, of a service that runs outside.
    pub(super) executed_by: Option<String>,
}

impl<'a> Walk<'a> {
    /// An audit, from an entry on, of a log with a verified head.
    pub(super) fn new(
        policy: &'a Policy,
        head: Head,
        from: u64,
        service: Option<&str>,
    ) -> Result<Self, Failure> {
        let service = service.unwrap_or("kv").to_owned();
        if from >= head.size {
            let message = format!("the log has {} entries, so none is {from}", head.size);
            return Err(Failure::usage("audit-from", message));
        }
        let not_executed = if from > 1 {
            Some(format!("the state before entry {from} is not known"))
        } else if quorate_service::builtin(&service).is_none() {
            Some(format!("the service `{service}` is not built into this binary"))
        } else {
            None
        };
        Ok(Self {
            policy,
            head,
            service,
            frontier: Frontier::new(),
            tiles: Tiles::default(),
            stated: BTreeMap::from([(head.size, (head.root, head.size - 1))]),
            last: None,
            slot: Vec::new(),
            execution: None,
            walked: Walked { from, not_executed, ..Walked::default() },
        })
    }

    /// The index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.frontier.size()
    }

    /// Whether the exchange of this entry is needed.
    pub(super) fn wants_exchange(&self, index: u64, entry: &str) -> bool {
        index >= self.walked.from && entry.starts_with("quorate-exchange/1\n")
    }

    /// The source does not show exchanges.
    pub(super) fn give_up_exchanges(&mut self, reason: &str) {
        self.walked.not_shown = Some(reason.to_owned());
        self.walked.not_executed.get_or_insert_with(|| reason.to_owned());
        self.execution = None;
    }

    /// Whether the open slot ends before this entry: entries of one slot share their time.
    pub(super) fn slot_ends_before(&self, entry: &str) -> bool {
        let time = Entry::parse(entry).ok().map(|entry| entry.time);
        self.last.is_some_and(|last| time.is_some_and(|time| time != last.time))
    }

    /// The last entry of the open slot, if its head is to be checked.
    pub(super) fn wants_proof(&self) -> Option<u64> {
        self.last.map(|last| last.index.0).filter(|last| *last >= self.walked.from)
    }

    /// Checks the next entry, and its exchange where it is shown.
    pub(super) fn take(&mut self, text: String, exchange: Option<Exchange>) -> Result<(), Finding> {
        let index = self.next();
        let entry = Entry::parse(&text)
            .map_err(|error| Finding::at(index, error.code(), "it is not an entry"))?;
        self.check_place(&entry)?;
        let wanted = self.wants_exchange(index, &text) && self.walked.not_shown.is_none();
        if let (true, EntryKind::Exchange(digest)) = (wanted, entry.kind) {
            let exchange = exchange
                .as_ref()
                .ok_or_else(|| Finding::at(index, "audit-exchange", "its exchange is missing"))?;
            self.check_exchange(index, &digest, exchange)?;
        }
        let leaf = entry.leaf();
        self.frontier.push(leaf);
        self.tiles.push(leaf);
        *self.walked.kinds.entry(entry.kind.word()).or_default() += 1;
        self.last = Some(entry);
        if self.walked.not_executed.is_none() {
            self.slot.push(LogItem { entry: text, exchange, opening: None });
        }
        Ok(())
    }

    /// The entry's own claims: its place, its time, and that a slot has one state.
    fn check_place(&self, entry: &Entry) -> Result<(), Finding> {
        let index = self.next();
        let wrong = |reason: &str| Err(Finding::at(index, "audit-entry", reason));
        if entry.index.0 != index {
            return wrong(&format!("it says that it is entry {}", entry.index));
        }
        if entry.epoch != Epoch(0) {
            return wrong("its epoch is not that of the policy");
        }
        match (index, &entry.kind) {
            (0, EntryKind::Policy(digest)) if *digest == self.policy.digest() => {}
            (0, EntryKind::Policy(_)) => return wrong("the log begins with another policy"),
            (0, _) => return wrong("the log does not begin with its policy"),
            (_, EntryKind::Policy(_)) => return wrong("a second policy, which nothing leads to"),
            _ => {}
        }
        match &self.last {
            Some(last) if entry.time < last.time => wrong("it is older than the entry before"),
            Some(last) if entry.time == last.time && last.index.0 == 0 => {
                wrong("it is no later than the beginning of the log")
            }
            Some(last) if entry.time == last.time && entry.state != last.state => {
                wrong("the entries of one slot state different states")
            }
            _ => Ok(()),
        }
    }

    fn check_exchange(
        &mut self,
        index: u64,
        digest: &Digest,
        exchange: &Exchange,
    ) -> Result<(), Finding> {
        let Exchange { request, response } = exchange;
        let wrong = |reason: &dyn std::fmt::Display| Finding::at(index, "audit-exchange", reason);
        let coverage = match response.field("quorate-covers") {
            Some(value) => Coverage::parse(value).map_err(|error| wrong(&error))?,
            None => Coverage::default(),
        };
        let name = &self.policy.origin().name;
        let base =
            exchange_base(name, request, response, &coverage).map_err(|error| wrong(&error))?;
        if exchange_digest(&request.salt, &base) != *digest {
            return Err(wrong(&"the exchange is not the one that its entry was made from"));
        }
        self.walked.exchanges += 1;
        Ok(())
    }

    /// Ends the open slot: executes it again, and checks its head.
    pub(super) fn close_slot(&mut self, proof: Option<SlotProof>) -> Result<(), Finding> {
        let Some(last) = self.last else { return Ok(()) };
        self.execute(&last)?;
        if let Some(proof) = proof {
            let head = match proof {
                SlotProof::Text(text) => {
                    verify_proof_text(self.policy, &Strict, &last, &text)
                        .map_err(|error| Finding::at(last.index.0, error.code(), &error))?
                        .head
                }
                SlotProof::Head(head) => head,
            };
            self.state_head(&head, last.index.0)?;
            self.walked.heads += 1;
        }
        self.check_root()?;
        self.walked.slots += 1;
        self.walked.state = Some(last.state);
        Ok(())
    }

    /// Notes the root that a head states for its size.
    pub(super) fn state_head(&mut self, head: &Head, entry: u64) -> Result<(), Finding> {
        if head.size <= entry {
            let reason = "the head that should prove it is smaller than the log up to it";
            return Err(Finding::at(entry, "audit-head", reason));
        }
        // Beyond the newest head the roots cannot be made again: the log grew meanwhile.
        if head.size > self.head.size {
            return Ok(());
        }
        let (root, _) = *self.stated.entry(head.size).or_insert((head.root, entry));
        if root == head.root {
            return Ok(());
        }
        let reason =
            format!("two heads of size {} have different roots: the log forked", head.size);
        Err(Finding::at(entry, "audit-fork", reason))
    }

    /// Compares the root so far with what a head says of this size.
    fn check_root(&mut self) -> Result<(), Finding> {
        let size = self.frontier.size();
        let Some((root, entry)) = self.stated.remove(&size) else { return Ok(()) };
        if root == self.frontier.root() {
            return Ok(());
        }
        let reason =
            format!("the root over the first {size} entries is not the one that was signed");
        Err(Finding::at(entry, "audit-root", reason))
    }

    /// Executes the open slot again.
    fn execute(&mut self, last: &Entry) -> Result<(), Finding> {
        let items = std::mem::take(&mut self.slot);
        if self.walked.not_executed.is_some() {
            return Ok(());
        }
        if last.index.0 == 0 {
            return self.begin(last);
        }
        let Some(execution) = &mut self.execution else { return Ok(()) };
        execution
            .repeat(&items)
            .map(|_| ())
            .map_err(|diverged| Finding::at(diverged.index.0, "audit-state", &diverged.reason))
    }

    /// Makes the state before the first slot, and compares the first entry with it.
    fn begin(&mut self, genesis: &Entry) -> Result<(), Finding> {
        let Some(service) = quorate_service::builtin(&self.service) else { return Ok(()) };
        let (request, response) = service.coverage();
        let rules = super::rules(self.policy, genesis.time, Coverage { request, response });
        let execution = Execution::genesis(service, rules);
        let expected = execution.genesis_entry();
        if expected != *genesis {
            let reason = format!(
                "the state root before the first request is {}, not {}",
                digest_value(&expected.state),
                digest_value(&genesis.state)
            );
            return Err(Finding::at(0, "audit-state", reason));
        }
        self.execution = Some(execution);
        Ok(())
    }

    /// Compares the tiles that the entries fill with those that the source publishes.
    pub(super) async fn compare_tiles(&mut self, source: &mut Source) -> Result<(), Stop> {
        let at_end = self.next() == self.head.size;
        self.tiles.compare(source, at_end).await
    }

    /// What was checked.
    pub(super) fn finish(self) -> Walked {
        Walked { tiles: self.tiles.compared(), ..self.walked }
    }
}
