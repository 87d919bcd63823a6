//! What every listener for clients does with a request before anybody is asked: looks at its head,
//! counts it, reads it whole. And how it refuses.

use crate::{
    admission::{self, Admission, Passing},
    answer::Writer,
    codes,
    config::{ConfigError, GatewayConfig},
    counters::Counters,
    limits::Limits,
    line::{Answers, Line, Turn},
    quota::{ContentBytes, Quota},
    server::Server,
    tls::Tls,
};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Response, Version,
    header::{CONNECTION, EXPECT, ORIGIN},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use quorate_types::{Refusal, Request};
use std::{future::Future, sync::Arc, time::Duration};

/// How much content of a refused request is passed over, and for how long, to keep a connection.
const SKIP_BYTES_MOST: u64 = 64 << 10;
const SKIP_TIME_MOST: Duration = Duration::from_millis(50);

/// An answer's head with its content beside it, and the turn that it ends.
pub(crate) type Answered = (Response<()>, Bytes, Option<Turn>);

/// What becomes of a request by its head alone.
pub(crate) enum Opened {
    /// It is answered.
    Answered(Answered),
    /// It has its turn.
    Turn(Turn),
}

/// See the module.
pub(crate) struct Reception {
    admission: Admission,
    pub(crate) writer: Writer,
    pub(crate) limits: Arc<Limits>,
    quota: Arc<Quota>,
    pub(crate) counters: Counters,
}

impl Reception {
    /// A reception by a configuration, passing on these fields.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that cannot work.
    pub(crate) fn new(config: &GatewayConfig, passing: Passing) -> Result<Self, ConfigError> {
        config.check()?;
        let quota = Arc::new(Quota::default());
        Ok(Self {
            admission: Admission::new(config, passing),
            writer: Writer::new(config),
            limits: Arc::new(config.limits.clone()),
            counters: Counters::new(quota.clone()),
            quota,
        })
    }

    /// The listener's loop for whoever answers behind this reception; without a certificate it
    /// speaks plain HTTP.
    pub(crate) fn server<A: Answers>(&self, answers: A, tls: Option<Tls>) -> Server<A> {
        Server {
            answers,
            tls,
            limits: self.limits.clone(),
            quota: self.quota.clone(),
            counters: self.counters.clone(),
        }
    }

    /// Decides by the head: a refusal, an answer, or a turn.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) fn open(&self, line: &Arc<Line>, head: &Parts) -> Result<Opened, Refusal> {
        // The guard's stand-in for a head that it refused.
        if head.uri.path() == "*"
            && let Some(refusal) = line.refused.take()
        {
            return Err(refusal);
        }
        self.admission.check(head)?;
        if admission::is_preflight(head) {
            let response = self.writer.preflight(head.headers.get(ORIGIN));
            return Ok(Opened::Answered((response, Bytes::new(), None)));
        }
        Ok(Opened::Turn(line.begin()?))
    }

    /// The request, its content read whole.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) async fn request(
        &self,
        head: &Parts,
        content: &mut Incoming,
        held: &mut ContentBytes,
    ) -> Result<Request, Refusal> {
        let draft = self.admission.draft(head)?;
        let content = self.read(head, content, held).await?;
        draft.with_content(content)
    }

    /// Writes what came of a request.
    pub(crate) async fn finish(
        &self,
        result: Result<Answered, Refusal>,
        head: &Parts,
        content: &mut Incoming,
    ) -> Response<Full<Bytes>> {
        let (response, bytes, turn) = match result {
            Ok(answered) => answered,
            Err(refusal) => self.refuse(&refusal, head, content).await,
        };
        let bytes = match turn {
            Some(turn) => turn.answer(bytes),
            None => bytes,
        };
        response.map(|()| Full::new(bytes))
    }

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
}

/// Waits for what was asked on a request's behalf.
///
/// An HTTP/2 client may reset its stream and open another at no cost: the request goes on, and so
/// must its turn, or nothing would bound how much one client has in progress.
///
/// # Errors
/// The refusal that was the answer.
pub(crate) async fn outlast<T: Send + 'static>(
    version: Version,
    turn: Turn,
    held: ContentBytes,
    asking: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<(T, Turn), Refusal> {
    let going_on = async move { asking.await.map(|answer| (answer, turn, held)) };
    let ended = if version == Version::HTTP_2 {
        tokio::spawn(going_on).await.map_err(|error| {
            codes::NOT_READY.refusal(format!("the task of this request failed: {error}"))
        })?
    } else {
        going_on.await
    };
    ended.map(|(answer, turn, _)| (answer, turn))
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
