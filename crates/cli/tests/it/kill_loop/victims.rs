//! The replicas' processes: killed, waited for, killed again.

use super::copies::Copies;
use crate::{
    binary::Person,
    running::{Dev, SOON, free_ports, pid},
};
use quorate_client::{Client, Endpoint, Url};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Bytes of requests between two snapshots: the least that a configuration may say.
const SNAPSHOT_BYTES: u64 = 64 << 10;

/// Entries from which on a replica that lags installs a snapshot: a few seconds' worth.
const INSTALL_LAG: u64 = 200;

/// How long replicas may take to be ready after a kill, on a machine that also compiles.
const READY_MAX: Duration = Duration::from_secs(180);

/// A moment at which processes were killed.
#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) kind: &'static str,
    pub(crate) at: Instant,
}

/// A cluster whose processes are there to be killed.
pub(crate) struct Victims {
    person: Person,
    dev: Dev,
    pids: Vec<Pid>,
    /// Those that this test killed: any other that dies has failed.
    killed: HashSet<Pid>,
    folders: Vec<PathBuf>,
    /// What processes logged that are no longer there, for each replica.
    logged: Vec<String>,
    heads: BTreeMap<u64, String>,
    runtime: Handle,
    client: Option<Client>,
    pub(crate) policy: PathBuf,
    pub(crate) gateways: Vec<Endpoint>,
    pub(crate) kills: Vec<Kill>,
}

impl Victims {
    /// Starts four replicas of a service, or with copies of it, that take snapshots often.
    pub(crate) fn start(runtime: Handle, service: &str, copies: Option<&Copies>) -> Self {
        let person = Person::new();
        // A build meanwhile must not exchange the binary that replicas are started again from.
        let binary = person.home.path().join("quorate");
        fs::copy(env!("CARGO_BIN_EXE_quorate"), &binary).unwrap();
        let port = free_ports().to_string();
        let plan = ["init", "--dir", "cluster", "--port", &port, "--service", service];
        person.run(&plan).exits(0);
        for i in 0..4_usize {
            let path = person.path(&format!("cluster/r{i}/quorate.toml"));
            let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            let snapshots =
                format!("every_bytes = {SNAPSHOT_BYTES}\ninstall_lag = {INSTALL_LAG}\n");
            config.insert("snapshots".into(), snapshots.parse::<toml::Table>().unwrap().into());
            if let Some(copies) = copies {
                config.insert("copy".into(), copies.table(i).into());
            }
            fs::write(&path, config.to_string()).unwrap();
        }
        let dev = Dev::of(&binary, &person, &["--dir", "cluster"]);
        let ready = dev.event("ready");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let gateways = ready["gateways"].as_array().unwrap().iter();
        let gateways = gateways.map(|url| Url::parse(&text(url)).unwrap().endpoint).collect();
        let replicas = ready["replicas"].as_array().unwrap();
        Self {
            pids: replicas.iter().map(|one| pid(one["pid"].as_u64().unwrap())).collect(),
            folders: replicas.iter().map(|one| text(&one["dir"]).into()).collect(),
            policy: text(&ready["policy"]).into(),
            gateways,
            person,
            dev,
            killed: HashSet::new(),
            logged: vec![String::new(); 4],
            heads: BTreeMap::new(),
            runtime,
            client: None,
            kills: Vec::new(),
        }
    }

