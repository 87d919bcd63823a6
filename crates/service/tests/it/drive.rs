//! Runs a service by itself, without replicas: one request, one index.

use bytes::Bytes;
use quorate_service::{Context, Service, State};
use quorate_types::{Digest, Index, Request, Response, Salt, UnixMillis};

pub(crate) fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request {
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: "?".to_owned(),
        fields: Vec::new(),
        body: body.into(),
        salt: Salt([0; 16]),
        signature: None,
    }
}

/// A service with its state; the next request has index `index + 1`.
pub(crate) struct Drive<S> {
    service: S,
    pub(crate) state: State,
    pub(crate) index: u64,
}

impl<S: Service> Drive<S> {
    pub(crate) fn new(service: S) -> Self {
        Self { service, state: State::new(), index: 0 }
    }

    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.index += 1;
        let seed = Digest([u8::try_from(self.index % 251).unwrap(); 32]);
        let now = UnixMillis(1_000_000 + self.index);
        let index = Index(self.index);
        let mut cx = Context::new(now, index, seed, "shop.example", &mut self.state);
        self.service.handle(&mut cx, request)
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &'static str) -> Response {
        self.send(&request(method, path, body))
    }

    /// The status of a request with one field and the content `new`.
    pub(crate) fn ask_if(&mut self, method: &str, path: &str, field: (&str, &str)) -> u16 {
        let mut request = request(method, path, "new");
        request.fields.push((field.0.to_owned(), field.1.to_owned()));
        self.send(&request).status
    }
}

/// The `code` of a problem document.
pub(crate) fn code(response: &Response) -> String {
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["status"], response.status);
    problem["code"].as_str().unwrap().to_owned()
}
