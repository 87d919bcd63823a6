//! The rules of the house that a compiler does not know.

mod bugs;
mod crates;
mod dashboard;
mod deploy;
mod documents;
mod faults;
mod sources;
mod tree;
