//! HTTP in, proof-carrying HTTP out.
//!
//! | file | holds |
//! |---|---|
//! | [`backend`] | what the gateway asks of the replica behind it |
//! | [`limits`] | every bound, with its default |
//! | [`operations`] | the operations listener and what it asks of the node |

pub mod backend;
pub mod limits;
pub mod operations;

pub use backend::{Backend, Divergent, Fetch, Fetched, LastHead, Peer, Status, Submitted, Timing};
pub use limits::Limits;
pub use operations::{Fault, OperationsBackend};
