//! `quorate.toml`: the one source of truth about a replica and its cluster.
//!
//! [`ConfigFile`] is the text, field by field, and the source of `docs/configuration.md`.
//! [`Config`] is made from it by [`Config::load`] alone, and holds only what can work: a committee
//! that forms a quorum, members with distinct names and keys, addresses that parse. Nothing later
//! checks any of that again.

mod copy;

pub use copy::{CopyTable, Restore, is_outside};

pub(crate) use copy::CopyPlan;

use crate::{
    answers::{AnswerRules, AnswerRulesError},
    host,
    member::{Member, MemberFile, parse_members},
};
use quorate_gateway::{Limits, TlsFiles};
use quorate_ledger::Owner;
use quorate_proof::{Origin, Policy, digest_value, flat_policy, sha256};
use quorate_types::{Chain, Committee, CommitteeError, Digest, FaultModel, ReplicaId};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// The text of `quorate.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The chain: sixteen lower-case hex digits, the same at all members, drawn by `init`.
    pub chain: String,
    /// NAME, the public authority that all replicas serve. It stands in every proof. A name that
    /// ends in `.localhost` is for development.
    pub name: String,
    /// Unix milliseconds at which the chain begins: the time of its first entry, the same at all
    /// members.
    pub genesis_ms: u64,
    /// Which member this replica is, from 0.
    pub replica: u16,
    /// The ordering engine: `pbft`.
    #[serde(default = "default_engine")]
    pub engine: String,
    /// The service: `kv`, `cart`, or `http://HOST:PORT` of this replica's own copy of an HTTP
    /// program, one copy beside each replica.
    #[serde(default = "default_service")]
    pub service: String,
    /// Whether this is a cluster for development, with fault injection on its operations
    /// listeners and exchanges open to everyone. NAME must then end in `.localhost`.
    #[serde(default)]
    pub development: bool,
    /// Further authorities under which clients may reach a gateway, beside NAME; a request for any
    /// other is answered 421.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Web origins, such as `https://app.example`, whose pages may send requests and read answers
    /// (CORS). `*` is all of them: a page gets nothing that another client would not get, and
    /// browsers send no cookies along. An empty list is none. Each operator's own.
    #[serde(default = "default_cors_origins")]
    pub cors_origins: Vec<String>,
    /// The folder of this replica's private keys, relative to this file.
    #[serde(default = "default_keys")]
    pub keys: PathBuf,
    /// The folder of everything else that this replica keeps, relative to this file. Removing it
    /// is a lost disk.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// The policy that this replica was made for, relative to this file. What `members` and
    /// `[copy]` make must be this very text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// Where this replica listens.
    pub listen: Listen,
    /// The gateway's certificate. Without it the gateway speaks plain HTTP, which `quorate start`
    /// refuses beyond the loopback unless it is told `--insecure-http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTable>,
    /// How requests are ordered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ordering: Ordering,
    /// When snapshots are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub snapshots: Snapshots,
    /// What the gateway accepts, waits for and holds at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// The copy of the service, where that is a URL.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copy: CopyTable,
    /// All replicas, this one included, ids from 0 without gaps.
    pub members: Vec<MemberFile>,
}

/// Where a replica listens, each as `IP:PORT`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// HTTP for clients.
    pub gateway: SocketAddr,
    /// HTTP for operators: `/livez`, `/readyz`, `/metrics`, `/status`, `/ui`. Keep it on loopback.
    pub operations: SocketAddr,
    /// Links from the other replicas.
    pub replica: SocketAddr,
}

/// The operator's certificate, of any authority. Both files are looked at every two seconds: what
/// is renewed is used from the next connection on, and what cannot be used is refused with a
/// warning while the old certificate stays.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    /// The certificate and those that lead from it to its authority, in PEM; relative to this file.
    pub certificate: PathBuf,
    /// Its private key, in PEM; relative to this file. Not one of the replica's own keys.
    pub key: PathBuf,
}

/// How requests are ordered. The same at all members.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ordering {
    /// How many slots may be in progress above the stable one.
    pub window: u64,
    /// The most requests in one slot.
    pub batch_requests_max: usize,
    /// The most bytes of requests in one slot; one larger request goes alone.
    pub batch_bytes_max: usize,
    /// How many slots the primary has in progress at most, but for full ones. Requests wait 40 ms
    /// for one in progress, and, while none is, for as many others as the last one had: for twice
    /// as long as it took, 50 ms at most.
    pub pipeline: usize,
    /// The most requests that wait to be ordered; above it gateways answer 503.
    pub waiting_max: usize,
    /// Milliseconds after which a primary that orders nothing is suspected; doubled at each view
    /// change without progress.
    pub view_timeout_ms: u64,
}

