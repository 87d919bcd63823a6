//! Makes a cluster's files: keys, configurations, the policy, and an empty vote log a replica.
//!
//! ```text
//! DIR/policy.txt            what clients check answers by; written last
//! DIR/rK/quorate.toml       the configuration of replica K
//! DIR/rK/policy.txt         the policy again: what the replica was made for
//! DIR/rK/keys/              its private keys, mode 0600
//! DIR/rK/data/              everything else that it keeps
//! ```
//!
//! Each `rK` is whole in itself: it is what the organisation that runs replica K takes along. The
//! vote log is made here, and nowhere else, because a replica that finds none has lost its disk.

use crate::{
    answers::AnswerRules,
    config::{self, Config, ConfigError, ConfigFile, CopyTable, Listen, Ordering, Snapshots},
    data::DataFolder,
    member::MemberFile,
};
use quorate_crypto::{KeyError, ReplicaKeys};
use quorate_gateway::Limits;
use quorate_ledger::{DiskError, WalError};
use quorate_proof::sha256;
use quorate_types::{Chain, ReplicaId};
use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Ports of operations listeners and of replica links lie so far above those of gateways.
pub const PORT_STEP: u16 = 100;

/// The policy's file, in the cluster's folder and in each replica's.
const POLICY: &str = "policy.txt";

/// What stands for the replica's number in the address of its copy of the service.
pub const NUMBER: &str = "{i}";

/// The cluster to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many replicas.
    pub replicas: u16,
    /// The folder, made if it is not there.
    pub dir: PathBuf,
    /// The ordering engine.
    pub engine: String,
    /// The service. Where it runs outside, `{i}` in its address stands for the replica's number.
    pub service: String,
    /// The port of the first gateway; replica i has this plus i, its operations listener 100 more,
    /// its replica links 200 more.
    pub port: u16,
    /// The host of each replica, or one for all; none for 127.0.0.1.
    pub hosts: Vec<String>,
    /// NAME.
    pub name: String,
    /// What proofs cover of the answers of a service that runs outside.
    pub answers: AnswerRules,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The policy file.
    pub policy: PathBuf,
    /// The configuration file of each replica.
    pub configs: Vec<PathBuf>,
    /// Those whose gateways can be reached from elsewhere: they start with a certificate only.
    pub exposed: Vec<PathBuf>,
}

/// Why no cluster was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something of a cluster is there already.
    #[error("{} is there already; init never overwrites", .0.display())]
    Exists(PathBuf),
    /// The ports of so many replicas overlap, or end above 65,535.
    #[error(
        "{replicas} replicas do not fit at port {port}: at most {PORT_STEP}, the last port at most 65535"
    )]
    Ports {
        /// How many were asked for.
        replicas: u16,
        /// The first port.
        port: u16,
    },
    /// The number of hosts fits neither one nor all replicas.
    #[error("{hosts} hosts for {replicas} replicas: name none, one for all, or one for each")]
    Hosts {
        /// How many were named.
        hosts: usize,
        /// How many replicas there are to be.
        replicas: u16,
    },
    /// All replicas would have one copy of the service.
    #[error("{0} is one copy of the service for all replicas: write {NUMBER} for the number")]
    OneCopy(String),
    /// The cluster cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The vote log could not be made.
    #[error(transparent)]
    Ledger(#[from] WalError),
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl InitError {
    /// A stable code that `quorate explain` knows.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "init-exists",
            Self::Ports { .. } => "init-ports",
            Self::Hosts { .. } => "init-hosts",
            Self::OneCopy(_) => "init-one-copy",
            Self::Config(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Write { path, source } => {
                DiskError::from_io("write", &path.to_string_lossy(), clone_kind(source)).code()
            }
        }
    }
}

fn clone_kind(error: &io::Error) -> io::Error {
    error.kind().into()
}

/// Makes a cluster.
///
/// # Errors
/// [`InitError`]. Nothing is written before everything was checked; what was written before a disk
/// failed stays, and is never overwritten.
pub fn init(plan: &Plan) -> Result<Made, InitError> {
    let hosts = check(plan)?;
    let keys = (0..plan.replicas)
        .map(|_| ReplicaKeys::generate())
        .collect::<Result<Vec<_>, KeyError>>()?;
    let files = files(plan, &hosts, &keys)?;
    let folder = |i: u16| plan.dir.join(ReplicaId(i).to_string());
    let configs = files
        .iter()
        .map(|file| Config::check(file.clone(), folder(file.replica)))
        .collect::<Result<Vec<_>, _>>()?;
    for ((config, file), keys) in configs.iter().zip(&files).zip(&keys) {
        make_folder(&folder(file.replica))?;
        keys.save(&config.keys())?;
        DataFolder::create(config)?;
        write_new(&folder(file.replica).join(POLICY), config.policy().text())?;
        write_new(&folder(file.replica).join("quorate.toml"), &config_text(file))?;
    }
    let policy = plan.dir.join(POLICY);
    let text = configs.first().map(|config| config.policy().text()).unwrap_or_default();
    write_new(&policy, text)?;
    let path = |config: &Config| folder(config.me().0).join("quorate.toml");
    let exposed = configs.iter().filter(|config| config.is_exposed()).map(path).collect();
    Ok(Made { policy, configs: configs.iter().map(path).collect(), exposed })
}

