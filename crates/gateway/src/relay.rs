//! A listener whose answers come from other gateways: the half of `quorate proxy` that clients see.
//!
//! It takes requests as a [`Gateway`](crate::Gateway) does, by the same code and the same codes,
//! and writes down what [`Upstream`] verified. What differs:
//!
//! - Fields that no exchange covers are passed on in requests, since only the service's own
//!   gateways know which further ones it has covered; in responses nothing uncovered is.
//! - Answers link to no proof and tell no timing.
//! - A page of a web origin that was not named is refused: behind a relay on one's own machine may
//!   lie what no page should reach.

use crate::{
    admission::Passing,
    answer::Preference,
    backend::Fetched,
    codes,
    config::{ConfigError, GatewayConfig},
    counters::Counters,
    line::{Answers, Line},
    reception::{Answered, Opened, Reception, outlast},
    well_known,
};
use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{HOST, ORIGIN},
    request::Parts,
};
use http_body_util::Full;
use hyper::body::Incoming;
use quorate_types::{self as types, Proven, Refusal};
use std::{future::Future, sync::Arc};
use tokio::net::TcpListener;

/// Who gets answers for a relay, and verifies them. A clone is a handle to the same one.
pub trait Upstream: Clone + Send + Sync + 'static {
    /// Sends the request until a verified answer comes. Within a time of its own: the relay waits.
    ///
    /// # Errors
    /// A [`Refusal`] where none came.
    fn send(&self, request: types::Request)
    -> impl Future<Output = Result<Proven, Refusal>> + Send;

    /// A page of the relay itself, by its path below `/.well-known/quorate/`.
    ///
    /// # Errors
    /// A [`Refusal`], for what is not there.
    fn page(&self, path: &str) -> Result<Fetched, Refusal>;
}

/// See the module. A clone is a handle to the same relay.
pub struct Relay<U>(Arc<Inner<U>>);

struct Inner<U> {
    upstream: U,
    reception: Reception,
}

impl<U> Clone for Relay<U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<U: Upstream> Relay<U> {
    /// A relay in front of other gateways. Its coverage is theirs to know: none is configured.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that cannot work.
    pub fn new(config: &GatewayConfig, upstream: U) -> Result<Self, ConfigError> {
        let reception = Reception::new(config, Passing::EndToEnd)?;
        Ok(Self(Arc::new(Inner { upstream, reception })))
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.reception.counters.clone()
    }

    /// As [`Gateway::serve`](crate::Gateway::serve).
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        self.0.reception.server(self.clone(), None).serve(listener, shutdown).await;
    }
}

impl<U: Upstream> Answers for Relay<U> {
    type Content = Full<Bytes>;

    async fn answer(&self, line: Arc<Line>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let inner = &*self.0;
        inner.reception.counters.count_request();
        let (head, mut content) = request.into_parts();
        let result = inner.proceed(&line, &head, &mut content).await;
        inner.reception.finish(result, &head, &mut content).await
    }
}

impl<U: Upstream> Inner<U> {
    async fn proceed(
        &self,
        line: &Arc<Line>,
        head: &Parts,
        content: &mut Incoming,
    ) -> Result<Answered, Refusal> {
        let turn = match self.reception.open(line, head)? {
            Opened::Answered(answered) => return Ok(answered),
            Opened::Turn(turn) => turn,
        };
        self.check_origin(head)?;
        let origin = head.headers.get(ORIGIN);
        if let Some(path) = head.uri.path().strip_prefix(well_known::PREFIX) {
            let page = self.upstream.page(path)?;
            if !matches!(head.method, Method::GET | Method::HEAD) {
                return Err(codes::METHOD_NOT_ALLOWED.refusal("this is for GET and HEAD"));
            }
            let (response, bytes) = self.reception.writer.fetched(page, false, origin);
            return Ok((response, bytes, Some(turn)));
        }
        let mut held = turn.content();
        let request = self.reception.request(head, content, &mut held).await?;
        let upstream = self.upstream.clone();
        let asking = async move { upstream.send(request).await };
        let (proven, turn) = outlast(head.version, turn, held, asking).await?;
        let preference = Preference::of(&head.headers);
        let method = head.method.as_str();
        let (response, bytes) =
            self.reception.writer.relayed(proven, method, origin, preference)?;
        self.reception.counters.count_proven();
        Ok((response, bytes, Some(turn)))
    }

    /// Refuses pages of origins that were not named. A page that came through here is of the origin
    /// that its `Host` makes.
    fn check_origin(&self, head: &Parts) -> Result<(), Refusal> {
        let Some(origin) = head.headers.get(ORIGIN) else { return Ok(()) };
        let field = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(http::uri::Authority::as_str).or(field);
        let page = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        let own = page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host));
        if own || self.reception.writer.admits(origin) {
            return Ok(());
        }
        let origin = String::from_utf8_lossy(origin.as_bytes());
        Err(codes::ORIGIN_REFUSED.refusal(format!("{origin} is not an origin of this proxy")))
    }
}
