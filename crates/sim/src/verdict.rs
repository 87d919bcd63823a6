//! When a run is over, and what it came to.

use crate::{
    adversary::Deed,
    check::{self, Trace},
    linear::{self, Beside, Judged},
    outcome::mix,
    process::{Act, Birth, Process},
    seat::Seat,
    violation::{Check, Violation},
    world::World,
};
use quorate_types::{Index, ReplicaId};

impl World {
    /// Whether a replica must come up, catch up and answer in the end: it never lied, and its clock
    /// is right.
    pub(crate) fn must_serve(&self, who: ReplicaId) -> bool {
        let cast = &self.plan.cast;
        !self.lies(who) && (cast.clocks_mended || !cast.clocks.contains_key(&who))
    }

    /// Whether everybody was answered and everybody is level.
    pub(crate) fn is_settled(&self) -> bool {
        let idle =
            || self.clients.iter().all(|client| client.current.is_none() && client.left == 0);
        if self.now < self.plan.healed || !idle() || self.history.is_empty() {
            return false;
        }
        // After a power loss, what was acknowledged may have to be committed again from the votes.
        let acknowledged = self.history.iter().filter_map(|operation| operation.returned.as_ref());
        let needed = acknowledged.map(|returned| returned.index.0 + 1).max().unwrap_or(0);
        let mut level = None;
        for at in self.serving() {
            let Some(process) = &self.machines[at.position()].process else { return false };
            let sight = process.replica().sight();
            if !sight.votes || sight.stable != sight.executed || process.log().size() < needed {
                return false;
            }
            // The state's digest is the hash of this.
            let record = process.replica().execution().map(|execution| *execution.record());
            if *level.get_or_insert(record) != record {
                return false;
            }
        }
        level.is_some()
    }

    /// Whether every replica that must serve says that it does.
    pub(crate) fn all_ready(&self) -> bool {
        self.serving().all(|at| self.machines[at.position()].ready)
    }

