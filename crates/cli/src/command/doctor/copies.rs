//! Two copies of a service that have nothing in common but their program.

use super::{cause::NAMES, compare::Said};
use crate::{
    command::{curl::parse_copy, dev::fresh_folder},
    failure::Failure,
};
use quorate_client::Endpoint;
use quorate_node::host::{OwnCopy, Rules};
use quorate_proof::Coverage;
use quorate_types::{Call, Digest, Index, Request, UnixMillis};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How often a copy is asked whether it listens.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much later the second copy starts and is asked: clocks that tell seconds then differ.
const LATER: Duration = Duration::from_millis(1100);

/// The longest content of an answer, that of a gateway's default.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What a program may take from its surroundings, the first copy's and the second's. A program
/// that reads none of it answers the same.
const SURROUNDINGS: &[(&str, [&str; 2])] = &[
    ("PYTHONHASHSEED", ["1", "2"]),
    ("PERL_HASH_SEED", ["1", "2"]),
    // On each day of the year the local dates differ.
    ("TZ", ["Pacific/Kiritimati", "Pacific/Pago_Pago"]),
    ("LANG", ["C.UTF-8", "de_DE.UTF-8"]),
    ("LC_ALL", ["C.UTF-8", "de_DE.UTF-8"]),
    ("LANGUAGE", ["en", "de"]),
    ("GOMAXPROCS", ["1", "4"]),
    ("UV_THREADPOOL_SIZE", ["1", "4"]),
    ("OMP_NUM_THREADS", ["1", "4"]),
    ("RAYON_NUM_THREADS", ["1", "4"]),
    ("TOKIO_WORKER_THREADS", ["1", "4"]),
    ("HOSTNAME", NAMES),
];

/// Where copies come from.
pub(super) enum Service {
    /// A command line with `{port}` in it.
    Program(String),
    /// A URL with `{i}` in it, for copies that run.
    Running(String),
}

impl Service {
    /// Reads what `--service` says.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        match is_url {
            true if text.contains("{i}") => Ok(Self::Running(text.to_owned())),
            false if text.contains("{port}") => Ok(Self::Program(text.to_owned())),
            is_url => {
                let mark = if is_url { "{i}" } else { "{port}" };
                let message = format!("`{text}` names one copy: there is no {mark} in it");
                Err(Failure::usage("doctor-service", message).hint(
                    "'python3 app.py {port}' starts two copies, 'http://127.0.0.1:900{i}' are two",
                ))
            }
        }
    }
}

/// A copy that can be asked.
pub(super) struct Copy {
    own: OwnCopy,
    /// Where it listens.
    pub(super) port: u16,
    /// Kept for as long as it is asked.
    _program: Option<Program>,
}

/// The folder of two copies, which goes with this value.
pub(super) struct Surroundings {
    folder: PathBuf,
    begun: Instant,
}

