//! The built-in key-value service.
//!
//! | request | answers |
//! |---|---|
//! | `PUT /kv/{key}` | 201 where there was nothing, 204 where a value was replaced; `ETag` |
//! | `GET`, `HEAD /kv/{key}` | 200 with the value and its `ETag`, or 404 |
//! | `DELETE /kv/{key}` | 204 or 404 |
//! | `POST /kv/{key}/cas` | 200 and the new `ETag`, or 409 with `{"actual":..}` |
//!
//! - **Keys** are one path segment, percent-decoded: `/kv/a%2Fb` is the key `a/b`, and `/kv/a` and
//!   `/kv/%61` are the same key. An escape without two hex digits is 400, a decoded key of more
//!   than 1,024 bytes 414, an empty one 404. The query is ignored.
//! - **Values** are raw bytes. `GET` gives the `Content-Type` that the `PUT` carried, else
//!   `application/octet-stream`.
//! - **`ETag`** is the index of the last write, quoted: `"17"`. A failed `If-Match` is 412. So is
//!   an `If-None-Match` that holds the tag (`*`: any value), with `GET` and `HEAD` 304. Tags
//!   compare strongly for `If-Match`; both are lists.
//! - **`cas`** takes `{"expect":E,"set":S}`, each a string, or `null` for no value; both must be
//!   there and nothing else. It sets the value to `S` if it is `E`, byte for byte, and the value
//!   then has no type. Its 200 has an `ETag` even where it leaves no value. An actual value that
//!   is not UTF-8 is told with U+FFFD in it, and `"utf8":false` beside it.
//! - **Errors** are problem documents: `not-found`, `method-not-allowed`, `key-encoding`,
//!   `kv-key-too-long`, `precondition-failed`, `cas-malformed`.

use crate::{Service, context::Context};
use bytes::Bytes;
use quorate_types::{
    Index, Request, Response,
    bug::{Bug, seeded},
};
use serde::Deserialize;
use std::borrow::Cow;

/// The service. It has no state of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

/// The most bytes that a decoded key may have.
pub const KEY_BYTES_MAX: usize = 1024;

/// What a `GET` says of a value that was written without a type.
const UNTYPED: &str = "application/octet-stream";

impl Service for Kv {
    fn handle(&mut self, cx: &mut Context<'_>, request: &Request) -> Response {
        let answer = Operation::parse(request).and_then(|operation| match operation {
            Operation::Read(key) => read(cx, request, &key),
            Operation::Write(key) => write(cx, request, &key),
            Operation::Delete(key) => delete(cx, request, &key),
            Operation::Cas(key, cas) => compare_and_set(cx, request, &key, &cas),
        });
        // Both sides are answers; `Err` is only the early way out.
        answer.unwrap_or_else(|problem| problem)
    }
}

/// What a request asks for.
enum Operation {
    Read(Vec<u8>),
    Write(Vec<u8>),
    Delete(Vec<u8>),
    Cas(Vec<u8>, Cas),
}

/// The content of `POST /kv/{key}/cas`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    // A plain `Option` may be left out; a forgotten `set` must not delete the value.
    #[serde(deserialize_with = "Option::deserialize")]
    expect: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    set: Option<String>,
}

impl Operation {
    fn parse(request: &Request) -> Result<Self, Response> {
        let rest = request.path.strip_prefix("/kv/").ok_or_else(no_such_path)?;
        let (segment, action) = match rest.split_once('/') {
            None => (rest, None),
            Some((segment, action)) => (segment, Some(action)),
        };
        if segment.is_empty() || action.is_some_and(|action| action != "cas") {
            return Err(no_such_path());
        }
        match (request.method.as_str(), action) {
            ("GET" | "HEAD", None) => Ok(Self::Read(key(segment)?)),
            ("PUT", None) => Ok(Self::Write(key(segment)?)),
            ("DELETE", None) => Ok(Self::Delete(key(segment)?)),
            ("POST", Some(_)) => {
                let key = key(segment)?;
                let cas = serde_json::from_slice(&request.body).map_err(|_| cas_malformed())?;
                Ok(Self::Cas(key, cas))
            }
            _ => Err(Response::problem(
                405,
                "method-not-allowed",
                "/kv/{key} takes GET, HEAD, PUT and DELETE; /kv/{key}/cas takes POST",
            )),
        }
    }
}

fn read(cx: &mut Context<'_>, request: &Request, key: &[u8]) -> Result<Response, Response> {
    let index = cx.index();
    let visible = |held: &Value| !seeded(Bug::StaleRead) || held.written.next() != index;
    let Some(held) = Value::load(cx, key).filter(visible) else { return Err(no_such_key()) };
    check_match(request, Some(&held))?;
    if none_match_fails(request, Some(&held)) {
        return Ok(tagged(304, held.written));
    }
    let kind = if held.kind.is_empty() { UNTYPED } else { &held.kind };
    Ok(tagged(200, held.written).with_body(kind, held.content.clone()))
}

fn write(cx: &mut Context<'_>, request: &Request, key: &[u8]) -> Result<Response, Response> {
    let held = Value::load(cx, key);
    check_write(request, held.as_ref())?;
    let kind = request.field("content-type").unwrap_or_default().to_owned();
    let value = Value { written: cx.index(), kind, content: request.body.clone() };
    value.store(cx, key);
    Ok(tagged(if held.is_some() { 204 } else { 201 }, value.written))
}

