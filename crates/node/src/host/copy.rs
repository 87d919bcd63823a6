//! This replica's copy of the service, spoken to in HTTP/1.1.
//!
//! One call at a time, each within its time, none of them twice: a request that the copy may have
//! read is never sent again, since it may have been executed. A connection is used again while it
//! is fresh; one that the copy closed meanwhile is replaced as long as nothing was written to it.
//!
//! The copy sees the covered parts of the request and what all replicas agreed on about it. Of its
//! answer only the covered parts are kept. What no proof can cover is still an answer: the replica
//! says so in its place, the same at all replicas, and the copies stay in step.

use super::{
    json,
    line::{Line, read_whole},
    listener::listeners,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, response::Parts};
use http_body_util::Full;
use quorate_client::Endpoint;
use quorate_gateway::leads_to;
use quorate_proof::Coverage;
use quorate_types::{Call, Request, Response};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// A status that no exchange holds, so that the replica puts its own word in the answer's place.
const UNCOVERABLE: u16 = 0;

/// How a copy is called. But for the time, equal at all replicas.
#[derive(Clone, Debug)]
pub struct Rules {
    /// NAME, which the copy sees as its host.
    pub authority: String,
    /// Which fields of its answers are kept.
    pub coverage: Coverage,
    /// Fields that are dropped all the same, in lower case.
    pub volatile: Vec<String>,
    /// Whether JSON contents are put into one spelling.
    pub canonical_json: bool,
    /// The longest content of an answer, in bytes.
    pub body_max: usize,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// Paths of the copy that are the replica's own, and no client's.
    pub own_paths: Vec<String>,
}

/// Why a copy gave no answer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NoAnswer {
    /// No connection: nothing was sent.
    #[error("the copy cannot be reached: {0}")]
    Unreachable(String),
    /// The answer was not whole in time.
    #[error("the copy gave no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection ended before the answer did.
    #[error("the copy broke the connection off: {0}")]
    Broken(String),
    /// What came is not HTTP.
    #[error("the copy answered with something that is not HTTP: {0}")]
    Garbage(String),
}

impl NoAnswer {
    /// A stable code that `quorate explain` knows.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "copy-unreachable",
            Self::TimedOut(_) => "copy-timed-out",
            Self::Broken(_) => "copy-broke-off",
            Self::Garbage(_) => "copy-garbage",
        }
    }

    /// Whether the copy may have seen the request.
    pub(crate) fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }
}

