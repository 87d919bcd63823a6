//! One correct replica: its engine, its disk, and what came of it so far.

use super::{
    super::*,
    Setting,
    said::{self, Book, Known, Number},
};
use crate::{Stable, Verdict};
use std::{
    collections::VecDeque,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What can happen to a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// A client's command reaches the primary.
    Propose,
    /// The replica loses patience and leaves for the next view.
    Change,
    /// It crashes between two inputs, and starts again from its records.
    Restart {
        /// Whether records that no barrier followed were written all the same.
        notes: bool,
    },
    /// A message arrives, and what it proposes is found good.
    Deliver(Number),
    /// The same, but what it proposes is refused.
    Refuse(Number),
    /// The same as `Deliver`, but the replica crashes when it has written so many records, and
    /// starts again.
    Crash(Number, usize),
}

impl Event {
    const BEFORE_MESSAGES: usize = 4;
    const OF_A_MESSAGE: usize = 4;

    /// A place in a table.
    pub(super) fn place(self) -> usize {
        let of = |number: Number| Self::BEFORE_MESSAGES + number as usize * Self::OF_A_MESSAGE;
        match self {
            Self::Propose => 0,
            Self::Change => 1,
            Self::Restart { notes } => 2 + usize::from(notes),
            Self::Deliver(number) => of(number),
            Self::Refuse(number) => of(number) + 1,
            Self::Crash(number, records) => of(number) + 1 + records,
        }
    }

    pub(super) fn tell(self, book: &Book) -> String {
        let name = |number| book.message(number).name.clone();
        match self {
            Self::Propose | Self::Change => format!("{self:?}"),
            Self::Restart { notes: true } => "Restart".to_owned(),
            Self::Restart { notes: false } => "Restart without notes".to_owned(),
            Self::Deliver(number) => name(number),
            Self::Refuse(number) => format!("{}, refused", name(number)),
            Self::Crash(number, records) => {
                format!("{}, crash after {records} records, restart", name(number))
            }
        }
    }
}

/// What no correct replica does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wrong {
    Panics,
    ContradictsItself,
    AccusesTheCorrect,
    CommitsTwoThings,
    LeavesAGap,
    GoesTooFar,
}

/// What was spent of what is bounded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Spent {
    pub(super) restarts: u8,
    pub(super) refusals: u8,
    proposals: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) me: ReplicaId,
    engine: Pbft<Word>,
    records: Vec<Record<Word>>,
    /// How many of them are behind a barrier.
    durable: usize,
    /// What it signed and sent, ever.
    pub(super) said: BTreeSet<Number>,
    /// What of it are proposals of its own.
    pub(super) proposed: BTreeSet<Digest>,
    /// With the view in which it was decided.
    pub(super) committed: BTreeMap<Slot, (View, Digest)>,
    /// It committed a command that a NewView carried into its view.
    pub(super) carried: bool,
    /// It committed something anew after a restart.
    pub(super) came_back: bool,
    pub(super) wrong: Option<Wrong>,
    pub(super) spent: Spent,
}

/// One event as it unfolds.
struct Unfolding<'a> {
    setting: &'a Setting,
    book: &'a mut Book,
    local: Local,
    inputs: VecDeque<Input<Pbft<Word>>>,
    verdict: Verdict,
    /// Crash instead of writing one more.
    records_left: usize,
}

impl Local {
    pub(super) fn new(setting: &Setting, me: ReplicaId, book: &mut Book) -> Self {
        let local = Self {
            me,
            engine: setting.macs.pbft(me),
            records: Vec::new(),
            durable: 0,
            said: BTreeSet::new(),
            proposed: BTreeSet::new(),
            committed: BTreeMap::new(),
            carried: false,
            came_back: false,
            wrong: None,
            spent: Spent::default(),
        };
        local.unfold(setting, book).start()
    }

