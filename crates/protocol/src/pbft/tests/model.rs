//! PBFT, checked state by state: four replicas, one of them Byzantine, the engine of production.
//!
//! A `stateright` model in which the correct replicas are three [`Pbft`] values. Whatever can
//! happen to them on any network happens in some run, and what must hold is looked at in each
//! state.
//!
//! | file | holds |
//! |---|---|
//! | `local` | one correct replica: engine, disk, what can happen to it, when two states are one |
//! | `liar` | the Byzantine replica: everything that it can sign |
//! | `space` | the states of replicas by number, and what leads from one to the next |
//! | `said` | messages by name |
//!
//! # What can happen
//!
//! - Messages are never lost and never late: what was sent stays, and is delivered to anyone at any
//!   later time, or never. This is loss, delay, duplication, reordering, and relaying at once.
//! - A message is handled even if the engine would not want it any more: between that question and
//!   the answer of the verify stage anything may happen.
//! - Time stands still. A replica leaves for the next view whenever it likes, which covers every
//!   timer, every suspicion and every Status that could make it. Statuses are not delivered: all
//!   else that they cause is that messages are sent again, which stay anyway.
//! - A proposal is judged at once: accepted, or, a bounded number of times, refused.
//! - A bounded number of times a replica crashes, between two inputs or before any record that it
//!   writes, and starts again from its records, with or without those that no barrier followed.
//! - A correct primary with room is given a command, for each slot once.
//! - The Byzantine replica has no plan. At any time everything has been sent that can be signed
//!   with its key and made of what others signed: two proposals and the no-op to whomever it likes,
//!   votes for all of them, reports that conceal or claim whatever there is a certificate for, and
//!   some that there is none for, openings of its view from any reports, and from too few,
//!   decisions from any Commits, and from too few.
//!
//! A check is of one Byzantine replica: the first primary, the second, or a backup in both views.
//! Replicas 2 and 3 do the same in two views, so three checks are all four.
//!
//! # Why so few states are enough
//!
//! 1. *A state is that of three replicas, no more.* What is under way follows from what they said;
//!    the Byzantine one has no state.
//! 2. *What nobody notices is put off.* A delivery after which the replica has said and decided
//!    nothing new, in the same view, can come later in any run, up to the next delivery to the same
//!    replica that it makes a difference to: others do not depend on it, and what it delivers will
//!    still be there. So replicas advance by *bursts*: quiet deliveries, then one that is noticed.
//!    A burst is left out if the same state is reached, on the engine itself, without one of the
//!    quiet deliveries, or with it last; or by quiet deliveries after another burst. Nothing is
//!    presumed of what the engine should do with a message, so a bug is not reduced away. Two quiet
//!    deliveries are enough where a quorum is three: the third vote is noticed. That three lead to
//!    the same states is a test.
//! 3. *Votes of a view are delivered when it is open.* Early ones are kept, and handled right when
//!    it opens, wanted or not; to deliver them then is the same. A slow check delivers them early,
//!    too, and compares what others notice.
//! 4. *What makes no difference is not compared* (`Local::text`): clocks, quotas, which quorum
//!    signed a certificate, votes of a kind that is settled in this view, reports for a view that
//!    another replica opens, which reports a NewView has beside what follows from them and whose
//!    they are; and records, once the replica cannot restart any more. States that differ in these
//!    go on alike. A merged state may have heard a vote that in this run was not cast; therefore
//!    evidence is checked by its signatures, and against whom by nobody contradicting himself.
//!
//! # What is left out
//!
//! Stable slots and the moving window, state transfer, forgotten records, malformed bytes, verdicts
//! that come late, and progress: nothing here says that anything is ever decided. The simulator's
//! seeds and the other tests are about these.

mod bugs;
mod liar;
mod local;
mod said;
mod space;

use super::*;
use local::{Local, Wrong};
use quorate_types::bug::Bug;
use space::{Burst, Face, Place, Space};
use stateright::{
    Checker, DiscoveryClassification, HasDiscoveries, Model, Property, UniformChooser,
    report::{ReportData, ReportDiscovery, Reporter},
};
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// What is checked.
#[derive(Clone)]
struct Setting {
    macs: Macs,
    byzantine: ReplicaId,
    slots: u64,
    /// Views below this one are entered.
    views: u64,
    /// How often replicas restart, all together.
    restarts: u8,
    /// How often a proposal is refused, all together.
    refusals: u8,
    /// Whether votes are delivered before their view opens, too.
    early: bool,
    /// How many deliveries that nobody notices come before one that somebody does.
    quiet: usize,
    /// How many bursts long a run is, at most; without end if it is to be exhaustive.
    bursts: usize,
    /// Whether to keep all that others can notice, to compare two checks.
    notices: bool,
    bug: Option<Bug>,
}

