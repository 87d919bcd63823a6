//! An HTTP response as a service gives it.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

/// A status, the fields that the exchange covers, and the content.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// The status code, 200 to 599.
    pub status: u16,
    /// Fields, names in lower case, values trimmed ASCII. `set-cookie` may stand more than once.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Bytes,
}

impl Response {
    /// A response without fields or content.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Bytes::new() }
    }

    /// Adds a field; `name` in lower case.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the content and its type.
    #[must_use]
    pub fn with_body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = self.with_field("content-type", content_type);
        response.body = body.into();
        response
    }

    /// An RFC 9457 problem document with a stable `code`.
    ///
    /// `code` and `detail` are plain text; quotes, backslashes and controls are escaped.
    #[must_use]
    pub fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = format!(
            "{{\"type\":\"about:blank\",\"status\":{status},\"code\":\"{}\",\"detail\":\"{}\"}}",
            escaped(code),
            escaped(detail)
        );
        Self::new(status).with_body("application/problem+json", body)
    }

    /// The value of the first field of that lower-case name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// JSON string content.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_escapes_its_detail() {
        let problem = Response::problem(422, "key-reused", "the key \"a\\b\"\n");
        assert_eq!(
            &problem.body[..],
            br#"{"type":"about:blank","status":422,"code":"key-reused","detail":"the key \"a\\b\"\u000a"}"#
        );
    }
}
