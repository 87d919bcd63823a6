//! From a certified answer, or a refusal, to an HTTP response.

use crate::{
    backend::{Fetched, Submitted, Timing},
    codes,
    config::GatewayConfig,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
        LINK, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    },
};
use quorate_proof::{content_digest, response_content};
use quorate_types::{Proven, Refusal, Response as Answer};
use serde::Serialize;
use std::{fmt::Write as _, ops::Range};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const QUORATE_EPOCH: HeaderName = HeaderName::from_static("quorate-epoch");
const QUORATE_INDEX: HeaderName = HeaderName::from_static("quorate-index");
const QUORATE_PROOF: HeaderName = HeaderName::from_static("quorate-proof");
const QUORATE_SALT: HeaderName = HeaderName::from_static("quorate-salt");
const QUORATE_STATE: HeaderName = HeaderName::from_static("quorate-state");
const QUORATE_TIME: HeaderName = HeaderName::from_static("quorate-time");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How the client wants its proof (`Prefer: proof=..`, RFC 7240).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Preference {
    Inline,
    Link,
    None,
}

impl Preference {
    /// The first `proof` preference that this gateway knows.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split(','));
        preferences.find_map(|preference| {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("proof") {
                return None;
            }
            match value.trim().trim_matches('"') {
                "inline" => Some(Self::Inline),
                "link" => Some(Self::Link),
                "none" => Some(Self::None),
                _ => None,
            }
        })
    }

    fn applied(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Inline => "proof=inline",
            Self::Link => "proof=link",
            Self::None => "proof=none",
        })
    }
}

/// How this gateway writes its answers.
#[derive(Debug)]
pub(crate) struct Writer {
    inline_proof_bytes_max: usize,
    pages: Pages,
    challenge: HeaderValue,
}

impl Writer {
    /// A writer for a configuration that [`GatewayConfig::check`] accepted.
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let challenge = format!("Signature realm=\"{}\"", config.authority.replace('"', ""));
        Self {
            inline_proof_bytes_max: config.limits.inline_proof_bytes_max,
            pages: Pages::new(config),
            challenge: HeaderValue::try_from(challenge)
                .unwrap_or(HeaderValue::from_static("Signature")),
        }
    }

    /// A certified answer, with the bytes of its content beside it.
    ///
    /// # Errors
    /// `answer-malformed` when a covered field cannot be written as HTTP: without it the proof
    /// would not verify.
    pub(crate) fn proven(
        &self,
        submitted: Submitted,
        method: &str,
        origin: Option<&HeaderValue>,
        preference: Option<Preference>,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        let Submitted { proven, timing } = submitted;
        self.certified(proven, Some(timing), method, origin, preference)
    }

    /// A certified answer of other gateways. It links to no proof, since none lies here, and tells
    /// no timing, since nobody vouches for it.
    ///
    /// # Errors
    /// As [`Self::proven`].
    pub(crate) fn relayed(
        &self,
        proven: Proven,
        method: &str,
        origin: Option<&HeaderValue>,
        preference: Option<Preference>,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        let preference = preference.filter(|&preference| preference != Preference::Link);
        self.certified(proven, None, method, origin, preference)
    }

    /// `timing` and the link to the proof stand where the replica is this gateway's own.
    fn certified(
        &self,
        proven: Proven,
        timing: Option<Timing>,
        method: &str,
        origin: Option<&HeaderValue>,
        preference: Option<Preference>,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        let digest = content_digest(response_content(method, &proven.response));
        let (mut response, content) = bare(proven.response, method)?;
        let headers = response.headers_mut();
        let mut values = Values::with_capacity(512 + proven.proof.len() * 4 / 3);
        let facts = proven.facts;
        values.add(CONTENT_DIGEST, |out| out.push_str(&digest));
        values.add_display(QUORATE_INDEX, facts.index);
        values.add_display(QUORATE_EPOCH, facts.epoch);
        values.add_display(QUORATE_TIME, facts.time);
        values.add(QUORATE_STATE, |out| push_binary(out, "sha-256=", &facts.state.0));
        values.add(QUORATE_SALT, |out| push_binary(out, "", &facts.salt.0));
        let inline = self.inlines(&proven.proof, preference);
        if inline {
            values.add(QUORATE_PROOF, |out| push_binary(out, "", proven.proof.as_bytes()));
        }
        if timing.is_some() && preference != Some(Preference::None) {
            values.add(LINK, |out| {
                let _ = write!(
                    out,
                    "</.well-known/quorate/proof/{}>; rel=\"describedby\"; type=\"text/plain\"",
                    facts.index
                );
            });
        }
        if let Some(timing) = timing {
            values.add(SERVER_TIMING, |out| push_timing(out, timing));
        }
        values.write(headers)?;
        if let Some(preference) = preference {
            headers.insert(PREFERENCE_APPLIED, preference.applied());
        }
        self.pages.write(headers, origin);
        Ok((response, content))
    }

    /// A proof goes into a header when asked for, and otherwise while it is small.
    fn inlines(&self, proof: &str, preference: Option<Preference>) -> bool {
        match preference {
            Some(Preference::Inline) => true,
            Some(Preference::Link | Preference::None) => false,
            None => proof.len().div_ceil(3) * 4 + 2 <= self.inline_proof_bytes_max,
        }
    }

    /// A refusal, as an RFC 9457 problem document.
    pub(crate) fn refusal(
        &self,
        refusal: &Refusal,
        origin: Option<&HeaderValue>,
    ) -> (Response<()>, Bytes) {
        let (mut response, body) = problem(refusal);
        let headers = response.headers_mut();
        if refusal.status == 401 {
            headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        }
        self.pages.write(headers, origin);
        (response, body)
    }

    /// Something published, which caches may keep for ever or not at all.
    pub(crate) fn fetched(
        &self,
        fetched: Fetched,
        keep: bool,
        origin: Option<&HeaderValue>,
    ) -> (Response<()>, Bytes) {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(fetched.content_type));
        let caching = if keep { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        self.pages.write(headers, origin);
        (response, fetched.body)
    }

    /// Whether pages of this origin may read answers.
    pub(crate) fn admits(&self, origin: &HeaderValue) -> bool {
        self.pages.origins.as_ref().is_none_or(|origins| origins.contains(origin))
    }

    /// Leave for a web page to send its request.
    pub(crate) fn preflight(&self, origin: Option<&HeaderValue>) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        self.pages.write_leave(response.headers_mut(), origin);
        response
    }
}

