//! Where an audited log is read from.

use super::{Finding, Stop, folder::Folder};
use crate::{command::status, failure::Failure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_client::{Authorities, Client, Endpoint, Options};
use quorate_ledger::{TileKind, TilePath};
use quorate_proof::{Checkpoint, Policy, Strict, Witnessed, verify_checkpoint};
use quorate_types::{
    ClientSignature, Exchange, Head, PublicKey, Request, Response, Salt, Signature,
};
use serde::Deserialize;
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// A gateway or a folder.
pub(super) enum Source {
    Gateway(Box<Gateway>),
    Folder(Box<Folder>),
}

/// What vouches for the end of a slot.
pub(super) enum SlotProof {
    /// A tlog-proof text of the slot's last entry.
    Text(String),
    /// A head, by a certificate that was verified.
    Head(Head),
}

/// Exchanges of a run of entries.
pub(super) enum Exchanges {
    /// One for each entry, where it has one and was asked for.
    Shown(Vec<Option<Exchange>>),
    /// The operator does not show them; why.
    Withheld(String),
}

impl Exchanges {
    /// The exchange of the entry at this place of the run.
    pub(super) fn at(&self, place: usize) -> Option<Exchange> {
        match self {
            Self::Shown(exchanges) => exchanges.get(place).cloned().flatten(),
            Self::Withheld(_) => None,
        }
    }
}

impl Source {
    /// A gateway.
    pub(super) fn gateway(endpoint: Endpoint, policy: &Policy, authorities: Authorities) -> Self {
        let answer_bytes_max = 64 << 20;
        let options = Options { answer_bytes_max, authorities, ..Options::default() };
        let client = Client::new(Arc::new(policy.clone()), vec![endpoint.clone()], options);
        Self::Gateway(Box::new(Gateway { client, endpoint, withheld: None }))
    }

    /// The newest certified head.
    pub(super) async fn head(&mut self, policy: &Policy) -> Result<Witnessed, Stop> {
        match self {
            Self::Gateway(gateway) => gateway.head(policy).await,
            Self::Folder(folder) => folder.head(policy),
        }
    }

    /// The head of a saved state, where the source holds one; the state was compared with it.
    pub(super) fn snapshot_head(&mut self, policy: &Policy) -> Result<Option<Head>, Stop> {
        match self {
            Self::Gateway(_) => Ok(None),
            Self::Folder(folder) => folder.snapshot_head(policy),
        }
    }

    /// The service's name, where the source knows it.
    pub(super) async fn service(&mut self) -> Option<String> {
        match self {
            Self::Gateway(gateway) => {
                let document = status::document(&gateway.endpoint).await.ok()?;
                document.get("service")?.as_str().map(str::to_owned)
            }
            Self::Folder(_) => None,
        }
    }

    /// The first `width` entries of a bundle.
    pub(super) async fn entries(&mut self, n: u64, width: u64) -> Result<Vec<String>, Stop> {
        let bytes = self.tile(TileKind::Entries, n, width).await?;
        split_bundle(&bytes, n * 256, width)
    }

    /// The first `width` hashes or entries of a tile, as bytes.
    pub(super) async fn tile(
        &mut self,
        kind: TileKind,
        n: u64,
        width: u64,
    ) -> Result<Vec<u8>, Stop> {
        let width = u16::try_from(width).unwrap_or(256);
        match self {
            Self::Gateway(gateway) => {
                let path = TilePath { kind, n, width };
                let first = n.saturating_mul(256);
                gateway.published(&format!("log/{path}"), first).await
            }
            Self::Folder(folder) => folder.tile(kind, n, width),
        }
    }

    /// Exchanges of a run of entries, those that are asked for.
    pub(super) async fn exchanges(
        &mut self,
        run: Range<u64>,
        asked: &[bool],
    ) -> Result<Exchanges, Stop> {
        match self {
            Self::Gateway(gateway) => gateway.exchanges(run, asked).await,
            Self::Folder(folder) => folder.exchanges(run, asked),
        }
    }

    /// What vouches for the slot that ends with this entry.
    pub(super) async fn proof(&mut self, policy: &Policy, last: u64) -> Result<SlotProof, Stop> {
        match self {
            Self::Gateway(gateway) => {
                let bytes = gateway.published(&format!("proof/{last}"), last).await?;
                Ok(SlotProof::Text(text(bytes, last)?))
            }
            Self::Folder(folder) => folder.proof(policy, last),
        }
    }

    /// What else is to be said of the source.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Self::Gateway(_) => Vec::new(),
            Self::Folder(folder) => folder.notes(),
        }
    }
}

