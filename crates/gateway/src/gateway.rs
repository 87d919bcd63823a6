//! The gateway: a request's way from its head to its answer.

use crate::{
    admission::{self, Admission},
    answer::{Preference, Writer},
    backend::{Backend, Fetched, Submitted},
    codes,
    config::{ConfigError, GatewayConfig},
    counters::Counters,
    limits::Limits,
    line::{Answers, Line, Turn},
    quota::{ContentBytes, Quota},
    server::Server,
    well_known::{self, Page},
};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response, Version,
    header::{CONNECTION, EXPECT, ORIGIN},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use quorate_types::{self as types, Refusal};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// How much content of a refused request is passed over, and for how long, to keep a connection.
const SKIP_BYTES_MOST: u64 = 64 << 10;
const SKIP_TIME_MOST: Duration = Duration::from_millis(50);

/// An HTTP gateway in front of one replica. A clone is a handle to the same gateway.
pub struct Gateway<B>(Arc<Inner<B>>);

struct Inner<B> {
    backend: B,
    admission: Admission,
    writer: Writer,
    limits: Arc<Limits>,
    quota: Arc<Quota>,
    counters: Counters,
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
        config.check()?;
        let quota = Arc::new(Quota::default());
        Ok(Self(Arc::new(Inner {
            backend,
            admission: Admission::new(config),
            writer: Writer::new(config),
            limits: Arc::new(config.limits.clone()),
            counters: Counters::new(quota.clone()),
            quota,
        })))
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.counters.clone()
    }

    /// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) on a listener until `shutdown` completes;
    /// then no connection is accepted any more, and open requests have a grace period to end.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let server = Server {
            answers: self.clone(),
            limits: self.0.limits.clone(),
            quota: self.0.quota.clone(),
            counters: self.0.counters.clone(),
        };
        server.serve(listener, shutdown).await;
    }
}

/// An answer's head with its content beside it, and the turn that it ends.
type Answered = (Response<()>, Bytes, Option<Turn>);

impl<B: Backend> Answers for Gateway<B> {
    type Content = Full<Bytes>;

    async fn answer(&self, line: Arc<Line>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let inner = &*self.0;
        inner.counters.count_request();
        let (head, mut content) = request.into_parts();
        let result = inner.proceed(&line, &head, &mut content).await;
        let answered = match result {
            Ok(answered) => answered,
            Err(refusal) => inner.refuse(&refusal, &head, &mut content).await,
        };
        let (response, bytes, turn) = answered;
        let bytes = match turn {
            Some(turn) => turn.answer(bytes),
            None => bytes,
        };
        response.map(|()| Full::new(bytes))
    }
}

