//! `Ordered -> answered`: the copies of a service that runs outside, and what they agree on.
//!
//! A slot's calls go to every replica's own copy. Each replica then reports, signed and durable,
//! the digests of its answers. Where all n report alike, that is it; else the primary has the
//! reports of a quorum ordered as an [`Outcome`], and everybody computes from them what each answer
//! is ([`crate::outcome`]). A replica records what was agreed on, also where its own copy said
//! otherwise; a body that it lacks it fetches by its digest from who reported it.
//!
//! One slot is with the copies at a time. Those behind it wait among the decided ones, and must
//! leave room for the outcome that the first of them needs: without it nothing is executed, and the
//! window never moves. So the window above the stable slot has three parts, and backups hold back
//! their votes for what has no place in its part until the window moves:
//!
//! | slots | what they take |
//! |---|---|
//! | the lower half | anything |
//! | those above | outcomes alone, and each slot once all before it are decided |
//! | the last quarter of all | of these, what settles an uncertified slot for the first time |
//!
//! What a view change proposes again is exempt: a quorum gave it its place. The second row leaves
//! it no gap to fill in the upper half; the third keeps outcomes that nobody needs (who has all n
//! reports may have executed the slot already) from taking the last slot. As the slot that awaits
//! an outcome is the first of the window, one free slot is always enough.

