//! The ledger through its public interface: recovery after every cut, flip and fault.

mod disk;
mod false_disk;
mod log;
mod log_faults;
mod rotation;
mod snapshots;
mod support;
mod tiles;
mod wal;
mod wal_faults;
