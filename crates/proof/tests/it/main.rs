//! The proof room from outside.

mod client_signing;
mod decoders;
mod example;
mod field_traps;
mod file_traps;
mod mutation;
#[path = "../oracles/mod.rs"]
mod oracles;
mod policy_traps;
mod proof_traps;
mod properties;
mod request_form;
mod sealed;
mod second_opinion;
mod stable;
mod verify_sh;