use crate::{
    answers,
    execute::Rules,
    message::Message,
    order::Ordered,
    outcome::{self, Agreed},
    port::{Effect, Heard, Record, Timer},
    replica::{Effects, Moment, Replica},
};
use quorate_protocol::{self as protocol, Protocol, To, Verdict};
use quorate_types::{
    Batch, Call, Committee, Digest, Held, Item, Outcome, ReplicaId, Report, Response, Slot, Tally,
    Time, View,
    bug::{Bug, seeded},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long the primary, with the reports of a quorum, waits for the others: all of them alike
/// spare an ordered outcome. It does not wait for who gave none about the slot before.
const GRACE: Duration = Duration::from_millis(40);

/// How many windows above the stable slot reports are kept.
const KEPT_WINDOWS: u64 = 2;

/// How many slots below the stable one agreed answers are kept: who is a moment behind the quorum,
/// and whose copy gave another answer, asks for them when a slot is certified already, and would
/// have to wait for state transfer else.
const KEPT_BELOW: u64 = 16;

/// What this replica knows about the copies.
#[derive(Debug)]
pub(crate) struct Copies {
    committee: Committee,
    window: u64,
    calls_max: usize,
    /// The slot whose calls execution waits for.
    awaiting: Option<Awaiting>,
    /// The highest slot whose calls the own copy was given.
    called: Slot,
    /// Reports and answers, by slot, above the stable one and a little below it.
    known: BTreeMap<Slot, Known>,
    /// Ordered outcomes, by the slot that they are about; of several the first.
    ordered: BTreeMap<Slot, Outcome>,
    /// Who gave no report about the last slot in time.
    absent: BTreeSet<ReplicaId>,
    /// Who signed two reports about one slot.
    accused: BTreeSet<ReplicaId>,
    /// The slots in which outcomes are proposed, in which view, and what they are about.
    proposed: BTreeMap<Slot, (View, Slot)>,
    /// The slots in which anything is proposed, in which view.
    judged: BTreeMap<Slot, View>,
    /// Verdicts on proposals in the window's upper half, until it moves.
    held_back: BTreeMap<Slot, HeldBack>,
}

/// A slot that waits for its answers.
#[derive(Debug)]
struct Awaiting {
    slot: Slot,
    calls: Arc<Vec<Call>>,
    /// What became of each call, once that is known.
    agreed: Option<Vec<Agreed>>,
    /// Agreed answers that the own copy did not give.
    fetched: BTreeMap<Digest, Response>,
    /// How often each of them was asked for.
    asked: BTreeMap<Digest, usize>,
    /// Since when an outcome could be ordered.
    owed: Option<Time>,
    /// The view in which this replica proposed one.
    proposed: Option<View>,
}

/// What is known about one slot's answers.
#[derive(Debug, Default)]
struct Known {
    reports: BTreeMap<ReplicaId, Report>,
    /// What the own copy answered, as it was reported.
    own: Option<Vec<Option<Response>>>,
    /// What was agreed on, once it was recorded.
    agreed: Vec<Agreed>,
    /// The agreed answers.
    answers: Vec<Response>,
    /// Whether they were agreed on before this process started.
    settled: bool,
}

#[derive(Debug)]
struct HeldBack {
    view: View,
    digest: Digest,
    verdict: Verdict,
    /// What the proposal settles, if it is nothing but an outcome.
    settles: Option<Slot>,
}

impl Copies {
    pub(crate) fn new(committee: Committee, window: u64, calls_max: usize) -> Self {
        Self {
            committee,
            window,
            calls_max,
            awaiting: None,
            called: Slot(0),
            known: BTreeMap::new(),
            ordered: BTreeMap::new(),
            absent: BTreeSet::new(),
            accused: BTreeSet::new(),
            proposed: BTreeMap::new(),
            judged: BTreeMap::new(),
            held_back: BTreeMap::new(),
        }
    }

    /// Whether execution waits for answers.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.awaiting.is_some()
    }

    /// The slot whose calls execution waits for.
    pub(crate) fn awaited(&self) -> Option<Slot> {
        self.awaiting.as_ref().map(|awaiting| awaiting.slot)
    }

    /// Since when the primary could have ordered an outcome that this replica waits for.
    pub(crate) fn owed_since(&self) -> Option<Time> {
        self.awaiting.as_ref().filter(|it| it.agreed.is_none())?.owed
    }

    /// What is kept here, with its bounds.
    pub(crate) fn held(&self) -> [Held; 8] {
        let n = self.committee.n() as u64;
        let slots = self.window.saturating_mul(KEPT_WINDOWS);
        let reports = self.known.values().map(|known| known.reports.len()).max().unwrap_or(0);
        let fetched = self.awaiting.as_ref().map_or(0, |it| it.fetched.len());
        [
            Held::new("copies.known", self.known.len(), slots.saturating_add(KEPT_BELOW)),
            Held::new("copies.reports-of-a-slot", reports, n),
            Held::new("copies.ordered", self.ordered.len(), slots),
            Held::new("copies.fetched", fetched, self.calls_max as u64),
            Held::new("copies.accused", self.accused.len(), n),
            Held::new("copies.judged", self.judged.len(), slots),
            Held::new("copies.proposed", self.proposed.len(), slots),
            Held::new("copies.held-back", self.held_back.len(), slots),
        ]
    }

    /// Whether a report could still matter: to agreement, to tell whose copy differs, or because
    /// its sender asks for the others.
    fn wants(&self, report: &Report, stable: Slot) -> bool {
        self.is_near(report.slot, stable) && (1..=self.calls_max).contains(&report.answers.len())
    }

    /// Whether anything is kept about a slot.
    fn is_near(&self, slot: Slot, stable: Slot) -> bool {
        slot > stable && slot.0 - stable.0 <= self.window.saturating_mul(KEPT_WINDOWS)
    }

    /// Whether the message could still be of use.
    pub(crate) fn wants_message<M>(&self, message: &Message<M>, stable: Slot) -> bool {
        let awaited = |slot: Slot| self.awaiting.as_ref().is_some_and(|it| it.slot == slot);
        match message {
            Message::Report(report) => self.wants(report, stable),
            Message::Told(reports) => {
                reports.len() <= self.committee.n()
                    && reports.iter().all(|it| awaited(it.slot) && self.wants(it, stable))
            }
            Message::AskAnswer { slot, .. } => self.known.contains_key(slot),
            Message::Answer { slot, .. } => awaited(*slot),
            _ => false,
        }
    }

    /// Forgets what was certified some slots ago: who lacks it now takes it from the log.
    pub(crate) fn forget(&mut self, stable: Slot) {
        // State transfer executed what this replica still awaited.
        self.awaiting.take_if(|awaiting| awaiting.slot <= stable);
        self.known = self.known.split_off(&Slot(stable.0.saturating_sub(KEPT_BELOW)).next());
        self.ordered = self.ordered.split_off(&stable.next());
        self.proposed = self.proposed.split_off(&stable.next());
        self.judged = self.judged.split_off(&stable.next());
        self.held_back = self.held_back.split_off(&stable.next());
    }

    /// Takes back what the write-ahead log holds: own reports, and what was agreed on.
    pub(crate) fn recall<R>(&mut self, record: Record<R>, stable: Slot) {
        match record {
            Record::Report { report, answers } if report.slot > stable => {
                let known = self.known.entry(report.slot).or_default();
                known.reports.insert(report.reporter, report);
                known.own = Some(answers);
            }
            Record::Settled { slot, answers, reports } if slot > stable => {
                let known = self.known.entry(slot).or_default();
                known.reports.extend(reports.into_iter().map(|it| (it.reporter, it)));
                let own = known.own.as_deref().unwrap_or_default();
                let own = |call: usize| own.get(call).cloned().flatten();
                let answers = answers.into_iter().enumerate();
                let all = answers.map(|(call, answer)| answer.or_else(|| own(call)));
                if let Some(answers) = all.collect() {
                    (known.answers, known.settled) = (answers, true);
                }
            }
            Record::Engine(_) | Record::Report { .. } | Record::Settled { .. } => {}
        }
    }

    /// What was agreed about a slot before this process started.
    fn settled(&self, slot: Slot) -> Option<&Vec<Response>> {
        self.known.get(&slot).filter(|known| known.settled).map(|known| &known.answers)
    }

    /// Notes an outcome that was decided in a slot, however far ahead of this replica: the engine
    /// says so once, and a later one for the same slot must not pass for the first.
    pub(crate) fn decided(&mut self, at: Slot, stable: Slot, outcome: &Outcome) {
        if outcome.slot > stable && outcome.slot < at {
            self.ordered.entry(outcome.slot).or_insert_with(|| outcome.clone());
        }
        // Like the decided slots that wait to be executed, of which each holds one at most.
        while self.ordered.len() as u64 > self.window.saturating_mul(KEPT_WINDOWS) {
            self.ordered.pop_first();
        }
    }

    /// The outcome that was ordered for a slot.
    #[cfg(test)]
    pub(crate) fn ordered(&self, slot: Slot) -> Option<&Outcome> {
        self.ordered.get(&slot)
    }

    /// Whether it is known what became of a slot's calls.
    fn is_agreed(&self, slot: Slot) -> bool {
        let awaited = self.awaiting.as_ref().filter(|it| it.slot == slot);
        awaited.is_none_or(|it| it.agreed.is_some())
    }

    /// Sees whether what became of the awaited calls is known by now.
    fn agree(&mut self) {
        let Some(awaiting) = self.awaiting.as_mut().filter(|it| it.agreed.is_none()) else {
            return;
        };
        let calls = awaiting.calls.len();
        let agreed = match self.ordered.get(&awaiting.slot) {
            Some(outcome) => {
                let known = self.known.entry(outcome.slot).or_default();
                for report in &outcome.reports {
                    known.reports.entry(report.reporter).or_insert_with(|| report.clone());
                }
                Some(outcome::results(outcome, self.committee))
            }
            None => self
                .known
                .get(&awaiting.slot)
                .and_then(|known| outcome::unanimous(known.reports.values(), self.committee)),
        };
        awaiting.agreed = agreed.filter(|agreed| agreed.len() == calls);
    }

    /// The answers of the awaited slot, if all are here.
    fn complete(&self, rules: &Rules) -> Option<Vec<Response>> {
        let awaiting = self.awaiting.as_ref()?;
        let known = self.known.get(&awaiting.slot);
        let agreed = awaiting.agreed.as_ref()?.iter().enumerate();
        let own = known.and_then(|known| known.own.as_deref()).unwrap_or_default();
        let kept = |call: usize| own.get(call)?.as_ref().filter(|_| seeded(Bug::OwnAnswerKept));
        // It may be the own answer to another call: what is known by its digest is not fetched.
        let of: BTreeMap<Digest, &Response> =
            own.iter().flatten().map(|it| (answers::digest(it), it)).collect();
        agreed
            .map(|(call, agreed)| match agreed {
                Agreed::Answer(digest) => kept(call)
                    .or_else(|| of.get(digest).copied())
                    .or_else(|| awaiting.fetched.get(digest))
                    .cloned(),
                void => answers::void(rules, *void),
            })
            .collect()
    }

    /// The agreed answers that are not here, with those who reported them.
    fn missing(&self) -> Vec<(Digest, Vec<ReplicaId>)> {
        let Some(awaiting) = &self.awaiting else { return Vec::new() };
        let Some(known) = self.known.get(&awaiting.slot) else { return Vec::new() };
        let agreed = awaiting.agreed.iter().flatten();
        let own: BTreeSet<Digest> =
            known.own.iter().flatten().flatten().map(answers::digest).collect();
        let wanted: BTreeSet<Digest> = agreed
            .filter_map(|agreed| match agreed {
                Agreed::Answer(digest) => Some(*digest),
                Agreed::Disagree | Agreed::Silent => None,
            })
            .filter(|digest| !own.contains(digest) && !awaiting.fetched.contains_key(digest))
            .collect();
        let who = |digest: &Digest| {
            let gave = |report: &&Report| report.answers.contains(&Some(*digest));
            known.reports.values().filter(gave).map(|report| report.reporter).collect()
        };
        wanted.iter().map(|digest| (*digest, who(digest))).collect()
    }

    /// The reports to have ordered: a quorum of fitting ones.
    fn proposal(&self) -> Option<Outcome> {
        let awaiting = self.awaiting.as_ref().filter(|it| it.agreed.is_none())?;
        let fits = |report: &&Report| report.answers.len() == awaiting.calls.len();
        let known = self.known.get(&awaiting.slot)?;
        let reports: Vec<_> = known.reports.values().filter(fits).cloned().collect();
        let mut reporters = Tally::new(self.committee);
        reporters.extend(reports.iter().map(|report| report.reporter));
        reporters.is_quorum().then_some(Outcome { slot: awaiting.slot, reports })
    }

    /// Whether everybody from whom a report may be expected soon has given one.
    fn all_reported(&self, unreachable: &BTreeSet<ReplicaId>) -> bool {
        let Some(awaiting) = &self.awaiting else { return false };
        let Some(known) = self.known.get(&awaiting.slot) else { return false };
        self.committee.replicas().all(|replica| {
            known.reports.contains_key(&replica)
                || self.absent.contains(&replica)
                || unreachable.contains(&replica)
        })
    }
}

