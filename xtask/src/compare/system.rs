//! What is compared.

use super::{
    comet,
    load::{Load, OCTETS, Request},
};
use serde_json::Value;
use std::{
    fmt, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How many replicas of Quorate.
pub(crate) const REPLICAS: u16 = 4;

/// How long a system may take to serve its first request.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The port of the first gateway of Quorate's cluster.
const GATEWAYS_FROM: u16 = 18_400;

const ETCD_NODES: u16 = 3;
const PLAIN: &str = "127.0.0.1:18390";

/// A system under comparison.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum System {
    /// Four replicas, a proof in every response.
    Quorate,
    /// Four validators, tuned for throughput.
    CometTuned,
    /// Four validators, as they come.
    Comet,
    /// Three nodes; crashes are tolerated, lies are not.
    Etcd,
    /// One process that does nothing.
    Plain,
}

/// To whom connections are made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Spread {
    /// In turn to all nodes.
    All,
    /// All to one: the leader, where there is one.
    One,
}

impl System {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 5] =
        [Self::Quorate, Self::CometTuned, Self::Comet, Self::Etcd, Self::Plain];

    /// What it is called in options and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::CometTuned => "cometbft-tuned",
            Self::Comet => "cometbft",
            Self::Etcd => "etcd",
            Self::Plain => "plain",
        }
    }

    /// The system of a name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|system| system.name() == name);
        found.ok_or_else(|| format!("there is no system `{name}`"))
    }

    /// What it is, for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quorate => "Quorate, 4 replicas, a proof in every response",
            Self::CometTuned => "CometBFT, 4 validators, tuned",
            Self::Comet => "CometBFT, 4 validators, default",
            Self::Etcd => "etcd, 3 nodes",
            Self::Plain => "plain axum, no replication, no disk",
        }
    }

    /// How connections are laid, in the order in which they are measured.
    pub(crate) fn spreads(self) -> &'static [Spread] {
        match self {
            Self::Plain => &[Spread::One],
            _ => &[Spread::All, Spread::One],
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Quorate => quorate(),
            Self::CometTuned | Self::Comet => "cometbft".into(),
            Self::Etcd => "etcd".into(),
            Self::Plain => crate::target().join("release/examples/plain"),
        }
    }

    /// Whether it can be started here.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Quorate | Self::Plain => self.program().exists(),
            _ => is_on_path(&self.program().to_string_lossy()),
        }
    }

    /// Its version, for the record.
    pub(crate) fn version(self) -> Result<String, String> {
        let argument = match self {
            Self::Plain => return Ok("axum".to_owned()),
            Self::CometTuned | Self::Comet => "version",
            Self::Quorate | Self::Etcd => "--version",
        };
        let said = Command::new(self.program()).arg(argument).output();
        let said = said.map_err(|error| format!("{}: {error}", self.name()))?;
        let text = String::from_utf8_lossy(&said.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Starts it with its data in this folder, and waits until it serves.
    pub(crate) fn start(self, dir: &Path, payload: usize) -> Result<Running, String> {
        let mut running = Running::fresh(dir, self.request(payload))?;
        match self {
            Self::Quorate => running.start_quorate(REPLICAS)?,
            Self::CometTuned => running.start_comet(true)?,
            Self::Comet => running.start_comet(false)?,
            Self::Etcd => running.start_etcd()?,
            Self::Plain => {
                running.spawn(Command::new(self.program()).arg(PLAIN), "plain")?;
                running.nodes = vec![PLAIN.to_owned()];
                running.wait_until(|_| exchange(PLAIN, "GET", "/", "").map(|_| true))?;
            }
        }
        Ok(running)
    }

    /// A write of a fresh key with so many bytes.
    fn request(self, payload: usize) -> Request {
        let content = "q".repeat(payload);
        let put = Request {
            method: "PUT",
            path: "/kv/{n}".to_owned(),
            body: content.clone(),
            media_type: OCTETS,
            telltale: "",
        };
        match self {
            Self::Quorate | Self::Plain => put,
            Self::CometTuned | Self::Comet => Request {
                method: "GET",
                path: format!("/broadcast_tx_commit?tx=%22{{n}}={content}%22"),
                body: String::new(),
                telltale: "\"error\"",
                ..put
            },
            // Keys and values are base64 there, which 16 digits are too.
            Self::Etcd => Request {
                method: "POST",
                path: "/v3/kv/put".to_owned(),
                body: format!("{{\"key\":\"{{n}}\",\"value\":\"{}\"}}", base64_of_zeros(payload)),
                media_type: "application/json",
                ..put
            },
        }
    }
}

/// The base64 of so many zero bytes.
fn base64_of_zeros(bytes: usize) -> String {
    let rest = ["", "AA==", "AAA="][bytes % 3];
    format!("{}{rest}", "AAAA".repeat(bytes / 3))
}

/// What a system took, nodes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weight {
    /// Most memory that one node held, in MiB.
    pub(crate) memory_mib: f64,
    /// What one node has on the disk, in MiB.
    pub(crate) disk_mib: f64,
}

