//! What waits to be ordered, and how long this replica's patience with the primary lasts.
//!
//! A request stays here until it is executed. It goes to whoever leads; after half the patience to
//! all, so that all expect it; after the whole, this replica wants another view.

use crate::{
    admit::{Proposal, weight},
    batch::{Source, Unplaced, Waiting},
    message::Message,
    port::{Effect, Reply, Submission, Ticket, Timer},
    replay::ReplayKey,
    replica::{Effects, FORWARD_MAX, Moment, Replica},
};
use quorate_protocol::{self as protocol, Accusation, Protocol, To};
use quorate_types::{
    Asked, Batch, Index, Refusal, Rejoin, ReplicaId, Request, Slot, Time,
    bug::{Bug, seeded},
};

/// Bytes of requests in one forward, about; a single larger one goes alone.
const FORWARD_BYTES_MAX: usize = 4 << 20;

impl<P: Protocol<Command = Batch>> Replica<P> {
    pub(crate) fn submit(
        &mut self,
        at: Moment,
        submissions: Vec<Submission>,
        out: &mut Effects<P>,
    ) {
        let mut placed = Vec::new();
        for Submission { ticket, request } in submissions {
            match self.place(at, ticket, Proposal::from(request)) {
                Ok(Some(request)) => placed.push(request),
                Ok(None) => {}
                Err(reply) => out.push(Effect::Reply { ticket, reply }),
            }
        }
        if self.primary.is_some_and(|primary| self.unreachable.contains(&primary)) {
            self.expect_sooner(at, out);
        } else {
            self.hand_on(placed, out);
        }
    }

    /// Keeps a submitted request until it is executed, unless it can be answered at once.
    fn place(
        &mut self,
        at: Moment,
        ticket: Ticket,
        proposal: Proposal,
    ) -> Result<Option<Asked>, Reply> {
        let admitted = self.admission.admit(proposal).map_err(Reply::Refused)?;
        let request = admitted.request().clone();
        if let Some(index) = self.answered_before(&request) {
            return Err(Reply::Earlier(index));
        }
        // Whatever answers it stands at this place or behind it.
        let since = Index(self.certifier.stable().map_or(0, |stable| stable.head.size));
        match self.batcher.place(at.now, Source::Gateway(ticket), admitted, since) {
            Ok(()) => Ok(Some(Asked { request, since })),
            Err(Unplaced::Known | Unplaced::KeyRuns) => Err(Reply::Refused(Refusal::new(
                409,
                "request-running",
                "a request under this Idempotency-Key is still running; ask again",
            ))),
            Err(Unplaced::Full) => Err(Reply::Refused(
                Refusal::new(503, "overloaded", "too many requests wait to be ordered")
                    .retry_after(1),
            )),
        }
    }

    /// Where the very same request was answered under a certified head.
    fn answered_before(&self, request: &Request) -> Option<Index> {
        let seen = self.execution.as_ref()?.replay().lookup(&ReplayKey::of(request))?;
        let same = seen.fingerprint == quorate_proof::fingerprint(request);
        let proven = self.certifier.covers(seen.index) || seeded(Bug::AnswersUncertified);
        (same && proven).then_some(seen.index)
    }

    pub(crate) fn forwarded(
        &mut self,
        at: Moment,
        from: ReplicaId,
        requests: Vec<Asked>,
        out: &mut Effects<P>,
    ) {
        let mut placed = Vec::new();
        for Asked { request, since } in requests {
            if self.is_executed(&request) {
                continue;
            }
            let Ok(admitted) = self.admission.admit(Proposal::part_of_verified(request.clone()))
            else {
                let charge = "malformed";
                let evidence = Vec::new();
                out.push(Effect::Accuse(Accusation { replica: from, charge, evidence }));
                return;
            };
            if self.batcher.place(at.now, Source::Peer(from), admitted, since).is_ok() {
                placed.push(request);
            }
        }
        // A forwarded request is not passed on: its own replica sends it to all, if need be.
        if self.leads() && !seeded(Bug::ForwardsDropped) {
            placed.iter().for_each(|request| self.batcher.enqueue(request.salt));
        }
    }

