//! The origin: a log's name for the chain's whole life.

use quorate_types::{Chain, FaultModel};
use std::fmt;
use thiserror::Error;

/// `NAME/quorate/CHAIN/MODEL`: the first line of every head, and the name of every log key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The public authority of the service, in lower case, with a port where it has one.
    pub name: String,
    /// Sixteen lower-case hex digits.
    pub chain: Chain,
    /// What the replicas' quorum withstands.
    pub model: FaultModel,
}

/// The text is not an origin.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an origin reads NAME/quorate/CHAIN/MODEL, with sixteen hex digits, and bft or hybrid")]
pub struct OriginError;

impl OriginError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "origin-malformed"
    }
}

impl Origin {
    /// Reads an origin; its `Display` gives the text back.
    ///
    /// # Errors
    /// [`OriginError`] for any other text. NAME is graphic ASCII without `/`, `+` and capitals.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(OriginError);
        let (name, quorate, chain, model) = (part()?, part()?, part()?, part()?);
        if part().is_ok() || quorate != "quorate" || !is_name(name) {
            return Err(OriginError);
        }
        let model = match model {
            "bft" => FaultModel::Bft,
            "hybrid" => FaultModel::Hybrid,
            _ => return Err(OriginError),
        };
        let chain = Chain::parse(chain).map_err(|_| OriginError)?;
        Ok(Self { name: name.to_owned(), chain, model })
    }

    /// Whether NAME, its port aside, ends in `.localhost`: keys for development only.
    #[must_use]
    pub fn is_development(&self) -> bool {
        let host = match self.name.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.name,
        };
        host.ends_with(".localhost")
    }
}

/// RFC 9421 section 2.2.3 has authorities in lower case; C2SP key names have no `+`.
fn is_name(name: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_graphic() && byte != b'+' && !byte.is_ascii_uppercase();
    !name.is_empty() && name.bytes().all(right)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/quorate/{}/{}", self.name, self.chain, self.model.as_str())
    }
}
