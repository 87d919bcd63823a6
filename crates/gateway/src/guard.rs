//! A socket that lets only well-framed requests through, in time.
//!
//! It stands between the socket and the HTTP library. Of HTTP/1 it holds every request head back
//! until the head is whole and examined, follows the content to its end, and keeps the clocks:
//! the header time-out, the idle time-out, the time-out for a client that takes no bytes. A head
//! that is refused is replaced by [`REFUSED`], a request that no client can send through here, and
//! the refusal waits in [`Refused`] for the service to answer it as a problem document. HTTP/2 has
//! its own framing and passes untouched.

use crate::{
    codes,
    framing::{self, ChunkTrail, Content, HeadScan},
    limits::Limits,
};
use bytes::{Buf, BytesMut};
use quorate_types::Refusal;
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How an HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What stands for a refused head. The guard itself lets no asterisk through.
const REFUSED: &[u8] = b"OPTIONS * HTTP/1.1\r\nconnection: close\r\n\r\n";

/// The same for a `HEAD` request, whose answer has no content.
const REFUSED_HEAD: &[u8] = b"HEAD * HTTP/1.1\r\nconnection: close\r\n\r\n";

/// How much is read at once: of a head, and at most of content.
const READ_HEAD_BYTES: usize = 4 << 10;
const READ_BYTES_MOST: usize = 64 << 10;

/// How long, and for how many bytes, a closed connection still swallows what the client sends, so
/// that the client reads the last answer instead of a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 8 << 20;

/// The refusal that a connection's guard left for its service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused(Arc<Mutex<Option<Refusal>>>);

impl Refused {
    /// Takes the refusal.
    pub(crate) fn take(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// The guarded socket.
pub(crate) struct Guard<S> {
    socket: S,
    limits: Arc<Limits>,
    refused: Refused,
    /// Bytes read, of which the library may have the first `passed`.
    bytes: BytesMut,
    passed: usize,
    stage: Stage,
    reading: Clock<Waiting>,
    writing: Clock<()>,
    linger: Linger,
}

enum Stage {
    /// Nothing decided yet: the first bytes tell HTTP/2 from HTTP/1.
    First,
    Head(HeadScan),
    Bytes(u64),
    Chunks(ChunkTrail),
    /// HTTP/2.
    Transparent,
    /// Nothing more is read.
    Ended,
}

/// What a reading clock runs for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Waiting {
    Start,
    Next,
    RestOfHead,
}

enum Linger {
    Open,
    Swallowing { left: usize, until: Pin<Box<Sleep>> },
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    pub(crate) fn new(socket: S, limits: Arc<Limits>, refused: Refused) -> Self {
        Self {
            socket,
            limits,
            refused,
            bytes: BytesMut::new(),
            passed: 0,
            stage: Stage::First,
            reading: Clock::default(),
            writing: Clock::default(),
            linger: Linger::Open,
        }
    }

    /// Advances by the bytes at hand; `false` when it takes more of them.
    fn advance(&mut self) -> bool {
        match &mut self.stage {
            Stage::First if self.bytes.is_empty() => return false,
            Stage::First if self.bytes.starts_with(PREFACE) => {
                self.passed = self.bytes.len();
                self.stage = Stage::Transparent;
            }
            Stage::First if PREFACE.starts_with(&self.bytes) => return false,
            Stage::First => self.stage = Stage::Head(HeadScan::default()),
            Stage::Head(scan) => match scan.advance(&self.bytes, &self.limits) {
                Ok(None) => return false,
                Ok(Some(length)) => self.judge(length),
                Err(refusal) => self.refuse(refusal),
            },
            Stage::Bytes(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.bytes.len());
                self.passed = here;
                *left -= here as u64;
                if *left == 0 {
                    self.stage = Stage::Head(HeadScan::default());
                }
                return here > 0;
            }
            Stage::Chunks(trail) => match trail.advance(&self.bytes) {
                Ok(used) => {
                    self.passed = used;
                    if trail.is_done() {
                        self.stage = Stage::Head(HeadScan::default());
                    }
                    return used > 0;
                }
                // The library sees content that ends early, and the service says so.
                Err(framing::BadChunk) => self.stage = Stage::Ended,
            },
            Stage::Transparent | Stage::Ended => return false,
        }
        true
    }

