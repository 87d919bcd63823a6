//! A deterministic network of engines: virtual time, a seed, loss, duplication, reordering,
//! crashes that lose what was not synced, and checkers that watch every effect.

use super::{Engine, Random, Subject, suite::Deed};
use crate::{Accusation, Effect, Input, Outbox, Protocol, Stable, To, Verdict};
use quorate_crypto::Delivery;
use quorate_types::{Digest, ReplicaId, Slot, Time, View};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

type Command<S> = <Engine<S> as Protocol>::Command;
type Message<S> = <Engine<S> as Protocol>::Message;
type Record<S> = <Engine<S> as Protocol>::Record;
type Timer<S> = <Engine<S> as Protocol>::Timer;

/// What the network does to messages.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Messages lost, in percent.
    pub loss_percent: u64,
    /// Messages delivered twice, in percent.
    pub copies_percent: u64,
    /// The longest time on the way, in milliseconds; the shortest is zero.
    pub delay_ms_max: u64,
    /// The longest fsync, in milliseconds.
    pub sync_ms_max: u64,
}

impl Weather {
    /// Nothing is lost; a message takes up to 2 ms, so that they overtake each other.
    pub const FAIR: Self =
        Self { loss_percent: 0, copies_percent: 0, delay_ms_max: 2, sync_ms_max: 2 };
    /// A fifth is lost, a fifth comes twice, the rest is late and in no order.
    pub const FOUL: Self =
        Self { loss_percent: 20, copies_percent: 20, delay_ms_max: 60, sync_ms_max: 20 };
}

enum Event<S: Subject> {
    Deliver { from: ReplicaId, to: ReplicaId, message: Message<S> },
    Timer { replica: ReplicaId, life: u32, timer: Timer<S>, armed: u64 },
    Synced { replica: ReplicaId, life: u32, effects: usize },
    Input { replica: ReplicaId, life: u32, input: Input<Engine<S>> },
    Installed { replica: ReplicaId, life: u32, stable: Stable },
    Patience { replica: ReplicaId, life: u32 },
}

/// A command that nobody committed yet.
struct Waiting<C> {
    command: C,
    proposed: bool,
}

/// One replica: its engine, its disk, and the little of a real replica that an engine needs.
pub struct Node<S: Subject> {
    /// The engine, unless it is down.
    pub engine: Option<Engine<S>>,
    /// What it is said to suffer from: its messages are neither delivered nor believed.
    pub cut_off: bool,
    /// Refuses every proposal it is asked about.
    pub refuses: bool,
    life: u32,
    effects: VecDeque<Effect<Engine<S>>>,
    syncing: bool,
    disk: Vec<(Option<Slot>, Record<S>)>,
    /// How many records at the end are notes that nothing synced.
    noted: usize,
    forget: Option<(Slot, usize)>,
    timers: BTreeMap<Timer<S>, u64>,
    room: u32,
    committed: Slot,
    state: Stable,
    served_at: Time,
    /// The view that it said it entered last, unless it left it.
    pub entered: Option<View>,
    /// Every charge that it made.
    pub accusations: Vec<Accusation>,
    /// Barriers that its records of slots cost, by slot.
    pub barriers: BTreeMap<Slot, u32>,
}

impl<S: Subject> Node<S> {
    fn new() -> Self {
        Self {
            engine: None,
            cut_off: false,
            refuses: false,
            life: 0,
            effects: VecDeque::new(),
            syncing: false,
            disk: Vec::new(),
            noted: 0,
            forget: None,
            timers: BTreeMap::new(),
            room: 0,
            committed: Slot(0),
            state: Stable::genesis(),
            served_at: Time(0),
            entered: None,
            accusations: Vec::new(),
            barriers: BTreeMap::new(),
        }
    }

    /// The last slot it committed, or got by a state transfer.
    #[must_use]
    pub fn committed(&self) -> Slot {
        self.committed
    }

    /// The records that would be there after a crash now.
    #[must_use]
    pub fn records(&self) -> Vec<Record<S>> {
        self.disk.iter().map(|(_, record)| record.clone()).collect()
    }

    /// Where a restart now would begin.
    #[must_use]
    pub fn state(&self) -> &Stable {
        &self.state
    }
}