    fn unfold<'a>(&self, setting: &'a Setting, book: &'a mut Book) -> Unfolding<'a> {
        Unfolding {
            setting,
            book,
            local: self.clone(),
            inputs: VecDeque::new(),
            verdict: Verdict::Accepted,
            records_left: usize::MAX,
        }
    }

    /// What an event makes of it; `None` if it cannot happen.
    pub(super) fn after(&self, event: Event, setting: &Setting, book: &mut Book) -> Option<Self> {
        if self.wrong.is_some() {
            return None;
        }
        #[cfg(feature = "seeded-bugs")]
        let _made = quorate_types::bug::seed(setting.bug);
        match event {
            Event::Propose => self.propose(setting, book),
            Event::Change => {
                let to = self.engine.view().next();
                (to.0 < setting.views).then(|| {
                    let mut unfolding = self.unfold(setting, book);
                    unfolding.inputs.push_back(Input::Change { to });
                    let _ = unfolding.run();
                    unfolding.local
                })
            }
            Event::Restart { notes } => {
                // Where nothing is left to chance there is one way to restart.
                if notes && self.durable == self.records.len() {
                    return None;
                }
                let mut unfolding = self.unfold(setting, book);
                if !notes {
                    unfolding.local.records.truncate(self.durable);
                }
                Some(unfolding.restart())
            }
            Event::Deliver(number) => {
                let mut unfolding = self.hear(number, setting, book)?;
                let _ = unfolding.run();
                Some(unfolding.local)
            }
            Event::Refuse(number) => {
                let mut unfolding = self.hear(number, setting, book)?;
                unfolding.verdict = Verdict::Refused;
                let judged = unfolding.run();
                unfolding.local.spent.refusals += 1;
                judged.ok()?.then_some(unfolding.local)
            }
            Event::Crash(number, records) => {
                let mut unfolding = self.hear(number, setting, book)?;
                unfolding.records_left = records;
                let crash = unfolding.run();
                crash.is_err().then(|| unfolding.restart())
            }
        }
    }

    /// A primary with room takes one command for each slot and view.
    fn propose(&self, setting: &Setting, book: &mut Book) -> Option<Self> {
        if self.engine.room_now() == 0 || u64::from(self.spent.proposals) >= setting.slots {
            return None;
        }
        let mut unfolding = self.unfold(setting, book);
        let command = Word(1 + self.engine.view().0 % 2);
        unfolding.local.spent.proposals += 1;
        unfolding.inputs.push_back(Input::Propose(command));
        let _ = unfolding.run();
        Some(unfolding.local)
    }

