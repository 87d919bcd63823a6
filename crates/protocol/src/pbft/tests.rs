//! PBFT as a subject of the suite, and stories.

use super::{message::*, *};
use crate::{
    adversary::{Byzantine, Deed},
    conformance::{self, Network, Random, Subject, Weather, certificate},
};
use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Claim, Delivery, Inbound, MacKeyring, Verifier, verify_batch};
use quorate_proof::Origin;
use quorate_types::{FaultModel, Signature, StableCertificate};

mod change;
mod deeds;
mod lag;
mod model;
mod normal;
mod rig;
mod seeds;
mod stories;
mod stuck;
mod wire;

#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) struct Word(pub(super) u64);

impl Claims for Word {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, _: &Domain, _: &mut Vec<Claim>) {}
}

/// A message whose claims the tests check themselves: certificates hold by name here.
struct Checked(Message<Word>);

impl Claims for Checked {
    fn signer(&self) -> Option<ReplicaId> {
        None
    }

    fn claims(&self, _: &Domain, _: &mut Vec<Claim>) {}
}

/// A committee of PBFT replicas that sign by MACs.
#[derive(Clone)]
pub(super) struct Macs {
    pub(super) committee: Committee,
    pub(super) instance: u32,
    pub(super) window: u64,
    pub(super) domain: Domain,
    keyring: MacKeyring,
    verifier: Arc<Verifier>,
}

impl Macs {
    pub(super) fn new(n: u16) -> Self {
        let origin = Origin::parse("dev.localhost/quorate/0123456789abcdef/bft").unwrap();
        let committee = Committee::new(n, FaultModel::Bft).unwrap();
        let keyring = MacKeyring::new(7);
        let policy = keyring.policy(&origin, committee).unwrap();
        let verifier = Arc::new(Verifier::mac(committee, keyring, policy));
        let domain = Domain::new(&origin.to_string());
        Self { committee, instance: 0, window: 8, domain, keyring, verifier }
    }

    pub(super) fn key(&self, replica: ReplicaId) -> VoteSigner {
        VoteSigner::Mac { keyring: self.keyring, replica }
    }

    pub(super) fn vote(&self, by: u16, phase: Phase, view: u64, slot: u64, digest: Digest) -> Vote {
        let header = Header { view: View(view), slot: Slot(slot), digest };
        let me = ReplicaId(by);
        Vote::sign(header, phase, me, &self.key(me), &self.domain, self.instance)
    }

    pub(super) fn message(&self, body: Body<Word>) -> Message<Word> {
        Message { instance: self.instance, body }
    }

    pub(super) fn pbft(&self, me: ReplicaId) -> Pbft<Word> {
        let config = PbftConfig {
            instance: self.instance,
            window: self.window,
            ..PbftConfig::new(me, self.committee, self.domain.clone())
        };
        Pbft::new(config, self.key(me))
    }

    pub(super) fn holds(&self, claims: &[Claim]) -> bool {
        claims.iter().all(|claim| match claim {
            Claim::Vote { signer, bytes, signature } => {
                self.committee.contains(*signer) && self.keyring.mac(*signer, bytes) == *signature
            }
            Claim::Stable(held) => **held == certificate(held.slot()),
            Claim::Client { .. } | Claim::Broken(_) => false,
        })
    }

    pub(super) fn verified(
        &self,
        via: ReplicaId,
        message: Message<Word>,
    ) -> Option<Delivery<Message<Word>>> {
        let mut claims = Vec::new();
        message.claims(&self.domain, &mut claims);
        let signer = message.signer().unwrap_or(via);
        if !self.holds(&claims) {
            return None;
        }
        let inbound = vec![Inbound { via, message: Checked(message) }];
        let delivery = verify_batch(&self.verifier, &self.domain, inbound).pop()?.ok()?;
        Some(Delivery { signer, via, message: delivery.message.map(|checked| checked.0) })
    }
}

impl Subject for Macs {
    type Engine = Byzantine<Pbft<Word>>;

    fn committee(&self) -> Committee {
        self.committee
    }

    fn engine(&self, me: ReplicaId) -> Self::Engine {
        Byzantine::new(self.pbft(me), me, self.committee)
    }

    fn command(&self, number: u64) -> Word {
        Word(number)
    }

    fn verify(&self, via: ReplicaId, message: Message<Word>) -> Option<Delivery<Message<Word>>> {
        self.verified(via, message)
    }

