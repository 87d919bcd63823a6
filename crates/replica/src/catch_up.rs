//! How a replica comes up again: from its own disk, from peers, and after a lost disk.

use crate::{
    certify::OwnHeadWrong,
    execute::{Diverged, Execution, Rules},
    message::{Message, Progress, Sync},
    port::{Effect, Reply, Ticket, Timer},
    record::Recorder,
    rejoin,
    replica::{Effects, Moment, Replica},
    signatures,
    snapshot::Snapshot,
    sync::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Piece, Step, by_slot},
};
use quorate_proof::{Frontier, leaf_hash, verify_stable};
use quorate_protocol::{self as protocol, Accusation, Protocol, Stable, To};
use quorate_types::{
    Batch, Digest, Index, LogItem, RejoinReport, ReplicaId, Slot, StableCertificate,
    bug::{Bug, seeded},
};
use std::sync::Arc;

/// Questions of state transfer that one peer is answered between two ticks. Each costs a page at
/// most, and who asks for more than it can use is not served.
const SERVED_MAX: u32 = 256;

impl<P: Protocol<Command = Batch>> Replica<P> {
    // --- from the own disk ---------------------------------------------------------------------

    /// Brings the state to where the log ends. The log's last slot may be torn, unless a
    /// certificate covers it; then it is cut, and the engine commits it again.
    pub(crate) fn recover(
        &mut self,
        log_size: u64,
        snapshot: Option<Arc<Snapshot>>,
        items: Vec<LogItem>,
        certificate: Option<Arc<StableCertificate>>,
        out: &mut Effects<P>,
    ) -> Result<(), String> {
        let mut size = self.recover_base(log_size, snapshot, out)?;
        let certified = certificate.as_ref().map_or(0, |certificate| certificate.head.size);
        let mut slots = by_slot(items);
        if let Some(last) = slots.last()
            && log_size > certified
            && !seeded(Bug::LastSlotNotCut)
        {
            let keep = log_size.saturating_sub(last.len() as u64);
            slots.pop();
            if !seeded(Bug::TruncationForgotten) {
                out.push(Effect::Truncate { size: keep });
            }
        }
        // What lies deeper came by state transfer, which a crash interrupted: others certified it.
        let deep = slots.len().saturating_sub(self.certifier.recovered_max());
        for (place, slot) in slots.into_iter().enumerate() {
            let execution = self.execution.as_mut().ok_or("no state")?;
            let executed = execution.repeat(&slot).map_err(|e| format!("own log corrupt: {e}"))?;
            let recorded = self.recorder.record(executed);
            size = recorded.head.size;
            if size > certified && place >= deep {
                // Sent again by the next ticks, until a quorum has signed.
                self.certifier.open(recorded, Vec::new());
            } else if let Some(certificate) = certificate.as_ref().filter(|c| c.head.size == size)
                && (certificate.head != recorded.head || certificate.record != recorded.record)
            {
                return Err("own log corrupt: it does not lead to its certified head".to_owned());
            }
        }
        match certificate {
            Some(certificate) if certificate.head.size <= size => {
                verify_stable(self.verifier.policy(), &self.verifier, &certificate)
                    .map_err(|error| format!("own certificate wrong: {error}"))?;
                // Nobody waits yet.
                let _ = self.certifier.restart(Some(certificate));
            }
            Some(_) => return Err("own log is shorter than its certified head".to_owned()),
            None => {}
        }
        Ok(())
    }

