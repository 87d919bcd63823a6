//! One connection: what its requests share, and the loop that serves it.

use crate::{
    guard::{Guard, Refused},
    limits::Limits,
    quota::{Connected, ContentBytes, InFlight},
    tls::Tls,
};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use quorate_types::Refusal;
use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::Instant,
};

/// Who answers the requests of a connection.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// The content of its answers.
    type Content: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one request. Every failure is an answer too.
    fn answer(
        &self,
        line: Arc<Line>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Content>> + Send;
}

/// What the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) refused: Refused,
    pub(crate) limits: Arc<Limits>,
    connected: Connected,
    /// Requests begun so far, and those of them in progress.
    begun: AtomicU64,
    open: AtomicUsize,
    answers: Answering,
}

impl Line {
    pub(crate) fn new(limits: Arc<Limits>, connected: Connected) -> Self {
        Self {
            refused: Refused::default(),
            limits,
            connected,
            begun: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            answers: Answering::default(),
        }
    }

    /// A turn for one request, unless too much is in progress.
    ///
    /// # Errors
    /// 429 or 503.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Turn, Refusal> {
        let in_flight = self.connected.begin(&self.limits)?;
        self.begun.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Ok(Turn { line: self.clone(), in_flight, generation: None })
    }
}

/// A request in progress, until the last byte of its answer was handed to the socket.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Arc<Line>,
    in_flight: InFlight,
    generation: Option<usize>,
}

impl Turn {
    /// An account for the request's content.
    pub(crate) fn content(&self) -> ContentBytes {
        self.in_flight.content()
    }

    /// Ties the turn to the content of its answer: it ends when nobody holds these bytes any more,
    /// which for HTTP/2 is after the client's flow control let them go.
    pub(crate) fn answer(mut self, content: Bytes) -> Bytes {
        if content.is_empty() {
            return content;
        }
        self.generation = Some(self.line.answers.begin());
        Bytes::from_owner(Answer { content, _turn: self })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.open.fetch_sub(1, Relaxed);
        if let Some(generation) = self.generation {
            self.line.answers.end(generation);
        }
    }
}

struct Answer {
    content: Bytes,
    _turn: Turn,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

/// Answers that clients have not taken yet, by the tick at which they were ready. Three generations
/// are enough to find one that is older than a whole tick.
#[derive(Debug, Default)]
struct Answering {
    now: AtomicUsize,
    open: [AtomicUsize; 3],
}

impl Answering {
    fn begin(&self) -> usize {
        let generation = self.now.load(Relaxed);
        self.open[generation % 3].fetch_add(1, Relaxed);
        generation
    }

    fn end(&self, generation: usize) {
        self.open[generation % 3].fetch_sub(1, Relaxed);
    }

    /// Moves on by a tick; whether an answer is older than a whole one.
    fn tick(&self) -> bool {
        let next = self.now.load(Relaxed).wrapping_add(1);
        let stuck = self.open[next % 3].load(Relaxed) > 0;
        if !stuck {
            self.now.store(next, Relaxed);
        }
        stuck
    }
}

/// The library's settings for all connections of a listener.
pub(crate) fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new()).title_case_headers(true);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The guard keeps the time of heads, answers 408 and spares idle connections; this clock
        // would cost each request a timer and end connections without a word.
        .header_read_timeout(None)
        .half_close(true)
        .max_buf_size(limits.head_bytes_max.max(64 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        // Above the head's own limit, so that a head between the two gets a problem document.
        .max_header_list_size(u32::try_from(limits.head_bytes_max * 4).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .keep_alive_interval(limits.idle_timeout() / 2)
        .keep_alive_timeout(limits.header_timeout());
    builder
}

/// Serves one connection to its end, where there is a certificate behind a handshake that may take
/// as long as a request's head.
pub(crate) async fn begin<A: Answers>(
    tls: Option<Tls>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    answers: A,
    socket: TcpStream,
    line: Arc<Line>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(tls) = tls else { return serve(builder, answers, socket, line, stop).await };
    let handshake = tokio::time::timeout(line.limits.header_timeout(), tls.accept(socket));
    let socket = tokio::select! {
        shaken = handshake => match shaken {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                return;
            }
            Err(_) => return,
        },
        _ = stop.wait_for(|&stop| stop) => return,
    };
    serve(builder, answers, socket, line, stop).await;
}

/// Serves one connection to its end, over whatever carries it.
async fn serve<A: Answers, S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    builder: Arc<auto::Builder<TokioExecutor>>,
    answers: A,
    socket: S,
    line: Arc<Line>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = line.limits.clone();
    let guard = Guard::new(socket, limits.clone(), line.refused.clone());
    let shared = line.clone();
    let service = service_fn(move |request| {
        let (answers, line) = (answers.clone(), shared.clone());
        async move { Ok::<_, Infallible>(answers.answer(line, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service));
    let mut watch = Watch::new(&limits);
    let mut closing = false;
    loop {
        tokio::select! {
            done = connection.as_mut() => {
                if let Err(error) = done {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            _ = stop.wait_for(|&stop| stop), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(watch.next) => match watch.tick(&line, closing) {
                Seen::Alive => {}
                Seen::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                Seen::Stuck => return,
            },
        }
    }
}

/// Looks after a connection from outside, for what no socket's clock sees: HTTP/2 connections
/// without requests, and streams whose answer nobody takes.
struct Watch {
    next: Instant,
    period: Duration,
    answers_due: Instant,
    write_timeout: Duration,
    idle_timeout: Duration,
    idle_since: Instant,
    begun: u64,
}

enum Seen {
    Alive,
    Idle,
    Stuck,
}

impl Watch {
    fn new(limits: &Limits) -> Self {
        let (idle_timeout, write_timeout) = (limits.idle_timeout(), limits.write_timeout());
        let period = idle_timeout.min(write_timeout).max(Duration::from_millis(10));
        let now = Instant::now();
        Self {
            next: now + period,
            period,
            answers_due: now + write_timeout,
            write_timeout,
            idle_timeout,
            idle_since: now,
            begun: 0,
        }
    }

    fn tick(&mut self, line: &Line, closing: bool) -> Seen {
        let now = self.next;
        self.next += self.period;
        if now >= self.answers_due {
            self.answers_due = now + self.write_timeout;
            if line.answers.tick() {
                return Seen::Stuck;
            }
        }
        let begun = line.begun.load(Relaxed);
        if begun != self.begun || line.open.load(Relaxed) > 0 {
            (self.begun, self.idle_since) = (begun, now);
            return Seen::Alive;
        }
        match now.duration_since(self.idle_since) >= self.idle_timeout {
            true if closing => Seen::Stuck,
            true => {
                self.idle_since = now;
                Seen::Idle
            }
            false => Seen::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_stuck_when_it_is_older_than_a_whole_tick() {
        let answering = Answering::default();
        let first = answering.begin();
        assert!(!answering.tick());
        let second = answering.begin();
        assert!(!answering.tick());
        assert!(answering.tick());
        answering.end(first);
        assert!(!answering.tick());
        assert!(answering.tick());
        answering.end(second);
        assert!((0..9).all(|_| !answering.tick()));
    }
}
