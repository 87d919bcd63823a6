//! `kill -9` of real processes under load: nothing acknowledged is lost, nothing is done twice,
//! nothing is out of order, and the service is back soon.
//!
//! | file | holds |
//! |---|---|
//! | this | the plan: who is killed when, and what is checked in the end |
//! | [`victims`] | the processes |
//! | [`load`] | eight clients and a probe |
//! | [`cart`] | clients of the shopping cart |
//! | [`copies`] | copies of a service that runs outside, which are killed too |
//! | [`habits`] | what such copies do wrong meanwhile, and that it was noticed |
//! | [`history`] | what they saw, judged for linearizability by a checker from elsewhere |
//! | [`checks`] | the log, the heads, retries, gaps |
//! | [`random`] | choices from a seed |

mod cart;
mod checks;
mod copies;
mod habits;
mod history;
mod load;
mod random;
mod victims;

use crate::running::wait_for;
use cart::stock_adds_up;
use checks::{
    all_replicas_agree, checkpoints_agree, counters_count_every_success, gaps,
    nothing_acknowledged_is_lost, print_gaps, retries_give_the_first_answer,
};
use copies::Copies;
use habits::{Done, Habit, Spell, shuffled};
use load::{Acknowledged, Load, Work, World};
use quorate_client::read_policy;
use random::{Random, seed};
use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use victims::Victims;

/// All replicas.
const ALL: [usize; 4] = [0, 1, 2, 3];

/// How long a cluster works undisturbed between two rounds.
const CALM: Duration = Duration::from_millis(700);

/// A round: whom to kill, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Round {
    /// A replica that does not lead.
    Follower,
    /// The one that leads.
    Primary,
    /// All at one time: a power failure.
    All,
    /// A replica, and again right after it was started again.
    Recovery,
    /// All, and all again right after they were started again.
    AllInRecovery,
    /// A replica that writes a snapshot.
    Snapshot,
    /// A replica whose disk is lost with it.
    Disk(usize),
    /// One copy of the service.
    Copy,
    /// A replica, and another's copy of the service.
    ReplicaAndCopy,
    /// All copies of the service at one time.
    Copies,
    /// All copies and all replicas.
    Everything,
}

/// A cluster under load.
struct Loop {
    runtime: Runtime,
    victims: Victims,
    /// The copies of the service, where it runs outside.
    copies: Option<Copies>,
    /// What those did wrong.
    habits: Done,
    world: Arc<World>,
    load: Load,
    random: Random,
    start: Instant,
}

impl Loop {
    /// Under a built-in service.
    fn start(service: &str, work: Work, seed: u64) -> Self {
        Self::of(service, None, work, seed)
    }

    /// Under a program of which a copy runs beside each replica.
    fn with_copies(seed: u64) -> Self {
        let copies = Copies::start();
        Self::of(&copies.service.clone(), Some(copies), Work::Keys, seed)
    }

    fn of(service: &str, copies: Option<Copies>, work: Work, seed: u64) -> Self {
        println!(
            "seed {seed}; to repeat: QUORATE_SEED={seed} cargo test -p quorate-cli --test it \
             kill_loop -- --include-ignored --nocapture"
        );
        let runtime = Runtime::new().unwrap();
        let mut victims = Victims::start(runtime.handle().clone(), service, copies.as_ref());
        let policy = read_policy(&victims.policy).unwrap();
        let world = Arc::new(World::new(work, policy.into(), victims.gateways.clone()));
        victims.ask_through(world.client(0));
        let load = {
            let _entered = runtime.enter();
            Load::start(&world, seed)
        };
        sleep(CALM);
        let random = Random::new(seed, 0);
        let (habits, start) = (Done::default(), Instant::now());
        Self { runtime, victims, copies, habits, world, load, random, start }
    }

    /// One round, from calm to calm.
    fn round(&mut self, round: Round) {
        let began = Instant::now();
        self.strike(round);
        self.settle(began, &format!("{round:?}"));
    }

    /// A round in which one copy does wrong, along with what is killed.
    fn round_with(&mut self, habit: Habit, round: Option<Round>) {
        let began = Instant::now();
        let copies = self.copies.as_mut().expect("the service runs outside");
        let copy = (self.random.one_of(&ALL), self.random.below(1 << 32));
        let spell = Spell::begin(habit, copy, copies, &mut self.victims);
        spell.wait_named(copies, &mut self.victims);
        if let Some(round) = round {
            self.strike(round);
        }
        let copies = self.copies.as_mut().expect("the service runs outside");
        spell.end(copies, &mut self.victims, &self.world, &mut self.habits);
        self.settle(began, &format!("{habit:?} copy {}, {round:?}", copy.0));
    }

