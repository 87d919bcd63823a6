//! From an HTTP request to the request that is ordered, or a refusal.
//!
//! Nothing is repaired on the way. The target is taken byte for byte; a covered field keeps its
//! value but for outer blanks; whatever no exchange covers is left out.

use crate::{codes, codes::Code, config::GatewayConfig, framing, own_paths::leads_to};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
        CONTENT_RANGE, COOKIE, HOST, ORIGIN, UPGRADE,
    },
    request::Parts,
};
use quorate_proof::{
    Coverage, RequestFault, check_request, content_digest, parse_signature, split_target,
};
use quorate_types::{ClientSignature, Refusal, Request, Salt};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// Which request fields go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Passing {
    /// Those that the exchange covers: all that replicas ever see.
    Covered,
    /// All that speak of the request and not of a connection: a relay does not know which further
    /// ones the service has covered, and the gateways behind it drop the rest.
    EndToEnd,
}

/// Fields that end at a relay: of the connection, or its own to write.
const ENDS_HERE: [&str; 15] = [
    "connection",
    "content-digest",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "signature",
    "signature-input",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The rules by which this gateway admits requests.
#[derive(Debug)]
pub(crate) struct Admission {
    passing: Passing,
    authorities: Vec<String>,
    coverage: Coverage,
    /// The covered request fields, in the order of coverage.
    fields: Vec<HeaderName>,
    own_paths: Vec<String>,
    head_bytes_max: usize,
    header_lines_max: usize,
}

/// A request whose content is still to come.
#[derive(Debug)]
pub(crate) struct Draft {
    request: Request,
    digest: Option<HeaderValue>,
}

impl Admission {
    /// Rules for a configuration that [`GatewayConfig::check`] accepted.
    pub(crate) fn new(config: &GatewayConfig, passing: Passing) -> Self {
        let authorities = std::iter::once(&config.authority).chain(&config.aliases);
        let names = config.coverage.request_fields();
        Self {
            passing,
            authorities: authorities.cloned().collect(),
            fields: names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect(),
            coverage: config.coverage.clone(),
            own_paths: config.own_paths.clone(),
            head_bytes_max: config.limits.head_bytes_max,
            header_lines_max: config.limits.header_lines_max,
        }
    }

    /// What holds for every request, whoever answers it: size, target, host, method.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) fn check(&self, head: &Parts) -> Result<(), Refusal> {
        if head.version == Version::HTTP_2 {
            self.check_size(head)?;
        }
        self.check_target(head)?;
        self.check_host(head)?;
        if head.method == Method::TRACE {
            return Err(codes::METHOD_UNSUPPORTED.refusal("TRACE cannot be ordered"));
        }
        Ok(())
    }

    /// The request to order, as far as the head tells it.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) fn draft(&self, head: &Parts) -> Result<Draft, Refusal> {
        let headers = &head.headers;
        check_unsupported(headers)?;
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let (path, query) = split_target(target).ok_or_else(|| target_form("not a plain path"))?;
        if leads_to(&self.own_paths, path) {
            let detail = "the path is the replicas' own way to their copies of the service";
            return Err(codes::COPY_OWN_PATH.refusal(detail));
        }
        let mut request = Request {
            method: head.method.as_str().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            fields: self.fields(headers, head.version)?,
            body: Bytes::new(),
            salt: draw_salt()?,
            signature: signature(headers)?,
        };
        check_request(&request, &self.coverage).map_err(|fault| refusal_of(&fault))?;
        if self.passing == Passing::EndToEnd {
            request.fields.extend(self.further_fields(headers)?);
        }
        let digest = single(headers, &CONTENT_DIGEST, &codes::FIELD_REPEATED)?.cloned();
        Ok(Draft { request, digest })
    }

    fn check_size(&self, head: &Parts) -> Result<(), Refusal> {
        let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let length = target + head.headers.iter().map(line).sum::<usize>();
        framing::check_head_length(target, length, self.head_bytes_max)?;
        if head.headers.len() > self.header_lines_max {
            return Err(framing::too_many_headers(self.header_lines_max));
        }
        Ok(())
    }

    fn check_target(&self, head: &Parts) -> Result<(), Refusal> {
        // In HTTP/1 the guard refuses what is not in origin form; HTTP/2 always names both.
        if head.version != Version::HTTP_2 && head.uri.authority().is_some() {
            return Err(target_form("the target is a whole URL"));
        }
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        framing::check_target(head.method.as_str(), target)
    }

    fn check_host(&self, head: &Parts) -> Result<(), Refusal> {
        let field = single(&head.headers, &HOST, &codes::HOST_AMBIGUOUS)?;
        let field = field.map(|host| text(&HOST, host)).transpose()?;
        let pseudo = head.uri.authority().map(http::uri::Authority::as_str);
        let host = match (pseudo, field) {
            (Some(pseudo), Some(field)) if !pseudo.eq_ignore_ascii_case(field) => {
                return Err(codes::HOST_AMBIGUOUS.refusal("Host differs from :authority"));
            }
            (Some(host), _) | (None, Some(host)) => host,
            (None, None) => return Err(codes::HOST_MISSING.refusal("the request names no host")),
        };
        if self.authorities.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        Err(codes::HOST_FOREIGN.refusal(format!("this gateway does not serve {host}")))
    }

    /// The covered fields that are present, in the order of coverage.
    fn fields(
        &self,
        headers: &HeaderMap,
        version: Version,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let mut fields = Vec::with_capacity(4);
        for name in &self.fields {
            let value = if version == Version::HTTP_2 && name == COOKIE {
                cookie(headers)?
            } else {
                let value = single(headers, name, &codes::FIELD_REPEATED)?;
                value.map(|value| text(name, value).map(str::to_owned)).transpose()?
            };
            if let Some(value) = value {
                fields.push((name.as_str().to_owned(), value));
            }
        }
        Ok(fields)
    }

    /// What a relay passes on beside the covered fields, line by line.
    fn further_fields(&self, headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
        let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<&str> =
            connection.flat_map(|value| value.split(',')).map(|name| name.trim()).collect();
        let ends_here = |name: &HeaderName| {
            ENDS_HERE.contains(&name.as_str())
                || name.as_str().starts_with("quorate-")
                || self.fields.contains(name)
                || named.iter().any(|named| name.as_str().eq_ignore_ascii_case(named))
        };
        let further = headers.iter().filter(|(name, _)| !ends_here(name));
        further
            .map(|(name, value)| Ok((name.as_str().to_owned(), text(name, value)?.to_owned())))
            .collect()
    }
}

