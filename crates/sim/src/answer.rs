//! A certified answer as a gateway writes it, and as a client checks it: by the production
//! verifier, under the client's own policy.

use crate::{cluster::Cluster, process::Process};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_crypto::Verifier;
use quorate_proof::{
    Entry, ReceivedResponse, SentRequest, Verdict, VerifyError, checkpoint_text, content_digest,
    digest_value, head_text, proof_text, response_content, salt_value, verify,
};
use quorate_replica::Certified;
use quorate_types::{
    Digest, EntryFacts, Exchange, Index, ReplicaId, Request, Signature, StableCertificate,
};

/// A new answer, as the gateway of a replica writes it.
#[must_use]
pub fn certified(cluster: &Cluster, at: ReplicaId, certified: &Certified) -> ReceivedResponse {
    let proof = Proof {
        facts: *certified.facts(),
        path: certified.path(),
        certificate: certified.certificate(),
        log_signature: *certified.log_signature(),
    };
    proof.write(cluster, at, certified.exchange())
}

/// An answer that was given before, read from the gateway's own log.
///
/// # Errors
/// What the log lacks, which is a defect: the pipeline said that it is there, and certified.
pub fn earlier(
    cluster: &Cluster,
    at: ReplicaId,
    process: &Process,
    index: Index,
) -> Result<ReceivedResponse, String> {
    let log = process.log();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let item = log.item(index).map_err(|e| text(&e))?.ok_or("no such entry")?;
    let entry = Entry::parse(&item.entry).map_err(|e| text(&e))?;
    let exchange = item.exchange.ok_or("the entry answers no request")?;
    let covering = log.certificate_covering(index).map_err(|e| text(&e))?;
    let certificate = covering.ok_or("no certificate covers the entry")?;
    let path = log.path_to(index, &certificate.head).map_err(|e| text(&e))?.ok_or("no path")?;
    let head = head_text(cluster.policy.origin_text(), &certificate.head);
    let log_signature = cluster.keys.cosigner(at).log_sign(head.as_bytes());
    let Entry { epoch, time, state, .. } = entry;
    let facts = EntryFacts { index, epoch, time, state, salt: exchange.request.salt };
    let proof = Proof { facts, path: &path, certificate: &certificate, log_signature };
    Ok(proof.write(cluster, at, &exchange))
}

/// Checks an answer as a client does, who knows its request and the policy.
///
/// # Errors
/// What the verifier says.
pub fn check(
    cluster: &Cluster,
    verifier: &Verifier,
    request: &Request,
    received: &ReceivedResponse,
) -> Result<Verdict, VerifyError> {
    let sent = SentRequest {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        fields: request.fields.clone(),
        body: request.body.clone(),
    };
    verify(&cluster.policy, verifier, &sent, received)
}

/// What a lying gateway makes of an answer: another content, or another status, all else fitting.
pub fn forge(received: &mut ReceivedResponse, content: bool) {
    if content {
        received.body = Bytes::from_static(b"forged");
        received.fields.retain(|(name, _)| name != "content-digest");
        received.fields.push(("content-digest".to_owned(), content_digest(&received.body)));
    }
    received.status = if received.status == 200 { 404 } else { 200 };
}

/// What leads from an entry to a certified head.
struct Proof<'a> {
    facts: EntryFacts,
    path: &'a [Digest],
    certificate: &'a StableCertificate,
    log_signature: Signature,
}

impl Proof<'_> {
    fn write(&self, cluster: &Cluster, at: ReplicaId, exchange: &Exchange) -> ReceivedResponse {
        let Self { facts, path, certificate, log_signature } = self;
        let checkpoint = checkpoint_text(
            &cluster.policy,
            &certificate.head,
            certificate.record.time,
            Some((at, *log_signature)),
            &certificate.cosignatures,
        );
        let proof = STANDARD.encode(proof_text(facts.index, path, &checkpoint));
        let (request, response) = (&exchange.request, &exchange.response);
        let content = response_content(&request.method, response);
        let mut fields = response.fields.clone();
        for (name, value) in [
            ("content-digest", content_digest(content)),
            ("quorate-index", facts.index.to_string()),
            ("quorate-epoch", facts.epoch.to_string()),
            ("quorate-time", facts.time.to_string()),
            ("quorate-state", digest_value(&facts.state)),
            ("quorate-salt", salt_value(&facts.salt)),
            ("quorate-proof", format!(":{proof}:")),
        ] {
            fields.push((name.to_owned(), value));
        }
        let body = Bytes::copy_from_slice(content);
        ReceivedResponse { status: response.status, fields, body }
    }
}
