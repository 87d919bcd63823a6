//! A running `quorate dev`, for the tests that need one.

use crate::binary::Person;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Long enough for a machine that also compiles.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A running `quorate dev`.
pub(crate) struct Dev {
    pub(crate) child: Child,
    pub(crate) events: Receiver<Value>,
}

/// The first port of four gateways, four operations listeners and four links that nobody uses.
pub(crate) fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let process = u16::try_from(std::process::id() % 40).unwrap();
        let base = 11_000 + process * 500 + NEXT.fetch_add(4, Ordering::Relaxed) % 90;
        let mut ports = (0..3).flat_map(|step| (0..4).map(move |i| base + 100 * step + i));
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

/// Listeners for up to ten copies of a service, whose ports differ in their last digit, and the
/// address of each with `{i}` for that digit.
pub(crate) fn copy_listeners(copies: u16) -> (String, Vec<TcpListener>) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let process = u16::try_from(std::process::id() % 100).unwrap();
        let tens = 3_500 + process * 20 + NEXT.fetch_add(1, Ordering::Relaxed) % 20;
        let bind = |i| TcpListener::bind(("127.0.0.1", tens * 10 + i));
        if let Ok(listeners) = (0..copies).map(bind).collect() {
            return (format!("http://127.0.0.1:{tens}{{i}}"), listeners);
        }
    }
}

pub(crate) fn pid(number: u64) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

impl Dev {
    pub(crate) fn start(person: &Person, arguments: &[&str]) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_quorate")), person, arguments)
    }

    /// Starts this very binary.
    pub(crate) fn of(binary: &Path, person: &Person, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(["--output", "json", "dev"])
            .args(arguments)
            .current_dir(person.home.path())
            .env_clear()
            .env("HOME", person.home.path())
            .env("TMPDIR", person.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, events }
    }

    /// Waits for an event.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        let event = self.events.recv_timeout(SOON).expect("an event in time");
        assert_eq!(event["event"], name, "{event}");
        event
    }

    /// Stops it as `kill` does; tells its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        kill_process(pid(u64::from(self.child.id())), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL of a gateway.
pub(crate) fn gateway(ready: &Value, i: usize) -> String {
    ready["gateways"][i].as_str().unwrap().to_owned()
}
