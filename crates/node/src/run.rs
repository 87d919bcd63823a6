//! One replica, from its configuration to its end.

use crate::{
    backend::{self, Node},
    barrier::{Barrier, BarrierFigures},
    config::Config,
    data::DataFolder,
    driver::{self, Driver},
    edge::PbftEdge,
    evidence::Evidence,
    fatal::{Fatal, Reason},
    faults::Faults,
    host::{self, Host, OwnCopy, Past, Saves},
    inbox::{Inbox, Notice},
    link::{Links, Peer, tls::Identity},
    outlet::{self, LogWriter, Outlet},
    pages::{PageSender, Pages},
    peers::FromPeers,
    published::Published,
    recovery::{self, Opened},
    replies::Replies,
    snapshots::SnapshotSaver,
    standing::Standing,
};
use quorate_crypto::{Domain, KeyLock, ReplicaKeys, Verifier};
use quorate_gateway::{Gateway, GatewayConfig, Tls, serve_operations};
use quorate_ledger::{FileDisk, LogReader};
use quorate_proof::Coverage;
use quorate_protocol::pbft::{self, Pbft, PbftConfig};
use quorate_replica::{Message, Recovered, Replica, message::Sync};
use quorate_service::Service;
use quorate_types::{Batch, UnixMillis, Wire};
use std::{
    fmt,
    io::Read as _,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle as Task,
    time::timeout,
};
use tracing::{info, warn};

/// What replicas exchange under the engine `pbft`.
type Exchanged = Message<pbft::Message<Batch>>;

/// How long the gateway may take to end beyond its own grace, and the driver to write what waits.
const LAST_WORDS: Duration = Duration::from_millis(1_500);

/// How often the certificate's files are looked at.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(2);

/// How a replica is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// End when standard input ends, and when the parent process dies.
    pub with_parent: bool,
}

/// Why a replica does not run, or no longer: `error[CODE]: message`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunError {
    /// A stable code that `quorate explain` knows.
    pub code: &'static str,
    /// One sentence, without a full stop.
    pub message: String,
}

impl RunError {
    pub(crate) fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}

impl From<Reason> for RunError {
    fn from(Reason { code, message }: Reason) -> Self {
        Self { code, message }
    }
}

