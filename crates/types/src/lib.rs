//! The vocabulary that every room of Quorate shares.
//!
//! | file | holds |
//! |---|---|
//! | [`ids`] | replicas, views, slots, log indices, epochs, chains, as newtypes |
//! | [`time`] | local [`Time`] in nanoseconds and agreed [`UnixMillis`] |
//! | [`digest`] | 32-byte [`Digest`], 16-byte [`Salt`], raw signatures and keys |
//! | [`committee`] | how many replicas there are, how many may fail, what a quorum is |
//! | [`tally`] | the one type that counts votes |
//! | [`wire`] | the frozen binary form of everything that leaves a process |
//! | [`request`] | an HTTP request as it is ordered |
//! | [`response`] | an HTTP response as a service gives it |
//! | [`batch`] | what fills one slot |
//! | [`outcome`] | what the copies of a service answered, and what is agreed about it |
//! | [`head`] | a signed tree head and the stable certificate built on it |
//! | [`held`] | how full what is bounded is |
//! | [`log`] | one place of the log: an entry and its exchange |
//! | [`proven`] | a certified answer, and a gateway's refusal |
//! | [`bug`] | mistakes that the simulator has the code make, to see whether it notices |
//!
//! Nothing here signs, hashes, reads a clock or touches a file.

pub mod batch;
pub mod bug;
pub mod committee;
pub mod digest;
pub mod head;
pub mod held;
pub mod ids;
pub mod log;
pub mod outcome;
pub mod proven;
pub mod request;
pub mod response;
pub mod tally;
pub mod time;
pub mod wire;

pub use batch::{Asked, Batch, Item, Rejoin, RejoinReport};
pub use committee::{Committee, CommitteeError, FaultModel};
pub use digest::{Digest, PublicKey, Salt, Signature};
pub use head::{Cosignature, Head, StableCertificate, StateRecord};
pub use held::Held;
pub use ids::{Chain, ChainError, Epoch, Index, ReplicaId, Slot, View};
pub use log::{Exchange, LogItem, Opening};
pub use outcome::{Call, Outcome, Report};
pub use proven::{EntryFacts, Proven, Refusal};
pub use request::{ClientSignature, Request};
pub use response::Response;
pub use tally::Tally;
pub use time::{Time, UnixMillis};
pub use wire::{Wire, WireError};
