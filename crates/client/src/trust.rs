//! Where the policy comes from that decides what is believed.

use crate::{
    client::fetch_from,
    pins::{PinError, Pins, read_policy},
    tls::Authorities,
    transport::{Transport, TransportError},
    url::Endpoint,
};
use quorate_proof::{Policy, PolicyError};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// A policy, and why it is believed.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The policy.
    pub policy: Policy,
    /// Why.
    pub ground: Ground,
}

/// Why a policy is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ground {
    /// The caller named its file.
    Given(PathBuf),
    /// It was pinned for this authority before.
    Pinned(PathBuf),
    /// Nobody vouched for it: the gateway itself served it just now.
    FirstUse,
}

/// Why there is no policy to believe.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file cannot be used.
    #[error("{0}")]
    Pin(#[from] PinError),
    /// The gateway does not serve its policy.
    #[error("{endpoint} does not serve its policy: {reason}")]
    Unserved {
        /// Which gateway.
        endpoint: Endpoint,
        /// Its answer.
        reason: String,
    },
    /// The gateway cannot be reached.
    #[error("{endpoint}: {source}")]
    Transport {
        /// Which gateway.
        endpoint: Endpoint,
        /// What happened.
        source: TransportError,
    },
    /// What the gateway serves is no policy.
    #[error("what {endpoint} serves is no policy: {source}")]
    Malformed {
        /// Which gateway.
        endpoint: Endpoint,
        /// Why not.
        source: PolicyError,
    },
}

impl TrustError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pin(error) => error.code(),
            Self::Unserved { .. } => "policy-unserved",
            Self::Transport { source, .. } => source.code(),
            Self::Malformed { source, .. } => source.code(),
        }
    }

    /// Whether it is the policy that is wrong, and not the way to it.
    #[must_use]
    pub fn is_about_policy(&self) -> bool {
        match self {
            Self::Pin(error) => {
                matches!(error, PinError::Malformed { .. } | PinError::Changed { .. })
            }
            Self::Malformed { .. } => true,
            Self::Unserved { .. } | Self::Transport { .. } => false,
        }
    }
}

/// Finds the policy for an endpoint: the given file, else the pin, else what the endpoint serves.
///
/// A policy on first use is not pinned yet: do that, by [`Pins::add`], when an answer verified
/// under it.
///
/// # Errors
/// [`TrustError`].
pub async fn trusted_policy(
    given: Option<&Path>,
    pins: &Pins,
    endpoint: &Endpoint,
    authorities: &Authorities,
) -> Result<Trusted, TrustError> {
    if let Some(path) = given {
        let policy = read_policy(path)?;
        return Ok(Trusted { policy, ground: Ground::Given(path.to_owned()) });
    }
    if let Some(policy) = pins.find(endpoint)? {
        return Ok(Trusted { policy, ground: Ground::Pinned(pins.path(endpoint)) });
    }
    let policy = served_policy(endpoint, authorities).await?;
    Ok(Trusted { policy, ground: Ground::FirstUse })
}

/// The policy that a gateway serves: a claim, nothing more.
///
/// # Errors
/// [`TrustError`].
pub async fn served_policy(
    endpoint: &Endpoint,
    authorities: &Authorities,
) -> Result<Policy, TrustError> {
    let bytes_max = quorate_proof::policy::POLICY_BYTES_MOST;
    let transport = Transport::new(authorities, false, bytes_max);
    let path = "/.well-known/quorate/policy";
    let response = fetch_from(&transport, endpoint, path, Duration::from_secs(10))
        .await
        .map_err(|source| TrustError::Transport { endpoint: endpoint.clone(), source })?;
    let unserved = |reason| TrustError::Unserved { endpoint: endpoint.clone(), reason };
    if response.status != 200 {
        return Err(unserved(format!("status {}", response.status)));
    }
    let text = std::str::from_utf8(&response.body).map_err(|_| unserved("not text".to_owned()))?;
    Policy::parse(text)
        .map_err(|source| TrustError::Malformed { endpoint: endpoint.clone(), source })
}
