//! HTTP in, proof-carrying HTTP out.