    fn is_executed(&self, request: &Request) -> bool {
        let Some(execution) = &self.execution else { return false };
        let keys = [ReplayKey::of(request), ReplayKey::salted(&request.salt)];
        let mut seen = keys.iter().filter_map(|key| execution.replay().lookup(key));
        seen.any(|seen| seen.salt == request.salt)
    }

    /// Gives requests to whoever leads.
    pub(crate) fn hand_on(&mut self, requests: Vec<Asked>, out: &mut Effects<P>) {
        match self.primary {
            Some(primary) if primary == self.config.me && self.votes => {
                requests.iter().for_each(|asked| self.batcher.enqueue(asked.request.salt));
            }
            Some(primary) => {
                forward(&To::One(primary), requests, out);
            }
            // A view change runs: everything that waits is handed on when a view is entered.
            None => {}
        }
    }

    pub(crate) fn propose(&mut self, at: Moment, out: &mut Effects<P>) {
        self.batcher.keep_outcome(self.copies.awaited());
        while self.leads()
            && let Some(batch) = self.batcher.next(at, self.is_crowded())
        {
            self.drive(at, protocol::Input::Propose(batch), out);
        }
        if let Some(after) = self.batcher.pause_timer() {
            out.push(Effect::Timer { timer: Timer::Batch, after });
        }
    }

    pub(crate) fn arm_patience(&mut self, out: &mut Effects<P>) {
        let fills = self.fill > self.executed();
        let expects = fills
            || self.copies.owed_since().is_some()
            || !self.batcher.is_empty()
            || !self.offers.is_empty();
        if expects && !self.patience_armed {
            self.patience_armed = true;
            let after = Some(self.config.limits.patience / 4);
            out.push(Effect::Timer { timer: Timer::Patience, after });
        }
    }

    /// A primary that ignores requests is suspected: after half the patience they go to all, so
    /// that all expect them; after the whole, this replica wants another view.
    pub(crate) fn lose_patience(&mut self, at: Moment, out: &mut Effects<P>) {
        self.patience_armed = false;
        let (Some(primary), true) = (self.primary, self.votes) else { return };
        let patience = self.config.limits.patience;
        let entered = self.entered;
        let waited = |since: Time| at.now.since(since.max(entered));
        let (mut to_all, mut to_primary) = (Vec::new(), Vec::new());
        let mut ignored = false;
        let backlogged = self.is_backlogged();
        for waiting in self.batcher.waiting_mut().filter(|waiting| !waiting.ordered) {
            if backlogged {
                waiting.since = at.now;
            }
            let waited = waited(waiting.since);
            if waited >= patience / 2 && !waiting.spread {
                // One that a peer forwarded may never have reached the primary.
                let own = waiting.ticket.is_some();
                let spread = if own { &mut to_all } else { &mut to_primary };
                spread.push(waiting.asked());
                waiting.spread = true;
            }
            ignored |= waited >= patience;
        }
        ignored |= self.unfilled_since(at.now).is_some_and(|since| waited(since) >= patience);
        ignored |= self.copies.owed_since().is_some_and(|since| waited(since) >= patience);
        for offer in self.offers.values_mut() {
            let waited = waited(offer.since);
            if waited >= patience / 2 && !offer.passed_on {
                offer.passed_on = true;
                let message = Message::RejoinOffer(offer.rejoin.clone());
                out.push(Effect::Send { to: To::One(primary), message });
            }
            ignored |= waited >= patience;
        }
        forward(&To::All, to_all, out);
        forward(&To::One(primary), to_primary, out);
        // Said again as long as it is so: the engine forgets a suspicion that few share.
        if ignored && primary != self.config.me {
            self.drive(at, protocol::Input::Suspect, out);
        }
    }

    /// Says anew which requests wait for nothing but the copies: those in decided slots.
    pub(crate) fn mark_ordered(&mut self) {
        if self.config.copies {
            let ahead = self.decided.range(self.executed().next()..);
            self.batcher.mark_ordered(ahead.filter_map(|(_, batch)| batch.as_deref()));
        }
    }

