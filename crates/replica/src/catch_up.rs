//! How a replica comes up again: from its own disk, from peers, and after a lost disk.

use crate::{
    certify::OwnHeadWrong,
    execute::{Execution, Rules},
    message::{Message, Progress, Sync},
    port::{Effect, Reply, Timer},
    record::Recorder,
    replay::ReplayKey,
    replica::{Effects, Moment, Replica},
    snapshot::Snapshot,
    sync::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Piece, Step, by_slot},
};
use quorate_proof::{Frontier, leaf_hash, verify_stable};
use quorate_protocol::{self as protocol, Accusation, Protocol, Stable, To};
use quorate_types::{
    Batch, Digest, Index, LogItem, RejoinReport, ReplicaId, Slot, StableCertificate,
};
use std::sync::Arc;

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
        {
            let keep = log_size.saturating_sub(last.len() as u64);
            slots.pop();
            out.push(Effect::Truncate { size: keep });
        }
        for slot in slots {
            let execution = self.execution.as_mut().ok_or("no state")?;
            let executed = execution.repeat(&slot).map_err(|e| format!("own log corrupt: {e}"))?;
            let recorded = self.recorder.record(executed);
            size = recorded.head.size;
            if size > certified {
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
                self.certifier.restart(Some(certificate));
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
            let genesis = LogItem { entry: execution.genesis_entry().text(), exchange: None };
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
        let record = snapshot.certificate.record;
        let rules = Rules::from(&self.config);
        self.execution = Some(Execution::restore(service, rules, record, service_map, replay)?);
        self.recorder = Recorder::new(snapshot.frontier.clone());
        Ok(())
    }

    // --- noticing ------------------------------------------------------------------------------

    /// Tells the others how far this replica is, and looks whether it lags.
    pub(crate) fn tick(&mut self, at: Moment, out: &mut Effects<P>) {
        let after = Some(self.config.limits.progress);
        out.push(Effect::Timer { timer: Timer::Progress, after });
        let (executed, stable) = (self.executed(), self.certifier.stable_slot());
        let progress = Message::Progress(Progress { executed, stable });
        out.push(Effect::Send { to: To::All, message: progress });
        let ahead = self.peers.iter().max_by_key(|(_, progress)| progress.stable);
        let ahead = ahead.filter(|(_, progress)| progress.stable > stable).map(|(peer, _)| *peer);
        let moved = (executed, stable) != self.at_last_tick;
        self.at_last_tick = (executed, stable);
        self.ticks_behind = match ahead {
            Some(_) if !moved => self.ticks_behind.saturating_add(1),
            _ => 0,
        };
        if !moved && self.votes {
            // Somebody may have missed these: without them the last slots never become stable.
            for cosign in self.certifier.repeat() {
                out.push(Effect::Send { to: To::All, message: Message::Cosign(cosign) });
            }
        }
        if let Some(peer) = ahead
            && (self.ticks_behind > 0 || !self.votes)
            && !self.syncer.is_running()
        {
            let message = Message::Sync(Sync::AskCertificate);
            out.push(Effect::Send { to: To::One(peer), message });
        }
        self.rejoin(at, out);
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
        if certificate.slot() <= self.certifier.stable_slot()
            || verify_stable(self.verifier.policy(), &self.verifier, &certificate).is_err()
        {
            return None;
        }
        if certificate.slot() <= self.executed() {
            let adopted = self.certifier.adopt(&self.verifier, certificate);
            return self.stabilised(adopted, out);
        }
        if far {
            self.syncer.begin(certificate, self.recorder.frontier());
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
                let far = self.ticks_behind > 0 || !self.votes;
                if let Some(stable) = self.believe(certificate, far, out) {
                    self.drive(at, protocol::Input::Stable(stable), out);
                }
                return;
            }
            Sync::Page(page) if page.items.len() <= PAGE_ITEMS_MAX => self.syncer.page(from, page),
            Sync::Page(_) => Step::Idle,
            Sync::Manifest(manifest) => self.syncer.manifest(from, manifest, &self.verifier),
            Sync::State { slot, map, from: cursor, page } => {
                self.syncer.state(from, Piece { slot, map, from: cursor, page })
            }
            Sync::AskCertificate
            | Sync::AskPage { .. }
            | Sync::AskManifest
            | Sync::AskState { .. } => return self.serve(from, &message, out),
        };
        self.take(at, step, out);
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
            Sync::AskManifest => self.snapshots.back().map(|snapshot| {
                let certificate = snapshot.certificate.clone();
                Sync::Manifest(crate::message::Manifest { certificate })
            }),
            Sync::AskState { slot, map, from } => self
                .snapshots
                .iter()
                .find(|snapshot| snapshot.slot() == slot)
                .and_then(|snapshot| snapshot.map(map).page(from, PAGE_BYTES_MAX))
                .map(|page| Sync::State { slot, map, from, page }),
            Sync::Certificate(_) | Sync::Page(_) | Sync::Manifest(_) | Sync::State { .. } => None,
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
            Step::Repeat(slots) => self.repeat(at, slots, out),
            Step::Store(items) => self.store(items, out),
            Step::Install(snapshot) => self.install(at, *snapshot, out),
            Step::Lied { peer, what } => {
                let charge = if what == "page" { "wrong-page" } else { "wrong-state" };
                let accusation = Accusation { replica: peer, charge, evidence: Vec::new() };
                out.push(Effect::Accuse(accusation));
            }
            Step::OwnLogWrong => {
                let reason = "own log corrupt: the certified log holds other entries".to_owned();
                self.halt(reason, out);
                return;
            }
        }
        self.ask(out);
    }

    /// Executes fetched slots again. What is stored is what this replica executed itself; that it
    /// is the same as the certified entries is what [`Execution::repeat`] checks.
    fn repeat(&mut self, at: Moment, slots: Vec<Vec<LogItem>>, out: &mut Effects<P>) {
        for slot in slots {
            let Some(execution) = self.execution.as_mut() else { return };
            let next = execution.record().next_index;
            let first = slot.first().and_then(|item| quorate_proof::Entry::parse(&item.entry).ok());
            if first.is_none_or(|entry| entry.index != next) {
                // The engine committed this slot meanwhile.
                continue;
            }
            match execution.repeat(&slot) {
                Ok(executed) => {
                    let recorded = self.recorder.record(executed);
                    let tickets = self.release(&recorded, out);
                    let waited = tickets.into_iter().map(|(ticket, index, _)| (ticket, index));
                    self.transferred.extend(waited);
                    let (from, items) = (recorded.from, recorded.items.clone());
                    out.push(Effect::Append { from, items });
                }
                Err(diverged) => {
                    self.halt(format!("the certified log cannot be executed: {diverged}"), out);
                    return;
                }
            }
        }
        if self.syncer.is_fetched()
            && let Some(target) = self.syncer.target().cloned()
        {
            self.arrive(at, target, out);
        }
    }

    /// Stores proven entries whose exchanges are theirs, without executing them.
    fn store(&mut self, items: Vec<LogItem>, out: &mut Effects<P>) {
        let rules = Rules::from(&self.config);
        if !items.iter().all(|item| rules.exchange_holds(item)) {
            // The entries are right and the exchanges are not: the session starts over elsewhere.
            self.syncer.finish();
            return;
        }
        let from = Index(self.recorder.frontier().size());
        self.extend_frontier(&items);
        out.push(Effect::Append { from, items: Arc::new(items) });
        if self.syncer.is_fetched() {
            self.syncer.stored();
        }
    }

    fn install(&mut self, at: Moment, snapshot: Snapshot, out: &mut Effects<P>) {
        if let Err(reason) = self.replace_state(&snapshot) {
            self.halt(format!("a transferred state is wrong: {reason}"), out);
            return;
        }
        let (snapshot, target) = (Arc::new(snapshot.clone()), snapshot.certificate);
        self.keep(snapshot.clone());
        let replay = self.execution.as_ref().map(|execution| execution.replay());
        let answered = self.batcher.take_answered(|request| {
            let seen = replay?.lookup(&ReplayKey::of(request))?;
            (seen.salt == request.salt).then_some(seen.index)
        });
        self.transferred.extend(answered);
        out.push(Effect::Snapshot(snapshot));
        self.arrive(at, target, out);
    }

    /// The transfer's target is reached: its head is stable here too.
    fn arrive(&mut self, at: Moment, target: Arc<StableCertificate>, out: &mut Effects<P>) {
        self.syncer.finish();
        let reached = self.execution.as_ref().map(|execution| *execution.record());
        if reached.is_some_and(|record| record.slot == target.slot() && record != target.record) {
            let OwnHeadWrong(slot) = OwnHeadWrong(target.slot());
            self.halt(format!("slot {slot}: the certified log leads to another state"), out);
            return;
        }
        if target.slot() > self.certifier.stable_slot() {
            self.certifier.restart(Some(target.clone()));
            out.push(Effect::Certify(target.clone()));
            self.drive(at, protocol::Input::Installed(Stable::certified(target)), out);
        }
        for (ticket, index) in std::mem::take(&mut self.transferred) {
            out.push(Effect::Reply { ticket, reply: Reply::Earlier(index) });
        }
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
            if let Some(rejoin) = rejoining.offer(&self.config) {
                out.push(Effect::Send { to: To::All, message: Message::RejoinOffer(rejoin) });
            }
        }
    }

    /// Moves a rejoin on: asks, offers, or ends it.
    fn rejoin(&mut self, at: Moment, out: &mut Effects<P>) {
        let Some(rejoining) = &self.rejoining else { return };
        let Some(bound) = rejoining.bound(&self.config) else {
            let message = Message::RejoinAsk { nonce: rejoining.nonce };
            out.push(Effect::Send { to: To::All, message });
            return;
        };
        if self.certifier.stable_slot() >= bound && bound > Slot(0) {
            self.rejoining = None;
            out.push(Effect::Rejoined);
            self.begin_to_vote(at, Vec::new(), out);
        } else if let Some(rejoin) = rejoining.offer(&self.config) {
            out.push(Effect::Send { to: To::All, message: Message::RejoinOffer(rejoin) });
        }
    }
}
