//! The oracles of the fuzz targets: those of the property tests, and for files those here.

#[path = "../../crates/proof/tests/oracles/mod.rs"]
pub mod proof;

#[path = "../../crates/replica/tests/oracles/mod.rs"]
pub mod replica;

#[path = "../../crates/types/tests/oracles/mod.rs"]
pub mod wire;

pub mod ledger;