    /// What a round does.
    fn strike(&mut self, round: Round) {
        match round {
            Round::Follower => {
                let primary = self.victims.primary();
                let others: Vec<_> = ALL.into_iter().filter(|&one| one != primary).collect();
                let victim = self.random.one_of(&others);
                self.kill("follower", &[victim]);
            }
            Round::Primary => {
                let primary = self.victims.primary();
                self.kill("primary", &[primary]);
            }
            Round::All => self.kill("all", &ALL),
            Round::Recovery => {
                let victim = self.random.one_of(&ALL);
                self.kill("one", &[victim]);
                self.pause();
                self.kill("one in recovery", &[victim]);
            }
            Round::AllInRecovery => {
                self.kill("all", &ALL);
                self.pause();
                self.kill("all in recovery", &ALL);
            }
            Round::Snapshot => {
                let victim = self.victims.wait_snapshot();
                self.kill("one in a snapshot", &[victim]);
            }
            Round::Disk(victim) => self.lose_disk(victim),
            Round::Copy => {
                let victim = self.random.one_of(&ALL);
                self.kill_copies("copy", &[victim]);
            }
            Round::ReplicaAndCopy => {
                let victim = self.random.one_of(&ALL);
                let other = (victim + 1 + self.random.one_of(&[0, 1, 2])) % ALL.len();
                self.victims.kill("replica and copy", &[victim]);
                self.kill_copies("copy and replica", &[other]);
                self.wait_restarted(&[victim]);
            }
            Round::Copies => self.kill_copies("all copies", &ALL),
            Round::Everything => {
                self.victims.kill("everything", &ALL);
                self.kill_copies("everything", &ALL);
                self.wait_restarted(&ALL);
            }
        }
    }

    /// Waits until all is well again, and for calm.
    fn settle(&mut self, began: Instant, what: &str) {
        let copies = &mut self.copies;
        self.victims.wait_ready(|| copies.iter_mut().for_each(Copies::revive));
        let (killed, took) = (self.victims.killed(), began.elapsed().as_secs_f32());
        println!("{killed:>4} killed, {what} took {took:.1} s");
        sleep(CALM);
    }

    /// Kills copies, which forget everything; they are started again at once.
    fn kill_copies(&mut self, kind: &'static str, copies: &[usize]) {
        self.victims.note(kind);
        self.copies.as_mut().expect("the service runs outside").kill(copies);
    }

    /// Kills, and waits until they were started again.
    fn kill(&mut self, kind: &'static str, victims: &[usize]) {
        self.victims.kill(kind, victims);
        self.wait_restarted(victims);
    }

    /// Waits until these replicas were started again. Copies that die meanwhile are at once.
    fn wait_restarted(&mut self, victims: &[usize]) {
        let copies = &mut self.copies;
        self.victims.wait_restarted(victims, || copies.iter_mut().for_each(Copies::revive));
    }