/// A cluster on virtual time.
pub struct Network<S: Subject> {
    /// What is tested.
    pub subject: S,
    /// The replicas.
    pub nodes: Vec<Node<S>>,
    /// What happens to messages from now on.
    pub weather: Weather,
    /// Replicas that are not held to the protocol.
    pub byzantine: BTreeSet<ReplicaId>,
    /// What was committed in each slot.
    pub log: BTreeMap<Slot, Option<Arc<Command<S>>>>,
    /// How many messages were sent to somebody, by the subject's word for them.
    pub carried: BTreeMap<&'static str, u64>,
    random: Random,
    now: Time,
    events: BTreeMap<(Time, u64), Event<S>>,
    counter: u64,
    pending: VecDeque<Waiting<Command<S>>>,
    votes: BTreeMap<(ReplicaId, Vec<u8>), Digest>,
    certified: Slot,
    /// A hash of every effect so far, for comparing two runs.
    pub trace: u64,
    /// Whether every question is first answered by verdicts that do not fit it.
    pub stale_verdicts: bool,
    recorded: Option<ReplicaId>,
    deeds: Vec<Deed<Engine<S>>>,
    heard: Vec<Delivery<Message<S>>>,
}

impl<S: Subject> Network<S> {
    /// All replicas of the subject's committee, started on empty disks.
    #[must_use]
    pub fn new(subject: S, seed: u64, weather: Weather) -> Self {
        let n = subject.committee().n();
        let mut network = Self {
            subject,
            nodes: (0..n).map(|_| Node::new()).collect(),
            weather,
            byzantine: BTreeSet::new(),
            log: BTreeMap::new(),
            carried: BTreeMap::new(),
            random: Random::new(seed),
            now: Time(0),
            events: BTreeMap::new(),
            counter: 0,
            pending: VecDeque::new(),
            votes: BTreeMap::new(),
            certified: Slot(0),
            trace: 0,
            stale_verdicts: false,
            recorded: None,
            deeds: Vec::new(),
            heard: Vec::new(),
        };
        for replica in network.subject.committee().replicas() {
            network.start(replica);
        }
        network
    }

    /// The replica.
    #[must_use]
    pub fn node(&self, replica: u16) -> &Node<S> {
        &self.nodes[usize::from(replica)]
    }

    /// The replica, to change it.
    pub fn node_mut(&mut self, replica: u16) -> &mut Node<S> {
        &mut self.nodes[usize::from(replica)]
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Asks for these commands to be ordered.
    pub fn submit(&mut self, commands: impl IntoIterator<Item = u64>) {
        for n in commands {
            let command = self.subject.command(n);
            self.pending.push_back(Waiting { command, proposed: false });
        }
        self.offer();
    }

    /// Keeps what a replica writes, says and hears from now on.
    pub fn record(&mut self, replica: ReplicaId) {
        self.recorded = Some(replica);
    }

    pub(super) fn deeds(&self) -> &[Deed<Engine<S>>] {
        &self.deeds
    }

    pub(super) fn heard(&self) -> &[Delivery<Message<S>>] {
        &self.heard
    }

    /// Delivers a message that no engine sent.
    pub fn inject(&mut self, from: ReplicaId, to: ReplicaId, message: Message<S>) {
        self.after(Duration::ZERO, Event::Deliver { from, to, message });
    }

    /// Whether everything submitted was committed somewhere.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.pending.is_empty()
    }

    /// Starts a replica from its disk.
    pub fn start(&mut self, replica: ReplicaId) {
        let engine = self.subject.engine(replica);
        let now = self.now;
        let node = &mut self.nodes[replica.position()];
        if node.engine.is_some() {
            return;
        }
        node.engine = Some(engine);
        node.committed = node.state.slot;
        node.served_at = now;
        let input = Input::Start { records: node.records(), stable: node.state.clone() };
        let life = node.life;
        self.feed(replica, input);
        self.after(Duration::from_millis(100), Event::Patience { replica, life });
    }

    /// Kills a replica: what was not synced is lost, but for a random first part of it.
    pub fn crash(&mut self, replica: ReplicaId) {
        let lucky = self.random.below(4);
        let node = &mut self.nodes[replica.position()];
        node.engine = None;
        node.life += 1;
        node.noted = node.noted.saturating_sub(usize::try_from(lucky).unwrap_or(0));
        node.disk.truncate(node.disk.len().saturating_sub(node.noted));
        node.noted = 0;
        node.forget = None;
        let mut kept = 0;
        for effect in std::mem::take(&mut node.effects) {
            if let Effect::Persist { slot, record } | Effect::Note { slot, record } = effect
                && kept < lucky
            {
                node.disk.push((slot, record));
                kept += 1;
            }
        }
        node.syncing = false;
        node.timers.clear();
        node.room = 0;
        node.entered = None;
    }