/// A problem document with `"proven": false`, on its own.
pub(crate) fn problem(refusal: &Refusal) -> (Response<()>, Bytes) {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        code: &'a str,
        detail: &'a str,
        proven: bool,
    }
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Refused"),
        status: status.as_u16(),
        code: refusal.code,
        detail: &refusal.detail,
        proven: false,
    };
    let mut body = serde_json::to_vec(&problem).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after_s {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if refusal.code == codes::METHOD_NOT_ALLOWED.name {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    (response, body.into())
}

/// The service's answer as HTTP, before anything is said of its proof.
pub(crate) fn bare(answer: Answer, method: &str) -> Result<(Response<()>, Bytes), Refusal> {
    let silent = response_content(method, &answer).is_empty();
    let content = if silent { Bytes::new() } else { answer.body.clone() };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(malformed)?;
    let headers = response.headers_mut();
    headers.reserve(24);
    write_fields(headers, answer)?;
    Ok((response, content))
}

fn write_fields(headers: &mut HeaderMap, answer: Answer) -> Result<(), Refusal> {
    for (name, value) in answer.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(malformed)?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(malformed)?;
        headers.append(name, value);
    }
    Ok(())
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    codes::ANSWER_MALFORMED.refusal(format!("the service's answer is not HTTP: {error}"))
}

/// A byte sequence of RFC 8941, behind a prefix.
fn push_binary(out: &mut String, prefix: &str, bytes: &[u8]) {
    out.push_str(prefix);
    out.push(':');
    BASE64.encode_string(bytes, out);
    out.push(':');
}

/// Milliseconds, as Server-Timing counts.
fn push_timing(out: &mut String, timing: Timing) {
    let parts = [("order", timing.order_us), ("exec", timing.exec_us), ("sign", timing.sign_us)];
    for (position, (name, us)) in parts.into_iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        let _ = write!(out, "{separator}{name};dur={}.{:03}", us / 1000, us % 1000);
    }
}

/// Header values written one behind the other into one allocation.
struct Values {
    text: String,
    places: Vec<(HeaderName, Range<usize>)>,
}

