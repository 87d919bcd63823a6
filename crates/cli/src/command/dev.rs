//! `quorate dev`: a local cluster of real processes.
//!
//! | file | holds |
//! |---|---|
//! | this | arguments, the folder, what is said |
//! | [`cluster`] | the processes: started, watched, started again, stopped |
//! | [`probe`] | whether a replica is ready, and whether its ports are free |

mod cluster;
mod probe;

use super::{block_on, init};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use cluster::{Cluster, Event, Replica};
use quorate_client::{Pins, Url};
use quorate_node::{AnswerRules, Config, Plan, config::is_outside, init::NUMBER};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  quorate dev\n  quorate dev --replicas 7 --port 8400\n  \
                        quorate dev --service 'http://127.0.0.1:900{i}'\n  \
                        quorate dev --dir cluster        # keeps its state, and resumes it")]
pub(crate) struct Dev {
    /// How many replicas; 3f+1 survive f faults [default: 4]
    #[arg(long)]
    replicas: Option<u16>,
    /// The ordering engine [default: pbft]
    #[arg(long)]
    engine: Option<String>,
    /// The service: `kv`, `cart`, or `http://HOST:PORT` of an HTTP program, one copy beside each
    /// replica; `{i}` in it stands for the replica's number [default: kv]
    #[arg(long)]
    service: Option<String>,
    /// Keep the state in this folder, and resume what is there; without it, a folder that is
    /// removed at the end
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The port of the first gateway [default: 7400]
    #[arg(long)]
    port: Option<u16>,
    /// The public authority that all replicas serve [default: dev.localhost]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    answers: init::AnswerArguments,
    /// Do not start a replica again that died
    #[arg(long)]
    no_restart: bool,
}

/// Where the state lies.
struct Folder {
    path: PathBuf,
    /// Removed at the end.
    temporary: bool,
    /// Held by this process as long as it lives.
    _lock: File,
}

impl Dev {
    /// Runs the cluster until it is told to stop.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let folder = Folder::open(self.dir.as_deref())?;
        let ended = self.run_in(&folder, console);
        if folder.temporary {
            // A hard end leaves the folder to whoever cleans the temporary folder.
            let _ = fs::remove_dir_all(&folder.path);
        }
        ended.map(|()| Exit::Done)
    }

    fn run_in(&self, folder: &Folder, console: &Console) -> Result<(), Failure> {
        let replicas = self.replicas(&folder.path)?;
        for replica in &replicas {
            let listen = replica.config.file().listen;
            for address in [listen.gateway, listen.operations, listen.replica] {
                probe::port_is_free(address)?;
            }
        }
        let policy = folder.path.join("policy.txt");
        pin(&replicas, console);
        let restart = !self.no_restart;
        block_on(async {
            let mut cluster = Cluster::start(replicas, restart)?;
            let ended = cluster.run(|event| match event {
                Event::Ready(replicas) => say_ready(console, folder, &policy, &replicas),
                Event::Died { id, pid, how } => say_died(console, id, pid, &how, restart),
                Event::Restarted { id, pid } => say_restarted(console, id, pid),
            });
            let ended = ended.await;
            cluster.stop().await;
            ended
        })?
    }

    /// The replicas of the folder, made now where there are none.
    fn replicas(&self, dir: &Path) -> Result<Vec<Replica>, Failure> {
        if !dir.join("policy.txt").exists() {
            let plan = Plan {
                replicas: self.replicas.unwrap_or(4),
                dir: dir.to_owned(),
                engine: self.engine.clone().unwrap_or_else(|| "pbft".to_owned()),
                service: self.service.clone().unwrap_or_else(|| "kv".to_owned()),
                port: self.port.unwrap_or(7400),
                hosts: Vec::new(),
                name: self.name.clone().unwrap_or_else(|| "dev.localhost".to_owned()),
                answers: self.answers.rules(),
            };
            quorate_node::init(&plan).map_err(|error| init::failure(&error))?;
        }
        let load = |id: u16| {
            let path = dir.join(format!("r{id}")).join("quorate.toml");
            let config = Config::load(&path).map_err(|error| Failure::config(&path, &error))?;
            Ok(Replica { path, config })
        };
        let first = load(0)?;
        let n = u16::try_from(first.config.committee().n()).unwrap_or(u16::MAX);
        self.check_resumed(&first.config, n, dir)?;
        let others = (1..n).map(load).collect::<Result<Vec<_>, Failure>>()?;
        Ok([first].into_iter().chain(others).collect())
    }

    /// The service that is asked for, as one replica has it.
    fn service_of(&self, replica: u16) -> Option<String> {
        self.service.as_ref().map(|service| service.replace(NUMBER, &replica.to_string()))
    }

    /// A cluster that is there keeps its settings; others asked for would be ignored in silence.
    fn check_resumed(&self, config: &Config, n: u16, dir: &Path) -> Result<(), Failure> {
        let file = config.file();
        let (asked, none) = (self.answers.rules(), AnswerRules::default());
        let differs = [
            ("--replicas", self.replicas.is_some_and(|replicas| replicas != n)),
            ("--engine", self.engine.as_ref().is_some_and(|engine| *engine != file.engine)),
            ("--service", self.service_of(file.replica).is_some_and(|it| it != file.service)),
            ("--name", self.name.as_ref().is_some_and(|name| *name != file.name)),
            ("rule about answers", asked != none && asked != file.copy.answers()),
            ("--port", self.port.is_some_and(|port| port != file.listen.gateway.port())),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            None => Ok(()),
            Some((option, _)) => Err(Failure::usage(
                "dev-other-settings",
                format_args!("the cluster in {} was made with another {option}", dir.display()),
            )
            .hint("leave the option out, or name another --dir")),
        }
    }
}

