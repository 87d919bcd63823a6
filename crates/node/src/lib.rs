//! The tokio driver: sockets, timers, disk, configuration, metrics.
