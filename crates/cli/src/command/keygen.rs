//! `quorate keygen FILE`.

use crate::{
    console::Console,
    failure::{Exit, Failure},
    keys::key_failure,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_crypto::{PublicKeys, ReplicaKeys, Role, SecretKey};
use std::{collections::BTreeMap, path::PathBuf};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate keygen me.key\n  \
    quorate keygen --replica r0/keys          # the four keys of a replica\n  \
    quorate curl --sign me.key -X PUT -d hello http://127.0.0.1:7400/kv/greeting\n\n\
    The file has mode 0600 and is never overwritten. Its public half names the client to the\n\
    service: signed requests cannot be altered by a gateway.")]
pub(crate) struct Keygen {
    /// Make the four keys of a replica (vote, cosign, log, tls) in a new folder instead, and print
    /// their public halves, as a member of `quorate.toml` holds them
    #[arg(long)]
    replica: bool,
    /// The file to write; with --replica, the folder
    file: PathBuf,
}

impl Keygen {
    /// Makes the key.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        if self.replica {
            return self.replica(console);
        }
        let key = SecretKey::generate(Role::Client).map_err(key_failure)?;
        key.create(&self.file).map_err(key_failure)?;
        let public = STANDARD.encode(key.public().0);
        if console.is_json() {
            console.json(&serde_json::json!({ "file": self.file, "public": public }));
        } else {
            console.line(format_args!("{}: a client key, public {public}", self.file.display()));
        }
        Ok(Exit::Done)
    }

    fn replica(&self, console: &Console) -> Result<Exit, Failure> {
        let keys = ReplicaKeys::generate().map_err(key_failure)?;
        keys.save(&self.file).map_err(key_failure)?;
        let PublicKeys { vote, cosign, log, tls } = keys.public();
        let named = [("vote", vote), ("cosign", cosign), ("log", log), ("tls", tls)];
        if console.is_json() {
            let public: BTreeMap<_, _> =
                named.iter().map(|(name, key)| (*name, key.to_string())).collect();
            console.json(&serde_json::json!({ "folder": self.file, "public": public }));
            return Ok(Exit::Done);
        }
        for (name, key) in named {
            console.line(format_args!("{name} = \"{key}\""));
        }
        Ok(Exit::Done)
    }
}
