//! What decides whether a claim is true.

use crate::{
    Claim, MacKeyring,
    batch::{BATCH_LEAST, Signed, zip215, zip215_all, zip215_each, zip215_parsed},
    recent::{Mark, Recent},
};
use ed25519_zebra::VerificationKey;
use quorate_proof::{Policy, SignatureCheck, SoundKey, Strict, is_sound_key, verify_stable};
use quorate_types::{Committee, PublicKey, ReplicaId, Signature, StableCertificate, Wire as _};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Who delivered it, or who is said to have made it, is not of the committee.
    Stranger(ReplicaId),
    /// It names its maker but holds no vote of that replica.
    Unsigned(ReplicaId),
    /// It is broken as a whole; the reason is for the log.
    Broken(&'static str),
    /// This replica did not sign the vote that is said to be its own.
    Vote(ReplicaId),
    /// This client did not sign.
    Client(PublicKey),
    /// A certificate proves nothing.
    Certificate,
}

impl Fault {
    /// A stable word: `stranger`, `unsigned`, `broken`, `vote`, `client` or `certificate`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stranger(_) => "stranger",
            Self::Unsigned(_) => "unsigned",
            Self::Broken(_) => "broken",
            Self::Vote(_) => "vote",
            Self::Client(_) => "client",
            Self::Certificate => "certificate",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger(replica) => write!(f, "{replica} is not of the committee"),
            Self::Unsigned(replica) => write!(f, "it names {replica}, who did not sign it"),
            Self::Broken(reason) => write!(f, "it is broken: {reason}"),
            Self::Vote(replica) => write!(f, "a vote in it is not {replica}'s"),
            Self::Client(key) => write!(f, "a request in it is not signed by {key}"),
            Self::Certificate => f.write_str("a certificate in it proves nothing"),
        }
    }
}

/// Why a committee's keys make no verifier.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifierError {
    /// Not one vote key, log line and witness line for each replica.
    #[error("{found} {what} for {n} replicas")]
    Count {
        /// `vote keys`, `log lines` or `witness lines`.
        what: &'static str,
        /// How many replicas there are.
        n: usize,
        /// How many of them there are.
        found: usize,
    },
    /// A vote key is not canonical, no point of the curve, or one for which anybody can sign.
    #[error("the vote key of {0} is not usable")]
    VoteKey(ReplicaId),
    /// Two replicas have one vote key, so that one could vote twice.
    #[error("{0} and {1} have the same vote key")]
    SharedVoteKey(ReplicaId, ReplicaId),
}

impl VerifierError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Count { .. } => "keys-count",
            Self::VoteKey(_) => "keys-weak",
            Self::SharedVoteKey(..) => "keys-shared",
        }
    }
}

/// Decides claims for one committee under one policy. Shared by threads.
///
/// Votes and client signatures follow ZIP-215, batched where there are several; certificates are
/// checked strictly and one signature at a time, as everything that a proof holds. The answer
/// depends on the claim alone: neither on what it is batched with nor on what was verified before.
#[derive(Debug)]
pub struct Verifier {
    committee: Committee,
    policy: Policy,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    Ed25519 {
        /// By replica, parsed once.
        vote_keys: Vec<VerificationKey>,
        /// The policy's log and witness keys, parsed once.
        policy_keys: BTreeMap<[u8; 32], SoundKey>,
        /// A view change nests votes that were verified when they came alone, and a proposal
        /// holds requests that were verified when they were forwarded.
        recent: Mutex<Recent<Mark>>,
    },
    Mac(MacKeyring),
}

impl Verifier {
    /// The production verifier. `vote_keys` and the policy's lines are in the replicas' order.
    ///
    /// # Errors
    /// [`VerifierError`] when the keys are not one usable key for each replica.
    pub fn new(
        committee: Committee,
        vote_keys: &[PublicKey],
        policy: Policy,
    ) -> Result<Self, VerifierError> {
        let n = committee.n();
        for (what, found) in [
            ("vote keys", vote_keys.len()),
            ("log lines", policy.logs().len()),
            ("witness lines", policy.witnesses().len()),
        ] {
            if found != n {
                return Err(VerifierError::Count { what, n, found });
            }
        }
        let mut parsed = Vec::with_capacity(n);
        let mut owners = BTreeMap::new();
        for (replica, key) in committee.replicas().zip(vote_keys) {
            if let Some(owner) = owners.insert(key.0, replica) {
                return Err(VerifierError::SharedVoteKey(owner, replica));
            }
            // Under a key of small order, anybody's signature over anything is right.
            match VerificationKey::try_from(key.0) {
                Ok(point) if is_sound_key(key) => parsed.push(point),
                _ => return Err(VerifierError::VoteKey(replica)),
            }
        }
        let lines = policy.logs().iter().chain(policy.witnesses());
        let sound = lines.filter_map(|line| Some((line.key.0, SoundKey::parse(&line.key)?)));
        let scheme = Scheme::Ed25519 {
            vote_keys: parsed,
            policy_keys: sound.collect(),
            recent: Mutex::default(),
        };
        Ok(Self { committee, policy, scheme })
    }

