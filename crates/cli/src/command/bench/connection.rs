//! One keep-alive connection, and its loop.

use super::{
    load::{Load, host},
    tally::{Measured, Outcome},
};
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use quorate_client::{Authorities, Endpoint};
use quorate_proof::ReceivedResponse;
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

/// When requests are due, for all connections together.
pub(super) struct Pace {
    /// Between two requests; `None`: as soon as a connection is free.
    interval: Option<Duration>,
    begin: Instant,
    count_from: Instant,
    end: Instant,
    next: Cell<u64>,
}

impl Pace {
    /// Requests from `begin` to `end`, counted from `count_from` on.
    pub(super) fn new(
        rate: Option<u32>,
        begin: Instant,
        count_from: Instant,
        end: Instant,
    ) -> Self {
        let interval = rate.map(|rate| Duration::from_secs_f64(1.0 / f64::from(rate.max(1))));
        Self { interval, begin, count_from, end, next: Cell::new(0) }
    }

    /// Waits until the next request is due, and says when that was; `None` after the end.
    ///
    /// In an open loop the time is the schedule's, however late this connection comes for it:
    /// that is what corrects for coordinated omission.
    async fn next(&self) -> Option<Instant> {
        let Some(interval) = self.interval else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        let number = self.next.get();
        self.next.set(number + 1);
        let due = self.begin + interval.mul_f64(number as f64);
        if due >= self.end {
            return None;
        }
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
            // The timer's own lateness, of at most its resolution, is not the service's.
            return Some(Instant::now().min(due + Duration::from_millis(1)));
        }
        Some(due)
    }

    fn counts(&self, due: Instant) -> bool {
        due >= self.count_from
    }

    /// When the last answers are waited for no longer.
    fn give_up(&self, timeout: Duration) -> Instant {
        self.end + timeout.min(Duration::from_secs(10))
    }
}

/// A connection to one gateway, made anew when it breaks.
pub(super) struct Connection {
    place: usize,
    endpoint: Endpoint,
    authorities: Authorities,
    host: HeaderValue,
    load: Rc<Load>,
    timeout: Duration,
    judge: Judge,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What counts as an answer.
pub(super) enum Judge {
    /// One with a place in the log.
    Proven,
    /// Any other server's, below status 400, unless its content holds the telltale.
    Unproven {
        /// Empty for none.
        telltale: String,
    },
}

impl Judge {
    /// The code of what a response says instead of an answer.
    fn refusal(&self, head: &http::response::Parts, body: &[u8]) -> Option<String> {
        let status = head.status.as_u16();
        match self {
            Self::Proven => {
                (!head.headers.contains_key("quorate-index")).then(|| refusal_code(status, body))
            }
            Self::Unproven { .. } if status >= 400 => Some(refusal_code(status, body)),
            Self::Unproven { telltale } => {
                let told = !telltale.is_empty()
                    && body.windows(telltale.len()).any(|part| part == telltale.as_bytes());
                told.then(|| "telltale".to_owned())
            }
        }
    }
}

impl Connection {
    /// A connection to the target at this place of the list.
    pub(super) fn new(
        place: usize,
        endpoint: Endpoint,
        authorities: Authorities,
        load: Rc<Load>,
        timeout: Duration,
        judge: Judge,
    ) -> Self {
        let host = host(&endpoint);
        Self { place, endpoint, authorities, host, load, timeout, judge, sender: None }
    }

    /// Sends requests until the pace ends, and gives what was measured.
    pub(super) async fn run(mut self, pace: Rc<Pace>) -> Measured {
        let mut measured = Measured::new(self.place);
        while let Some(due) = pace.next().await {
            let left = pace.give_up(self.timeout).saturating_duration_since(Instant::now());
            let outcome = match tokio::time::timeout(self.timeout.min(left), self.request()).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    // Its answer may still come, and would pass as that of the next request.
                    self.sender = None;
                    Outcome::Failed("timed-out".to_owned())
                }
            };
            let refused = match &outcome {
                Outcome::Failed(code) => code == "connect" || code.starts_with("tls-"),
                _ => false,
            };
            if pace.counts(due) {
                measured.note(outcome, due.elapsed());
            }
            if refused {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        measured
    }

    async fn request(&mut self) -> Outcome {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => match self.connect().await {
                Ok(sender) => sender,
                Err(code) => return Outcome::Failed(code.to_owned()),
            },
        };
        if sender.ready().await.is_err() {
            return Outcome::Failed("connection-broken".to_owned());
        }
        let Some(prepared) = self.load.next(&self.host) else {
            return Outcome::Failed("request-unwritable".to_owned());
        };
        let Ok(response) = sender.send_request(prepared.message).await else {
            return Outcome::Failed("connection-broken".to_owned());
        };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return Outcome::Failed("connection-broken".to_owned());
        };
        self.sender = Some(sender);
        let (status, body) = (head.status.as_u16(), body.to_bytes());
        if let Some(code) = self.judge.refusal(&head, &body) {
            return Outcome::Failed(code);
        }
        if self.load.verifies()
            && let Some(sent) = prepared.sent
        {
            let text =
                |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| (name.as_str().to_owned(), text(value)));
            let response = ReceivedResponse { status, fields: fields.collect(), body };
            if let Err(code) = self.load.judge(&sent, &response) {
                return Outcome::Unverified(code);
            }
        }
        Outcome::Answered(status)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, &'static str> {
        let stream = quorate_client::connect(&self.endpoint, &self.authorities).await;
        let stream = stream.map_err(|error| error.code())?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|_| "connect")?;
        tokio::task::spawn_local(async move {
            // A broken connection shows at its requests.
            let _ = driver.await;
        });
        Ok(sender)
    }
}

/// The code in a refusal, or its status.
fn refusal_code(status: u16, body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let code = problem.get("code").and_then(serde_json::Value::as_str).map(str::to_owned);
    code.unwrap_or_else(|| format!("status-{status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_loop_counts_from_when_a_request_was_due() {
        let begin = Instant::now();
        let pace = Pace::new(Some(100), begin, begin, begin + Duration::from_millis(35));
        assert_eq!(pace.next().await, Some(begin));
        let second = pace.next().await.unwrap();
        assert!((10..=11).contains(&(second - begin).as_millis()));
        tokio::time::sleep(Duration::from_millis(30)).await;
        // Nobody came for the third in time: it counts from when it was due all the same.
        assert_eq!(pace.next().await, Some(begin + Duration::from_millis(20)));
        assert_eq!(pace.next().await, Some(begin + Duration::from_millis(30)));
        assert_eq!(pace.next().await, None);
    }

    #[test]
    fn an_answer_of_another_server_needs_no_proof_and_may_tell_of_a_failure() {
        let head =
            |status: u16| http::Response::builder().status(status).body(()).unwrap().into_parts().0;
        let judge = Judge::Unproven { telltale: "\"error\"".to_owned() };
        assert_eq!(judge.refusal(&head(200), b"{}"), None);
        assert_eq!(judge.refusal(&head(200), br#"{"error":1}"#).as_deref(), Some("telltale"));
        assert_eq!(judge.refusal(&head(500), b"").as_deref(), Some("status-500"));
        assert_eq!(Judge::Proven.refusal(&head(200), b"").as_deref(), Some("status-200"));
    }

    #[test]
    fn a_refusal_is_counted_by_its_code() {
        assert_eq!(refusal_code(503, br#"{"code":"overloaded"}"#), "overloaded");
        assert_eq!(refusal_code(502, b"<html>"), "status-502");
    }
}
