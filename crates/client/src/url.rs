//! Where a request goes: an `http` or `https` URL, its path and query kept byte for byte.

use std::fmt;
use thiserror::Error;

/// A gateway: scheme, host and port as they stand in a URL.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Endpoint {
    authority: String,
    by_tls: bool,
}

/// A gateway, and what is asked of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    /// The gateway.
    pub endpoint: Endpoint,
    /// The raw path, never empty.
    pub path: String,
    /// `?` and the raw rest; `?` alone where there is none. The form of `quorate_types::Request`.
    pub query: String,
}

/// Why a text is no URL that a request can go to.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum UrlError {
    /// Another scheme than `http` and `https`.
    #[error("`{0}` is neither an http:// nor an https:// URL")]
    Scheme(String),
    /// No host, a user name, or a port that is none.
    #[error("`{0}` names no host and port")]
    Authority(String),
    /// A blank, a control or a non-ASCII character: requests are ordered as raw ASCII.
    #[error("`{0}` holds a character that must be percent-encoded")]
    Character(String),
}

impl UrlError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "url-scheme",
            Self::Authority(_) => "url-authority",
            Self::Character(_) => "url-character",
        }
    }
}

impl Endpoint {
    /// Reads `HOST`, `HOST:PORT` or `[IPV6]:PORT`, of a gateway without TLS; the host is put in
    /// lower case, port 80 left out.
    ///
    /// # Errors
    /// [`UrlError::Authority`].
    pub fn parse(authority: &str) -> Result<Self, UrlError> {
        Self::read(authority, false)
    }

    fn read(authority: &str, by_tls: bool) -> Result<Self, UrlError> {
        let wrong = || UrlError::Authority(authority.to_owned());
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let (host, rest) = (parsed.host(), authority.strip_prefix(parsed.host()));
        let port_is_sound = match rest {
            Some("") => true,
            Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
            None => false,
        };
        if host.is_empty() || !port_is_sound {
            return Err(wrong());
        }
        let host = host.to_ascii_lowercase();
        let authority = match parsed.port_u16() {
            Some(port) if port != usual_port(by_tls) => format!("{host}:{port}"),
            None | Some(_) => host,
        };
        Ok(Self { authority, by_tls })
    }

    /// `HOST:PORT` as it stands in `Host`; the port is left out when it is 80, with TLS
    /// 443.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `HOST:PORT` to connect to, the port always there.
    #[must_use]
    pub fn address(&self) -> String {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let usual = usual_port(self.by_tls);
        if has_port { self.authority.clone() } else { format!("{}:{usual}", self.authority) }
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_by_tls(&self) -> bool {
        self.by_tls
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.by_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

fn usual_port(by_tls: bool) -> u16 {
    if by_tls { 443 } else { 80 }
}

impl Url {
    /// Reads `http[s]://HOST[:PORT][/PATH][?QUERY]`; without a scheme it is `http`. A fragment,
    /// which no server ever sees, is dropped; nothing is decoded or normalised.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (by_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                return Err(UrlError::Scheme(text.to_owned()));
            }
            _ => (false, text),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character(text.to_owned()));
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let endpoint = Endpoint::read(authority, by_tls)?;
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let or = |text: &str, empty: &str| if text.is_empty() { empty } else { text }.to_owned();
        Ok(Self { endpoint, path: or(path, "/"), query: or(query, "?") })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query == "?" { "" } else { &self.query };
        write!(f, "{}{}{query}", self.endpoint, self.path)
    }
}

/// The target of a request line for a path and a query in the form of `quorate_types::Request`.
#[must_use]
pub(crate) fn target(path: &str, query: &str) -> String {
    if query == "?" { path.to_owned() } else { format!("{path}{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_path_and_query_byte_for_byte() {
        let url = Url::parse("http://Shop.Example:7400/a%2f/../b;c?x=%20&&#part").unwrap();
        assert_eq!(url.endpoint.authority(), "shop.example:7400");
        assert_eq!((url.path.as_str(), url.query.as_str()), ("/a%2f/../b;c", "?x=%20&&"));
        assert_eq!(url.to_string(), "http://shop.example:7400/a%2f/../b;c?x=%20&&");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let url = Url::parse("127.0.0.1:7400").unwrap();
        assert_eq!((url.path.as_str(), url.query.as_str()), ("/", "?"));
        assert_eq!(url.to_string(), "http://127.0.0.1:7400/");
        assert_eq!(Url::parse("http://h?q").unwrap().query, "?q");
        assert_eq!(Url::parse("http://h:80/").unwrap().endpoint.authority(), "h");
        assert_eq!(Url::parse("http://h/").unwrap().endpoint.address(), "h:80");
        assert_eq!(Url::parse("http://[::1]/").unwrap().endpoint.address(), "[::1]:80");
        assert_eq!(Url::parse("http://[::1]:7400/").unwrap().endpoint.address(), "[::1]:7400");
    }

    #[test]
    fn a_gateway_with_tls_is_another_one() {
        let url = Url::parse("HTTPS://Shop.Example:443/a").unwrap();
        assert_eq!(url.to_string(), "https://shop.example/a");
        assert_eq!(url.endpoint.address(), "shop.example:443");
        assert!(url.endpoint.is_by_tls());
        assert_ne!(Endpoint::parse("shop.example").unwrap(), url.endpoint);
        assert_eq!(Url::parse("https://h:80/").unwrap().endpoint.authority(), "h:80");
        assert_eq!(Url::parse("http://h:443/").unwrap().endpoint.authority(), "h:443");
    }

    #[test]
    fn what_is_no_http_url_is_refused_with_the_reason() {
        let code = |text| Url::parse(text).unwrap_err().code();
        assert_eq!(code("ftp://h/"), "url-scheme");
        assert_eq!(code("http://"), "url-authority");
        assert_eq!(code("/kv/x"), "url-authority");
        assert_eq!(code("http://user@h/"), "url-authority");
        assert_eq!(code("http://h:99999/"), "url-authority");
        assert_eq!(code("http://h:/"), "url-authority");
        assert_eq!(code("http://h/a b"), "url-character");
        assert_eq!(code("http://h/\u{e4}"), "url-character");
    }
}