    /// The state from which the log is executed again: a snapshot, or genesis.
    fn recover_base(
        &mut self,
        log_size: u64,
        snapshot: Option<Arc<Snapshot>>,
        out: &mut Effects<P>,
    ) -> Result<u64, String> {
        let Some(snapshot) = snapshot else {
            let execution = self.execution.as_ref().ok_or("no state")?;
            let entry = execution.genesis_entry().text();
            let genesis = LogItem { entry, exchange: None, opening: None };
            let mut frontier = Frontier::new();
            frontier.push(leaf_hash(genesis.entry.as_bytes()));
            self.recorder = Recorder::new(frontier);
            if log_size == 0 {
                let items = Arc::new(vec![genesis]);
                out.push(Effect::Append { from: Index(0), items });
            }
            return Ok(1);
        };
        verify_stable(self.verifier.policy(), &self.verifier, &snapshot.certificate)
            .map_err(|error| format!("own snapshot wrong: {error}"))?;
        let head = snapshot.certificate.head;
        if snapshot.frontier.size() != head.size || snapshot.frontier.root() != head.root {
            return Err("own snapshot wrong: its frontier is not its head's".to_owned());
        }
        self.replace_state(&snapshot).map_err(|reason| format!("own snapshot wrong: {reason}"))?;
        self.keep(snapshot);
        Ok(head.size)
    }