    fn word(&self, message: &Message<Word>) -> &'static str {
        match &message.body {
            Body::PrePrepare(_) => "PrePrepare",
            Body::Prepare(_) => "Prepare",
            Body::Commit(_) => "Commit",
            Body::Decided(_) => "Decided",
            Body::ViewChange(_) => "ViewChange",
            Body::NewView(_) => "NewView",
            Body::Status(_) => "Status",
            Body::Fetch(_) => "Fetch",
            Body::Payload(_) => "Payload",
            Body::Stable(_) => "Stable",
        }
    }

    fn vote(&self, from: ReplicaId, message: &Message<Word>) -> Option<(Vec<u8>, Digest)> {
        let (phase, vote) = match &message.body {
            Body::PrePrepare(proposal) => (Phase::PrePrepare, &proposal.vote),
            Body::Prepare(vote) => (Phase::Prepare, vote),
            Body::Commit(vote) => (Phase::Commit, vote),
            // A replica reports once for each view.
            Body::ViewChange(report) if report.signer == from => {
                return Some(((9u8, report.view).to_wire(), Digest(hash(&report.to_wire()))));
            }
            Body::NewView(opening) if opening.signer == from => {
                return Some(((8u8, opening.view).to_wire(), Digest(hash(&opening.to_wire()))));
            }
            _ => return None,
        };
        let place = (phase, vote.header.view, vote.header.slot).to_wire();
        (vote.signer == from).then_some((place, vote.header.digest))
    }

    fn garbage(&self, from: ReplicaId, random: &mut Random) -> Message<Word> {
        garbage(self, from, random)
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// A message with right signatures and arbitrary numbers.
fn garbage(macs: &Macs, from: ReplicaId, random: &mut Random) -> Message<Word> {
    fn number(random: &mut Random) -> u64 {
        match random.below(4) {
            0 => random.draw(),
            1 => u64::MAX - random.below(3),
            _ => random.below(40),
        }
    }
    let command = Word(random.below(3));
    let digest =
        if random.below(2) == 0 { digest_of::<Word>(None) } else { digest_of(Some(&command)) };
    let content = (digest == digest_of(Some(&command))).then(|| Arc::new(command.clone()));
    let (view, slot) = (number(random), number(random));
    let vote = |phase| macs.vote(from.0, phase, view, slot, digest);
    let signature = Signature([0; 64]);
    let ballots = vec![Ballot { signer: from, signature: vote(Phase::Commit).signature }; 3];
    let header = Header { view: View(view), slot: Slot(slot), digest };
    let body = match random.below(10) {
        0 => Body::PrePrepare(PrePrepare { vote: vote(Phase::PrePrepare), command: content }),
        1 => Body::Prepare(vote(Phase::Prepare)),
        2 => Body::Commit(vote(Phase::Commit)),
        3 => Body::Decided(Decided { header, command: content, commits: ballots }),
        4 | 5 => {
            let stable = Slot(0);
            let (view, signer) = (View(view), from);
            let mut report = ViewChange {
                view,
                stable,
                certificate: None,
                prepared: Vec::new(),
                signer,
                signature,
            };
            let bytes = report.statement(&macs.domain, 0);
            report.signature = macs.key(from).sign(&bytes);
            if random.below(2) == 0 {
                Body::ViewChange(report)
            } else {
                let view_changes = vec![report; 3];
                let mut opening = NewView { view, view_changes, signer, signature };
                let bytes = opening.statement(&macs.domain, 0);
                opening.signature = macs.key(from).sign(&bytes);
                Body::NewView(opening)
            }
        }
        6 => Body::Status(Status {
            view: View(view),
            active: random.below(2) == 0,
            suspects: random.below(2) == 0,
            pull: random.below(2) == 0,
            round: u32::MAX,
            stable: Slot(number(random)),
            committed: Slot(slot),
            stages: vec![Stage::Nothing; usize::try_from(random.below(30)).unwrap()],
        }),
        7 => Body::Fetch(Fetch { slot: Slot(slot), digest }),
        8 => Body::Payload(Payload {
            slot: Slot(slot),
            digest: digest_of(Some(&command)),
            command: Arc::new(command),
        }),
        _ => Body::Stable(Arc::new(StableCertificate::clone(&certificate(Slot(0))))),
    };
    macs.message(body)
}
