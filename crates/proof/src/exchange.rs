//! The exchange: a request and its response, written down as an RFC 9421 signature base.

use crate::{
    coverage::Coverage,
    text::{digest_value, is_covered_value, push_byte_sequence, push_digest, push_number, trimmed},
    tree::sha256,
};
use quorate_types::{Digest, Request, Response, Salt};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest exchange, in bytes.
pub const EXCHANGE_BYTES_MOST: usize = 65_535;

/// What names the format in `@signature-params`.
const TAG: &str = "quorate-exchange/1";

/// Room for the identifiers of an exchange with a few fields.
const IDENTIFIERS_BYTES: usize = 384;

/// Why a request and a response make no exchange.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ExchangeError {
    /// A status that a final response cannot have: not in 200 to 599.
    #[error("status {0} is not that of a final response")]
    Status(u16),
    /// A covered field that may stand once stands more often.
    #[error("field `{0}` is repeated")]
    Repeated(String),
    /// A covered value with controls, non-ASCII characters or outer blanks.
    #[error("field `{0}` is not trimmed ASCII")]
    Value(String),
    /// The response's `quorate-covers` is not what the coverage says.
    #[error("the announcement of covered fields is not the service's")]
    Announcement,
    /// More than [`EXCHANGE_BYTES_MOST`] bytes.
    #[error("the exchange has {0} bytes; 65,535 are allowed")]
    TooLong(usize),
}

impl ExchangeError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Status(_) => "response-status",
            Self::Repeated(_) => "field-repeated",
            Self::Value(_) => "field-value",
            Self::Announcement => "covers-wrong",
            Self::TooLong(_) => "exchange-too-long",
        }
    }
}

/// `sha-256=:..:` over the content.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    digest_value(&sha256(body))
}

/// SHA-256(salt || exchange): what stands for the exchange in its public entry.
#[must_use]
pub fn exchange_digest(salt: &Salt, base: &str) -> Digest {
    Digest(Sha256::new().chain_update(salt.0).chain_update(base).finalize().into())
}

/// The content that goes over the wire: none for HEAD, 204 and 304, whatever the service gave.
#[must_use]
pub fn response_content<'a>(method: &str, response: &'a Response) -> &'a [u8] {
    if has_content(method, response.status) { &response.body } else { &[] }
}

/// Whether a response to this method with this status can have content (RFC 9110 section 6.4.1).
pub(crate) fn has_content(method: &str, status: u16) -> bool {
    method != "HEAD" && status != 204 && status != 304
}

/// A service's response as clients see it: uncovered fields dropped, values trimmed, the default
/// `cache-control` and the announcement of covered fields added, in the order of the exchange.
///
/// What cannot be repaired (a repeated field, a value outside ASCII, a status) is left for
/// [`exchange_base`] to refuse. The content of a 204 or 304 is dropped.
#[must_use]
pub fn with_defaults(response: Response, coverage: &Coverage) -> Response {
    let Response { status, fields: given, body } = response;
    let announcement = coverage.header_value();
    let mut fields = Vec::with_capacity(given.len() + 2);
    for name in coverage.response_fields() {
        if name == "quorate-covers" {
            fields.extend(announcement.clone().map(|value| (name.to_owned(), value)));
            continue;
        }
        let before = fields.len();
        let same = given.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fields.extend(same.map(|(_, value)| (name.to_owned(), trimmed(value).to_owned())));
        if name == "cache-control" && fields.len() == before {
            fields.push((name.to_owned(), "no-store, no-transform".to_owned()));
        }
    }
    let body = if has_content("", status) { body } else { Vec::new().into() };
    Response { status, fields, body }
}

/// The signature base of a request and its response under the origin's NAME, at most 65,535 bytes.
///
/// Covered fields are found by their lower-case names; uncovered ones are passed over.
///
/// # Errors
/// [`ExchangeError`] for a covered field that is repeated or not trimmed ASCII, a status outside
/// 200 to 599, a wrong announcement, or an exchange that is too long.
pub fn exchange_base(
    authority: &str,
    request: &Request,
    response: &Response,
    coverage: &Coverage,
) -> Result<String, ExchangeError> {
    if !(200..=599).contains(&response.status) {
        return Err(ExchangeError::Status(response.status));
    }
    if response.field("quorate-covers") != coverage.header_value().as_deref() {
        return Err(ExchangeError::Announcement);
    }
    let mut base = Base::with_capacity(capacity(authority, request, response));
    base.request_lines(authority, request, coverage)?;
    base.response_lines(request, response, coverage)?;
    let text = base.finish();
    if text.len() > EXCHANGE_BYTES_MOST {
        return Err(ExchangeError::TooLong(text.len()));
    }
    Ok(text)
}