/// Runs one replica until SIGTERM, SIGINT or SIGHUP (or, with a parent, the parent's end).
///
/// # Errors
/// [`RunError`] when it cannot start, and when it has to halt (P8). The process should then end
/// with exit code 1.
pub fn run(config: Config, options: &RunOptions) -> Result<(), RunError> {
    raise_descriptor_limit();
    use_small_pages();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::new("runtime", error))?;
    let (stop, stopped) = watch::channel(false);
    let stop = Arc::new(stop);
    if options.with_parent {
        end_with_parent(&stop)?;
    }
    let fatal = Fatal::default();
    let ended = runtime.block_on(async {
        let running = Running::start(config, &fatal, stopped).await?;
        tokio::select! {
            asked = wait_for_stop(&stop) => asked?,
            _ = fatal.ended() => {}
        }
        if let Some(reason) = fatal.reason() {
            Fatal::insist(1);
            return Err(reason.into());
        }
        info!("stopping");
        let _ = stop.send(true);
        running.stop().await;
        match fatal.reason() {
            Some(reason) => Err(reason.into()),
            None => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// A replica that runs.
struct Running {
    inbox: Arc<Inbox<Exchanged>>,
    log: Arc<LogWriter>,
    driver: JoinHandle<()>,
    serving: [Task<()>; 2],
    grace: Duration,
    _lock: KeyLock,
}

impl Running {
    async fn start(
        config: Config,
        fatal: &Fatal,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, RunError> {
        let (keys, lock) = load_keys(&config)?;
        let listen = config.file().listen;
        let tls = config.tls().map(Tls::load).transpose();
        let tls = tls.map_err(|error| RunError::new(error.code(), error))?;
        let gateway_listener = bind(listen.gateway).await?;
        let operations_listener = bind(listen.operations).await?;
        let replica_listener = bind(listen.replica).await?;
        let parts = Assembled::new(&config, &keys, replica_listener, fatal)?;
        let Assembled { node, inbox, log, driver, coverage } = parts;
        let gateway_config = GatewayConfig {
            aliases: config.file().aliases.clone(),
            cors_origins: config.file().cors_origins.clone(),
            coverage,
            own_paths: config.copy().map(|copy| copy.own_paths.clone()).unwrap_or_default(),
            limits: config.file().limits.clone(),
            ..GatewayConfig::new(config.file().name.clone())
        };
        let gateway = Gateway::new(&gateway_config, node.clone())
            .map_err(|error| RunError::new("config-value", error))?;
        node.count(gateway.counters());
        if let Some(tls) = &tls {
            tokio::spawn(tls.clone().watch(CERTIFICATE_PERIOD));
        }
        let limits = config.file().limits.clone();
        let grace = limits.shutdown_grace();
        let operations =
            serve_operations(operations_listener, limits, node, until(stopped.clone()));
        let serving = [
            tokio::spawn(async move {
                match tls {
                    Some(tls) => gateway.serve_tls(gateway_listener, tls, until(stopped)).await,
                    None => gateway.serve(gateway_listener, until(stopped)).await,
                }
            }),
            tokio::spawn(operations),
        ];
        info!(replica = %config.me(), gateway = %listen.gateway, "running");
        Ok(Self { inbox, log, driver, serving, grace, _lock: lock })
    }

    /// Lets open requests end, then the replica, then makes the log durable.
    async fn stop(self) {
        let serving = async {
            for task in self.serving {
                let _ = task.await;
            }
        };
        if timeout(self.grace + LAST_WORDS, serving).await.is_err() {
            warn!("connections were cut off");
        }
        self.inbox.notify(Notice::Stop);
        let last = tokio::task::spawn_blocking(move || {
            let _ = self.driver.join();
            // Spares the next start the reading of the log's tail.
            if let Err(error) = self.log.sync() {
                warn!(%error, code = error.code(), "the log was not synced at the end");
            }
        });
        if timeout(LAST_WORDS, last).await.is_err() {
            warn!("the disk did not take the last words in time");
        }
    }
}

/// Everything but the listeners for HTTP.
struct Assembled {
    node: Node<Exchanged>,
    inbox: Arc<Inbox<Exchanged>>,
    log: Arc<LogWriter>,
    driver: JoinHandle<()>,
    coverage: Coverage,
}

impl Assembled {
    fn new(
        config: &Config,
        keys: &ReplicaKeys,
        listener: TcpListener,
        fatal: &Fatal,
    ) -> Result<Self, RunError> {
        let Opened { wal, log, snapshots, recovered } = recovery::open(config)?;
        let (service, coverage) = service(config)?;
        let (me, n) = (config.me(), config.committee().n());
        let replica = replica(config, keys, service, coverage.clone())?;
        let inbox = Arc::new(Inbox::new(n, config.file().ordering.waiting_max));
        let figures = Arc::new(BarrierFigures::default());
        let evidence = Evidence::open(&config.data());
        let reader = log.reader();
        let host = start_host(config, &coverage, &reader, &recovered, &inbox)?;
        let sight = host.as_ref().map(|host| Arc::clone(host.sight()));
        let standing = Arc::new(Standing::new(Arc::clone(&figures), evidence, sight));
        let links = links(config, keys, listener, &inbox, &standing)?;
        let faults = Arc::new(Faults::new(&Handle::current(), links.clone()));
        let log = Arc::new(LogWriter::new(log));
        let saver = SnapshotSaver::start(snapshots, Arc::clone(&log), fatal.clone());
        let pages = PageSender::start(Pages {
            reader: reader.clone(),
            links: links.clone(),
            faults: Arc::clone(&faults),
            encode: |page| Exchanged::Sync(Sync::Page(page)).to_wire(),
        });
        let replies = Arc::new(Replies::default());
        let outlet = Outlet::new(outlet::Parts {
            me,
            n: u16::try_from(n).unwrap_or(u16::MAX),
            log: Arc::clone(&log),
            links: links.clone(),
            faults: Arc::clone(&faults),
            replies: Arc::clone(&replies),
            snapshots: saver.map_err(thread_failed)?,
            fatal: fatal.clone(),
            pages: pages.map_err(thread_failed)?,
            host,
            figures: Arc::clone(&figures),
        });
        let barrier = Barrier::start(wal, Arc::new(outlet), figures).map_err(thread_failed)?;
        let driver = Driver::new(driver::Parts {
            me,
            replica,
            inbox: Arc::clone(&inbox),
            barrier,
            verifier: verifier(config)?,
            domain: Domain::new(config.policy().origin_text()),
            standing: Arc::clone(&standing),
            edge: edge(config, keys, Arc::clone(&faults)),
        });
        let driver = spawn_driver(driver, recovered, fatal)?;
        let shows_exchanges = config.file().development;
        let published =
            Published::new(me, config.policy().clone(), keys.cosigner(), reader, shows_exchanges);
        let node = Node::new(backend::Parts {
            config: config.clone(),
            inbox: Arc::clone(&inbox),
            replies,
            published,
            standing,
            links,
            faults,
        });
        Ok(Self { node, inbox, log, driver, coverage })
    }
}

fn replica(
    config: &Config,
    keys: &ReplicaKeys,
    service: Box<dyn Service>,
    coverage: Coverage,
) -> Result<Replica<Pbft<Batch>>, RunError> {
    let engine = Pbft::new(pbft_config(config), keys.vote_signer());
    let (signer, cosigner, verifier) = (keys.vote_signer(), keys.cosigner(), verifier(config)?);
    let config = replica_config(config, coverage);
    Ok(Replica::new(config, engine, service, signer, cosigner, verifier))
}

fn edge(config: &Config, keys: &ReplicaKeys, faults: Arc<Faults>) -> PbftEdge {
    PbftEdge {
        me: config.me(),
        committee: config.committee(),
        domain: Domain::new(config.policy().origin_text()),
        signer: keys.vote_signer(),
        cosigner: keys.cosigner(),
        faults,
    }
}

fn spawn_driver(
    driver: Driver<Pbft<Batch>, Outlet, PbftEdge>,
    recovered: Recovered<pbft::Record<Batch>>,
    fatal: &Fatal,
) -> Result<JoinHandle<()>, RunError> {
    let watched = Watched(fatal.clone());
    let run = move || {
        let _watched = watched;
        driver.run(recovered);
    };
    thread::Builder::new().name("replica".into()).spawn(run).map_err(thread_failed)
}

/// A panic means a broken invariant: the process must not stand there without its replica.
struct Watched(Fatal);

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end("panic", "the replica's thread broke an invariant; see the log".to_owned());
        }
    }
}

fn thread_failed(error: std::io::Error) -> RunError {
    RunError::new("runtime", format!("no thread could be started: {error}"))
}

/// The replica's keys, which nobody else uses on this host as long as the lock is held.
pub(crate) fn load_keys(config: &Config) -> Result<(ReplicaKeys, KeyLock), RunError> {
    let (keys, lock) =
        ReplicaKeys::load(&config.keys()).map_err(|error| RunError::new(error.code(), error))?;
    let listed = config.members().get(config.me().position()).map(|member| member.keys);
    if listed != Some(keys.public()) {
        let message = format!(
            "the keys in {} are not those that the configuration lists for {}",
            config.keys().display(),
            config.me()
        );
        return Err(RunError::new("key-not-listed", message));
    }
    Ok((keys, lock))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let (port, ip) = (address.port(), address.ip());
            RunError::new("port-in-use", format!("port {port} on {ip} is in use"))
        }
        _ => RunError::new("listen", format!("cannot listen on {address}: {error}")),
    })
}