impl Known {
    /// How a reporter's copy stands to what was agreed on.
    fn heard(&self, report: &Report) -> Heard {
        let pairs = || self.agreed.iter().zip(&report.answers);
        let differs = |(agreed, answer): (&Agreed, &Option<Digest>)| match (agreed, answer) {
            (Agreed::Answer(agreed), Some(answer)) => agreed != answer,
            _ => false,
        };
        let silent = |(agreed, answer): (&Agreed, &Option<Digest>)| {
            *agreed != Agreed::Silent && answer.is_none()
        };
        if report.answers.len() != self.agreed.len() || pairs().any(differs) {
            Heard::Differs
        } else if pairs().any(silent) {
            Heard::Silent
        } else {
            Heard::Agrees
        }
    }
}

impl<P: Protocol<Command = Batch>> Replica<P> {
    /// The answers to a decided slot's calls: none where it has none, nothing while they are not
    /// agreed on and here.
    pub(crate) fn agreed_answers(
        &mut self,
        slot: Slot,
        batch: Option<&Arc<Batch>>,
        out: &mut Effects<P>,
    ) -> Option<Vec<Response>> {
        if !self.config.copies {
            return Some(Vec::new());
        }
        if let Some(answers) = self.copies.settled(slot) {
            return Some(answers.clone());
        }
        if self.copies.awaiting.as_ref().is_none_or(|it| it.slot != slot) {
            let ordered = Ordered::new(slot, batch.cloned());
            let calls = self.execution.as_mut()?.calls(&ordered);
            if calls.is_empty() {
                self.copies.awaiting = None;
                return Some(Vec::new());
            }
            self.call(slot, Arc::new(calls), out);
        }
        self.copies.agree();
        let rules = Rules::from(&self.config);
        let Some(answers) = self.copies.complete(&rules) else {
            self.ask_for_answers(false, out);
            return None;
        };
        self.adopt(slot, answers.clone(), out);
        Some(answers)
    }

