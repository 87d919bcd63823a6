//! `quorate keygen FILE`.

use crate::{
    console::Console,
    failure::{Exit, Failure},
    keys::key_failure,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_crypto::{Role, SecretKey};
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate keygen me.key\n  \
    quorate curl --sign me.key -X PUT -d hello http://127.0.0.1:7400/kv/greeting\n\n\
    The file has mode 0600 and is never overwritten. Its public half names the client to the\n\
    service: signed requests cannot be altered by a gateway.")]
pub(crate) struct Keygen {
    /// The file to write
    file: PathBuf,
}

impl Keygen {
    /// Makes the key.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
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
}