/// A system that serves. Its processes end with it.
#[derive(Debug)]
pub(crate) struct Running {
    dir: PathBuf,
    request: Request,
    /// `HOST:PORT` of each node.
    nodes: Vec<String>,
    leader: usize,
    started: Vec<Child>,
    /// The nodes' processes.
    pids: Vec<u32>,
    /// `HOST:PORT` of each operations listener; of Quorate only.
    operations: Vec<String>,
}

impl Running {
    /// A cluster of so many replicas of Quorate.
    pub(crate) fn cluster(dir: &Path, replicas: u16, payload: usize) -> Result<Self, String> {
        let mut running = Self::fresh(dir, System::Quorate.request(payload))?;
        running.start_quorate(replicas)?;
        Ok(running)
    }

    /// Nothing yet, with an empty folder.
    fn fresh(dir: &Path, request: Request) -> Result<Self, String> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
            request,
            nodes: Vec::new(),
            leader: 0,
            started: Vec::new(),
            pids: Vec::new(),
            operations: Vec::new(),
        })
    }

    /// So many connections that write, spread over these nodes.
    pub(crate) fn load(&self, targets: Vec<String>, connections: u32) -> Load {
        Load { targets, request: self.request.clone(), connections, keys: None, signing: None }
    }

    /// The folder of a cluster of Quorate: its policy, and what each replica has.
    pub(crate) fn cluster_dir(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// The operations listeners of the replicas.
    pub(crate) fn operations(&self) -> &[String] {
        &self.operations
    }

    /// Where connections go.
    pub(crate) fn targets(&self, spread: Spread) -> Vec<String> {
        match spread {
            Spread::All => self.nodes.clone(),
            Spread::One => vec![self.nodes[self.leader].clone()],
        }
    }

    /// The processes of its nodes.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// What it takes now.
    pub(crate) fn weight(&self) -> Weight {
        let memory =
            self.pids.iter().filter_map(|pid| memory_mib(*pid, "VmHWM")).fold(0.0, f64::max);
        let disk = bytes_below(&self.dir) as f64 / f64::from(1 << 20);
        Weight { memory_mib: memory, disk_mib: disk / self.nodes.len().max(1) as f64 }
    }

    /// Ends its processes.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        for child in &self.started {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        }
        let patience = Instant::now() + Duration::from_secs(20);
        for mut child in self.started.drain(..) {
            while child.try_wait().map_err(|error| error.to_string())?.is_none() {
                if Instant::now() > patience {
                    child.kill().map_err(|error| error.to_string())?;
                }
                sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn start_quorate(&mut self, replicas: u16) -> Result<(), String> {
        let mut command = Command::new(quorate());
        command
            .args(["dev", "--output", "json", "--no-restart"])
            .args(["--replicas", &replicas.to_string()])
            .args(["--port", &GATEWAYS_FROM.to_string(), "--dir"])
            .arg(self.cluster_dir());
        self.spawn(&mut command, "quorate")?;
        let log = self.dir.join("quorate.log");
        let ready = self.wait_for(|| {
            let said = fs::read_to_string(&log).ok()?;
            let mut events = said.lines().filter_map(|it| serde_json::from_str(it).ok());
            events.find(|event: &Value| event["event"] == "ready")
        })?;
        let each = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let addresses = |list: &Value| {
            let urls = each(list);
            let urls = urls.iter().filter_map(Value::as_str);
            urls.map(|url| url.trim_start_matches("http://").to_owned()).collect()
        };
        self.nodes = addresses(&ready["gateways"]);
        self.operations = addresses(&ready["operations"]);
        self.pids = each(&ready["replicas"])
            .iter()
            .filter_map(|replica| u32::try_from(replica["pid"].as_u64()?).ok())
            .collect();
        Ok(())
    }

    fn start_comet(&mut self, tuned: bool) -> Result<(), String> {
        let network = self.dir.join("network");
        comet::init(&network, tuned)?;
        for validator in 0..comet::VALIDATORS {
            let name = format!("node{validator}");
            let mut command = Command::new("cometbft");
            command.args(["start", "--log_level", "error", "--home"]).arg(network.join(&name));
            self.spawn(&mut command, &name)?;
            self.nodes.push(comet::rpc(validator));
        }
        self.wait_until(|node| {
            let status = exchange(node, "GET", "/status", "")?;
            let height = status["result"]["sync_info"]["latest_block_height"].as_str()?;
            (height != "0").then_some(false)
        })
    }

    fn start_etcd(&mut self) -> Result<(), String> {
        let client = |node: u16| format!("127.0.0.1:{}", 23_790 + node);
        let peer = |node: u16| format!("http://127.0.0.1:{}", 23_800 + node);
        let cluster: Vec<_> =
            (0..ETCD_NODES).map(|node| format!("n{node}={}", peer(node))).collect();
        for node in 0..ETCD_NODES {
            let (name, url) = (format!("n{node}"), format!("http://{}", client(node)));
            let mut command = Command::new("etcd");
            command
                .args(["--name", &name, "--log-level", "error", "--data-dir"])
                .arg(self.dir.join(&name))
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peer(node)])
                .args(["--initial-advertise-peer-urls", &peer(node)])
                .args(["--initial-cluster", &cluster.join(","), "--logger", "zap"]);
            self.spawn(&mut command, &name)?;
            self.nodes.push(client(node));
        }
        self.wait_until(|node| {
            let status = exchange(node, "POST", "/v3/maintenance/status", "{}")?;
            let leader = status.get("leader").filter(|leader| *leader != "0")?;
            Some(*leader == status["header"]["member_id"])
        })
    }

    /// Starts a process; what it says goes to a file of this name.
    fn spawn(&mut self, command: &mut Command, name: &str) -> Result<(), String> {
        let log = self.dir.join(format!("{name}.log"));
        let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let also = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(also);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        self.pids.push(child.id());
        self.started.push(child);
        Ok(())
    }

    /// Waits until every node answers, with whether it leads.
    fn wait_until(&mut self, leads: impl Fn(&str) -> Option<bool>) -> Result<(), String> {
        let all = || self.nodes.iter().map(|node| leads(node)).collect::<Option<Vec<_>>>();
        let answers = self.wait_for(all)?;
        self.leader = answers.iter().position(|leads| *leads).unwrap_or(0);
        Ok(())
    }

    fn wait_for<T>(&self, there: impl Fn() -> Option<T>) -> Result<T, String> {
        let patience = Instant::now() + START_LIMIT;
        loop {
            if let Some(found) = there() {
                return Ok(found);
            }
            if Instant::now() > patience {
                return Err(format!("nothing serves; see the logs in {}", self.dir.display()));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failure: nothing that was started stays.
        let _ = self.stop();
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::One => "one",
        })
    }
}

