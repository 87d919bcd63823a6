//! The gateway: a request's way from its head to its answer.

use crate::{
    admission::Passing,
    answer::Preference,
    backend::{Backend, Fetched, Submitted},
    codes,
    config::{ConfigError, GatewayConfig},
    counters::Counters,
    line::{Answers, Line},
    reception::{Answered, Opened, Reception, outlast},
    tls::Tls,
    well_known::{self, Page},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::ORIGIN, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use quorate_types::{self as types, Refusal};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// An HTTP gateway in front of one replica. A clone is a handle to the same gateway.
pub struct Gateway<B>(Arc<Inner<B>>);

struct Inner<B> {
    backend: B,
    reception: Reception,
}

impl<B> Clone for Gateway<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> Gateway<B> {
    /// A gateway in front of a replica.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that cannot work.
    pub fn new(config: &GatewayConfig, backend: B) -> Result<Self, ConfigError> {
        let reception = Reception::new(config, Passing::Covered)?;
        Ok(Self(Arc::new(Inner { backend, reception })))
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.reception.counters.clone()
    }

    /// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) on a listener until `shutdown` completes;
    /// then no connection is accepted any more, and open requests have a grace period to end.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        self.0.reception.server(self.clone(), None).serve(listener, shutdown).await;
    }

    /// As [`Self::serve`], over TLS alone; HTTP/2 where the handshake agrees on it.
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        tls: Tls,
        shutdown: impl Future<Output = ()>,
    ) {
        self.0.reception.server(self.clone(), Some(tls)).serve(listener, shutdown).await;
    }
}

impl<B: Backend> Answers for Gateway<B> {
    type Content = Full<Bytes>;

    async fn answer(&self, line: Arc<Line>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let inner = &*self.0;
        inner.reception.counters.count_request();
        let (head, mut content) = request.into_parts();
        let result = inner.proceed(&line, &head, &mut content).await;
        inner.reception.finish(result, &head, &mut content).await
    }
}

impl<B: Backend> Inner<B> {
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
        let origin = head.headers.get(ORIGIN);
        if let Some(path) = head.uri.path().strip_prefix(well_known::PREFIX) {
            let (response, bytes) = self.publish(path, head, origin).await?;
            return Ok((response, bytes, Some(turn)));
        }
        let mut held = turn.content();
        let request = self.reception.request(head, content, &mut held).await?;
        let patience = self.reception.limits.certify_timeout();
        let ordering = order(self.backend.clone(), patience, request);
        let (submitted, turn) = outlast(head.version, turn, held, ordering).await?;
        let preference = Preference::of(&head.headers);
        let method = head.method.as_str();
        let (response, bytes) =
            self.reception.writer.proven(submitted, method, origin, preference)?;
        self.reception.counters.count_proven();
        Ok((response, bytes, Some(turn)))
    }

    /// Answers for a path under the reserved prefix.
    async fn publish(
        &self,
        path: &str,
        head: &Parts,
        origin: Option<&HeaderValue>,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        let page = Page::of(path)?;
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(codes::METHOD_NOT_ALLOWED.refusal("this is for GET and HEAD"));
        }
        let fetched = match page {
            Page::Fetch(what) => {
                let patience = self.reception.limits.certify_timeout();
                let fetched = tokio::time::timeout(patience, self.backend.fetch(what)).await;
                fetched.map_err(|_| codes::NOT_READY.refusal("the replica does not answer"))??
            }
            Page::Status => {
                let status = serde_json::to_vec(&self.backend.status().await);
                Fetched {
                    content_type: "application/json",
                    body: status.unwrap_or_default().into(),
                }
            }
            Page::Ready => self.ready().await?,
        };
        Ok(self.reception.writer.fetched(fetched, page.is_lasting(), origin))
    }

    async fn ready(&self) -> Result<Fetched, Refusal> {
        let status = self.backend.status().await;
        if status.ready {
            return Ok(well_known::ready());
        }
        let reason = status.reason.unwrap_or_else(|| "the replica is not ready".to_owned());
        Err(codes::NOT_READY.refusal(reason))
    }
}

/// Has the request ordered, within the time that a client waits.
async fn order<B: Backend>(
    backend: B,
    patience: Duration,
    request: types::Request,
) -> Result<Submitted, Refusal> {
    let submitted = tokio::time::timeout(patience, backend.submit(request)).await;
    submitted.unwrap_or_else(|_| {
        let detail = format!("no certified answer within {} ms", patience.as_millis());
        Err(codes::CERTIFY_TIMEOUT.refusal(detail))
    })
}