impl Setting {
    /// One slot and two views, without end.
    fn new(byzantine: u16) -> Self {
        Self {
            macs: Macs { window: 1, ..Macs::new(4) },
            byzantine: ReplicaId(byzantine),
            slots: 1,
            views: 2,
            restarts: 0,
            refusals: 0,
            early: false,
            quiet: 2,
            bursts: usize::MAX,
            notices: false,
            bug: None,
        }
    }

    fn of_slots(self, slots: u64) -> Self {
        Self { macs: Macs { window: slots, ..self.macs }, slots, ..self }
    }

    fn correct(&self) -> impl Iterator<Item = ReplicaId> {
        self.macs.committee.replicas().filter(|it| *it != self.byzantine)
    }

    fn views(&self) -> impl Iterator<Item = View> + use<> {
        (0..self.views).map(View)
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (1..=self.slots).map(Slot)
    }

    /// What there is to propose. No-ops come with a change of view.
    fn commands(view: View) -> Vec<Option<Word>> {
        let noop = (view > View(0)).then_some(None);
        [Some(Word(1)), Some(Word(2))].into_iter().chain(noop).collect()
    }

    fn liar_leads(&self) -> bool {
        self.views().any(|view| self.macs.committee.primary(view) == self.byzantine)
    }

    fn tell(&self) -> String {
        let count = |count: u64, word: &str| match count {
            0 => String::new(),
            1 => format!(", 1 {word}"),
            _ => format!(", {count} {word}s"),
        };
        let what = [
            format!("{} lies", self.byzantine),
            count(self.slots, "slot"),
            count(self.views, "view"),
            count(u64::from(self.refusals), "refusal"),
            count(u64::from(self.restarts), "restart"),
        ];
        let early = if self.early { ", early votes" } else { "" };
        let bug = self.bug.map_or(String::new(), |bug| format!(", {bug}"));
        format!("{}{early}{bug}", what.concat())
    }
}

/// Where the correct replicas stand.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct World([Place; 3]);

/// The committee.
struct Four(Mutex<Space>);

impl Four {
    fn space(&self) -> MutexGuard<'_, Space> {
        self.0.lock().unwrap()
    }

    fn any(&self, world: &World, is: impl Fn(&Local) -> bool) -> bool {
        let space = self.space();
        world.0.iter().any(|place| is(space.local(*place)))
    }

    fn commits_in(&self, world: &World, view: u64) -> bool {
        self.any(world, |it| it.committed.values().any(|(of, _)| *of == View(view)))
    }

    fn never(&self, world: &World, wrong: Wrong) -> bool {
        !self.any(world, |local| local.wrong == Some(wrong))
    }

    fn agrees(&self, world: &World) -> bool {
        let space = self.space();
        let committed = world.0.iter().flat_map(|place| &space.local(*place).committed);
        let mut known = BTreeMap::new();
        committed
            .into_iter()
            .all(|(slot, (_, digest))| *known.entry(slot).or_insert(digest) == digest)
    }

    /// Whether everything committed was proposed: by a correct replica, or by the liar, who
    /// proposes all there is, and no no-op in view 0.
    fn was_proposed(&self, world: &World) -> bool {
        let space = self.space();
        let locals: Vec<&Local> = world.0.iter().map(|place| space.local(*place)).collect();
        let noop = digest_of::<Word>(None);
        let mut committed = locals.iter().flat_map(|local| local.committed.values());
        committed.all(|(view, digest)| match *digest == noop {
            true => *view > View(0),
            false => {
                space.setting.liar_leads() || locals.iter().any(|it| it.proposed.contains(digest))
            }
        })
    }
}

impl Model for Four {
    type State = World;
    type Action = Burst;

    fn init_states(&self) -> Vec<World> {
        let mut space = self.space();
        let correct: Vec<ReplicaId> = space.setting.correct().collect();
        let places: Vec<Place> = correct.into_iter().map(|me| space.begin(me)).collect();
        vec![World(places.try_into().unwrap())]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Burst>) {
        actions.extend(self.space().next(&world.0));
    }