    /// Hands one input to an engine, now.
    pub fn feed(&mut self, replica: ReplicaId, input: Input<Engine<S>>) {
        let mut out = Outbox::new();
        let now = self.now;
        let node = &mut self.nodes[replica.position()];
        let Some(engine) = &mut node.engine else { return };
        engine.handle(now, input, &mut out);
        for effect in out.drain() {
            self.trace = super::mix(self.trace, &format!("{effect:?}"));
            node.effects.push_back(effect);
        }
        self.carry_out(replica, 0);
    }

    /// Runs until nothing is left before this much more time has passed.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Lets that many things happen.
    pub fn step(&mut self, events: usize) {
        for _ in 0..events {
            let Some(((at, _), event)) = self.events.pop_first() else { return };
            self.now = at;
            self.happen(event);
        }
    }

    /// Runs until the condition holds; `false` if it does not within this time.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.plus(limit);
        while !done(self) {
            let Some(entry) = self.events.first_entry() else { return false };
            if entry.key().0 > end {
                return false;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        true
    }

    /// Whether all replicas that are up and correct are at the end of the log.
    #[must_use]
    pub fn is_level(&self) -> bool {
        let last = self.log.last_key_value().map_or(Slot(0), |(slot, _)| *slot);
        let replicas = self.subject.committee().replicas();
        replicas.filter(|it| !self.byzantine.contains(it)).all(|replica| {
            let node = &self.nodes[replica.position()];
            node.engine.is_none() || node.cut_off || node.committed == last
        })
    }

    fn happen(&mut self, event: Event<S>) {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Timer { replica, life, timer, armed } => {
                let node = &mut self.nodes[replica.position()];
                if node.life == life && node.timers.get(&timer) == Some(&armed) {
                    node.timers.remove(&timer);
                    self.feed(replica, Input::Timer(timer));
                }
            }
            Event::Synced { replica, life, effects } => {
                if self.nodes[replica.position()].life == life {
                    self.nodes[replica.position()].syncing = false;
                    self.carry_out(replica, effects);
                }
            }
            Event::Input { replica, life, input } => {
                if self.nodes[replica.position()].life == life {
                    self.feed(replica, input);
                }
            }
            Event::Installed { replica, life, stable } => {
                let node = &mut self.nodes[replica.position()];
                if node.life == life && stable.slot > node.committed {
                    node.committed = stable.slot;
                    node.state = stable.clone();
                    self.feed(replica, Input::Installed(stable));
                }
            }
            Event::Patience { replica, life } => self.lose_patience(replica, life),
        }
    }

    /// What a replica does about requests that its primary ignores.
    fn lose_patience(&mut self, replica: ReplicaId, life: u32) {
        let waits = !self.pending.is_empty();
        let now = self.now;
        let node = &mut self.nodes[replica.position()];
        if node.life != life {
            return;
        }
        let ignored = waits && now.since(node.served_at) > Duration::from_secs(2);
        if !waits || ignored {
            node.served_at = now;
        }
        if ignored {
            self.pending.iter_mut().for_each(|waiting| waiting.proposed = false);
            self.feed(replica, Input::Suspect);
        }
        self.after(Duration::from_millis(100), Event::Patience { replica, life });
    }

    fn deliver(&mut self, from: ReplicaId, to: ReplicaId, message: Message<S>) {
        let node = &self.nodes[to.position()];
        let Some(engine) = &node.engine else { return };
        if node.cut_off || self.nodes[from.position()].cut_off || !engine.wants(from, &message) {
            return;
        }
        if let Some(delivery) = self.subject.verify(from, message) {
            let (signer, via) = (delivery.signer, delivery.via);
            if self.recorded == Some(to) {
                self.heard.push(delivery.clone());
            }
            self.feed(to, Input::Message { signer, via, message: delivery.message });
        }
    }

