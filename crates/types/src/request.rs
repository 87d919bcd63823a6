//! An HTTP request as it is ordered: only what the exchange covers, and nothing else.

use crate::digest::{PublicKey, Salt, Signature};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

/// A request, reduced to its covered parts, with the salt that the admitting gateway drew.
///
/// Built by a gateway from what a client sent, checked again by every replica's `admit` stage: a
/// decoded request is a proposal, and nothing here is trusted.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The method, as received (`GET`, `POST`, ...).
    pub method: String,
    /// The raw path, as received, never empty (`/orders/a%20b`).
    pub path: String,
    /// `?` and the raw rest; `?` alone where there is none.
    pub query: String,
    /// The covered request fields that are present, in the order of coverage, names in lower case,
    /// values trimmed. `content-digest` is not among them: it follows from the body.
    pub fields: Vec<(String, String)>,
    /// The content, read whole.
    pub body: Bytes,
    /// Sixteen bytes drawn by the admitting gateway.
    pub salt: Salt,
    /// The client's RFC 9421 signature, where it made one.
    pub signature: Option<ClientSignature>,
}

impl Request {
    /// The value of a covered field, by its lower-case name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// A client's RFC 9421 signature, parsed by the gateway and checked by every replica.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct ClientSignature {
    /// The client's Ed25519 key, which also names the client.
    pub key: PublicKey,
    /// The value of `@signature-params`, byte for byte as the client sent it.
    pub params: String,
    /// The signature over the base that `params` describes.
    pub signature: Signature,
}
