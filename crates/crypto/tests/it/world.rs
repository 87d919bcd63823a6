//! A committee with keys, under Ed25519 or under MACs, and messages made of bare claims.

use quorate_crypto::{
    Claim, Claims, Cosigner, Delivery, Domain, Forged, Inbound, MacKeyring, ReplicaKeys, Role,
    SecretKey, Verifier, VoteSigner, verify_batch,
};
use quorate_proof::{
    Entry, EntryKind, Origin, Policy, cosignature_message, flat_policy, head_text, state_digest,
};
use quorate_types::{
    Chain, Committee, Cosignature, Digest, Epoch, FaultModel, Head, Index, PublicKey, ReplicaId,
    Signature, Slot, StableCertificate, StateRecord, UnixMillis,
};
use std::sync::Arc;

/// A message that consists of what it claims.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Note {
    pub(crate) signer: Option<ReplicaId>,
    pub(crate) claims: Vec<Claim>,
}

impl Claims for Note {
    fn signer(&self) -> Option<ReplicaId> {
        self.signer
    }

    fn claims(&self, _domain: &Domain, out: &mut Vec<Claim>) {
        out.extend(self.claims.iter().cloned());
    }
}

/// A committee, everybody's signers, and a verifier of its own.
pub(crate) struct World {
    pub(crate) committee: Committee,
    pub(crate) domain: Domain,
    pub(crate) verifier: Verifier,
    pub(crate) voters: Vec<VoteSigner>,
    pub(crate) cosigners: Vec<Cosigner>,
    keyring: Option<MacKeyring>,
}

pub(crate) fn origin() -> Origin {
    let chain = Chain::of(&Digest([9; 32]));
    Origin::parse(&format!("dev.localhost/quorate/{chain}/bft")).unwrap()
}

pub(crate) fn keys_of(replica: ReplicaId) -> ReplicaKeys {
    let key = |role, tag: u8| {
        let mut seed = [tag; 32];
        seed[..2].copy_from_slice(&replica.0.to_be_bytes());
        SecretKey::from_seed(role, &seed)
    };
    ReplicaKeys {
        vote: key(Role::Vote, 1),
        cosign: key(Role::Cosign, 2),
        log: key(Role::Log, 3),
        tls: key(Role::Tls, 4),
    }
}

pub(crate) fn policy_of(committee: Committee, keys: &[ReplicaKeys]) -> Policy {
    let members: Vec<(String, PublicKey, PublicKey)> = committee
        .replicas()
        .zip(keys)
        .map(|(replica, keys)| {
            (format!("dev.localhost/{replica}"), keys.cosign.public(), keys.log.public())
        })
        .collect();
    Policy::parse(&flat_policy(&origin(), &members, committee.quorum())).unwrap()
}

impl World {
    pub(crate) fn ed25519(n: u16) -> Self {
        let committee = Committee::new(n, FaultModel::Bft).unwrap();
        let keys: Vec<ReplicaKeys> = committee.replicas().map(keys_of).collect();
        let votes: Vec<PublicKey> = keys.iter().map(|keys| keys.vote.public()).collect();
        let policy = policy_of(committee, &keys);
        Self {
            committee,
            domain: Domain::new(&origin().to_string()),
            verifier: Verifier::new(committee, &votes, policy).unwrap(),
            voters: keys.iter().map(ReplicaKeys::vote_signer).collect(),
            cosigners: keys.iter().map(ReplicaKeys::cosigner).collect(),
            keyring: None,
        }
    }

    pub(crate) fn mac(n: u16) -> Self {
        let committee = Committee::new(n, FaultModel::Bft).unwrap();
        let keyring = MacKeyring::new(77);
        let policy = keyring.policy(&origin(), committee).unwrap();
        let voter = |replica| VoteSigner::Mac { keyring, replica };
        Self {
            committee,
            domain: Domain::new(&origin().to_string()),
            verifier: Verifier::mac(committee, keyring, policy),
            voters: committee.replicas().map(voter).collect(),
            cosigners: committee.replicas().map(|r| Cosigner::mac(keyring, r)).collect(),
            keyring: Some(keyring),
        }
    }