fn delete(cx: &mut Context<'_>, request: &Request, key: &[u8]) -> Result<Response, Response> {
    let Some(held) = Value::load(cx, key) else { return Err(no_such_key()) };
    check_write(request, Some(&held))?;
    cx.state().delete(key);
    Ok(Response::new(204))
}

fn compare_and_set(
    cx: &mut Context<'_>,
    request: &Request,
    key: &[u8],
    cas: &Cas,
) -> Result<Response, Response> {
    let held = Value::load(cx, key);
    check_write(request, held.as_ref())?;
    let actual = held.as_ref().map(|held| &held.content[..]);
    let expected = actual == cas.expect.as_ref().map(String::as_bytes);
    if !expected && !seeded(Bug::CasWithoutCompare) {
        return Err(Response::new(409).with_body("application/json", conflict(actual)));
    }
    let written = cx.index();
    match &cas.set {
        Some(set) => {
            let content = Bytes::copy_from_slice(set.as_bytes());
            Value { written, kind: String::new(), content }.store(cx, key);
        }
        None => {
            cx.state().delete(key);
        }
    }
    Ok(tagged(200, written))
}

/// A stored value: 8 bytes big-endian of index, 4 bytes big-endian of the type's length, the type,
/// the content.
struct Value {
    written: Index,
    /// What `PUT` said, empty if nothing.
    kind: String,
    content: Bytes,
}

impl Value {
    fn load(cx: &mut Context<'_>, key: &[u8]) -> Option<Self> {
        let stored = cx.state().get(key)?;
        let (written, rest) = stored.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (kind, content) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        Some(Self {
            written: Index(u64::from_be_bytes(*written)),
            kind: String::from_utf8_lossy(kind).into_owned(),
            content: stored.slice_ref(content),
        })
    }

    fn store(&self, cx: &mut Context<'_>, key: &[u8]) {
        // A field's value is bounded by the request's head, far below 2^32 bytes.
        let length = u32::try_from(self.kind.len()).unwrap_or(u32::MAX).to_be_bytes();
        let index = self.written.0.to_be_bytes();
        let stored = [&index, &length[..], self.kind.as_bytes(), &self.content].concat();
        cx.state().put(key, stored);
    }

    fn tag(&self) -> String {
        tag(self.written)
    }
}

/// The key of a path segment.
fn key(segment: &str) -> Result<Vec<u8>, Response> {
    let key = percent_decoded(segment).ok_or_else(|| {
        Response::problem(400, "key-encoding", "a % in the key is not followed by two hex digits")
    })?;
    match key.len() {
        0..=KEY_BYTES_MAX => Ok(key),
        _ => Err(Response::problem(414, "kv-key-too-long", "a key has at most 1024 bytes")),
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        decoded.push(u8::try_from(high? * 16 + low?).ok()?);
        rest = tail;
    }
    Some(decoded)
}

/// Both preconditions of a request that changes something.
fn check_write(request: &Request, held: Option<&Value>) -> Result<(), Response> {
    check_match(request, held)?;
    if none_match_fails(request, held) { Err(precondition_failed()) } else { Ok(()) }
}

fn check_match(request: &Request, held: Option<&Value>) -> Result<(), Response> {
    match request.field("if-match") {
        Some(tags) if !names(tags, held, |tag| tag) => Err(precondition_failed()),
        _ => Ok(()),
    }
}

fn none_match_fails(request: &Request, held: Option<&Value>) -> bool {
    request.field("if-none-match").is_some_and(|tags| names(tags, held, weak))
}

/// A tag without its mark of weakness: If-None-Match compares weakly (RFC 9110 section 13.1.2).
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether a list of entity tags, or `*`, names the value. Our tags hold no comma, so a list may be
/// split at each: a piece of another's tag begins and ends with a quote only if it is a tag itself.
fn names(tags: &str, held: Option<&Value>, read: impl Fn(&str) -> &str) -> bool {
    let Some(held) = held else { return false };
    let tags = tags.trim();
    tags == "*" || tags.split(',').any(|tag| read(tag.trim()) == held.tag())
}

fn tag(written: Index) -> String {
    format!("\"{}\"", written.0)
}

fn tagged(status: u16, written: Index) -> Response {
    Response::new(status).with_field("etag", tag(written))
}

fn conflict(actual: Option<&[u8]>) -> String {
    let Some(actual) = actual else { return r#"{"actual":null}"#.to_owned() };
    let text = String::from_utf8_lossy(actual);
    // Only a replacement allocates.
    let note = if matches!(text, Cow::Owned(_)) { r#","utf8":false"# } else { "" };
    format!("{{\"actual\":{}{note}}}", serde_json::Value::from(text))
}

fn no_such_path() -> Response {
    Response::problem(404, "not-found", "there are /kv/{key} and /kv/{key}/cas, and nothing else")
}

fn no_such_key() -> Response {
    Response::problem(404, "not-found", "no value has this key")
}

fn precondition_failed() -> Response {
    Response::problem(412, "precondition-failed", "the value is not one that the request names")
}

fn cas_malformed() -> Response {
    Response::problem(
        400,
        "cas-malformed",
        "the content must be {\"expect\":E,\"set\":S}, each a string or null",
    )
}