/// A gateway's log.
pub(super) struct Gateway {
    client: Client,
    endpoint: Endpoint,
    withheld: Option<String>,
}

impl Gateway {
    async fn head(&self, policy: &Policy) -> Result<Witnessed, Stop> {
        let bytes = self.published("log/checkpoint", 0).await?;
        let wrong = |code, reason: &dyn std::fmt::Display| Finding {
            index: None,
            code,
            reason: format!("the newest head: {reason}"),
        };
        let text = text(bytes, 0)?;
        let checkpoint = Checkpoint::parse(&text).map_err(|error| wrong(error.code(), &error))?;
        verify_checkpoint(policy, &Strict, &checkpoint)
            .map_err(|error| wrong(error.code(), &error).into())
    }

    /// Something published, by its place below the reserved prefix. `index` is what is named if it
    /// is withheld.
    async fn published(&self, what: &str, index: u64) -> Result<Vec<u8>, Stop> {
        let response = patient(&self.client, &self.endpoint, what).await?;
        match response.status {
            200 => Ok(response.body.to_vec()),
            404 => Err(Finding::at(
                index,
                "audit-withheld",
                format!("the gateway certified it and does not give {what}"),
            )
            .into()),
            _ => Err(crate::http::unexpected(&self.endpoint, &response).into()),
        }
    }

    async fn exchanges(&mut self, run: Range<u64>, asked: &[bool]) -> Result<Exchanges, Stop> {
        if let Some(reason) = &self.withheld {
            return Ok(Exchanges::Withheld(reason.clone()));
        }
        let mut exchanges = vec![None; asked.len()];
        let mut running = JoinSet::new();
        let wanted = run.zip(asked).enumerate().filter(|(_, (_, asked))| **asked);
        for (place, (index, _)) in wanted {
            let (client, endpoint) = (self.client.clone(), self.endpoint.clone());
            running.spawn(async move {
                let answer = patient(&client, &endpoint, &format!("exchange/{index}")).await;
                (place, index, answer)
            });
        }
        while let Some(finished) = running.join_next().await {
            let (place, index, answer) = finished
                .map_err(|error| Failure::failed("runtime", format!("a request ended: {error}")))?;
            let response = answer?;
            match response.status {
                200 => {}
                403 => {
                    let reason = "the operator does not show exchanges".to_owned();
                    self.withheld = Some(reason.clone());
                    return Ok(Exchanges::Withheld(reason));
                }
                404 => {
                    let reason = "the gateway certified it and does not give its exchange";
                    return Err(Finding::at(index, "audit-withheld", reason).into());
                }
                _ => return Err(crate::http::unexpected(&self.endpoint, &response).into()),
            }
            let exchange = parse_exchange(&response.body).ok_or_else(|| {
                Finding::at(index, "audit-exchange", "what the gateway gives is no exchange")
            })?;
            if let Some(slot) = exchanges.get_mut(place) {
                *slot = Some(exchange);
            }
        }
        Ok(Exchanges::Shown(exchanges))
    }
}

/// Fetches, and is patient with a gateway that is busy or starts anew.
async fn patient(
    client: &Client,
    endpoint: &Endpoint,
    what: &str,
) -> Result<quorate_proof::ReceivedResponse, Failure> {
    let mut tries = 0;
    loop {
        let answer = client.fetch(endpoint, what).await;
        let busy = match &answer {
            Ok(response) => matches!(response.status, 429 | 503),
            Err(error) => error.is_passing(),
        };
        if busy && tries < 4 {
            tokio::time::sleep(Duration::from_millis(100 << tries)).await;
            tries += 1;
            continue;
        }
        return answer.map_err(|error| {
            Failure::failed(error.code(), format!("{endpoint}: {what}: {error}"))
        });
    }
}

