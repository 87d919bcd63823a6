//! Bytes on disk: write-ahead log, Merkle log, exchanges, snapshots.
//!
//! Three values over one seam. They share nothing but the folder, so each can live on a thread of
//! its own:
//!
//! | value | holds | synced |
//! |---|---|---|
//! | [`Wal`] | what a replica must not forget, before it is said | once a group, on the request path |
//! | [`Log`], read through [`LogReader`] | entries as C2SP tiles, exchanges, certificates | before a snapshot |
//! | [`Snapshots`] | the replicated state at a stable slot | when saved |
//!
//! | file | holds |
//! |---|---|
//! | [`disk`] | the seam [`Disk`]: append, sync, read, truncate, and names |
//! | [`file_disk`] | a real folder |
//! | [`memory_disk`] | a folder in memory that loses, tears, fills up and fails on demand |
//! | [`wal`] | the write-ahead log |
//! | [`log`] | the Merkle log |
//! | [`tile`] | how C2SP `tlog-tiles` names tiles |
//! | [`snapshots`] | snapshots |
//! | `source` | reading a file in order |
//!
//! # The order that makes a restart whole
//!
//! 1. A vote's record is in a [`Wal::sync`]ed group before the vote is sent.
//! 2. A decided slot's items are [`Log::append`]ed, unsynced, before its head is cosigned: the
//!    cosignature follows from the synced payload and vote by execution.
//! 3. [`Log::sync`], then [`Snapshots::save`], then [`Wal::rotate`] up to the snapshot's slot.
//!
//! So after any crash, snapshot plus write-ahead log lead to a state not behind anything that was
//! sent, and make again what the log lost.
//!
//! # Failing
//!
//! Every operation has an error enum with a stable [`WalError::code`] and the same for the others,
//! and says whether the process has to end. A failed fsync always ends it: what a second attempt
//! would call durable may be lost. Files carry the chain and the replica that wrote them, and a
//! folder of any other is refused.

pub mod disk;
pub mod file_disk;
mod format;
pub mod log;
pub mod memory_disk;
pub mod snapshots;
mod source;
pub mod tile;
pub mod wal;

pub use disk::{Disk, DiskError};
pub use file_disk::FileDisk;
pub use format::Owner;
pub use log::{Log, LogError, LogReader, Opened, SyncPoint};
pub use memory_disk::MemoryDisk;
pub use snapshots::{LoadedSnapshot, Snapshot, SnapshotError, SnapshotWarning, Snapshots};
pub use tile::{TileKind, TilePath};
pub use wal::{Recovered, Wal, WalError, WalRecord};
