//! The binary, run as people and scripts run it.

mod answers;
mod audit;
mod backup;
mod bench;
mod binary;
mod cluster;
mod commands;
mod copies;
mod curl;
mod dev;
mod doctor;
mod faults;
mod kill_loop;
mod metrics;
mod mounts;
mod proxy;
mod running;
mod sim;
mod tls;
mod top;
mod verify;
