//! What a client needs to check a response, and nothing else.
//!
//! No I/O, no clock, no async: it also builds for `wasm32-unknown-unknown`. The way of a proof,
//! which is the order of these files:
//!
//! | file | holds |
//! |---|---|
//! | [`tree`] | RFC 6962 hashes, inclusion paths, the frontier that a log grows at |
//! | [`coverage`] | which fields an exchange covers, and `Quorate-Covers` |
//! | [`exchange`] | a request and its response as one RFC 9421 signature base; its salted hash |
//! | [`request_check`] | what every replica demands of a request's form |
//! | [`entry`] | the short public text that stands in the log for an exchange |
//! | [`origin`], [`key`] | the log's name, and C2SP verifier keys |
//! | [`head`], [`cosignature`], [`checkpoint`] | the log's head, what replicas sign, the signed note |
//! | [`tlog_proof`] | the C2SP proof text |
//! | [`policy`] | the trust root, a C2SP policy with nested groups |
//! | [`strict`] | the one rule by which signatures in proofs are checked |
//! | [`mod@verify`] | the verifier, for responses and for stable certificates |
//! | [`saved`] | `request.http` and `response.http` |
//! | [`client_signature`] | a client's own RFC 9421 signature |
//! | [`identity`] | who a client is and what a retry repeats, for at-most-once |

pub mod checkpoint;
pub mod client_signature;
pub mod cosignature;
pub mod coverage;
pub mod entry;
pub mod exchange;
pub mod head;
pub mod identity;
pub mod key;
pub mod origin;
pub mod policy;
pub mod request_check;
pub mod saved;
pub mod strict;
mod text;
pub mod tlog_proof;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, NoteSignature, checkpoint_text};
pub use client_signature::{
    ClientSignatureError, created_s, parse_signature, signature_base, signature_params,
};
pub use cosignature::cosignature_message;
pub use coverage::{Coverage, CoverageError, REQUEST_FIELDS, RESPONSE_FIELDS};
pub use entry::{Entry, EntryError, EntryKind};
pub use exchange::{
    ExchangeError, content_digest, exchange_base, exchange_digest, response_content, with_defaults,
};
pub use head::head_text;
pub use identity::{Client, client_of, fingerprint};
pub use key::{KeyError, KeyKind, VerifierKey};
pub use origin::{Origin, OriginError};
pub use policy::{Policy, PolicyError, flat_policy};
pub use request_check::{RequestFault, check_request, split_target};
pub use saved::{SavedError, parse_request, parse_response, write_request, write_response};
pub use strict::{SignatureCheck, SoundKey, Strict, is_sound_key};
pub use text::{digest_value, salt_value};
pub use tlog_proof::{TlogProof, TlogProofError, proof_text};
pub use tree::{Frontier, empty_root, leaf_hash, node_hash, root_from_path, sha256};
pub use verify::{
    ReceivedResponse, SentRequest, Verdict, VerifyError, Witnessed, state_digest, verify,
    verify_checkpoint, verify_proof_text, verify_stable,
};
