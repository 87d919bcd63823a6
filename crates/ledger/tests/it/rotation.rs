//! Rotation drops only what nobody needs any more.

use crate::{support::owner, wal::open};
use proptest::prelude::*;
use quorate_ledger::{Disk, MemoryDisk, Wal, WalRecord};
use quorate_types::Slot;

/// An engine as its contract has it: slotless records are written again right after a `Forget`.
struct Engine {
    wal: Wal<MemoryDisk>,
    disk: MemoryDisk,
    view: u64,
    slot: u64,
    below: u64,
}

fn vote(slot: u64) -> WalRecord {
    WalRecord { slot: Some(Slot(slot)), bytes: format!("vote {slot}").into() }
}

fn view(view: u64) -> WalRecord {
    WalRecord { slot: None, bytes: format!("view {view}").into() }
}

impl Engine {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let wal = Wal::create(disk.clone(), owner()).unwrap();
        let mut engine = Self { wal, disk, view: 0, slot: 1, below: 0 };
        engine.append(&view(0));
        engine.wal.sync().unwrap();
        engine
    }

    fn append(&mut self, record: &WalRecord) {
        self.wal.append(record.slot, &record.bytes).unwrap();
    }

    fn vote(&mut self) {
        self.append(&vote(self.slot));
        self.slot += 1;
    }

    fn change_view(&mut self) {
        self.view += 1;
        self.append(&view(self.view));
    }

    fn forget(&mut self, below: u64) {
        self.below = self.below.max(below);
        self.wal.rotate(Slot(below)).unwrap();
        self.append(&view(self.view));
    }

    fn segments(&self) -> usize {
        self.disk.list().unwrap().len()
    }
}

/// All votes that are needed are there, once and in order, and the newest view is the last one.
fn assert_whole(records: &[WalRecord], below: u64, slot: u64, newest_view: u64) {
    let votes: Vec<_> = records.iter().filter_map(|record| record.slot).map(|s| s.0).collect();
    let needed: Vec<_> = votes.iter().copied().filter(|slot| *slot >= below).collect();
    assert_eq!(needed, (below.max(1)..slot).collect::<Vec<_>>());
    assert!(votes.is_sorted());
    let last = records.iter().rev().find(|record| record.slot.is_none());
    assert_eq!(last, Some(&view(newest_view)));
}

#[test]
fn segments_go_once_their_slots_and_their_view_are_superseded() {
    let mut engine = Engine::new();
    for round in 0..20 {
        (0..10).for_each(|_| engine.vote());
        engine.forget(engine.slot - 5);
        engine.wal.sync().unwrap();
        let found = open(&engine.disk).unwrap();
        assert_whole(&found.records, engine.below, engine.slot, 0);
        assert!(engine.segments() <= 4, "round {round}: {} segments", engine.segments());
    }
}

#[test]
fn a_view_that_was_not_written_again_is_never_dropped() {
    let mut engine = Engine::new();
    engine.change_view();
    for _ in 0..5 {
        (0..10).for_each(|_| engine.vote());
        // The driver rotates, and the engine's newest view never comes.
        engine.wal.rotate(Slot(engine.slot)).unwrap();
    }
    assert_whole(&open(&engine.disk).unwrap().records, engine.slot, engine.slot, 1);
}

#[test]
fn a_slot_that_is_needed_keeps_its_segment_and_all_later_ones() {
    let mut engine = Engine::new();
    for _ in 0..5 {
        (0..10).for_each(|_| engine.vote());
        engine.forget(7);
    }
    engine.wal.sync().unwrap();
    let found = open(&engine.disk).unwrap();
    assert_whole(&found.records, 7, engine.slot, 0);
}

#[test]
fn a_crash_between_a_rotation_and_the_new_view_record_loses_no_view() {
    for stop in 0..12 {
        for seed in 0..20 {
            let mut engine = Engine::new();
            for _ in 0..3 {
                (0..4).for_each(|_| engine.vote());
                engine.forget(engine.slot - 1);
            }
            engine.change_view();
            engine.wal.sync().unwrap();
            let slot = engine.slot;
            engine.disk.stop_after(stop);
            // The rotation is carried out as far as it goes; the view is never written again.
            let _ = engine.wal.rotate(Slot(slot));
            let mut disk = engine.disk.crash(seed);
            for below in slot..slot + 3 {
                // And again after the restart, and after the next one.
                let found = open(&disk).unwrap();
                assert_whole(&found.records, slot, slot, 1);
                let mut wal = found.wal;
                wal.rotate(Slot(below)).unwrap();
                disk = disk.crash(seed);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Votes(u64),
    ChangeView,
    Forget(u64),
    Sync,
    Crash(u64, u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Through any history with crashes, all votes from the lowest needed slot on and the newest
    /// view come back.
    #[test]
    fn what_is_needed_survives_rotations_and_crashes(
        steps in prop::collection::vec(
            prop_oneof![
                3 => (1..20_u64).prop_map(Step::Votes),
                1 => Just(Step::ChangeView),
                2 => (0..30_u64).prop_map(Step::Forget),
                2 => Just(Step::Sync),
                1 => (0..4_u64, any::<u64>()).prop_map(|(stop, seed)| Step::Crash(stop, seed)),
            ],
            1..60,
        )
    ) {
        let mut engine = Engine::new();
        let (mut slot, mut newest_view) = (engine.slot, 0);
        for step in steps.into_iter().chain([Step::Sync, Step::Crash(0, 3)]) {
            match step {
                Step::Votes(count) => (0..count).for_each(|_| engine.vote()),
                Step::ChangeView => engine.change_view(),
                Step::Forget(back) => {
                    engine.forget(engine.slot.saturating_sub(back));
                    (slot, newest_view) = (engine.slot, engine.view);
                }
                Step::Sync => {
                    engine.wal.sync().unwrap();
                    (slot, newest_view) = (engine.slot, engine.view);
                }
                Step::Crash(stop, seed) => {
                    engine.disk.stop_after(stop);
                    let below = engine.slot.saturating_sub(2);
                    // Even a rotation that a crash cuts short may have dropped segments.
                    engine.below = engine.below.max(below);
                    let _ = engine.wal.rotate(Slot(below));
                    engine.disk = engine.disk.crash(seed);
                    let found = open(&engine.disk).unwrap();
                    let votes = found.records.iter().filter_map(|record| record.slot).max();
                    engine.slot = votes.map_or(0, |slot| slot.0 + 1).max(slot);
                    let last = found.records.iter().rev().find(|record| record.slot.is_none());
                    let views = newest_view..=engine.view;
                    let last = views.clone().find(|n| last == Some(&view(*n)));
                    prop_assert!(last.is_some(), "no view of {views:?}");
                    engine.view = last.unwrap_or_default();
                    assert_whole(&found.records, engine.below, engine.slot, engine.view);
                    (slot, newest_view) = (engine.slot, engine.view);
                    engine.wal = found.wal;
                }
            }
        }
    }
}
