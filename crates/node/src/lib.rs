//! The tokio driver: sockets, timers, disk, configuration, metrics.
//!
//! One thread runs the replica and never waits for a disk or a peer; everything else hands it
//! things, or takes things from it, in order.
//!
//! ```text
//!  links --> inbox --> driver (Replica::handle) --> barrier --> links, log, gateway, snapshots
//!  gateway --^  timers --^                          (fsync)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`config`], [`member`] | `quorate.toml` |
//! | [`mod@init`] | what makes a cluster's files |
//! | [`mod@run`] | one replica, from its configuration to its end |
//! | [`answers`] | what proofs cover of answers, as the policy says it |
//! | [`backup`] | what is certified, copied out of a data folder and into a new one |
//! | `recovery`, `data` | the data folder, and what it held at start |
//! | `link` | authenticated bytes to and from peers |
//! | `peers`, `inbox` | what waits for the driver, bounded and fair |
//! | `driver` | the thread that runs the replica |
//! | `barrier` | nothing leaves before what it rests on is durable |
//! | `patience` | waiting for room on a full disk |
//! | `outlet`, `replies`, `snapshots`, `pages` | where effects go |
//! | `backend`, `published`, `standing` | the replica as gateway and operators see it |
//! | [`host`] | this replica's copy of a service that runs outside |
//! | `faults`, `edge` | faults that operators of development clusters inject |
//! | `fatal` | the end that cannot be masked |
//! | [`codes`] | every error code of this room, explained |

pub mod answers;
mod backend;
pub mod backup;
mod barrier;
pub mod codes;
pub mod config;
mod data;
mod driver;
mod edge;
mod evidence;
mod fatal;
mod faults;
pub mod host;
mod inbox;
pub mod init;
mod link;
pub mod member;
mod outlet;
mod pages;
mod patience;
mod peers;
mod published;
mod recovery;
mod replies;
pub mod run;
mod snapshots;
mod standing;

pub use answers::{AnswerRules, AnswerRulesError};
pub use config::{Config, ConfigError, ConfigFile};
pub use init::{InitError, Made, Plan, init};
pub use member::{Member, MemberFile};
pub use run::{RunError, RunOptions, run};
