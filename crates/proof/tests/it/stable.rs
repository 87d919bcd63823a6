//! Stable certificates, and a policy entry at genesis.

use crate::sealed::{ORIGIN, Quorum};
use quorate_proof::{
    Entry, EntryKind, Frontier, Policy, Strict, checkpoint_text, head_text, leaf_hash, proof_text,
    state_digest, verify_proof_text, verify_stable,
};
use quorate_types::{
    Cosignature, Digest, Epoch, Head, Index, ReplicaId, Slot, StableCertificate, StateRecord,
    UnixMillis,
};

struct Fixture {
    quorum: Quorum,
    policy: Policy,
    certificate: StableCertificate,
}

fn fixture() -> Fixture {
    let quorum = Quorum::new(4);
    let policy = Policy::parse(&quorum.policy(3)).unwrap();
    let record = StateRecord {
        slot: Slot(3),
        next_index: Index(6),
        epoch: Epoch(0),
        time: UnixMillis(1_763_658_123_456),
        service: Digest([1; 32]),
        replay: Digest([2; 32]),
        engine: Digest([3; 32]),
    };
    let entry = Entry {
        index: Index(5),
        epoch: Epoch(0),
        time: record.time,
        state: state_digest(&record),
        kind: EntryKind::Mark,
    };
    let mut frontier = Frontier::new();
    (0..5).for_each(|number| frontier.push(leaf_hash(&[number])));
    let path = frontier.append(&[entry.leaf()]).swap_remove(0);
    let head = Head { size: 6, root: frontier.root() };
    let mut certificate = StableCertificate {
        head,
        cosignatures: Vec::new(),
        last_entry: entry.text(),
        path,
        record,
    };
    cosign(&quorum, &mut certificate, &[0, 2, 3]);
    Fixture { quorum, policy, certificate }
}

fn cosign(quorum: &Quorum, certificate: &mut StableCertificate, signers: &[u16]) {
    let text = head_text(ORIGIN, &certificate.head);
    let time_s = certificate.record.time.seconds();
    let one = |&signer: &u16| Cosignature {
        replica: ReplicaId(signer),
        signature: quorum.cosign(usize::from(signer), &text, time_s),
    };
    certificate.cosignatures = signers.iter().map(one).collect();
}

#[test]
fn a_certificate_of_a_quorum_holds() {
    let Fixture { policy, certificate, .. } = fixture();
    assert_eq!(verify_stable(&policy, &Strict, &certificate), Ok(()));
}

#[test]
fn a_certificate_whose_parts_do_not_belong_together_is_refused() {
    type Change = fn(&mut StableCertificate);
    let changes: [(&str, Change); 16] = [
        ("certificate-inconsistent", |c| c.record.slot = Slot(4)),
        ("certificate-inconsistent", |c| c.record.next_index = Index(7)),
        ("certificate-inconsistent", |c| c.record.epoch = Epoch(1)),
        ("certificate-inconsistent", |c| c.record.time = UnixMillis(1_763_658_123_457)),
        ("certificate-inconsistent", |c| c.record.service = Digest([9; 32])),
        ("certificate-inconsistent", |c| c.record.replay = Digest([9; 32])),
        ("certificate-inconsistent", |c| c.record.engine = Digest([9; 32])),
        ("certificate-inconsistent", |c| c.head.size = 7),
        ("not-in-log", |c| c.head.root = Digest([9; 32])),
        ("not-in-log", |c| c.path.clear()),
        ("entry-malformed", |c| c.last_entry.push('\n')),
        ("not-in-log", |c| c.last_entry = c.last_entry.replace("456", "457")),
        ("certificate-inconsistent", |c| c.cosignatures.swap(0, 1)),
        ("certificate-inconsistent", |c| c.cosignatures[2] = c.cosignatures[1]),
        ("certificate-inconsistent", |c| c.cosignatures[2].replica = ReplicaId(4)),
        ("quorum-missing", |c| c.cosignatures.truncate(2)),
    ];
    for (position, (expected, change)) in changes.into_iter().enumerate() {
        let Fixture { policy, mut certificate, .. } = fixture();
        change(&mut certificate);
        let outcome = verify_stable(&policy, &Strict, &certificate).map_err(|e| e.code());
        assert_eq!(outcome, Err(expected), "change {position}");
    }
}

#[test]
fn a_wrong_cosignature_condemns_a_certificate_beside_a_full_quorum() {
    let Fixture { quorum, policy, mut certificate } = fixture();
    cosign(&quorum, &mut certificate, &[0, 1, 2, 3]);
    assert_eq!(verify_stable(&policy, &Strict, &certificate), Ok(()));
    certificate.cosignatures[1].signature.0[5] ^= 1;
    let outcome = verify_stable(&policy, &Strict, &certificate).map_err(|error| error.code());
    assert_eq!(outcome, Err("signature-wrong"));
}

#[test]
fn an_entry_of_any_kind_is_proven_by_a_written_checkpoint() {
    let Fixture { quorum, policy, certificate } = fixture();
    let StableCertificate { head, cosignatures, path, last_entry, record } = certificate;
    let entry = Entry::parse(&last_entry).unwrap();
    let log_signature = |text: &str| {
        use ed25519_dalek::Signer as _;
        quorate_types::Signature(quorum.logs[1].sign(text.as_bytes()).to_bytes())
    };
    let log = Some((ReplicaId(1), log_signature(&head_text(ORIGIN, &head))));
    let checkpoint = checkpoint_text(&policy, &head, record.time, log, &cosignatures);
    let proof = proof_text(entry.index, &path, &checkpoint);
    let witnessed = verify_proof_text(&policy, &Strict, &entry, &proof).unwrap();
    assert_eq!((witnessed.signers, witnessed.replicas, witnessed.head), (3, 4, head));
    let mut other = entry;
    other.kind = EntryKind::Rejoin(ReplicaId(2));
    let outcome = verify_proof_text(&policy, &Strict, &other, &proof).map_err(|e| e.code());
    assert_eq!(outcome, Err("not-in-log"));
}