    fn replace_state(&mut self, snapshot: &Snapshot) -> Result<(), &'static str> {
        let service = self.execution.take().ok_or("no state")?.into_service();
        let (service_map, replay) = (snapshot.service.clone(), snapshot.replay.clone());
        let (record, signatures) = (snapshot.certificate.record, snapshot.signatures);
        let rules = Rules::from(&self.config);
        let restored = Execution::restore(service, rules, record, service_map, replay, signatures)?;
        self.execution = Some(restored);
        self.recorder = Recorder::new(snapshot.frontier.clone());
        Ok(())
    }

    // --- noticing ------------------------------------------------------------------------------

    /// Tells the others how far this replica is, and looks whether it lags.
    pub(crate) fn tick(&mut self, at: Moment, out: &mut Effects<P>) {
        let after = Some(self.config.limits.progress);
        out.push(Effect::Timer { timer: Timer::Progress, after });
        self.served.clear();
        let (executed, stable) = (self.executed(), self.certifier.stable_slot());
        let progress = Message::Progress(Progress { executed, stable });
        out.push(Effect::Send { to: To::All, message: progress });
        let moved = (executed, stable) != self.at_last_tick;
        self.at_last_tick = (executed, stable);
        self.ticks_unmoved = if moved { 0 } else { self.ticks_unmoved.saturating_add(1) };
        // One peer may claim anything; of f + 1 that claim as much, one is right.
        let mut claims: Vec<Slot> = self.peers.values().map(|progress| progress.stable).collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        let credible = claims.get(self.config.committee.f()).is_some_and(|claim| *claim > stable);
        self.ticks_behind = match credible && !moved {
            true => self.ticks_behind.saturating_add(1),
            false => 0,
        };
        if !moved {
            self.repeat_awaited(out);
        }
        if !moved && self.votes {
            // Somebody may have missed these: without them the last slots never become stable.
            for cosign in self.certifier.repeat() {
                out.push(Effect::Send { to: To::All, message: Message::Cosign(cosign) });
            }
        }
        if !moved || !self.votes {
            self.ask_for_certificate(out);
        }
        self.rejoin(at, out);
    }

    /// Asks those that claim to be ahead, one after the other. While a transfer runs, those alone
    /// whose certificate is of a state that this replica holds: the transfer's own may be of one
    /// that nobody holds any more, and the engine waits for less.
    fn ask_for_certificate(&self, out: &mut Effects<P>) {
        let (executed, stable) = (self.executed(), self.certifier.stable_slot());
        let most = if self.syncer.is_running() { executed } else { Slot(u64::MAX) };
        let useful = |progress: &Progress| progress.stable > stable && progress.stable <= most;
        let ahead = self.peers.iter().filter(|(_, progress)| useful(progress));
        let ahead: Vec<ReplicaId> = ahead.map(|(peer, _)| *peer).collect();
        let turn = usize::try_from(self.ticks_unmoved).unwrap_or(0);
        if let Some(peer) = turn.checked_rem(ahead.len()).and_then(|turn| ahead.get(turn)) {
            let message = Message::Sync(Sync::AskCertificate);
            out.push(Effect::Send { to: To::One(*peer), message });
        }
    }

    /// A peer says how far it is.
    pub(crate) fn progressed(&mut self, from: ReplicaId, progress: Progress) {
        self.peers.insert(from, progress);
    }

    /// Takes a certificate that came from elsewhere: adopts it, or goes to where it is. `Some` if
    /// it is news to the engine.
    pub(crate) fn believe(
        &mut self,
        certificate: Arc<StableCertificate>,
        far: bool,
        out: &mut Effects<P>,
    ) -> Option<Stable> {
        let holds = seeded(Bug::CertificateUnchecked)
            || verify_stable(self.verifier.policy(), &self.verifier, &certificate).is_ok();
        if certificate.slot() <= self.certifier.stable_slot() || !holds {
            return None;
        }
        if certificate.slot() <= self.executed() {
            let adopted = self.certifier.adopt(&self.verifier, certificate);
            return self.stabilised(adopted, out);
        }
        // Only what begins a transfer asks: who is told again and again that he lags would else
        // wait anew each time, and never turn to the next peer.
        if far && self.syncer.begin(certificate, self.recorder.frontier()) {
            self.ask(out);
        }
        None
    }

    // --- state transfer ------------------------------------------------------------------------

    /// Puts the transfer's next question, and sees to it that it is answered in time.
    pub(crate) fn ask(&mut self, out: &mut Effects<P>) {
        let question = self.syncer.question();
        let after = question.as_ref().map(|_| self.config.limits.sync_patience);
        out.push(Effect::Timer { timer: Timer::Sync, after });
        if let Some((peer, question)) = question {
            out.push(Effect::Send { to: To::One(peer), message: Message::Sync(question) });
        }
    }

    /// One message of state transfer.
    pub(crate) fn sync(
        &mut self,
        at: Moment,
        from: ReplicaId,
        message: Sync,
        out: &mut Effects<P>,
    ) {
        let step = match message {
            Sync::Certificate(certificate) => {
                let far = self.ticks_unmoved > 0 || !self.votes;
                if let Some(stable) = self.believe(certificate, far, out) {
                    self.drive(at, protocol::Input::Stable(stable), out);
                }
                return;
            }
            Sync::Page(page) if page.items.len() <= PAGE_ITEMS_MAX => self.syncer.page(from, page),
            Sync::Page(_) => Step::Idle,
            Sync::Manifest(manifest) => {
                let own = self.recorder.frontier();
                self.syncer.manifest(from, manifest, &self.verifier, own)
            }
            Sync::NoSnapshot => self.syncer.no_snapshot(from),
            Sync::State { slot, map, from: cursor, page } => {
                self.syncer.state(from, Piece { slot, map, from: cursor, page: *page })
            }
            Sync::AskCertificate
            | Sync::AskPage { .. }
            | Sync::AskManifest
            | Sync::AskState { .. } => {
                if self.serves(from) {
                    self.serve(from, &message, out);
                }
                return;
            }
        };
        self.take(at, step, out);
    }

    /// Whether a peer's question is answered: one of so many between two ticks.
    pub(crate) fn serves(&mut self, peer: ReplicaId) -> bool {
        let served = self.served.entry(peer).or_insert(0);
        *served = served.saturating_add(1);
        *served <= SERVED_MAX
    }

    /// Answers a peer that lags.
    fn serve(&self, to: ReplicaId, question: &Sync, out: &mut Effects<P>) {
        let answer = match *question {
            Sync::AskCertificate => self.certifier.stable().cloned().map(Sync::Certificate),
            Sync::AskPage { from, size } => {
                let own = self.recorder.frontier().size();
                if from.0 < size && size <= own && !self.syncer.replaces_state() {
                    out.push(Effect::SendPage { to, from, size });
                }
                None
            }
            Sync::AskManifest => Some(self.snapshots.back().map_or(Sync::NoSnapshot, |newest| {
                let certificate = newest.certificate.clone();
                Sync::Manifest(crate::message::Manifest { certificate })
            })),
            Sync::AskState { slot, map, from } => self
                .snapshots
                .iter()
                .find(|snapshot| snapshot.slot() == slot)
                .and_then(|snapshot| snapshot.map(map).page(from, PAGE_BYTES_MAX))
                .map(|page| Sync::State { slot, map, from, page: Box::new(page) }),
            Sync::Certificate(_)
            | Sync::Page(_)
            | Sync::Manifest(_)
            | Sync::State { .. }
            | Sync::NoSnapshot => None,
        };
        if let Some(answer) = answer {
            out.push(Effect::Send { to: To::One(to), message: Message::Sync(answer) });
        }
    }

    /// Carries out what an answer moved.
    fn take(&mut self, at: Moment, step: Step, out: &mut Effects<P>) {
        match step {
            Step::Idle => return,
            Step::Ask => {}
            Step::Repeat(from, slots) => self.repeat(at, from, slots, out),
            Step::Store(from, slots) => self.store(from, slots, out),
            Step::Install(snapshot) => self.install(at, *snapshot, out),
            Step::Lied { peer, what } => {
                let charge = if what == "page" { "wrong-page" } else { "wrong-state" };
                out.push(Effect::Accuse(lie(peer, charge)));
            }
            Step::OwnLogWrong => {
                let reason = "own log corrupt: the certified log holds other entries".to_owned();
                self.halt(reason, out);
                return;
            }
        }
        self.go_on(at, out);
    }

    /// Asks for what comes next. If there is nobody left who could answer, for another target.
    pub(crate) fn go_on(&mut self, at: Moment, out: &mut Effects<P>) {
        if self.syncer.is_hopeless() {
            self.give_up_transfer(at, out);
            self.ask_for_certificate(out);
        }
        self.ask(out);
    }

    /// Executes fetched slots again. What is stored is what this replica executed itself; that it
    /// is the same as the certified entries is what [`Execution::repeat`] checks.
    ///
    /// A page proves its entries, not the exchanges behind them: a liar's lead elsewhere, and
    /// then this state goes back to where it was, and another peer is asked.
    fn repeat(
        &mut self,
        at: Moment,
        from: ReplicaId,
        slots: Vec<Vec<LogItem>>,
        out: &mut Effects<P>,
    ) {
        let Some(execution) = self.execution.as_mut() else { return };
        let before = execution.checkpoint();
        let mut results = Vec::new();
        for slot in slots {
            let next = execution.record().next_index;
            let first = slot.first().and_then(|item| quorate_proof::Entry::parse(&item.entry).ok());
            if first.is_none_or(|entry| entry.index != next) {
                // The engine committed this slot meanwhile.
                continue;
            }
            match execution.repeat(&slot) {
                Ok(executed) => results.push(executed),
                Err(diverged) => {
                    execution.roll_back(before);
                    self.diverged(from, &diverged, out);
                    return;
                }
            }
        }
        for executed in results {
            for fresh in &executed.fresh {
                if let quorate_proof::EntryKind::Rejoin(replica) = fresh.kind {
                    self.offers.remove(&replica);
                }
            }
            let recorded = self.recorder.record(executed);
            let tickets = self.release(&recorded);
            let waited = tickets.into_iter().map(|(ticket, index, _)| (ticket, index));
            self.remember(waited);
            let (from, items) = (recorded.from, recorded.items.clone());
            out.push(Effect::Append { from, items });
        }
        self.mark_ordered();
        if self.syncer.is_fetched()
            && let Some(target) = self.syncer.target().cloned()
        {
            self.arrive(at, target, out);
        }
    }

    /// Keeps who waits for entries that came by transfer. Those for whom there is no room get no
    /// answer from here, as if it had been lost.
    fn remember(&mut self, waited: impl Iterator<Item = (Ticket, Index)>) {
        let room = self.config.limits.waiting_max.saturating_sub(self.transferred.len());
        self.transferred.extend(waited.take(room));
    }

    /// Stores slots whose entries are proven without executing them, once all that stands behind
    /// the entries is known to be what was executed. What is stored may be served to others, and
    /// executed after a restart.
    fn store(&mut self, peer: ReplicaId, slots: Vec<Vec<LogItem>>, out: &mut Effects<P>) {
        let Some(execution) = &self.execution else { return };
        let rules = Rules::from(&self.config);
        let mut opened = self.syncer.opened();
        for slot in &slots {
            let before = opened.map_or(execution.signatures(), |opened| opened.signatures);
            let holds = slot.iter().all(|item| rules.exchange_holds(item));
            opened = if holds { signatures::open(slot, before) } else { None };
            if opened.is_none() {
                out.push(Effect::Accuse(lie(peer, "wrong-page")));
                self.syncer.rewind(self.recorder.frontier());
                return;
            }
        }
        let items = slots.concat();
        if let (Some(opened), false) = (opened, items.is_empty()) {
            self.before_store.get_or_insert_with(|| self.recorder.frontier().clone());
            let from = Index(self.recorder.frontier().size());
            self.extend_frontier(&items);
            out.push(Effect::Append { from, items: Arc::new(items) });
            self.syncer.stored(opened);
        }
    }

    /// What a peer sent under certified entries leads elsewhere: it lied. Where f + 1 peers seem
    /// to, it is this replica that cannot execute what the others did (P8).
    fn diverged(&mut self, from: ReplicaId, diverged: &Diverged, out: &mut Effects<P>) {
        out.push(Effect::Accuse(lie(from, "wrong-page")));
        if self.syncer.blame(from) {
            self.halt(format!("the certified log cannot be executed: {diverged}"), out);
        } else {
            self.syncer.rewind(self.recorder.frontier());
        }
    }

    /// Nobody leads on from what was stored without being executed: the log goes back to what was,
    /// and the transfer begins anew when this replica still lags.
    fn give_up_transfer(&mut self, at: Moment, out: &mut Effects<P>) {
        self.syncer.finish();
        if let Some(frontier) = self.before_store.take() {
            out.push(Effect::Truncate { size: frontier.size() });
            self.recorder = Recorder::new(frontier);
        }
        if let Some(stable) = self.execute_decided(out) {
            self.drive(at, protocol::Input::Stable(stable), out);
        }
    }

    fn install(&mut self, at: Moment, snapshot: Snapshot, out: &mut Effects<P>) {
        if let Err(reason) = self.replace_state(&snapshot) {
            self.halt(format!("a transferred state is wrong: {reason}"), out);
            return;
        }
        let (snapshot, target) = (Arc::new(snapshot.clone()), snapshot.certificate);
        self.keep(snapshot.clone());
        self.before_store = None;
        out.push(Effect::Snapshot(snapshot));
        self.arrive(at, target, out);
    }

    /// The transfer's target is reached: its head is stable here too.
    fn arrive(&mut self, at: Moment, target: Arc<StableCertificate>, out: &mut Effects<P>) {
        let reached = self.execution.as_ref().map(|execution| *execution.record());
        if reached.is_none_or(|record| record.slot < target.slot()) {
            // What was fetched was not executed; the next tick begins anew.
            return self.give_up_transfer(at, out);
        }
        self.syncer.finish();
        // What this replica proposed, if it leads, may lie in what came: it hears no more of it.
        self.batcher.forget_proposed();
        self.mark_ordered();
        if reached.is_some_and(|record| record.slot == target.slot() && record != target.record) {
            let OwnHeadWrong(slot) = OwnHeadWrong(target.slot());
            self.halt(format!("slot {slot}: the certified log leads to another state"), out);
            return;
        }
        if target.slot() > self.certifier.stable_slot() {
            let waited = self.certifier.restart(Some(target.clone()));
            self.copies.forget(target.slot());
            self.transferred.extend(waited);
            out.push(Effect::Certify(target.clone()));
            self.drive(at, protocol::Input::Installed(Stable::certified(target)), out);
        }
        let replay = self.execution.as_ref().map(|execution| execution.replay());
        // What the engine committed meanwhile may lie above the certified head: that is for later.
        let proven = |index: &Index| self.certifier.covers(*index);
        let answered =
            self.batcher.take_answered(|request| replay?.answered(request).filter(proven));
        self.transferred.extend(answered);
        for (ticket, index) in std::mem::take(&mut self.transferred) {
            out.push(Effect::Reply { ticket, reply: Reply::Earlier(index) });
        }
        self.refuse_overdue(out);
        self.ticks_behind = 0;
        if let Some(stable) = self.execute_decided(out) {
            self.drive(at, protocol::Input::Stable(stable), out);
        }
        self.rejoin(at, out);
    }

    // --- a lost disk ---------------------------------------------------------------------------

    /// Takes a report on where this replica may have voted.
    pub(crate) fn reported(&mut self, nonce: &Digest, report: RejoinReport, out: &mut Effects<P>) {
        if let Some(rejoining) = &mut self.rejoining {
            rejoining.add(&self.config, &self.verifier, nonce, report);
            if let Some(rejoin) = rejoining.offer().cloned() {
                out.push(Effect::Send { to: To::All, message: Message::RejoinOffer(rejoin) });
            }
        }
    }

    /// Moves a rejoin on: asks, offers, or ends it.
    fn rejoin(&mut self, at: Moment, out: &mut Effects<P>) {
        let Some(rejoining) = &self.rejoining else { return };
        let Some(rejoin) = rejoining.offer().cloned() else {
            let message = Message::RejoinAsk { nonce: rejoining.nonce };
            out.push(Effect::Send { to: To::All, message });
            return;
        };
        let bound = rejoin::bound(&rejoin, self.config.window);
        if self.certifier.stable_slot() < bound && !seeded(Bug::RejoinWithoutBound) {
            out.push(Effect::Send { to: To::All, message: Message::RejoinOffer(rejoin) });
            return;
        }
        self.rejoining = None;
        let mut begun = Vec::new();
        self.begin_to_vote(at, Vec::new(), &mut begun);
        let to = rejoin::view(&rejoin, self.config.committee);
        self.drive(at, protocol::Input::Change { to }, &mut begun);
        // From the first vote on it must be known which views are closed to this replica.
        let is_record = |effect: &Effect<P>| matches!(effect, Effect::Persist { .. });
        let (records, others): (Vec<_>, Vec<_>) = begun.into_iter().partition(is_record);
        out.extend(records);
        out.push(Effect::Rejoined);
        out.extend(others);
    }

    /// Tells a replica that lost its disk how far this one is. Who asks with one nonce after the
    /// other is answered now and then only: each rejoin costs a change of view.
    pub(crate) fn report(
        &mut self,
        at: Moment,
        via: ReplicaId,
        nonce: Digest,
        out: &mut Effects<P>,
    ) {
        let pause = self.config.limits.rejoin_pause;
        let (known, since) = *self.reported.entry(via).or_insert((nonce, at.now));
        if known != nonce {
            if at.now.since(since) < pause {
                return;
            }
            self.reported.insert(via, (nonce, at.now));
        }
        let place = (self.executed(), self.view);
        let stable = self.certifier.stable().cloned();
        let report = rejoin::report(&self.config, &self.signer, &nonce, via, place, stable);
        let report = Box::new(report);
        let message = Message::RejoinReport { nonce, report };
        out.push(Effect::Send { to: To::One(via), message });
    }
}

/// A lie told over an authenticated link: known to this replica, proof to nobody else.
fn lie(replica: ReplicaId, charge: &'static str) -> Accusation {
    Accusation { replica, charge, evidence: Vec::new() }
}
