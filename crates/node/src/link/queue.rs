//! What waits to be sent to one peer: bounded, oldest out first.

use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The most bytes that wait for one peer.
const QUEUE_BYTES_MAX: usize = 32 << 20;

/// The most frames that wait for one peer.
const QUEUE_FRAMES_MAX: usize = 65_536;

/// Bytes for one peer.
///
/// A link promises nothing: every message of a replica is sent again by its protocol when it gets
/// lost. So a queue that is full forgets its oldest frame, which is also the one least wanted; and
/// a peer that went away gets nothing of what was said meanwhile: suspicions and positions that
/// have long passed would only mislead it when it is back.
pub(crate) struct SendQueue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    dropped: u64,
    up: bool,
}

impl SendQueue {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        let waiting = Waiting { up: true, ..Waiting::default() };
        Self { waiting: Mutex::new(waiting), wake: Notify::new() }
    }

    /// Adds a frame; forgets the oldest ones that no longer fit.
    pub(crate) fn push(&self, frame: Bytes) {
        let mut waiting = self.lock();
        if !waiting.up {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        while waiting.bytes > QUEUE_BYTES_MAX || waiting.frames.len() > QUEUE_FRAMES_MAX {
            let Some(oldest) = waiting.frames.pop_front() else { break };
            waiting.bytes -= oldest.len();
            waiting.dropped += 1;
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Says whether the peer can be reached now; before the first time, it counts as reached.
    pub(crate) fn set_up(&self, up: bool) {
        let mut waiting = self.lock();
        waiting.up = up;
        if !up {
            waiting.dropped += waiting.frames.len() as u64;
            waiting.frames.clear();
            waiting.bytes = 0;
        }
    }

    /// Takes frames out, oldest first, until they are `bytes_max` together or none is left; at
    /// least one if there is one.
    pub(crate) fn take(&self, bytes_max: usize, out: &mut Vec<Bytes>) {
        let mut waiting = self.lock();
        let mut bytes = 0_usize;
        while let Some(frame) = waiting.frames.pop_front() {
            bytes += frame.len();
            waiting.bytes -= frame.len();
            out.push(frame);
            if bytes >= bytes_max {
                break;
            }
        }
    }

    /// Ends when something was pushed since the last call. Safe to cancel.
    pub(crate) async fn pushed(&self) {
        self.wake.notified().await;
    }

    /// How many frames were forgotten so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    // Nothing that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_forgets_its_oldest_frames_and_counts_them() {
        let queue = SendQueue::new();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        queue.push(Bytes::from_static(b"oldest"));
        for _ in 0..32 {
            queue.push(megabyte.clone());
        }
        assert_eq!((queue.dropped(), queue.bytes()), (1, 32 << 20));
        let mut out = Vec::new();
        queue.take(1, &mut out);
        assert_eq!(out, [megabyte]);
    }

    #[test]
    fn a_peer_that_went_away_gets_only_what_is_said_after_it_came_back() {
        let queue = SendQueue::new();
        queue.push(Bytes::from_static(b"before"));
        queue.set_up(false);
        queue.push(Bytes::from_static(b"meanwhile"));
        queue.set_up(true);
        queue.push(Bytes::from_static(b"after"));
        let mut out = Vec::new();
        queue.take(usize::MAX, &mut out);
        assert_eq!(out, [Bytes::from_static(b"after")]);
        assert_eq!((queue.dropped(), queue.bytes()), (2, 0));
    }

    #[test]
    fn many_empty_frames_are_bounded_too() {
        let queue = SendQueue::new();
        (0..QUEUE_FRAMES_MAX + 10).for_each(|_| queue.push(Bytes::new()));
        assert_eq!(queue.dropped(), 10);
    }

    #[tokio::test]
    async fn a_push_before_the_wait_is_not_missed() {
        let queue = SendQueue::new();
        queue.push(Bytes::from_static(b"x"));
        queue.pushed().await;
    }
}