    pub(crate) fn both(n: u16) -> [Self; 2] {
        [Self::ed25519(n), Self::mac(n)]
    }

    /// The same world with a verifier that remembers nothing.
    pub(crate) fn afresh(&self) -> Self {
        let n = u16::try_from(self.committee.n()).unwrap();
        if self.keyring.is_some() { Self::mac(n) } else { Self::ed25519(n) }
    }

    /// A vote by a replica over a number.
    pub(crate) fn vote(&self, signer: u16, number: u64) -> Claim {
        let bytes = self.domain.statement("quorate-test/1", &number);
        let signature = self.voters[usize::from(signer)].sign(&bytes);
        Claim::Vote { signer: ReplicaId(signer), bytes, signature }
    }

    /// A client's signature over a text.
    pub(crate) fn client(&self, client: u8, text: &str) -> Claim {
        let bytes = text.as_bytes().to_vec();
        if let Some(keyring) = self.keyring {
            let key = keyring.client_key(client.into());
            return Claim::Client { key, signature: keyring.mac_by(&key, &bytes), bytes };
        }
        let secret = SecretKey::from_seed(Role::Client, &[client; 32]);
        Claim::Client { key: secret.public(), signature: secret.sign(&bytes), bytes }
    }

    /// A certificate of the first quorum for a log of one entry.
    pub(crate) fn certificate(&self) -> StableCertificate {
        let record = StateRecord {
            slot: Slot(0),
            next_index: Index(1),
            epoch: Epoch(0),
            time: UnixMillis(1_763_658_123_456),
            service: Digest([1; 32]),
            replay: Digest([2; 32]),
            engine: Digest([3; 32]),
        };
        let entry = Entry {
            index: Index(0),
            epoch: record.epoch,
            time: record.time,
            state: state_digest(&record),
            kind: EntryKind::Policy(self.verifier.policy().digest()),
        };
        let head = Head { size: 1, root: entry.leaf() };
        let message = self.cosignature_message(&head, record.time);
        let cosignature = |replica: ReplicaId| Cosignature {
            replica,
            signature: self.cosigners[replica.position()].cosign(&message),
        };
        StableCertificate {
            head,
            cosignatures: self
                .committee
                .replicas()
                .take(self.committee.quorum())
                .map(cosignature)
                .collect(),
            last_entry: entry.text(),
            path: Vec::new(),
            record,
        }
    }

    pub(crate) fn cosignature_message(&self, head: &Head, time: UnixMillis) -> Vec<u8> {
        let text = head_text(self.verifier.policy().origin_text(), head);
        cosignature_message(&text, time.seconds())
    }

    pub(crate) fn stage(&self, inbound: Vec<Inbound<Note>>) -> Vec<Result<Delivery<Note>, Forged>> {
        verify_batch(&self.verifier, &self.domain, inbound)
    }
}

/// A message by `signer` with these claims, delivered by `via`.
pub(crate) fn inbound(via: u16, signer: Option<u16>, claims: Vec<Claim>) -> Inbound<Note> {
    Inbound { via: ReplicaId(via), message: Note { signer: signer.map(ReplicaId), claims } }
}

/// The claim with another signature.
pub(crate) fn forged(mut claim: Claim) -> Claim {
    match &mut claim {
        Claim::Vote { signature: Signature(bytes), .. }
        | Claim::Client { signature: Signature(bytes), .. } => bytes[9] ^= 4,
        Claim::Stable(certificate) => {
            let slot = certificate.record.slot.next();
            Arc::make_mut(certificate).record.slot = slot;
        }
        Claim::Broken(_) => {}
    }
    claim
}
