//! Ordering engines, sans-IO.
//!
//! | file | holds |
//! |---|---|
//! | [`protocol`] | the one trait, with its contract |

pub mod protocol;

pub use protocol::{Accusation, Effect, Input, Outbox, Protocol, Stable, To};
