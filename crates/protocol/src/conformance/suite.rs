//! The suite.

use super::{
    Engine, Network, Random, Subject, Weather,
    nest::{Lane, Nest},
};
use crate::{Effect, Input, Outbox, Protocol, Stable, Verdict};
use quorate_crypto::Delivery;
use quorate_types::{Committee, Digest, ReplicaId, Slot, Time};
use std::{collections::BTreeMap, time::Duration};

const LONG: Duration = Duration::from_secs(120);

/// A run that goes through everything: load, foul weather, the loss of a primary, its return.
fn eventful<S: Subject>(subject: S, seed: u64) -> Network<S> {
    let mut network = Network::new(subject, seed, Weather::FAIR);
    network.record(ReplicaId(1));
    network.submit(0..8);
    network.run_for(Duration::from_millis(100));
    network.weather = Weather::FOUL;
    network.submit(8..14);
    network.run_for(Duration::from_millis(200));
    network.crash(ReplicaId(0));
    network.submit(14..20);
    network.run_for(Duration::from_secs(6));
    network.start(ReplicaId(0));
    network.weather = Weather::FAIR;
    let done = network.run_until(LONG, |it| it.is_served() && it.is_level());
    assert!(done, "seed {seed}: it gets stuck");
    network
}

/// The same inputs give the same effects.
///
/// # Panics
/// If they do not.
pub fn is_deterministic<S: Subject>(subject: &S, seed: u64) {
    let [first, second] = [(); 2].map(|()| eventful(subject.clone(), seed));
    assert_eq!(first.trace, second.trace, "seed {seed}: two runs differ");
    assert_eq!(first.carried, second.carried);
}

/// What a replica wrote and said, in order.
#[derive(Clone, Debug)]
pub(super) enum Deed<P: Protocol> {
    /// It persisted this.
    Wrote(P::Record),
    /// It sent this.
    Said(P::Message),
}

/// A replica that restarts from what it wrote up to any point never contradicts what it had said
/// by then, whatever it is told afterwards.
///
/// # Panics
/// If it does.
pub fn replays_after_every_prefix_of_effects<S: Subject>(subject: &S, seed: u64) {
    let network = eventful(subject.clone(), seed);
    let me = ReplicaId(1);
    let (deeds, heard) = (network.deeds(), network.heard());
    assert!(deeds.len() > 40 && heard.len() > 40, "seed {seed}: nothing happened");
    let mut records = Vec::new();
    let mut said: BTreeMap<Vec<u8>, Digest> = BTreeMap::new();
    for (at, deed) in deeds.iter().enumerate() {
        match deed {
            Deed::Wrote(record) => records.push(record.clone()),
            Deed::Said(message) => said.extend(subject.vote(me, message)),
        }
        let mut order: Vec<_> = heard.iter().collect();
        if at % 2 == 1 {
            order.reverse();
        }
        let mut again = Again { subject, engine: subject.engine(me), said: &said, at };
        again.tell(Input::Start { records: records.clone(), stable: Stable::genesis() });
        for Delivery { signer, via, message } in order {
            if again.engine.wants(*via, message.get()) {
                let (signer, via, message) = (*signer, *via, message.clone());
                again.tell(Input::Message { signer, via, message });
            }
        }
    }
}

/// A restarted engine whose every proposal is accepted, and whose every word is compared.
struct Again<'a, S: Subject> {
    subject: &'a S,
    engine: Engine<S>,
    said: &'a BTreeMap<Vec<u8>, Digest>,
    at: usize,
}

impl<S: Subject> Again<'_, S> {
    fn tell(&mut self, input: Input<Engine<S>>) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut out = Outbox::new();
            self.engine.handle(Time(0), input, &mut out);
            for effect in out.drain() {
                match effect {
                    Effect::Judge { slot, view, digest, .. } => {
                        inputs.push(Input::Verdict {
                            slot,
                            view,
                            digest,
                            verdict: Verdict::Accepted,
                        });
                    }
                    Effect::Send { message, .. } => self.compare(&message),
                    _ => {}
                }
            }
        }
    }

    fn compare(&self, message: &<Engine<S> as Protocol>::Message) {
        if let Some((place, digest)) = self.subject.vote(ReplicaId(1), message)
            && let Some(known) = self.said.get(&place)
        {
            let at = self.at;
            assert_eq!(*known, digest, "after effect {at} it contradicts itself by {message:?}");
        }
    }
}

