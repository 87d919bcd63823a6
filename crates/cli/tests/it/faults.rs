//! What strangers, clients, operators and disks do wrong, done to real processes.
//!
//! The rooms' own tests try every form of each fault; these show that the whole holds: one clear
//! message with a code, nobody stopped, nothing panicked. docs/faults.md lists them all.

mod asked;
mod data;
mod strangers;

use crate::{
    binary::Person,
    running::{Dev, free_ports, gateway},
};
use serde_json::Value;
use std::{fs, net::SocketAddr};

/// A running cluster with short time-outs.
struct Site {
    person: Person,
    dev: Dev,
    ready: Value,
    base: u16,
}

impl Site {
    fn start() -> Self {
        let (person, base) = (Person::new(), free_ports());
        person.run(&["init", "--dir", "cluster", "--port", &base.to_string()]).exits(0);
        for i in 0..4 {
            let path = person.path(&format!("cluster/r{i}/quorate.toml"));
            let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            let limits: toml::Table = "header_timeout_ms = 3000".parse().unwrap();
            config.insert("limits".into(), limits.into());
            fs::write(&path, config.to_string()).unwrap();
        }
        let dev = Dev::start(&person, &["--dir", "cluster"]);
        let ready = dev.event("ready");
        Self { person, dev, ready, base }
    }

    fn gateway(&self, i: usize) -> String {
        gateway(&self.ready, i)
    }

    /// Where a listener is: 0 gateways, 1 operations, 2 links.
    fn address(&self, step: u16, i: u16) -> SocketAddr {
        ([127, 0, 0, 1], self.base + 100 * step + i).into()
    }

    /// The cluster answers at every replica, with proofs.
    #[track_caller]
    fn answers(&self) {
        for i in 0..4 {
            let url = format!("{}/kv/still", self.gateway(i));
            let run = self.person.run(&["curl", "-X", "PUT", "-d", "here", &url]).exits(0);
            assert!(run.stderr.starts_with("verified: 3 of 4 replicas"), "{run:?}");
        }
    }

    fn log(&self, i: usize) -> String {
        fs::read_to_string(self.person.path(&format!("cluster/r{i}/replica.log"))).unwrap()
    }

    /// It still answers, nobody died of anything, and nobody panicked.
    #[track_caller]
    fn ends_unharmed(mut self) {
        self.answers();
        let died: Vec<_> = self.dev.events.try_iter().collect();
        assert!(died.is_empty(), "{died:?}");
        assert_eq!(self.dev.stop(), Some(0));
        for i in 0..4 {
            let log = self.log(i);
            assert!(!log.contains("panic"), "{log}");
        }
    }
}