impl<B: Backend> Inner<B> {
    /// Answers by a refusal. An HTTP/1 connection lives on only if the rest of the content is at
    /// hand and small; else nobody could tell where the next request begins.
    async fn refuse(&self, refusal: &Refusal, head: &Parts, content: &mut Incoming) -> Answered {
        self.counters.count_refusal(refusal.code);
        tracing::debug!(code = refusal.code, detail = refusal.detail, "refused");
        let (mut response, bytes) = self.writer.refusal(refusal, head.headers.get(ORIGIN));
        if head.version != Version::HTTP_2 && !content.is_end_stream() {
            // A client that waits to be asked for its content must not be asked now.
            let waits = head.headers.contains_key(EXPECT);
            if waits || !skip(content).await {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        (response, bytes, None)
    }

    async fn proceed(
        &self,
        line: &Arc<Line>,
        head: &Parts,
        content: &mut Incoming,
    ) -> Result<Answered, Refusal> {
        // The guard's stand-in for a head that it refused.
        if head.uri.path() == "*"
            && let Some(refusal) = line.refused.take()
        {
            return Err(refusal);
        }
        self.admission.check(head)?;
        let origin = head.headers.get(ORIGIN);
        if admission::is_preflight(head) {
            return Ok((self.writer.preflight(origin), Bytes::new(), None));
        }
        let turn = line.begin()?;
        if let Some(path) = head.uri.path().strip_prefix(well_known::PREFIX) {
            let (response, bytes) = self.publish(path, head, origin).await?;
            return Ok((response, bytes, Some(turn)));
        }
        let draft = self.admission.draft(head)?;
        let mut held = turn.content();
        let content = self.read(head, content, &mut held).await?;
        let request = draft.with_content(content)?;
        let (submitted, turn) = if head.version == Version::HTTP_2 {
            // A client may reset its stream and open another at no cost: the request goes on, and
            // so must its turn, or nothing would bound how much one client has ordered.
            let (backend, patience) = (self.backend.clone(), self.limits.certify_timeout());
            let going_on = async move { (order(&backend, patience, request).await, turn, held) };
            let (submitted, turn, _held) = tokio::spawn(going_on).await.map_err(|error| {
                codes::NOT_READY.refusal(format!("the replica failed: {error}"))
            })?;
            (submitted?, turn)
        } else {
            (order(&self.backend, self.limits.certify_timeout(), request).await?, turn)
        };
        let preference = Preference::of(&head.headers);
        let method = head.method.as_str();
        let (response, bytes) = self.writer.proven(submitted, method, origin, preference)?;
        self.counters.count_proven();
        Ok((response, bytes, Some(turn)))
    }

    /// Reads the content whole, within its limit and time. Trailers are dropped.
    async fn read(
        &self,
        head: &Parts,
        content: &mut Incoming,
        held: &mut ContentBytes,
    ) -> Result<Bytes, Refusal> {
        let stated = admission::content_length(&head.headers)?;
        let most = self.limits.body_bytes_max;
        let too_large =
            || codes::BODY_TOO_LARGE.refusal(format!("the content may have {most} bytes"));
        let length = usize::try_from(stated.unwrap_or(0)).unwrap_or(usize::MAX);
        if length > most {
            return Err(too_large());
        }
        if content.is_end_stream() {
            return Ok(Bytes::new());
        }
        held.hold(length, &self.limits)?;
        let mut whole = Gathered::default();
        let reading = async {
            while let Some(frame) = content.frame().await {
                let frame = frame.map_err(|_| {
                    codes::BODY_MALFORMED.refusal("the content ended early or is malformed")
                })?;
                let Ok(data) = frame.into_data() else { continue };
                let bytes = whole.len() + data.len();
                if bytes > most {
                    return Err(too_large());
                }
                held.hold(bytes, &self.limits)?;
                whole.push(data, length);
            }
            Ok(())
        };
        let patience = self.limits.body_timeout();
        tokio::time::timeout(patience, reading).await.map_err(|_| {
            let detail = format!("no whole content within {} ms", patience.as_millis());
            codes::BODY_TIMEOUT.refusal(detail)
        })??;
        Ok(whole.into_bytes())
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
                let patience = self.limits.certify_timeout();
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
        Ok(self.writer.fetched(fetched, page.is_lasting(), origin))
    }

    async fn ready(&self) -> Result<Fetched, Refusal> {
        let status = self.backend.status().await;
        if status.ready {
            let body = Bytes::from_static(b"ready\n");
            return Ok(Fetched { content_type: "text/plain; charset=utf-8", body });
        }
        let reason = status.reason.unwrap_or_else(|| "the replica is not ready".to_owned());
        Err(codes::NOT_READY.refusal(reason))
    }
}

/// Has the request ordered, within the time that a client waits.
async fn order<B: Backend>(
    backend: &B,
    patience: Duration,
    request: types::Request,
) -> Result<Submitted, Refusal> {
    let submitted = tokio::time::timeout(patience, backend.submit(request)).await;
    submitted.unwrap_or_else(|_| {
        let detail = format!("no certified answer within {} ms", patience.as_millis());
        Err(codes::CERTIFY_TIMEOUT.refusal(detail))
    })
}

/// Passes over the rest of the content, if that is little and comes at once.
async fn skip(content: &mut Incoming) -> bool {
    let mut left = SKIP_BYTES_MOST;
    if content.size_hint().lower() > left {
        return false;
    }
    let skipping = async {
        while let Some(frame) = content.frame().await {
            let data = frame.map(|frame| frame.data_ref().map_or(0, |data| data.len() as u64));
            match data.ok().and_then(|bytes| left.checked_sub(bytes)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(SKIP_TIME_MOST, skipping).await.unwrap_or(false)
}

/// Content as it comes in: one piece stays where it is, several are joined.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes, expected: usize) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(expected.max(self.first.len() + data.len()));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
