//! What a replica publishes from its log: proofs, exchanges, checkpoints, tiles.

use bytes::Bytes;
use quorate_crypto::Cosigner;
use quorate_gateway::{Fetch, Fetched};
use quorate_ledger::{FileDisk, LogError, LogReader};
use quorate_proof::{Entry, Policy, checkpoint_text, head_text, proof_text};
use quorate_replica::Certified;
use quorate_types::{
    EntryFacts, Exchange, Index, Proven, Refusal, ReplicaId, Signature, StableCertificate,
};
use serde_json::json;
use std::sync::Arc;
use tracing::error;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// Reads the log for those who ask. A clone is a handle to the same.
#[derive(Clone)]
pub(crate) struct Published(Arc<Inner>);

struct Inner {
    me: ReplicaId,
    policy: Policy,
    cosigner: Cosigner,
    reader: LogReader<FileDisk>,
    /// Whether everybody may read exchanges.
    shows_exchanges: bool,
}

impl Published {
    pub(crate) fn new(
        me: ReplicaId,
        policy: Policy,
        cosigner: Cosigner,
        reader: LogReader<FileDisk>,
        shows_exchanges: bool,
    ) -> Self {
        Self(Arc::new(Inner { me, policy, cosigner, reader, shows_exchanges }))
    }

    /// The answer to a request whose entry was just certified.
    pub(crate) fn proven(&self, certified: &Certified) -> Proven {
        let certificate = certified.certificate();
        let checkpoint = self.0.checkpoint(certificate, *certified.log_signature());
        Proven {
            response: certified.exchange().response.clone(),
            facts: *certified.facts(),
            proof: proof_text(certified.facts().index, certified.path(), &checkpoint),
        }
    }

    /// The answer to a request that was answered before, from the log.
    ///
    /// # Errors
    /// A refusal when the log does not show it.
    pub(crate) fn earlier(&self, index: Index) -> Result<Proven, Refusal> {
        let (entry, exchange) = self.0.exchange(index)?;
        let facts = EntryFacts {
            index,
            epoch: entry.epoch,
            time: entry.time,
            state: entry.state,
            salt: exchange.request.salt,
        };
        Ok(Proven { response: exchange.response, facts, proof: self.0.proof(index)? })
    }

    /// The newest answer among the last entries of the log, if there is any.
    pub(crate) fn newest_answer(&self) -> Option<Proven> {
        const ENTRIES_MAX: u64 = 256;
        let size = self.0.reader.size();
        let indices = (size.saturating_sub(ENTRIES_MAX)..size).rev().map(Index);
        indices.filter_map(|index| self.earlier(index).ok()).next()
    }

    /// Reads what is published.
    ///
    /// # Errors
    /// A refusal: 404 for what is not there, 403 for exchanges that are not shown, 503 when the
    /// log cannot be read.
    pub(crate) fn fetch(&self, what: Fetch) -> Result<Fetched, Refusal> {
        let inner = &*self.0;
        let fetched = |content_type, body: Bytes| Fetched { content_type, body };
        Ok(match what {
            Fetch::Policy => fetched(TEXT, inner.policy.text().to_owned().into()),
            Fetch::Proof(index) => fetched(TEXT, inner.proof(index)?.into()),
            Fetch::Exchange(index) => fetched(JSON, inner.exchange_json(index)?.into()),
            Fetch::Checkpoint => {
                let newest = inner.reader.newest_certificate().map_err(unreadable)?;
                let newest = newest.ok_or_else(|| absent("no head is certified yet"))?;
                fetched(TEXT, inner.checkpoint(&newest, inner.log_sign(&newest)).into())
            }
            Fetch::Tile { level, n, width } => {
                let tile = inner.reader.tile(level, n, width).map_err(unreadable)?;
                fetched(BYTES, tile.ok_or_else(|| absent("the log has no such tile"))?.into())
            }
            Fetch::Entries { n, width } => {
                let bundle = inner.reader.entry_bundle(n, width).map_err(unreadable)?;
                fetched(BYTES, bundle.ok_or_else(|| absent("the log has no such bundle"))?.into())
            }
        })
    }
}

impl Inner {
    fn log_sign(&self, certificate: &StableCertificate) -> Signature {
        let text = head_text(self.policy.origin_text(), &certificate.head);
        self.cosigner.log_sign(text.as_bytes())
    }

    fn checkpoint(&self, certificate: &StableCertificate, log_signature: Signature) -> String {
        checkpoint_text(
            &self.policy,
            &certificate.head,
            certificate.record.time,
            Some((self.me, log_signature)),
            &certificate.cosignatures,
        )
    }

    /// The proof of an entry, by the first head that covers it.
    fn proof(&self, index: Index) -> Result<String, Refusal> {
        let certificate = self.reader.certificate_covering(index).map_err(unreadable)?;
        let certificate =
            certificate.ok_or_else(|| absent("no certified head covers such an entry yet"))?;
        let path = self.reader.path_to(index, &certificate.head).map_err(unreadable)?;
        let path = path.ok_or_else(|| absent("the log here does not reach that head yet"))?;
        let checkpoint = self.checkpoint(&certificate, self.log_sign(&certificate));
        Ok(proof_text(index, &path, &checkpoint))
    }

    fn exchange(&self, index: Index) -> Result<(Entry, Exchange), Refusal> {
        let item = self.reader.item(index).map_err(unreadable)?;
        let item = item.ok_or_else(|| absent("the log has no such entry"))?;
        let entry = Entry::parse(&item.entry)
            .map_err(|_| Refusal::new(503, "log-unreadable", "the entry is damaged"))?;
        let exchange = item.exchange;
        Ok((entry, exchange.ok_or_else(|| absent("the entry answers no request"))?))
    }

    fn exchange_json(&self, index: Index) -> Result<String, Refusal> {
        if !self.shows_exchanges {
            let detail = "exchanges are private; the operator shows them to nobody here";
            return Err(Refusal::new(403, "exchange-restricted", detail));
        }
        let (_, Exchange { request, response }) = self.exchange(index)?;
        let base64 = |bytes: &[u8]| {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            STANDARD.encode(bytes)
        };
        Ok(json!({
            "index": index.0,
            "salt": base64(&request.salt.0),
            "request": {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "fields": request.fields,
                "body": base64(&request.body),
                "signature": request.signature.as_ref().map(|signature| json!({
                    "key": base64(&signature.key.0),
                    "params": signature.params,
                    "signature": base64(&signature.signature.0),
                })),
            },
            "response": {
                "status": response.status,
                "fields": response.fields,
                "body": base64(&response.body),
            },
        })
        .to_string())
    }
}

fn absent(detail: &str) -> Refusal {
    Refusal::new(404, "not-found", detail)
}

fn unreadable(error: LogError) -> Refusal {
    error!(%error, code = error.code(), "the log could not be read");
    Refusal::new(503, "log-unreadable", "the log here cannot be read; ask another replica")
}
