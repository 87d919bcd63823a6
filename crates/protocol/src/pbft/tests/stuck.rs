//! Who waits for a state that nobody holds, who lags, and what a liar makes of either.

use super::{rig::*, view_change::*, *};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(200);

impl Rig {
    /// The others' NewView for the view that this replica is on its way to.
    fn opened(&mut self, stable: u64) {
        let view = self.engine.view().0;
        let reports: Vec<_> =
            (1..4).map(|by| self.report_above(by, view, stable, Vec::new())).collect();
        match self.macs.committee.primary(View(view)).0 {
            0 => reports.into_iter().for_each(|report| {
                self.hear(report.signer.0, Body::ViewChange(report));
            }),
            primary => _ = self.hear(primary, Body::NewView(self.opening(view, reports))),
        }
        assert!(self.engine.is_active());
    }

    /// Asks for a state in vain, until it wants another view.
    fn wait_in_vain(&mut self) {
        for _ in 0..30 {
            self.pass(Duration::from_secs(1));
            self.tell(Input::Timer(Timer::Status));
        }
    }
}

#[test]
fn a_view_has_its_time_although_its_replicas_waited_in_vain_before() {
    let mut rig = Rig::new(4, 0);
    rig.hear(1, Body::Stable(Arc::new(certificate(Slot(1)))));
    rig.wait_in_vain();
    let mut lasted = Vec::new();
    for view in [1, 2, 3] {
        rig.tell(Input::Change { to: View(view) });
        rig.opened(0);
        // All others are as stuck.
        rig.hear(2, rig.suspicion());
        let mut time = Duration::ZERO;
        while rig.engine.view().0 == view && time < Duration::from_secs(30) {
            rig.pass(TICK);
            time += TICK;
            rig.hear(2, rig.suspicion());
            rig.tell(Input::Timer(Timer::Status));
        }
        lasted.push(time.as_secs());
    }
    assert!(lasted.iter().all(|time| (15..30).contains(time)), "{lasted:?}");
}

#[test]
fn a_laggard_and_a_liar_change_no_view_while_others_hold_what_the_laggard_waits_for() {
    let mut rig = Rig::new(4, 0);
    rig.hear(1, Body::Stable(Arc::new(certificate(Slot(100)))));
    for _ in 0..300 {
        rig.pass(TICK);
        for by in [1, 3] {
            let (stable, committed) = (Slot(100), Slot(100));
            rig.hear(by, Body::Status(Status { stable, committed, ..rig.status() }));
        }
        rig.hear(2, rig.suspicion());
        rig.tell(Input::Timer(Timer::Status));
    }
    assert_eq!(rig.engine.view(), View(0), "a state transfer takes what it takes");
}

#[test]
fn who_claims_to_wait_alone_is_joined_half_as_soon_even_if_he_comes_back_at_once() {
    let mut rig = Rig::new(4, 0);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let view = rig.engine.view();
        let alone = |rig: &Rig| Status { view: view.next(), active: false, ..rig.status() };
        let mut waited = 0;
        while !words(&rig.tell(Input::Timer(Timer::Status))).contains("Status Status") {
            rig.hear(2, Body::Status(alone(&rig)));
            rig.pass(Duration::from_secs(1));
            waited += 1;
            assert!(waited < 100, "{waits:?}");
        }
        waits.push(waited);
        // The others suspect on his behalf; he comes back, and suspects too.
        rig.hear(2, rig.suspicion());
        assert_eq!(rig.engine.view(), view.next());
        rig.opened(0);
    }
    assert!(waits.is_sorted_by(|a, b| a * 2 <= b + 2), "{waits:?}");
}

#[test]
fn a_stuck_primary_waits_for_more_reports_and_begins_where_somebody_can_go_on() {
    let mut rig = Rig::new(4, 1);
    for slot in 1..=8 {
        rig.hear(2, Body::Decided(rig.decided(0, slot, slot)));
    }
    rig.tell(Input::Stable(stable(8)));
    rig.hear(2, Body::Stable(Arc::new(certificate(Slot(9)))));
    rig.wait_in_vain();
    rig.tell(Input::Change { to: View(1) });
    let prepared = vec![rig.prepared(0, 9, 9)];
    // The liar's report begins at slot 9, whose state nobody holds.
    rig.hear(3, Body::ViewChange(rig.report_above(3, 1, 9, Vec::new())));
    let did = rig.hear(2, Body::ViewChange(rig.report_above(2, 1, 8, prepared)));
    assert!(!words(&did).contains("NewView"), "one more may come: {}", words(&did));
    let did = rig.hear(0, Body::ViewChange(rig.report_above(0, 1, 8, Vec::new())));
    let Some(Body::NewView(opening)) = sent(&did).into_iter().next() else { panic!() };
    let chosen = choose(&opening.view_changes, digest_of::<Word>(None));
    assert_eq!((chosen.stable, chosen.slots), (Slot(8), [(Slot(9), digest(9))].into()));
    // Where no more come, the view is opened all the same.
    let mut rig = Rig::new(4, 1);
    rig.hear(2, Body::Stable(Arc::new(certificate(Slot(9)))));
    rig.wait_in_vain();
    rig.tell(Input::Change { to: View(1) });
    rig.hear(3, Body::ViewChange(rig.report_above(3, 1, 9, Vec::new())));
    rig.hear(2, Body::ViewChange(rig.report_above(2, 1, 8, Vec::new())));
    rig.pass(Duration::from_secs(2));
    assert!(words(&rig.tell(Input::Timer(Timer::Status))).contains("NewView(1)"));
}
