//! A client's own RFC 9421 signature over its request.
//!
//! A gateway can alter a request before it is ordered; one that the client signed it cannot. The
//! signature covers at least `@method @authority @path @query content-digest idempotency-key`, in
//! any order, and may cover further fields of the exchange. Its parameters are `created`, `keyid`
//! (base64 of the raw public key) and `alg` (`ed25519`), and may be `nonce` and `tag`.

use crate::{
    exchange::content_digest,
    request_check::quoted_string,
    text::{base64_array, is_lower_token, number, push_base64, push_number},
};
use quorate_types::{ClientSignature, PublicKey, Request, Signature};
use std::borrow::Cow;
use thiserror::Error;

/// What a signature covers at the least.
pub const COMPONENTS: [&str; 6] =
    ["@method", "@authority", "@path", "@query", "content-digest", "idempotency-key"];

/// How the parameters begin under which our clients sign: with [`COMPONENTS`] and nothing else.
const OURS_BEFORE_CREATED: &str = concat!(
    "(\"@method\" \"@authority\" \"@path\" \"@query\" ",
    "\"content-digest\" \"idempotency-key\");created=",
);
const OURS_BEFORE_KEY: &str = ";keyid=\"";
const OURS_AFTER_KEY: &str = "\";alg=\"ed25519\"";

/// The longest `@signature-params`, in bytes.
pub const PARAMS_BYTES_MOST: usize = 4096;

/// Why a client's signature is not one that replicas can check.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ClientSignatureError {
    /// `Signature-Input` or `Signature` is not one signature under one label, canonically spelt.
    #[error("Signature-Input and Signature do not hold one signature under one label")]
    Fields,
    /// The parameters are not canonical, too long, or one of them is unknown, missing or repeated.
    #[error("the signature's parameters are not `created`, `keyid` and `alg` in canonical form")]
    Parameters,
    /// `alg` is not `ed25519`.
    #[error("the signature's algorithm is not ed25519")]
    Algorithm,
    /// `keyid` is not the base64 of the 32-byte key.
    #[error("the signature's keyid is not a raw public key in base64")]
    KeyId,
    /// One of [`COMPONENTS`] is not covered.
    #[error("the signature does not cover `{0}`")]
    Uncovered(&'static str),
    /// A component that the ordered request does not have, or one with parameters.
    #[error("the signature covers `{0}`, which the request does not have")]
    Component(String),
}

impl ClientSignatureError {
    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fields => "signature-fields",
            Self::Parameters => "signature-parameters",
            Self::Algorithm => "signature-algorithm",
            Self::KeyId => "signature-keyid",
            Self::Uncovered(_) => "signature-uncovered",
            Self::Component(_) => "signature-component",
        }
    }
}

/// Reads the values of `Signature-Input` and `Signature`: one signature, under one label.
///
/// # Errors
/// [`ClientSignatureError`]; the signature itself is not checked.
pub fn parse_signature(
    signature_input: &str,
    signature: &str,
) -> Result<ClientSignature, ClientSignatureError> {
    let (label, params) = signature_input.split_once('=').ok_or(ClientSignatureError::Fields)?;
    let (same, value) = signature.split_once('=').ok_or(ClientSignatureError::Fields)?;
    if label != same || !is_label(label) {
        return Err(ClientSignatureError::Fields);
    }
    let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
    let signature = value.and_then(base64_array).ok_or(ClientSignatureError::Fields)?;
    let key = Params::read(params)?.key;
    Ok(ClientSignature { key, params: params.to_owned(), signature: Signature(signature) })
}

/// An RFC 8941 dictionary key.
fn is_label(label: &str) -> bool {
    let right =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
    label.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') && label.bytes().all(right)
}

/// The bytes that the client signed, by the parameters that it sent.
///
/// # Errors
/// [`ClientSignatureError`] when the parameters are not acceptable, are another key's than
/// `signature` names, or cover what the request does not have.
pub fn signature_base(
    request: &Request,
    authority: &str,
    signature: &ClientSignature,
) -> Result<String, ClientSignatureError> {
    let params = Params::read(&signature.params)?;
    if params.key != signature.key {
        return Err(ClientSignatureError::KeyId);
    }
    let mut base = String::with_capacity(512 + signature.params.len() + request.path.len());
    for name in &*params.components {
        let digest;
        let value = match *name {
            "@method" => request.method.as_str(),
            "@authority" => authority,
            "@path" => &request.path,
            "@query" => &request.query,
            "content-digest" => {
                digest = content_digest(&request.body);
                &digest
            }
            field => request
                .field(field)
                .ok_or_else(|| ClientSignatureError::Component(field.to_owned()))?,
        };
        base.push('"');
        base.push_str(name);
        base.push_str("\": ");
        base.push_str(value);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(&signature.params);
    Ok(base)
}

/// When the client says that it signed, in Unix seconds; `None` for unacceptable parameters.
#[must_use]
pub fn created_s(signature: &ClientSignature) -> Option<u64> {
    Params::read(&signature.params).ok().map(|params| params.created_s)
}

/// The parameters under which our clients sign: what stands after the label in `Signature-Input`.
#[must_use]
pub fn signature_params(created_s: u64, key: &PublicKey) -> String {
    let mut out = String::with_capacity(192);
    out.push_str(OURS_BEFORE_CREATED);
    push_number(&mut out, created_s);
    out.push_str(OURS_BEFORE_KEY);
    push_base64(&mut out, &key.0);
    out.push_str(OURS_AFTER_KEY);
    out
}

/// `@signature-params`, read in its canonical spelling only.
struct Params<'a> {
    components: Cow<'a, [&'a str]>,
    created_s: u64,
    key: PublicKey,
}