impl From<hyper::Error> for NoAnswer {
    fn from(error: hyper::Error) -> Self {
        let reason = super::line::deepest(&error);
        if error.is_parse() { Self::Garbage(reason) } else { Self::Broken(reason) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct OwnCopy {
    at: Endpoint,
    rules: Rules,
    /// A content of one byte too many, which stands for every content that is too long.
    too_long: Bytes,
    line: Option<Line>,
}

impl OwnCopy {
    /// A copy to which nothing was said yet.
    #[must_use]
    pub fn new(at: Endpoint, rules: Rules) -> Self {
        let too_long = vec![0; rules.body_max.saturating_add(1)].into();
        Self { at, rules, too_long, line: None }
    }

    /// Has the copy execute one request.
    ///
    /// # Errors
    /// [`NoAnswer`]: what the copy holds may be unknown then.
    pub async fn call(&mut self, call: &Call) -> Result<Response, NoAnswer> {
        if leads_to(&self.rules.own_paths, &call.request.path) {
            let detail = "the path is the replica's own way to its copy of the service";
            return Ok(Response::problem(403, "copy-own-path", detail));
        }
        let Some(message) = self.message(call) else {
            let detail = "the request cannot be written in HTTP/1.1 to the service's copies";
            return Ok(Response::problem(400, "copy-request-unwritable", detail));
        };
        let within = self.rules.call_timeout;
        // A line that is not put back is closed, also when the time is over.
        let line = self.line.take();
        let deadline = Instant::now() + within;
        let line = Line::fresh(line, &self.at, deadline).await.map_err(NoAnswer::Unreachable)?;
        timeout_at(deadline, self.exchange(line, message, deadline))
            .await
            .unwrap_or(Err(NoAnswer::TimedOut(within)))
    }

    /// A content that is too long, for the replica to refuse.
    pub(crate) fn too_long(&self) -> Bytes {
        self.too_long.clone()
    }

    /// The sockets that listen where the next call would have to connect anew; `None` where it
    /// would not, or where none can be seen.
    pub(super) fn listeners(&self) -> Option<Vec<u64>> {
        let is_connected = self.line.as_ref().is_some_and(Line::is_fresh);
        if is_connected { None } else { listeners(&self.at) }
    }

    /// Closes the connection.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    async fn exchange(
        &mut self,
        mut line: Line,
        message: http::Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response, NoAnswer> {
        let is_head = message.method() == Method::HEAD;
        let sent = line.send(message).await?;
        let response = match sent {
            Ok(response) => response,
            // Nothing of it was written, so that this is the first time it is sent.
            Err(unsent) => {
                line =
                    Line::fresh(None, &self.at, deadline).await.map_err(NoAnswer::Unreachable)?;
                line.send(unsent).await?.map_err(|_| {
                    NoAnswer::Unreachable("the connection was closed at once".to_owned())
                })?
            }
        };
        let (head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS || is_encoded(&head.headers) {
            return Ok(Response::new(UNCOVERABLE));
        }
        let content = read_whole(body, self.rules.body_max).await?;
        let has_content = !is_head && !matches!(head.status.as_u16(), 204 | 304);
        match content {
            Some(content) => {
                self.line = Some(line);
                let content = if has_content { content } else { Bytes::new() };
                Ok(self.answer(&head, content))
            }
            // What is left of it is not worth reading, so the connection goes.
            None => Ok(self.answer(&head, self.too_long.clone())),
        }
    }

    /// The covered parts of an answer.
    fn answer(&self, head: &Parts, body: Bytes) -> Response {
        let mut answer = Response { status: head.status.as_u16(), fields: Vec::new(), body };
        for name in self.rules.coverage.response_fields() {
            let dropped = self.rules.volatile.iter().any(|volatile| volatile == name);
            if !dropped && name != "quorate-covers" {
                push_field(&mut answer, name, &head.headers);
            }
        }
        let is_json = || head.headers.get(header::CONTENT_TYPE).is_some_and(is_json);
        if self.rules.canonical_json
            && is_json()
            && let Some(canonical) = json::canonical(&answer.body)
        {
            answer.body = canonical;
        }
        answer
    }

    /// The request as the copy sees it; `None` for one that HTTP/1.1 cannot carry.
    fn message(&self, call: &Call) -> Option<http::Request<Full<Bytes>>> {
        let Request { method, path, query, fields, body, .. } = &*call.request;
        let target = if query == "?" { path.clone() } else { format!("{path}{query}") };
        let mut builder = http::Request::builder()
            .method(method.as_str())
            .uri(target.as_str())
            .header(header::HOST, self.rules.authority.as_str())
            .header(header::ACCEPT_ENCODING, "identity")
            .header("quorate-index", call.index.0)
            .header("quorate-time", call.time.0)
            .header("quorate-seed", call.seed.to_string());
        for (name, value) in fields {
            builder = builder.header(name.as_str(), value.as_str());
        }
        if !body.is_empty() || matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
            builder = builder.header(header::CONTENT_LENGTH, body.len());
        }
        let message = builder.body(Full::new(body.clone())).ok()?;
        // The copy must see the target byte for byte, in origin form and no other.
        let kept = message.uri().path_and_query().is_some_and(|kept| kept.as_str() == target);
        (kept && message.uri().authority().is_none() && *method != "CONNECT").then_some(message)
    }
}

/// Adds a covered field. Lists that stand in several lines become one; what may stand only once is
/// left as it is, for the replica to refuse.
fn push_field(answer: &mut Response, name: &str, headers: &HeaderMap) {
    let mut values = headers.get_all(name).iter().map(|value| {
        // Bytes outside ASCII as the characters of the same number: no exchange covers either.
        let text: String = value.as_bytes().iter().copied().map(char::from).collect();
        text.trim_matches([' ', '\t']).to_owned()
    });
    if matches!(name, "set-cookie" | "content-type" | "etag" | "location") {
        answer.fields.extend(values.map(|value| (name.to_owned(), value)));
    } else if let Some(first) = values.next() {
        let joined = values.fold(first, |joined, value| joined + ", " + &value);
        answer.fields.push((name.to_owned(), joined));
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii();
        value.is_empty() || value.eq_ignore_ascii_case(b"identity")
    };
    !headers.get_all(header::CONTENT_ENCODING).iter().all(plain)
}

fn is_json(content_type: &HeaderValue) -> bool {
    let Ok(value) = content_type.to_str() else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}

#[cfg(test)]
mod tests;