impl Default for Ordering {
    fn default() -> Self {
        Self {
            window: 128,
            batch_requests_max: 512,
            batch_bytes_max: 2 << 20,
            pipeline: 8,
            waiting_max: 16_384,
            view_timeout_ms: 800,
        }
    }
}

impl Ordering {
    /// [`Self::view_timeout_ms`].
    #[must_use]
    pub fn view_timeout(&self) -> Duration {
        Duration::from_millis(self.view_timeout_ms)
    }
}

/// When snapshots are taken. The same at all members.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// Bytes of requests executed between two snapshots, at least.
    pub every_bytes: u64,
    /// Entries from which on a replica that lags installs a snapshot instead of executing them.
    pub install_lag: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { every_bytes: 32 << 20, install_lag: 20_000 }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_engine() -> String {
    "pbft".to_owned()
}

pub(crate) fn default_cors_origins() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_service() -> String {
    "kv".to_owned()
}

fn default_keys() -> PathBuf {
    "keys".into()
}

fn default_data() -> PathBuf {
    "data".into()
}

/// A configuration that was checked. See the module.
#[derive(Clone, Debug)]
pub struct Config {
    file: ConfigFile,
    folder: PathBuf,
    chain: Chain,
    committee: Committee,
    members: Vec<Member>,
    policy: Policy,
    copy: Option<CopyPlan>,
}

/// Why a configuration cannot work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The text is not TOML, lacks a field, or has one that nobody knows.
    #[error("{0}")]
    Syntax(String),
    /// A field's value is not what the field takes.
    #[error("{field} = {value:?}: {reason}")]
    Value {
        /// The field, as a path (`members[2].vote`).
        field: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        reason: &'static str,
    },
    /// A number is outside its bounds.
    #[error("{field} = {value} is outside {}..={}", .bounds.start(), .bounds.end())]
    OutOfBounds {
        /// The field, as a path.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What is allowed.
        bounds: RangeInclusive<u64>,
    },
    /// Two members have one id.
    #[error("two members have the id {0}")]
    DuplicateId(u16),
    /// An id below the number of members has no member.
    #[error("no member has the id {0}: ids count from 0 without gaps")]
    MissingId(u16),
    /// Two members have one cosigner name.
    #[error("two members have the name {0:?}")]
    DuplicateName(String),
    /// Two members, or two uses of one member, share an address.
    #[error("the address {0} is used twice")]
    DuplicateAddress(String),
    /// One public key stands in two places.
    #[error("{first} and {second} are one key; every key has one use")]
    DuplicateKey {
        /// Where it stands.
        first: String,
        /// Where it stands again.
        second: String,
    },
    /// `replica` is the id of no member.
    #[error("replica = {0} is the id of no member")]
    NotAMember(u16),
    /// The members cannot form a quorum.
    #[error("no quorum can form: {0}")]
    Quorum(CommitteeError),
    /// The engine is unknown.
    #[error("unknown engine {0:?}; this build has: pbft")]
    UnknownEngine(String),
    /// The service is unknown.
    #[error(
        "unknown service {0:?}; this build has: {known}, and takes http://HOST:PORT",
        known = quorate_service::BUILTIN.join(", ")
    )]
    UnknownService(String),
    /// Development features under a name that is not for development.
    #[error("development = true under the name {0:?}, which does not end in .localhost")]
    NotForDevelopment(String),
    /// The members' keys make no policy.
    #[error("the members make no valid policy: {0}")]
    Policy(String),
    /// Rules about answers that cannot be kept.
    #[error("[copy]: {0}")]
    Answers(AnswerRulesError),
    /// The policy's rules about answers cannot be read.
    #[error("the policy {path}: {error}")]
    PolicyAnswers {
        /// The policy.
        path: PathBuf,
        /// What is wrong in it.
        error: AnswerRulesError,
    },
    /// The rules about answers are not those of the policy.
    #[error("the policy says of answers: {policy}; [copy] says: {configured}")]
    AnswersDiffer {
        /// What the policy says.
        policy: String,
        /// What `[copy]` says.
        configured: String,
    },
    /// Members and `[copy]` make another policy than the replica was made for.
    #[error("{what} is the policy {named}; `name`, `members` and `[copy]` make the policy {made}")]
    PolicyDiffers {
        /// Where the policy is named.
        what: String,
        /// Its digest.
        named: String,
        /// The digest of what the configuration makes.
        made: String,
    },
}

