//! The processes of a local cluster.

use super::probe;
use crate::failure::Failure;
use quorate_node::Config;
use std::{
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, timeout_at},
};

/// How long a replica that died stays dead.
const RESTART_AFTER: Duration = Duration::from_secs(3);

/// How long a replica may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How often replicas are asked whether they are ready, and whether they live.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One replica of the cluster.
pub(super) struct Replica {
    /// Its configuration's file.
    pub(super) path: PathBuf,
    /// Its configuration.
    pub(super) config: Config,
}

impl Replica {
    /// Its number.
    pub(super) fn id(&self) -> u16 {
        self.config.me().0
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn log(&self) -> PathBuf {
        self.dir().join("replica.log")
    }
}

/// What happens to a cluster.
pub(super) enum Event<'a> {
    /// All replicas that live are ready, and they are a quorum.
    Ready(Vec<(&'a Replica, u32)>),
    /// A replica ended.
    Died {
        /// Which.
        id: u16,
        /// The process that it was.
        pid: u32,
        /// How it ended.
        how: String,
    },
    /// A replica was started again.
    Restarted {
        /// Which.
        id: u16,
        /// The process that it is now.
        pid: u32,
    },
}

/// What the runtime of a replica reads.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// A replica's process.
enum Process {
    Alive { child: Child, pid: u32 },
    Dead { again: Option<Instant> },
}

/// The cluster.
pub(super) struct Cluster {
    replicas: Vec<Replica>,
    processes: Vec<Process>,
    restart: bool,
    /// How many threads of each replica serve sockets.
    workers: usize,
    signals: [Signal; 3],
}

impl Cluster {
    /// Starts every replica.
    pub(super) fn start(replicas: Vec<Replica>, restart: bool) -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed("signals", format_args!("{error}")))
        };
        let signals = [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ];
        let workers = workers_of(replicas.len());
        let processes =
            replicas.iter().map(|replica| spawn(replica, workers)).collect::<Result<_, _>>()?;
        Ok(Self { replicas, processes, restart, workers, signals })
    }

    /// Watches until a signal comes. Fails when no quorum lives before the cluster was ready.
    pub(super) async fn run(&mut self, mut tell: impl FnMut(Event<'_>)) -> Result<(), Failure> {
        let mut told_ready = false;
        loop {
            let [interrupt, terminate, hangup] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                () = sleep(LOOK_EVERY) => {}
            }
            self.bury(&mut tell)?;
            if !told_ready {
                self.check_quorum()?;
                if self.is_ready().await {
                    told_ready = true;
                    tell(Event::Ready(self.alive().collect()));
                }
            }
            self.start_again(&mut tell)?;
        }
    }

    /// Stops every replica, in an orderly way while there is time.
    pub(super) async fn stop(&mut self) {
        for process in &mut self.processes {
            if let Process::Alive { pid, .. } = process
                && let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_MAX;
        for process in &mut self.processes {
            if let Process::Alive { child, .. } = process
                && timeout_at(deadline, child.wait()).await.is_err()
            {
                let _ = child.kill().await;
            }
        }
    }

    fn alive(&self) -> impl Iterator<Item = (&Replica, u32)> {
        self.replicas.iter().zip(&self.processes).filter_map(|(replica, process)| match process {
            Process::Alive { pid, .. } => Some((replica, *pid)),
            Process::Dead { .. } => None,
        })
    }

    async fn is_ready(&self) -> bool {
        for (replica, _) in self.alive() {
            if !probe::is_ready(replica.config.file().listen.operations).await {
                return false;
            }
        }
        true
    }

    /// A cluster that never came up, and cannot, is an error and not a thing to wait for.
    fn check_quorum(&self) -> Result<(), Failure> {
        let Some(first) = self.replicas.first() else { return Ok(()) };
        if self.alive().count() >= first.config.committee().quorum() {
            return Ok(());
        }
        let dead = |(_, process): &(&Replica, &Process)| matches!(process, Process::Dead { .. });
        let last = self.replicas.iter().zip(&self.processes).filter(dead).last();
        let (log, reason) = match last {
            Some((replica, _)) => (replica.log(), last_words(&replica.log())),
            None => (PathBuf::new(), None),
        };
        let reason = reason.unwrap_or_else(|| format!("see {}", log.display()));
        Err(Failure::failed("dev-no-quorum", format_args!("too few replicas started: {reason}")))
    }

    fn bury(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<(), Failure> {
        for (replica, process) in self.replicas.iter().zip(&mut self.processes) {
            let Process::Alive { child, pid } = process else { continue };
            let ended = child.try_wait().map_err(|error| {
                Failure::failed("dev-wait", format_args!("r{} is lost: {error}", replica.id()))
            })?;
            if let Some(status) = ended {
                let how = how_it_ended(status, &replica.log());
                tell(Event::Died { id: replica.id(), pid: *pid, how });
                let again = self.restart.then(|| Instant::now() + RESTART_AFTER);
                *process = Process::Dead { again };
            }
        }
        Ok(())
    }

    fn start_again(&mut self, tell: &mut impl FnMut(Event<'_>)) -> Result<(), Failure> {
        for (replica, process) in self.replicas.iter().zip(&mut self.processes) {
            let Process::Dead { again: Some(again) } = process else { continue };
            if *again <= Instant::now() {
                *process = spawn(replica, self.workers)?;
                if let Process::Alive { pid, .. } = process {
                    tell(Event::Restarted { id: replica.id(), pid: *pid });
                }
            }
        }
        Ok(())
    }
}

/// How many threads serve a replica's sockets: its part of the cores that all share here, one at
/// least. More of them only wake each other.
fn workers_of(replicas: usize) -> usize {
    let asked = std::env::var(WORKERS).ok().and_then(|text| text.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or(cores / replicas.max(1)).max(1)
}

/// Starts a replica as a process of this very binary.
///
/// It gets a pipe as its standard input, which ends when this process does, however that happens;
/// and a process group of its own, so that Ctrl-C reaches it through [`Cluster::stop`] alone.
fn spawn(replica: &Replica, workers: usize) -> Result<Process, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed("dev-spawn", format_args!("r{} cannot be started: {error}", replica.id()))
    };
    let binary = std::env::current_exe().map_err(|error| failed(&error))?;
    let log = log_file(&replica.log()).map_err(|error| Failure::file(&replica.log(), &error))?;
    let child = Command::new(binary)
        .arg("start")
        .arg("--with-parent")
        .arg("--config")
        .arg(&replica.path)
        .env(WORKERS, workers.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let pid = child.id().unwrap_or(0);
    Ok(Process::Alive { child, pid })
}

/// A fresh log for each start, with the one before kept aside.
fn log_file(path: &Path) -> std::io::Result<File> {
    match std::fs::rename(path, path.with_extension("log.before")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn how_it_ended(status: ExitStatus, log: &Path) -> String {
    if let Some(signal) = status.signal() {
        return format!("signal {signal}");
    }
    let code = status.code().unwrap_or(-1);
    match last_words(log) {
        Some(words) => format!("exit code {code}, {words}"),
        None => format!("exit code {code}"),
    }
}

/// The last error that a replica reported.
fn last_words(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    text.lines().rev().find(|line| line.starts_with("error[")).map(str::to_owned)
}
