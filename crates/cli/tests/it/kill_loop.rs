//! `kill -9` of real processes under load: nothing acknowledged is lost, nothing is done twice,
//! nothing is out of order, and the service is back soon.
//!
//! | file | holds |
//! |---|---|
//! | this | the plan: who is killed when, and what is checked in the end |
//! | [`victims`] | the processes |
//! | [`load`] | eight clients and a probe |
//! | [`history`] | what they saw, judged for linearizability by a checker from elsewhere |
//! | [`checks`] | the log, the heads, retries, gaps |
//! | [`random`] | choices from a seed |

mod checks;
mod history;
mod load;
mod random;
mod victims;

use checks::{
    all_replicas_agree, checkpoints_agree, counters_count_every_success, gaps,
    nothing_acknowledged_is_lost, print_gaps, retries_give_the_first_answer,
};
use load::{Acknowledged, Load, World};
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
}

/// A cluster under load.
struct Loop {
    runtime: Runtime,
    victims: Victims,
    world: Arc<World>,
    load: Load,
    random: Random,
    start: Instant,
}

impl Loop {
    fn start(seed: u64) -> Self {
        println!(
            "seed {seed}; to repeat: QUORATE_SEED={seed} cargo test -p quorate-cli --test it \
             kill_loop -- --include-ignored --nocapture"
        );
        let runtime = Runtime::new().unwrap();
        let mut victims = Victims::start(runtime.handle().clone());
        let policy = read_policy(&victims.policy).unwrap();
        let world = Arc::new(World::new(policy.into(), victims.gateways.clone()));
        victims.ask_through(world.client(0));
        let load = {
            let _entered = runtime.enter();
            Load::start(&world, seed)
        };
        sleep(CALM);
        let random = Random::new(seed, 0);
        Self { runtime, victims, world, load, random, start: Instant::now() }
    }

    /// One round, from calm to calm.
    fn round(&mut self, round: Round) {
        let began = Instant::now();
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
        }
        self.victims.wait_ready();
        let (killed, took) = (self.victims.killed(), began.elapsed().as_secs_f32());
        println!("{killed:>4} killed, {round:?} took {took:.1} s");
        sleep(CALM);
    }

    /// Kills, and waits until they were started again.
    fn kill(&mut self, kind: &'static str, victims: &[usize]) {
        self.victims.kill(kind, victims);
        self.victims.wait_restarted(victims);
    }

    /// Up to 300 ms: recovery in all its stages.
    fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.below(300)));
    }

    fn lose_disk(&mut self, victim: usize) {
        self.victims.kill("one and its disk", &[victim]);
        // It is started again three seconds later.
        self.victims.empty_disk(victim);
        self.victims.wait_restarted(&[victim]);
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
        let judged = world.histories.judge().unwrap();
        println!("linearizable: {judged:?}");
        assert!(judged.operations > 50);
        let steps = self.runtime.block_on(counters_count_every_success(world));
        println!("counters stand at their {steps} acknowledged steps");
        print_gaps(gaps(&self.victims.kills, &world.probes.lock().unwrap()));
        let (killed, took) = (self.victims.killed(), self.start.elapsed().as_secs());
        println!("{killed} processes killed in {took} s");
        self.victims.stop();
        killed
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let mut run = Loop::start(seed());
    run.round(Round::Follower);
    run.round(Round::Primary);
    run.lose_disks(&[1]);
    assert!(run.finish() >= 6);
}

#[test]
#[ignore = "slow"]
fn nothing_acknowledged_is_lost_when_a_hundred_processes_are_killed_slow() {
    let mut run = Loop::start(seed());
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
