//! What waits for the driver: a bounded queue for each peer, one for the gateway, one for notices.
//!
//! The queues are apart so that none starves another (rule 13): a round takes a few messages of
//! every peer, whatever one of them has poured in. A peer's share is counted in bytes; while it is
//! full, its link is not read. The gateway's share is counted in requests; above it, a request is
//! refused. The driver sleeps on a condition variable, and is woken only while it sleeps.

use quorate_replica::Ticket;
use quorate_types::{ReplicaId, Request, Response, Slot};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes of one peer may wait.
pub(crate) const PEER_BYTES_MAX: usize = 2 * crate::link::FRAME_BYTES_MAX;

/// What a message costs at least, whatever its size: it takes memory to hold and time to handle.
const MESSAGE_BYTES_MIN: usize = 512;

/// How many messages of one peer a round takes.
const ROUND_MESSAGES_MAX: usize = 128;

/// How many requests a round takes.
const ROUND_REQUESTS_MAX: usize = 1024;

/// A request from this replica's gateway.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) ticket: Ticket,
    pub(crate) request: Arc<Request>,
}

/// What the driver is told by other threads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Notice {
    /// A link broke or came back.
    Link { peer: ReplicaId, up: bool },
    /// A gateway no longer waits.
    Abandon(Ticket),
    /// What the own copy of the service answered to a slot's calls.
    Answered { slot: Slot, answers: Vec<Option<Response>> },
    /// The process ends.
    Stop,
}

/// A message with its share of the peer's bytes, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Arrived<M> {
    pub(crate) from: ReplicaId,
    pub(crate) message: M,
    pub(crate) share: OwnedSemaphorePermit,
}

/// What one round works on.
#[derive(Debug)]
pub(crate) struct Round<M> {
    pub(crate) messages: Vec<Arrived<M>>,
    pub(crate) submits: Vec<Submit>,
    pub(crate) notices: Vec<Notice>,
}

impl<M> Default for Round<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), submits: Vec::new(), notices: Vec::new() }
    }
}

/// See the module.
pub(crate) struct Inbox<M> {
    waiting: Mutex<Waiting<M>>,
    wake: Condvar,
    shares: Vec<Arc<Semaphore>>,
    submits_max: usize,
}

struct Waiting<M> {
    peers: Vec<VecDeque<Arrived<M>>>,
    submits: VecDeque<Submit>,
    /// Few by nature: one a change of a link, a request that was given up, or a slot's answers.
    notices: VecDeque<Notice>,
    asleep: bool,
}

impl<M> Inbox<M> {
    /// An inbox for `n` replicas, in which `submits_max` requests may wait.
    pub(crate) fn new(n: usize, submits_max: usize) -> Self {
        let waiting = Waiting {
            peers: (0..n).map(|_| VecDeque::new()).collect(),
            submits: VecDeque::new(),
            notices: VecDeque::new(),
            asleep: false,
        };
        let shares = (0..n).map(|_| Arc::new(Semaphore::new(PEER_BYTES_MAX))).collect();
        Self { waiting: Mutex::new(waiting), wake: Condvar::new(), shares, submits_max }
    }

    /// Waits until the peer's share has room for a message of so many bytes.
    ///
    /// `None` for a stranger, and for a message that no share can hold.
    pub(crate) async fn room(&self, from: ReplicaId, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let share = Arc::clone(self.shares.get(from.position())?);
        let bytes = bytes.max(MESSAGE_BYTES_MIN);
        if bytes > PEER_BYTES_MAX {
            return None;
        }
        share.acquire_many_owned(u32::try_from(bytes).ok()?).await.ok()
    }

    /// Adds a message for which there is room.
    pub(crate) fn put(&self, from: ReplicaId, message: M, room: OwnedSemaphorePermit) {
        let mut waiting = self.lock();
        if let Some(queue) = waiting.peers.get_mut(from.position()) {
            queue.push_back(Arrived { from, message, share: room });
            self.rouse(waiting);
        }
    }