    /// Carries out effects in order: the first `durable` of them are synced, later ones as long as
    /// nothing must be persisted before them.
    fn carry_out(&mut self, replica: ReplicaId, mut durable: usize) {
        loop {
            let node = &mut self.nodes[replica.position()];
            let blocked = matches!(node.effects.front(), Some(Effect::Persist { .. }));
            if durable == 0 && blocked {
                if !node.syncing {
                    node.syncing = true;
                    let (life, effects) = (node.life, node.effects.len());
                    let after = Duration::from_micros(
                        self.random.below(self.weather.sync_ms_max * 1000 + 1),
                    );
                    self.after(after, Event::Synced { replica, life, effects });
                }
                return;
            }
            let Some(effect) = node.effects.pop_front() else {
                self.drop_forgotten(replica);
                return;
            };
            durable = durable.saturating_sub(1);
            self.carry_out_one(replica, effect);
        }
    }

    /// Nothing is in flight: what was forgotten may really go.
    fn drop_forgotten(&mut self, replica: ReplicaId) {
        let node = &mut self.nodes[replica.position()];
        if let Some((below, written)) = node.forget.take() {
            let mut at = 0;
            node.noted = 0;
            node.disk.retain(|(slot, _)| {
                at += 1;
                slot.map_or(at > written, |slot| slot >= below)
            });
        }
    }

    fn carry_out_one(&mut self, replica: ReplicaId, effect: Effect<Engine<S>>) {
        let now = self.now;
        if self.recorded == Some(replica) {
            match &effect {
                Effect::Persist { record, .. } | Effect::Note { record, .. } => {
                    self.deeds.push(Deed::Wrote(record.clone()));
                }
                Effect::Send { message, .. } => self.deeds.push(Deed::Said(message.clone())),
                _ => {}
            }
        }
        let node = &mut self.nodes[replica.position()];
        match effect {
            Effect::Persist { slot, record } => {
                if let Some(slot) = slot {
                    *node.barriers.entry(slot).or_default() += 1;
                }
                node.disk.push((slot, record));
                node.noted = 0;
            }
            Effect::Note { slot, record } => {
                node.disk.push((slot, record));
                node.noted += 1;
            }
            Effect::Forget { below } => node.forget = Some((below, node.disk.len())),
            Effect::Send { to, message } => self.carry(replica, &to, &message),
            Effect::Timer { timer, after } => self.arm(replica, timer, after),
            Effect::Judge { slot, view, digest, .. } => {
                if self.stale_verdicts {
                    stale_verdicts(node, now, slot, view, digest);
                }
                let verdict = if node.refuses { Verdict::Refused } else { Verdict::Accepted };
                let input = Input::Verdict { slot, view, digest, verdict };
                let life = node.life;
                let after = Duration::from_micros(self.random.below(500));
                self.after(after, Event::Input { replica, life, input });
            }
            Effect::Commit { slot, command, .. } => self.commit(replica, slot, command),
            Effect::Enter { view, .. } => {
                node.entered = Some(view);
                node.served_at = now;
                self.pending.iter_mut().for_each(|waiting| waiting.proposed = false);
            }
            Effect::Leave { .. } => node.entered = None,
            Effect::Room(room) => {
                node.room = room;
                self.offer();
            }
            Effect::Returned(command) => {
                let same = self.pending.iter_mut().filter(|waiting| waiting.command == command);
                same.for_each(|waiting| waiting.proposed = false);
            }
            Effect::Behind { stable } => {
                let (life, after) = (node.life, Duration::from_millis(50));
                self.after(after, Event::Installed { replica, life, stable });
            }
            Effect::Accuse(accusation) => node.accusations.push(accusation),
        }
    }

    fn carry(&mut self, from: ReplicaId, to: &To, message: &Message<S>) {
        if !self.byzantine.contains(&from) {
            self.watch(from, message);
        }
        let receivers: Vec<ReplicaId> = match to {
            To::All => self.subject.committee().replicas().collect(),
            To::Group(group) => group.to_vec(),
            To::One(replica) => vec![*replica],
        };
        for receiver in receivers.into_iter().filter(|receiver| *receiver != from) {
            *self.carried.entry(self.subject.word(message)).or_default() += 1;
            if self.random.below(100) < self.weather.loss_percent {
                continue;
            }
            let copies = 1 + u64::from(self.random.below(100) < self.weather.copies_percent);
            for _ in 0..copies {
                let delay = self.random.below(self.weather.delay_ms_max * 1000 + 1);
                let message = message.clone();
                let event = Event::Deliver { from, to: receiver, message };
                self.after(Duration::from_micros(delay), event);
            }
        }
    }

