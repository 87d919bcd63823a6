//! Timers, retransmission, catching up: replicas tell each other where they stand, and each sends
//! what the other lacks. Nothing else is ever repeated.

use super::{
    Body, Command, Out, Pbft, Timer,
    message::{Fetch, Payload, Stage, Status},
};
use crate::{Effect, To};
use quorate_types::{
    Digest, ReplicaId, Slot, Tally, Time, View,
    bug::{Bug, seeded},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A suspicion is withdrawn after this many timeouts, unless renewed.
const SUSPICION_TIMEOUTS: u32 = 4;
/// A replica below a stable slot that commits nothing for this many busy intervals asks for a
/// state transfer.
const STUCK_INTERVALS: u32 = 10;
/// A replica that waits alone outside the view is joined after this many timeouts, at first.
const ALONE_TIMEOUTS: u32 = 8;
/// Each time it is joined, the next takes twice as long, at most so often: else a faulty replica
/// could have every view changed.
const ALONE_DOUBLINGS_MAX: u32 = 10;
/// Proposals kept of a view that is not open here yet; the others are repeated on request.
pub(super) const EARLY_PROPOSALS_MAX: usize = 8;
/// Who asked so often in vain wants another view: where power was lost everywhere, perhaps nobody
/// holds a certified state any more, and what was voted on below it must be voted on again.
const STUCK_MAX: u32 = 8;
/// A report or an opening of one view is repeated to one peer half as soon each time, at most so
/// often. They are the largest messages: on slow links, those of everybody to everybody would
/// otherwise wait for each other until the next view change.
const OPENING_DOUBLINGS_MAX: u32 = 5;
/// Answers a peer may cause within one busy interval, in windows.
const QUOTA_WINDOWS: u64 = 4;

/// What is remembered about a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    heard_at: Time,
    view: View,
    suspects: bool,
    committed: Slot,
    /// Since when it is on its way to a view above this replica's.
    alone_since: Option<Time>,
    /// Whether this replica wants to join it now, and how often it did so before.
    is_joined: bool,
    joined: u32,
    told_at: Option<Time>,
    opening: Opening,
    quota: u64,
    quota_at: Option<Time>,
}

/// How a peer was told to come into this replica's view.
#[derive(Clone, Copy, Debug, Default)]
struct Opening {
    /// Which view that was.
    view: View,
    /// When it was told last.
    told_at: Option<Time>,
    /// How often it was told.
    times: u32,
}

/// Whom this replica asked for decisions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pull {
    asked: Option<(ReplicaId, Slot)>,
}

/// Votes of views that are not open here yet: of one view a signer, within a quota.
#[derive(Clone, Debug)]
pub(super) struct Early<C: Clone>(BTreeMap<ReplicaId, (View, Vec<Body<C>>)>);

impl<C: Clone> Default for Early<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Clone> Early<C> {
    pub(super) fn has_room(&self, signer: ReplicaId, view: View, most: usize) -> bool {
        self.0
            .get(&signer)
            .is_none_or(|(of, kept)| view > *of || (view == *of && kept.len() < most))
    }

    fn keep(&mut self, signer: ReplicaId, view: View, body: Body<C>, most: usize) {
        if !self.has_room(signer, view, most) {
            return;
        }
        let (of, kept) = self.0.entry(signer).or_insert_with(|| (view, Vec::new()));
        if *of != view {
            (*of, *kept) = (view, Vec::new());
        }
        let is_proposal = |body: &Body<C>| matches!(body, Body::PrePrepare(_));
        let proposals = kept.iter().filter(|body| is_proposal(body)).count();
        if !is_proposal(&body) || proposals < EARLY_PROPOSALS_MAX {
            kept.push(body);
        }
    }

    /// How many votes, and proposals among them, are kept of the one of whom most are.
    pub(super) fn held(&self) -> (usize, usize) {
        let is_proposal = |body: &&Body<C>| matches!(body, Body::PrePrepare(_));
        let proposals = |kept: &Vec<Body<C>>| kept.iter().filter(is_proposal).count();
        let votes = self.0.values().map(|(_, kept)| kept.len()).max();
        let most = self.0.values().map(|(_, kept)| proposals(kept)).max();
        (votes.unwrap_or(0), most.unwrap_or(0))
    }

    /// Of how many others something is kept.
    pub(super) fn peers(&self) -> usize {
        self.0.len()
    }

