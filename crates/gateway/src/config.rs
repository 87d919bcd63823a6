//! What one gateway serves, and under which names.

use crate::{framing::HEADER_LINES_MOST, limits::Limits};
use http::{HeaderName, HeaderValue, header};
use quorate_proof::Coverage;
use std::{error::Error, fmt};

/// The configuration of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// NAME of the origin: the public authority, which every exchange names whatever `Host` said.
    pub authority: String,
    /// Further values of `Host` that mean NAME, compared without regard to case (`host:port`).
    pub aliases: Vec<String>,
    /// The service's own extra fields.
    pub coverage: Coverage,
    /// Paths of the service that are the replica's own: 403 for every client.
    pub own_paths: Vec<String>,
    /// Web origins whose pages may read answers. `*`, the default, is all of them: a page gets
    /// nothing that another client would not get, and no cookies go with its requests.
    pub cors_origins: Vec<String>,
    /// The bounds.
    pub limits: Limits,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ConfigError {}

impl GatewayConfig {
    /// A gateway of that authority, without aliases or extra fields, with default limits.
    #[must_use]
    pub fn new(authority: impl Into<String>) -> Self {
        Self {
            authority: authority.into(),
            aliases: Vec::new(),
            coverage: Coverage::default(),
            own_paths: Vec::new(),
            cors_origins: vec!["*".to_owned()],
            limits: Limits::default(),
        }
    }

    /// Whether a gateway can be made of this.
    ///
    /// # Errors
    /// [`ConfigError`], naming the value.
    pub fn check(&self) -> Result<(), ConfigError> {
        for name in std::iter::once(&self.authority).chain(&self.aliases) {
            let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !plain || name.contains(['/', '@', '?', '#', ',']) {
                return Err(ConfigError(format!(
                    "`{name}` is not an authority (host or host:port)"
                )));
            }
        }
        let coverage = self.coverage.check();
        coverage.map_err(|error| ConfigError(format!("covered fields: {error}")))?;
        for name in self.coverage.request.iter().chain(&self.coverage.response) {
            if is_of_the_gateway(name) {
                return Err(ConfigError(format!(
                    "`{name}` belongs to each gateway and cannot be covered"
                )));
            }
        }
        for origin in &self.cors_origins {
            if HeaderValue::from_str(origin).is_err() || origin.is_empty() {
                return Err(ConfigError(format!("`{origin}` is not a web origin")));
            }
        }
        check_limits(&self.limits)
    }
}

/// Fields that a connection or a gateway has its own of, so that no replica can agree on them.
fn is_of_the_gateway(name: &str) -> bool {
    const NAMES: [HeaderName; 17] = [
        header::ALLOW,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::DATE,
        header::EXPECT,
        header::HOST,
        header::LINK,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VARY,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("server-timing"),
    ];
    name.starts_with("access-control-") || NAMES.iter().any(|own| own == name)
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let lines = limits.header_lines_max;
    if !(1..=HEADER_LINES_MOST).contains(&lines) {
        return Err(ConfigError(format!(
            "header_lines_max is {lines}, not 1 to {HEADER_LINES_MOST}"
        )));
    }
    let at_least = [
        ("head_bytes_max", limits.head_bytes_max, 256),
        ("connections_max", limits.connections_max, 1),
        ("in_flight_max", limits.in_flight_max, 1),
        ("in_flight_per_client_max", limits.in_flight_per_client_max, 1),
        ("in_flight_body_bytes_max", limits.in_flight_body_bytes_max, limits.body_bytes_max),
    ];
    if let Some((name, value, least)) = at_least.iter().find(|(_, value, least)| value < least) {
        return Err(ConfigError(format!("{name} is {value}, less than {least}")));
    }
    // An exchange holds 65,535 bytes, a good part of them the head's.
    if limits.head_bytes_max > 60_000 {
        return Err(ConfigError(format!(
            "head_bytes_max is {}, above 60000",
            limits.head_bytes_max
        )));
    }
    let times = [
        ("header_timeout_ms", limits.header_timeout_ms),
        ("body_timeout_ms", limits.body_timeout_ms),
        ("idle_timeout_ms", limits.idle_timeout_ms),
        ("write_timeout_ms", limits.write_timeout_ms),
        ("certify_timeout_ms", limits.certify_timeout_ms),
    ];
    // A day: more would be a slip, and no sum of them overflows a clock.
    match times.iter().find(|(_, time)| !(1..=86_400_000).contains(time)) {
        Some((name, time)) => Err(ConfigError(format!("{name} is {time}, not 1 to 86400000"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_work_names_the_value() {
        type Change = fn(&mut GatewayConfig);
        let good = GatewayConfig::new("shop.example");
        assert_eq!(good.check(), Ok(()));
        let changes: [(Change, &str); 8] = [
            (|c| c.authority.clear(), "authority"),
            (|c| c.aliases.push("http://a/".to_owned()), "http://a/"),
            (|c| c.coverage.request.push("etag-".to_owned() + "A"), "etag-A"),
            (|c| c.coverage.response.push("connection".to_owned()), "connection"),
            (|c| c.cors_origins.push("a\nb".to_owned()), "web origin"),
            (|c| c.limits.header_lines_max = 1000, "header_lines_max"),
            (|c| c.limits.in_flight_body_bytes_max = 5, "in_flight_body_bytes_max"),
            (|c| c.limits.idle_timeout_ms = 0, "idle_timeout_ms"),
        ];
        for (change, named) in changes {
            let mut config = good.clone();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
