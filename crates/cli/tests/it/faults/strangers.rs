//! Strangers at the listeners that are not for clients.

use super::{Site, asked::send};
use crate::running::{pid, wait_for};
use rustix::process::{Signal, kill_process};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// What is no message on any wire.
const GARBAGE: [&[u8]; 5] =
    [b"", &[0; 64], &[0xff; 70_000], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0, 1]];

#[test]
fn garbage_at_the_replica_and_operations_listeners_stops_nobody() {
    let site = Site::start();
    for step in [1, 2] {
        for garbage in GARBAGE {
            let mut stream = TcpStream::connect(site.address(step, 1)).unwrap();
            let _ = stream.write_all(garbage);
            drop(stream);
        }
    }
    let fault = |framing: &str| {
        let head = "POST /fault HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";
        let came = send(site.address(1, 1), format!("{head}{framing}").as_bytes());
        (came.status, came.code)
    };
    let malformed = fault("Content-Length: 9\r\n\r\n{\"fault\":");
    assert_eq!(malformed, (400, "fault-malformed".to_owned()));
    let large = fault("Content-Length: 104857600\r\n\r\n");
    assert_eq!(large, (413, "body-too-large".to_owned()));
    wait_for("the replica to say who came", || site.log(1).contains("link-stranger"));
    site.ends_unharmed();
}

#[test]
fn held_handshakes_keep_no_replica_from_coming_back() {
    let site = Site::start();
    let (to, holds) = ([1, 2, 3].map(|i| site.address(2, i)), |to| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
        stream
    });
    let mut held: Vec<_> = to.iter().cycle().take(300).map(holds).collect();
    let r0 = site.ready["replicas"][0]["pid"].as_u64().unwrap();
    kill_process(pid(r0), Signal::KILL).unwrap();
    assert_eq!(site.dev.event("died")["id"], 0);
    assert_eq!(site.dev.event("restarted")["id"], 0);
    // Strangers never tire.
    held.extend(to.iter().cycle().take(300).map(holds));
    wait_for("r0 to be ready", || {
        let run = site.person.run(&["--output", "json", "status", &site.gateway(0)]);
        run.exit == 0 && run.json()["ready"] == true
    });
    // The first of them have long been given up.
    held[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    let _ = held[0].read_to_end(&mut rest);
    // A log that strangers could fill would be a weapon.
    let told = site.log(1).lines().filter(|line| line.contains("link-stranger")).count();
    assert!((1..60).contains(&told), "{told} lines about strangers");
    site.ends_unharmed();
}
