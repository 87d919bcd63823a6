//! Plain requests to gateways and operations listeners, whose answers nobody proves.

use crate::{failure::Failure, trust::way_out};
use bytes::Bytes;
use quorate_client::{Call, Endpoint, plain};
use quorate_proof::ReceivedResponse;
use std::time::Duration;

/// Sends a request as it is, once.
pub(crate) async fn request(endpoint: &Endpoint, call: Call) -> Result<ReceivedResponse, Failure> {
    plain(endpoint, call, Duration::from_secs(10)).await.map_err(|error| {
        Failure::failed(error.code(), format!("{endpoint}: {error}")).hint(way_out(&error))
    })
}

/// Reads a path.
pub(crate) async fn get(endpoint: &Endpoint, path: &str) -> Result<ReceivedResponse, Failure> {
    request(endpoint, Call::get(path, "?")).await
}

/// A request with JSON content.
pub(crate) fn json_call(method: &str, path: &str, body: Vec<u8>) -> Call {
    Call {
        method: method.to_owned(),
        path: path.to_owned(),
        query: "?".to_owned(),
        fields: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Bytes::from(body),
    }
}

/// What an unexpected answer says of itself.
pub(crate) fn unexpected(endpoint: &Endpoint, response: &ReceivedResponse) -> Failure {
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let code = word("code").unwrap_or_else(|| "answer-unexpected".to_owned());
    let detail = word("detail").unwrap_or_else(|| "no reason is given".to_owned());
    Failure::failed(code, format!("{endpoint} answers {}: {detail}", response.status))
}
