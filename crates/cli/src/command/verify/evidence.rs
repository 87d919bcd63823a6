//! Evidence against a replica, as `status` shows it, checked offline.
//!
//! `wrong-result` is a cosignature and a certificate that contradict each other; the policy alone
//! decides. `equivocation` and `double-vote` are two votes for one place, `double-report` is two
//! reports about the answers of one slot; vote keys stand in the replicas' configurations only, so
//! one is needed, from somebody who is trusted as the policy is.

use super::{PolicyFile, read, unverified};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_crypto::{Domain, Verifier};
use quorate_node::Config;
use quorate_proof::{Policy, Strict};
use quorate_protocol::{
    Accusation,
    pbft::{
        evidence::{SignedVote, evidence_holds},
        message::Phase,
    },
};
use quorate_replica::{double_report_holds, message::Cosign, wrong_result_holds};
use quorate_types::{ReplicaId, Report, StableCertificate, Wire as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{io::Read as _, path::Path};

/// More than a status with evidence against every replica takes.
const BYTES_MAX: u64 = 64 << 20;

/// The charges, the committee's own words.
const WRONG_RESULT: &str = "wrong-result";
const DOUBLE_REPORT: &str = "double-report";
const OF_VOTES: [&str; 2] = ["equivocation", "double-vote"];

/// A status document, as far as it matters here. The rest of it is its replica's own word.
#[derive(Deserialize)]
struct Status {
    divergent: Vec<Value>,
}

/// One of a status document's `divergent`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: u16,
    evidence: Evidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    charge: String,
    messages: Vec<String>,
}

/// Who did what, beyond doubt for those who believe the policy.
#[derive(Debug, Serialize)]
pub(super) struct Conviction {
    /// Always true: evidence that does not hold convicts nobody.
    convicted: bool,
    replica: u16,
    name: String,
    charge: &'static str,
    deed: String,
    origin: String,
    development: bool,
}

impl Conviction {
    fn line(&self) -> String {
        let Self { replica, name, charge, deed, .. } = self;
        let development = if self.development { " (development keys)" } else { "" };
        format!("convicted: r{replica} ({name}) of {charge}: {deed}{development}")
    }
}

/// Checks evidence, and tells whom it convicts of what.
pub(super) fn run(
    console: &Console,
    policy: &PolicyFile,
    evidence: &Path,
    config: Option<&Path>,
) -> Result<Exit, Failure> {
    let convicted = (|| {
        let policy = policy.read()?;
        let config = config.map(load).transpose()?;
        judge_all(&bytes(evidence)?, &policy, config.as_ref())
    })();
    match convicted {
        Ok(convictions) => {
            for conviction in convictions {
                if console.is_json() {
                    console.json(&conviction);
                } else {
                    console.line(conviction.line());
                }
            }
        }
        Err(failure) => {
            if console.is_json() && failure.exit == Exit::NotVerified {
                console.json(&unverified(&failure));
            }
            return Err(failure);
        }
    }
    Ok(Exit::Done)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read(path);
    }
    let mut bytes = Vec::new();
    let input = std::io::stdin().lock();
    input.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| Failure::file(path, &error))?;
    Ok(bytes)
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| Failure::config(path, &error))
}

fn malformed(reason: impl std::fmt::Display) -> Failure {
    Failure::not_verified("evidence-malformed", reason)
}

/// Whom the evidence convicts: that of one accusation, or all in a status document.
fn judge_all(
    bytes: &[u8],
    policy: &Policy,
    config: Option<&Config>,
) -> Result<Vec<Conviction>, Failure> {
    let documents = match serde_json::from_slice::<Document>(bytes) {
        Ok(document) => vec![document],
        Err(error) => {
            let status = serde_json::from_slice::<Status>(bytes).map_err(|_| {
                malformed(format!("it is not one of the objects in `divergent`: {error}"))
                    .hint("quorate status --output json URL prints them")
            })?;
            let accusations = status.divergent.into_iter().filter(|one| !is_of_a_copy(one));
            accusations
                .map(|one| serde_json::from_value(one).map_err(malformed))
                .collect::<Result<_, _>>()?
        }
    };
    if documents.is_empty() {
        return Err(malformed("the status accuses nobody"));
    }
    documents.iter().map(|document| judge(document, policy, config)).collect()
}

/// Whether it says how a replica's copy of the service stood apart, which is no accusation.
fn is_of_a_copy(document: &Value) -> bool {
    document.get("evidence").is_some_and(|evidence| evidence.get("copy").is_some())
}

