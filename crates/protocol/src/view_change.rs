//! What every engine's change of view shares: reports counted, patience that doubles.

use quorate_types::{Committee, ReplicaId, Tally, View};
use std::{collections::BTreeMap, time::Duration};

/// The newest report of every replica on its way to a view. One a replica: a newer replaces an
/// older one, so that its size is bounded by the committee's.
#[derive(Clone, Debug)]
pub struct Reports<R> {
    committee: Committee,
    newest: BTreeMap<ReplicaId, (View, R)>,
}

impl<R> Reports<R> {
    /// No reports yet.
    #[must_use]
    pub fn new(committee: Committee) -> Self {
        Self { committee, newest: BTreeMap::new() }
    }

    /// Whether a report for this view would be news.
    #[must_use]
    pub fn is_news(&self, from: ReplicaId, view: View) -> bool {
        self.committee.contains(from)
            && self.newest.get(&from).is_none_or(|(known, _)| *known < view)
    }

    /// Keeps a report if it is newer than what its sender reported before.
    pub fn insert(&mut self, from: ReplicaId, view: View, report: R) -> bool {
        let news = self.is_news(from, view);
        if news {
            self.newest.insert(from, (view, report));
        }
        news
    }

    /// How many replicas' reports are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// A replica's newest report.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> Option<&R> {
        self.newest.get(&replica).map(|(_, report)| report)
    }

    /// Who is on the way to a view above this one.
    pub fn above(&self, view: View) -> impl Iterator<Item = ReplicaId> {
        self.newest.iter().filter(move |(_, (to, _))| *to > view).map(|(replica, _)| *replica)
    }

    /// The view to join: f + 1 replicas are on their way to views above `current`, and this is the
    /// smallest of those; again, until fewer than f + 1 are above it (PBFT, section 4.5.2).
    #[must_use]
    pub fn join(&self, current: View) -> Option<View> {
        let mut target = None;
        loop {
            let from = target.unwrap_or(current);
            if !self.tally(self.above(from)).has_one_correct() {
                return target;
            }
            target = self.newest.values().map(|(view, _)| *view).filter(|it| *it > from).min();
        }
    }

    /// Whether a quorum is on its way to this view or beyond: from then on its primary is awaited.
    #[must_use]
    pub fn quorum_reached(&self, view: View) -> bool {
        let there = self.newest.iter().filter(|(_, (to, _))| *to >= view);
        self.tally(there.map(|(replica, _)| *replica)).is_quorum()
    }

    /// The reports for exactly this view, by ascending replica, once they make a quorum.
    #[must_use]
    pub fn quorum_for(&self, view: View) -> Option<Vec<&R>> {
        let exact = || self.newest.iter().filter(move |(_, (to, _))| *to == view);
        let quorum = self.tally(exact().map(|(replica, _)| *replica)).is_quorum();
        quorum.then(|| exact().map(|(_, (_, report))| report).collect())
    }

    /// Drops the reports for this view and earlier ones.
    pub fn drop_through(&mut self, view: View) {
        self.newest.retain(|_, (to, _)| *to > view);
    }

    fn tally(&self, replicas: impl Iterator<Item = ReplicaId>) -> Tally {
        let mut tally = Tally::new(self.committee);
        tally.extend(replicas);
        tally
    }
}

/// How long to wait for a primary: doubles with each view that failed, back to the base after one
/// that worked.
#[derive(Clone, Debug)]
pub struct Patience {
    base: Duration,
    failed: u32,
    worked: bool,
}

impl Patience {
    /// At most 64 times the base: a partition of an hour must not cost another hour.
    const DOUBLINGS_MAX: u32 = 6;

    /// Patience that starts at `base`.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self { base, failed: 0, worked: true }
    }

    /// How long to wait now.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.base.saturating_mul(1 << self.failed.min(Self::DOUBLINGS_MAX))
    }

    /// The current view decided something.
    pub fn worked(&mut self) {
        self.worked = true;
        self.failed = 0;
    }

    /// The current view is left.
    pub fn left(&mut self) {
        self.failed = if self.worked { 0 } else { self.failed.saturating_add(1) };
        self.worked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::FaultModel;

    fn reports(views: &[(u16, u64)]) -> Reports<u64> {
        let mut reports = Reports::new(Committee::new(7, FaultModel::Bft).unwrap());
        for &(replica, view) in views {
            reports.insert(ReplicaId(replica), View(view), view);
        }
        reports
    }

    #[test]
    fn f_plus_one_reports_above_mine_name_the_smallest_view_to_join() {
        assert_eq!(reports(&[(1, 4), (2, 9)]).join(View(0)), None, "f = 2: two may be liars");
        assert_eq!(reports(&[(1, 4), (2, 9), (3, 5)]).join(View(0)), Some(View(4)));
        assert_eq!(reports(&[(1, 4), (2, 9), (3, 5), (4, 9)]).join(View(0)), Some(View(5)));
        assert_eq!(reports(&[(1, 4), (2, 9), (3, 5)]).join(View(4)), None);
    }

    #[test]
    fn a_newer_report_replaces_the_older_one_and_an_older_is_no_news() {
        let mut reports = reports(&[(1, 4)]);
        assert!(
            !reports.insert(ReplicaId(1), View(4), 4) && !reports.insert(ReplicaId(1), View(3), 3)
        );
        assert!(reports.insert(ReplicaId(1), View(5), 5));
        assert!(!reports.insert(ReplicaId(7), View(5), 5), "no member");
        assert_eq!(reports.of(ReplicaId(1)), Some(&5));
    }

    #[test]
    fn a_new_view_needs_a_quorum_of_reports_for_exactly_it() {
        let reports = reports(&[(0, 2), (1, 2), (2, 2), (3, 2), (4, 3)]);
        assert!(reports.quorum_for(View(2)).is_none());
        assert!(reports.quorum_reached(View(2)) && !reports.quorum_reached(View(3)));
    }

    #[test]
    fn patience_doubles_with_each_failed_view_and_is_restored_by_one_that_works() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let mut waits = Vec::new();
        for _ in 0..4 {
            patience.left();
            waits.push(patience.timeout().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8]);
        patience.worked();
        assert_eq!(patience.timeout().as_secs(), 1);
        (0..100).for_each(|_| patience.left());
        assert_eq!(patience.timeout().as_secs(), 64);
    }
}