    fn judge(&mut self, length: usize) {
        self.reading.stop_unless(None);
        match framing::examine(&self.bytes[..length], &self.limits) {
            Ok(content) => {
                self.passed = length;
                self.stage = match content {
                    Content::Bytes(0) => Stage::Head(HeadScan::default()),
                    Content::Bytes(bytes) => Stage::Bytes(bytes),
                    Content::Chunks => Stage::Chunks(ChunkTrail::new()),
                };
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let stand_in = if self.bytes.starts_with(b"HEAD ") { REFUSED_HEAD } else { REFUSED };
        self.refused.put(refusal);
        self.bytes.clear();
        self.bytes.extend_from_slice(stand_in);
        self.passed = stand_in.len();
        self.stage = Stage::Ended;
    }

    /// What the clock runs for now, if it does.
    fn waiting(&self) -> Option<(Waiting, Duration)> {
        match &self.stage {
            Stage::First if self.bytes.is_empty() => {
                Some((Waiting::Start, self.limits.header_timeout()))
            }
            Stage::Head(_) if self.bytes.is_empty() => {
                Some((Waiting::Next, self.limits.idle_timeout()))
            }
            Stage::First | Stage::Head(_) => {
                Some((Waiting::RestOfHead, self.limits.header_timeout()))
            }
            _ => None,
        }
    }

    /// Reads more, or ends the wait for it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bytes.reserve(match self.stage {
            Stage::Bytes(left) => usize::try_from(left)
                .unwrap_or(READ_BYTES_MOST)
                .clamp(READ_HEAD_BYTES, READ_BYTES_MOST),
            Stage::Chunks(_) => READ_BYTES_MOST,
            _ => READ_HEAD_BYTES,
        });
        let read = pin!(self.socket.read_buf(&mut self.bytes)).poll(cx);
        if let Poll::Ready(read) = read {
            self.reading.stop_unless(self.waiting().map(|(waiting, _)| waiting));
            if read? == 0 {
                self.stage = Stage::Ended;
                self.bytes.clear();
            }
            return Poll::Ready(Ok(()));
        }
        let Some((waiting, patience)) = self.waiting() else {
            return Poll::Pending;
        };
        ready!(self.reading.poll(cx, waiting, patience));
        match waiting {
            Waiting::Start | Waiting::Next => self.stage = Stage::Ended,
            Waiting::RestOfHead => {
                let detail = format!("no whole request head within {} ms", patience.as_millis());
                self.refuse(codes::HEADER_TIMEOUT.refusal(detail));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes, or gives up on a client that has taken no byte for too long.
    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.socket), cx) {
            self.writing.stop_unless(None);
            return Poll::Ready(written);
        }
        ready!(self.writing.poll(cx, (), self.limits.write_timeout()));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed > 0 {
                let here = this.passed.min(out.remaining());
                out.put_slice(&this.bytes[..here]);
                this.bytes.advance(here);
                this.passed -= here;
                return Poll::Ready(Ok(()));
            }
            match this.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Transparent => return Pin::new(&mut this.socket).poll_read(cx, out),
                _ => {
                    if !this.advance() {
                        ready!(this.fill(cx))?;
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_written(cx, |socket, cx| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_written(cx, |socket, cx| socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.linger {
                Linger::Open => {
                    ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
                    let until = Box::pin(tokio::time::sleep(LINGER));
                    this.linger = Linger::Swallowing { left: LINGER_BYTES, until };
                }
                Linger::Swallowing { left, until } => {
                    this.bytes.clear();
                    this.bytes.reserve(READ_BYTES_MOST);
                    let over = until.as_mut().poll(cx).is_ready();
                    match pin!(this.socket.read_buf(&mut this.bytes)).poll(cx) {
                        _ if over => this.linger = Linger::Closed,
                        Poll::Ready(Ok(read @ 1..)) if read < *left => *left -= read,
                        Poll::Ready(_) => this.linger = Linger::Closed,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Linger::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// A timer that is made when first needed and armed anew for each wait.
struct Clock<W> {
    sleep: Option<Pin<Box<Sleep>>>,
    runs_for: Option<W>,
}

impl<W> Default for Clock<W> {
    fn default() -> Self {
        Self { sleep: None, runs_for: None }
    }
}

impl<W: Copy + PartialEq> Clock<W> {
    /// Ready when the wait, begun at the first such call, has lasted for `patience`.
    fn poll(&mut self, cx: &mut Context<'_>, wait: W, patience: Duration) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if self.runs_for != Some(wait) {
            sleep.as_mut().reset(Instant::now() + patience);
            self.runs_for = Some(wait);
        }
        ready!(sleep.as_mut().poll(cx));
        self.runs_for = None;
        Poll::Ready(())
    }

    /// Ends the wait, unless it goes on.
    fn stop_unless(&mut self, wait: Option<W>) {
        if self.runs_for != wait {
            self.runs_for = None;
        }
    }
}
