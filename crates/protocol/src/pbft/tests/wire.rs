//! The wire: frozen bytes, and decoders that take anything.

use super::{rig::*, *};
use proptest::prelude::*;
use sha2::Digest as _;

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let rig = Rig::new(4, 1);
    let report = rig.report(2, 1, vec![rig.prepared(0, 1, 5)]);
    let bodies = [
        ("PrePrepare", rig.propose(0, 1, 5)),
        ("Prepare", rig.prepare(2, 0, 1, 5)),
        ("Commit", rig.commit(2, 0, 1, 5)),
        ("Decided", Body::Decided(rig.decided_by(rig.macs.committee.replicas(), 0, 1, 5))),
        ("ViewChange", Body::ViewChange(report.clone())),
        ("NewView", Body::NewView(rig.opening(1, vec![report]))),
        ("Status", Body::Status(Status { stages: vec![Stage::Decided], ..rig.status() })),
        ("Fetch", Body::Fetch(Fetch { slot: Slot(1), digest: digest(5) })),
        (
            "Payload",
            Body::Payload(Payload { slot: Slot(1), command: Arc::new(Word(5)), digest: digest(5) }),
        ),
        ("Stable", Body::Stable(Arc::new(certificate(Slot(3))))),
    ];
    bodies.map(|(name, body)| (name, rig.macs.message(body).to_wire())).into()
}

#[test]
fn the_bytes_of_every_message_are_frozen() {
    let all: Vec<u8> = samples().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let hash = Digest(sha2::Sha256::digest(&all).into()).to_string();
    assert_eq!(hash, "ed693e85fcf06a9850d18f80e386df54d672b08ea69a62952abdc54c18af847d");
}

#[test]
fn every_message_decodes_from_its_bytes_and_from_no_shorter_or_longer_ones() {
    for (name, bytes) in samples() {
        let most = bytes.len() + 1;
        let message = Message::<Word>::from_wire(&bytes, most).unwrap();
        assert_eq!(message.to_wire(), bytes, "{name}");
        for end in 0..bytes.len() {
            assert!(Message::<Word>::from_wire(&bytes[..end], most).is_err(), "{name} to {end}");
        }
        assert!(Message::<Word>::from_wire(&[&bytes[..], &[0]].concat(), most).is_err(), "{name}");
    }
}

#[test]
fn a_vote_is_of_the_size_that_the_table_says() {
    let sizes: BTreeMap<_, _> =
        samples().into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    assert!(sizes["Prepare"] <= 150 && sizes["Commit"] <= 150, "{sizes:?}");
    assert!(sizes["Status"] <= 100, "{sizes:?}");
}

proptest! {
    #[test]
    fn a_changed_byte_gives_another_message_or_none(at in 0usize..4096, bit in 0u8..8) {
        for (name, bytes) in samples() {
            let mut bent = bytes.clone();
            let at = at % bent.len();
            bent[at] ^= 1 << bit;
            if let Ok(message) = Message::<Word>::from_wire(&bent, bent.len()) {
                prop_assert_eq!(message.to_wire(), bent, "{} is not canonical", name);
            }
        }
    }

    #[test]
    fn any_bytes_that_decode_are_handled_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Ok(message) = Message::<Word>::from_wire(&bytes, 300) {
            let mut rig = Rig::new(4, 1);
            let mut claims = Vec::new();
            message.claims(&rig.macs.domain, &mut claims);
            let _ = rig.engine.wants(ReplicaId(2), &message);
            if let Some(it) = rig.macs.verified(ReplicaId(2), message) {
                rig.tell(Input::Message { signer: it.signer, via: it.via, message: it.message });
            }
        }
    }
}