    fn serving(&self) -> impl Iterator<Item = Seat> + '_ {
        self.seating.all().filter(|&at| self.must_serve(self.who(at)))
    }

    pub(crate) fn report_stuck(&mut self) {
        let open = self.clients.iter().filter(|client| client.current.is_some()).count();
        let mut sights = Vec::new();
        for at in self.seating.all() {
            let machine = &self.machines[at.position()];
            let (who, at) = (self.who(at), self.name(at));
            let role = match (self.lies(who), self.must_serve(who)) {
                (true, _) => " (liar)",
                (_, false) => " (wrong clock)",
                _ => "",
            };
            let Some(process) = &machine.process else {
                sights.push(format!("{at}{role} is down"));
                continue;
            };
            let (sight, engine) = (process.replica().sight(), process.replica().engine());
            let (ready, committed) = (machine.ready, engine.committed());
            sights.push(format!("{at}{role}: ready {ready}, committed {committed}, {sight:?}"));
        }
        let phase = if self.probing { "after the probes" } else { "before the probes" };
        let sights = sights.join("; ");
        let reason = format!("stuck {phase}: {open} clients unanswered; {sights}");
        self.fail(Check::Progress.broken(reason));
    }

    /// Checks everything that can be checked at the end.
    pub(crate) fn judge(&mut self) -> Trace {
        self.wires.count(&mut self.outcome.injected);
        let (mut logs, mut invented) = (Vec::new(), Vec::new());
        let (mut ends, mut states, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for at in self.seating.all() {
            self.tell_struck(at);
            let machine = &self.machines[at.position()];
            if let Some(adversary) = &machine.adversary {
                invented.extend_from_slice(adversary.invented());
                for (&name, &count) in adversary.injected() {
                    *self.outcome.injected.entry(name).or_default() += count;
                }
                continue;
            }
            let Some(process) = &machine.process else { continue };
            if !self.is_sound(at) {
                continue;
            }
            let (log, name) = (process.log(), self.name(at));
            logs.push(log.verified().unwrap_or_else(|error| {
                damaged.push(Check::State.broken(format!("{name}: {error}")));
                (0..log.size()).map_while(|i| log.item(Index(i)).ok().flatten()).collect()
            }));
            self.outcome.views = self.outcome.views.max(process.replica().sight().view.0);
            ends.extend(Process::state(process));
            states.extend(process.replica().standing());
        }
        match self.cluster.wrongs.count() {
            0 => {}
            wrongs => _ = self.outcome.injected.insert(Deed::ExecuteWrongly.name(), wrongs),
        }
        self.look_at_bounds();
        let (history, tuning) = (std::mem::take(&mut self.history), self.plan.tuning);
        let leeway = self.standing.leeway();
        let trace = Trace { logs, history, invented, tuning, leeway };
        self.outcome.entries = trace.logs.iter().map(Vec::len).max().unwrap_or(0) as u64;
        if let Err(violation) = trace.check() {
            self.fail(violation);
        }
        let longest = trace.logs.iter().max_by_key(|log| log.len());
        match longest.map_or(0, |log| check::forgotten(log)) {
            0 => {}
            again => *self.outcome.checked.entry("forgotten-and-repeated").or_default() += again,
        }
        if !leeway.wrong {
            self.judge_history(&trace);
        }
        damaged.into_iter().for_each(|violation| self.fail(violation));
        match check::one_state(&states) {
            Ok(compared) => *self.outcome.checked.entry("states-compared").or_default() += compared,
            Err(violation) => self.fail(violation),
        }
        if self.outcome.failures.is_empty() {
            self.start_again(&trace);
        }
        for (slot, digest) in &ends {
            if ends.iter().any(|(other, state)| other == slot && state != digest) {
                self.fail(Check::State.broken(format!("two states after slot {slot}")));
            }
            self.outcome.hash = mix(self.outcome.hash, slot.0 ^ u64::from(digest.0[0]));
        }
        trace
    }

    /// What clients were told must be linearizable, whatever the log says.
    fn judge_history(&mut self, trace: &Trace) {
        match linear::check(&trace.history, &Beside::of(trace)) {
            Ok(Judged { keys, operations, unanswered, too_long }) => {
                for (name, count) in [
                    ("histories", keys),
                    ("histories-operations", operations),
                    ("histories-unanswered", unanswered),
                    ("histories-too-long", too_long),
                ] {
                    *self.outcome.checked.entry(name).or_default() += count;
                }
            }
            Err(violation) => self.fail(violation),
        }
    }

    /// What is on the disks of those who never lied must be enough to start from, whatever a loss
    /// of power leaves of it, and must lead to the same log.
    fn start_again(&mut self, trace: &Trace) {
        let seed = self.rng.draw();
        for seat in self.seating.all() {
            let at = self.who(seat);
            let Some(process) = &self.machines[seat.position()].process else { continue };
            if !self.is_sound(seat) {
                continue;
            }
            let (disk, mut acts) = (process.disk().crash(seed), Vec::new());
            let birth = Birth { disk, nonce: seed, skew_ms: 0, watch: None };
            let started = Process::start(&self.cluster, at, birth, self.now, &mut acts);
            let halted = acts.iter().find_map(|act| match act {
                Act::Halt(halt) => Some(halt.to_string()),
                _ => None,
            });
            let died = || "it died".to_owned();
            let started = started.map_err(|(halt, _)| halt.map_or_else(died, |it| it.to_string()));
            match (started, halted) {
                (Ok(process), None) => {
                    self.outcome.check("restarts");
                    let log = process.log();
                    let items = log.items(Index(0)).into_iter().flatten().map_while(Result::ok);
                    let before = trace.logs.first().into_iter().flatten();
                    let alike = check::agree(items, before);
                    if let Err(Violation { check, reason }) = alike {
                        self.fail(check.broken(format!("{at} started again: {reason}")));
                    }
                }
                (Err(reason), _) | (_, Some(reason)) => {
                    self.fail(Check::Running.broken(format!("{at} cannot start again: {reason}")));
                }
            }
        }
    }
}
