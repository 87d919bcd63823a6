//! The operations listener: `/livez`, `/readyz`, `/metrics`, `/status`, `/ui` and fault control.
//!
//! For its page it also serves what is public of the gateway's reserved prefix, the policy and the
//! log.
//!
//! It listens on the loopback by default and has no authentication of its own. What changes
//! something is refused to web pages: a request that names an `Origin`, or a `Host` that is a
//! domain other than `localhost` (so that no page reaches it by rebinding a name).

use crate::{
    answer::problem,
    backend::{Fetch, Fetched, Status},
    codes,
    counters::Counters,
    limits::Limits,
    line::{Answers, Line},
    quota::Quota,
    server::Server,
    ui,
    well_known::{PREFIX, Page},
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::body::{Body as _, Incoming};
use quorate_types::Refusal;
use serde::{Deserialize, Serialize};
use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tower::ServiceExt as _;

/// The node, as its operations listener sees it. A clone is a handle to the same node.
pub trait OperationsBackend: Clone + Send + Sync + 'static {
    /// Nothing when a request sent to this replica would be ordered; else why it would not.
    ///
    /// # Errors
    /// The reason, as one sentence.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// All metrics in Prometheus' text form.
    fn metrics_text(&self) -> String;

    /// How the replica is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Reads something that the replica publishes, as its gateway does.
    ///
    /// # Errors
    /// The gateway's [`Refusal`]s.
    fn published(&self, what: Fetch) -> impl Future<Output = Result<Fetched, Refusal>> + Send;

    /// Injects a fault, or (`None`) clears it.
    ///
    /// # Errors
    /// A [`Refusal`] (403) outside of development clusters.
    fn set_fault(&self, fault: Option<Fault>) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// A fault to inject, in JSON `{"fault":"delay","ms":250}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Corrupt what the replica signs and what it serves.
    CorruptResponses,
    /// Send nothing to other replicas.
    Mute,
    /// Send everything late.
    Delay {
        /// By how many milliseconds.
        ms: u64,
    },
    /// Propose and vote differently to different replicas.
    Equivocate,
    /// Answer requests with old valid answers.
    Replay,
}

/// Serves the operations listener until `shutdown` completes, with the gateway's own care for slow
/// and malformed clients.
pub async fn serve_operations<B: OperationsBackend>(
    listener: TcpListener,
    limits: Limits,
    backend: B,
    shutdown: impl Future<Output = ()>,
) {
    let quota = Arc::new(Quota::default());
    let server = Server {
        answers: Operations(router(backend)),
        limits: Arc::new(limits),
        counters: Counters::new(quota.clone()),
        quota,
        tls: None,
    };
    server.serve(listener, shutdown).await;
}

/// The pages of the operations listener.
pub fn router<B: OperationsBackend>(backend: B) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz::<B>))
        .route("/metrics", get(metrics::<B>))
        .route("/status", get(status::<B>))
        .route("/ui", get(async || ui::page()))
        .route("/ui/{file}", get(page_file))
        .route(&format!("{PREFIX}{{*page}}"), get(published::<B>))
        .route("/fault", post(set_fault::<B>).delete(clear_fault::<B>))
        .fallback(async || no_page())
        .layer(middleware::from_fn(refuse_pages))
        .with_state(backend)
}

/// The most bytes that a fault is written in.
const FAULT_BYTES_MAX: usize = 4096;

/// How long they may take.
const FAULT_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Operations(Router);

impl Answers for Operations {
    type Content = Body;

    async fn answer(&self, line: Arc<Line>, request: http::Request<Incoming>) -> Response {
        if request.uri().path() == "*"
            && let Some(refusal) = line.refused.take()
        {
            return refused(&refusal);
        }
        let Ok(response) = self.0.clone().oneshot(request).await;
        response
    }
}

async fn readyz<B: OperationsBackend>(State(backend): State<B>) -> Response {
    match backend.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => refused(&codes::NOT_READY.refusal(reason)),
    }
}

async fn metrics<B: OperationsBackend>(State(backend): State<B>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], backend.metrics_text()).into_response()
}

async fn status<B: OperationsBackend>(State(backend): State<B>) -> Response {
    match serde_json::to_vec(&backend.status().await) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => refused(&codes::NOT_READY.refusal(error.to_string())),
    }
}

