//! Which header fields an exchange covers.

use crate::text::is_lower_token;
use thiserror::Error;

/// The request fields that every exchange covers where they are present, in this order.
pub const REQUEST_FIELDS: &[&str] = &[
    "content-type",
    "accept",
    "accept-language",
    "authorization",
    "cookie",
    "if-match",
    "if-none-match",
    "idempotency-key",
];

/// The response fields that every exchange covers where they are present, in this order.
pub const RESPONSE_FIELDS: &[&str] =
    &["content-type", "etag", "location", "cache-control", "set-cookie", "quorate-covers"];

/// The further fields that a service has covered, part of its configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// Request fields, lower case, in the order of the exchange.
    pub request: Vec<String>,
    /// Response fields, lower case, in the order of the exchange.
    pub response: Vec<String>,
}

/// Why fields cannot be covered, or a `Quorate-Covers` is not one.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CoverageError {
    /// Not a lower-case field name.
    #[error("`{0}` is not a field name in lower case")]
    Name(String),
    /// Covered in every exchange already, or one of Quorate's own.
    #[error("`{0}` is covered already, or is not the service's to cover")]
    Reserved(String),
    /// Named more than once on one side.
    #[error("`{0}` is named twice")]
    Twice(String),
    /// A request field after a response field.
    #[error("`{0};req` stands after a response field")]
    Order(String),
}

impl CoverageError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "covers-name",
            Self::Reserved(_) => "covers-reserved",
            Self::Twice(_) => "covers-twice",
            Self::Order(_) => "covers-order",
        }
    }
}

impl Coverage {
    /// Reads a `Quorate-Covers` value: `x-api-key;req, x-total`.
    ///
    /// # Errors
    /// [`CoverageError`] for what [`Self::check`] refuses, and for any other spelling.
    pub fn parse(value: &str) -> Result<Self, CoverageError> {
        let mut coverage = Self::default();
        for item in value.split(", ") {
            match item.strip_suffix(";req") {
                Some(name) if !coverage.response.is_empty() => {
                    return Err(CoverageError::Order(name.to_owned()));
                }
                Some(name) => coverage.request.push(name.to_owned()),
                None => coverage.response.push(item.to_owned()),
            }
        }
        coverage.check()?;
        Ok(coverage)
    }

    /// Whether a service may ask for this.
    ///
    /// # Errors
    /// [`CoverageError`] for a name that is not in lower case, is covered anyway on its side,
    /// belongs to Quorate, or stands twice on one side.
    pub fn check(&self) -> Result<(), CoverageError> {
        check_side(&self.request, REQUEST_FIELDS)?;
        check_side(&self.response, RESPONSE_FIELDS)
    }

    /// The value of `Quorate-Covers`; `None` where nothing further is covered.
    #[must_use]
    pub fn header_value(&self) -> Option<String> {
        let mut out = String::new();
        let request = self.request.iter().map(|name| (name, ";req"));
        for (name, side) in request.chain(self.response.iter().map(|name| (name, ""))) {
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(name);
            out.push_str(side);
        }
        (!out.is_empty()).then_some(out)
    }

    /// All covered request fields, in the order of the exchange.
    pub fn request_fields(&self) -> impl Iterator<Item = &str> {
        REQUEST_FIELDS.iter().copied().chain(self.request.iter().map(String::as_str))
    }

    /// All covered response fields, in the order of the exchange.
    pub fn response_fields(&self) -> impl Iterator<Item = &str> {
        RESPONSE_FIELDS.iter().copied().chain(self.response.iter().map(String::as_str))
    }
}

fn check_side(names: &[String], always: &[&str]) -> Result<(), CoverageError> {
    for (position, name) in names.iter().enumerate() {
        if !is_lower_token(name) {
            return Err(CoverageError::Name(name.clone()));
        }
        let own = name.starts_with("quorate-") || name == "content-digest";
        if own || always.contains(&name.as_str()) {
            return Err(CoverageError::Reserved(name.clone()));
        }
        if names.iter().take(position).any(|earlier| earlier == name) {
            return Err(CoverageError::Twice(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_reads_back() {
        for text in ["x-api-key;req, x-total", "x-total", "x-a;req", "x-a;req, x-b;req, x-a, x-b"] {
            let coverage = Coverage::parse(text).unwrap();
            assert_eq!(coverage.header_value().as_deref(), Some(text));
        }
        assert_eq!(Coverage::default().header_value(), None);
    }

    #[test]
    fn an_announcement_in_any_other_form_is_refused() {
        for (text, code) in [
            ("", "covers-name"),
            ("x-a,x-b", "covers-name"),
            ("x-a, ", "covers-name"),
            ("X-A", "covers-name"),
            ("x-a ;req", "covers-name"),
            ("x-a;res", "covers-name"),
            ("x-a, x-b;req", "covers-order"),
            ("x-a, x-a", "covers-twice"),
            ("x-a;req, x-a;req", "covers-twice"),
            ("quorate-foo", "covers-reserved"),
            ("content-digest;req", "covers-reserved"),
            ("content-type;req", "covers-reserved"),
            ("etag", "covers-reserved"),
        ] {
            assert_eq!(Coverage::parse(text).map_err(|error| error.code()), Err(code), "{text:?}");
        }
    }
}