    /// Gives a slot's calls to the own copy, unless it had them: then its report goes out again.
    fn call(&mut self, slot: Slot, calls: Arc<Vec<Call>>, out: &mut Effects<P>) {
        self.copies.awaiting = Some(Awaiting {
            slot,
            calls: calls.clone(),
            agreed: None,
            fetched: BTreeMap::new(),
            asked: BTreeMap::new(),
            owed: None,
            proposed: None,
        });
        let reported = self.copies.known.get(&slot).is_some_and(|known| known.own.is_some());
        if reported {
            self.repeat_report(slot, out);
        } else if slot > self.copies.called {
            self.copies.called = slot;
            out.push(Effect::Call { slot, calls });
        }
    }

    /// What the own copy answered: reported to all, durably.
    pub(crate) fn answered(
        &mut self,
        slot: Slot,
        answers: Vec<Option<Response>>,
        out: &mut Effects<P>,
    ) {
        let me = self.config.me;
        let Some(awaiting) = self.copies.awaiting.as_ref().filter(|it| it.slot == slot) else {
            return;
        };
        let answers = answers::admitted(&Rules::from(&self.config), &awaiting.calls, answers);
        let known = self.copies.known.entry(slot).or_default();
        // Without a vote log nothing binds this replica to what it says.
        if known.own.is_some() || !self.votes {
            return;
        }
        known.own = Some(answers.clone());
        let digests = answers.iter().map(|it| it.as_ref().map(answers::digest)).collect();
        let report = outcome::report(&self.config.domain, &self.signer, me, slot, digests);
        known.reports.insert(me, report.clone());
        if !seeded(Bug::ReportNotKept) {
            let record = Record::Report { report: report.clone(), answers };
            out.push(Effect::Persist { slot: Some(slot), record });
        }
        out.push(Effect::Send { to: To::All, message: Message::Report(report) });
    }