impl From<AnswerRulesError> for ConfigError {
    fn from(error: AnswerRulesError) -> Self {
        Self::Answers(error)
    }
}

impl ConfigError {
    /// A stable code that `quorate explain` knows.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config-unreadable",
            Self::Syntax(_) => "config-syntax",
            Self::Value { .. } => "config-value",
            Self::OutOfBounds { .. } => "config-out-of-bounds",
            Self::DuplicateId(_) => "config-duplicate-id",
            Self::MissingId(_) => "config-missing-id",
            Self::DuplicateName(_) => "config-duplicate-name",
            Self::DuplicateAddress(_) => "config-duplicate-address",
            Self::DuplicateKey { .. } => "config-duplicate-key",
            Self::NotAMember(_) => "config-not-a-member",
            Self::Quorum(_) => "config-no-quorum",
            Self::UnknownEngine(_) => "config-unknown-engine",
            Self::UnknownService(_) => "config-unknown-service",
            Self::NotForDevelopment(_) => "config-not-for-development",
            Self::Policy(_) => "config-policy",
            Self::Answers(_) => "config-value",
            Self::PolicyAnswers { error, .. } => error.code(),
            Self::AnswersDiffer { .. } => "config-answers-differ",
            Self::PolicyDiffers { .. } => "config-policy-differs",
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing in it that cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason: &dyn fmt::Display| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let path = std::path::absolute(path).map_err(|error| unreadable(&error))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let config = Self::parse(&text, folder)?;
        config.check_policy()?;
        Ok(config)
    }

    /// Compares the policy that this configuration makes with the one that it names.
    fn check_policy(&self) -> Result<(), ConfigError> {
        let Some(name) = &self.file.policy else { return Ok(()) };
        let path = self.folder.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| ConfigError::Unreadable {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        if text == self.policy.text() {
            return Ok(());
        }
        let said = AnswerRules::of_policy(&text)
            .map_err(|error| ConfigError::PolicyAnswers { path: path.clone(), error })?;
        let what = path.display().to_string();
        Err(self.differs(what, &sha256(text.as_bytes()), Some(&said)))
    }

    /// Compares the policy that this configuration makes with the one that entry 0 of the log
    /// names. Of that one only the digest is known; a policy without rules about answers is
    /// recognised by it.
    pub(crate) fn check_genesis(&self, named: &Digest) -> Result<(), ConfigError> {
        if *named == self.policy.digest() {
            return Ok(());
        }
        let none = AnswerRules::default();
        let plain = policy_of(&self.file.name, self.chain, self.committee, &self.members, &none)?;
        let said = (plain.digest() == *named).then_some(&none);
        Err(self.differs("what entry 0 of the log names".to_owned(), named, said))
    }

    fn differs(&self, what: String, named: &Digest, said: Option<&AnswerRules>) -> ConfigError {
        let configured = self.file.copy.answers();
        match said.filter(|said| **said != configured) {
            Some(said) => ConfigError::AnswersDiffer {
                policy: said.to_string(),
                configured: configured.to_string(),
            },
            None => ConfigError::PolicyDiffers {
                what,
                named: digest_value(named),
                made: digest_value(&self.policy.digest()),
            },
        }
    }

    /// Checks a text; `folder` is what its paths are relative to.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing in it that cannot work.
    pub fn parse(text: &str, folder: PathBuf) -> Result<Self, ConfigError> {
        let file = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax(error.to_string().trim_end().to_owned()))?;
        Self::check(file, folder)
    }

    /// Checks what a file says; `folder` is what its paths are relative to.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing in it that cannot work.
    pub fn check(file: ConfigFile, folder: PathBuf) -> Result<Self, ConfigError> {
        let chain = Chain::parse(&file.chain)
            .map_err(|_| value("chain", &file.chain, "sixteen lower-case hex digits"))?;
        check_name(&file.name)?;
        if file.development && !is_development_name(&file.name) {
            return Err(ConfigError::NotForDevelopment(file.name));
        }
        if file.engine != "pbft" {
            return Err(ConfigError::UnknownEngine(file.engine));
        }
        let copy = copy::plan(&file, &folder)?;
        if copy.is_none() && quorate_service::builtin(&file.service).is_none() {
            return Err(ConfigError::UnknownService(file.service));
        }
        check_aliases(&file.aliases)?;
        check_origins(&file.cors_origins)?;
        check_listen(&file.listen)?;
        check_bounds(&file)?;
        let members = parse_members(&file.members)?;
        // parse_members refuses more members than an id can name.
        let n = u16::try_from(members.len()).unwrap_or(u16::MAX);
        let committee = Committee::new(n, FaultModel::Bft).map_err(ConfigError::Quorum)?;
        let bounds = 4..=window_max(n);
        if !bounds.contains(&file.ordering.window) {
            let (field, value) = ("ordering.window", file.ordering.window);
            return Err(ConfigError::OutOfBounds { field, value, bounds });
        }
        if !committee.contains(ReplicaId(file.replica)) {
            return Err(ConfigError::NotAMember(file.replica));
        }
        let answers = file.copy.answers();
        let policy = policy_of(&file.name, chain, committee, &members, &answers)?;
        Ok(Self { file, folder, chain, committee, members, policy, copy })
    }

    /// What the file says.
    #[must_use]
    pub fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Who this replica is.
    #[must_use]
    pub fn me(&self) -> ReplicaId {
        ReplicaId(self.file.replica)
    }

    /// Whose the data folder's files are: each names its chain and replica, and is refused by any
    /// other.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { chain: self.chain, replica: self.me() }
    }

    /// The committee.
    #[must_use]
    pub fn committee(&self) -> Committee {
        self.committee
    }

    /// The members, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The policy that clients check answers by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The copy of the service, where that runs outside.
    pub(crate) fn copy(&self) -> Option<&CopyPlan> {
        self.copy.as_ref()
    }

    /// How the copies of the service are called, where it runs outside.
    #[must_use]
    pub fn copy_rules(&self) -> Option<host::Rules> {
        let copy = self.copy.as_ref()?;
        Some(host::Rules {
            authority: self.file.name.clone(),
            coverage: copy.answers.coverage(),
            volatile: copy.answers.volatile_fields.iter().cloned().collect(),
            canonical_json: copy.answers.canonical_json,
            body_max: self.file.limits.body_bytes_max,
            call_timeout: copy.call_timeout,
            own_paths: copy.own_paths.clone(),
        })
    }

    /// The folder of the private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.folder.join(&self.file.keys)
    }

    /// Where the gateway's certificate lies, if it has one.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        let TlsTable { certificate, key } = self.file.tls.as_ref()?;
        let (certificate, key) = (self.folder.join(certificate), self.folder.join(key));
        Some(TlsFiles { certificate, key })
    }

    /// Whether clients reach the gateway from elsewhere by plain HTTP.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.file.tls.is_none() && !self.file.listen.gateway.ip().is_loopback()
    }

    /// The folder of the data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join(&self.file.data)
    }
}

