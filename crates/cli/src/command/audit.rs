//! `quorate audit`: walks a log and believes none of it.
//!
//! | file | holds |
//! |---|---|
//! | [`source`] | where the log is read from: a gateway, a replica's data folder, or a backup |
//! | [`folder`], [`overlay`] | a data folder, read without changing a byte of it |
//! | [`walk`] | the checks, entry by entry |
//! | [`tiles`] | the Merkle tree, compared with the tiles that are published |
//! | [`upstream`] | a fresh copy of a service that runs outside, which executes everything again |
//! | [`told`] | the report |

mod folder;
mod overlay;
mod source;
mod tiles;
mod told;
mod upstream;
mod walk;

use super::{block_on, curl::parse_url, snapshot::manifest::Manifest, verify::unverified};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    trust,
};
use folder::Folder;
use indicatif::{ProgressBar, ProgressStyle};
use overlay::Overlay;
use quorate_ledger::{DiskError, FileDisk, Owner};
use quorate_node::backup::Folders;
use quorate_proof::{Coverage, Entry, Policy};
use quorate_replica::{Limits, Rules};
use quorate_types::{Index, UnixMillis};
use source::{Exchanges, Source};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use upstream::Upstream;
use walk::Walk;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate audit --policy policy.txt http://127.0.0.1:7400\n  \
    quorate audit --policy policy.txt --output json cluster/r0/data\n  \
    quorate audit --policy policy.txt --from 100000 http://127.0.0.1:7400\n  \
    quorate audit --policy policy.txt --upstream http://127.0.0.1:9004 http://127.0.0.1:7400\n\n\
    Checks the newest head, the head of every slot, every tile and every exchange against its\n\
    entry, executes all requests again, and compares the state roots; in a folder, those of the\n\
    newest snapshot too. The first thing found wrong ends the audit with exit 3 and is named. A\n\
    folder is only read, and may be in use.")]
pub(crate) struct Audit {
    #[command(flatten)]
    policy: trust::PolicyArgument,
    /// The first entry to check; those before it only enter the Merkle root, and nothing is
    /// executed again, since the state before it is not known
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// The service to execute again; else what the gateway says, or `kv`
    #[arg(long, value_name = "S")]
    service: Option<String>,
    /// A fresh copy of a service that runs outside, to execute everything again
    #[arg(long, value_name = "URL", conflicts_with = "service")]
    upstream: Option<String>,
    /// A replica's quorate.toml, where its `[limits]` are not the defaults; what is covered of
    /// answers stands in the policy
    #[arg(long, value_name = "FILE", requires = "upstream")]
    config: Option<PathBuf>,
    /// A gateway, a replica's data folder, or a backup
    #[arg(value_name = "URL or DIR")]
    source: String,
}

/// What an audit found wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// The entry, where one can be named.
    pub(crate) index: Option<Index>,
    /// A stable word.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) reason: String,
}

/// Why an audit ends early.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// Something is wrong.
    Found(Finding),
    /// The audit cannot go on, which says nothing about the log.
    Failed(Failure),
}

impl Finding {
    fn at(index: u64, code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { index: Some(Index(index)), code, reason: reason.to_string() }
    }

    /// Exit 3.
    fn failure(&self) -> Failure {
        let place = self.index.map_or_else(String::new, |index| format!("entry {index}: "));
        Failure::not_verified(self.code, format!("{place}{}", self.reason))
    }
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Audit {
    /// Audits.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match block_on(self.audit(console))? {
            Ok(report) => {
                if console.is_json() {
                    console.json(&report);
                } else {
                    console.line(report.text());
                }
                Ok(Exit::Done)
            }
            Err(Stop::Failed(failure)) => Err(failure),
            Err(Stop::Found(finding)) => {
                let (index, code) = (finding.index, finding.code);
                let failure = finding.failure();
                if console.is_json() {
                    let mut json = unverified(&failure);
                    json["index"] = index.map_or(serde_json::Value::Null, |index| index.0.into());
                    console.json(&json);
                }
                Err(failure.hint(format!("`quorate explain {code}` tells more")))
            }
        }
    }

    async fn audit(&self, console: &Console) -> Result<told::Report, Stop> {
        let (policy, mut source) = self.open().await?;
        let by = match &self.upstream {
            Some(url) if self.from > 1 => {
                let message = format!("{url} cannot begin at entry {}", self.from);
                return Err(Failure::usage("audit-from", message).into());
            }
            Some(url) => By::Copy(Box::new(Upstream::new(url, self.config.as_deref(), &policy)?)),
            None => By::Service(self.service.clone()),
        };
        audit(&policy, &mut source, self.from, by, console).await
    }

    async fn open(&self) -> Result<(Policy, Source), Stop> {
        let path = Path::new(&self.source);
        if path.is_dir() {
            let file = self.policy.given().ok_or_else(|| {
                Failure::usage("policy-needed", "a folder has no policy that could be believed")
                    .hint("name it by --policy or $QUORATE_POLICY")
            })?;
            let policy = trust::read_policy(&file)?;
            if Manifest::is_in(path) {
                Manifest::checked(path)?;
            }
            let folder = Folder::open(PathBuf::from(path), &policy)?;
            return Ok((policy, Source::Folder(Box::new(folder))));
        }
        let endpoint = parse_url(&self.source)?.endpoint;
        let trusted = self.policy.find(&endpoint).await?;
        let source = Source::gateway(endpoint, &trusted.policy, self.policy.authorities());
        Ok((trusted.policy, source))
    }
}

