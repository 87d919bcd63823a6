//! What comes of a request: a proven answer, a refusal, or something that must not be believed.

use crate::{transport::TransportError, url::Endpoint};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_proof::{
    ClientSignatureError, Coverage, ReceivedResponse, SentRequest, Verdict, VerifyError,
    with_defaults,
};
use quorate_types::{Proven, Response};
use serde::Deserialize;
use std::time::Duration;
use thiserror::Error;

/// A response that a quorum stands behind.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who stands behind it, and where it stands in the log.
    pub verdict: Verdict,
    /// The request as it was sent, `Idempotency-Key` and signature included.
    pub sent: SentRequest,
    /// The response as it came; a linked proof was put in as `Quorate-Proof`.
    pub response: ReceivedResponse,
    /// Which gateway gave it.
    pub endpoint: Endpoint,
    /// From the first sending to the verdict, retries included.
    pub elapsed: Duration,
    /// What was passed over on the way to it: gateways that did not answer, refused, or lied.
    pub passed_over: Vec<(Endpoint, SendError)>,
}

impl Answer {
    /// The answer without what no proof covers. `None` for one that did not verify, which no
    /// [`Client`](crate::Client) gives.
    #[must_use]
    pub fn proven(&self) -> Option<Proven> {
        let coverage = match field(&self.response, "quorate-covers") {
            Some(covers) => Coverage::parse(covers.trim()).ok()?,
            None => Coverage::default(),
        };
        let ReceivedResponse { status, fields, body } = self.response.clone();
        let response = with_defaults(Response { status, fields, body }, &coverage);
        let proof = field(&self.response, "quorate-proof")?.trim();
        let proof = proof.strip_prefix(':')?.strip_suffix(':')?;
        let proof = String::from_utf8(STANDARD.decode(proof).ok()?).ok()?;
        Some(Proven { response, facts: self.verdict.facts, proof })
    }
}

/// An answer that a gateway gave by itself: nothing was ordered, nothing is proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The gateway's word for it.
    pub code: String,
    /// One sentence for a person.
    pub detail: String,
    /// Seconds after which another try makes sense.
    pub retry_after_s: Option<u32>,
    /// The answer as it came.
    pub response: ReceivedResponse,
}

/// Why there is no answer that can be believed.
#[derive(Clone, Debug, Error)]
pub enum SendError {
    /// The request cannot be sent by anybody.
    #[error("{0}")]
    Unsendable(#[from] Unsendable),
    /// The gateway could not be reached, or did not answer in time.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The gateway refused.
    #[error("{} {}: {}", .0.status, .0.code, .0.detail)]
    Refused(Box<Refused>),
    /// The gateway answered, and no quorum is shown to stand behind the answer.
    #[error("{}", .0.reason)]
    NotVerified(Box<NotVerified>),
}

/// Why a request cannot be sent.
#[derive(Clone, Debug, Error)]
pub enum Unsendable {
    /// No random bits for its key.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
    /// It cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Signature(#[from] ClientSignatureError),
    /// No gateway was named.
    #[error("there is no gateway to send it to")]
    Nowhere,
}

/// An answer without a valid proof.
#[derive(Clone, Debug)]
pub struct NotVerified {
    /// Why.
    pub reason: Reason,
    /// What had been asked.
    pub sent: SentRequest,
    /// What came.
    pub response: ReceivedResponse,
}

/// Why an answer is not verified.
#[derive(Clone, Debug, Error)]
pub enum Reason {
    /// The proof, or what it should prove, is wrong or missing.
    #[error("{0}")]
    Verify(#[from] VerifyError),
    /// The answer links to its proof, and the proof could not be had.
    #[error("the proof that the answer links to cannot be had: {0}")]
    Linked(TransportError),
    /// The answer links to its proof, and there is none.
    #[error("the proof that the answer links to is answered with status {0}")]
    NoLinked(u16),
}

impl SendError {
    /// A word for `quorate explain`; that of a refusal is the gateway's.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unsendable(Unsendable::Randomness(_)) => "no-randomness",
            Self::Unsendable(Unsendable::Signature(error)) => error.code(),
            Self::Unsendable(Unsendable::Nowhere) => "no-gateway",
            Self::Transport(error) => error.code(),
            Self::Refused(refused) => &refused.code,
            Self::NotVerified(failed) => failed.reason.code(),
        }
    }

    /// Whether the same gateway may do better with the same request, and the same key, later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unsendable(_) | Self::NotVerified(_) => false,
            Self::Transport(error) => error.is_passing(),
            // 409 is another gateway's word for: the same key is still being ordered.
            Self::Refused(refused) => matches!(refused.status, 409 | 429 | 503 | 504),
        }
    }

    /// Whether no gateway could do anything with the request.
    pub(crate) fn is_about_request(&self) -> bool {
        match self {
            Self::Unsendable(_) => true,
            Self::Transport(error) => error.is_about_request(),
            Self::Refused(_) | Self::NotVerified(_) => false,
        }
    }
}

impl Reason {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Verify(error) => error.code(),
            Self::Linked(_) | Self::NoLinked(_) => "proof-unavailable",
        }
    }
}

/// The fields of a gateway's problem document (RFC 9457) that matter here.
#[derive(Deserialize)]
struct Problem {
    proven: bool,
    code: String,
    #[serde(default)]
    detail: String,
}

/// Reads a response as a refusal. Only an error can be one, and only if it claims no entry:
/// whoever passes a result off as a refusal gains nothing, for a refusal is never believed.
pub(crate) fn refusal(response: &ReceivedResponse) -> Option<Refused> {
    if response.status < 400 || field(response, "quorate-index").is_some() {
        return None;
    }
    let problem: Problem = serde_json::from_slice(&response.body).ok()?;
    if problem.proven {
        return None;
    }
    Some(Refused {
        status: response.status,
        code: problem.code,
        detail: problem.detail,
        retry_after_s: field(response, "retry-after").and_then(|value| value.parse().ok()),
        response: response.clone(),
    })
}

/// The first value of a field, by its lower-case name.
pub(crate) fn field<'a>(response: &'a ReceivedResponse, name: &str) -> Option<&'a str> {
    let mut fields = response.fields.iter();
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn response(status: u16, fields: &[(&str, &str)], body: &str) -> ReceivedResponse {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        ReceivedResponse { status, fields, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    const BODY: &str = r#"{"status":503,"code":"overloaded","detail":"later","proven":false}"#;

    #[test]
    fn an_error_that_says_it_is_unproven_is_a_refusal() {
        let refused = refusal(&response(503, &[("retry-after", "2")], BODY)).unwrap();
        assert_eq!((refused.status, refused.code.as_str()), (503, "overloaded"));
        assert_eq!((refused.detail.as_str(), refused.retry_after_s), ("later", Some(2)));
    }

    #[test]
    fn a_result_is_never_a_refusal() {
        assert_eq!(refusal(&response(200, &[], BODY)), None);
        assert_eq!(refusal(&response(503, &[("quorate-index", "7")], BODY)), None);
        assert_eq!(refusal(&response(404, &[], r#"{"code":"x","detail":"y"}"#)), None);
        assert_eq!(refusal(&response(404, &[], r#"{"code":"x","proven":true}"#)), None);
        assert_eq!(refusal(&response(502, &[], "<html>")), None);
    }
}
