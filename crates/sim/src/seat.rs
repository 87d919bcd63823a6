//! Where processes run. A replica is a key; a seat is a machine on which a process with that key
//! runs. A twinned replica has two.

use quorate_types::ReplicaId;
use std::{collections::BTreeSet, fmt};

/// A machine. The first n are the replicas', in their order; the second ones of twins follow.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seat(pub u16);

impl Seat {
    /// Its place in lists of all seats.
    #[must_use]
    pub fn position(self) -> usize {
        self.0.into()
    }

    /// The first seat of a replica.
    #[must_use]
    pub fn first(replica: ReplicaId) -> Self {
        Self(replica.0)
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seat {}", self.0)
    }
}

/// Who sits where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seating {
    n: u16,
    twins: Vec<ReplicaId>,
}

impl Seating {
    /// One seat for each of `n` replicas, and one more for each that is twinned.
    #[must_use]
    pub fn new(n: u16, twins: &BTreeSet<ReplicaId>) -> Self {
        Self { n, twins: twins.iter().copied().collect() }
    }

    /// All seats.
    pub fn all(&self) -> impl Iterator<Item = Seat> + use<> {
        // At most one twin for each replica.
        let twins = u16::try_from(self.twins.len()).unwrap_or(self.n);
        (0..self.n.saturating_add(twins)).map(Seat)
    }

    /// Whose seat it is. There is no other seat than those of [`Seating::all`].
    #[must_use]
    pub fn who(&self, seat: Seat) -> ReplicaId {
        match seat.0.checked_sub(self.n) {
            None => ReplicaId(seat.0),
            Some(twin) => self.twins.get(usize::from(twin)).copied().unwrap_or_default(),
        }
    }

    /// A replica's seats: one, or two.
    pub fn of(&self, replica: ReplicaId) -> impl Iterator<Item = Seat> + use<> {
        let twin = self.twins.iter().position(|&twin| twin == replica);
        let second = twin.and_then(|place| Some(Seat(self.n + u16::try_from(place).ok()?)));
        std::iter::once(Seat::first(replica)).chain(second)
    }

    /// How the seat is called: its replica, with a prime on the second machine of a twin.
    #[must_use]
    pub fn name(&self, seat: Seat) -> String {
        let who = self.who(seat);
        if Seat::first(who) == seat { who.to_string() } else { format!("{who}'") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_has_two_seats_and_everybody_else_one() {
        let seating = Seating::new(4, &BTreeSet::from([ReplicaId(2)]));
        assert_eq!(seating.all().count(), 5);
        assert_eq!(seating.of(ReplicaId(2)).collect::<Vec<_>>(), [Seat(2), Seat(4)]);
        assert_eq!(seating.of(ReplicaId(3)).collect::<Vec<_>>(), [Seat(3)]);
        assert_eq!((seating.who(Seat(4)), seating.name(Seat(4))), (ReplicaId(2), "r2'".to_owned()));
    }
}