    /// Asks through this client from now on.
    pub(crate) fn ask_through(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// How many processes were killed.
    pub(crate) fn killed(&self) -> usize {
        self.killed.len()
    }

    /// Kills replicas at one time, as `kill -9` does, and notes it as a kill of this kind.
    pub(crate) fn kill(&mut self, kind: &'static str, replicas: &[usize]) {
        self.kills.push(Kill { kind, at: Instant::now() });
        for &replica in replicas {
            kill_process(self.pids[replica], Signal::KILL).unwrap();
            self.killed.insert(self.pids[replica]);
        }
    }

    /// Waits until these replicas were started again, and does something meanwhile.
    pub(crate) fn wait_restarted(&mut self, replicas: &[usize], mut meanwhile: impl FnMut()) {
        let mut waiting: BTreeSet<_> = replicas.iter().copied().collect();
        let mut heard = Instant::now();
        while !waiting.is_empty() {
            meanwhile();
            let Ok(event) = self.dev.events.recv_timeout(Duration::from_millis(50)) else {
                assert!(heard.elapsed() < SOON, "{waiting:?} were not started again in time");
                continue;
            };
            heard = Instant::now();
            if let Some(restarted) = self.follow(&event) {
                waiting.remove(&restarted);
            }
        }
    }

    /// Removes all that a replica, which was just killed, has on its disk.
    pub(crate) fn empty_disk(&self, replica: usize) {
        fs::remove_dir_all(self.folders[replica].join("data")).unwrap();
    }

    /// Waits until all replicas are ready, and does something meanwhile.
    pub(crate) fn wait_ready(&mut self, mut meanwhile: impl FnMut()) {
        let start = Instant::now();
        loop {
            meanwhile();
            self.check_deaths();
            let states: Vec<_> = (0..self.pids.len()).map(|i| self.status(i)).collect();
            let in_step = |s: &Value| s["copy"].is_null() || s["copy"]["standing"] == "in-step";
            let ready = |state: &Option<Value>| {
                state.as_ref().is_some_and(|s| s["ready"] == true && in_step(s))
            };
            if states.iter().all(ready) {
                return;
            }
            let log = || states.iter().position(|state| !ready(state)).map(|i| self.last_log(i));
            assert!(start.elapsed() < READY_MAX, "not ready: {states:#?}\n{:?}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Which replica leads, by the word of most.
    pub(crate) fn primary(&mut self) -> usize {
        let states: Vec<_> = (0..self.pids.len()).filter_map(|i| self.status(i)).collect();
        let primaries = states.iter().filter_map(|state| state["primary"].as_u64());
        let mut votes = BTreeMap::new();
        primaries.for_each(|primary| *votes.entry(primary).or_insert(0) += 1);
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        usize::try_from(most.expect("somebody answers").0).unwrap()
    }

    /// Waits until a replica writes a snapshot.
    pub(crate) fn wait_snapshot(&self) -> usize {
        let start = Instant::now();
        let writes =
            |replica: &usize| self.folders[*replica].join("data/snapshots/snapshot.new").exists();
        loop {
            if let Some(replica) = (0..self.folders.len()).find(writes) {
                return replica;
            }
            assert!(start.elapsed() < SOON, "no snapshot is ever written");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// What a replica says of itself, if it answers. No two replicas, nor one at two times, may
    /// ever name two heads of one size.
    pub(crate) fn status(&mut self, replica: usize) -> Option<Value> {
        let client = self.client.as_ref().expect("a client was given");
        let answer = self.runtime.block_on(client.fetch(&self.gateways[replica], "status")).ok()?;
        let status: Value = serde_json::from_slice(&answer.body).ok()?;
        if let (Some(size), Some(root)) =
            (status["last_head"]["size"].as_u64(), status["last_head"]["root"].as_str())
        {
            let known = self.heads.entry(size).or_insert_with(|| root.to_owned());
            assert_eq!(known, root, "r{replica} has another head of size {size}");
        }
        Some(status)
    }

    /// How many sizes of the log were seen with their heads.
    pub(crate) fn heads(&self) -> usize {
        self.heads.len()
    }

    /// Fails if a replica died that nobody killed.
    pub(crate) fn check_deaths(&mut self) {
        loop {
            match self.dev.events.try_recv() {
                Ok(event) => drop(self.follow(&event)),
                Err(_) => return,
            }
        }
    }

    /// Takes note of an event; tells which replica was started again.
    fn follow(&mut self, event: &Value) -> Option<usize> {
        let process = pid(event["pid"].as_u64().unwrap());
        let replica = usize::try_from(event["id"].as_u64().unwrap()).unwrap();
        if event["event"] == "restarted" {
            self.pids[replica] = process;
            let before = self.read_log(replica, "replica.log.before");
            self.logged[replica].push_str(&before);
            return Some(replica);
        }
        let log = self.last_log(replica);
        assert!(self.killed.contains(&process), "a replica failed: {event}\n{log}");
        None
    }

    /// The audit of a gateway's log, executed again by a fresh copy.
    pub(crate) fn audit(&self, fresh: &str) {
        let gateway = format!("http://{}", self.gateways[1].authority());
        let policy = self.policy.to_str().unwrap();
        let audit = ["audit", "--output", "json", "--policy", policy, "--upstream", fresh];
        let report = self.person.run(&[&audit[..], &[&gateway]].concat()).exits(0).json();
        assert_eq!(report["re_executed"], true, "{report}");
    }

    /// Notes that other processes than replicas are killed now.
    pub(crate) fn note(&mut self, kind: &'static str) {
        self.kills.push(Kill { kind, at: Instant::now() });
    }

    /// What each replica has logged, in all its processes.
    pub(crate) fn logs(&self) -> Vec<String> {
        let log =
            |replica: usize| self.logged[replica].clone() + &self.read_log(replica, "replica.log");
        (0..self.folders.len()).map(log).collect()
    }

    fn read_log(&self, replica: usize, name: &str) -> String {
        fs::read_to_string(self.folders[replica].join(name)).unwrap_or_default()
    }

    fn last_log(&self, replica: usize) -> String {
        let text = self.read_log(replica, "replica.log");
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Stops the cluster as people do.
    pub(crate) fn stop(mut self) {
        self.check_deaths();
        assert_eq!(self.dev.stop(), Some(0));
    }
}

impl Drop for Victims {
    /// What a failure left on the disks is the best witness of it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.person.home.disable_cleanup(true);
            println!("kept for a look: {}", self.person.home.path().display());
        }
    }
}
