//! Whether replicas keep no more than they may.
//!
//! Each queue, map and set of the pipeline and of the engine says how much it holds and how much it
//! may (`Replica::held`, `Pbft::held`); the bounds follow from the configuration.

use crate::{
    process::Process,
    violation::{Check, Violation},
};
use quorate_types::Held;
use std::collections::BTreeMap;

/// How many events lie between two looks at everybody.
pub const EVENTS: u64 = 256;

/// How many effects may wait behind an fsync: what production's driver lets wait, and those of the
/// input that went beyond it.
pub const DRIVER_MAX: u64 = 2 * 16_384;

/// The most that was seen of something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fill {
    /// Items, or bytes.
    pub most: u64,
    /// Of its bound, in thousandths.
    pub permille: u64,
}

/// The most that was seen, by name.
pub type Fills = BTreeMap<&'static str, Fill>;

/// Notes how much is held.
///
/// # Errors
/// What holds more than it may.
pub fn check(held: &[Held], seen: &mut Fills) -> Result<(), Violation> {
    for it in held {
        let fill = seen.entry(it.name).or_default();
        fill.most = fill.most.max(it.count);
        fill.permille = fill.permille.max((it.count * 1_000).checked_div(it.bound).unwrap_or(0));
        if it.is_over() {
            let Held { name, count, bound } = it;
            return Err(Check::Bounds.broken(format!("{name} holds {count}, it may hold {bound}")));
        }
    }
    Ok(())
}

/// What a process holds.
#[must_use]
pub fn held(process: &Process) -> Vec<Held> {
    let replica = process.replica();
    let mut held = replica.held();
    held.extend(replica.engine().held());
    held.push(Held::new("driver.queue", process.queued(), DRIVER_MAX));
    held
}

/// Adds up what was seen in two runs.
pub(crate) fn absorb(sum: &mut Fills, other: Fills) {
    for (name, fill) in other {
        let known = sum.entry(name).or_default();
        known.most = known.most.max(fill.most);
        known.permille = known.permille.max(fill.permille);
    }
}
