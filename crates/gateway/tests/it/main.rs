//! The gateway over real sockets, in front of a backend that really signs.

mod answers;
mod attacks;
mod backend;
mod client;
mod limits;
mod load;
mod operations;
mod versions;
mod well_known;