fn check(plan: &Plan) -> Result<Vec<String>, InitError> {
    let ports = InitError::Ports { replicas: plan.replicas, port: plan.port };
    let last = u32::from(plan.port) + 2 * u32::from(PORT_STEP) + u32::from(plan.replicas);
    if plan.port == 0 || plan.replicas > PORT_STEP || last > 1 << 16 {
        return Err(ports);
    }
    let n = usize::from(plan.replicas);
    let hosts = match &plan.hosts[..] {
        [] => vec!["127.0.0.1".to_owned(); n],
        [host] => vec![host.clone(); n],
        all if all.len() == n => all.to_vec(),
        all => return Err(InitError::Hosts { hosts: all.len(), replicas: plan.replicas }),
    };
    if plan.replicas > 1 && config::is_outside(&plan.service) && !plan.service.contains(NUMBER) {
        return Err(InitError::OneCopy(plan.service.clone()));
    }
    let parts = (0..plan.replicas).map(|i| plan.dir.join(ReplicaId(i).to_string()));
    for path in parts.chain([plan.dir.join(POLICY)]) {
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists(path));
        }
    }
    Ok(hosts)
}

fn files(
    plan: &Plan,
    hosts: &[String],
    keys: &[ReplicaKeys],
) -> Result<Vec<ConfigFile>, InitError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(KeyError::Randomness)?;
    let chain = chain_of(keys, &random);
    let development = config::is_development_name(&plan.name);
    let members: Vec<_> = (0..plan.replicas)
        .zip(hosts)
        .zip(keys)
        .map(|((id, host), keys)| member(plan, id, host, keys, development))
        .collect();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let genesis_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let aliases = aliases(plan, hosts);
    let file = |replica: u16, host: &str| ConfigFile {
        chain: chain.to_string(),
        name: plan.name.clone(),
        genesis_ms,
        replica,
        engine: plan.engine.clone(),
        service: plan.service.replace(NUMBER, &replica.to_string()),
        development,
        aliases: aliases.clone(),
        cors_origins: config::default_cors_origins(),
        policy: Some(POLICY.into()),
        keys: "keys".into(),
        data: "data".into(),
        listen: listen(plan.port + replica, host),
        tls: None,
        ordering: Ordering {
            window: Ordering::default().window.min(config::window_max(plan.replicas)),
            ..Ordering::default()
        },
        snapshots: Snapshots::default(),
        limits: Limits::default(),
        copy: CopyTable::with(&plan.answers),
        members: members.clone(),
    };
    Ok((0..plan.replicas).zip(hosts).map(|(replica, host)| file(replica, host)).collect())
}

/// A hash over the members' keys and a random value names the chain.
fn chain_of(keys: &[ReplicaKeys], random: &[u8; 32]) -> Chain {
    let mut bytes = b"quorate-chain/1".to_vec();
    for keys in keys {
        let public = keys.public();
        for key in [public.vote, public.cosign, public.log, public.tls] {
            bytes.extend_from_slice(&key.0);
        }
    }
    bytes.extend_from_slice(random);
    Chain::of(&sha256(&bytes))
}

fn member(plan: &Plan, id: u16, host: &str, keys: &ReplicaKeys, development: bool) -> MemberFile {
    let at = |step: u16| format!("{}:{}", bracketed(host), plan.port + step * PORT_STEP + id);
    let keys = keys.public();
    let scheme = if is_loopback(host) { "http" } else { "https" };
    MemberFile {
        id,
        name: format!("{}/r{id}", plan.name),
        address: at(2),
        gateway: format!("{scheme}://{}", at(0)),
        operations: (development && is_loopback(host)).then(|| format!("http://{}", at(1))),
        vote: keys.vote.to_string(),
        cosign: keys.cosign.to_string(),
        log: keys.log.to_string(),
        tls: keys.tls.to_string(),
    }
}

/// Every gateway as it is reached without a name service, and NAME with every port.
fn aliases(plan: &Plan, hosts: &[String]) -> Vec<String> {
    let mut aliases = Vec::new();
    for (port, host) in (plan.port..).zip(hosts) {
        aliases.push(format!("{}:{port}", bracketed(host)));
        if is_loopback(host) {
            aliases.extend([format!("localhost:{port}"), format!("{}:{port}", plan.name)]);
        }
    }
    aliases.sort_unstable();
    aliases.dedup();
    aliases
}

/// Loopback stays loopback. Any other host may be a name, or an address that the machine does not
/// know as its own, so the replica listens on all of its addresses; operators, on loopback alone.
fn listen(port: u16, host: &str) -> Listen {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let address = match address {
        _ if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
        Some(address) if address.is_loopback() => address,
        Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    Listen {
        gateway: SocketAddr::new(address, port),
        operations: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port + PORT_STEP),
        replica: SocketAddr::new(address, port + 2 * PORT_STEP),
    }
}

fn is_loopback(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

fn config_text(file: &ConfigFile) -> String {
    let head = "# One replica. What is not said here has its default; docs/configuration.md names\n\
                # every field.\n\n";
    // Serialising these plain fields cannot fail; an empty file would be refused at start.
    format!("{head}{}", toml::to_string(file).unwrap_or_default())
}

fn make_folder(path: &Path) -> Result<(), InitError> {
    fs::create_dir_all(path).map_err(|source| InitError::Write { path: path.to_owned(), source })
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    match write() {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(InitError::Exists(path.to_owned()))
        }
        other => other.map_err(|source| InitError::Write { path: path.to_owned(), source }),
    }
}
