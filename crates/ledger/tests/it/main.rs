//! The ledger through its public interface: recovery after every cut, flip and fault.

mod log;
mod support;