    /// Adds a request; gives it back when too many wait.
    pub(crate) fn submit(&self, submit: Submit) -> Result<(), Submit> {
        let mut waiting = self.lock();
        if waiting.submits.len() >= self.submits_max {
            return Err(submit);
        }
        waiting.submits.push_back(submit);
        self.rouse(waiting);
        Ok(())
    }

    /// Adds a notice.
    pub(crate) fn notify(&self, notice: Notice) {
        let mut waiting = self.lock();
        waiting.notices.push_back(notice);
        self.rouse(waiting);
    }

    /// Moves what waits into `round`, at most a round's measure of each kind. Sleeps until there
    /// is something, or until the deadline.
    pub(crate) fn take(&self, deadline: Option<Instant>, round: &mut Round<M>) {
        let mut waiting = self.lock();
        while waiting.is_empty() {
            waiting.asleep = true;
            waiting = match deadline {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        waiting.asleep = false;
                        return;
                    }
                    let woken = self.wake.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            waiting.asleep = false;
        }
        let waiting = &mut *waiting;
        for queue in &mut waiting.peers {
            let most = queue.len().min(ROUND_MESSAGES_MAX);
            round.messages.extend(queue.drain(..most));
        }
        let most = waiting.submits.len().min(ROUND_REQUESTS_MAX);
        round.submits.extend(waiting.submits.drain(..most));
        round.notices.extend(waiting.notices.drain(..));
    }

    fn rouse(&self, mut waiting: MutexGuard<'_, Waiting<M>>) {
        let asleep = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        if asleep {
            self.wake.notify_one();
        }
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, Waiting<M>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Waiting<M> {
    fn is_empty(&self) -> bool {
        self.submits.is_empty()
            && self.notices.is_empty()
            && self.peers.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(inbox: &Inbox<u32>, from: u16, message: u32) {
        let room = inbox.room(ReplicaId(from), 1).await.unwrap();
        inbox.put(ReplicaId(from), message, room);
    }

    #[tokio::test]
    async fn a_round_takes_a_few_messages_of_every_peer() {
        let inbox = Inbox::new(3, 1);
        for message in 0..1000 {
            put(&inbox, 1, message).await;
        }
        put(&inbox, 2, 7).await;
        let mut round = Round::default();
        inbox.take(None, &mut round);
        let of = |peer| round.messages.iter().filter(|m| m.from == ReplicaId(peer)).count();
        assert_eq!((of(1), of(2)), (ROUND_MESSAGES_MAX, 1));
        let order: Vec<_> = round.messages.iter().take(3).map(|m| m.message).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_full_share_stops_its_own_peer_only() {
        let inbox: Inbox<u32> = Inbox::new(2, 1);
        let room = inbox.room(ReplicaId(0), PEER_BYTES_MAX).await.unwrap();
        let more = inbox.room(ReplicaId(0), 1);
        assert!(tokio::time::timeout(Duration::from_millis(20), more).await.is_err());
        put(&inbox, 1, 1).await;
        inbox.put(ReplicaId(0), 0, room);
        let mut round = Round::default();
        inbox.take(None, &mut round);
        drop(round);
        put(&inbox, 0, 2).await;
        assert!(inbox.room(ReplicaId(2), 1).await.is_none(), "a stranger has no share");
        assert!(inbox.room(ReplicaId(0), PEER_BYTES_MAX + 1).await.is_none());
    }

    #[test]
    fn a_sleeper_is_woken_by_a_notice_and_by_its_deadline() {
        let inbox: Arc<Inbox<u32>> = Arc::new(Inbox::new(1, 1));
        let waker = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.notify(Notice::Stop);
        });
        let mut round = Round::default();
        inbox.take(None, &mut round);
        assert_eq!(round.notices, [Notice::Stop]);
        thread.join().unwrap();
        let before = Instant::now();
        inbox.take(Some(before + Duration::from_millis(20)), &mut Round::default());
        assert!(before.elapsed() >= Duration::from_millis(20));
    }
}
