//! Send to replicas, retry, verify.