    /// What was kept for a view that opens; what was kept for earlier ones goes.
    pub(super) fn take(&mut self, view: View) -> Vec<(ReplicaId, Body<C>)> {
        let later = self.0.iter().filter(|(_, (of, _))| *of > view).map(|(it, _)| *it);
        let later: Vec<ReplicaId> = later.collect();
        let mut taken = Vec::new();
        for (signer, (of, kept)) in std::mem::take(&mut self.0) {
            if later.contains(&signer) {
                self.0.insert(signer, (of, kept));
            } else if of == view {
                taken.extend(kept.into_iter().map(|body| (signer, body)));
            }
        }
        taken
    }
}

impl<C: Command> Pbft<C> {
    pub(super) fn early_most(&self) -> usize {
        // A PrePrepare or Prepare and a Commit for every slot that can be known.
        usize::try_from(self.window.size().saturating_mul(4)).unwrap_or(usize::MAX)
    }

    pub(super) fn early_message(&mut self, signer: ReplicaId, view: View, body: Body<C>) {
        let most = self.early_most();
        self.early.keep(signer, view, body, most);
    }

    /// After every input: the timers that follow from the state, and the room.
    pub(super) fn settle(&mut self, out: &mut Out<C>) {
        let open = self.is_open();
        let waits = match self.active {
            true => open,
            false if seeded(Bug::NextPrimaryNotAwaited) => false,
            false => self.reports.quorum_reached(self.view),
        };
        match (waits, self.waiting_since) {
            (true, None) => {
                self.waiting_since = Some(self.now);
                if !self.progress_is_armed {
                    self.arm_progress(self.patience.timeout(), out);
                }
            }
            (false, Some(_)) => self.waiting_since = None,
            _ => {}
        }
        let busy = open || !self.active || self.suspects() || self.lags();
        let interval = if busy { self.config.status_busy } else { self.config.status_idle };
        if self.status_armed.is_none_or(|armed| armed > interval) {
            self.arm_status(interval, out);
        }
        let room = self.room_now();
        if self.room != Some(room) {
            self.room = Some(room);
            out.push(Effect::Room(room));
        }
    }

    /// Whether a proposal that this replica knows of is not committed.
    fn is_open(&self) -> bool {
        let above = self.window.committed().next();
        let mut slots = self.slots.range(above..);
        self.implied.range(above..).next().is_some()
            || slots.any(|(_, state)| {
                state.proposal.is_some()
                    || state.decided.is_some()
                    || state.prepares.has_one_correct()
                    || state.commits.has_one_correct()
            })
    }

    fn lags(&self) -> bool {
        let committed = self.window.committed();
        committed < self.window.known().slot
            || self.peers.values().any(|peer| peer.committed > committed)
    }

    fn arm_progress(&mut self, after: Duration, out: &mut Out<C>) {
        self.progress_is_armed = true;
        out.push(Effect::Timer { timer: Timer::Progress, after: Some(after) });
    }

    fn arm_status(&mut self, interval: Duration, out: &mut Out<C>) {
        self.status_armed = Some(interval);
        out.push(Effect::Timer { timer: Timer::Status, after: Some(interval) });
    }

    /// Section 4.5.2: the primary had its time. Moved to the last progress when it fires early.
    pub(super) fn on_progress_timer(&mut self, out: &mut Out<C>) {
        self.progress_is_armed = false;
        let Some(since) = self.waiting_since else { return };
        let timeout = self.patience.timeout();
        let waited = self.now.since(since);
        if waited < timeout {
            self.arm_progress(timeout.saturating_sub(waited), out);
        } else if self.active {
            self.waiting_since = None;
            self.suspect(out);
        } else {
            self.leave(self.view.next(), out);
        }
    }

    fn suspects(&self) -> bool {
        self.suspects_until.is_some_and(|until| until > self.now)
    }

    /// Says that the primary does not do its work; this replica leaves when f + 1 say so.
    pub(super) fn suspect(&mut self, out: &mut Out<C>) {
        if !self.active {
            return;
        }
        let known = self.suspects();
        let lasts = self.patience.timeout().saturating_mul(SUSPICION_TIMEOUTS);
        self.suspects_until = Some(self.now.plus(lasts));
        if !known {
            self.tell_status(To::All, false, out);
        }
        self.weigh_suspicions(out);
    }

