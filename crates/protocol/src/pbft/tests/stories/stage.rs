//! Four replicas, each on its bench, and the messages between them, which go where and when a
//! story says. Nothing is random; verdicts are given and records are written at once.
//!
//! | command | what it does |
//! |---|---|
//! | `propose r0 a b` | r0 is given commands to order, each a letter |
//! | `deliver Prepare s1 from r1 to r2 r3` | what is under way arrives; each part may be left out |
//! | `drop ...` | such messages are lost |
//! | `contradict ...` | their sender sends, with its own signature, the contrary instead |
//! | `settle` | all arrives, and the answers, until it is quiet; told where it changes something |
//! | `tick 200ms` | time passes and timers fire, nothing arrives |
//! | `run 5s` | time passes and everything arrives at once; only what matters in the end is told |
//! | `suspect r1 r2` | these replicas lost patience with the primary |
//! | `leave r1 1` | r1 leaves for view 1, on its own |
//! | `judge r1 untimely` | what r1's judge says from now on: `accepted`, `refused`, `untimely` |
//! | `certify 2 r0 r1` | these, or all that are up, learn that the state after s2 is certified |
//! | `crash r0` | power is lost, and with it the state and what was noted and not yet synced |
//! | `restart r0` | r0 starts from its records |
//! | `resume r0 8` | the same, and the state after s8 was on its disk |
//! | `lose-disk r0` | r0's records are gone |
//! | `cut r3`, `heal r3` | no message to or from r3 gets through; they do again |
//! | `show` | where everybody stands |
//! | `quietly ...` | any of these, and nothing of it is told |

use super::{super::rig::*, super::*, words};
use crate::{Stable, Verdict};
use std::time::Duration;

/// How much of what happens is told.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Telling {
    All,
    Changes,
    Milestones,
}

struct Letter {
    from: ReplicaId,
    to: ReplicaId,
    message: Message<Word>,
}

struct Actor {
    rig: Rig,
    is_up: bool,
    is_cut: bool,
    verdict: Verdict,
    timers: BTreeMap<Timer, Time>,
    /// How many of the last records nothing synced.
    noted: usize,
    suspected: bool,
    /// The highest slot whose state it asked for.
    asked: Slot,
    log: Vec<String>,
}

/// Where a story is played.
pub(super) struct Stage {
    macs: Macs,
    actors: Vec<Actor>,
    under_way: Vec<Letter>,
    began: Time,
    now: Time,
    decided: BTreeMap<Slot, String>,
    telling: Telling,
    told: Vec<String>,
    inputs: usize,
}

/// Which messages a command is about.
#[derive(Default)]
struct Filter<'a> {
    kinds: Vec<&'a str>,
    slots: Vec<Slot>,
    from: Vec<ReplicaId>,
    to: Vec<ReplicaId>,
}

const KINDS: [&str; 10] = [
    "PrePrepare",
    "Prepare",
    "Commit",
    "Decided",
    "ViewChange",
    "NewView",
    "Status",
    "Fetch",
    "Payload",
    "Stable",
];

/// A story whose messages never end is wrong.
const ROUNDS_MAX: usize = 1000;

type Played = Result<(), String>;

impl Stage {
    /// Four replicas, just started on empty disks.
    pub(super) fn new() -> Self {
        let macs = Macs::new(4);
        let actor = |replica: ReplicaId| Actor {
            rig: Rig::on(macs.clone(), replica.0),
            is_up: false,
            is_cut: false,
            verdict: Verdict::Accepted,
            timers: BTreeMap::new(),
            noted: 0,
            suspected: false,
            asked: Slot(0),
            log: Vec::new(),
        };
        let actors: Vec<Actor> = macs.committee.replicas().map(actor).collect();
        let began = actors[0].rig.now;
        let mut stage = Self {
            macs,
            actors,
            under_way: Vec::new(),
            began,
            now: began,
            decided: BTreeMap::new(),
            telling: Telling::All,
            told: Vec::new(),
            inputs: 0,
        };
        for replica in stage.macs.committee.replicas() {
            stage.start(replica, Stable::genesis()).unwrap();
        }
        // Everybody's first Status says only that it is there.
        stage.under_way.clear();
        stage.told.clear();
        stage.inputs = 0;
        stage
    }

    /// What engines were told since they started.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// What happened since it was asked last.
    pub(super) fn take_told(&mut self) -> String {
        let told = std::mem::take(&mut self.told);
        if told.is_empty() {
            return "nothing to tell\n".to_owned();
        }
        told.into_iter().map(|line| line + "\n").collect()
    }