    /// Reports reached this replica.
    pub(crate) fn take_report(&mut self, via: ReplicaId, report: Report, out: &mut Effects<P>) {
        let (reporter, slot) = (report.reporter, report.slot);
        self.copies.absent.remove(&reporter);
        let known = self.copies.known.entry(slot).or_default();
        match known.reports.get(&reporter) {
            Some(first) if first.answers != report.answers => {
                if self.copies.accused.insert(reporter) {
                    out.push(Effect::Accuse(outcome::charge(first, &report)));
                }
            }
            Some(_) => {}
            None => {
                if !known.agreed.is_empty() {
                    let heard = known.heard(&report);
                    out.push(Effect::Heard { slot, replica: reporter, heard });
                }
                known.reports.insert(reporter, report);
            }
        }
        // Who repeats a report that is of no use here any more lacks others'.
        if via == reporter && slot <= self.executed() && self.serves(via) {
            let known = self.copies.known.get(&slot);
            let told: Vec<_> = known.iter().flat_map(|it| it.reports.values()).cloned().collect();
            out.push(Effect::Send { to: To::One(via), message: Message::Told(told) });
        }
    }

    /// A peer told what it knows of the reports about the awaited slot.
    pub(crate) fn take_told(&mut self, told: Vec<Report>, out: &mut Effects<P>) {
        let whole = outcome::unanimous(told.iter(), self.copies.committee).is_some();
        for report in told {
            let (reporter, slot) = (report.reporter, report.slot);
            // Who told them has them already: to its own no answer is due.
            self.take_report(self.config.me, report.clone(), out);
            // A liar may have reported otherwise to this replica. Equal reports of all settle the
            // slot all the same, and whoever holds them waits for no outcome.
            if whole && !self.copies.is_agreed(slot) {
                self.copies.known.entry(slot).or_default().reports.insert(reporter, report);
            }
        }
    }