/// Signed nonsense from one replica changes nothing for the others.
///
/// # Panics
/// If it does.
pub fn survives_garbage<S: Subject>(subject: &S, seed: u64) {
    let mut network = Network::new(subject.clone(), seed, Weather::FAIR);
    let liar = ReplicaId(u16::try_from(subject.committee().n() - 1).unwrap());
    network.byzantine.insert(liar);
    let mut random = Random::new(seed);
    for round in 0..60 {
        network.submit([round]);
        for _ in 0..20 {
            let message = subject.garbage(liar, &mut random);
            let to = ReplicaId(u16::try_from(random.below(u64::from(liar.0))).unwrap());
            network.inject(liar, to, message);
        }
        network.run_for(Duration::from_millis(20));
    }
    let done = network.run_until(LONG, |it| it.is_served() && it.is_level());
    assert!(done, "seed {seed}: garbage stops it");
}

/// A verdict that names another view, slot or digest has no effect.
///
/// # Panics
/// If it has.
pub fn ignores_stale_verdicts<S: Subject>(subject: &S, seed: u64) {
    let mut network = Network::new(subject.clone(), seed, Weather::FAIR);
    network.stale_verdicts = true;
    network.submit(0..20);
    let done = network.run_until(LONG, |it| it.is_served() && it.is_level());
    assert!(done, "seed {seed}: a stale verdict stops it");
}

/// Two subjects side by side in one parent.
#[derive(Clone)]
struct Both<S>(S, S);

impl<S: Subject> Both<S> {
    fn of(&self, second: bool) -> &S {
        if second { &self.1 } else { &self.0 }
    }
}

impl<S: Subject> Subject for Both<S> {
    type Engine = Nest<Engine<S>>;

    fn committee(&self) -> Committee {
        self.0.committee()
    }

    fn engine(&self, me: ReplicaId) -> Self::Engine {
        Nest::new(self.0.engine(me), self.1.engine(me))
    }

    fn command(&self, number: u64) -> Lane<<Engine<S> as Protocol>::Command> {
        Lane { second: false, of: self.0.command(number) }
    }

    fn verify(
        &self,
        via: ReplicaId,
        message: Lane<<Engine<S> as Protocol>::Message>,
    ) -> Option<Delivery<Lane<<Engine<S> as Protocol>::Message>>> {
        let Lane { second, of } = message;
        let Delivery { signer, via, message } = self.of(second).verify(via, of)?;
        Some(Delivery { signer, via, message: message.map(|of| Lane { second, of }) })
    }

    fn word(&self, message: &Lane<<Engine<S> as Protocol>::Message>) -> &'static str {
        self.of(message.second).word(&message.of)
    }

    fn vote(
        &self,
        from: ReplicaId,
        message: &Lane<<Engine<S> as Protocol>::Message>,
    ) -> Option<(Vec<u8>, Digest)> {
        let (mut place, digest) = self.of(message.second).vote(from, &message.of)?;
        place.push(message.second.into());
        Some((place, digest))
    }

    fn garbage(
        &self,
        from: ReplicaId,
        random: &mut Random,
    ) -> Lane<<Engine<S> as Protocol>::Message> {
        let second = random.below(2) == 1;
        Lane { second, of: self.of(second).garbage(from, random) }
    }

    fn stable_interval(&self) -> u64 {
        // The nest has one window for what are two orders.
        u64::MAX / 2
    }
}

/// Two of it in one parent order as each does alone. The subjects differ in what they sign.
///
/// # Panics
/// If they disturb each other.
pub fn nests<S: Subject>(first: &S, second: &S, seed: u64) {
    let both = Both(first.clone(), second.clone());
    let weather = Weather { delay_ms_max: 30, ..Weather::FAIR };
    let mut network = Network::new(both, seed, weather);
    network.submit(0..4);
    for number in 0..4 {
        let of = second.command(100 + number);
        network.feed(ReplicaId(0), Input::Propose(Lane { second: true, of }));
    }
    let all = first.committee().replicas().map(ReplicaId::position);
    let all: Vec<usize> = all.collect();
    let wanted: Vec<_> = (0..4).map(|number| second.command(100 + number)).collect();
    let done = network.run_until(LONG, |it| {
        let log = |at: &usize| it.nodes[*at].engine.as_ref().map(|nest| &nest.second_log);
        it.is_served() && it.is_level() && all.iter().all(|at| log(at) == Some(&wanted))
    });
    assert!(done, "seed {seed}: a nested engine gets stuck");
    assert!(network.log.len() >= 4 && network.log.contains_key(&Slot(1)));
}