fn text(bytes: Vec<u8>, index: u64) -> Result<String, Stop> {
    String::from_utf8(bytes)
        .map_err(|_| Finding::at(index, "entry-malformed", "it is not text").into())
}

/// The entries of a C2SP bundle: each behind its length in two bytes.
fn split_bundle(mut bytes: &[u8], first: u64, width: u64) -> Result<Vec<String>, Stop> {
    let mut entries = Vec::new();
    for index in first..first + width {
        let wrong = || Finding::at(index, "entry-malformed", "the bundle ends before it");
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(wrong)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
        entries.push(text(entry.to_vec(), index)?);
        bytes = rest;
    }
    if bytes.is_empty() {
        return Ok(entries);
    }
    let reason = "the bundle holds more than its entries";
    Err(Finding::at(first + width, "entry-malformed", reason).into())
}

/// `exchange/N`, as gateways write it.
#[derive(Deserialize)]
struct ExchangeJson {
    salt: String,
    request: RequestJson,
    response: ResponseJson,
}

#[derive(Deserialize)]
struct RequestJson {
    method: String,
    path: String,
    query: String,
    fields: Vec<(String, String)>,
    body: String,
    signature: Option<SignatureJson>,
}

#[derive(Deserialize)]
struct SignatureJson {
    key: String,
    params: String,
    signature: String,
}

#[derive(Deserialize)]
struct ResponseJson {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

fn parse_exchange(json: &[u8]) -> Option<Exchange> {
    let ExchangeJson { salt, request, response } = serde_json::from_slice(json).ok()?;
    let bytes = |text: &str| STANDARD.decode(text).ok();
    let signature = match request.signature {
        None => None,
        Some(signature) => Some(ClientSignature {
            key: PublicKey(bytes(&signature.key)?.try_into().ok()?),
            params: signature.params,
            signature: Signature(bytes(&signature.signature)?.try_into().ok()?),
        }),
    };
    Some(Exchange {
        request: Arc::new(Request {
            method: request.method,
            path: request.path,
            query: request.query,
            fields: request.fields,
            body: bytes(&request.body)?.into(),
            salt: Salt(bytes(&salt)?.try_into().ok()?),
            signature,
        }),
        response: Response {
            status: response.status,
            fields: response.fields,
            body: bytes(&response.body)?.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_split_exactly() {
        let split = |bytes: &[u8], width| split_bundle(bytes, 256, width);
        assert_eq!(split(b"\0\x02ab\0\x01c", 2).unwrap(), ["ab", "c"]);
        for (wrong, width, index) in
            [(&b"\0\x02ab"[..], 2, 257), (b"\0\x02a", 1, 256), (b"\0\x01ab", 1, 257)]
        {
            let Err(Stop::Found(finding)) = split(wrong, width) else { panic!("{wrong:?}") };
            assert_eq!(finding.index.map(|index| index.0), Some(index));
        }
    }

    #[test]
    fn an_exchange_in_json_is_the_exchange() {
        let json = br#"{"index":7,"salt":"AAECAwQFBgcICQoLDA0ODw==","request":{"method":"PUT",
            "path":"/kv/a","query":"?","fields":[["accept","*/*"]],"body":"aGk=","signature":null},
            "response":{"status":201,"fields":[["etag","\"7\""]],"body":""}}"#;
        let exchange = parse_exchange(json).unwrap();
        assert_eq!(&exchange.request.body[..], b"hi");
        assert_eq!(exchange.request.salt.0[15], 15);
        assert_eq!(exchange.response.field("etag"), Some("\"7\""));
        assert!(parse_exchange(b"{}").is_none());
    }
}
