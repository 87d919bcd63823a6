//! `quorate restore`: a data folder, made of a backup.

use super::{
    audit, block_on,
    snapshot::{failure, manifest::Manifest},
};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use quorate_ledger::Owner;
use quorate_node::{Config, backup};
use quorate_types::ReplicaId;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate restore --config cluster/r3/quorate.toml backup-r3\n  \
    quorate start --config cluster/r3/quorate.toml\n\n\
    The data folder must be empty or missing, and the replica stopped. The backup is audited\n\
    first, by the policy in the replica's own configuration. It may be one of any replica of the\n\
    cluster.\n\n\
    No backup holds votes, so a restored replica is one that lost its disk: it does not vote\n\
    before it has rejoined, for which a quorum of the others must run. What the backup spares it\n\
    is to fetch what it holds. Never restore more than f replicas at once.")]
pub(crate) struct Restore {
    /// The replica's quorate.toml
    #[arg(long)]
    config: PathBuf,
    /// The folder that `quorate snapshot` made
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
}

impl Restore {
    /// Restores it.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let config =
            Config::load(&self.config).map_err(|error| Failure::config(&self.config, &error))?;
        // Before a long audit.
        let data = config.data();
        backup::check_empty(&data).map_err(|error| failure(&error))?;
        let manifest = Manifest::checked(&self.backup)?;
        let origin = config.policy().origin_text();
        if manifest.origin != origin {
            let message = format!("the backup is of {}, not of {origin}", manifest.origin);
            return Err(Failure::usage("backup-other-cluster", message));
        }
        let service = Some(config.file().service.as_str());
        block_on(audit::of_folder(&self.backup, config.policy(), service, console))??;
        let owner = Owner { chain: config.chain(), replica: ReplicaId(manifest.replica) };
        let copied = audit::read_only(&self.backup, owner)
            .map_err(backup::BackupError::from)
            .and_then(|from| backup::restore(&config, &from))
            .map_err(|error| failure(&error))?;
        let (size, replica) = (copied.certificate.head.size, config.me());
        if console.is_json() {
            console.json(&serde_json::json!({
                "restored": true,
                "replica": replica.0,
                "data": data,
                "size": size,
                "slot": copied.certificate.slot().0,
                "snapshot": copied.snapshot.map(|slot| slot.0),
            }));
        } else {
            console.line(format_args!(
                "restored: {size} entries for {replica}, in {}\n\
                 Start it: it rejoins as after a lost disk, and fetches what came after.",
                data.display()
            ));
        }
        Ok(Exit::Done)
    }
}