fn service(config: &Config) -> Result<(Box<dyn Service>, Coverage), RunError> {
    let service = match config.copy() {
        Some(copy) => Box::new(copy.service.clone()),
        None => quorate_service::builtin(&config.file().service).ok_or_else(|| {
            let message = format!("unknown service {:?}", config.file().service);
            RunError::new("config-unknown-service", message)
        })?,
    };
    let (request, response) = service.coverage();
    Ok((service, Coverage { request, response }))
}

/// The host of this replica's copy, where the service runs outside.
fn start_host(
    config: &Config,
    coverage: &Coverage,
    reader: &LogReader<FileDisk>,
    recovered: &Recovered<pbft::Record<Batch>>,
    inbox: &Arc<Inbox<Exchanged>>,
) -> Result<Option<Host>, RunError> {
    let Some(copy) = config.copy() else { return Ok(None) };
    let Some(rules) = config.copy_rules() else { return Ok(None) };
    let replica_rules = quorate_replica::Rules::from(&replica_config(config, coverage.clone()));
    // Genesis alone, and no vote: nobody was ever called.
    let fresh = recovered.log_size <= 1 && recovered.records.is_empty() && !recovered.lost;
    let inbox = Arc::clone(inbox);
    let saves = copy.saves.clone().map(|plan| -> Result<_, RunError> {
        let disk = DataFolder::of_copy(&config.data())
            .map_err(|error| RunError::new(error.code(), error))?;
        Ok(Saves::new(plan, disk, config.owner(), config.committee().n()))
    });
    let host = Host::start(host::Parts {
        copy: OwnCopy::new(copy.at.clone(), rules),
        past: Past { reader: reader.clone(), rules: replica_rules },
        reset: copy.reset.clone(),
        saves: saves.transpose()?,
        fresh,
        answered: Arc::new(move |slot, answers| inbox.notify(Notice::Answered { slot, answers })),
    });
    host.map(Some).map_err(thread_failed)
}

