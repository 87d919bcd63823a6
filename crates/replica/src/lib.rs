//! The pipeline around one ordering engine, sans-IO.
//!
//! A request goes through the files of this room in this order, and each stage's type can be made
//! by that stage alone, so that an answer without a quorum's proof does not compile:
//!
//! | file | turns | into |
//! |---|---|---|
//! | [`admit`] | a [`admit::Proposal`] | [`admit::Admitted`]: every correct replica will accept it |
//! | `batch` | admitted requests | a batch, when this replica leads |
//! | [`order`] | a batch, by the engine | [`order::Ordered`]: decided, in slot order |
//! | `copies`, [`outcome`], [`answers`] | the calls of an ordered slot | answers, where the service runs outside |
//! | [`execute`] | an ordered slot | [`execute::Executed`]: responses, and the new state's root |
//! | [`record`] | an executed slot | [`record::Recorded`]: entries, and the log's head after them |
//! | [`certify`] | a recorded slot | [`certify::Certified`]: a quorum cosigned the head |
//!
//! Beside the stream stand [`replay`] (at most once), [`signatures`] (what no exchange covers),
//! [`snapshot`], [`sync`] (state transfer) and [`rejoin`] (a lost disk); `held` says how much each
//! keeps, and may keep. [`replica`] holds them together: [`Replica::handle`] takes an [`Input`] and
//! pushes [`Effect`]s; [`port`] says what both are. Nothing here reads a clock, a file or a socket,
//! so the simulator runs the very same code.

pub mod admit;
pub mod answers;
pub(crate) mod batch;
mod catch_up;
pub mod certify;
pub mod config;
mod copies;
mod demand;
pub mod execute;
mod held;
pub mod message;
pub mod order;
pub mod outcome;
pub mod port;
pub mod record;
pub mod rejoin;
pub mod replay;
pub mod replica;
pub mod signatures;
pub mod snapshot;
pub mod sync;
#[cfg(test)]
mod tests;

pub use answers::{departure, was_called};
pub use certify::{Certified, wrong_result_holds};
pub use config::{Config, Limits};
pub use execute::{Diverged, Execution, Rules};
pub use message::Message;
pub use outcome::double_report_holds;
pub use port::{Effect, Heard, Input, Record, Recovered, Reply, Submission, Ticket, Timer};
pub use replica::{Replica, Sight};
pub use signatures::Signatures;
pub use snapshot::Snapshot;