impl Draft {
    /// Adds the content, which must be what a `Content-Digest` of the client says.
    ///
    /// # Errors
    /// `digest-mismatch` or `digest-unsupported`.
    pub(crate) fn with_content(mut self, content: Bytes) -> Result<Request, Refusal> {
        if let Some(digest) = &self.digest {
            check_digest(digest, &content)?;
        }
        self.request.body = content;
        Ok(self.request)
    }
}

/// Whether a web page's browser asks for leave: the gateway answers that, and orders nothing.
pub(crate) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The content's length where the head states it; hyper has checked the number.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let value = single(headers, &CONTENT_LENGTH, &codes::FRAMING_AMBIGUOUS)?;
    Ok(value.and_then(|value| value.to_str().ok()?.parse().ok()))
}

fn check_unsupported(headers: &HeaderMap) -> Result<(), Refusal> {
    // RFC 9113 lets a server go on in HTTP/1.1 where a client offers the old upgrade to HTTP/2.
    if headers.get(UPGRADE).is_some_and(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c")) {
        return Err(codes::UPGRADE_UNSUPPORTED.refusal("the protocol cannot be changed"));
    }
    let accept = headers.get(ACCEPT).map_or(&[][..], HeaderValue::as_bytes);
    let media = accept.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if media.eq_ignore_ascii_case(b"text/event-stream") && !accept.contains(&b',') {
        return Err(codes::EVENT_STREAM_UNSUPPORTED.refusal("event streams are not supported"));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(codes::CONTENT_ENCODING.refusal("the content must not be encoded"));
    }
    if headers.contains_key(CONTENT_RANGE) {
        return Err(codes::CONTENT_RANGE.refusal("Content-Range cannot be ordered"));
    }
    Ok(())
}

/// The only value of a field; `code` refuses a second one.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    code: &Code,
) -> Result<Option<&'a HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(code.refusal(format!("the field {name} stands more than once"))),
    }
}

/// A value as an exchange holds it: ASCII, without outer blanks.
fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Refusal> {
    let text = value.to_str().map_err(|_| {
        codes::FIELD_VALUE.refusal(format!("the field {name} is not printable ASCII"))
    })?;
    Ok(text.trim_matches([' ', '\t']))
}

/// The crumbs of an HTTP/2 cookie, joined (RFC 9113, section 8.2.3).
fn cookie(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut joined: Option<String> = None;
    for crumb in headers.get_all(COOKIE) {
        let crumb = text(&COOKIE, crumb)?;
        match &mut joined {
            Some(joined) => {
                joined.push_str("; ");
                joined.push_str(crumb);
            }
            None => joined = Some(crumb.to_owned()),
        }
    }
    Ok(joined)
}

fn check_digest(digest: &HeaderValue, content: &[u8]) -> Result<(), Refusal> {
    let stated = digest.as_bytes().trim_ascii();
    if stated == content_digest(content).as_bytes() {
        return Ok(());
    }
    // `sha-256=:` + 44 characters of base64 + `:`.
    if stated.starts_with(b"sha-256=:") && stated.len() == 54 && stated.ends_with(b":") {
        return Err(codes::DIGEST_MISMATCH.refusal("the Content-Digest is not the content's"));
    }
    Err(codes::DIGEST_UNSUPPORTED.refusal("the Content-Digest is not one sha-256 digest"))
}

fn signature(headers: &HeaderMap) -> Result<Option<ClientSignature>, Refusal> {
    let input = single(headers, &SIGNATURE_INPUT, &codes::SIGNATURE_MALFORMED)?;
    let value = single(headers, &SIGNATURE, &codes::SIGNATURE_MALFORMED)?;
    match (input, value) {
        (None, None) => Ok(None),
        (Some(input), Some(value)) => {
            let input = text(&SIGNATURE_INPUT, input)?;
            let parsed = parse_signature(input, text(&SIGNATURE, value)?);
            parsed.map(Some).map_err(|error| codes::SIGNATURE_MALFORMED.refusal(error.to_string()))
        }
        _ => {
            let detail = "Signature-Input and Signature stand together or not at all";
            Err(codes::SIGNATURE_MALFORMED.refusal(detail))
        }
    }
}

fn draw_salt() -> Result<Salt, Refusal> {
    let mut salt = [0; Salt::SIZE];
    getrandom::fill(&mut salt).map_err(|error| codes::RANDOMNESS.refusal(error.to_string()))?;
    Ok(Salt(salt))
}

fn target_form(detail: &str) -> Refusal {
    codes::TARGET_FORM.refusal(detail)
}

fn refusal_of(fault: &RequestFault) -> Refusal {
    Refusal {
        status: fault.status(),
        code: fault.code(),
        detail: fault.to_string(),
        retry_after_s: None,
    }
}
