//! A service in under 100 lines: named counters behind a quorum.
//!
//! Run it by itself, without replicas:
//!
//! ```text
//! $ cargo run -p quorate-service --example counter
//! POST /tickets -> 200 1
//! POST /tickets -> 200 2
//! GET  /tickets -> 200 2
//! GET  /coats   -> 404 no such counter
//! POST /tickets/draw -> 200 ticket 2 of 2
//! DELETE /tickets -> 405 use GET, POST, or POST to NAME/draw
//! ```

use quorate_service::{Context, Service, State};
use quorate_types::{Digest, Index, Request, Response, Salt, UnixMillis};

/// `POST /NAME` counts up, `GET /NAME` tells the count, `POST /NAME/draw` draws one of them by lot.
///
/// It has no fields: what it remembers is in the context's state, so that every replica, a
/// restarted one too, gives the same answers.
struct Counter;

impl Service for Counter {
    fn handle(&mut self, cx: &mut Context<'_>, request: &Request) -> Response {
        let name = request.path.trim_start_matches('/');
        match (request.method.as_str(), name.strip_suffix("/draw")) {
            ("GET", None) => match count(cx.state(), name) {
                0 => text(404, "no such counter"),
                count => text(200, &count.to_string()),
            },
            ("POST", None) => {
                let next = count(cx.state(), name).saturating_add(1);
                cx.state().put(name, next.to_be_bytes().to_vec());
                text(200, &next.to_string())
            }
            ("POST", Some(name)) => match count(cx.state(), name) {
                0 => text(404, "no such counter"),
                count => {
                    // The same lot on every replica; the gateway could have chosen it.
                    let drawn = cx.rng().below(count).saturating_add(1);
                    text(200, &format!("ticket {drawn} of {count}"))
                }
            },
            _ => text(405, "use GET, POST, or POST to NAME/draw"),
        }
    }
}

fn count(state: &State, name: &str) -> u64 {
    let stored = state.get(name).and_then(|value| value[..].try_into().ok());
    stored.map_or(0, u64::from_be_bytes)
}

fn text(status: u16, text: &str) -> Response {
    Response::new(status).with_body("text/plain", text.to_owned())
}

/// Sends some requests, as a replica would after they were ordered, and writes down the answers.
pub(crate) fn run() -> String {
    let (mut service, mut state) = (Counter, State::new());
    let mut told = String::new();
    let asked = ["POST /tickets", "POST /tickets", "GET  /tickets", "GET  /coats  "];
    for (index, asked) in
        (1..).zip(asked.into_iter().chain(["POST /tickets/draw", "DELETE /tickets"]))
    {
        let (method, path) = asked.split_once(' ').unwrap_or_default();
        let request = Request {
            method: method.to_owned(),
            path: path.trim().to_owned(),
            query: "?".to_owned(),
            fields: Vec::new(),
            body: Default::default(),
            salt: Salt([0; 16]),
            signature: None,
        };
        let (now, seed) = (UnixMillis(1_763_658_123_456 + index), Digest([7; 32]));
        let mut cx = Context::new(now, Index(index), seed, "counter.example", &mut state);
        let response = service.handle(&mut cx, &request);
        let body = String::from_utf8_lossy(&response.body);
        told.push_str(&format!("{asked} -> {} {body}\n", response.status));
    }
    told
}

// A test runs the rest of this file without it.
#[allow(dead_code)]
fn main() {
    print!("{}", run());
}