/// The widest window whose view changes fit into one frame of a link, at most 4,096.
///
/// A new view carries the reports of a quorum, each with a certificate of a quorum for every slot
/// that a report may speak of.
pub(crate) fn window_max(n: u16) -> u64 {
    use quorate_protocol::pbft::view_change::REPORT_WINDOWS;
    const BALLOT_BYTES: u64 = 66;
    const SLOT_BYTES: u64 = 128;
    let quorum = u64::from(n) * 2 / 3 + 1;
    let slot = quorum * (quorum * BALLOT_BYTES + SLOT_BYTES) * REPORT_WINDOWS;
    (crate::link::FRAME_BYTES_MAX as u64 / slot.max(1)).clamp(4, 4096)
}

/// Whether a NAME is for development.
#[must_use]
pub fn is_development_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The flat policy of a cluster: a quorum of its members, and what they do to answers.
pub(crate) fn policy_of(
    name: &str,
    chain: Chain,
    committee: Committee,
    members: &[Member],
    answers: &AnswerRules,
) -> Result<Policy, ConfigError> {
    let origin = Origin { name: name.to_owned(), chain, model: committee.model() };
    let keys: Vec<_> = members
        .iter()
        .map(|member| (member.name.clone(), member.keys.cosign, member.keys.log))
        .collect();
    let text = answers.policy_lines() + &flat_policy(&origin, &keys, committee.quorum());
    Policy::parse(&text).map_err(|error| ConfigError::Policy(error.to_string()))
}

pub(crate) fn value(
    field: impl Into<String>,
    value: impl Into<String>,
    reason: &'static str,
) -> ConfigError {
    ConfigError::Value { field: field.into(), value: value.into(), reason }
}

/// NAME is an authority: lower-case host characters, with or without a port.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b':')
    };
    let is_authority = name.parse::<http::uri::Authority>().is_ok();
    if name.is_empty() || name.len() > 253 || !name.bytes().all(fits) || !is_authority {
        let reason = "a host name in lower case, of at most 253 bytes, with or without a port";
        return Err(value("name", name, reason));
    }
    Ok(())
}

