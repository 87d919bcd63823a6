//! The states that replicas get into, by number, and what leads from one to the next.

use super::{
    super::*,
    Setting, liar,
    local::{Event, Local},
    said::{Book, Number},
};

/// A state of one replica.
pub(super) type Place = u32;

/// A hash of what others can notice of a replica.
pub(super) type Face = u64;

/// Deliveries to one replica after which others may notice something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Burst {
    pub(super) replica: usize,
    pub(super) events: Arc<[Event]>,
    pub(super) to: Place,
}

/// What can be delivered, and what of the rest can happen.
type Offer = (Number, bool, bool);

pub(super) struct Space {
    pub(super) setting: Setting,
    pub(super) book: Book,
    locals: Vec<Arc<Local>>,
    by_text: BTreeMap<[u8; 32], Place>,
    faces: Vec<Face>,
    /// All that can be noticed of all, where the setting asks for it.
    pub(super) noticed: BTreeSet<[Face; 3]>,
    /// For each place and event: 0 unknown, 1 impossible or without effect, else a place plus 2.
    steps: Vec<Vec<u32>>,
    /// What the correct replicas said, with what can be delivered then.
    unions: BTreeMap<Vec<Number>, Number>,
    deliverable: Vec<Arc<[Number]>>,
    bursts: BTreeMap<(Place, Offer), Arc<[Burst]>>,
}

