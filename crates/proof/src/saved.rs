//! `request.http` and `response.http`: a saved exchange in HTTP/1.1 text form.

use crate::{
    exchange::has_content,
    request_check::split_target,
    text::{is_token, trimmed},
    verify::{ReceivedResponse, SentRequest},
};
use bytes::Bytes;
use thiserror::Error;

/// Why bytes are not a saved request or response.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SavedError {
    /// No empty line ends the header section.
    #[error("the header section does not end")]
    Unended,
    /// Not `METHOD TARGET HTTP/1.1` or `HTTP/1.1 STATUS REASON`.
    #[error("the start line is not one of HTTP/1.1, or its target is not in origin form")]
    StartLine,
    /// An interim response; only the final one can be checked.
    #[error("an interim response was saved")]
    Interim,
    /// Not `NAME: VALUE`, or a folded line, or a control character.
    #[error("a header line is malformed")]
    HeaderLine,
    /// Not exactly one `Host` in a request.
    #[error("a request has exactly one Host")]
    Host,
    /// A transfer coding, which files do not have.
    #[error("Transfer-Encoding has no place in a saved file")]
    TransferEncoding,
    /// `Content-Length` is missing, repeated, malformed, or not the content's.
    #[error("Content-Length does not fit the content")]
    ContentLength,
}

impl SavedError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unended => "file-truncated",
            Self::StartLine => "file-start-line",
            Self::Interim => "file-interim",
            Self::HeaderLine => "file-header-line",
            Self::Host => "file-host",
            Self::TransferEncoding => "file-transfer-encoding",
            Self::ContentLength => "file-content-length",
        }
    }
}

/// Reads a saved request.
///
/// Bytes outside ASCII in a value become the characters of the same number (ISO 8859-1): no
/// covered field may have them, and uncovered ones are kept as they were.
///
/// # Errors
/// [`SavedError`], the first thing found wrong.
pub fn parse_request(file: &[u8]) -> Result<SentRequest, SavedError> {
    let Parts { start, fields, body } = Parts::read(file)?;
    let (method, rest) = start.split_once(' ').ok_or(SavedError::StartLine)?;
    let target = rest.strip_suffix(" HTTP/1.1").ok_or(SavedError::StartLine)?;
    let (path, query) = split_target(target).ok_or(SavedError::StartLine)?;
    if !is_token(method) {
        return Err(SavedError::StartLine);
    }
    if named(&fields, "host").count() != 1 {
        return Err(SavedError::Host);
    }
    check_length(&fields, body)?;
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    Ok(SentRequest { method, path, query, fields, body: Bytes::copy_from_slice(body) })
}

/// Reads a saved response to a request with this method.
///
/// # Errors
/// [`SavedError`], the first thing found wrong.
pub fn parse_response(file: &[u8], method: &str) -> Result<ReceivedResponse, SavedError> {
    let Parts { start, fields, body } = Parts::read(file)?;
    let rest = start.strip_prefix("HTTP/1.1 ").ok_or(SavedError::StartLine)?;
    let (status, _reason) = rest.split_once(' ').ok_or(SavedError::StartLine)?;
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SavedError::StartLine);
    }
    let status = status.parse().map_err(|_| SavedError::StartLine)?;
    match status {
        100..=199 => return Err(SavedError::Interim),
        200..=599 => {}
        _ => return Err(SavedError::StartLine),
    }
    if has_content(method, status) {
        check_length(&fields, body)?;
    } else if !body.is_empty() || named(&fields, "content-length").count() > 1 {
        // What Content-Length says of content that is not there does not matter.
        return Err(SavedError::ContentLength);
    }
    Ok(ReceivedResponse { status, fields, body: Bytes::copy_from_slice(body) })
}

/// Writes a request as a file, with the `Host` and `Content-Length` that a file must have.
#[must_use]
pub fn write_request(request: &SentRequest, host: &str) -> Vec<u8> {
    let query = if request.query == "?" { "" } else { &request.query };
    let start = format!("{} {}{query} HTTP/1.1\r\nHost: {host}\r\n", request.method, request.path);
    let length = (!request.body.is_empty()).then_some(request.body.len());
    write(start.into_bytes(), &request.fields, length, &request.body)
}

/// Writes the response to a request with this method as a file. Give it the proof as
/// `Quorate-Proof`, where it came by a link.
#[must_use]
pub fn write_response(response: &ReceivedResponse, method: &str) -> Vec<u8> {
    let start = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    let length = has_content(method, response.status).then_some(response.body.len());
    write(start.into_bytes(), &response.fields, length, &response.body)
}

/// Fields that the writer sets itself, or that speak of a connection and not of the message.
const REPLACED: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te"];

fn write(
    mut out: Vec<u8>,
    fields: &[(String, String)],
    length: Option<usize>,
    body: &[u8],
) -> Vec<u8> {
    let replaced = |name: &str| REPLACED.iter().any(|own| name.eq_ignore_ascii_case(own));
    for (name, value) in fields.iter().filter(|(name, _)| !replaced(name)) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(value.chars().map(|c| u8::try_from(c).unwrap_or(b'?')));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = length {
        out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// The phrases of RFC 9110 for what Quorate's own answers have; no reader may depend on them.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        422 => "Unprocessable Content",
        500 => "Internal Server Error",
        _ => "Status",
    }
}

/// A message in its parts.
struct Parts<'a> {
    start: String,
    fields: Vec<(String, String)>,
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(file: &'a [u8]) -> Result<Self, SavedError> {
        let end = file.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) =
            end.and_then(|end| file.split_at_checked(end)).ok_or(SavedError::Unended)?;
        let body = body.get(4..).unwrap_or_default();
        let mut lines = Vec::new();
        let mut rest = head;
        while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
            lines.push(text_line(rest.get(..at).unwrap_or_default())?);
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        lines.push(text_line(rest)?);
        let mut lines = lines.into_iter();
        let start = lines.next().ok_or(SavedError::StartLine)?;
        let fields = lines.map(|line| header(&line)).collect::<Result<Vec<_>, _>>()?;
        if named(&fields, "transfer-encoding").next().is_some() {
            return Err(SavedError::TransferEncoding);
        }
        Ok(Self { start, fields, body })
    }
}

/// A line without controls (a bare CR or LF included), as ISO 8859-1.
fn text_line(line: &[u8]) -> Result<String, SavedError> {
    if line.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(SavedError::HeaderLine);
    }
    Ok(line.iter().map(|&byte| char::from(byte)).collect())
}

fn header(line: &str) -> Result<(String, String), SavedError> {
    let (name, value) = line.split_once(':').ok_or(SavedError::HeaderLine)?;
    // A folded line starts with a blank, which no token does.
    if !is_token(name) {
        return Err(SavedError::HeaderLine);
    }
    Ok((name.to_owned(), trimmed(value).to_owned()))
}

fn named<'a>(fields: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    let same = fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.as_str())
}

/// The content has exactly the bytes that `Content-Length` says; without one there is none.
fn check_length(fields: &[(String, String)], body: &[u8]) -> Result<(), SavedError> {
    let mut values = named(fields, "content-length");
    let (first, second) = (values.next(), values.next());
    let right = match (first, second) {
        (None, _) => body.is_empty(),
        (Some(value), None) => crate::text::number(value) == u64::try_from(body.len()).ok(),
        (Some(_), Some(_)) => false,
    };
    if right { Ok(()) } else { Err(SavedError::ContentLength) }
}
