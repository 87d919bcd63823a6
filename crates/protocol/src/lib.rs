//! Ordering engines, sans-IO.
//!
//! | file | holds |
//! |---|---|
//! | [`protocol`] | the one trait, with its contract |
//! | [`window`] | the slots that an engine works on |
//! | [`view_change`] | reports counted, patience that doubles |
//! | [`pbft`] | PBFT |
//! | [`adversary`] | Byzantine replicas, named by deed, as a wrapper around an engine |
//! | [`conformance`] | the suite that every engine passes |

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod adversary;
pub mod conformance;
pub mod pbft;
pub mod protocol;
pub mod view_change;
pub mod window;

pub use protocol::{Accusation, Effect, Input, Outbox, Protocol, Stable, To, Verdict};
