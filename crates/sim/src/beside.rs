//! Between replicas and the copies of the service beside them.

use crate::{
    copy::Logged,
    seat::Seat,
    violation::Check,
    world::{Event, World},
};
use quorate_replica::Heard;
use quorate_types::{Call, ReplicaId, Slot};

impl World {
    /// A replica gives calls to the copy beside it.
    pub(crate) fn called(&mut self, at: Seat, slot: Slot, calls: &[Call]) {
        let machine = &mut self.machines[at.position()];
        let (Some(copy), Some(process)) = (&mut machine.copy, &machine.process) else { return };
        let (log, life) = (process.log(), machine.life);
        let size = log.size();
        let called = copy.call((&self.cluster, self.now), slot, calls, |index| {
            match log.item(index).ok().flatten() {
                Some(item) => Logged::Item(Box::new(item)),
                None if index.0 >= size => Logged::Beyond,
                None => Logged::Unreadable,
            }
        });
        for name in called.did {
            self.outcome.inject(name);
        }
        if called.unfed {
            self.outcome.inject("copy-unfed");
            self.standing.unfed(self.seating.who(at));
            self.canon.bear(self.standing.leeway());
        }
        let answers = called.answers;
        self.schedule(called.at, Event::Answered { at, life, slot, answers });
    }

    /// What was agreed on, told to the copy.
    pub(crate) fn agreed(&mut self, at: Seat, slot: Slot, kept_up: &[bool]) {
        if let Some(copy) = &mut self.machines[at.position()].copy {
            copy.agreed(slot, kept_up);
        }
        self.outcome.check("slots-agreed-on");
    }

    /// A replica says how another's copy stands, or its own. While no more than f copies are bad,
    /// nobody speaks ill of a sound one.
    pub(crate) fn heard(&mut self, at: Seat, slot: Slot, whose: ReplicaId, heard: Heard) {
        self.outcome.check(match heard {
            Heard::Agrees => "copies-that-agree",
            Heard::Silent => "copies-that-are-silent",
            Heard::Differs => "copies-that-differ",
        });
        let wronged = heard != Heard::Agrees
            && self.is_sound(at)
            && !self.standing.is_bad(whose)
            && !self.standing.leeway().voids;
        if wronged {
            let reason = format!("{} hears that {whose} {heard:?} in slot {slot}", self.name(at));
            self.fail(Check::Copies.broken(reason));
        }
    }
}
