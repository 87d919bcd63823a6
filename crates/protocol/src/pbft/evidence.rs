//! Two signed votes of one replica for one (view, slot) and two digests: no correct replica casts
//! them, so they convict it before anyone who has the committee's keys (rule 26).

use super::message::{Phase, Vote};
use crate::Accusation;
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Claim, Domain};
use quorate_types::Wire;

/// One signed vote, with all that its signature covers.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedVote {
    /// The instance in which it was cast.
    pub instance: u32,
    /// Its phase.
    pub phase: Phase,
    /// The vote.
    pub vote: Vote,
}

impl SignedVote {
    /// The most bytes that one takes.
    pub const BYTES_MAX: usize = 256;
}

/// The stable word for two votes of a phase.
fn charge_of(phase: Phase) -> &'static str {
    match phase {
        Phase::PrePrepare => "equivocation",
        Phase::Prepare | Phase::Commit => "double-vote",
    }
}

/// The charge that two conflicting votes make.
pub(super) fn charge(instance: u32, phase: Phase, first: Vote, second: Vote) -> Accusation {
    let wire = |vote| SignedVote { instance, phase, vote }.to_wire();
    let evidence = vec![wire(first), wire(second)];
    Accusation { replica: second.signer, charge: charge_of(phase), evidence }
}

/// Whether an accusation convicts, for someone who took no part: its evidence is two votes of the
/// accused, of one instance, phase, view and slot, for two digests, and `check` finds that both
/// signatures hold. An accusation without evidence convicts nobody.
#[must_use]
pub fn evidence_holds(
    accusation: &Accusation,
    domain: &Domain,
    check: impl Fn(&[Claim]) -> bool,
) -> bool {
    let votes: Result<Vec<_>, _> = accusation
        .evidence
        .iter()
        .map(|bytes| SignedVote::from_wire(bytes, SignedVote::BYTES_MAX))
        .collect();
    let Ok([first, second]) = votes.as_deref() else { return false };
    let place = |it: &SignedVote| {
        (it.instance, it.phase, it.vote.header.view, it.vote.header.slot, it.vote.signer)
    };
    let claims = [first, second].map(|it| it.vote.claim(domain, it.instance, it.phase));
    place(first) == place(second)
        && first.vote.header.digest != second.vote.header.digest
        && first.vote.signer == accusation.replica
        && accusation.charge == charge_of(first.phase)
        && check(&claims)
}