    fn next_state(&self, world: &World, burst: Burst) -> Option<World> {
        let mut next = world.clone();
        next.0[burst.replica] = burst.to;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let restarts = self.space().setting.restarts > 0;
        let came_back = Property::sometimes("a replica restarts and commits", |four: &Self, at| {
            four.any(at, |it| it.came_back)
        });
        let always = vec![
            Property::always("agreement", Self::agrees),
            Property::always("what is committed was proposed", Self::was_proposed),
            Property::always("nobody panics", |four: &Self, at| four.never(at, Wrong::Panics)),
            Property::always("nobody correct contradicts himself", |four: &Self, at| {
                four.never(at, Wrong::ContradictsItself)
            }),
            Property::always("nobody correct commits two things", |four: &Self, at| {
                four.never(at, Wrong::CommitsTwoThings)
            }),
            Property::always("nobody correct leaves a gap", |four: &Self, at| {
                four.never(at, Wrong::LeavesAGap)
            }),
            Property::always("nobody correct is accused", |four: &Self, at| {
                four.never(at, Wrong::AccusesTheCorrect)
            }),
            Property::always("no view is entered that is not checked", |four: &Self, at| {
                four.never(at, Wrong::GoesTooFar)
            }),
        ];
        let sometimes = vec![
            Property::sometimes("view 0 commits", |four: &Self, at| four.commits_in(at, 0)),
            Property::sometimes("view 1 commits", |four: &Self, at| four.commits_in(at, 1)),
            Property::sometimes("view 1 commits what view 0 prepared", |four: &Self, at| {
                four.any(at, |it| it.carried)
            }),
        ];
        let came_back = restarts.then_some(came_back);
        always.into_iter().chain(sometimes).chain(came_back).collect()
    }
}

/// What a check came to.
#[derive(Debug, Default)]
struct Tape {
    generated: usize,
    unique: usize,
    depth: usize,
    seconds: f64,
    /// The locals and messages behind the states.
    size: String,
    noticed: BTreeSet<[Face; 3]>,
    examples: BTreeSet<&'static str>,
    /// What does not hold, with a run that shows it.
    violations: BTreeMap<&'static str, String>,
}

impl Tape {
    fn complain(&self) {
        for (name, run) in &self.violations {
            println!("violated: {name}\n  {run}");
        }
        assert!(self.violations.is_empty(), "{:?}", self.violations.keys());
    }
}

impl Reporter<Four> for Tape {
    fn report_checking(&mut self, data: ReportData) {
        (self.generated, self.unique) = (data.total_states, data.unique_states);
        (self.depth, self.seconds) = (data.max_depth, data.duration.as_secs_f64());
    }