/// What executes again.
enum By {
    /// A service that is built in; by its name, or as the source names it.
    Service(Option<String>),
    /// A fresh copy of one that runs outside.
    Copy(Box<Upstream>),
}

/// Audits a data folder or a backup by a policy that is believed, and executes everything again.
pub(super) async fn of_folder(
    dir: &Path,
    policy: &Policy,
    service: Option<&str>,
    console: &Console,
) -> Result<(), Failure> {
    let audited = async {
        let mut source = Source::Folder(Box::new(Folder::open(dir.to_owned(), policy)?));
        let by = By::Service(service.map(str::to_owned));
        audit(policy, &mut source, 0, by, console).await
    };
    match audited.await {
        Ok(_) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Found(finding)) => Err(finding.failure()),
    }
}

/// The log and the snapshots of a data folder or a backup, of which no byte is changed.
pub(super) fn read_only(dir: &Path, owner: Owner) -> Result<Folders<Overlay>, DiskError> {
    let part = |name: &str| {
        let path = dir.join(name);
        if !path.is_dir() {
            let missing = std::io::ErrorKind::NotFound.into();
            return Err(DiskError::from_io("read", &path.display().to_string(), missing));
        }
        Overlay::over(FileDisk::open(path)?)
    };
    Ok(Folders { log: part("log")?, snapshots: part("snapshots")?, owner })
}

async fn audit(
    policy: &Policy,
    source: &mut Source,
    from: u64,
    by: By,
    console: &Console,
) -> Result<told::Report, Stop> {
    let started = Instant::now();
    let certified = source.head(policy).await?;
    let (service, mut copy) = match by {
        By::Service(Some(service)) => (Some(service), None),
        By::Service(None) => (source.service().await, None),
        By::Copy(copy) => (Some(copy.url().to_owned()), Some(copy)),
    };
    let mut walk = Walk::new(policy, certified.head, from, service.as_deref())?;
    if let Some(head) = source.snapshot_head(policy)? {
        walk.state_head(&head, head.size.saturating_sub(1))?;
    }
    let bar = progress(console, certified.head.size);
    while walk.next() < certified.head.size {
        bundle(source, &mut walk, (policy, certified.head.size), copy.as_deref_mut(), &bar).await?;
    }
    bar.finish_and_clear();
    let mut walked = walk.finish();
    if let (Some(copy), None) = (&copy, &walked.not_shown) {
        walked.executed_by = Some(copy.url().to_owned());
    }
    Ok(told::Report::new(policy, &certified, walked, source.notes(), started.elapsed()))
}

/// Checks the entries of one tile.
async fn bundle(
    source: &mut Source,
    walk: &mut Walk<'_>,
    (policy, size): (&Policy, u64),
    mut copy: Option<&mut Upstream>,
    bar: &ProgressBar,
) -> Result<(), Stop> {
    /// How many exchanges are in memory at once.
    const EXCHANGES: usize = 32;
    let first = walk.next();
    let entries = source.entries(first / 256, (size - first).min(256)).await?;
    for part in entries.chunks(EXCHANGES) {
        let run = walk.next()..walk.next() + part.len() as u64;
        let asked = run.clone().zip(part).map(|(index, entry)| walk.wants_exchange(index, entry));
        let asked: Vec<bool> = asked.collect();
        let exchanges = source.exchanges(run, &asked).await?;
        if let Exchanges::Withheld(reason) = &exchanges {
            walk.give_up_exchanges(reason);
        }
        for (place, entry) in part.iter().enumerate() {
            if walk.slot_ends_before(entry) {
                close_slot(source, walk, policy).await?;
            }
            let exchange = exchanges.at(place);
            let parts = (copy.as_mut(), exchange.clone(), Entry::parse(entry));
            walk.take(entry.clone(), exchange)?;
            if let (Some(copy), Some(exchange), Ok(entry)) = parts {
                copy.repeat(&entry, &exchange).await?;
            }
            bar.inc(1);
        }
    }
    if walk.next() == size {
        close_slot(source, walk, policy).await?;
    }
    walk.compare_tiles(source).await
}

/// What execution knows of a cluster, as far as an audit does.
fn rules(policy: &Policy, genesis: UnixMillis, coverage: Coverage) -> Rules {
    let limits = Limits::default();
    Rules {
        authority: policy.origin().name.clone(),
        chain: policy.origin().chain,
        coverage,
        policy: policy.digest(),
        genesis,
        body_max: limits.body_max,
        replay_window: limits.replay_window,
        replay_signed_max: limits.replay_signed_max,
        copies: false,
    }
}

async fn close_slot(source: &mut Source, walk: &mut Walk<'_>, policy: &Policy) -> Result<(), Stop> {
    let proof = match walk.wants_proof() {
        Some(last) => Some(source.proof(policy, last).await?),
        None => None,
    };
    Ok(walk.close_slot(proof)?)
}

fn progress(console: &Console, size: u64) -> ProgressBar {
    if console.is_json() || !console.shows_progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} entries, {per_sec}, {eta} left");
    ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