impl Values {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), places: Vec::with_capacity(9) }
    }

    fn add(&mut self, name: HeaderName, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        self.places.push((name, start..self.text.len()));
    }

    fn add_display(&mut self, name: HeaderName, value: impl std::fmt::Display) {
        self.add(name, |out| {
            let _ = write!(out, "{value}");
        });
    }

    fn write(self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let text = Bytes::from(self.text);
        for (name, place) in self.places {
            let value = HeaderValue::from_maybe_shared(text.slice(place)).map_err(malformed)?;
            headers.insert(name, value);
        }
        Ok(())
    }
}

/// What web pages of other origins may do (the Fetch standard's CORS protocol).
#[derive(Debug)]
struct Pages {
    /// `None`: pages of all origins.
    origins: Option<Vec<HeaderValue>>,
    /// Request fields that a page may set.
    headers: HeaderValue,
    /// Response fields that a page may read.
    exposed: HeaderValue,
}

impl Pages {
    fn new(config: &GatewayConfig) -> Self {
        let own = ["content-digest", "prefer", "signature", "signature-input"];
        let settable = config.coverage.request_fields().filter(|&name| name != "cookie");
        let readable = config.coverage.response_fields().filter(|&name| name != "set-cookie");
        let told = [
            "content-digest",
            "date",
            "link",
            "preference-applied",
            "quorate-epoch",
            "quorate-index",
            "quorate-proof",
            "quorate-salt",
            "quorate-state",
            "quorate-time",
            "retry-after",
            "server-timing",
        ];
        let all = config.cors_origins.iter().any(|origin| origin == "*");
        let origins = config.cors_origins.iter();
        let origins = origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        Self {
            origins: (!all).then_some(origins),
            headers: joined(settable.chain(own)),
            exposed: joined(readable.chain(told)),
        }
    }

    /// Leave to read an answer.
    fn write(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if self.admit(headers, origin) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        }
    }

    /// Leave to send a request.
    fn write_leave(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if self.admit(headers, origin) {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }

    fn admit(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) -> bool {
        let Some(origins) = &self.origins else {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return true;
        };
        headers.insert(VARY, HeaderValue::from(ORIGIN));
        let known = origin.filter(|origin| origins.contains(origin));
        if let Some(origin) = known {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        known.is_some()
    }
}

/// A list of field names as a header value; coverage holds plain names only.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<_> = names.collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(values: &[&'static str]) -> Option<Preference> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        Preference::of(&headers)
    }

    #[test]
    fn the_first_proof_preference_counts() {
        assert_eq!(preference(&[]), None);
        assert_eq!(preference(&["proof=link"]), Some(Preference::Link));
        assert_eq!(preference(&["respond-async, Proof=\"none\"; a=b"]), Some(Preference::None));
        assert_eq!(preference(&["wait=5", "proof=inline"]), Some(Preference::Inline));
        assert_eq!(preference(&["proof=link, proof=inline"]), Some(Preference::Link));
        assert_eq!(preference(&["proof=other", "proofs=link", "proof"]), None);
    }

    #[test]
    fn timing_is_in_milliseconds() {
        let mut out = String::new();
        push_timing(&mut out, Timing { order_us: 1_234, exec_us: 5, sign_us: 2_000_000 });
        assert_eq!(out, "order;dur=1.234, exec;dur=0.005, sign;dur=2000.000");
    }

    #[test]
    fn a_problem_document_says_that_nothing_is_proven() {
        let refusal = codes::CLIENT_BUSY.refusal("a \"quote\"");
        let (response, body) = problem(&refusal);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["proven"], false);
        assert_eq!(json["code"], "client-busy");
        assert_eq!(json["detail"], "a \"quote\"");
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(!response.headers().contains_key(QUORATE_INDEX));
    }

    #[test]
    fn only_named_origins_read_answers_where_origins_are_named() {
        let mut config = GatewayConfig::new("shop.example");
        config.cors_origins = vec!["https://a.example".to_owned()];
        let writer = Writer::new(&config);
        for (origin, allowed) in [("https://a.example", true), ("https://b.example", false)] {
            let origin = HeaderValue::from_static(origin);
            let response = writer.preflight(Some(&origin));
            assert_eq!(response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), allowed);
            assert_eq!(response.headers()[VARY], "origin");
        }
    }
}
