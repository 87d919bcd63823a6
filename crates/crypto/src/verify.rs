//! The verify stage: what turns a decoded message into one that may be believed.

use crate::{Claim, Claims, Domain, Fault, Verifier};
use quorate_types::ReplicaId;

/// A message whose every claim was checked. Made by the verify stage alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified<M>(M);

impl<M> Verified<M> {
    /// The message.
    pub fn get(&self) -> &M {
        &self.0
    }

    /// The message, by value.
    pub fn into_inner(self) -> M {
        self.0
    }

    /// A part of a verified message is verified.
    pub fn map<N>(self, part: impl FnOnce(M) -> N) -> Verified<N> {
        Verified(part(self.0))
    }

    /// A part of a verified message is verified, and so is the whole where it has no such part.
    ///
    /// # Errors
    /// The whole.
    pub fn split<N>(self, part: impl FnOnce(M) -> Result<N, M>) -> Result<Verified<N>, Self> {
        part(self.0).map(Verified).map_err(Self)
    }
}

/// A decoded message that nobody has checked yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inbound<M> {
    /// Who delivered it, by the authenticated link.
    pub via: ReplicaId,
    /// The message.
    pub message: M,
}

/// A verified message, with who made it and who delivered it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery<M> {
    /// Who made it.
    pub signer: ReplicaId,
    /// Who delivered it.
    pub via: ReplicaId,
    /// The message.
    pub message: Verified<M>,
}

/// A refused message. A correct replica verifies what it passes on, so who delivered it is faulty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forged {
    /// Who delivered it, and is to blame.
    pub via: ReplicaId,
    /// Who is said to have made it.
    pub signer: ReplicaId,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Verifies messages together; the results are in their order, and a message is refused for its
/// own claims only.
///
/// The caller asked `wants` before: what reaches this stage is paid for. Its cost for `s` distinct
/// signatures is one batch of `s`; each peer that delivered forgeries costs at most about twice its
/// own share more.
#[must_use]
pub fn verify_batch<M: Claims>(
    verifier: &Verifier,
    domain: &Domain,
    inbound: Vec<Inbound<M>>,
) -> Vec<Result<Delivery<M>, Forged>> {
    let claims: Vec<Vec<Claim>> =
        inbound.iter().map(|inbound| claims_of(verifier, domain, inbound)).collect();
    let messages: Vec<(ReplicaId, &[Claim])> =
        inbound.iter().zip(&claims).map(|(inbound, claims)| (inbound.via, &**claims)).collect();
    let faults = verifier.faults(&messages);
    let judged = inbound.into_iter().zip(&claims).zip(faults);
    judged.map(|((inbound, claims), fault)| judge(verifier, inbound, claims, fault)).collect()
}

/// Verifies one message: [`verify_batch`] for who has one at a time.
///
/// # Errors
/// [`Forged`] says what is wrong with it, and who is to blame.
pub fn verify_one<M: Claims>(
    verifier: &Verifier,
    domain: &Domain,
    inbound: Inbound<M>,
) -> Result<Delivery<M>, Forged> {
    let claims = claims_of(verifier, domain, &inbound);
    let fault = verifier.fault(inbound.via, &claims);
    judge(verifier, inbound, &claims, fault)
}

fn claims_of<M: Claims>(
    verifier: &Verifier,
    domain: &Domain,
    Inbound { via, message }: &Inbound<M>,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    if member_fault(verifier, *via, message).is_none() {
        message.claims(domain, &mut claims);
    }
    claims
}

/// What becomes of a message whose claims were checked, with the `fault` found in them.
fn judge<M: Claims>(
    verifier: &Verifier,
    Inbound { via, message }: Inbound<M>,
    claims: &[Claim],
    fault: Option<Fault>,
) -> Result<Delivery<M>, Forged> {
    let signer = message.signer();
    let fault = member_fault(verifier, via, &message)
        .or(fault)
        .or_else(|| signer.and_then(|signer| unsigned(signer, claims)));
    let signer = signer.unwrap_or(via);
    match fault {
        None => Ok(Delivery { signer, via, message: Verified(message) }),
        Some(fault) => Err(Forged { via, signer, fault }),
    }
}

/// Who delivered and who signed must both be of the committee.
fn member_fault(verifier: &Verifier, via: ReplicaId, message: &impl Claims) -> Option<Fault> {
    [Some(via), message.signer()]
        .into_iter()
        .flatten()
        .find(|&replica| !verifier.committee().contains(replica))
        .map(Fault::Stranger)
}

/// A message that names its maker holds at least one vote of that replica: else anybody could
/// have made it, and to name another would cost nothing.
fn unsigned(signer: ReplicaId, claims: &[Claim]) -> Option<Fault> {
    let own =
        |claim: &Claim| matches!(claim, Claim::Vote { signer: voter, .. } if *voter == signer);
    if claims.iter().any(own) { None } else { Some(Fault::Unsigned(signer)) }
}
