//! The copies of a service that runs outside: processes that forget everything when they are
//! killed.

use crate::running::{copy_listeners, wait_for};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

/// The program, of which each copy is a process.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kill_loop/kv.py");

/// What each replica's configuration says of its copy.
const TABLE: &str = "restore = \"snapshot\"\nsnapshot_entries = 200\n\
                     save_url = \"{service}/internal/state\"\n\
                     load_url = \"{service}/internal/state\"\n\
                     reset_url = \"{service}/internal/reset\"\n";

/// See the module.
pub(crate) struct Copies {
    /// Where they are, with `{i}` for the replica's number.
    pub(crate) service: String,
    ports: Vec<u16>,
    processes: Vec<Child>,
    killed: usize,
}

impl Copies {
    /// Starts a copy for each replica.
    pub(crate) fn start() -> Self {
        let (service, listeners) = copy_listeners(4);
        let ports: Vec<u16> = listeners.into_iter().map(port).collect();
        let processes = ports.iter().map(|port| spawn(*port)).collect();
        Self { service, ports, processes, killed: 0 }
    }

    /// The table `[copy]` of a replica.
    pub(crate) fn table(&self, replica: usize) -> toml::Table {
        let service = self.service.replace("{i}", &replica.to_string());
        TABLE.replace("{service}", &service).parse().unwrap()
    }

    /// Kills copies as `kill -9` does, and starts them again, empty.
    pub(crate) fn kill(&mut self, copies: &[usize]) {
        for &copy in copies {
            let process = &mut self.processes[copy];
            process.kill().unwrap();
            process.wait().unwrap();
            self.killed += 1;
        }
        for &copy in copies {
            self.processes[copy] = spawn(self.ports[copy]);
        }
    }

    /// How many were killed.
    pub(crate) fn killed(&self) -> usize {
        self.killed
    }

    /// The URL of a copy that nobody called yet.
    pub(crate) fn fresh(&mut self) -> String {
        let (_, listeners) = copy_listeners(1);
        let port = listeners.into_iter().map(port).next().unwrap();
        self.ports.push(port);
        self.processes.push(spawn(port));
        format!("http://127.0.0.1:{port}")
    }

    /// What each copy holds, the fresh one's included.
    pub(crate) fn states(&self) -> Vec<String> {
        self.ports.iter().map(|port| state(*port)).collect()
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn port(listener: TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Starts a copy, again where somebody's connection had taken its port meanwhile.
fn spawn(port: u16) -> Child {
    let start = || {
        let mut command = Command::new("python3");
        command.args([PROGRAM, &port.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("python3 runs")
    };
    let mut process = start();
    wait_for("a copy to listen", || {
        if process.try_wait().unwrap().is_some() {
            process = start();
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    process
}

fn state(port: u16) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = "GET /internal/state HTTP/1.1\r\nHost: copy\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}
