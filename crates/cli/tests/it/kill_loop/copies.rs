//! The copies of a service that runs outside: processes that forget everything when they are
//! killed, and that do wrong when they are told to.

use crate::running::{copy_listeners, wait_for};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The program, of which each copy is a process.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kill_loop/kv.py");

/// The exit code of a copy that died by its habit.
const DIED: i32 = 86;

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
    /// Holds a folder for each copy, through which it is told its habit, and tells its deeds.
    folder: TempDir,
    killed: usize,
}

impl Copies {
    /// Starts a copy for each replica.
    pub(crate) fn start() -> Self {
        let (service, listeners) = copy_listeners(4);
        let ports: Vec<u16> = listeners.into_iter().map(port).collect();
        let folder = tempfile::tempdir().unwrap();
        let start = |(copy, port): (usize, &u16)| {
            let own = folder_of(&folder, copy);
            fs::create_dir(&own).unwrap();
            spawn(*port, Some(&own))
        };
        let processes = ports.iter().enumerate().map(start).collect();
        Self { service, ports, processes, folder, killed: 0 }
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
            self.start_again(copy);
        }
    }

    fn start_again(&mut self, copy: usize) {
        let own = folder_of(&self.folder, copy);
        self.processes[copy] = spawn(self.ports[copy], Some(&own));
    }

    /// Starts those again that died by their habit.
    pub(crate) fn revive(&mut self) {
        for copy in 0..self.processes.len() {
            if let Some(status) = self.processes[copy].try_wait().unwrap() {
                assert_eq!(status.code(), Some(DIED), "copy {copy} failed");
                self.start_again(copy);
            }
        }
    }

    /// Tells a copy its habit, and a seed.
    pub(crate) fn take_up(&self, copy: usize, habit: &str) {
        let own = folder_of(&self.folder, copy);
        fs::write(own.join("habit.new"), habit).unwrap();
        fs::rename(own.join("habit.new"), own.join("habit")).unwrap();
    }

    /// Tells a copy to do right from now on.
    pub(crate) fn give_up(&self, copy: usize) {
        fs::remove_file(folder_of(&self.folder, copy).join("habit")).unwrap();
    }

    /// In which ways a copy did wrong so far, one after the other.
    pub(crate) fn deeds(&self, copy: usize) -> Vec<String> {
        let deeds = fs::read_to_string(folder_of(&self.folder, copy).join("deeds"));
        deeds.unwrap_or_default().lines().map(str::to_owned).collect()
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
        self.processes.push(spawn(port, None));
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

fn folder_of(folder: &TempDir, copy: usize) -> PathBuf {
    folder.path().join(copy.to_string())
}

/// Starts a copy, again where somebody's connection had taken its port meanwhile.
fn spawn(port: u16, own: Option<&Path>) -> Child {
    let start = || {
        let mut command = Command::new("python3");
        command
            .args([PROGRAM, &port.to_string()])
            .args(own)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
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
