//! What a user writes: the [`Service`] trait, its [`Context`] and [`State`]; built-in services.
//!
//! A service answers one HTTP request at a time, in the agreed order, on every replica. It must
//! answer alike on each: what it reads is the request and its context, and what it remembers is in
//! the context's state, never in itself. Then snapshots, state transfer and the state root need no
//! code in the service.
//!
//! | file | holds |
//! |---|---|
//! | [`context`] | the agreed time, index, randomness and state, as a service sees them |
//! | [`rng`] | the deterministic generator of [`Context::rng`] |
//! | [`state`] | the replicated map, cheap to clone, with an incremental root |
//! | [`page`] | a piece of the map that proves itself against the root, for state transfer |
//! | `trie`, `hash` | how the map is laid out, and what its root is the hash of |
//! | [`kv`] | the built-in key-value service |
//! | [`cart`] | the built-in shopping cart |
//! | [`elsewhere`] | what stands in for a service that runs outside |
//!
//! ```
//! use quorate_service::{Context, Service};
//! use quorate_types::{Request, Response};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     fn handle(&mut self, _: &mut Context<'_>, request: &Request) -> Response {
//!         Response::new(200).with_body("application/octet-stream", request.body.clone())
//!     }
//! }
//! ```

pub mod cart;
pub mod context;
pub mod elsewhere;
mod hash;
pub mod kv;
pub mod page;
pub mod rng;
pub mod state;
mod trie;

pub use cart::Cart;
pub use context::Context;
pub use elsewhere::Elsewhere;
pub use kv::Kv;
pub use page::{Cursor, Next, Page};
pub use rng::Rng;
pub use state::{CHUNKS, State};

use quorate_types::{Request, Response};

/// A deterministic web service.
///
/// # The contract
/// - The response and every change of the state follow from the request, the context and nothing
///   else: no clock, no file, no network, no randomness but [`Context::rng`], no iteration over
///   `HashMap`, no error text that differs between builds.
/// - The service keeps nothing in itself that later responses depend on. A replica that installs a
///   snapshot gets a new service and the snapshot's state.
/// - A bad request is answered (400 and so on), never a panic: a panic ends every replica.
pub trait Service: Send {
    /// Answers one request. Only covered request fields are there to be read, and only covered
    /// response fields reach the client.
    fn handle(&mut self, cx: &mut Context<'_>, request: &Request) -> Response;

    /// The request fields and the response fields, in lower case, that the exchange covers for this
    /// service beside the standard ones. A constant: it is announced as `Quorate-Covers`.
    fn coverage(&self) -> (Vec<String>, Vec<String>) {
        (Vec::new(), Vec::new())
    }
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn handle(&mut self, cx: &mut Context<'_>, request: &Request) -> Response {
        (**self).handle(cx, request)
    }

    fn coverage(&self) -> (Vec<String>, Vec<String>) {
        (**self).coverage()
    }
}

/// The names of the built-in services.
pub const BUILTIN: [&str; 2] = ["cart", "kv"];

/// The built-in service of that name, one of [`BUILTIN`].
#[must_use]
pub fn builtin(name: &str) -> Option<Box<dyn Service>> {
    match name {
        "cart" => Some(Box::new(Cart)),
        "kv" => Some(Box::new(Kv)),
        _ => None,
    }
}
