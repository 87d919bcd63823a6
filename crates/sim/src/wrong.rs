//! A service that now and then gives a wrong result, for replicas that execute wrongly.

use quorate_service::{Context, Service};
use quorate_types::{Request, Response};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// One request in so many has a wrong result.
const ONE_IN: u64 = 20;

/// How often wrong results were given in a run.
#[derive(Clone, Debug, Default)]
pub struct Wrongs(Arc<AtomicU64>);

impl Wrongs {
    /// So often.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A service, wrong. All liars are wrong about the same requests, in the same way, so that what
/// they cosign fits together.
pub struct Wrong<S> {
    service: S,
    wrongs: Wrongs,
}

impl<S: Service> Wrong<S> {
    /// Lays wrong results around a service.
    pub fn new(service: S, wrongs: Wrongs) -> Self {
        Self { service, wrongs }
    }
}

impl<S: Service> Service for Wrong<S> {
    fn handle(&mut self, context: &mut Context<'_>, request: &Request) -> Response {
        let asked = request.fields.iter().flat_map(|(_, value)| value.bytes());
        let number = asked.fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        if !number.is_multiple_of(ONE_IN) {
            return self.service.handle(context, request);
        }
        self.wrongs.add();
        match number / ONE_IN % 3 {
            // It says that it did what it did not do.
            0 => Response::new(204),
            // It does it, and says something else.
            1 => {
                let mut response = self.service.handle(context, request);
                response.status = if response.status == 200 { 404 } else { 200 };
                response
            }
            // It does something else.
            _ => {
                let other = Request { body: "wrong".into(), ..request.clone() };
                self.service.handle(context, &other)
            }
        }
    }
}