    /// The verifier of a simulation: MACs for every kind of claim, and no randomness.
    #[must_use]
    pub fn mac(committee: Committee, keyring: MacKeyring, policy: Policy) -> Self {
        Self { committee, policy, scheme: Scheme::Mac(keyring) }
    }

    /// The committee.
    #[must_use]
    pub fn committee(&self) -> Committee {
        self.committee
    }

    /// The policy by which certificates are checked.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether all claims are true.
    #[must_use]
    pub fn check(&self, claims: &[Claim]) -> bool {
        // Who delivered them matters for the order of work alone.
        self.fault(ReplicaId(0), claims).is_none()
    }

    /// For each list of claims, with who delivered it, the fault of the first wrong one.
    pub(crate) fn faults(&self, messages: &[(ReplicaId, &[Claim])]) -> Vec<Option<Fault>> {
        let structural = messages.iter().map(|(_, claims)| self.structural_fault(claims));
        let mut faults: Vec<Option<Fault>> = structural.collect();
        match &self.scheme {
            Scheme::Ed25519 { vote_keys, recent, .. } => {
                Ed25519Claims { vote_keys, recent }.judge(messages, &mut faults);
            }
            Scheme::Mac(keyring) => {
                for (fault, (_, claims)) in faults.iter_mut().zip(messages) {
                    *fault = fault.or_else(|| mac_faults(keyring, claims));
                }
            }
        }
        for (fault, (_, claims)) in faults.iter_mut().zip(messages) {
            *fault = fault.or_else(|| self.certificate_fault(claims));
        }
        faults
    }

    /// The fault of the first wrong claim of one list.
    pub(crate) fn fault(&self, via: ReplicaId, claims: &[Claim]) -> Option<Fault> {
        let Scheme::Mac(keyring) = &self.scheme else {
            return self.faults(&[(via, claims)]).pop().flatten();
        };
        self.structural_fault(claims)
            .or_else(|| mac_faults(keyring, claims))
            .or_else(|| self.certificate_fault(claims))
    }

    fn certificate_fault(&self, claims: &[Claim]) -> Option<Fault> {
        let wrong = |claim: &Claim| match claim {
            Claim::Stable(certificate) => !self.holds(certificate),
            _ => false,
        };
        claims.iter().any(wrong).then_some(Fault::Certificate)
    }

    /// What is wrong before any signature is looked at.
    fn structural_fault(&self, claims: &[Claim]) -> Option<Fault> {
        claims.iter().find_map(|claim| match claim {
            Claim::Broken(reason) => Some(Fault::Broken(reason)),
            Claim::Vote { signer, .. } if !self.committee.contains(*signer) => {
                Some(Fault::Stranger(*signer))
            }
            _ => None,
        })
    }

    /// Whether a certificate proves its slot stable.
    fn holds(&self, certificate: &StableCertificate) -> bool {
        let Scheme::Ed25519 { recent, .. } = &self.scheme else {
            return verify_stable(&self.policy, self, certificate).is_ok();
        };
        let mark = mark(b"quorate-mark-certificate/1", &[&certificate.to_wire()]);
        if locked(recent).contains(&mark) {
            return true;
        }
        let holds = verify_stable(&self.policy, self, certificate).is_ok();
        if holds {
            locked(recent).insert(mark);
        }
        holds
    }
}

impl SignatureCheck for Verifier {
    /// Strict, for what a proof holds: cosignatures and log signatures.
    fn check(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        match &self.scheme {
            Scheme::Ed25519 { policy_keys, .. } => match policy_keys.get(&key.0) {
                Some(known) => known.check(message, signature),
                None => Strict.check(key, message, signature),
            },
            Scheme::Mac(keyring) => keyring.mac_by(key, message) == *signature,
        }
    }
}

fn mac_faults(keyring: &MacKeyring, claims: &[Claim]) -> Option<Fault> {
    claims.iter().find_map(|claim| match claim {
        Claim::Vote { signer, bytes, signature } => {
            (keyring.mac(*signer, bytes) != *signature).then_some(Fault::Vote(*signer))
        }
        Claim::Client { key, bytes, signature } => {
            (keyring.mac_by(key, bytes) != *signature).then_some(Fault::Client(*key))
        }
        Claim::Stable(_) | Claim::Broken(_) => None,
    })
}

