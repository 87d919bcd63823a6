//! The pipeline from outside.

mod decoders;
#[path = "../oracles/mod.rs"]
mod oracles;
