//! Who a client is, and what a retry must repeat: the keys of at-most-once.

use crate::tree::sha256;
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_types::{Digest, PublicKey, Request};
use sha2::{Digest as _, Sha256};

/// Whose `Idempotency-Key` it is.
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd,
)]
pub enum Client {
    /// A client that signs; known by its key.
    Key(PublicKey),
    /// A client with credentials; known by the SHA-256 of its `Authorization`.
    Authorization(Digest),
    /// Anybody else: all share one name, so their keys must be unguessable.
    Anonymous,
}

/// The client of a request: its signing key, else a hash of `Authorization`, else anonymous.
#[must_use]
pub fn client_of(request: &Request) -> Client {
    if let Some(signature) = &request.signature {
        return Client::Key(signature.key);
    }
    match request.field("authorization") {
        Some(value) => Client::Authorization(sha256(value.as_bytes())),
        None => Client::Anonymous,
    }
}

/// What two requests under one key must share to be the same: method, path, query, content digest
/// and covered fields. Neither salt nor signature: a retry draws and signs anew.
#[must_use]
pub fn fingerprint(request: &Request) -> Digest {
    let mut hash = Sha256::new().chain_update(b"quorate-fingerprint/1");
    let mut part = |bytes: &[u8]| {
        // The length ahead of each part keeps parts from flowing into one another.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(request.method.as_bytes());
    part(request.path.as_bytes());
    part(request.query.as_bytes());
    part(&sha256(&request.body).0);
    for (name, value) in &request.fields {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_types::{ClientSignature, Salt, Signature};

    fn request() -> Request {
        Request {
            method: "PUT".to_owned(),
            path: "/kv/a".to_owned(),
            query: "?".to_owned(),
            fields: vec![("accept".to_owned(), "b".to_owned())],
            body: Vec::from("hello").into(),
            salt: Salt([0; 16]),
            signature: None,
        }
    }

    #[test]
    fn a_retry_has_the_same_fingerprint_whatever_gateway_drew_the_salt() {
        let mut retry = request();
        retry.salt = Salt([1; 16]);
        retry.signature = Some(ClientSignature {
            key: PublicKey([7; 32]),
            params: String::new(),
            signature: Signature([0; 64]),
        });
        assert_eq!(fingerprint(&retry), fingerprint(&request()));
    }

    #[test]
    fn another_request_has_another_fingerprint() {
        let changes: [fn(&mut Request); 6] = [
            |r| r.method = "POST".to_owned(),
            |r| r.path = "/kv/a?".to_owned(),
            |r| r.query = "?a".to_owned(),
            |r| r.body = Vec::from("hello!").into(),
            |r| r.fields[0] = ("acceptb".to_owned(), String::new()),
            |r| r.fields.clear(),
        ];
        for change in changes {
            let mut other = request();
            change(&mut other);
            assert_ne!(fingerprint(&other), fingerprint(&request()), "{other:?}");
        }
    }

    #[test]
    fn a_client_is_its_key_before_its_credentials_before_nobody() {
        let mut request = request();
        assert_eq!(client_of(&request), Client::Anonymous);
        request.fields.push(("authorization".to_owned(), "Bearer x".to_owned()));
        assert_eq!(client_of(&request), Client::Authorization(sha256(b"Bearer x")));
        request.signature = Some(ClientSignature {
            key: PublicKey([7; 32]),
            params: String::new(),
            signature: Signature([0; 64]),
        });
        assert_eq!(client_of(&request), Client::Key(PublicKey([7; 32])));
    }
}
