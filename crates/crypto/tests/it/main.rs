//! The crate from outside, as the rooms above use it.

mod process;
mod stage;
mod verifier;
mod world;