    /// A peer asks for an answer that it lacks.
    pub(crate) fn serve_answer(
        &mut self,
        to: ReplicaId,
        slot: Slot,
        digest: Digest,
        out: &mut Effects<P>,
    ) {
        if !self.serves(to) {
            return;
        }
        let Some(known) = self.copies.known.get(&slot) else { return };
        let own = known.own.iter().flatten().flatten();
        let mut all = own.chain(&known.answers);
        if let Some(response) = all.find(|it| answers::digest(it) == digest) {
            let message = Message::Answer { slot, response: Box::new(response.clone()) };
            out.push(Effect::Send { to: To::One(to), message });
        }
    }

    /// An answer that was asked for, if it is the one that was agreed on.
    pub(crate) fn take_answer(&mut self, response: Response) {
        let digest = answers::digest(&response);
        let Some(awaiting) = &mut self.copies.awaiting else { return };
        let agreed = Agreed::Answer(digest);
        let wanted = awaiting.agreed.iter().flatten().any(|it| *it == agreed);
        if wanted || seeded(Bug::AnswerUnchecked) {
            let wrong = awaiting.agreed.iter().flatten().find_map(|it| match it {
                Agreed::Answer(digest) if !wanted => Some(*digest),
                _ => None,
            });
            awaiting.fetched.insert(wrong.unwrap_or(digest), response);
        }
    }

    /// Asks for the agreed answers that are not here: once, and at each tick elsewhere.
    pub(crate) fn ask_for_answers(&mut self, again: bool, out: &mut Effects<P>) {
        let (me, missing) = (self.config.me, self.copies.missing());
        let Some(awaiting) = &mut self.copies.awaiting else { return };
        let slot = awaiting.slot;
        for (digest, mut who) in missing {
            who.retain(|replica| *replica != me);
            let asked = awaiting.asked.entry(digest).or_insert(0);
            if *asked > 0 && !again {
                continue;
            }
            let turn = asked.checked_rem(who.len()).and_then(|turn| who.get(turn));
            *asked = asked.saturating_add(1);
            if let Some(to) = turn {
                let message = Message::AskAnswer { slot, digest };
                out.push(Effect::Send { to: To::One(*to), message });
            }
        }
    }

    /// Says again what others may have missed, as long as it holds this replica up.
    pub(crate) fn repeat_awaited(&mut self, out: &mut Effects<P>) {
        if let Some(slot) = self.copies.awaiting.as_ref().map(|it| it.slot) {
            self.repeat_report(slot, out);
            self.ask_for_answers(true, out);
        }
    }

    fn repeat_report(&self, slot: Slot, out: &mut Effects<P>) {
        let known = self.copies.known.get(&slot);
        let own = known.and_then(|known| known.reports.get(&self.config.me));
        if let Some(report) = own.filter(|_| self.votes) {
            out.push(Effect::Send { to: To::All, message: Message::Report(report.clone()) });
        }
    }