/// The memory; a thread that panicked while it held it cannot have left a wrong mark in it.
fn locked(recent: &Mutex<Recent<Mark>>) -> MutexGuard<'_, Recent<Mark>> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mark(kind: &[u8], parts: &[&[u8]]) -> Mark {
    let mut hash = Sha256::new();
    hash.update(kind);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The Ed25519 claims of many messages at once.
struct Ed25519Claims<'a> {
    vote_keys: &'a [VerificationKey],
    recent: &'a Mutex<Recent<Mark>>,
}

/// A signature that stands in one message or in several.
struct Standing {
    /// Who delivered the first of them.
    via: ReplicaId,
    right: bool,
}

impl<'a> Ed25519Claims<'a> {
    /// Fills in the faults of messages that have none yet.
    fn judge(&self, messages: &[(ReplicaId, &'a [Claim])], faults: &mut [Option<Fault>]) {
        let mut distinct: BTreeMap<Signed<'a>, Standing> = BTreeMap::new();
        for ((via, claims), _) in messages.iter().zip(&*faults).filter(|(_, fault)| fault.is_none())
        {
            for signed in claims.iter().filter_map(|claim| self.signed(claim)) {
                distinct.entry(signed).or_insert(Standing { via: *via, right: false });
            }
        }
        self.verify(&mut distinct);
        for ((_, claims), fault) in messages.iter().zip(faults) {
            if fault.is_none() {
                *fault = claims.iter().find_map(|claim| {
                    let right = distinct.get(&self.signed(claim)?)?.right;
                    if right { None } else { blame(claim) }
                });
            }
        }
    }

    fn signed(&self, claim: &'a Claim) -> Option<Signed<'a>> {
        match claim {
            Claim::Vote { signer, bytes, signature } => {
                // Membership was checked before; who is no member has no key and no claim.
                let key = PublicKey((*self.vote_keys.get(signer.position())?).into());
                Some(Signed { signature, key, voter: Some(*signer), bytes })
            }
            Claim::Client { key, bytes, signature } => {
                Some(Signed { signature, key: *key, voter: None, bytes })
            }
            Claim::Stable(_) | Claim::Broken(_) => None,
        }
    }

    /// Decides every signature: remembered ones first, then all others in one batch, and if that
    /// fails in one batch for each peer, so that one peer's forgeries leave the others' batched.
    fn verify(&self, distinct: &mut BTreeMap<Signed<'_>, Standing>) {
        let mut open = Vec::new();
        {
            let recent = locked(self.recent);
            for (signed, standing) in &mut *distinct {
                let mark = mark(
                    b"quorate-mark-signature/1",
                    &[&signed.key.0, &signed.signature.0, signed.bytes],
                );
                standing.right = recent.contains(&mark);
                if !standing.right {
                    open.push((standing.via, *signed, mark));
                }
            }
        }
        open.sort_by_key(|(via, ..)| *via);
        let signed: Vec<Signed<'_>> = open.iter().map(|(_, signed, _)| *signed).collect();
        let mut right = Vec::with_capacity(signed.len());
        if signed.len() >= BATCH_LEAST && zip215_all(&signed) == Some(true) {
            right.resize(signed.len(), true);
        } else {
            let single = |signed: &Signed<'_>| self.single(signed);
            for peer in open.chunk_by(|(one, ..), (other, ..)| one == other) {
                let part: Vec<Signed<'_>> = peer.iter().map(|(_, signed, _)| *signed).collect();
                // A part that is the whole was seen to fail already.
                let whole = part.len() == signed.len();
                if !whole && part.len() >= BATCH_LEAST && zip215_all(&part) == Some(true) {
                    right.extend(part.iter().map(|_| true));
                } else {
                    zip215_each(&part, &single, &mut right);
                }
            }
        }
        let mut recent = locked(self.recent);
        for ((_, signed, mark), right) in open.into_iter().zip(right) {
            if right {
                recent.insert(mark);
                if let Some(standing) = distinct.get_mut(&signed) {
                    standing.right = true;
                }
            }
        }
    }

    fn single(&self, signed: &Signed<'_>) -> bool {
        let voter = signed.voter.and_then(|voter| self.vote_keys.get(voter.position()));
        match voter {
            Some(key) => zip215_parsed(key, signed.bytes, signed.signature),
            None => zip215(&signed.key, signed.bytes, signed.signature),
        }
    }
}

/// The fault of a claim whose signature is wrong.
fn blame(claim: &Claim) -> Option<Fault> {
    match claim {
        Claim::Vote { signer, .. } => Some(Fault::Vote(*signer)),
        Claim::Client { key, .. } => Some(Fault::Client(*key)),
        Claim::Stable(_) | Claim::Broken(_) => None,
    }
}