fn verifier(config: &Config) -> Result<Verifier, RunError> {
    let votes: Vec<_> = config.members().iter().map(|member| member.keys.vote).collect();
    Verifier::new(config.committee(), &votes, config.policy().clone())
        .map_err(|error| RunError::new("config-policy", error))
}

fn replica_config(config: &Config, coverage: Coverage) -> quorate_replica::Config {
    let (ordering, snapshots) = (&config.file().ordering, &config.file().snapshots);
    quorate_replica::Config {
        me: config.me(),
        committee: config.committee(),
        domain: Domain::new(config.policy().origin_text()),
        chain: config.chain(),
        policy: config.policy().digest(),
        genesis: UnixMillis(config.file().genesis_ms),
        coverage,
        copies: config.copy().is_some(),
        window: ordering.window,
        limits: quorate_replica::Limits {
            body_max: config.file().limits.body_bytes_max,
            batch_items_max: ordering.batch_requests_max,
            batch_bytes_max: ordering.batch_bytes_max,
            pipeline: ordering.pipeline,
            waiting_max: ordering.waiting_max,
            waiting_per_peer_max: ordering.waiting_max.div_ceil(2),
            patience: ordering.view_timeout(),
            snapshot_bytes: snapshots.every_bytes,
            snapshot_lag: snapshots.install_lag,
            ..quorate_replica::Limits::default()
        },
    }
}

fn pbft_config(config: &Config) -> PbftConfig {
    let domain = Domain::new(config.policy().origin_text());
    let ordering = &config.file().ordering;
    PbftConfig {
        window: ordering.window,
        view_timeout: ordering.view_timeout(),
        ..PbftConfig::new(config.me(), config.committee(), domain)
    }
}

fn links(
    config: &Config,
    keys: &ReplicaKeys,
    listener: TcpListener,
    inbox: &Arc<Inbox<Exchanged>>,
    standing: &Arc<Standing>,
) -> Result<Links, RunError> {
    let failed = |error| RunError::new("key-unusable", format!("the TLS key: {error}"));
    let policy = config.policy().digest();
    let identity = Identity::new(config.chain(), &policy, &keys.tls).map_err(failed)?;
    let others = config.members().iter().filter(|member| member.id != config.me());
    let peers: Vec<_> = others
        .map(|member| Peer { id: member.id, address: member.address.clone(), key: member.keys.tls })
        .collect();
    let receive = FromPeers { inbox: Arc::clone(inbox), standing: Arc::clone(standing) };
    Links::start(&Handle::current(), listener, &identity, &peers, Arc::new(receive)).map_err(failed)
}

/// Completes when the replica is to stop.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that nobody can ask any more: the process ends.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn wait_for_stop(stop: &watch::Sender<bool>) -> Result<(), RunError> {
    let listen = |kind| signal(kind).map_err(|error| RunError::new("runtime", error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = until(stop.subscribe()) => {}
    }
    Ok(())
}

/// Ends this process with its parent: killed by the kernel when the parent's thread dies, and
/// stopped when the pipe that the parent holds ends, which also works where the first does not.
fn end_with_parent(stop: &Arc<watch::Sender<bool>>) -> Result<(), RunError> {
    let signal = rustix::process::Signal::KILL;
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(signal)) {
        warn!(%error, "the kernel will not tell when the parent dies");
    }
    let stop = Arc::clone(stop);
    let watch = move || {
        let mut bytes = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut bytes), Ok(1..)) {}
        let _ = stop.send(true);
    };
    thread::Builder::new().name("parent".into()).spawn(watch).map_err(thread_failed)?;
    Ok(())
}

/// As many connections as the system allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "the limit of open files stays");
    }
}

/// The allocator touches its memory here and there. With pages of 2 MB the kernel would clear, and
/// keep, a third more of it than is used.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        warn!(%error, "huge pages stay in use, which takes more memory");
    }
}