    fn report_discoveries(
        &mut self,
        four: &Four,
        discoveries: BTreeMap<&'static str, ReportDiscovery<Four>>,
    ) {
        let space = four.space();
        self.size = space.size();
        self.noticed = space.noticed.clone();
        for (name, found) in discoveries {
            if matches!(found.classification, DiscoveryClassification::Example) {
                self.examples.insert(name);
                continue;
            }
            let bursts = found.path.into_actions();
            let steps: Vec<String> = bursts.iter().map(|burst| space.tell(burst)).collect();
            self.violations.insert(name, steps.join("\n  "));
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(50)
    }
}

/// What a bug must lead to.
const HARMS: [&str; 2] = ["agreement", "what is committed was proposed"];

/// Looks at every state, or at those within a number of bursts; at the first violation it ends, or,
/// with a bug, at the first that does harm.
fn look(setting: Setting) -> Tape {
    let what = setting.tell();
    let bursts = setting.bursts;
    let ends = match setting.bug {
        None => HasDiscoveries::AnyFailures,
        Some(_) => HasDiscoveries::AnyOf(BTreeSet::from(HARMS)),
    };
    let checker =
        Four(Mutex::new(Space::new(setting))).checker().target_max_depth(bursts).finish_when(ends);
    let mut tape = Tape::default();
    // One thread: the shortest run is found first, and the counts are the same each time.
    let _ = checker.spawn_bfs().report(&mut tape).join();
    let Tape { generated, unique, depth, seconds, size, .. } = &tape;
    let extent = if bursts == usize::MAX { "all" } else { "bounded" };
    println!(
        "model: {what}: {extent}, {unique} states ({generated} reached), {} bursts, \
         {seconds:.1} s; {size}",
        depth.saturating_sub(1)
    );
    tape
}

/// Runs to their ends, drawn by chance, until so many states were seen: what is too much to look at
/// as a whole is so looked at in depth.
fn walks(setting: Setting, states: usize) {
    let what = setting.tell();
    let checker = Four(Mutex::new(Space::new(Setting { notices: true, ..setting })))
        .checker()
        .target_state_count(states)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_simulation(1, UniformChooser)
        .join();
    let mut tape = Tape::default();
    for (name, path) in checker.discoveries() {
        let classification = checker.discovery_classification(name);
        let found = BTreeMap::from([(name, ReportDiscovery { path, classification })]);
        tape.report_discoveries(checker.model(), found);
    }
    println!(
        "model: {what}: walked, {} states ({} differ to others), up to {} bursts; {}; reached: {}",
        checker.state_count(),
        tape.noticed.len(),
        checker.max_depth(),
        tape.size,
        tape.examples.iter().copied().collect::<Vec<_>>().join(", ")
    );
    tape.complain();
    assert!(!tape.examples.is_empty(), "nothing was reached");
}

/// Nothing is violated.
fn holds(setting: Setting) -> Tape {
    let tape = look(setting);
    tape.complain();
    tape
}

/// The same, and everything is reached that shows the check not to be empty.
fn holds_everywhere(setting: Setting) -> Tape {
    let four = Four(Mutex::new(Space::new(setting.clone())));
    let tape = holds(setting);
    for property in four.properties() {
        let sometimes = matches!(property.expectation, stateright::Expectation::Sometimes);
        assert!(!sometimes || tape.examples.contains(property.name), "never: {}", property.name);
    }
    tape
}

#[test]
fn one_slot_and_two_views_are_safe_when_a_backup_lies() {
    holds_everywhere(Setting::new(2));
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn one_slot_and_two_views_are_safe_when_the_first_primary_lies() {
    holds_everywhere(Setting::new(0));
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn one_slot_and_two_views_are_safe_when_the_second_primary_lies() {
    holds_everywhere(Setting::new(1));
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn a_refused_proposal_is_safe_whoever_lies() {
    for byzantine in 0..3 {
        holds_everywhere(Setting { refusals: 1, ..Setting::new(byzantine) });
    }
}

#[test]
#[ignore = "model: run by cargo xtask model"]
fn a_restart_is_safe_when_a_backup_lies() {
    holds_everywhere(Setting { restarts: 1, ..Setting::new(2) });
}

#[test]
#[ignore = "slow"]
fn a_restart_is_safe_when_a_primary_lies_slow() {
    for byzantine in 0..2 {
        holds_everywhere(Setting { restarts: 1, ..Setting::new(byzantine) });
    }
}

/// The reductions hide nothing that others could notice.
#[test]
#[ignore = "slow"]
fn longer_bursts_and_early_votes_lead_nowhere_else_slow() {
    let plain = Setting { notices: true, ..Setting::new(2) };
    let seen = look(plain.clone());
    let longer = holds_everywhere(Setting { quiet: 3, ..plain.clone() });
    assert_eq!(longer.unique, seen.unique);
    assert!(longer.noticed == seen.noticed);
    let early = holds_everywhere(Setting { early: true, ..plain });
    assert!(early.noticed == seen.noticed, "{} {}", early.noticed.len(), seen.noticed.len());
}

#[test]
#[ignore = "slow"]
fn two_slots_are_safe_as_far_as_one_looks_slow() {
    for (byzantine, bursts) in [(0, 6), (1, 7), (2, 8)] {
        let setting = Setting::new(byzantine).of_slots(2);
        holds(Setting { bursts, ..setting.clone() });
        walks(setting, 3_000);
    }
}

#[test]
#[ignore = "slow"]
fn three_views_are_safe_as_far_as_one_looks_slow() {
    for (byzantine, bursts) in [(0, 8), (1, 9), (2, 10), (3, 10)] {
        let setting = Setting { views: 3, ..Setting::new(byzantine) };
        holds(Setting { bursts, ..setting.clone() });
        walks(setting, 3_000);
    }
}
