//! What the requests of a load look like.

use crate::failure::Failure;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::Full;
use quorate_client::{Call, Client, Endpoint, Options, RequestSigner, quoted_key};
use quorate_proof::{Policy, ReceivedResponse, SentRequest, Strict, verify};
use std::cell::Cell;

/// The requests that were asked for.
pub(super) struct Shape<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) content: Content<'a>,
}

/// What requests carry.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    /// So many bytes of no meaning.
    Bytes(usize),
    /// This text, in which `{n}` stands for the request's number.
    Text { text: &'a str, media_type: &'a str },
}

/// Makes requests, each with a fresh key and number, and judges answers.
pub(super) struct Load {
    method: Method,
    /// The target before and after each `{n}`.
    path: Vec<String>,
    body: Body,
    media_type: HeaderValue,
    policy: Option<Policy>,
    signing: Option<Client>,
    verify: bool,
    key: Cell<u128>,
    number: Cell<u64>,
}

/// A request about to be sent, and what is needed to verify its answer.
pub(super) struct Prepared {
    pub(super) message: http::Request<Full<Bytes>>,
    pub(super) sent: Option<SentRequest>,
}

/// The content of the next request.
enum Body {
    /// Always the same.
    Fixed(Bytes),
    /// The text before and after each number.
    Parts(Vec<String>),
}

/// What content of no meaning is.
pub(super) const MEDIA_TYPE: &str = "application/octet-stream";

/// The least number that stands for `{n}`: all have 16 digits, so that requests are of one length
/// and a number is base64 as well.
const NUMBER_MIN: u64 = 1_000_000_000_000_000;

impl Load {
    /// A load. `seed` makes its keys, and the numbers that stand for `{n}`, unlike those of other
    /// runs.
    pub(super) fn new(
        shape: &Shape<'_>,
        policy: Option<Policy>,
        signer: Option<RequestSigner>,
        verify: bool,
        seed: u128,
    ) -> Result<Self, Failure> {
        let method = Method::from_bytes(shape.method.as_bytes())
            .map_err(|_| Failure::usage("request-method", "the method is not a token"))?;
        let path: Vec<String> = shape.path.split("{n}").map(str::to_owned).collect();
        let sample = path.join("0");
        if quorate_proof::split_target(&sample).is_none() || sample.parse::<Uri>().is_err() {
            return Err(Failure::usage("request-path", format!("`{sample}` is no request target")));
        }
        let (body, media_type) = match shape.content {
            // Content that does not compress, should anything on the way try to.
            Content::Bytes(bytes) => {
                let body = (0..bytes).map(|i| b'!' + ((i * i * 31 + i * 7) % 90) as u8);
                (Body::Fixed(body.collect()), MEDIA_TYPE)
            }
            Content::Text { text, media_type } => (Body::of(text), media_type),
        };
        let media_type = HeaderValue::from_str(media_type).map_err(|_| {
            Failure::usage("request-unwritable", format!("`{media_type}` is no media type"))
        })?;
        let signing = signer.zip(policy.clone()).map(|(signer, policy)| {
            Client::new(policy.into(), Vec::new(), Options::default()).signing_as(signer)
        });
        Ok(Self {
            method,
            path,
            body,
            media_type,
            policy,
            signing,
            verify,
            key: Cell::new(seed),
            number: Cell::new(NUMBER_MIN + (seed >> 88) as u64),
        })
    }

    /// The next request, for a gateway of this authority.
    pub(super) fn next(&self, host: &HeaderValue) -> Option<Prepared> {
        let (target, key, body) = self.draw();
        if self.signing.is_some() || self.verify {
            return self.kept(host, &target, key, body);
        }
        let mut fields = HeaderMap::with_capacity(4);
        fields.insert(header::HOST, host.clone());
        if !body.is_empty() {
            fields.insert(header::CONTENT_TYPE, self.media_type.clone());
        }
        fields.insert("idempotency-key", HeaderValue::try_from(key).ok()?);
        Some(Prepared { message: self.message(&target, fields, body)?, sent: None })
    }

    /// The next request, to be sent by others.
    pub(super) fn next_to_save(&self) -> Option<SentRequest> {
        let (target, key, body) = self.draw();
        self.sent(&target, key, body)
    }