    /// Carries out one line of a story.
    pub(super) fn command(&mut self, line: &str) -> Played {
        let (line, quietly) = match line.strip_prefix("quietly ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let told = self.told.len();
        let words: Vec<&str> = line.split(' ').collect();
        let (verb, rest) = words.split_first().ok_or("an empty command")?;
        self.telling = match *verb {
            "settle" | "tick" | "certify" => Telling::Changes,
            "run" => Telling::Milestones,
            _ => Telling::All,
        };
        self.verb(verb, rest)?;
        if quietly {
            self.told.truncate(told);
        }
        Ok(())
    }

    fn verb(&mut self, verb: &str, rest: &[&str]) -> Played {
        match (verb, rest) {
            ("propose", [replica, letters @ ..]) if !letters.is_empty() => {
                letters.iter().try_for_each(|letter| {
                    let input = Input::Propose(words::command(letter)?);
                    self.tell_one(replica, &format!("is given {letter}"), input)
                })
            }
            ("propose", _) => Err("propose whom what?".to_owned()),
            ("suspect", [_, ..]) => rest
                .iter()
                .try_for_each(|replica| self.tell_one(replica, "loses patience", Input::Suspect)),
            ("leave", [replica, view]) => {
                let to = View(number(view)?);
                self.tell_one(replica, "is told to leave", Input::Change { to })
            }
            ("certify", [slot, who @ ..]) => {
                let up = self.names(|actor| actor.is_up);
                let up: Vec<&str> = up.iter().map(String::as_str).collect();
                let who = if who.is_empty() { &up } else { who };
                let stable = stable(number(slot)?);
                who.iter().try_for_each(|replica| {
                    self.tell_one(replica, "learns of it", Input::Stable(stable.clone()))
                })
            }
            ("deliver" | "drop" | "contradict", filter) => self.mail(verb, filter),
            ("settle", []) => self.settle(),
            ("tick" | "run", [time]) => self.pass(duration(time)?),
            ("judge", [replica, verdict]) => self.judge(replica, verdict),
            ("crash" | "restart" | "lose-disk" | "cut" | "heal", [_, ..]) => {
                rest.iter().try_for_each(|replica| self.change(verb, self.replica(replica)?))
            }
            ("resume", [replica, slot]) => self.resume(self.replica(replica)?, Slot(number(slot)?)),
            ("show", []) => {
                self.show();
                Ok(())
            }
            _ => Err(format!("there is no command {}", words::list([verb].iter().chain(rest), ""))),
        }
    }

    fn names(&self, of: impl Fn(&Actor) -> bool) -> Vec<String> {
        let all = self.macs.committee.replicas().zip(&self.actors);
        all.filter(|(_, actor)| of(actor)).map(|(replica, _)| replica.to_string()).collect()
    }

    fn replica(&self, name: &str) -> Result<ReplicaId, String> {
        let known = self.macs.committee.replicas().find(|replica| replica.to_string() == name);
        known.ok_or_else(|| format!("there is no replica {name}"))
    }

    fn actor(&mut self, replica: ReplicaId) -> &mut Actor {
        &mut self.actors[replica.position()]
    }

    fn must_be(&mut self, replica: ReplicaId, up: bool) -> Played {
        match self.actor(replica).is_up {
            is_up if is_up == up => Ok(()),
            true => Err(format!("{replica} is up")),
            false => Err(format!("{replica} is down")),
        }
    }

    fn say(&mut self, line: impl Into<String>) {
        self.told.push(line.into());
    }

    fn tell_one(&mut self, replica: &str, what: &str, input: Input<Pbft<Word>>) -> Played {
        let replica = self.replica(replica)?;
        self.must_be(replica, true)?;
        self.tell(replica, &format!("{replica} {what}"), input)
    }

    /// Gives an engine an input, and carries out what it wants done.
    fn tell(&mut self, replica: ReplicaId, heading: &str, input: Input<Pbft<Word>>) -> Played {
        self.inputs += 1;
        let now = self.now;
        let rig = &mut self.actor(replica).rig;
        rig.now = now;
        let did = rig.tell(input);
        self.carry_out(replica, heading, did)
    }

    fn carry_out(&mut self, replica: ReplicaId, heading: &str, mut did: Did) -> Played {
        let mut lines = Vec::new();
        while !did.is_empty() {
            for effect in &did {
                let (matters, line) = self.carry_out_one(replica, effect)?;
                if !line.is_empty() && (matters || self.telling != Telling::Milestones) {
                    lines.push(line);
                }
            }
            let actor = self.actor(replica);
            did = actor.rig.give(&did, actor.verdict);
        }
        if self.telling == Telling::Milestones {
            let at = self.now.since(self.began).as_secs_f64();
            let lines = lines.into_iter().map(|line| format!("at {at:.1} s, {replica} {line}"));
            self.told.extend(lines);
        } else if !lines.is_empty() || self.telling == Telling::All {
            self.say(heading);
            self.told.extend(lines.into_iter().map(|line| format!("    {line}")));
        }
        Ok(())
    }

    /// Whether it matters in the end, and what it is in words.
    fn carry_out_one(
        &mut self,
        replica: ReplicaId,
        effect: &Effect<Pbft<Word>>,
    ) -> Result<(bool, String), String> {
        let now = self.now;
        let actor = self.actor(replica);
        Ok(match effect {
            Effect::Persist { record, .. } => {
                actor.noted = 0;
                (false, format!("writes {}", words::record(record)))
            }
            Effect::Note { record, .. } => {
                actor.noted += 1;
                (false, format!("notes {}", words::record(record)))
            }
            Effect::Send { to, message } => {
                let suspects = matches!(&message.body, Body::Status(it) if it.suspects);
                let first = suspects && !std::mem::replace(&mut actor.suspected, suspects);
                self.post(replica, to, message);
                let (what, whom) = (words::message(&message.body), words::receivers(to));
                (first, format!("sends {what} to {whom}"))
            }
            Effect::Timer { timer, after } => {
                match after {
                    Some(after) => actor.timers.insert(*timer, now.plus(*after)),
                    None => actor.timers.remove(timer),
                };
                (false, String::new())
            }
            Effect::Judge { slot, proposal, fresh, .. } => {
                let what = words::content(proposal.as_deref());
                let again = if *fresh { "" } else { " again" };
                let verdict = words::verdict(actor.verdict);
                let matters = actor.verdict != Verdict::Accepted;
                (matters, format!("judges s{slot} {what}{again}: {verdict}"))
            }
            Effect::Commit { slot, command, .. } => {
                (true, self.commit(replica, *slot, command.as_deref())?)
            }
            Effect::Enter { view, primary } => {
                actor.suspected = false;
                (true, format!("enters v{view}, led by {primary}"))
            }
            Effect::Leave { to } => (true, format!("leaves for v{to}")),
            Effect::Returned(word) => (true, format!("hands {} back", words::content(Some(word)))),
            Effect::Behind { stable } => {
                let first = std::mem::replace(&mut actor.asked, stable.slot) < stable.slot;
                (first, format!("asks for the state after s{}", stable.slot))
            }
            Effect::Accuse(it) => {
                let macs = &self.macs;
                let holds = evidence_holds(it, &macs.domain, |claims| macs.holds(claims));
                let proof = if holds { "two votes that convict it" } else { "nothing to show" };
                (true, format!("accuses {} of {}, with {proof}", it.replica, it.charge))
            }
            Effect::Forget { below } => (false, format!("forgets what is below s{below}")),
            Effect::Room(_) => (false, String::new()),
        })
    }

    /// Whatever a story does: slots come in order, and nobody commits what others did not.
    fn commit(&mut self, by: ReplicaId, slot: Slot, it: Option<&Word>) -> Result<String, String> {
        let what = words::content(it);
        let log = &mut self.actor(by).log;
        log.push(what.clone());
        if u64::try_from(log.len()) != Ok(slot.0) {
            return Err(format!("{by} commits s{slot} out of order"));
        }
        let known = self.decided.entry(slot).or_insert_with(|| what.clone());
        if *known != what {
            return Err(format!("{by} commits {what} in s{slot}, where {known} was committed"));
        }
        Ok(format!("commits s{slot} {what}"))
    }

    fn post(&mut self, from: ReplicaId, to: &To, message: &Message<Word>) {
        let receivers: Vec<ReplicaId> = match to {
            To::All => self.macs.committee.replicas().collect(),
            To::Group(group) => group.to_vec(),
            To::One(replica) => vec![*replica],
        };
        let reaches = |it: &ReplicaId| {
            let (sender, receiver) = (&self.actors[from.position()], &self.actors[it.position()]);
            *it != from && receiver.is_up && !receiver.is_cut && !sender.is_cut
        };
        let receivers: Vec<ReplicaId> = receivers.into_iter().filter(reaches).collect();
        let letters = receivers.into_iter().map(|to| Letter { from, to, message: message.clone() });
        self.under_way.extend(letters);
    }

    /// Takes the messages that a command is about off the way, ordered by receiver.
    fn select(&mut self, filter: &[&str]) -> Result<Vec<Letter>, String> {
        let mut wanted = Filter::default();
        let mut of = "";
        for word in filter {
            match (of, *word) {
                (_, "from" | "to") => of = word,
                ("from", name) => wanted.from.push(self.replica(name)?),
                ("to", name) => wanted.to.push(self.replica(name)?),
                (_, slot) if slot.starts_with('s') => wanted.slots.push(Slot(number(&slot[1..])?)),
                (_, kind) if KINDS.contains(&kind) => wanted.kinds.push(kind),
                (_, kind) => return Err(format!("there is no message {kind}")),
            }
        }
        let part = |word, of: &[ReplicaId]| filter.contains(&word) && of.is_empty();
        if part("from", &wanted.from) || part("to", &wanted.to) {
            return Err("from or to whom?".to_owned());
        }
        let matches = |letter: &Letter| {
            let kind = self.macs.word(&letter.message);
            (wanted.kinds.is_empty() || wanted.kinds.contains(&kind))
                && (wanted.slots.is_empty()
                    || words::slot(&letter.message.body)
                        .is_some_and(|it| wanted.slots.contains(&it)))
                && (wanted.from.is_empty() || wanted.from.contains(&letter.from))
                && (wanted.to.is_empty() || wanted.to.contains(&letter.to))
        };
        let all = std::mem::take(&mut self.under_way);
        let (mut chosen, others): (Vec<_>, Vec<_>) = all.into_iter().partition(matches);
        self.under_way = others;
        if chosen.is_empty() {
            return Err("no such message is under way".to_owned());
        }
        chosen.sort_by_key(|letter| letter.to);
        Ok(chosen)
    }

    fn mail(&mut self, verb: &str, filter: &[&str]) -> Played {
        let letters = self.select(filter)?;
        match verb {
            "deliver" => letters.into_iter().try_for_each(|letter| self.deliver(letter)),
            "drop" => {
                let what = self.count(&letters);
                self.say(format!("lost: {what}"));
                Ok(())
            }
            _ => letters.into_iter().try_for_each(|letter| self.contradict(letter)),
        }
    }

    /// How many of each kind.
    fn count(&self, letters: &[Letter]) -> String {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for letter in letters {
            *kinds.entry(self.macs.word(&letter.message)).or_default() += 1;
        }
        words::list(kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")), "nothing")
    }

    fn contradict(&mut self, Letter { from, to, message }: Letter) -> Played {
        let what = format!("{from} -> {to}: {}", words::message(&message.body));
        let other = self.actor(from).rig.engine.contradiction(&message);
        let message = other.ok_or_else(|| format!("nothing contradicts {what}"))?;
        self.say(format!("{what}, becomes {}", words::message(&message.body)));
        self.under_way.push(Letter { from, to, message });
        Ok(())
    }

    fn deliver(&mut self, Letter { from, to, message }: Letter) -> Played {
        let heading = format!("{from} -> {to}: {}", words::message(&message.body));
        if !self.actor(to).rig.engine.wants(from, &message) {
            if self.telling == Telling::All {
                self.say(format!("{heading}, not needed"));
            }
            return Ok(());
        }
        let Some(delivery) = self.macs.verified(from, message) else {
            return Err(format!("{heading}, forged"));
        };
        let Delivery { signer, via, message } = delivery;
        self.tell(to, &heading, Input::Message { signer, via, message })
    }

    fn settle(&mut self) -> Played {
        for _ in 0..ROUNDS_MAX {
            let mut next = std::mem::take(&mut self.under_way);
            if next.is_empty() {
                return Ok(());
            }
            next.sort_by_key(|letter| letter.to);
            next.into_iter().try_for_each(|letter| self.deliver(letter))?;
        }
        Err("it never becomes quiet".to_owned())
    }

    /// Lets time pass: timers fire when they are due, in the order of replicas.
    fn pass(&mut self, time: Duration) -> Played {
        let runs = self.telling == Telling::Milestones;
        let end = self.now.plus(time);
        loop {
            if runs {
                self.settle()?;
            }
            let armed = self.macs.committee.replicas().zip(&self.actors);
            let armed = armed.flat_map(|(replica, actor)| {
                actor.timers.iter().map(move |(timer, at)| (*at, replica, *timer))
            });
            let Some((at, replica, timer)) = armed.min().filter(|(at, ..)| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = at;
            self.actor(replica).timers.remove(&timer);
            let at = at.since(self.began).as_secs_f64();
            let heading = format!("{replica}, {timer:?} timer at {at:.1} s");
            self.tell(replica, &heading, Input::Timer(timer))?;
        }
    }

    fn judge(&mut self, replica: &str, verdict: &str) -> Played {
        let all = [Verdict::Accepted, Verdict::Refused, Verdict::Untimely];
        let verdict = all.into_iter().find(|it| words::verdict(*it) == verdict);
        let verdict = verdict.ok_or("a verdict is accepted, refused or untimely")?;
        let replica = self.replica(replica)?;
        self.actor(replica).verdict = verdict;
        self.say(format!("{replica} finds proposals {} from now on", words::verdict(verdict)));
        Ok(())
    }

    fn change(&mut self, verb: &str, replica: ReplicaId) -> Played {
        match verb {
            "crash" => {
                self.must_be(replica, true)?;
                self.under_way.retain(|letter| letter.to != replica);
                let actor = self.actor(replica);
                let kept = actor.rig.records.len() - std::mem::take(&mut actor.noted);
                let lost = actor.rig.records.split_off(kept);
                actor.is_up = false;
                actor.suspected = false;
                actor.asked = Slot(0);
                actor.timers.clear();
                actor.log.clear();
                let lost = words::list(lost.iter().map(words::record), "no record");
                self.say(format!("{replica} is down, and loses {lost}"));
            }
            "restart" => {
                self.must_be(replica, false)?;
                self.start(replica, Stable::genesis())?;
            }
            "lose-disk" => {
                self.must_be(replica, false)?;
                self.actor(replica).rig.records.clear();
                self.say(format!("{replica} has no records any more"));
            }
            "cut" => {
                self.actor(replica).is_cut = true;
                self.under_way.retain(|it| it.to != replica && it.from != replica);
                self.say(format!("{replica} is cut off"));
            }
            _ => {
                self.actor(replica).is_cut = false;
                self.say(format!("{replica} is back"));
            }
        }
        Ok(())
    }

    fn resume(&mut self, replica: ReplicaId, slot: Slot) -> Played {
        self.must_be(replica, false)?;
        let held = self.decided.range(..=slot).map(|(_, what)| what.clone()).collect();
        self.actor(replica).log = held;
        self.start(replica, stable(slot.0))
    }

    fn start(&mut self, replica: ReplicaId, stable: Stable) -> Played {
        self.inputs += 1;
        let now = self.now;
        let actor = self.actor(replica);
        actor.is_up = true;
        actor.rig.now = now;
        let did = actor.rig.restart_at(stable);
        self.carry_out(replica, &format!("{replica} starts"), did)
    }

    fn show(&mut self) {
        for (replica, actor) in self.macs.committee.replicas().zip(&self.actors) {
            let engine = &actor.rig.engine;
            let (view, window) = (engine.view, &engine.window);
            let place = match (actor.is_up, engine.started, engine.active) {
                (false, ..) => {
                    self.told.push(format!("{replica}: down"));
                    continue;
                }
                (_, false, _) => "stopped".to_owned(),
                (_, _, false) => format!("waits for v{view}"),
                _ if engine.leads() => format!("leads v{view}"),
                _ => format!("in v{view}"),
            };
            let suspects = engine.suspects_until.is_some_and(|until| until > self.now);
            let suspects = if suspects { ", suspects its primary" } else { "" };
            let log = words::list(&actor.log, "nothing");
            let (stable, known) = (window.stable().slot, window.known().slot);
            let known = match known == stable {
                true => String::new(),
                false => format!(", s{known} is certified"),
            };
            let open = engine.slots.range(window.committed().next()..);
            let open: String =
                open.filter_map(|(slot, state)| words::open_slot(*slot, state)).collect();
            let place = format!("{replica}: {place}{suspects}; committed {log}");
            self.told.push(format!("{place}; stable s{stable}{known}{open}"));
        }
        self.told.push(format!("under way: {}", self.count(&self.under_way)));
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn duration(word: &str) -> Result<Duration, String> {
    let wrong = || format!("a time is like 200ms or 3s, not {word}");
    let (count, unit) = match word.strip_suffix("ms") {
        Some(count) => (count, 1),
        None => (word.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    Ok(Duration::from_millis(count.parse::<u64>().map_err(|_| wrong())?.saturating_mul(unit)))
}
