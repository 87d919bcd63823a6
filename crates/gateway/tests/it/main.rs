//! The gateway over real sockets, in front of a backend that really signs.

mod answers;
mod attacks;
mod backend;
mod client;
#[path = "../../../proof/tests/it/example.rs"]
mod example;
mod limits;
mod load;
mod operations;
#[expect(dead_code, reason = "the proof room's tests use more of it")]
#[path = "../../../proof/tests/it/sealed.rs"]
mod sealed;
mod tls;
mod verifiers;
mod versions;
mod well_known;
