//! Certificates and keys.

use crate::world::{World, forged, inbound, keys_of, policy_of};
use curve25519_dalek::{constants, scalar::Scalar};
use ed25519_dalek::hazmat::ExpandedSecretKey;
use quorate_crypto::{Claim, Fault, ReplicaKeys, Verifier, VerifierError};
use quorate_proof::{Policy, SignatureCheck, flat_policy};
use quorate_types::{
    Committee, Cosignature, FaultModel, PublicKey, ReplicaId, Signature, StableCertificate,
};
use sha2::{Digest as _, Sha512};
use std::sync::Arc;

#[test]
fn a_certificate_holds_by_a_quorum_of_cosignatures_and_by_nothing_less() {
    for world in World::both(4) {
        let certificate = world.certificate();
        let holds = |certificate: &StableCertificate| {
            world.verifier.check(&[Claim::Stable(Arc::new(certificate.clone()))])
        };
        let edits: [fn(&mut StableCertificate); 9] = [
            |c| c.cosignatures.truncate(2),
            |c| c.cosignatures[1] = c.cosignatures[0],
            |c| c.cosignatures.swap(0, 1),
            |c| c.cosignatures[2].signature.0[0] ^= 1,
            |c| c.cosignatures[2].replica = ReplicaId(3),
            |c| c.cosignatures[2].replica = ReplicaId(9),
            |c| c.head.root.0[0] ^= 1,
            |c| c.record.slot.0 += 1,
            |c| c.last_entry.push('\n'),
        ];
        // Twice, so that what is remembered is judged as well.
        for _ in 0..2 {
            assert!(holds(&certificate));
            for edit in edits {
                let mut wrong = certificate.clone();
                edit(&mut wrong);
                assert!(!holds(&wrong));
            }
        }
    }
}

#[test]
fn a_wrong_certificate_condemns_its_own_message_only() {
    for world in World::both(4) {
        let good = Claim::Stable(Arc::new(world.certificate()));
        let results = world.stage(vec![
            inbound(0, Some(0), vec![world.vote(0, 1), good.clone()]),
            inbound(1, Some(1), vec![world.vote(1, 1), forged(good.clone())]),
            inbound(2, None, vec![good]),
        ]);
        assert!(results[0].is_ok() && results[2].is_ok());
        assert_eq!(results[1].as_ref().unwrap_err().fault, Fault::Certificate);
        assert_eq!(results[1].as_ref().unwrap_err().via, ReplicaId(1));
    }
}

#[test]
fn a_signature_with_torsion_is_a_vote_but_no_cosignature() {
    let world = World::ed25519(4);
    // r0 signs with a point of order eight added to its nonce: right by ZIP-215 alone.
    let seed = |tag: u8| {
        let mut seed = [tag; 32];
        seed[..2].copy_from_slice(&[0, 0]);
        seed
    };
    let sign = |seed: [u8; 32], key: PublicKey, message: &[u8]| {
        let secret = ExpandedSecretKey::from(&seed);
        let nonce = Scalar::from(12345_u64);
        let point = nonce * constants::ED25519_BASEPOINT_POINT + constants::EIGHT_TORSION[1];
        let r = point.compress().to_bytes();
        let hash = Sha512::new().chain_update(r).chain_update(key.0).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(&(nonce + k * secret.scalar).to_bytes());
        Signature(signature)
    };
    let keys = keys_of(ReplicaId(0));
    let Claim::Vote { signer, bytes, .. } = world.vote(0, 1) else { unreachable!() };
    let signature = sign(seed(1), keys.vote.public(), &bytes);
    let vote = Claim::Vote { signer, bytes, signature };
    assert!(world.verifier.check(std::slice::from_ref(&vote)), "alone");
    let others = [vote, world.vote(1, 1), world.vote(2, 1), world.vote(3, 1)];
    assert!(world.afresh().verifier.check(&others), "in a batch");

    let mut certificate = world.certificate();
    let message = world.cosignature_message(&certificate.head, certificate.record.time);
    let signature = sign(seed(2), keys.cosign.public(), &message);
    certificate.cosignatures[0] = Cosignature { replica: ReplicaId(0), signature };
    assert!(!world.verifier.check(&[Claim::Stable(Arc::new(certificate))]));
}

#[test]
fn the_signature_check_of_proofs_is_strict_or_the_mac() {
    for world in World::both(4) {
        for (witness, (log, cosigner)) in world
            .verifier
            .policy()
            .witnesses()
            .iter()
            .zip(world.verifier.policy().logs().iter().zip(&world.cosigners))
        {
            let check =
                |key, signature| SignatureCheck::check(&world.verifier, key, b"head", &signature);
            assert!(check(&witness.key, cosigner.cosign(b"head")));
            assert!(check(&log.key, cosigner.log_sign(b"head")));
            assert!(!check(&log.key, cosigner.cosign(b"head")));
            assert!(!check(&witness.key, cosigner.log_sign(b"head")));
            assert!(!check(&witness.key, cosigner.cosign(b"other")));
        }
    }
}

#[test]
fn keys_that_do_not_fit_the_committee_make_no_verifier() {
    let committee = Committee::new(4, FaultModel::Bft).unwrap();
    let keys: Vec<ReplicaKeys> = committee.replicas().map(keys_of).collect();
    let votes: Vec<PublicKey> = keys.iter().map(|keys| keys.vote.public()).collect();
    let policy = policy_of(committee, &keys);
    let refused = |votes: &[PublicKey], policy: &Policy| {
        Verifier::new(committee, votes, policy.clone()).map(|_| ()).unwrap_err()
    };
    let count = |what, found| VerifierError::Count { what, n: 4, found };
    assert_eq!(refused(&votes[..3], &policy), count("vote keys", 3));

    let three: Vec<_> = keys[..3]
        .iter()
        .enumerate()
        .map(|(i, keys)| (format!("x.localhost/{i}"), keys.cosign.public(), keys.log.public()))
        .collect();
    let small = Policy::parse(&flat_policy(&crate::world::origin(), &three, 3)).unwrap();
    assert_eq!(refused(&votes, &small), count("log lines", 3));

    let mut wrong = votes.clone();
    wrong[3] = votes[1];
    let shared = VerifierError::SharedVoteKey(ReplicaId(1), ReplicaId(3));
    assert_eq!(refused(&wrong, &policy), shared);

    let mut identity = [0; 32];
    identity[0] = 1;
    let mut beyond_the_prime = [0xff; 32];
    (beyond_the_prime[0], beyond_the_prime[31]) = (0xf0, 0x7f);
    let no_point = (0..=255_u8)
        .map(|byte| [byte; 32])
        .find(|bytes| curve25519_dalek::edwards::CompressedEdwardsY(*bytes).decompress().is_none());
    for bytes in [identity, [0; 32], beyond_the_prime, no_point.unwrap()] {
        wrong[3] = PublicKey(bytes);
        assert_eq!(refused(&wrong, &policy), VerifierError::VoteKey(ReplicaId(3)), "{bytes:?}");
    }
}