/// The binary under test.
pub(crate) fn quorate() -> PathBuf {
    crate::target().join("release/quorate")
}

/// Whether a program can be started by its name.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A line of what the kernel tells of a process's memory (proc(5)), in MiB: `VmRSS` is what it
/// holds, `VmHWM` the most that it has held.
pub(crate) fn memory_mib(pid: u32, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rest = |text: &str| text.strip_prefix(line)?.strip_prefix(':').map(str::to_owned);
    let kib: f64 = status.lines().find_map(rest)?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// What the files of a folder hold.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// One exchange of JSON with a node, or nothing where it does not answer.
pub(crate) fn exchange(node: &str, method: &str, path: &str, body: &str) -> Option<Value> {
    let content = content(node, method, path, body)?;
    Some(serde_json::from_str(&content).unwrap_or(Value::Null))
}

/// What a node answers, whatever the status.
pub(crate) fn content(node: &str, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(node).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {node}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_carries_the_same_payload() {
        let plain = System::Plain.request(512);
        assert_eq!(plain.body.len(), 512);
        let etcd = System::Etcd.request(512).body;
        let value = serde_json::from_str::<Value>(&etcd).unwrap();
        // 512 bytes are 170 groups of three, and two.
        assert_eq!(value["value"].as_str().unwrap().len(), 171 * 4);
        let comet = System::Comet.request(512).path;
        assert_eq!(comet.matches('q').count(), 512);
    }

    #[test]
    fn systems_are_found_by_their_names() {
        for system in System::ALL {
            assert_eq!(System::named(system.name()), Ok(system));
        }
        assert!(System::named("tendermint").is_err());
    }
}
