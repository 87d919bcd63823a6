//! Whom a command believes: the policy of `--policy`, `$QUORATE_POLICY`, the pin, or the first use;
//! and the authorities of `--cacert`, `$SSL_CERT_FILE`, or the system.

use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use quorate_client::{
    Authorities, Endpoint, Ground, PinError, Pins, TransportError, TrustError, Trusted,
    trusted_policy,
};
use quorate_proof::{Policy, digest_value};
use std::path::{Path, PathBuf};

/// The arguments of commands that verify, on whom they believe.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct PolicyArgument {
    /// The policy to believe; else $QUORATE_POLICY, else the one pinned for the URL's authority,
    /// else the one that the gateway serves, which is then pinned
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The authorities to believe about the certificates of https gateways, in PEM; else those of
    /// $SSL_CERT_FILE, else the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}

impl PolicyArgument {
    /// The file that the caller named, by argument or environment.
    pub(crate) fn given(&self) -> Option<PathBuf> {
        let environment = std::env::var_os("QUORATE_POLICY").filter(|path| !path.is_empty());
        self.policy.clone().or(environment.map(PathBuf::from))
    }

    /// The authorities that are believed about certificates.
    pub(crate) fn authorities(&self) -> Authorities {
        self.cacert.as_ref().map_or_else(Authorities::of_system, Authorities::of_file)
    }

    /// The policy for an endpoint.
    pub(crate) async fn find(&self, endpoint: &Endpoint) -> Result<Trusted, Failure> {
        let given = self.given();
        let pins = match &given {
            // A given policy needs no home folder.
            Some(_) => Pins::at(PathBuf::new()),
            None => Pins::of_user().map_err(pin_failure)?,
        };
        let authorities = self.authorities();
        let trusted = trusted_policy(given.as_deref(), &pins, endpoint, &authorities).await;
        trusted.map_err(trust_failure)
    }
}

/// Reads the policy of a file that the caller named.
pub(crate) fn read_policy(path: &Path) -> Result<Policy, Failure> {
    quorate_client::read_policy(path).map_err(pin_failure)
}

/// Pins what was believed on first use, and says so.
pub(crate) fn keep(
    trusted: &Trusted,
    endpoint: &Endpoint,
    console: &Console,
) -> Result<(), Failure> {
    if trusted.ground != Ground::FirstUse {
        return Ok(());
    }
    let pins = Pins::of_user().map_err(pin_failure)?;
    pins.add(endpoint, &trusted.policy).map_err(pin_failure)?;
    console.note(format_args!(
        "note: the policy that {endpoint} serves is now pinned in {}; compare its digest {} with \
         one that you have from elsewhere",
        pins.path(endpoint).display(),
        digest_value(&trusted.policy.digest()),
    ));
    Ok(())
}

/// A pin or policy file that cannot be used. One that is wrong in itself is exit 3.
pub(crate) fn pin_failure(error: PinError) -> Failure {
    let failure = match error {
        PinError::Malformed { .. } | PinError::Changed { .. } => {
            Failure::not_verified(error.code(), &error)
        }
        PinError::NoHome | PinError::Io { .. } => Failure::failed(error.code(), &error),
    };
    match error {
        PinError::NoHome => failure.hint("name the policy by --policy or $QUORATE_POLICY"),
        _ => failure,
    }
}

/// A policy that cannot be had, or is wrong.
pub(crate) fn trust_failure(error: TrustError) -> Failure {
    match error {
        TrustError::Pin(error) => pin_failure(error),
        error => {
            let exit = if error.is_about_policy() { Exit::NotVerified } else { Exit::Failed };
            let failure = Failure { exit, ..Failure::failed(error.code(), &error) };
            match &error {
                TrustError::Transport { source, .. } => failure.hint(way_out(source)),
                _ => failure,
            }
        }
    }
}

/// What a person can do about a gateway that is out of reach.
pub(crate) fn way_out(error: &TransportError) -> &'static str {
    match error {
        TransportError::Untrusted(_) => {
            "`--cacert FILE` names the authority that issued it; the URL's host must stand in it"
        }
        TransportError::Authorities(_) => "name the file by --cacert or $SSL_CERT_FILE",
        TransportError::Handshake(_) => "is it an http:// gateway?",
        _ => "is the gateway running? `quorate dev` starts a cluster",
    }
}
