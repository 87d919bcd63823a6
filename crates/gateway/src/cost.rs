//! Answers as the gateway writes them, with their proofs and without, for `examples/proof_cost.rs`
//! alone: what a proof costs is measured on the code that serves.

use crate::{
    answer::{Writer, bare},
    backend::Submitted,
    config::GatewayConfig,
};
use bytes::Bytes;
use http::Response;
use quorate_types::{self as types, Refusal};

/// Writes answers.
#[derive(Debug)]
pub struct Answers(Writer);

impl Answers {
    /// As a gateway of this configuration does.
    #[must_use]
    pub fn new(config: &GatewayConfig) -> Self {
        Self(Writer::new(config))
    }

    /// A certified answer, everything about its proof included.
    ///
    /// # Errors
    /// A refusal when it cannot be written as HTTP.
    pub fn proven(
        &self,
        submitted: Submitted,
        method: &str,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        self.0.proven(submitted, method, None, None)
    }

    /// The same answer, as a gateway would write it that knew of no proofs.
    ///
    /// # Errors
    /// As [`Self::proven`].
    pub fn bare(
        &self,
        answer: types::Response,
        method: &str,
    ) -> Result<(Response<()>, Bytes), Refusal> {
        bare(answer, method)
    }
}
