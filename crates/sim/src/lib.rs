//! A virtual-time network around the production pipeline.
//!
//! The same engine, replica and ledger as in production run on one thread, in virtual time, under
//! faults drawn from a seed. Nothing in them knows: the simulator stands where the driver stands.
//! A seed gives the same run, always, so a failing seed is a bug report.
//!
//! | file | holds |
//! |---|---|
//! | [`rng`] | the seed's random numbers |
//! | [`seat`] | machines, and whose they are: a twin has two |
//! | [`keys`] | MACs or real signatures |
//! | [`cluster`] | policy, bounds and configuration of the replicas |
//! | [`process`] | one replica's process: pipeline, ledger, and the barrier of an fsync |
//! | `recovery` | what a process reads from its disk at start |
//! | [`trouble`] | why a process cannot go on |
//! | [`disks`] | which troubles a disk brings, and who comes to help |
//! | [`watch`] | where a watched process dies |
//! | [`crash_points`] | the same run again and again, with a crash at every place |
//! | [`network`] | how links behave: distance, bandwidth, loss, repetition, clogs |
//! | [`regions`] | ten regions of the world, and how far they are from each other |
//! | [`wires`] | messages under way: queues, order, chance, cuts |
//! | `machine` | a process, its disk, and cores that get to its inputs one after the other |
//! | [`cost`] | what operations cost, and until when cores are busy |
//! | [`charge`] | which operations an input comes to |
//! | [`calibrate`] | what operations cost on this machine, now |
//! | [`adversary`] | what a Byzantine replica makes of what the one inside it sends |
//! | [`plan`] | which faults a seed brings, and when |
//! | [`cast`] | who is faulty, and how |
//! | [`copy`] | a service that runs outside, and its copies |
//! | `beside` | between replicas and the copies beside them |
//! | [`client`] | clients that retry under one key at any gateway, and some that misbehave |
//! | [`answer`] | a certified answer as a gateway writes it and a client checks it |
//! | [`world`] | the event loop that holds them together |
//! | `front` | between clients and gateways |
//! | [`canon`] | the one log as it grows, with which all correct replicas must agree at once |
//! | [`bounds`] | whether replicas keep no more than they may |
//! | [`wrong`] | a service that gives wrong results |
//! | [`witness`] | what must hold of all that correct replicas sign and accuse, at any time |
//! | `verdict` | when a run is over |
//! | [`check`] | what must hold at the end, whatever happened |
//! | [`linear`] | what clients were told, judged by a linearizability checker from elsewhere |
//! | [`model`] | a plain model of the service and of at-most-once, for these checks |
//! | [`violation`] | what can be wrong, by the check that finds it |
//! | [`journal`], [`describe`] | what happened, in words |
//! | [`scenario`], [`plain`] | small plans to look at; plans as text |
//! | [`minimise`] | a plan that fails, made small |
//! | [`diagram`] | a part of a run, drawn |
//! | [`swarm`] | many seeds, and what they came to together |
//! | [`outcome`] | what a run came to, and counts of what it met |
//! | `bugs` | how many seeds a bug made on purpose takes (feature `seeded-bugs`) |

pub mod adversary;
pub mod answer;
mod beside;
pub mod bounds;
#[cfg(feature = "seeded-bugs")]
pub mod bugs;
pub mod calibrate;
pub mod canon;
pub mod cast;
pub mod charge;
pub mod check;
pub mod client;
pub mod cluster;
pub mod copy;
pub mod cost;
pub mod crash_points;
pub mod describe;
pub mod diagram;
pub mod disks;
mod front;
pub mod journal;
pub mod keys;
pub mod linear;
mod machine;
pub mod minimise;
pub mod model;
pub mod network;
pub mod outcome;
pub mod plain;
pub mod plan;
pub mod process;
mod recovery;
pub mod regions;
pub mod rng;
pub mod scenario;
pub mod seat;
pub mod swarm;
pub mod trouble;
mod verdict;
pub mod violation;
pub mod watch;
pub mod wires;
pub mod witness;
pub mod world;
pub mod wrong;

pub use adversary::Deed;
pub use keys::Signatures;
pub use outcome::Outcome;
pub use plan::Plan;
pub use violation::{Check, Failure, Violation};
pub use world::{record, run};