    fn weigh_suspicions(&mut self, out: &mut Out<C>) {
        if !self.active {
            return;
        }
        let lasts = self.patience.timeout().saturating_mul(SUSPICION_TIMEOUTS);
        let mut tally = Tally::new(self.config.committee);
        if self.suspects() {
            tally.add(self.config.me);
        }
        let recent = |peer: &Peer| self.now.since(peer.heard_at) <= lasts;
        let others = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.suspects && peer.view == self.view && recent(peer));
        tally.extend(others.map(|(replica, _)| *replica));
        tally.extend(self.reports.above(self.view));
        if tally.has_one_correct() {
            self.leave(self.view.next(), out);
        }
    }

    /// Who left the view alone cannot come back into it. He is joined after a while: the others
    /// suspect with him, each time half as soon.
    fn join_who_waits_alone(&mut self, out: &mut Out<C>) {
        let (now, timeout) = (self.now, self.config.view_timeout);
        let mut joins = false;
        for peer in self.peers.values_mut() {
            let wait = timeout
                .saturating_mul(ALONE_TIMEOUTS)
                .saturating_mul(1 << peer.joined.min(ALONE_DOUBLINGS_MAX));
            let long = peer.alone_since.is_some_and(|since| now.since(since) >= wait);
            if long && !peer.is_joined {
                peer.is_joined = true;
                // Counted at once: whatever he says next, he had his turn.
                peer.joined = peer.joined.saturating_add(1);
            }
            joins |= peer.is_joined;
        }
        if joins {
            self.suspect(out);
        }
    }

    /// The view is left: whoever was to be joined has been.
    pub(super) fn joined(&mut self) {
        for peer in self.peers.values_mut() {
            if std::mem::take(&mut peer.is_joined) {
                peer.alone_since = None;
            }
        }
    }

    pub(super) fn tell_status(&self, to: To, pull: bool, out: &mut Out<C>) {
        let committed = self.window.committed();
        let far = Slot(committed.0.saturating_add(self.window.size().saturating_mul(2)));
        let mut stages = Vec::new();
        for (slot, state) in self.slots.range(committed.next()..=far) {
            let at = usize::try_from(slot.0.saturating_sub(committed.next().0)).unwrap_or(0);
            stages.resize(at, Stage::Nothing);
            stages.push(state.stage(self.view));
        }
        let status = Status {
            view: self.view,
            active: self.active,
            suspects: self.suspects(),
            pull,
            round: self.round,
            stable: self.window.known().slot,
            committed,
            stages,
        };
        self.send(to, Body::Status(status), out);
    }

    pub(super) fn on_status_timer(&mut self, out: &mut Out<C>) {
        self.round = self.round.wrapping_add(1);
        self.status_armed = None;
        self.tell_status(To::All, false, out);
        self.pull.asked = None;
        if self.lags() && self.stalled_for(self.config.pause()) {
            self.pull_by_turns(out);
        }
        let known = self.window.known();
        let known_slot = known.slot;
        if self.window.committed() < known.slot
            && self.stalled_for(self.config.status_busy.saturating_mul(STUCK_INTERVALS))
        {
            out.push(Effect::Behind { stable: known.clone() });
            self.committed_at = self.now;
            self.stuck = self.stuck.saturating_add(1);
        }
        if self.stuck > STUCK_MAX && !self.somebody_holds(known_slot) {
            self.suspect(out);
        }
        self.collect(out);
        self.fetch_again(out);
        self.join_who_waits_alone(out);
    }

    /// Whether one correct replica, at least, holds the state after this slot: then waiting for it
    /// is not in vain.
    fn somebody_holds(&self, slot: Slot) -> bool {
        let mut tally = Tally::new(self.config.committee);
        let holders = self.peers.iter().filter(|(_, peer)| peer.committed >= slot);
        tally.extend(holders.map(|(replica, _)| *replica));
        tally.has_one_correct()
    }

    fn stalled_for(&self, time: Duration) -> bool {
        self.now.since(self.committed_at) >= time
    }

    /// Asks, in turn, each of those who said that they are ahead.
    fn pull_by_turns(&mut self, out: &mut Out<C>) {
        let committed = self.window.committed();
        let ahead: Vec<ReplicaId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.committed > committed)
            .map(|(replica, _)| *replica)
            .collect();
        let turn = usize::try_from(self.round).unwrap_or(0);
        if let Some(peer) = turn.checked_rem(ahead.len()).and_then(|turn| ahead.get(turn)) {
            self.pull_from(*peer, out);
        }
    }

    fn pull_from(&mut self, peer: ReplicaId, out: &mut Out<C>) {
        self.pull.asked = Some((peer, self.window.committed()));
        self.tell_status(To::One(peer), true, out);
    }

    pub(super) fn on_status(&mut self, from: ReplicaId, status: Status, out: &mut Out<C>) {
        let most = self.window.size().saturating_mul(2).saturating_add(1);
        if u64::try_from(status.stages.len()).is_ok_and(|stages| stages > most) {
            self.malformed(from, out);
            return;
        }
        let now = self.now;
        let peer = self.peers.entry(from).or_default();
        peer.heard_at = now;
        peer.view = status.view;
        peer.suspects = status.suspects && status.active;
        peer.committed = status.committed;
        if status.view > self.view && !status.active {
            peer.alone_since.get_or_insert(now);
        } else {
            peer.alone_since = None;
            peer.is_joined = false;
        }
        self.help_along(from, &status, out);
        if status.pull {
            self.send_decisions(from, &status, out);
        }
        if status.active && self.is_current(status.view) {
            self.send_votes(from, &status, out);
        }
        self.follow(from, &status, out);
        self.weigh_suspicions(out);
    }

    /// Catches up with a peer that is ahead: at once as long as each answer brings news.
    fn follow(&mut self, from: ReplicaId, status: &Status, out: &mut Out<C>) {
        let committed = self.window.committed();
        if status.committed <= committed {
            return;
        }
        let news = match self.pull.asked {
            None => self.stalled_for(self.config.pause()) || committed < self.window.known().slot,
            Some((peer, then)) => peer == from && !status.pull && committed > then,
        };
        if news {
            self.pull_from(from, out);
        }
    }

    /// Spends one of what a peer may make this replica send within one busy interval.
    pub(super) fn may_answer(&mut self, peer: ReplicaId) -> bool {
        let (now, interval) = (self.now, self.config.status_busy);
        let full = self.window.size().saturating_mul(QUOTA_WINDOWS);
        let peer = self.peers.entry(peer).or_default();
        if peer.quota_at.is_none_or(|at| now.since(at) >= interval) {
            peer.quota = full;
            peer.quota_at = Some(now);
        }
        let may = peer.quota > 0;
        peer.quota = peer.quota.saturating_sub(1);
        may
    }

    /// Whether a peer is to be told again how to come into this replica's view.
    fn may_open(&mut self, peer: ReplicaId) -> bool {
        let (now, view, pause) = (self.now, self.view, self.config.pause());
        let opening = &mut self.peers.entry(peer).or_default().opening;
        if opening.view != view {
            *opening = Opening { view, ..Opening::default() };
        }
        let doublings = opening.times.saturating_sub(1).min(OPENING_DOUBLINGS_MAX);
        let wait = pause.saturating_mul(1 << doublings);
        let due = opening.told_at.is_none_or(|at| now.since(at) >= wait);
        if due {
            opening.told_at = Some(now);
            opening.times = opening.times.saturating_add(1);
        }
        due
    }

    /// What a peer in a lower view, or below the stable slot, needs first. At most once each half
    /// of a busy interval.
    fn help_along(&mut self, from: ReplicaId, status: &Status, out: &mut Out<C>) {
        let behind = status.view < self.view || (status.view == self.view && !status.active);
        let opening = self.opening.clone().filter(|_| self.active && behind);
        let report = self.own_report.clone().filter(|_| !self.active && behind);
        // Rule 28: who is below a stable slot and knows of no proof gets it; so does who is far
        // behind with its window.
        let half = Slot(status.stable.0.saturating_add(self.window.size() / 2));
        let stable = self.window.known().clone();
        let lacks = status.stable < stable.slot && status.committed < stable.slot;
        let stable = stable.certificate.filter(|_| lacks || half < stable.slot);
        let ahead = status.committed < self.window.committed() && !status.pull;
        if opening.is_none() && report.is_none() && stable.is_none() && !ahead {
            return;
        }
        let (now, pause) = (self.now, self.config.pause());
        let peer = self.peers.entry(from).or_default();
        if peer.told_at.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        peer.told_at = Some(now);
        if behind && self.may_open(from) {
            if let Some(opening) = opening {
                self.send(To::One(from), Body::NewView((*opening).clone()), out);
            }
            if let Some(report) = report {
                self.send(To::One(from), Body::ViewChange(report), out);
            }
        }
        if let Some(certificate) = stable {
            self.send(To::One(from), Body::Stable(certificate), out);
        }
        if ahead {
            self.tell_status(To::One(from), false, out);
        }
    }

    /// Answers a pull: decisions from the peer's position on, then where this replica stands.
    fn send_decisions(&mut self, from: ReplicaId, status: &Status, out: &mut Out<C>) {
        let far = Slot(status.committed.0.saturating_add(self.window.size()));
        let slots = self.slots.range(status.committed.next()..=far);
        let decided: Vec<_> = slots.filter_map(|(_, state)| state.decision(&self.noop)).collect();
        for decided in decided {
            if !self.may_answer(from) {
                return;
            }
            self.send(To::One(from), Body::Decided(decided), out);
        }
        if self.may_answer(from) {
            self.tell_status(To::One(from), false, out);
        }
    }

    /// Repeats this replica's own votes for slots in which the peer is not far enough, and
    /// decisions of earlier views. The primary repeats its proposals; a backup too, every fourth
    /// time, because a primary may have chosen whom to propose to.
    fn send_votes(&mut self, from: ReplicaId, status: &Status, out: &mut Out<C>) {
        let far = Slot(
            status
                .stable
                .max(status.committed)
                .0
                .saturating_add(self.window.size().saturating_mul(2)),
        );
        let pause = self.config.pause();
        let turn = u32::from(self.config.me.0).wrapping_add(status.round).is_multiple_of(4);
        let proposes = self.leads() || turn;
        let first = status.committed.next();
        let mut bodies = Vec::new();
        for (slot, state) in self.slots.range(first..=far.max(first)) {
            let at = usize::try_from(slot.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
            let stage = status.stages.get(at).copied().unwrap_or(Stage::Nothing);
            if stage == Stage::Decided || self.now.since(state.sent_at) < pause {
                continue;
            }
            let (me, view) = (self.config.me, self.view);
            let proposal = state.preprepare(&self.noop).map(Body::PrePrepare);
            let proposal = proposal.filter(|_| proposes && stage == Stage::Nothing);
            let prepare = state.prepares.vote_of(me, view, *slot).map(Body::Prepare);
            let prepare = prepare.filter(|_| stage < Stage::Prepared && !self.leads());
            let commit = state.commits.vote_of(me, view, *slot).map(Body::Commit);
            // What was decided in an earlier view is not voted on again here; and nobody asks
            // one who lags for decisions, though it may be the only one to know of this one.
            let alone = commit.is_none() && !status.pull && *slot > self.window.committed();
            let decided = alone.then(|| state.decision(&self.noop)).flatten().map(Body::Decided);
            bodies.extend(proposal.into_iter().chain(prepare).chain(commit).chain(decided));
        }
        for body in bodies {
            if self.may_answer(from) {
                self.send(To::One(from), body, out);
            }
        }
    }

    /// Asks f + 1 others, in turn, for the command with this digest.
    pub(super) fn fetch(&mut self, slot: Slot, digest: Digest, out: &mut Out<C>) {
        let now = self.now;
        let (me, committee, round) = (self.config.me, self.config.committee, self.round);
        let pause = self.config.pause();
        let state = self.slot(slot);
        if state.fetched_at.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        state.fetched_at = Some(now);
        let others: Vec<ReplicaId> = committee.replicas().filter(|it| *it != me).collect();
        let ask = committee.one_correct();
        let skip = usize::try_from(round).unwrap_or(0).saturating_mul(ask);
        let turn = skip.checked_rem(others.len()).unwrap_or(0);
        let group: Arc<[ReplicaId]> = others.into_iter().cycle().skip(turn).take(ask).collect();
        self.send(To::Group(group), Body::Fetch(Fetch { slot, digest }), out);
    }

    fn fetch_again(&mut self, out: &mut Out<C>) {
        let decided =
            self.slots.iter().filter_map(|(slot, it)| Some((*slot, it.decided_digest()?)));
        let implied = self.implied.iter().map(|(slot, digest)| (*slot, *digest));
        let missing: Vec<_> =
            decided.chain(implied).filter(|(slot, digest)| self.lacks(*slot, digest)).collect();
        for (slot, digest) in missing {
            self.fetch(slot, digest, out);
        }
    }

    pub(super) fn on_fetch(&mut self, from: ReplicaId, fetch: Fetch, out: &mut Out<C>) {
        let Fetch { slot, digest } = fetch;
        let state = self.slots.get(&slot);
        let Some(command) = state.and_then(|state| state.payload(&digest)).cloned() else { return };
        if self.may_answer(from) {
            self.send(To::One(from), Body::Payload(Payload { slot, command, digest }), out);
        }
    }
}