fn judge(
    document: &Document,
    policy: &Policy,
    config: Option<&Config>,
) -> Result<Conviction, Failure> {
    let messages: Result<Vec<_>, _> =
        document.evidence.messages.iter().map(|text| STANDARD.decode(text)).collect();
    let messages = messages.map_err(|error| malformed(format!("a message in it: {error}")))?;
    let [first, second] = messages.as_slice() else {
        return Err(malformed("it holds other than two messages"));
    };
    let accused = ReplicaId(document.id);
    let witness = policy.witnesses().get(accused.position());
    let witness = witness.ok_or_else(|| {
        Failure::not_verified("evidence-wrong", format!("the policy has no {accused}"))
    })?;
    let charge = document.evidence.charge.as_str();
    let (charge, deed) = match OF_VOTES.into_iter().find(|known| *known == charge) {
        Some(charge) => {
            let evidence = vec![first.clone(), second.clone()];
            (charge, two_votes(Accusation { replica: accused, charge, evidence }, policy, config)?)
        }
        None if charge == WRONG_RESULT => {
            (WRONG_RESULT, wrong_result(accused, first, second, policy)?)
        }
        None if charge == DOUBLE_REPORT => {
            (DOUBLE_REPORT, two_reports(accused, (first, second), policy, config)?)
        }
        None => return Err(malformed(format!("nobody is charged with {charge:?}"))),
    };
    Ok(Conviction {
        convicted: true,
        replica: accused.0,
        name: witness.name.clone(),
        charge,
        deed,
        origin: policy.origin_text().to_owned(),
        development: policy.is_development(),
    })
}

fn wrong_result(
    accused: ReplicaId,
    cosign: &[u8],
    certificate: &[u8],
    policy: &Policy,
) -> Result<String, Failure> {
    let holds = wrong_result_holds(policy, &Strict, accused, cosign, certificate);
    let parts =
        (Cosign::from_wire(cosign, 4096), StableCertificate::from_wire(certificate, 1 << 20));
    let (true, (Ok(cosign), Ok(certificate))) = (holds, parts) else {
        let message = format!(
            "it does not hold: either {accused} did not sign the first message, or no quorum of \
             this policy signed the second, or they do not contradict each other"
        );
        return Err(Failure::not_verified("evidence-wrong", message));
    };
    Ok(format!(
        "after slot {} it cosigned another log of {} entries than {} of {} replicas",
        cosign.slot,
        cosign.head.size,
        certificate.cosignatures.len(),
        policy.witnesses().len(),
    ))
}

fn two_votes(
    accusation: Accusation,
    policy: &Policy,
    config: Option<&Config>,
) -> Result<String, Failure> {
    let verifier = verifier_of_votes(policy, config)?;
    let domain = Domain::new(policy.origin_text());
    let holds = evidence_holds(&accusation, &domain, |claims| verifier.check(claims));
    let first = accusation.evidence.first();
    let vote = first.and_then(|it| SignedVote::from_wire(it, SignedVote::BYTES_MAX).ok());
    let (true, Some(SignedVote { phase, vote, .. })) = (holds, vote) else {
        let message = format!(
            "it does not hold: either {} did not sign both messages, or they are no two votes for \
             one place",
            accusation.replica
        );
        return Err(Failure::not_verified("evidence-wrong", message));
    };
    let what = match phase {
        Phase::PrePrepare => "proposals",
        Phase::Prepare => "prepare votes",
        Phase::Commit => "commit votes",
    };
    let header = vote.header;
    Ok(format!("it signed two different {what} for slot {} in view {}", header.slot, header.view))
}

fn two_reports(
    accused: ReplicaId,
    (first, second): (&[u8], &[u8]),
    policy: &Policy,
    config: Option<&Config>,
) -> Result<String, Failure> {
    let verifier = verifier_of_votes(policy, config)?;
    let domain = Domain::new(policy.origin_text());
    let holds =
        double_report_holds(&domain, accused, (first, second), |claims| verifier.check(claims));
    let (true, Ok(report)) = (holds, Report::from_wire(first, 1 << 20)) else {
        let message = format!(
            "it does not hold: either {accused} did not sign both messages, or they are no two \
             reports about the answers of one slot"
        );
        return Err(Failure::not_verified("evidence-wrong", message));
    };
    Ok(format!("it signed two different reports about the answers of slot {}", report.slot))
}

/// What checks votes: by the vote keys that a configuration of the policy's cluster lists.
fn verifier_of_votes(policy: &Policy, config: Option<&Config>) -> Result<Verifier, Failure> {
    let config = config.ok_or_else(|| {
        let message = "votes are checked by vote keys, which the policy does not hold";
        Failure::usage("evidence-needs-config", message).hint(
            "name a replica's quorate.toml by --config: one that you trust as you trust the policy",
        )
    })?;
    if config.policy().digest() != policy.digest() {
        let message = "the configuration is that of another cluster than the policy";
        return Err(Failure::not_verified("evidence-config-differs", message));
    }
    let votes: Vec<_> = config.members().iter().map(|member| member.keys.vote).collect();
    Verifier::new(config.committee(), &votes, policy.clone())
        .map_err(|error| Failure::not_verified(error.code(), error))
}

#[cfg(test)]
mod tests;