    /// No correct replica ever says two things at one place, restarts included.
    fn watch(&mut self, from: ReplicaId, message: &Message<S>) {
        if let Some((place, digest)) = self.subject.vote(from, message) {
            let known = *self.votes.entry((from, place)).or_insert(digest);
            assert_eq!(known, digest, "{from} contradicts itself by {message:?}");
        }
    }

    fn arm(&mut self, replica: ReplicaId, timer: Timer<S>, after: Option<Duration>) {
        self.counter += 1;
        let armed = self.counter;
        let node = &mut self.nodes[replica.position()];
        let Some(after) = after else {
            node.timers.remove(&timer);
            return;
        };
        node.timers.insert(timer, armed);
        let life = node.life;
        self.after(after, Event::Timer { replica, life, timer, armed });
    }

    fn commit(&mut self, replica: ReplicaId, slot: Slot, command: Option<Arc<Command<S>>>) {
        let now = self.now;
        let node = &mut self.nodes[replica.position()];
        if self.byzantine.contains(&replica) {
            node.committed = slot;
            return;
        }
        // A state transfer may overtake what waits behind a sync.
        if slot > node.committed {
            assert_eq!(slot, node.committed.next(), "{replica} leaves a gap");
            node.committed = slot;
            node.served_at = now;
        }
        let known = self.log.entry(slot).or_insert_with(|| command.clone());
        assert_eq!(*known, command, "{replica} disagrees at slot {slot}");
        if let Some(command) = command {
            self.pending.retain(|waiting| waiting.command != *command);
        }
        self.certify();
    }

    /// What a quorum committed becomes stable, and everyone learns of it, somehow.
    fn certify(&mut self) {
        let committee = self.subject.committee();
        let mut positions: Vec<Slot> = self.nodes.iter().map(|node| node.committed).collect();
        positions.sort_unstable();
        positions.reverse();
        let held = positions.get(committee.quorum() - 1).copied().unwrap_or_default();
        if held.0 < self.certified.0 + self.subject.stable_interval() {
            return;
        }
        self.certified = held;
        for replica in committee.replicas() {
            let stable = Stable::certified(Arc::new(super::certificate(held)));
            let node = &mut self.nodes[replica.position()];
            let life = node.life;
            if node.committed >= held {
                node.state = stable.clone();
            }
            if self.random.below(100) >= self.weather.loss_percent {
                let after = Duration::from_micros(self.random.below(20_000));
                let input = Input::Stable(stable);
                self.after(after, Event::Input { replica, life, input });
            }
        }
    }

    /// Proposes what waits wherever there is room.
    fn offer(&mut self) {
        for replica in self.subject.committee().replicas() {
            let node = &mut self.nodes[replica.position()];
            let room = usize::try_from(node.room).unwrap_or(usize::MAX);
            if room == 0 || node.engine.is_none() {
                continue;
            }
            let life = node.life;
            let fresh = self.pending.iter_mut().filter(|waiting| !waiting.proposed).take(room);
            let commands = fresh.map(|waiting| {
                waiting.proposed = true;
                waiting.command.clone()
            });
            let commands: Vec<_> = commands.collect();
            node.room -= u32::try_from(commands.len()).unwrap_or(0);
            for command in commands {
                let input = Input::Propose(command);
                self.after(Duration::from_micros(10), Event::Input { replica, life, input });
            }
        }
    }

    fn after(&mut self, after: Duration, event: Event<S>) {
        self.counter += 1;
        self.events.insert((self.now.plus(after), self.counter), event);
    }
}

fn stale_verdicts<S: Subject>(
    node: &mut Node<S>,
    now: Time,
    slot: Slot,
    view: View,
    digest: Digest,
) {
    let other = Digest([7; 32]);
    let places = [(slot.next(), view, digest), (slot, view.next(), digest), (slot, view, other)];
    let verdicts = [Verdict::Accepted, Verdict::Refused, Verdict::Untimely];
    for (verdict, (slot, view, digest)) in verdicts
        .into_iter()
        .flat_map(|verdict| places.into_iter().map(move |place| (verdict, place)))
    {
        // The next slot may hold the same command; that verdict would fit.
        let Some(engine) = &mut node.engine else { return };
        let mut out = Outbox::new();
        engine.handle(now, Input::Verdict { slot, view, digest, verdict }, &mut out);
        assert!(out.effects().is_empty(), "a stale verdict has effects: {:?}", out.effects());
    }
}
