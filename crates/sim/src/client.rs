//! Clients that retry under one key at any gateway, and remember what they were told.

use crate::rng::Rng;
use bytes::Bytes;
use quorate_types::{Index, Request, Response, Salt, Time};

/// What a client asked, and what it was told in the end.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The client.
    pub client: usize,
    /// The request's `Idempotency-Key`.
    pub key: String,
    /// The request without its salt, which each gateway draws.
    pub request: Request,
    /// When it was sent first.
    pub called: Time,
    /// When a proven answer came, and which.
    pub returned: Option<(Time, Index, Response)>,
}

/// One client: a closed loop over a few keys.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// Requests still to make.
    pub left: usize,
    /// Which operation of the history is under way.
    pub current: Option<usize>,
    rng: Rng,
}

impl Client {
    /// A client that will make `requests` requests.
    #[must_use]
    pub fn new(number: usize, requests: usize, rng: Rng) -> Self {
        Self { number, left: requests, current: None, rng }
    }

    /// The next operation, if any is left.
    pub fn next(&mut self, now: Time) -> Option<Operation> {
        self.left = self.left.checked_sub(1)?;
        let path = format!("/kv/k{}", self.rng.below(3));
        let value = format!("value-{}-{}", self.number, self.left);
        let (method, body) = match self.rng.below(10) {
            0..=4 => ("PUT", Bytes::from(value)),
            5..=7 => ("GET", Bytes::new()),
            8 => ("DELETE", Bytes::new()),
            _ => {
                let set = format!("{{\"expect\":null,\"set\":\"{value}\"}}");
                return Some(self.operation(now, "POST", format!("{path}/cas"), Bytes::from(set)));
            }
        };
        Some(self.operation(now, method, path, body))
    }

    /// The gateway for the next try.
    pub fn gateway(&mut self, n: u16) -> u16 {
        u16::try_from(self.rng.below(n.into())).unwrap_or(0)
    }

    /// A salt, as the gateway that takes the request would draw it.
    pub fn salt(&mut self) -> Salt {
        Salt(self.rng.sixteen())
    }

    fn operation(&mut self, now: Time, method: &str, path: String, body: Bytes) -> Operation {
        let key = format!("\"client-{:04}-{:016x}\"", self.number, self.rng.draw());
        let request = Request {
            method: method.to_owned(),
            path,
            query: "?".to_owned(),
            fields: vec![("idempotency-key".to_owned(), key.clone())],
            body,
            salt: Salt([0; 16]),
            signature: None,
        };
        Operation { client: self.number, key, request, called: now, returned: None }
    }
}