fn check_aliases(aliases: &[String]) -> Result<(), ConfigError> {
    for (i, alias) in aliases.iter().enumerate() {
        if alias.contains('@') || alias.parse::<http::uri::Authority>().is_err() {
            return Err(value(format!("aliases[{i}]"), alias, "HOST or HOST:PORT"));
        }
    }
    Ok(())
}

/// An origin is compared with what browsers send: `*`, or scheme, host and a port that is not the
/// scheme's own, in lower case and without a slash behind it.
fn check_origins(origins: &[String]) -> Result<(), ConfigError> {
    let is_origin = |text: &str| {
        let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
        let usual = if text.starts_with("https") { 443 } else { 80 };
        !text.contains('@')
            && text.bytes().all(|byte| !byte.is_ascii_uppercase())
            && authority.is_some_and(|authority| authority.port_u16() != Some(usual))
    };
    match origins.iter().enumerate().find(|(_, origin)| *origin != "*" && !is_origin(origin)) {
        Some((i, origin)) => {
            let form = "* or an origin as browsers send it, such as https://app.example";
            Err(value(format!("cors_origins[{i}]"), origin, form))
        }
        None => Ok(()),
    }
}

fn check_listen(listen: &Listen) -> Result<(), ConfigError> {
    let all = [listen.gateway, listen.operations, listen.replica];
    for (i, address) in all.iter().enumerate() {
        if address.port() == 0 {
            return Err(value("listen", address.to_string(), "a port above 0"));
        }
        if all.iter().skip(i + 1).any(|other| other == address) {
            return Err(ConfigError::DuplicateAddress(address.to_string()));
        }
    }
    Ok(())
}

fn check_bounds(file: &ConfigFile) -> Result<(), ConfigError> {
    let (ordering, limits) = (&file.ordering, &file.limits);
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let checks = [
        ("ordering.batch_requests_max", wide(ordering.batch_requests_max), 1..=10_000),
        ("ordering.batch_bytes_max", wide(ordering.batch_bytes_max), 64 << 10..=8 << 20),
        ("ordering.view_timeout_ms", ordering.view_timeout_ms, 50..=600_000),
        ("ordering.pipeline", wide(ordering.pipeline), 1..=1024),
        ("ordering.waiting_max", wide(ordering.waiting_max), 1..=1_000_000),
        ("snapshots.every_bytes", file.snapshots.every_bytes, 64 << 10..=1 << 40),
        ("snapshots.install_lag", file.snapshots.install_lag, 1..=1 << 40),
        ("copy.call_timeout_ms", file.copy.call_timeout_ms, 10..=600_000),
        ("copy.snapshot_entries", file.copy.snapshot_entries, 1..=1 << 40),
        ("copy.snapshot_bytes_max", wide(file.copy.snapshot_bytes_max), 1..=1 << 30),
        ("genesis_ms", file.genesis_ms, 1..=1 << 50),
        ("limits.body_bytes_max", wide(limits.body_bytes_max), 0..=4 << 20),
        ("limits.head_bytes_max", wide(limits.head_bytes_max), 1024..=48 << 10),
        ("limits.header_lines_max", wide(limits.header_lines_max), 8..=1000),
        ("limits.header_timeout_ms", limits.header_timeout_ms, 100..=600_000),
        ("limits.body_timeout_ms", limits.body_timeout_ms, 100..=600_000),
        ("limits.idle_timeout_ms", limits.idle_timeout_ms, 100..=3_600_000),
        ("limits.write_timeout_ms", limits.write_timeout_ms, 100..=600_000),
        ("limits.certify_timeout_ms", limits.certify_timeout_ms, 100..=600_000),
        ("limits.shutdown_grace_ms", limits.shutdown_grace_ms, 0..=9_000),
        ("limits.connections_max", wide(limits.connections_max), 1..=1_000_000),
        ("limits.in_flight_max", wide(limits.in_flight_max), 1..=1_000_000),
        ("limits.in_flight_per_client_max", wide(limits.in_flight_per_client_max), 1..=1_000_000),
        ("limits.in_flight_body_bytes_max", wide(limits.in_flight_body_bytes_max), 1..=1 << 40),
        ("limits.streams_max", u64::from(limits.streams_max), 1..=65_536),
        ("limits.inline_proof_bytes_max", wide(limits.inline_proof_bytes_max), 0..=64 << 10),
    ];
    for (field, value, bounds) in checks {
        if !bounds.contains(&value) {
            return Err(ConfigError::OutOfBounds { field, value, bounds });
        }
    }
    Ok(())
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
