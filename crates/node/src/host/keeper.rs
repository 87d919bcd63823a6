//! What the copy holds, and how it gets to hold it again: a reset or a snapshot, then every request
//! that the copies executed since, in order, from the log.

use super::{
    copy::{NoAnswer, OwnCopy},
    line::post,
    saves::Saves,
    sight::{CopySight, CopyStanding},
};
use quorate_client::Url;
use quorate_ledger::{Disk, LogReader};
use quorate_proof::Entry;
use quorate_replica::{Rules, answers::SLOT_BYTES_MAX, departure, execute, was_called};
use quorate_types::{Call, Exchange, Index, Response, Slot};
use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{process::Command, time::timeout};
use tracing::{debug, info, warn};

/// How long a reset may take.
const RESET_LIMIT: Duration = Duration::from_secs(30);

/// Where the service's requests begin: entry 0 is genesis.
const BEGINNING: Index = Index(1);

/// How a copy is put back to its beginning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reset {
    /// By a POST that is answered 2xx.
    Url(Url),
    /// By a program that ends with success, and the folder that it runs in.
    Command { argv: Vec<String>, folder: PathBuf },
}

/// Why it is not known what the copy holds.
#[derive(Clone, Debug, Error)]
pub(super) enum Lost {
    /// This process does not know what went before it.
    #[error("the replica was started again, and the copy may have executed more than is known")]
    Restarted,
    /// Another process listens in its place than the one that executed what went before.
    #[error("the copy was started anew")]
    Replaced,
    /// It answered otherwise, or not at all, where an answer was agreed on.
    #[error("the copy's answers are not those that were agreed on")]
    Differs,
    /// A call failed.
    #[error("entry {}: {none}", .index.0)]
    Call { index: Index, none: NoAnswer },
    /// It could not be reset.
    #[error("the copy was not reset: {0}")]
    Reset(String),
    /// Its saved state could not be put back.
    #[error("the copy did not take its saved state back: {0}")]
    Load(String),
    /// After its saved state was put back, it did not answer as was agreed.
    #[error("entry {}: with its saved state the copy answers otherwise than was agreed", .0.0)]
    Departs(Index),
    /// The log does not show what it executed.
    #[error("the log cannot be read here: {0}")]
    Log(String),
}

impl Lost {
    /// A stable code that `quorate explain` knows.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Restarted => "copy-unknown",
            Self::Replaced => "copy-replaced",
            Self::Differs => "copy-differs",
            Self::Call { none, .. } => none.code(),
            Self::Reset(_) => "copy-reset-failed",
            Self::Load(_) => "copy-load-failed",
            Self::Departs(_) => "copy-snapshot-unusable",
            Self::Log(_) => "log-unreadable",
        }
    }
}

/// The log, as requests for a copy.
#[derive(Debug)]
pub(crate) struct Past<D> {
    /// The log.
    pub(crate) reader: LogReader<D>,
    /// By which the replicas make entries of answers.
    pub(crate) rules: Rules,
}

impl<D: Disk> Past<D> {
    fn end(&self) -> Index {
        Index(self.reader.size())
    }

    /// What the copies executed at a place of the log, if anything, and what came of it.
    fn call(&self, index: Index) -> Result<Option<(Call, Exchange)>, Lost> {
        let wrong = |reason: &dyn std::fmt::Display| Lost::Log(reason.to_string());
        let item = self.reader.item(index).map_err(|error| wrong(&error))?;
        let item = item.ok_or_else(|| wrong(&"the entry is not there"))?;
        let Some(exchange) = item.exchange.filter(was_called) else {
            return Ok(None);
        };
        let time = Entry::parse(&item.entry).map_err(|error| wrong(&error))?.time;
        let seed = execute::seed(&self.rules.chain, index, &exchange.request);
        let request = Arc::clone(&exchange.request);
        Ok(Some((Call { index, time, seed, request }, exchange)))
    }

    /// Whether a copy that gave this answer did what the log says of a place.
    fn agrees(&self, index: Index, answer: &Response) -> bool {
        let recorded = self.reader.exchange(index).ok().flatten().flatten();
        recorded.is_some_and(|it| departure(&self.rules, answer.clone(), &it).is_none())
    }
}

/// See the module.
pub(super) struct Keeper<D> {
    copy: OwnCopy,
    past: Past<D>,
    reset: Option<Reset>,
    saves: Option<Saves<D>>,
    sight: Arc<CopySight>,
    /// The copy executed everything before this place, unless it is lost.
    next: Index,
    /// Whether the copy was sent anything since its beginning.
    touched: bool,
    lost: bool,
    /// The sockets at which the copy listened when it was last connected to, if they can be seen.
    listeners: Option<Vec<u64>>,
    /// The last slot whose calls the copy executed, until it is known whether it kept up.
    served: Option<Served>,
}

/// A slot's calls that the copy executed, with its answers.
#[derive(Debug)]
struct Served {
    slot: Slot,
    /// As many as were given.
    answers: Vec<(Index, Response)>,
    calls: usize,
    /// The place after its last call.
    end: Index,
}