    /// A message is handled whether or not it is wanted: it may have been when it was checked.
    fn hear<'a>(
        &self,
        number: Number,
        setting: &'a Setting,
        book: &'a mut Book,
    ) -> Option<Unfolding<'a>> {
        let Known { via, signer, message, .. } = book.message(number).clone();
        let heard = via != self.me
            && signer != self.me
            && self.engine.started
            && (setting.early || !self.is_early(message.get()));
        heard.then(|| {
            let mut unfolding = self.unfold(setting, book);
            unfolding.inputs.push_back(Input::Message { signer, via, message });
            unfolding
        })
    }

    /// Whether the engine would only keep the message until its view opens.
    fn is_early(&self, message: &Message<Word>) -> bool {
        let vote = match &message.body {
            Body::PrePrepare(proposal) => &proposal.vote,
            Body::Prepare(vote) | Body::Commit(vote) => vote,
            _ => return false,
        };
        self.engine.is_ahead(vote.header.view)
    }

    /// What others can notice, or what was spent: a step that changes it cannot be put off.
    pub(super) fn face(&self, book: &Book) -> String {
        let slots = self.engine.slots.iter();
        let decided = slots.filter_map(|(slot, state)| Some((*slot, state.decided_digest()?)));
        // Names, because numbers are not the same in another check.
        let said: BTreeSet<&str> =
            self.said.iter().map(|number| book.message(*number).name.as_str()).collect();
        let stands = (self.me, self.engine.view, self.engine.active, decided.collect::<Vec<_>>());
        let came_of = (&self.committed, self.wrong, self.spent, self.carried, self.came_back);
        format!("{said:?} {stands:?} {came_of:?}")
    }

    /// Everything that can make a difference to what it does from here on. Left out are clocks and
    /// what follows from them (no timer fires and no Status arrives), and what nothing reads:
    /// who signed a certificate beside that they are a quorum.
    pub(super) fn text(&self, setting: &Setting) -> String {
        let engine = &self.engine;
        let mut text = String::new();
        let plain = (
            (self.me, &self.said, &self.committed, self.carried, self.came_back, self.wrong),
            (self.spent, engine.started, engine.view, engine.active, &engine.window),
            (&engine.implied, &engine.early, engine.assigned, engine.fill, engine.stuck),
        );
        let _ = write!(text, "{plain:?}");
        if let Some(opening) = &engine.opening {
            let chosen = view_change::choose(&opening.view_changes, engine.noop);
            let _ = write!(text, "opening {} {chosen:?}", opening.view);
        }
        for report in setting.macs.committee.replicas().filter_map(|it| engine.reports.of(it)) {
            // For a view that another opens, nobody but that one reads them.
            let collects = engine.primary(report.view) == self.me && !engine.active;
            if report.view > engine.view || (report.view == engine.view && collects) {
                let _ = write!(text, "{}", said::report(report));
            }
        }
        for (slot, state) in &engine.slots {
            let _ = write!(text, "{slot} {}", self.slot_text(state));
        }
        if self.spent.restarts < setting.restarts {
            let _ = write!(text, "{}", self.durable);
            for record in &self.records {
                text.push_str(&match record {
                    Record::Proposal(it) => said::name(&Body::PrePrepare(it.clone())),
                    Record::Prepared(it) => said::certified(it),
                    Record::Decided(header, _) => format!("{header:?}"),
                    Record::Payload(it) => said::name(&Body::Payload(it.clone())),
                    Record::ViewChange(it) => said::report(it),
                    Record::NewView(it) => said::name(&Body::NewView(it.clone())),
                    Record::Stable(it) => format!("{it:?}"),
                });
            }
        }
        text
    }

    fn slot_text(&self, state: &SlotState<Word>) -> String {
        let view = self.engine.view;
        let mut plain = state.clone();
        plain.leave_view();
        let prepared = plain.prepared.take().as_ref().map(said::certified);
        let decided = plain.decided.take().map(|(header, _)| header);
        // Prepares that can still make a certificate, Commits that can still decide.
        let waits = decided.is_none_or(|header| header.view < view) && !state.is_prepared_in(view);
        let prepares = waits.then_some(&state.prepares);
        let commits = decided.is_none().then_some(&state.commits);
        let (proposal, primary) = (&state.proposal, self.engine.primary(view));
        let proposed = state.prepares.vote_of(primary, view, Slot(0)).map(|it| it.header.digest);
        let settled = format!("{prepared:?} {decided:?} {proposal:?} {proposed:?}");
        format!("{settled} {prepares:?} {commits:?} {plain:?}")
    }
}

/// The replica stopped before one more record was written.
struct Crashed;

