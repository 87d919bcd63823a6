use super::*;
use crate::{
    certify::{Answer, Certifier, OwnHeadWrong, Stabilised, wrong_result, wrong_result_holds},
    message::Cosign,
    port::Ticket,
};
use quorate_proof::{SignatureCheck, cosignature_message, head_text, verify_stable};
use quorate_types::{Head, Index};

fn certifier() -> Certifier {
    let origin = policy().origin_text().to_owned();
    Certifier::new(ReplicaId(0), committee(), cosigner(0), origin, 16)
}

/// The cosignature of a replica over a head, as that replica would make it.
fn cosign_of(replica: u16, like: &Cosign, head: Head) -> Cosign {
    let message =
        cosignature_message(&head_text(policy().origin_text(), &head), like.time.seconds());
    Cosign { head, signature: cosigner(replica).cosign(&message), ..*like }
}

fn opened() -> (Certifier, Cosign) {
    let (_, recorded, _) = written(1);
    let mut certifier = certifier();
    let own =
        certifier.open(recorded, vec![(Ticket(1), Index(2), true), (Ticket(2), Index(1), false)]);
    (certifier, own)
}

fn add(
    certifier: &mut Certifier,
    from: u16,
    cosign: Cosign,
) -> Result<Option<Stabilised>, OwnHeadWrong> {
    certifier.add(&verifier(), ReplicaId(from), cosign)
}

fn forged(head: Head) -> Head {
    Head { root: digest(0xff), ..head }
}

#[test]
fn a_quorum_of_cosignatures_certifies_and_answers() {
    let (mut certifier, own) = opened();
    assert!(add(&mut certifier, 1, cosign_of(1, &own, own.head)).unwrap().is_none());
    let stabilised = add(&mut certifier, 2, cosign_of(2, &own, own.head)).unwrap().unwrap();
    verify_stable(&policy(), &verifier(), &stabilised.certificate).unwrap();
    let answers: Vec<_> = stabilised.answers.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(answers, [Ticket(1), Ticket(2)]);
    assert!(
        matches!(&stabilised.answers[0].1, Answer::Certified(c) if c.facts().index == Index(2))
    );
    assert!(matches!(&stabilised.answers[1].1, Answer::Earlier(Index(1))));
    assert!(certifier.covers(Index(2)) && !certifier.covers(Index(3)));
}

#[test]
fn one_signer_counts_once_and_a_wrong_signature_never() {
    let (mut certifier, own) = opened();
    for _ in 0..3 {
        assert!(add(&mut certifier, 1, cosign_of(1, &own, own.head)).unwrap().is_none());
    }
    // r2's cosignature, sent by r3; then garbage by r3.
    let borrowed = cosign_of(2, &own, own.head);
    assert!(add(&mut certifier, 3, borrowed).unwrap().is_none());
    let garbage = Cosign { signature: Signature([1; 64]), ..own };
    assert!(add(&mut certifier, 3, garbage).unwrap().is_none());
    assert!(add(&mut certifier, 3, cosign_of(3, &own, own.head)).unwrap().is_some());
}

#[test]
fn cosignatures_that_come_before_the_slot_is_executed_are_kept_within_the_window() {
    let (_, own) = opened();
    let mut certifier = certifier();
    let early = cosign_of(1, &own, own.head);
    assert!(certifier.wants(ReplicaId(1), &early));
    assert!(add(&mut certifier, 1, early).unwrap().is_none());
    assert!(!certifier.wants(ReplicaId(1), &early), "once is enough");
    assert_eq!(certifier.take_early(own.slot).len(), 1);
    let far = Cosign { slot: quorate_types::Slot(1_000), ..early };
    assert!(!certifier.wants(ReplicaId(1), &far));
}

#[test]
fn a_wrong_result_is_evidence_that_convinces_offline_and_frames_nobody() {
    for late in [false, true] {
        let (mut certifier, own) = opened();
        let wrong = cosign_of(2, &own, forged(own.head));
        let mut found = Vec::new();
        if !late {
            assert!(add(&mut certifier, 2, wrong).unwrap().is_none());
        }
        for honest in [1, 3] {
            let stabilised =
                add(&mut certifier, honest, cosign_of(honest, &own, own.head)).unwrap();
            found.extend(stabilised);
        }
        if late {
            found.extend(add(&mut certifier, 2, wrong).unwrap());
        }
        let stabilised = found.pop().unwrap();
        assert_eq!(stabilised.wrong, [(ReplicaId(2), wrong)], "late: {late}");
        let holds = |accused, cosign: &Cosign| {
            let evidence = wrong_result(*cosign, &stabilised.certificate);
            let accused = ReplicaId(accused);
            wrong_result_holds(&policy(), &verifier(), accused, &evidence[0], &evidence[1])
        };
        assert!(holds(2, &wrong));
        assert!(!holds(1, &wrong), "nobody answers for another's signature");
        assert!(!holds(1, &cosign_of(1, &own, own.head)), "the right head is no evidence");
        let larger = Head { size: own.head.size + 1, root: digest(1) };
        assert!(!holds(1, &cosign_of(1, &own, larger)), "another size is no contradiction");
    }
}

#[test]
fn a_replica_that_executed_something_else_than_the_others_stops() {
    let (mut certifier, own) = opened();
    let other = forged(own.head);
    assert!(add(&mut certifier, 1, cosign_of(1, &own, other)).unwrap().is_none());
    let second = add(&mut certifier, 2, cosign_of(2, &own, other));
    assert_eq!(second.unwrap_err(), OwnHeadWrong(own.slot));
}

#[test]
fn one_liar_and_unsigned_claims_stop_nobody() {
    let (mut certifier, own) = opened();
    let unsigned = Cosign { head: forged(own.head), signature: Signature([3; 64]), ..own };
    assert!(add(&mut certifier, 1, unsigned).unwrap().is_none());
    assert!(add(&mut certifier, 2, cosign_of(2, &own, forged(own.head))).unwrap().is_none());
}

#[test]
fn a_strangers_key_checks_nothing() {
    let check = SignatureCheck::check(&verifier(), &stranger(), b"x", &Signature([0; 64]));
    assert!(!check);
}

#[test]
fn no_more_than_two_windows_are_executed_without_a_certificate() {
    let mut execution = execution();
    let (mut recorder, _) = recorder(&execution);
    let mut certifier = certifier();
    let mut last = None;
    for number in 0..32 {
        assert!(certifier.has_room(), "{number}");
        let executed = slot(&mut execution, 10 + u64::from(number), &[put(number, "a", "1")]);
        last = Some(certifier.open(recorder.record(executed), Vec::new()));
    }
    assert!(!certifier.has_room());
    assert!(certifier.held(512).iter().all(|held| !held.is_over()), "{:?}", certifier.held(512));
    let own = last.unwrap();
    add(&mut certifier, 1, cosign_of(1, &own, own.head)).unwrap();
    add(&mut certifier, 2, cosign_of(2, &own, own.head)).unwrap().unwrap();
    assert!(certifier.has_room(), "a certificate proves all below it");
}