impl<D: Disk> Keeper<D> {
    /// A keeper of a copy that is at its beginning.
    pub(super) fn new(
        copy: OwnCopy,
        past: Past<D>,
        reset: Option<Reset>,
        saves: Option<Saves<D>>,
        sight: Arc<CopySight>,
    ) -> Self {
        let next = BEGINNING;
        let (touched, lost, listeners, served) = (false, false, None, None);
        Self { copy, past, reset, saves, sight, next, touched, lost, listeners, served }
    }

    /// Whether there is a way to a state of the copy that is known.
    pub(super) fn can_restore(&self) -> bool {
        self.reset.is_some() || self.saves.as_ref().is_some_and(Saves::holds_one)
    }

    /// Nothing was ever executed, so that no snapshot can be of this log.
    pub(super) fn begin(&mut self) {
        if let Some(saves) = self.saves.as_mut().filter(|saves| saves.holds_one()) {
            saves.throw_away("the replica is at its beginning");
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Lost, and nothing can be done about it.
    pub(super) fn is_fenced(&self) -> bool {
        self.lost && !self.can_restore()
    }

    /// Whether the copy misses requests that go before a call at this place. What lies between the
    /// log's end and the first call of a slot, no copy executes.
    pub(super) fn is_before(&self, index: Index) -> bool {
        self.next < index.min(self.past.end())
    }

    /// What was agreed on about a slot is known. Where the copy did not keep up, its answers may
    /// have come too late to count, and be the agreed ones all the same: the log tells.
    pub(super) fn agreed(&mut self, slot: Slot, kept_up: bool) {
        if self.served.as_ref().is_some_and(|served| served.slot == slot) {
            if !kept_up {
                self.check_served();
            }
            self.served = None;
        }
    }

    /// Whether the log tells by now what became of the slot that the copy executed last.
    pub(super) fn is_recorded(&self) -> bool {
        self.served.as_ref().is_some_and(|served| served.end <= self.past.end())
    }

    /// Compares what the copy answered last with what the log says of it, unless that was done. The
    /// replica may have taken the slot from others, without a word about this copy.
    pub(super) fn check_served(&mut self) {
        let Some(served) = self.served.take() else { return };
        let agrees = |(index, answer): &(Index, Response)| self.past.agrees(*index, answer);
        if served.answers.len() < served.calls || !served.answers.iter().all(agrees) {
            self.lose(&Lost::Differs);
        }
    }

    /// It is no longer known what the copy holds.
    pub(super) fn lose(&mut self, lost: &Lost) {
        self.lost = true;
        self.served = None;
        self.copy.hang_up();
        let (code, reason) = (lost.code(), lost);
        let first = self.publish();
        if self.can_restore() {
            warn!(%reason, code, "the copy of the service is to be restored");
        } else if first {
            warn!(%reason, code, "it is not known what the copy of the service holds");
            warn!(
                code = "copy-fenced",
                "the copy of the service is fenced: this replica orders and records, and reports \
                 no answers of its own"
            );
        }
    }

    /// An attempt to bring the copy to the log's end failed.
    pub(super) fn fail(&mut self, lost: &Lost) {
        if self.lost || self.leaves_in_doubt(lost) {
            self.lose(lost);
        } else {
            warn!(reason = %lost, code = lost.code(), "the copy of the service misses requests");
        }
    }

    /// Whether the copy may have executed what is not known. One that was sent nothing yet and
    /// cannot be reached is still at its beginning.
    fn leaves_in_doubt(&self, lost: &Lost) -> bool {
        match lost {
            Lost::Call { none, .. } => self.touched || none.may_have_arrived(),
            _ => true,
        }
    }

    /// Brings the copy back to a known state if it is lost, and has it execute what it misses of
    /// the log.
    pub(super) async fn catch_up(&mut self) -> Result<(), Lost> {
        let was_lost = self.lost;
        let from_snapshot = was_lost && self.start_again().await?;
        self.served = None;
        let (from, mut differing) = (self.next, 0_u64);
        self.sight.publish(CopyStanding::Restoring { next: from });
        while self.next < self.past.end() {
            if let Some((call, recorded)) = self.past.call(self.next)? {
                let answer = self.execute(&call).await?;
                if departure(&self.past.rules, answer, &recorded).is_some() {
                    differing += 1;
                    if from_snapshot {
                        return Err(self.distrust(call.index));
                    }
                    if !was_lost {
                        return Err(Lost::Differs);
                    }
                }
            }
            self.next = self.next.next();
            self.sight.publish(CopyStanding::Restoring { next: self.next });
        }
        self.publish();
        if let Some(saves) = &mut self.saves {
            saves.brought_in_step();
        }
        let (from, next) = (from.0, self.next.0);
        if differing > 0 {
            warn!(
                differing,
                code = "copy-differs",
                "the restored copy of the service did not answer all requests as before"
            );
        }
        if was_lost {
            info!(from, next, "the copy of the service was restored");
        } else {
            debug!(from, next, "the copy of the service executed what it had missed");
        }
        Ok(())
    }

    /// What the snapshot holds is not what the log leads to.
    fn distrust(&mut self, index: Index) -> Lost {
        let lost = Lost::Departs(index);
        if let Some(saves) = &mut self.saves {
            saves.throw_away(&lost.to_string());
        }
        lost
    }

    /// Puts the copy's snapshot back, or resets it; tells whether it was the snapshot.
    async fn start_again(&mut self) -> Result<bool, Lost> {
        self.copy.hang_up();
        // Another process that listens by the first call does not hold what this one is given.
        let listeners = self.copy.listeners();
        if let Some(saves) = &mut self.saves
            && let Some(next) = saves.put_back(self.past.end()).await?
        {
            (self.lost, self.touched, self.next) = (false, true, next);
            self.listeners = listeners;
            return Ok(true);
        }
        let Some(reset) = &self.reset else {
            return Err(Lost::Reset("the configuration says no way".to_owned()));
        };
        timeout(RESET_LIMIT, run(reset))
            .await
            .unwrap_or_else(|_| Err(format!("not within {} s", RESET_LIMIT.as_secs())))
            .map_err(Lost::Reset)?;
        (self.lost, self.touched, self.next) = (false, false, BEGINNING);
        self.listeners = None;
        Ok(false)
    }

    /// Whether the copy is to be saved now: it is in step by what was agreed on, and that is in the
    /// log.
    pub(super) fn is_save_due(&self) -> bool {
        let is_settled = !self.lost && self.served.is_none() && self.next <= self.past.end();
        is_settled && self.saves.as_ref().is_some_and(|saves| saves.is_due(self.next))
    }

    /// Saves what the copy holds. It must be the process that executed what went before, at the
    /// beginning and at the end.
    pub(super) async fn save(&mut self) {
        // The next call then connects anew, so that the listening sockets are looked at.
        self.copy.hang_up();
        if self.is_replaced() {
            return self.lose(&Lost::Replaced);
        }
        let Some(saves) = &mut self.saves else { return };
        let fetched = saves.fetch(self.next).await;
        if self.is_replaced() {
            return self.lose(&Lost::Replaced);
        }
        if let (Some(saves), Some(stored)) = (&mut self.saves, fetched) {
            saves.keep(&stored);
        }
    }

    /// The copy's answers to a slot's calls. After one without an answer the others have none.
    pub(super) async fn serve(&mut self, slot: Slot, calls: &[Call]) -> Vec<Option<Response>> {
        let mut answers = Vec::with_capacity(calls.len());
        let end = calls.last().map_or(self.next, |call| call.index.next());
        let mut served = Served { slot, answers: Vec::new(), calls: calls.len(), end };
        let mut bytes = 0_usize;
        for call in calls {
            // Behind: it executed the request already, from the log.
            if call.index < self.next {
                break;
            }
            match self.execute(call).await {
                Ok(mut answer) => {
                    bytes = bytes.saturating_add(answer.body.len());
                    if bytes > SLOT_BYTES_MAX && !answer.body.is_empty() {
                        answer.body = self.copy.too_long();
                    }
                    served.answers.push((call.index, answer.clone()));
                    answers.push(Some(answer));
                    self.next = call.index.next();
                }
                Err(lost) => {
                    self.fail(&lost);
                    break;
                }
            }
        }
        if !self.lost && !served.answers.is_empty() {
            self.served = Some(served);
        }
        answers.resize(calls.len(), None);
        self.publish();
        answers
    }

    /// Whether the process that executed what went before is there no longer.
    fn is_replaced(&mut self) -> bool {
        let Some(listeners) = self.copy.listeners() else { return false };
        let known = self.listeners.replace(listeners.clone());
        self.touched && known.is_some_and(|known| known != listeners)
    }

    async fn execute(&mut self, call: &Call) -> Result<Response, Lost> {
        if self.is_replaced() {
            return Err(Lost::Replaced);
        }
        self.sight.calls.inc();
        match self.copy.call(call).await {
            Ok(answer) => {
                self.touched = true;
                Ok(answer)
            }
            Err(none) => {
                self.sight.failures.inc();
                Err(Lost::Call { index: call.index, none })
            }
        }
    }

    fn publish(&self) -> bool {
        let next = self.next;
        self.sight.publish(match (self.lost, self.can_restore()) {
            (false, _) => CopyStanding::InStep { next },
            (true, true) => CopyStanding::Restoring { next: BEGINNING },
            (true, false) => CopyStanding::Fenced,
        })
    }
}

async fn run(reset: &Reset) -> Result<(), String> {
    match reset {
        Reset::Url(url) => {
            let status = post(url).await.map_err(|none| none.to_string())?;
            if status.is_success() { Ok(()) } else { Err(format!("{url} answered {status}")) }
        }
        Reset::Command { argv, folder } => {
            let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
            let status = Command::new(program)
                .args(arguments)
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .status()
                .await
                .map_err(|error| format!("{program} cannot be run: {error}"))?;
            if status.success() { Ok(()) } else { Err(format!("{program} ended with {status}")) }
        }
    }
}
