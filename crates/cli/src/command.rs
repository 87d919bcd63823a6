//! The commands: a file each, and this table of them.

mod audit;
mod bench;
mod completions;
mod curl;
mod dev;
mod doctor;
mod explain;
mod fault;
mod init;
mod keygen;
mod man;
mod policy;
mod proxy;
mod restore;
mod sim;
mod snapshot;
mod start;
mod status;
mod top;
mod verify;
mod version;

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use tokio::signal::unix::{SignalKind, signal};

/// What can be asked for.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run a local cluster for development
    Dev(dev::Dev),
    /// Make the keys, policy and configurations of a cluster
    Init(init::Init),
    /// Run one replica, in the foreground
    Start(start::Start),
    /// Send a request, verify the answer, print its body
    Curl(curl::Curl),
    /// Check a saved exchange, offline
    Verify(verify::Verify),
    /// Walk a log, check every head, execute every request again
    Audit(audit::Audit),
    /// Stand before unchanged clients, and pass on verified answers only
    Proxy(Box<proxy::Proxy>),
    /// Show how a replica is
    Status(status::StatusCommand),
    /// Show how all replicas are, live
    Top(top::Top),
    /// Back up what a quorum certified of a replica's data
    Snapshot(snapshot::Snapshot),
    /// Make a data folder of a backup
    Restore(restore::Restore),
    /// Examine whether a service can stand behind a quorum
    Doctor(doctor::Doctor),
    /// Inject a fault into a replica of a development cluster
    Fault(fault::FaultCommand),
    /// Put a service under load, and tell latency percentiles
    Bench(Box<bench::Bench>),
    /// Run the cluster on virtual time, under faults that a seed draws
    Sim(sim::SimCommand),
    /// Show, pin or forget the policy that is believed for a gateway
    Policy(policy::PolicyCommand),
    /// Make a key that signs requests
    Keygen(keygen::Keygen),
    /// Tell more of an error's code
    Explain(explain::Explain),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Write the manual pages
    Man(man::Man),
    /// Print the version, and with --verbose what it was built from and speaks
    Version(version::Version),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        match self {
            Self::Dev(command) => command.run(console),
            Self::Init(command) => command.run(console),
            Self::Start(command) => command.run(console),
            Self::Curl(command) => command.run(console),
            Self::Verify(command) => command.run(console),
            Self::Audit(command) => command.run(console),
            Self::Proxy(command) => command.run(console),
            Self::Status(command) => command.run(console),
            Self::Top(command) => command.run(console),
            Self::Snapshot(command) => command.run(console),
            Self::Restore(command) => command.run(console),
            Self::Doctor(command) => command.run(console),
            Self::Fault(command) => command.run(console),
            Self::Bench(command) => command.run(console),
            Self::Sim(command) => command.run(console),
            Self::Policy(command) => command.run(console),
            Self::Keygen(command) => command.run(console),
            Self::Explain(command) => command.run(console),
            Self::Completions(command) => command.run(console),
            Self::Man(command) => command.run(console),
            Self::Version(command) => command.run(console),
        }
    }
}

/// Completes at the first signal that asks for an end.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::failed("runtime", format_args!("{error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Runs a command's asynchronous part, on this thread.
pub(crate) fn block_on<F>(future: F) -> Result<F::Output, Failure>
where
    F: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("runtime", format!("no event loop: {error}")))?;
    Ok(runtime.block_on(future))
}