    /// Up to 300 ms: recovery in all its stages.
    fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.below(300)));
    }

    fn lose_disk(&mut self, victim: usize) {
        self.victims.kill("one and its disk", &[victim]);
        // It is started again three seconds later.
        self.victims.empty_disk(victim);
        self.wait_restarted(&[victim]);
    }

    /// A few answers, spread over all, to ask for again later.
    fn kept(&self) -> Vec<Acknowledged> {
        let acknowledged = self.world.acknowledged.lock().unwrap();
        // The window of keys is bounded: only younger ones are promised the same answer.
        let from = acknowledged.len().saturating_sub(4000);
        let recent = &acknowledged[from..];
        recent.iter().step_by(recent.len() / 5 + 1).cloned().collect()
    }

    /// Empties one disk after the other; retries give the first answers all along.
    fn lose_disks(&mut self, disks: &[usize]) {
        let kept = self.kept();
        for &disk in disks {
            self.round(Round::Disk(disk));
            self.runtime.block_on(retries_give_the_first_answer(&self.world, &kept));
        }
    }

    /// Ends the load, and checks everything.
    fn finish(mut self) -> usize {
        let kept = self.kept();
        self.round(Round::All);
        self.runtime.block_on(retries_give_the_first_answer(&self.world, &kept));
        self.runtime.block_on(self.load.stop());
        let world = &self.world;
        assert_eq!(*world.wrong.lock().unwrap(), Vec::<String>::new(), "answers out of order");

        let head = all_replicas_agree(world, &mut self.victims);
        self.runtime.block_on(checkpoints_agree(world));
        println!("all replicas agree on {head}; {} heads compared", self.victims.heads());
        let in_log = self.runtime.block_on(nothing_acknowledged_is_lost(world));
        println!("no acknowledged exchange lost: {in_log:?}");
        assert!(in_log.exchanges > 100);
        match world.work {
            Work::Keys => {
                let judged = world.histories.judge().unwrap();
                println!("linearizable: {judged:?}");
                assert!(judged.operations - judged.unanswered > 50);
                let steps = self.runtime.block_on(counters_count_every_success(world));
                println!("counters stand at their {steps} acknowledged steps");
            }
            Work::Carts => {
                let ordered = self.runtime.block_on(stock_adds_up(world));
                println!("what is left and {ordered} ordered items add up");
                assert!(ordered > 50);
            }
        }
        if let Some(copies) = &mut self.copies {
            copies_are_equal(&self.victims, copies);
            let voids = world.voids.load(std::sync::atomic::Ordering::Relaxed);
            println!("{} copies killed; {voids} void answers", copies.killed());
            self.habits.print();
        }
        print_gaps(gaps(&self.victims.kills, &world.probes.lock().unwrap()));
        let (killed, took) = (self.victims.killed(), self.start.elapsed().as_secs());
        println!("{killed} processes killed in {took} s");
        self.victims.stop();
        killed
    }
}

/// All copies come to hold the same, and so does one that executes the log for the first time.
fn copies_are_equal(victims: &Victims, copies: &mut Copies) {
    wait_for("all copies to hold the same", || {
        let states = copies.states();
        states.iter().all(|state| *state == states[0])
    });
    let fresh = copies.fresh();
    victims.audit(&fresh);
    let states = copies.states();
    assert!(states.len() == 5 && states.iter().all(|state| *state == states[0]), "{states:?}");
    assert!(states[0].len() > 1000, "{states:?}");
}

#[test]
fn an_outside_programs_copies_are_equal_when_they_lie_and_are_killed_with_replicas() {
    let mut run = Loop::with_copies(seed());
    let kills = [Round::Copy, Round::ReplicaAndCopy, Round::Copies];
    let mut kills = kills.into_iter();
    for habit in shuffled(&mut run.random) {
        run.round_with(habit, kills.next());
    }
    assert!(run.finish() >= 5);
}

#[test]
#[ignore = "slow"]
fn an_outside_programs_copies_are_equal_when_they_lie_and_are_killed_with_replicas_for_long_slow() {
    let mut run = Loop::with_copies(seed());
    let rounds = [
        None,
        Some(Round::Copy),
        Some(Round::ReplicaAndCopy),
        Some(Round::Primary),
        Some(Round::Copies),
        Some(Round::Recovery),
        Some(Round::Everything),
    ];
    // Seven rounds and six habits: each meets each of the others in the end.
    let mut rounds = rounds.into_iter().cycle();
    while run.start.elapsed() < Duration::from_secs(180) {
        for habit in shuffled(&mut run.random) {
            run.round_with(habit, rounds.next().flatten());
        }
    }
    run.lose_disks(&[2]);
    assert!(run.finish() >= 20);
}

#[test]
fn orders_and_stock_add_up_when_processes_are_killed() {
    let mut run = Loop::start("cart", Work::Carts, seed());
    run.round(Round::Follower);
    run.round(Round::Primary);
    assert!(run.finish() >= 6);
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let mut run = Loop::start("kv", Work::Keys, seed());
    run.round(Round::Follower);
    run.round(Round::Primary);
    run.lose_disks(&[1]);
    assert!(run.finish() >= 6);
}

#[test]
#[ignore = "slow"]
fn nothing_acknowledged_is_lost_when_a_hundred_processes_are_killed_slow() {
    let mut run = Loop::start("kv", Work::Keys, seed());
    let rounds = [
        Round::Follower,
        Round::Primary,
        Round::Recovery,
        Round::Primary,
        Round::All,
        Round::Snapshot,
        Round::Follower,
        Round::AllInRecovery,
    ];
    let enough = Duration::from_secs(480);
    while run.victims.killed() < 100 || run.start.elapsed() < enough {
        assert!(run.start.elapsed() < Duration::from_secs(900), "too few kills in the time");
        for round in rounds {
            run.round(round);
        }
    }
    run.lose_disks(&ALL);
    assert!(run.finish() >= 100);
}