    /// Refuses what was ordered too late in slots that came by state transfer: their log does not
    /// hold it, and it never will be executed.
    pub(crate) fn refuse_overdue(&mut self, out: &mut Effects<P>) {
        // Copies keep a replica behind for long enough that what waits for them expires.
        let Some(execution) = self.execution.as_ref().filter(|_| self.config.copies) else {
            return;
        };
        let waiting = self.batcher.waiting().map(Waiting::asked);
        let overdue: Vec<_> = waiting.filter(|asked| execution.is_expired(asked)).collect();
        self.refuse_expired(&overdue, out);
    }

    /// Since when the primary owes the same slot to who rejoins.
    fn unfilled_since(&mut self, now: Time) -> Option<Time> {
        let executed = self.executed();
        let through = self.fill.min(self.last_for_all());
        let mut owed = (executed.next().0..=through.0).map(Slot);
        let first = owed.find(|slot| !self.decided.contains_key(slot));
        self.unfilled = first.map(|first| match self.unfilled {
            Some((known, since)) if known == first => (known, since),
            _ => (first, now),
        });
        self.unfilled.map(|(_, since)| since)
    }

    /// A link broke or came back. What the primary owes us when its link breaks goes to all.
    pub(crate) fn link(&mut self, at: Moment, peer: ReplicaId, up: bool, out: &mut Effects<P>) {
        if up {
            self.unreachable.remove(&peer);
            return;
        }
        self.unreachable.insert(peer);
        if self.primary == Some(peer) && !self.batcher.is_empty() {
            self.expect_sooner(at, out);
        }
    }

    /// The link to the primary is down: requests go to all at once, and it is suspected sooner.
    fn expect_sooner(&mut self, at: Moment, out: &mut Effects<P>) {
        let patience = self.config.limits.patience;
        let early = Time(at.now.0.saturating_sub(nanos(patience) / 2));
        for waiting in self.batcher.waiting_mut() {
            waiting.since = waiting.since.min(early);
        }
        self.entered = self.entered.min(early);
        self.lose_patience(at, out);
    }

    /// A replica that lost its disk asks to be ordered back in. It does not vote before that, so
    /// if it leads, it must be replaced first; and a leader that ignores it is suspected.
    pub(crate) fn offered(
        &mut self,
        at: Moment,
        via: ReplicaId,
        rejoin: Rejoin,
        out: &mut Effects<P>,
    ) {
        let replica = rejoin.replica;
        let known = self.rejoined.get(&replica) == Some(&rejoin.nonce);
        if known || !self.admission.may_rejoin(&rejoin) {
            return;
        }
        let fresh = Offer { rejoin: rejoin.clone(), since: at.now, passed_on: via != replica };
        let offer = self.offers.entry(replica).or_insert(fresh);
        offer.rejoin = rejoin.clone();
        if self.leads() {
            self.batcher.enqueue_rejoin(rejoin);
        } else if self.primary == Some(replica) {
            self.drive(at, protocol::Input::Suspect, out);
        }
    }

    /// A view is entered: its primary has all the patience for what waits.
    pub(crate) fn expect_anew(&mut self, now: Time) {
        self.batcher.waiting_mut().for_each(|waiting| waiting.spread = false);
        for offer in self.offers.values_mut() {
            (offer.since, offer.passed_on) = (now, false);
        }
    }
}

/// A rejoin that waits to be ordered. The reports in it bind the replica, so anybody may pass it
/// on.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) rejoin: Rejoin,
    since: Time,
    passed_on: bool,
}

/// Sends requests, in messages that every link carries.
fn forward<P: Protocol<Command = Batch>>(to: &To, requests: Vec<Asked>, out: &mut Effects<P>) {
    let (mut part, mut bytes) = (Vec::new(), 0_usize);
    let mut send = |part: Vec<Asked>| {
        if !part.is_empty() {
            out.push(Effect::Send { to: to.clone(), message: Message::Forward(part) });
        }
    };
    for asked in requests {
        let next = weight(&asked.request);
        if part.len() >= FORWARD_MAX || bytes.saturating_add(next) > FORWARD_BYTES_MAX {
            send(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes = bytes.saturating_add(next);
        part.push(asked);
    }
    send(part);
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
