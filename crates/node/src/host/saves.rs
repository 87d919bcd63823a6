//! When the copy's state is saved, and how it is put back.
//!
//! A snapshot is this replica's own: the copy says what it holds, and nobody else vouches for that.
//! So it goes to no other replica, and one that was put back counts only once the copy repeated the
//! log from there with the answers that were agreed on.

use super::{
    copy::NoAnswer,
    keeper::Lost,
    line::{fetch, put},
    stored::{Store, Stored},
};
use http::StatusCode;
use quorate_client::Url;
use quorate_ledger::{Disk, Owner};
use quorate_types::Index;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// How long saving may take. No call is executed meanwhile.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// How long putting a state back may take.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// How many attempts a snapshot has to bring the copy in step.
const ATTEMPTS_MAX: u32 = 3;

/// Where a copy's state is fetched from and put back to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SavePlan {
    /// A `GET` here is answered 200 with the state.
    pub(crate) save: Url,
    /// A `PUT` of a state here is answered 2xx.
    pub(crate) load: Url,
    /// After how many entries it is saved again.
    pub(crate) entries: u64,
    /// The longest state, in bytes.
    pub(crate) bytes_max: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Saves<D> {
    plan: SavePlan,
    store: Store<D>,
    /// What is added to places, so that no two replicas' copies pause at once to be saved.
    offset: u64,
    /// The place before which the snapshot stands.
    newest: Option<Index>,
    /// The place at which a snapshot was tried last.
    tried: Option<Index>,
    /// How often the snapshot was put back without bringing the copy in step.
    attempts: u32,
}

impl<D: Disk> Saves<D> {
    /// The snapshots of one of `n` replicas, in a folder of their own.
    pub(crate) fn new(plan: SavePlan, disk: D, owner: Owner, n: usize) -> Self {
        let place = u64::from(owner.replica.0);
        let offset = place.saturating_mul(plan.entries) / u64::try_from(n).unwrap_or(1).max(1);
        let store = Store::new(disk, owner);
        let mut saves = Self { plan, store, offset, newest: None, tried: None, attempts: 0 };
        saves.newest = saves.read().map(|stored| stored.next);
        saves
    }

    /// Whether there is a state to put back.
    pub(super) fn holds_one(&self) -> bool {
        self.newest.is_some()
    }

    /// Whether a copy that executed everything before a place should be saved.
    pub(super) fn is_due(&self, next: Index) -> bool {
        let round = |at: Index| at.0.saturating_add(self.offset) / self.plan.entries.max(1);
        self.newest.max(self.tried).is_none_or(|before| round(next) > round(before))
    }

    /// Fetches the copy's state, which stands before a place.
    pub(super) async fn fetch(&mut self, next: Index) -> Option<Stored> {
        let bytes_max = self.plan.bytes_max;
        let told = timeout(SAVE_LIMIT, fetch(&self.plan.save, bytes_max))
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(SAVE_LIMIT)));
        // A copy that is not up yet is asked again soon.
        let is_up = !matches!(told, Err(NoAnswer::Unreachable(_)));
        self.tried = if is_up { Some(next) } else { self.tried };
        let reason = match told {
            Ok(told) if told.status != StatusCode::OK => format!("it answered {}", told.status),
            Ok(told) => match told.content {
                Some(state) => {
                    let content_type = told.content_type;
                    return Some(Stored { next, content_type, state });
                }
                None => format!("the state has more than {bytes_max} bytes"),
            },
            Err(none) => none.to_string(),
        };
        warn!(reason, code = "copy-snapshot-failed", "the copy's state was not saved");
        None
    }

    /// Keeps a state that was fetched, in the place of the one before.
    pub(super) fn keep(&mut self, stored: &Stored) {
        if let Err(error) = self.store.save(stored) {
            // The one before is still there, or found damaged when it is needed.
            warn!(reason = %error, code = "copy-snapshot-failed", "the copy's state was not saved");
            return;
        }
        (self.newest, self.attempts) = (Some(stored.next), 0);
        let bytes = stored.state.len();
        debug!(next = stored.next.0, bytes, "the copy's state was saved");
    }

    /// Puts the snapshot back into the copy, where there is one that can be. The copy then executed
    /// everything before the place that is given.
    ///
    /// # Errors
    /// [`Lost`] when it is to be tried again.
    pub(super) async fn put_back(&mut self, log_end: Index) -> Result<Option<Index>, Lost> {
        if self.attempts >= ATTEMPTS_MAX {
            self.throw_away("it did not bring the copy in step");
        }
        let Some(Stored { next, content_type, state }) = self.read() else { return Ok(None) };
        if next > log_end {
            // What a crash took from the log is on its way: from the others, or from the vote log.
            let reason = format!("the snapshot stands before entry {}, which it lacks", next.0);
            return Err(Lost::Log(reason));
        }
        let answered = timeout(LOAD_LIMIT, put(&self.plan.load, &content_type, state))
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(LOAD_LIMIT)));
        let failed = |reason: String| Err(Lost::Load(reason));
        match answered {
            Ok(status) if status.is_success() => {
                self.attempts += 1;
                info!(next = next.0, "the copy's saved state was put back");
                Ok(Some(next))
            }
            Ok(StatusCode::SERVICE_UNAVAILABLE) => failed("it is not available yet".to_owned()),
            Ok(status) => {
                self.throw_away(&format!("the copy refused it with {status}"));
                Ok(None)
            }
            Err(none) => {
                self.attempts += u32::from(none.may_have_arrived());
                failed(none.to_string())
            }
        }
    }

    /// The copy is in step.
    pub(super) fn brought_in_step(&mut self) {
        self.attempts = 0;
    }

    /// Removes the snapshot, which is good for nothing.
    pub(super) fn throw_away(&mut self, reason: &str) {
        warn!(reason, code = "copy-snapshot-unusable", "the copy's snapshot is thrown away");
        (self.newest, self.tried, self.attempts) = (None, None, 0);
        if let Err(error) = self.store.remove() {
            warn!(reason = %error, code = error.code(), "the copy's snapshot could not be removed");
        }
    }

    fn read(&mut self) -> Option<Stored> {
        match self.store.load() {
            Ok(stored) => stored,
            Err(unusable) => {
                self.throw_away(&unusable.to_string());
                None
            }
        }
    }
}