impl Surroundings {
    /// A new folder.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { folder: fresh_folder("quorate-doctor")?, begun: Instant::now() })
    }

    /// The copy of this number, 0 or 1, ready to be asked.
    pub(super) async fn copy(
        &self,
        service: &Service,
        number: usize,
        within: Duration,
        rules: &Rules,
    ) -> Result<Copy, Failure> {
        if number > 0 {
            tokio::time::sleep_until(self.begun + LATER).await;
        }
        let (at, program) = match service {
            Service::Running(pattern) => {
                let url = pattern.replace("{i}", &number.to_string());
                let url = parse_copy(&url)?;
                if url.path != "/" || url.query != "?" {
                    let message = format!("`{pattern}` names more than a host and a port");
                    return Err(Failure::usage("doctor-service", message));
                }
                (url.endpoint, None)
            }
            Service::Program(line) => {
                let port = free_port()?;
                let program = self.start(&line.replace("{port}", &port.to_string()), number)?;
                let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}"))
                    .map_err(|error| Failure::failed(error.code(), &error))?;
                (endpoint, Some(program))
            }
        };
        let port = at.address().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let mut copy =
            Copy { own: OwnCopy::new(at.clone(), rules.clone()), port, _program: program };
        copy.wait(&at, within).await?;
        Ok(copy)
    }

    /// Starts a program in a group of processes of its own, which ends as a whole.
    fn start(&self, line: &str, number: usize) -> Result<Program, Failure> {
        let name = NAMES[number];
        let here =
            std::env::current_dir().map_err(|error| Failure::file(Path::new("."), &error))?;
        // Another name of the same folder: files that the command line names are still found.
        let (there, temporary) = (self.folder.join(name), self.folder.join(format!("{name}-tmp")));
        let log = self.folder.join(format!("{name}.log"));
        let failed = |error: std::io::Error| Failure::file(&self.folder, &error);
        symlink(here, &there).map_err(failed)?;
        fs::create_dir(&temporary).map_err(failed)?;
        let out = File::create(&log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let child = Command::new("sh")
            .arg("-c")
            .arg(line)
            .current_dir(&there)
            .env("PWD", &there)
            .env("TMPDIR", &temporary)
            .envs(SURROUNDINGS.iter().map(|(name, values)| (name, values[number])))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed("doctor-start", format!("`{line}`: {error}")))?;
        Ok(Program { child, log, line: line.to_owned() })
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Copy {
    /// Waits until the copy listens.
    async fn wait(&mut self, at: &Endpoint, within: Duration) -> Result<(), Failure> {
        let until = Instant::now() + within;
        loop {
            let error = match TcpStream::connect(at.address()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let Some(program) = &mut self._program else {
                return Err(Failure::failed("doctor-start", format!("{at}: {error}"))
                    .hint("is the copy running?"));
            };
            if let Some(status) = program.child.try_wait().ok().flatten() {
                return Err(program.failure(&format!("ended at once ({status})")));
            }
            if Instant::now() > until {
                let seconds = within.as_secs();
                return Err(program.failure(&format!("does not listen within {seconds} s")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Asks it these requests, in the order of their positions.
    pub(super) async fn ask(
        &mut self,
        requests: &[Arc<Request>],
        asked: &[usize],
        begun: UnixMillis,
    ) -> Vec<Said> {
        let mut said = Vec::with_capacity(asked.len());
        for (index, request) in (1..).zip(asked.iter().filter_map(|&at| requests.get(at))) {
            let call = Call {
                index: Index(index),
                time: UnixMillis(begun.0.saturating_add(index)),
                seed: seed(index),
                request: Arc::clone(request),
            };
            said.push(self.own.call(&call).await.map_err(|error| error.to_string()));
        }
        said
    }
}

/// A program that was started. Its whole group ends with this value.
struct Program {
    child: Child,
    log: PathBuf,
    line: String,
}

impl Program {
    fn failure(&self, what: &str) -> Failure {
        let failure = Failure::failed("doctor-start", format!("`{}` {what}", self.line));
        let text = fs::read(&self.log).unwrap_or_default();
        match String::from_utf8_lossy(&text).lines().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => failure.hint(format!("it said: {}", last.trim())),
            None => failure.hint("it said nothing"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How a replica calls its copy where nothing is configured: with nothing repaired.
pub(super) fn plain_rules() -> Rules {
    Rules {
        authority: "doctor.localhost".to_owned(),
        coverage: Coverage::default(),
        volatile: Vec::new(),
        canonical_json: false,
        body_max: BODY_BYTES_MAX,
        call_timeout: Duration::from_secs(2),
        own_paths: Vec::new(),
    }
}

/// What both copies are told for an entry.
fn seed(index: u64) -> Digest {
    let mut bytes = [0x5e; 32];
    bytes[24..].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Digest(bytes)
}

fn free_port() -> Result<u16, Failure> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::failed("doctor-start", format!("no port is free: {error}")))
}
