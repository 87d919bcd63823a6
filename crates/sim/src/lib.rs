//! A virtual-time network around the production pipeline.
//!
//! The same engine, replica and ledger as in production run on one thread, in virtual time, under
//! faults drawn from a seed. Nothing in them knows: the simulator stands where the driver stands.
//! A seed gives the same run, always, so a failing seed is a bug report.
//!
//! | file | holds |
//! |---|---|
//! | [`rng`] | the seed's random numbers |
//! | [`cluster`] | keys, policy and configuration of the replicas |
//! | [`process`] | one replica's process: pipeline, ledger, and the barrier of an fsync |
//! | [`network`] | delay, loss, duplication, partitions |
//! | [`plan`] | which faults a seed brings, and when |
//! | [`client`] | clients that retry under one key at any gateway |
//! | [`check`] | what must hold, whatever happens |
//! | [`world`] | the event loop that holds them together |

pub mod check;
pub mod client;
pub mod cluster;
pub mod network;
pub mod plan;
pub mod process;
pub mod rng;
pub mod world;

pub use plan::Plan;
pub use world::{Outcome, run};