async fn page_file(Path(name): Path<String>) -> Response {
    ui::file(&name).unwrap_or_else(no_page)
}

/// The policy and the log, for the page.
async fn published<B: OperationsBackend>(
    State(backend): State<B>,
    Path(path): Path<String>,
) -> Response {
    let what = match Page::of(&path) {
        Ok(Page::Fetch(Fetch::Proof(_) | Fetch::Exchange(_)) | Page::Status | Page::Ready) => {
            return no_page();
        }
        Ok(Page::Fetch(what)) => what,
        Err(refusal) => return refused(&refusal),
    };
    match backend.published(what).await {
        Ok(Fetched { content_type, body }) => {
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CACHE_CONTROL, "no-cache"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, body).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

fn no_page() -> Response {
    refused(&codes::NOT_FOUND.refusal("there is no such page"))
}

async fn set_fault<B: OperationsBackend>(State(backend): State<B>, request: Request) -> Response {
    // A page may send other types across origins without asking first.
    let kind = request.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
        return refused(&codes::FAULT_MALFORMED.refusal("the content is not application/json"));
    }
    let body = match content(request.into_body()).await {
        Ok(body) => body,
        Err(refusal) => return refused(&refusal),
    };
    match serde_json::from_slice(&body) {
        Ok(fault) => done(backend.set_fault(Some(fault)).await),
        Err(error) => refused(&codes::FAULT_MALFORMED.refusal(error.to_string())),
    }
}

/// The content of a request, which is small and comes at once.
async fn content(body: Body) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > FAULT_BYTES_MAX as u64 {
        return Err(codes::BODY_TOO_LARGE.refusal("a fault needs a few bytes"));
    }
    match timeout(FAULT_TIME_MAX, to_bytes(body, FAULT_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(codes::BODY_TOO_LARGE.refusal("the content is too large, or broke off")),
        Err(_) => Err(codes::BODY_TIMEOUT.refusal("the content did not arrive in time")),
    }
}

async fn clear_fault<B: OperationsBackend>(State(backend): State<B>) -> Response {
    done(backend.set_fault(None).await)
}

fn done(result: Result<(), Refusal>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let (response, body) = problem(refusal);
    response.map(|()| Body::from(body))
}

/// Refuses changes that a web page could have asked for, and words what the router refuses.
async fn refuse_pages(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(http::uri::Authority::as_str).or(named);
    let page = headers.contains_key(header::ORIGIN) || !host.is_some_and(is_local_or_numeric);
    if page && !reads {
        let detail = "this listener obeys no web pages; name it by its address or as localhost";
        return refused(&codes::FAULTS_REFUSED.refusal(detail));
    }
    let allowed = if request.uri().path() == "/fault" { "POST, DELETE" } else { "GET, HEAD" };
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let detail = format!("this page is for {allowed}");
    let mut refused = refused(&codes::METHOD_NOT_ALLOWED.refusal(detail));
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    refused
}

/// Whether a `Host` is `localhost` or an address: nobody else's DNS can point a page at it.
fn is_local_or_numeric(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_one_form_in_json() {
        for (fault, json) in [
            (Fault::CorruptResponses, r#"{"fault":"corrupt-responses"}"#),
            (Fault::Mute, r#"{"fault":"mute"}"#),
            (Fault::Delay { ms: 250 }, r#"{"fault":"delay","ms":250}"#),
            (Fault::Equivocate, r#"{"fault":"equivocate"}"#),
            (Fault::Replay, r#"{"fault":"replay"}"#),
        ] {
            assert_eq!(serde_json::to_string(&fault).unwrap(), json);
            assert_eq!(serde_json::from_str::<Fault>(json).unwrap(), fault);
        }
        assert!(serde_json::from_str::<Fault>(r#"{"fault":"delay"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"fault":"sleep"}"#).is_err());
    }

    #[test]
    fn a_page_cannot_name_the_listener() {
        for host in ["localhost", "LOCALHOST:7500", "127.0.0.1:7500", "[::1]:7500", "10.1.2.3"] {
            assert!(is_local_or_numeric(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:7500", "localhost.evil.example", "[x]:1"] {
            assert!(!is_local_or_numeric(host), "{host}");
        }
    }
}
