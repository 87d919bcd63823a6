//! One connection to the copy.

use super::copy::NoAnswer;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use quorate_client::{Endpoint, Url};
use std::{error::Error, time::Duration};
use tokio::{
    net::TcpStream,
    task::{JoinSet, yield_now},
    time::{Instant, timeout_at},
};

/// How long a connection may lie idle and still be used: less than after what servers close one,
/// since a request that meets a closing connection counts as one that may have been executed.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The head of an answer, in bytes, at most: more than any exchange holds.
const HEAD_BYTES_MAX: usize = 128 << 10;

/// See the module. Closed when it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    used: Instant,
    _connection: JoinSet<()>,
}

impl Line {
    /// The old line if it can still be used, else a new one, or the reason why there is none.
    pub(super) async fn fresh(
        old: Option<Self>,
        at: &Endpoint,
        deadline: Instant,
    ) -> Result<Self, String> {
        // Lets the connection see whether the copy has closed it.
        yield_now().await;
        if let Some(line) = old.filter(|line| line.is_fresh()) {
            return Ok(line);
        }
        timeout_at(deadline, Self::open(at))
            .await
            .unwrap_or_else(|_| Err("it takes no connection in time".to_owned()))
    }

    /// Whether a call would go over this very connection.
    pub(super) fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && self.sender.is_ready() && self.used.elapsed() < IDLE_MAX
    }

    async fn open(at: &Endpoint) -> Result<Self, String> {
        let socket = TcpStream::connect(at.address()).await.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let (mut sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| deepest(&error))?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Whoever waits for an answer is told the error, too.
            let _ = connection.await;
        });
        sender.ready().await.map_err(|error| deepest(&error))?;
        Ok(Self { sender, used: Instant::now(), _connection: task })
    }

    /// Sends a message; gives it back when nothing of it was written.
    pub(super) async fn send(
        &mut self,
        message: http::Request<Full<Bytes>>,
    ) -> Result<Result<http::Response<Incoming>, http::Request<Full<Bytes>>>, hyper::Error> {
        let sent = self.sender.try_send_request(message).await;
        self.used = Instant::now();
        match sent {
            Ok(response) => Ok(Ok(response)),
            Err(mut failed) => match failed.take_message() {
                Some(unsent) => Ok(Err(unsent)),
                None => Err(failed.into_error()),
            },
        }
    }
}

/// What a copy said to its own replica.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    /// Empty where it said none.
    pub(super) content_type: String,
    /// `None` for one that is too long.
    pub(super) content: Option<Bytes>,
}

/// Sends a `POST` without content, on a connection of its own, and tells the answer's status.
pub(super) async fn post(url: &Url) -> Result<StatusCode, NoAnswer> {
    let (_line, response) = send(Method::POST, url, "", Bytes::new()).await?;
    Ok(response.status())
}

/// Fetches what a URL holds, on a connection of its own.
pub(super) async fn fetch(url: &Url, bytes_max: usize) -> Result<Told, NoAnswer> {
    let (_line, response) = send(Method::GET, url, "", Bytes::new()).await?;
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content = read_whole(body, bytes_max).await?;
    Ok(Told { status: head.status, content_type: content_type.to_owned(), content })
}

/// Sends a `PUT`, on a connection of its own, and tells the answer's status.
pub(super) async fn put(
    url: &Url,
    content_type: &str,
    content: Bytes,
) -> Result<StatusCode, NoAnswer> {
    let (_line, response) = send(Method::PUT, url, content_type, content).await?;
    Ok(response.status())
}

async fn send(
    method: Method,
    url: &Url,
    content_type: &str,
    content: Bytes,
) -> Result<(Line, http::Response<Incoming>), NoAnswer> {
    let query = if url.query == "?" { "" } else { &url.query };
    let mut message = http::Request::builder()
        .uri(format!("{}{query}", url.path))
        .header(header::HOST, url.endpoint.authority())
        .header(header::ACCEPT_ENCODING, "identity");
    if method != Method::GET {
        message = message.header(header::CONTENT_LENGTH, content.len());
    }
    if !content_type.is_empty() {
        message = message.header(header::CONTENT_TYPE, content_type);
    }
    let unwritable = |error: http::Error| NoAnswer::Unreachable(error.to_string());
    let message = message.method(method).body(Full::new(content)).map_err(unwritable)?;
    let mut line = Line::open(&url.endpoint).await.map_err(NoAnswer::Unreachable)?;
    match line.send(message).await? {
        Ok(response) => Ok((line, response)),
        Err(_) => Err(NoAnswer::Unreachable("the connection was closed at once".to_owned())),
    }
}

/// A content, read whole; `None` when it is too long.
pub(super) async fn read_whole(
    mut body: Incoming,
    bytes_max: usize,
) -> Result<Option<Bytes>, NoAnswer> {
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if content.len() + data.len() > bytes_max {
            return Ok(None);
        }
        content.extend_from_slice(&data);
    }
    Ok(Some(content.freeze()))
}

/// The innermost reason: what a person can act on.
pub(super) fn deepest(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}