impl<'a> Params<'a> {
    fn read(text: &'a str) -> Result<Self, ClientSignatureError> {
        if text.len() > PARAMS_BYTES_MOST {
            return Err(ClientSignatureError::Parameters);
        }
        if let Some(ours) = Self::read_ours(text) {
            return Ok(ours);
        }
        let (list, rest) = text
            .strip_prefix('(')
            .and_then(|text| text.split_once(')'))
            .ok_or(ClientSignatureError::Parameters)?;
        let components = Cow::Owned(components(list)?);
        let (created_s, key) = parameters(rest)?;
        Ok(Self { components, created_s, key })
    }

    /// What [`signature_params`] writes, which is compared instead of parsed; `None` for any other
    /// text, right or wrong. Every replica reads the parameters of every signed request.
    fn read_ours(text: &str) -> Option<Self> {
        let text = text.strip_prefix(OURS_BEFORE_CREATED)?.strip_suffix(OURS_AFTER_KEY)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (created_s, rest) = text.split_at_checked(digits)?;
        let key = base64_array(rest.strip_prefix(OURS_BEFORE_KEY)?)?;
        let components = Cow::Borrowed(&COMPONENTS[..]);
        Some(Self { components, created_s: number(created_s)?, key: PublicKey(key) })
    }
}

/// Quoted names with one blank between them, each once and without parameters, [`COMPONENTS`]
/// among them.
fn components(list: &str) -> Result<Vec<&str>, ClientSignatureError> {
    let mut names: Vec<&str> = Vec::with_capacity(COMPONENTS.len() + 2);
    for item in list.split(' ') {
        let name = item.strip_prefix('"').and_then(|item| item.strip_suffix('"'));
        let derived = |name: &str| name.starts_with('@') && COMPONENTS.contains(&name);
        let name = name.filter(|name| is_lower_token(name) || derived(name));
        let name = name.ok_or_else(|| ClientSignatureError::Component(item.to_owned()))?;
        if names.contains(&name) {
            return Err(ClientSignatureError::Parameters);
        }
        names.push(name);
    }
    match COMPONENTS.into_iter().find(|needed| !names.contains(needed)) {
        Some(needed) => Err(ClientSignatureError::Uncovered(needed)),
        None => Ok(names),
    }
}

/// `;created=N;keyid="..";alg="ed25519"` in any order, `nonce` and `tag` allowed, each once.
fn parameters(mut rest: &str) -> Result<(u64, PublicKey), ClientSignatureError> {
    let malformed = || ClientSignatureError::Parameters;
    let (mut created_s, mut key, mut algorithm) = (None, None, None);
    let mut seen: Vec<&str> = Vec::with_capacity(5);
    while !rest.is_empty() {
        let (name, after) =
            rest.strip_prefix(';').and_then(|r| r.split_once('=')).ok_or_else(malformed)?;
        let end = value_end(after).ok_or_else(malformed)?;
        let (value, after) = after.split_at_checked(end).ok_or_else(malformed)?;
        if seen.contains(&name) {
            return Err(malformed());
        }
        seen.push(name);
        match name {
            "created" => created_s = number(value),
            "keyid" => {
                let text = quoted_string(value).ok_or_else(malformed)?;
                let bytes = base64_array(text).ok_or(ClientSignatureError::KeyId)?;
                key = Some(PublicKey(bytes));
            }
            "alg" => algorithm = quoted_string(value),
            "nonce" | "tag" if quoted_string(value).is_some() => {}
            _ => return Err(malformed()),
        }
        rest = after;
    }
    match algorithm {
        Some("ed25519") => {}
        Some(_) => return Err(ClientSignatureError::Algorithm),
        None => return Err(malformed()),
    }
    created_s.zip(key).ok_or_else(malformed)
}

/// Where a parameter's value ends: after a quoted string, or before the next `;`.
fn value_end(text: &str) -> Option<usize> {
    let Some(inner) = text.strip_prefix('"') else {
        return Some(text.find(';').unwrap_or(text.len()));
    };
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some(at + 2),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As [`Params::read`] would without its short cut.
    fn parsed(text: &str) -> Option<(Vec<&str>, u64, PublicKey)> {
        let (list, rest) = text.strip_prefix('(')?.split_once(')')?;
        let (created_s, key) = parameters(rest).ok()?;
        Some((components(list).ok()?, created_s, key))
    }

    #[test]
    fn what_our_clients_sign_under_is_read_as_it_is_parsed() {
        for (created_s, key) in [(0, [0; 32]), (1_700_000_000, [7; 32]), ((1 << 63) - 1, [255; 32])]
        {
            let text = signature_params(created_s, &PublicKey(key));
            let ours = Params::read_ours(&text).unwrap();
            let read = (ours.components.to_vec(), ours.created_s, ours.key);
            assert_eq!(read, (COMPONENTS.to_vec(), created_s, PublicKey(key)));
            assert_eq!(parsed(&text), Some(read));
        }
    }

    #[test]
    fn what_differs_from_it_in_one_byte_is_never_read_otherwise_than_it_is_parsed() {
        let text = signature_params(1_700_000_000, &PublicKey([7; 32]));
        for at in 0..text.len() {
            for byte in [b'"', b';', b'=', b'0', b'A', b'/', b' '] {
                let mut other = text.clone().into_bytes();
                other[at] = byte;
                let other = String::from_utf8(other).unwrap();
                let ours = Params::read_ours(&other);
                let read = ours.map(|ours| (ours.components.to_vec(), ours.created_s, ours.key));
                assert!(read.is_none() || read == parsed(&other), "{other}");
            }
        }
    }
}