/// Enough for one allocation: each field stands with its value in a line, and by its name again.
fn capacity(authority: &str, request: &Request, response: &Response) -> usize {
    let fields = request.fields.iter().chain(&response.fields);
    let bytes: usize = fields.map(|(name, value)| 2 * name.len() + value.len() + 24).sum();
    640 + authority.len() + request.method.len() + request.path.len() + request.query.len() + bytes
}

/// The lines so far, each newline-ended, and what the last line will list of them.
struct Base {
    lines: String,
    /// The component identifier of each line, a blank before each but the first.
    identifiers: String,
}

impl Base {
    fn with_capacity(capacity: usize) -> Self {
        let identifiers = String::with_capacity(IDENTIFIERS_BYTES);
        Self { lines: String::with_capacity(capacity), identifiers }
    }

    /// Starts the line of a component, `parameters` being `;req`, `;bs` or nothing.
    fn component(&mut self, name: &str, parameters: &str) {
        let start = self.lines.len();
        self.lines.push('"');
        self.lines.push_str(name);
        self.lines.push('"');
        self.lines.push_str(parameters);
        if start > 0 {
            self.identifiers.push(' ');
        }
        self.identifiers.push_str(&self.lines[start..]);
        self.lines.push_str(": ");
    }

    fn line(&mut self, name: &str, parameters: &str, value: &str) {
        self.component(name, parameters);
        self.lines.push_str(value);
        self.lines.push('\n');
    }

    fn digest_line(&mut self, parameters: &str, content: &[u8]) {
        self.component("content-digest", parameters);
        push_digest(&mut self.lines, &sha256(content));
        self.lines.push('\n');
    }

    fn request_lines(
        &mut self,
        authority: &str,
        request: &Request,
        coverage: &Coverage,
    ) -> Result<(), ExchangeError> {
        self.line("@method", ";req", &request.method);
        self.line("@authority", ";req", authority);
        self.line("@path", ";req", &request.path);
        self.line("@query", ";req", &request.query);
        for name in coverage.request_fields() {
            if let Some(value) = single(&request.fields, name)? {
                self.line(name, ";req", value);
            }
        }
        self.digest_line(";req", &request.body);
        Ok(())
    }

    fn response_lines(
        &mut self,
        request: &Request,
        response: &Response,
        coverage: &Coverage,
    ) -> Result<(), ExchangeError> {
        self.component("@status", "");
        push_number(&mut self.lines, response.status.into());
        self.lines.push('\n');
        for name in coverage.response_fields() {
            if name == "set-cookie" {
                self.cookies(&response.fields)?;
            } else if let Some(value) = single(&response.fields, name)? {
                self.line(name, "", value);
            }
        }
        self.digest_line("", response_content(&request.method, response));
        Ok(())
    }

    /// RFC 9421 section 2.1.3: each field line as a byte sequence, joined in one line.
    fn cookies(&mut self, fields: &[(String, String)]) -> Result<(), ExchangeError> {
        let mut first = true;
        for (name, value) in fields.iter().filter(|(name, _)| name == "set-cookie") {
            if first {
                self.component(name, ";bs");
            } else {
                self.lines.push_str(", ");
            }
            first = false;
            push_byte_sequence(&mut self.lines, checked(name, value)?.as_bytes());
        }
        if !first {
            self.lines.push('\n');
        }
        Ok(())
    }

    /// Adds the last line, which lists how each line before it begins.
    fn finish(mut self) -> String {
        self.lines.push_str("\"@signature-params\": (");
        self.lines.push_str(&self.identifiers);
        self.lines.push_str(");tag=\"");
        self.lines.push_str(TAG);
        self.lines.push('"');
        self.lines
    }
}

/// The value of a field that may stand at most once.
fn single<'a>(
    fields: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, ExchangeError> {
    let mut same = fields.iter().filter(|(field, _)| field == name);
    let Some((_, value)) = same.next() else { return Ok(None) };
    if same.next().is_some() {
        return Err(ExchangeError::Repeated(name.to_owned()));
    }
    checked(name, value).map(Some)
}

fn checked<'a>(name: &str, value: &'a str) -> Result<&'a str, ExchangeError> {
    if is_covered_value(value) { Ok(value) } else { Err(ExchangeError::Value(name.to_owned())) }
}