impl Space {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            setting,
            book: Book::default(),
            locals: Vec::new(),
            by_text: BTreeMap::new(),
            faces: Vec::new(),
            noticed: BTreeSet::new(),
            steps: Vec::new(),
            unions: BTreeMap::new(),
            deliverable: Vec::new(),
            bursts: BTreeMap::new(),
        }
    }

    pub(super) fn local(&self, place: Place) -> &Local {
        &self.locals[place as usize]
    }

    /// What the states are made of.
    pub(super) fn size(&self) -> String {
        let (locals, messages) = (self.locals.len(), self.book.len());
        format!("{locals} states of a replica, {messages} messages")
    }

    /// A burst in words.
    pub(super) fn tell(&self, burst: &Burst) -> String {
        let events: Vec<String> = burst.events.iter().map(|it| it.tell(&self.book)).collect();
        format!("{}: {}", self.local(burst.to).me, events.join(" | "))
    }

    pub(super) fn begin(&mut self, me: ReplicaId) -> Place {
        let local = Local::new(&self.setting, me, &mut self.book);
        self.place(local)
    }

    fn place(&mut self, local: Local) -> Place {
        let text = hash(local.text(&self.setting).as_bytes());
        if let Some(place) = self.by_text.get(&text) {
            return *place;
        }
        let place = Place::try_from(self.locals.len()).unwrap();
        let face = hash(local.face(&self.book).as_bytes());
        self.faces.push(face.iter().take(8).fold(0, |face, byte| face << 8 | Face::from(*byte)));
        self.locals.push(Arc::new(local));
        self.steps.push(Vec::new());
        self.by_text.insert(text, place);
        place
    }

    fn face(&self, place: Place) -> Face {
        self.faces[place as usize]
    }

    /// Where an event leads, if it makes a difference.
    fn step(&mut self, from: Place, event: Event) -> Option<Place> {
        let steps = &mut self.steps[from as usize];
        let at = event.place();
        if steps.len() <= at {
            steps.resize(at + 1, 0);
        }
        if steps[at] == 0 {
            let local = Arc::clone(&self.locals[from as usize]);
            let next = local.after(event, &self.setting, &mut self.book);
            let to = next.map(|next| self.place(next)).filter(|to| *to != from);
            self.steps[from as usize][at] = to.map_or(1, |to| to + 2);
        }
        self.steps[from as usize][at].checked_sub(2)
    }

    /// The number of everything that these replicas said.
    fn union(&mut self, places: &[Place]) -> Number {
        let said: BTreeSet<Number> =
            places.iter().flat_map(|place| self.local(*place).said.iter().copied()).collect();
        let said: Vec<Number> = said.into_iter().collect();
        if let Some(number) = self.unions.get(&said) {
            return *number;
        }
        let deliverable = liar::deliverable(&self.setting, &mut self.book, &said);
        let number = Number::try_from(self.deliverable.len()).unwrap();
        self.deliverable.push(deliverable.into());
        self.unions.insert(said, number);
        number
    }

    /// Everything that can happen next, where the correct replicas stand at these places.
    pub(super) fn next(&mut self, places: &[Place; 3]) -> Vec<Burst> {
        if self.setting.notices {
            self.noticed.insert(places.map(|place| self.face(place)));
        }
        let union = self.union(places);
        let spent = |of: fn(&Local) -> u8| places.iter().map(|it| of(self.local(*it))).sum::<u8>();
        let restarts = spent(|local| local.spent.restarts) < self.setting.restarts;
        let refusals = spent(|local| local.spent.refusals) < self.setting.refusals;
        let mut all = Vec::new();
        for (replica, place) in places.iter().enumerate() {
            let offer = (union, restarts, refusals);
            let bursts = match self.bursts.get(&(*place, offer)) {
                Some(bursts) => Arc::clone(bursts),
                None => {
                    let bursts: Arc<[Burst]> = self.bursts_from(replica, *place, offer).into();
                    self.bursts.insert((*place, offer), Arc::clone(&bursts));
                    bursts
                }
            };
            all.extend(bursts.iter().cloned());
        }
        all
    }

    fn events(&self, (union, restarts, refusals): Offer) -> Vec<Event> {
        let mut events = vec![Event::Propose, Event::Change];
        if restarts {
            events.extend([false, true].map(|notes| Event::Restart { notes }));
        }
        for number in self.deliverable[union as usize].iter().copied() {
            events.push(Event::Deliver(number));
            if refusals {
                events.push(Event::Refuse(number));
            }
            if restarts {
                events.extend([1, 2].map(|records| Event::Crash(number, records)));
            }
        }
        events
    }

    fn bursts_from(&mut self, replica: usize, from: Place, offer: Offer) -> Vec<Burst> {
        let events = self.events(offer);
        let mut bursts = Vec::new();
        let mut seen: BTreeSet<Place> = BTreeSet::from([from]);
        let mut level: Vec<(Place, Vec<Event>)> = vec![(from, Vec::new())];
        for length in 0..=self.setting.quiet {
            let mut quiet = Vec::new();
            for (at, path) in level {
                for event in &events {
                    let Some(to) = self.step(at, *event) else { continue };
                    if seen.contains(&to) {
                        continue;
                    }
                    let longer: Vec<Event> = path.iter().chain([event]).copied().collect();
                    if self.face(to) == self.face(from) {
                        if length < self.setting.quiet {
                            seen.insert(to);
                            quiet.push((to, longer));
                        }
                    } else if !self.is_reducible(from, &path, *event, to) {
                        seen.insert(to);
                        bursts.push(Burst { replica, events: longer.into(), to });
                    }
                }
            }
            level = quiet;
        }
        self.without_quiet_ends(bursts, &events)
    }

    /// Leaves out what is only on from where another burst ends, by deliveries that nobody notices.
    fn without_quiet_ends(&mut self, bursts: Vec<Burst>, events: &[Event]) -> Vec<Burst> {
        let mut later: BTreeSet<Place> = BTreeSet::new();
        for burst in &bursts {
            let mut level = vec![burst.to];
            for _ in 0..self.setting.quiet {
                let mut next = Vec::new();
                for at in level {
                    for event in events {
                        let Some(to) = self.step(at, *event) else { continue };
                        let quiet = self.face(to) == self.face(at);
                        if quiet && later.insert(to) {
                            next.push(to);
                        }
                    }
                }
                level = next;
            }
        }
        bursts.into_iter().filter(|burst| !later.contains(&burst.to)).collect()
    }

    /// Whether one of the deliveries that nobody notices can be left out, or come after the one
    /// that somebody does, and all is the same.
    fn is_reducible(&mut self, from: Place, quiet: &[Event], last: Event, to: Place) -> bool {
        (0..quiet.len()).any(|without| {
            let mut at = from;
            for (number, event) in quiet.iter().enumerate() {
                if number != without {
                    at = self.step(at, *event).unwrap_or(at);
                }
            }
            let Some(end) = self.step(at, last) else { return false };
            let noticed = self.face(end) != self.face(at);
            noticed && (end == to || self.step(end, quiet[without]) == Some(to))
        })
    }
}
