//! What requests, batches and rejoins claim: clients' signatures, and replicas' reports.

use crate::{Claim, Claims, Domain};
use quorate_proof::signature_base;
use quorate_types::{Batch, Digest, Item, Rejoin, RejoinReport, ReplicaId, Request, Slot};
use std::sync::Arc;

impl Claims for Request {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        let Some(signature) = &self.signature else { return };
        out.push(match signature_base(self, domain.authority(), signature) {
            Ok(base) => Claim::Client {
                key: signature.key,
                bytes: base.into_bytes(),
                signature: signature.signature,
            },
            Err(_) => Claim::Broken("a client signature does not cover its request"),
        });
    }
}

impl<C: Claims> Claims for Arc<C> {
    fn signer(&self) -> Option<ReplicaId> {
        C::signer(self)
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        C::claims(self, domain, out);
    }
}

impl Claims for Batch {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        for item in &self.items {
            match item {
                Item::Request(request) => request.claims(domain, out),
                Item::Rejoin(rejoin) => rejoin.claims(domain, out),
            }
        }
    }
}

impl Claims for Rejoin {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        let claim = |report| rejoin_claim(domain, &self.nonce, self.replica, report);
        out.extend(self.reports.iter().map(claim));
    }
}

/// The claim that a report makes to a rejoining replica's nonce (rule 28a).
#[must_use]
pub fn rejoin_claim(
    domain: &Domain,
    nonce: &Digest,
    replica: ReplicaId,
    report: &RejoinReport,
) -> Claim {
    Claim::Vote {
        signer: report.reporter,
        bytes: rejoin_statement(domain, nonce, replica, report.window_end),
        signature: report.signature,
    }
}

/// The bytes that a report signs: where anybody may have voted, as the answer to a nonce.
#[must_use]
pub fn rejoin_statement(
    domain: &Domain,
    nonce: &Digest,
    replica: ReplicaId,
    window_end: Slot,
) -> Vec<u8> {
    domain.statement("quorate-rejoin-report/1", &(*nonce, replica, window_end))
}