    /// Everything of a slot is here: it can be recorded.
    fn adopt(&mut self, slot: Slot, answers: Vec<Response>, out: &mut Effects<P>) {
        let Some(awaiting) = self.copies.awaiting.take() else { return };
        let agreed = awaiting.agreed.unwrap_or_default();
        let known = self.copies.known.entry(slot).or_default();
        (known.agreed, known.answers) = (agreed, answers);
        let reporters = || known.reports.keys().copied();
        self.copies.absent =
            self.copies.committee.replicas().filter(|it| !reporters().any(|r| r == *it)).collect();
        for report in known.reports.values() {
            let heard = known.heard(report);
            out.push(Effect::Heard { slot, replica: report.reporter, heard });
        }
        let own = known.own.as_deref().unwrap_or_default();
        let others = known.answers.iter().enumerate().map(|(call, answer)| {
            let given = own.get(call).and_then(Option::as_ref) == Some(answer);
            (!given).then(|| answer.clone())
        });
        let (about, answers) = (Some(slot), others.collect());
        if !self.votes {
            // Nothing is written before the rejoin that nobody may mistake for a vote log.
        } else if self.copies.ordered.contains_key(&slot) {
            let record = Record::Settled { slot, answers, reports: Vec::new() };
            out.push(Effect::Note { slot: about, record });
        } else {
            // Later slots build on it, and their outcomes may leave no room for one of this slot.
            // So it is durable, with what proves it to others, before anybody hears of it.
            let reports = known.reports.values().cloned().collect();
            let record = Record::Settled { slot, answers, reports };
            out.push(Effect::Persist { slot: about, record });
        }
        let kept = |(call, agreed): (usize, &Agreed)| {
            let own = own.get(call).and_then(Option::as_ref);
            match agreed {
                Agreed::Answer(digest) => own.is_some_and(|own| answers::digest(own) == *digest),
                Agreed::Disagree => own.is_some(),
                Agreed::Silent => own.is_none(),
            }
        };
        let kept_up = known.agreed.iter().enumerate().map(kept).collect();
        out.push(Effect::Agreed { slot, kept_up });
    }

    /// At the end of every input: whether an outcome is owed, and by whom.
    pub(crate) fn mind_copies(&mut self, at: Moment, out: &mut Effects<P>) {
        if !self.config.copies {
            return;
        }
        self.execute_answered(at, out);
        self.release_held_back(at, out);
        let Some(outcome) = self.copies.proposal() else { return };
        let all = self.copies.all_reported(&self.unreachable);
        let (leads, view) = (self.leads(), self.view);
        let Some(awaiting) = &mut self.copies.awaiting else { return };
        let new = awaiting.owed.is_none();
        let owed = *awaiting.owed.get_or_insert(at.now);
        let slot = awaiting.slot;
        let under_way = || self.copies.proposed.values().any(|proposed| *proposed == (view, slot));
        if !leads || awaiting.proposed == Some(view) || under_way() || seeded(Bug::OutcomeWithheld)
        {
            return;
        }
        if all || at.now.since(owed) >= GRACE {
            awaiting.proposed = Some(view);
            self.batcher.enqueue_outcome(outcome);
            self.propose(at, out);
        } else if new {
            out.push(Effect::Timer { timer: Timer::Reports, after: Some(GRACE) });
        }
    }

    /// Executes what waited for answers, if they came.
    fn execute_answered(&mut self, at: Moment, out: &mut Effects<P>) {
        let before = self.executed();
        if self.copies.is_awaiting()
            && let Some(stable) = self.execute_decided(out)
        {
            self.drive(at, protocol::Input::Stable(stable), out);
        }
        if self.executed() > before {
            self.propose(at, out);
        }
    }

