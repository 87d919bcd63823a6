//! A service that runs outside.

use crate::{Context, Service};
use quorate_types::{Request, Response};

/// Stands in a replica for a service of which a copy runs beside it: what the copies answer is
/// agreed on, and nothing is computed here.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Extra request fields that the copies see, in lower case.
    pub request_fields: Vec<String>,
    /// Extra response fields that clients see, in lower case.
    pub response_fields: Vec<String>,
}

impl Service for Elsewhere {
    fn handle(&mut self, _: &mut Context<'_>, _: &Request) -> Response {
        Response::problem(500, "runs-elsewhere", "the service runs outside this replica")
    }

    fn coverage(&self) -> (Vec<String>, Vec<String>) {
        (self.request_fields.clone(), self.response_fields.clone())
    }
}
