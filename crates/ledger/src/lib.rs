//! Bytes on disk: write-ahead log, Merkle log, exchanges, snapshots.
