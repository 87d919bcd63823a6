//! Bytes to a gateway and back: no retry, no judgement.

use crate::{
    line::Connector,
    tls::Authorities,
    url::{Endpoint, target},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::Client as Pool,
    rt::{TokioExecutor, TokioTimer},
};
use quorate_proof::{ReceivedResponse, SentRequest};
use std::{error::Error, fmt, time::Duration};
use thiserror::Error;

/// Keep-alive connections to any number of gateways.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pool: Pool<Connector, Full<Bytes>>,
    bytes_max: usize,
}

/// Why there is no answer at all.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TransportError {
    /// Nothing was sent.
    #[error("no connection: {0}")]
    Connect(String),
    /// There is no file of authorities to believe, so that no certificate can be. Nothing was sent.
    #[error("no certificate can be checked: {0}")]
    Authorities(String),
    /// The gateway's certificate names another host, is expired, or comes from an authority that is
    /// not believed. Nothing was sent.
    #[error("the certificate is not believed: {0}")]
    Untrusted(String),
    /// TLS failed otherwise. Nothing was sent.
    #[error("no TLS: {0}")]
    Handshake(String),
    /// The connection broke, or what came is not HTTP; the request may have been ordered.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer took too long; the request may have been ordered.
    #[error("no answer within {}", Seconds(*.0))]
    TimedOut(Duration),
    /// The content is longer than this client takes.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// A method or field that HTTP cannot carry.
    #[error("the request cannot be written as HTTP: {0}")]
    Unwritable(String),
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f32())
    }
}

impl TransportError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Authorities(_) => "tls-authorities",
            Self::Untrusted(_) => "tls-untrusted",
            Self::Handshake(_) => "tls-handshake",
            Self::Broken(_) => "connection-broken",
            Self::TimedOut(_) => "timed-out",
            Self::TooLarge(_) => "answer-too-large",
            Self::Unwritable(_) => "request-unwritable",
        }
    }

    /// Whether the same request may fare better elsewhere or later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Unwritable(_) | Self::Authorities(_) | Self::Untrusted(_))
    }

    /// Whether it fares no better anywhere.
    pub(crate) fn is_about_request(&self) -> bool {
        matches!(self, Self::Unwritable(_))
    }
}

impl Transport {
    /// A transport that takes answers of up to `bytes_max` bytes; HTTP/2 without TLS needs prior
    /// knowledge that the gateway speaks it.
    pub(crate) fn new(authorities: &Authorities, http2: bool, bytes_max: usize) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(http2)
            .build(Connector::new(authorities.clone(), http2));
        Self { pool, bytes_max }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: &SentRequest,
        within: Duration,
    ) -> Result<ReceivedResponse, TransportError> {
        let message = message(endpoint, request)?;
        tokio::time::timeout(within, self.round_trip(message))
            .await
            .unwrap_or(Err(TransportError::TimedOut(within)))
    }

    async fn round_trip(
        &self,
        message: http::Request<Full<Bytes>>,
    ) -> Result<ReceivedResponse, TransportError> {
        let response = self.pool.request(message).await.map_err(|error| told(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.bytes_max).collect().await.map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                TransportError::TooLarge(self.bytes_max)
            } else {
                TransportError::Broken(error.to_string())
            }
        })?;
        let fields = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), latin(value.as_bytes())))
            .collect();
        Ok(ReceivedResponse { status: head.status.as_u16(), fields, body: body.to_bytes() })
    }
}

fn message(
    endpoint: &Endpoint,
    request: &SentRequest,
) -> Result<http::Request<Full<Bytes>>, TransportError> {
    let unwritable = |error: &dyn fmt::Display| TransportError::Unwritable(error.to_string());
    let uri = format!("{endpoint}{}", target(&request.path, &request.query));
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(uri);
    for (name, value) in &request.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unwritable(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| unwritable(&error))?;
        builder = builder.header(name, value);
    }
    builder.body(Full::new(request.body.clone())).map_err(|error| unwritable(&error))
}

/// Bytes outside ASCII as the characters of the same number, as `quorate_proof::saved` has them.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// What the connector says of itself, else what became of the connection.
fn told(error: &hyper_util::client::legacy::Error) -> TransportError {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let mut own = sources.filter_map(|error| error.downcast_ref::<TransportError>());
    own.next().cloned().unwrap_or_else(|| TransportError::Broken(deepest(error)))
}

/// The innermost reason: what a person can act on ("connection refused").
pub(crate) fn deepest(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}
