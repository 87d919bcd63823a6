//! What requests, batches, rejoins and reports claim: clients' signatures, and replicas' words.

use crate::{Claim, Claims, Domain};
use quorate_proof::signature_base;
use quorate_types::{
    Batch, Digest, Item, Rejoin, RejoinReport, ReplicaId, Report, Request, Slot,
    bug::{Bug, seeded},
};
use std::sync::Arc;

impl Claims for Request {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        if seeded(Bug::ClientSignatureUnchecked) {
            return;
        }
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
                Item::Request(asked) => asked.request.claims(domain, out),
                Item::Rejoin(rejoin) => rejoin.claims(domain, out),
                Item::Outcome(outcome) => {
                    outcome.reports.iter().for_each(|report| report.claims(domain, out));
                }
            }
        }
    }
}

impl Claims for Rejoin {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        for report in &self.reports {
            out.extend(rejoin_claims(domain, &self.nonce, self.replica, report));
        }
    }
}

impl Claims for Report {
    fn signer(&self) -> Option<ReplicaId> {
        Some(self.reporter)
    }

    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        out.push(Claim::Vote {
            signer: self.reporter,
            bytes: report_statement(domain, self.slot, &self.answers),
            signature: self.signature,
        });
    }
}

/// The bytes that a report on a copy's answers signs.
#[must_use]
pub fn report_statement(domain: &Domain, slot: Slot, answers: &[Option<Digest>]) -> Vec<u8> {
    domain.statement("quorate-copy-report/1", &(slot, answers))
}

/// What a report claims to a rejoining replica's nonce (rule 28a): its own word, and a certificate.
pub fn rejoin_claims(
    domain: &Domain,
    nonce: &Digest,
    replica: ReplicaId,
    report: &RejoinReport,
) -> impl Iterator<Item = Claim> {
    let word = Claim::Vote {
        signer: report.reporter,
        bytes: rejoin_statement(domain, nonce, replica, report),
        signature: report.signature,
    };
    let stable = report.stable.as_ref();
    let stable = stable.map(|certificate| Claim::Stable(Arc::clone(certificate)));
    std::iter::once(word).chain(stable)
}

/// The bytes that a report signs: how far the reporter is, as the answer to a nonce.
#[must_use]
pub fn rejoin_statement(
    domain: &Domain,
    nonce: &Digest,
    replica: ReplicaId,
    report: &RejoinReport,
) -> Vec<u8> {
    let at = (report.executed, report.view, report.stable_slot());
    domain.statement("quorate-rejoin-report/1", &(*nonce, replica, at))
}