    /// The target, the key and the content of the next request.
    fn draw(&self) -> (String, String, Bytes) {
        let number = self.number.get();
        self.number.set(number.wrapping_add(1));
        let key = self.key.get();
        self.key.set(key.wrapping_add(1));
        let number = number.to_string();
        (self.path.join(&number), quoted_key(key), self.body.with(&number))
    }

    /// A request that is signed, or of which a copy is kept to verify its answer.
    fn kept(&self, host: &HeaderValue, target: &str, key: String, body: Bytes) -> Option<Prepared> {
        let sent = self.sent(target, key, body.clone())?;
        let mut fields = HeaderMap::with_capacity(8);
        fields.insert(header::HOST, host.clone());
        for (name, value) in &sent.fields {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            fields.insert(name, HeaderValue::from_str(value).ok()?);
        }
        Some(Prepared { message: self.message(target, fields, body)?, sent: Some(sent) })
    }

    /// A request, signed if all are to be.
    fn sent(&self, target: &str, key: String, body: Bytes) -> Option<SentRequest> {
        let (path, query) = quorate_proof::split_target(target)?;
        let mut fields = vec![("idempotency-key".to_owned(), key)];
        if !body.is_empty() {
            let media_type = self.media_type.to_str().ok()?;
            fields.push(("content-type".to_owned(), media_type.to_owned()));
        }
        let (method, path, query) =
            (self.method.as_str().to_owned(), path.to_owned(), query.to_owned());
        match &self.signing {
            Some(client) => client.prepare(Call { method, path, query, fields, body }).ok(),
            None => Some(SentRequest { method, path, query, fields, body }),
        }
    }

    fn message(
        &self,
        target: &str,
        fields: HeaderMap,
        body: Bytes,
    ) -> Option<http::Request<Full<Bytes>>> {
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = target.parse().ok()?;
        *message.headers_mut() = fields;
        Some(message)
    }

    /// Whether answers are to be verified.
    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    /// The code of what is wrong with an answer, if anything is.
    pub(super) fn judge(
        &self,
        sent: &SentRequest,
        response: &ReceivedResponse,
    ) -> Result<(), &'static str> {
        let Some(policy) = &self.policy else { return Ok(()) };
        verify(policy, &Strict, sent, response).map(|_| ()).map_err(|error| error.code())
    }
}

impl Body {
    fn of(text: &str) -> Self {
        let parts: Vec<String> = text.split("{n}").map(str::to_owned).collect();
        match parts.len() {
            1 => Self::Fixed(Bytes::copy_from_slice(text.as_bytes())),
            _ => Self::Parts(parts),
        }
    }

    fn with(&self, number: &str) -> Bytes {
        match self {
            Self::Fixed(bytes) => bytes.clone(),
            Self::Parts(parts) => parts.join(number).into(),
        }
    }
}

/// The `Host` of an endpoint.
pub(super) fn host(endpoint: &Endpoint) -> HeaderValue {
    HeaderValue::from_str(endpoint.authority()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_key_and_a_number_of_its_own() {
        let content = Content::Text { text: "<{n}>", media_type: "text/plain" };
        let shape = Shape { method: "PUT", path: "/kv/a-{n}-{n}?x", content };
        let load = Load::new(&shape, None, None, false, 7 << 88).unwrap();
        let host = HeaderValue::from_static("h");
        let (one, two) = (load.next(&host).unwrap(), load.next(&host).unwrap());
        assert_eq!(one.message.uri(), "/kv/a-1000000000000007-1000000000000007?x");
        assert_eq!(two.message.uri(), "/kv/a-1000000000000008-1000000000000008?x");
        let key = |prepared: &Prepared| prepared.message.headers()["idempotency-key"].clone();
        assert_ne!(key(&one), key(&two));
        assert_eq!(key(&one).len(), 34);
        assert_eq!(one.message.headers()["content-type"], "text/plain");
        assert_eq!(load.body.with("1000000000000009"), "<1000000000000009>");
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_refused_at_once() {
        let code = |method, path| {
            let shape = Shape { method, path, content: Content::Bytes(0) };
            Load::new(&shape, None, None, false, 0).err().map(|failure| failure.code)
        };
        assert_eq!(code("P UT", "/").as_deref(), Some("request-method"));
        assert_eq!(code("PUT", "kv/{n}").as_deref(), Some("request-path"));
        assert_eq!(code("PUT", "/a b").as_deref(), Some("request-path"));
    }
}