impl Folder {
    fn open(dir: Option<&Path>) -> Result<Self, Failure> {
        let (path, temporary) = match dir {
            Some(path) => (path.to_owned(), false),
            None => (fresh_folder("quorate-dev")?, true),
        };
        fs::create_dir_all(&path).map_err(|error| Failure::file(&path, &error))?;
        let path = path.canonicalize().map_err(|error| Failure::file(&path, &error))?;
        let lock = path.join("dev.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| Failure::file(&lock, &error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let message = format!("another quorate dev runs in {}", path.display());
            Failure::failed("dev-running", message).hint("stop that one, or name another --dir")
        })?;
        Ok(Self { path, temporary, _lock: file })
    }
}

/// A new folder for temporary files, whose name begins like this.
pub(super) fn fresh_folder(prefix: &str) -> Result<PathBuf, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::failed("key-randomness", format_args!("no randomness: {error}"))
    })?;
    let name = format!("{prefix}-{:016x}", u64::from_le_bytes(random));
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).map_err(|error| Failure::file(&path, &error))?;
    Ok(path)
}

/// The policy is pinned for every gateway, so that `quorate curl` verifies without a word.
fn pin(replicas: &[Replica], console: &Console) {
    let pinned = Pins::of_user().map_err(|error| error.to_string()).and_then(|pins| {
        for replica in replicas {
            let config = &replica.config;
            let member = &config.members()[config.me().position()];
            let (port, name) = (config.file().listen.gateway.port(), &config.file().name);
            let names = [format!("localhost:{port}"), format!("{name}:{port}")];
            for url in [&member.gateway, &names[0], &names[1]] {
                let url = Url::parse(url).map_err(|error| error.to_string())?;
                pins.replace(&url.endpoint, config.policy()).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    });
    if let Err(reason) = pinned {
        console.note(format_args!("the policy could not be pinned ({reason}); use --policy"));
    }
}

fn say_ready(console: &Console, folder: &Folder, policy: &Path, replicas: &[(&Replica, u32)]) {
    let member =
        |replica: &Replica| replica.config.members()[replica.config.me().position()].clone();
    let gateways: Vec<_> = replicas.iter().map(|(replica, _)| member(replica).gateway).collect();
    if console.is_json() {
        let operations: Vec<_> = replicas
            .iter()
            .map(|(replica, _)| format!("http://{}", replica.config.file().listen.operations))
            .collect();
        let one = |(replica, pid): &(&Replica, u32)| {
            let service = &replica.config.file().service;
            json!({ "id": replica.id(), "pid": pid, "dir": replica.dir(), "service": service })
        };
        let replicas: Vec<_> = replicas.iter().map(one).collect();
        console.json(&json!({
            "event": "ready",
            "policy": policy,
            "dir": folder.path,
            "gateways": gateways,
            "operations": operations,
            "replicas": replicas,
        }));
        return;
    }
    let Some((first, _)) = replicas.first() else { return };
    let file = first.config.file();
    let pids: Vec<_> = replicas.iter().map(|(_, pid)| pid.to_string()).collect();
    let services: Vec<_> =
        replicas.iter().map(|(replica, _)| replica.config.file().service.as_str()).collect();
    let outside = is_outside(&file.service);
    console.line(format_args!(
        "ready: {} replicas of {} under {}\n{}\
         gateways   {}\n\
         processes  {}\n\
         policy     {}\n\
         keys       for development only: anyone on this machine may hold them\n\n\
         try        quorate curl {}{}\n\
         stop       Ctrl-C{}",
        replicas.len(),
        if outside { "a service that runs outside" } else { &file.service },
        file.engine,
        if outside { format!("copies     {}\n", services.join(" ")) } else { String::new() },
        gateways.join(" "),
        pids.join(" "),
        policy.display(),
        if file.service == "kv" { "-X PUT -d hello " } else { "" },
        gateways.first().map_or(String::new(), |gateway| {
            let path = match file.service.as_str() {
                "kv" => "kv/greeting",
                "cart" => "cart/items",
                _ => "",
            };
            format!("{gateway}/{path}")
        }),
        if folder.temporary { ", which also removes all state" } else { "" },
    ));
}

fn say_died(console: &Console, id: u16, pid: u32, how: &str, restart: bool) {
    if console.is_json() {
        console.json(&json!({ "event": "died", "id": id, "pid": pid, "reason": how }));
        return;
    }
    let then = if restart { "; starting it again in 3 s" } else { "" };
    console.line(format_args!("r{id} (process {pid}) died: {how}{then}"));
}

fn say_restarted(console: &Console, id: u16, pid: u32) {
    if console.is_json() {
        console.json(&json!({ "event": "restarted", "id": id, "pid": pid }));
        return;
    }
    console.line(format_args!("r{id} was started again (process {pid})"));
}