impl Unfolding<'_> {
    fn start(mut self) -> Local {
        let records = self.local.records.clone();
        self.inputs.push_back(Input::Start { records, stable: Stable::genesis() });
        let _ = self.run();
        self.local
    }

    fn restart(mut self) -> Local {
        self.inputs.clear();
        self.records_left = usize::MAX;
        self.verdict = Verdict::Accepted;
        self.local.engine = self.setting.macs.pbft(self.local.me);
        self.local.durable = self.local.records.len();
        self.local.spent.restarts += 1;
        self.start()
    }

    /// Feeds all inputs, the answers to what the engine asks among them. Whether it asked.
    fn run(&mut self) -> Result<bool, Crashed> {
        let mut asked = false;
        while let Some(input) = self.inputs.pop_front() {
            let mut out = Outbox::new();
            // Time stands still: what timers would do may happen at any moment instead.
            let handled = catch_unwind(AssertUnwindSafe(|| {
                self.local.engine.handle(Time(0), input, &mut out);
            }));
            if handled.is_err() {
                self.local.wrong = Some(Wrong::Panics);
                return Ok(asked);
            }
            for effect in out.drain() {
                asked |= matches!(effect, Effect::Judge { .. });
                self.carry_out(effect)?;
            }
        }
        if self.local.engine.view().0 >= self.setting.views {
            self.local.wrong = Some(Wrong::GoesTooFar);
        }
        Ok(asked)
    }

    fn carry_out(&mut self, effect: Effect<Pbft<Word>>) -> Result<(), Crashed> {
        match effect {
            Effect::Persist { record, .. } => {
                self.records_left = self.records_left.checked_sub(1).ok_or(Crashed)?;
                self.local.records.push(record);
                self.local.durable = self.local.records.len();
            }
            Effect::Note { record, .. } => self.local.records.push(record),
            Effect::Send { message, .. } => self.say(message),
            Effect::Judge { slot, view, digest, .. } => {
                let verdict = self.verdict;
                self.inputs.push_back(Input::Verdict { slot, view, digest, verdict });
            }
            Effect::Commit { slot, command, decided } => {
                self.commit(slot, command.as_deref(), &decided);
            }
            Effect::Accuse(accusation) => {
                let guilty = accusation.replica == self.setting.byzantine;
                let macs = &self.setting.macs;
                let holds = evidence_holds(&accusation, &macs.domain, |claims| macs.holds(claims));
                // With evidence, signatures speak: nobody correct makes two that contradict.
                if !(holds || guilty && accusation.evidence.is_empty()) {
                    self.local.wrong = Some(Wrong::AccusesTheCorrect);
                }
            }
            Effect::Forget { .. }
            | Effect::Timer { .. }
            | Effect::Enter { .. }
            | Effect::Leave { .. }
            | Effect::Room(_)
            | Effect::Returned(_)
            | Effect::Behind { .. } => {}
        }
        Ok(())
    }

    /// What it signed is known to everyone who wants it from now on. What others signed, it repeats
    /// only; and what nobody signed can be made up.
    fn say(&mut self, message: Message<Word>) {
        let me = self.local.me;
        if message.signer() != Some(me) {
            return;
        }
        if let Body::PrePrepare(proposal) = &message.body {
            self.local.proposed.insert(proposal.vote.header.digest);
        }
        let place = Subject::vote(&self.setting.macs, me, &message);
        let number = self.book.number(&self.setting.macs, me, message.body);
        let others = self.local.said.iter().filter(|other| **other != number);
        let contradicts = others.into_iter().any(|other| {
            let other = self.book.message(*other).message.get();
            let said = Subject::vote(&self.setting.macs, me, other);
            said.zip(place.as_ref()).is_some_and(|(said, place)| said.0 == place.0)
        });
        if contradicts {
            self.local.wrong = Some(Wrong::ContradictsItself);
        }
        self.local.said.insert(number);
    }

    fn commit(&mut self, slot: Slot, command: Option<&Word>, decided: &Message<Word>) {
        let Body::Decided(decided) = &decided.body else { return };
        let (view, digest) = (decided.header.view, digest_of(command));
        let local = &mut self.local;
        let last = local.committed.last_key_value().map_or(Slot(0), |(slot, _)| *slot);
        match local.committed.get(&slot) {
            // It starts again.
            Some((_, known)) if *known == digest => return,
            Some(_) => local.wrong = Some(Wrong::CommitsTwoThings),
            None if slot != last.next() || decided.header.digest != digest => {
                local.wrong = Some(Wrong::LeavesAGap);
            }
            None => {}
        }
        local.committed.insert(slot, (view, digest));
        local.came_back |= local.spent.restarts > 0;
        let implied = local.engine.implied.get(&slot) == Some(&digest);
        local.carried |= implied && command.is_some() && view > View(0);
    }
}