    /// Keeps back the verdict on a proposal that has no place where it stands. `true` if it may go.
    pub(crate) fn may_judge(
        &mut self,
        (slot, view, digest): (Slot, View, Digest),
        proposal: Option<&Batch>,
        fresh: bool,
        verdict: Verdict,
    ) -> bool {
        let stable = self.certifier.stable_slot();
        if !self.config.copies || !self.copies.is_near(slot, stable) {
            return true;
        }
        self.copies.judged.insert(slot, view);
        let items = proposal.map_or(&[][..], |batch| &batch.items);
        let outcome = items.iter().find_map(|item| match item {
            Item::Outcome(outcome) => Some(outcome.slot),
            Item::Request(_) | Item::Rejoin(_) => None,
        });
        match outcome {
            Some(about) => _ = self.copies.proposed.insert(slot, (view, about)),
            None => _ = self.copies.proposed.remove(&slot),
        }
        let settles = outcome.filter(|_| items.len() == 1);
        if !fresh || self.has_place(slot, settles) {
            self.copies.held_back.remove(&slot);
            return true;
        }
        self.copies.held_back.insert(slot, HeldBack { view, digest, verdict, settles });
        false
    }

    /// Whether a slot of the window takes a proposal that settles nothing but this.
    fn has_place(&self, slot: Slot, settles: Option<Slot>) -> bool {
        if slot <= self.last_for_all() {
            return true;
        }
        let Some(about) = settles else { return false };
        let before = self.executed().next().0..slot.0;
        let follows = before.map(Slot).all(|slot| self.decided.contains_key(&slot));
        let (stable, window) = (self.certifier.stable_slot(), self.config.window);
        let last = slot.0 > stable.0.saturating_add(window - (window / 4).max(1));
        let first = about > stable && !self.copies.ordered.contains_key(&about);
        follows && (!last || first)
    }

    /// The last slot that takes anything: above it there is room for outcomes alone.
    pub(crate) fn last_for_all(&self) -> Slot {
        let stable = self.certifier.stable_slot();
        let half = if self.config.copies { self.config.window / 2 } else { u64::MAX };
        Slot(stable.0.saturating_add(half))
    }

    /// Whether the slot that is proposed next takes outcomes alone. The engine may know a later
    /// slot to be stable than this replica has executed: after a loss of power it executes again.
    pub(crate) fn is_crowded(&self) -> bool {
        let of_view = |(slot, view): (&Slot, View)| (view == self.view).then_some(*slot);
        let judged =
            self.copies.judged.iter().rev().find_map(|(slot, view)| of_view((slot, *view)));
        let decided = self.decided.last_key_value().map(|(slot, _)| *slot);
        let last = judged.max(decided).unwrap_or_default().max(self.executed());
        self.config.copies && last.next() > self.last_for_all()
    }

    /// Gives the verdicts for which there is a place by now, and fills further.
    fn release_held_back(&mut self, at: Moment, out: &mut Effects<P>) {
        let fits = |it: &Self| {
            let mut held = it.copies.held_back.iter();
            held.find(|(slot, held)| it.has_place(**slot, held.settles)).map(|(slot, _)| *slot)
        };
        while let Some(slot) = fits(self)
            && let Some(HeldBack { view, digest, verdict, .. }) =
                self.copies.held_back.remove(&slot)
        {
            self.drive(at, protocol::Input::Verdict { slot, view, digest, verdict }, out);
        }
        if self.fill > self.executed()
            && let Some(through) = self.filling()
        {
            self.drive(at, protocol::Input::Fill { through }, out);
        }
    }

    /// Whether requests wait because the copies do, which is not the primary's fault.
    pub(crate) fn is_backlogged(&self) -> bool {
        // What the primary has in the air, of which nobody knows how much; of a small window less.
        let ahead = (self.config.limits.pipeline as u64).min(self.config.window / 4);
        let waiting = self.decided.len() as u64;
        self.copies.is_awaiting() && waiting.saturating_add(ahead) >= self.config.window / 2
    }
}
