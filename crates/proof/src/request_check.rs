//! What a gateway demands of a request's form, and every replica again of what a gateway proposes.

use crate::{
    coverage::Coverage,
    exchange::EXCHANGE_BYTES_MOST,
    identity::{Client, client_of},
    text::{is_covered_value, is_token},
};
use quorate_types::Request;
use thiserror::Error;

/// The longest `Idempotency-Key`, quotes included, in bytes.
pub const KEY_BYTES_MOST: usize = 255;

/// The fewest characters between the quotes of an anonymous client's key: 128 bits in base64.
pub const ANONYMOUS_KEY_LEAST: usize = 22;

/// What of the exchange's 65,535 bytes a request leaves to its response.
///
/// Enough for every answer that the order itself gives; a service's longer one is refused when
/// its exchange is formed.
pub const RESPONSE_RESERVE: usize = 4096;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RequestFault {
    /// Not an RFC 9110 token.
    #[error("the method is not a token")]
    Method,
    /// Not `/` and raw ASCII without blanks, `?` or `#`.
    #[error("the path is not in origin form")]
    Path,
    /// Not `?` and raw ASCII without blanks or `#`.
    #[error("the query is not `?` and raw ASCII")]
    Query,
    /// A field that no exchange of this service covers.
    #[error("field `{0}` is not covered")]
    Uncovered(String),
    /// A covered field that is repeated, or stands before one that it should follow.
    #[error("field `{0}` is repeated, or not in the order of coverage")]
    Order(String),
    /// A covered value that is not trimmed ASCII.
    #[error("field `{0}` is not trimmed ASCII")]
    Value(String),
    /// The key is not a quoted string of RFC 8941.
    #[error("the Idempotency-Key is not a quoted string")]
    Key,
    /// The key has more than 255 bytes.
    #[error("the Idempotency-Key has more than 255 bytes")]
    KeyTooLong,
    /// An anonymous client's key that others could guess.
    #[error("an anonymous client's Idempotency-Key needs at least 22 characters")]
    KeyTooShort,
    /// The target does not fit an exchange.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The covered fields do not fit an exchange.
    #[error("the covered request fields are too long")]
    FieldsTooLong,
}

impl RequestFault {
    /// The HTTP status that a gateway answers: 400, 414 or 431.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::FieldsTooLong => 431,
            _ => 400,
        }
    }

    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Method => "request-method",
            Self::Path => "request-path",
            Self::Query => "request-query",
            Self::Uncovered(_) => "field-uncovered",
            Self::Order(_) => "field-repeated",
            Self::Value(_) => "field-value",
            Self::Key => "key-form",
            Self::KeyTooLong => "key-too-long",
            Self::KeyTooShort => "key-too-short",
            Self::TargetTooLong => "target-too-long",
            Self::FieldsTooLong => "fields-too-long",
        }
    }
}

/// Splits a request target in origin form into path and query, as an exchange holds them.
///
/// `None` for every other form (`*`, `http://..`, `host:port`), for `#`, and for bytes outside
/// graphic ASCII. Nothing is decoded or normalised.
#[must_use]
pub fn split_target(target: &str) -> Option<(&str, &str)> {
    let at = target.find('?');
    let (path, query) = at.map_or((target, "?"), |at| target.split_at(at));
    (is_path(path) && is_query(query)).then_some((path, query))
}

/// Whether a request has the form in which requests are ordered. No signature is checked here.
///
/// # Errors
/// [`RequestFault`], with the status for the client and a stable code.
pub fn check_request(request: &Request, coverage: &Coverage) -> Result<(), RequestFault> {
    check_target(&request.method, &request.path, &request.query)?;
    check_fields(request, coverage)?;
    check_key(request)?;
    check_length(request, coverage)
}

/// The form of method, path and query.
pub(crate) fn check_target(method: &str, path: &str, query: &str) -> Result<(), RequestFault> {
    if !is_token(method) {
        return Err(RequestFault::Method);
    }
    if !is_path(path) {
        return Err(RequestFault::Path);
    }
    if is_query(query) { Ok(()) } else { Err(RequestFault::Query) }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| is_target_byte(byte) && byte != b'?')
}

fn is_query(query: &str) -> bool {
    query.starts_with('?') && query.bytes().all(is_target_byte)
}

fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// Names of the coverage in its order, each once, with values as an exchange holds them.
fn check_fields(request: &Request, coverage: &Coverage) -> Result<(), RequestFault> {
    let mut order = coverage.request_fields();
    for (name, value) in &request.fields {
        if !order.any(|covered| covered == name) {
            let known = coverage.request_fields().any(|covered| covered == name);
            let fault = if known { RequestFault::Order } else { RequestFault::Uncovered };
            return Err(fault(name.clone()));
        }
        if !is_covered_value(value) {
            return Err(RequestFault::Value(name.clone()));
        }
    }
    Ok(())
}

fn check_key(request: &Request) -> Result<(), RequestFault> {
    let Some(value) = request.field("idempotency-key") else { return Ok(()) };
    if value.len() > KEY_BYTES_MOST {
        return Err(RequestFault::KeyTooLong);
    }
    let key = quoted_string(value).ok_or(RequestFault::Key)?;
    if key.len() < ANONYMOUS_KEY_LEAST && client_of(request) == Client::Anonymous {
        return Err(RequestFault::KeyTooShort);
    }
    Ok(())
}

/// What stands between the quotes of an RFC 8941 string, escapes included.
pub(crate) fn quoted_string(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let right = match byte {
            b'\\' => matches!(bytes.next(), Some(b'"' | b'\\')),
            b'"' => false,
            _ => (b' '..=b'~').contains(&byte),
        };
        if !right {
            return None;
        }
    }
    Some(inner)
}

/// Room for the request's lines and for a response beside them.
fn check_length(request: &Request, coverage: &Coverage) -> Result<(), RequestFault> {
    let target = request.method.len() + request.path.len() + request.query.len();
    let each = |(name, value): &(String, String)| 2 * name.len() + value.len() + 16;
    let announced = coverage.header_value().map_or(0, |value| value.len());
    let fields: usize = request.fields.iter().map(each).sum::<usize>() + announced;
    match EXCHANGE_BYTES_MOST - RESPONSE_RESERVE {
        most if target + fields <= most => Ok(()),
        _ if target > fields => Err(RequestFault::TargetTooLong),
        _ => Err(RequestFault::FieldsTooLong),
    }
}
