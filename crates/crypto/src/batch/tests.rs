//! Edge cases of Ed25519, generated here: all small-order encodings (Henry de Valence, "It's
//! 255:19AM. Do you know what your validation criteria are?") and all torsion components on
//! ordinary keys and nonces (Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs").

use super::*;
use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::IsIdentity as _,
};
use quorate_proof::{SignatureCheck as _, Strict};
use sha2::Sha512;
use std::time::Instant;

const MESSAGE: &[u8] = b"Zcash";

struct Case {
    key: PublicKey,
    signature: Signature,
}

fn case(key: [u8; 32], r: [u8; 32], s: [u8; 32]) -> Case {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    Case { key: PublicKey(key), signature: Signature(signature) }
}

fn challenge(r: &[u8; 32], key: &[u8; 32]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(MESSAGE);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// Every encoding that decodes to a point of order 1, 2, 4 or 8: y of each such point, y + p where
/// that still fits into 255 bits, each with both signs.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings = Vec::new();
    let canonical = EIGHT_TORSION.iter().map(|point| {
        let mut y = point.compress().to_bytes();
        y[31] &= 0x7f;
        y
    });
    let mut p_plus_0 = [0xff; 32];
    (p_plus_0[0], p_plus_0[31]) = (0xed, 0x7f);
    let mut p_plus_1 = p_plus_0;
    p_plus_1[0] = 0xee;
    for y in canonical.chain([p_plus_0, p_plus_1]) {
        for sign in [0, 0x80] {
            let mut encoding = y;
            encoding[31] |= sign;
            let small = CompressedEdwardsY(encoding)
                .decompress()
                .is_some_and(|point| point.mul_by_cofactor().is_identity());
            if small && !encodings.contains(&encoding) {
                encodings.push(encoding);
            }
        }
    }
    encodings
}

/// Signatures with S = 0 by every small-order key with every small-order nonce.
fn small_order_cases() -> Vec<Case> {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14, "8 points, and 6 encodings that are not canonical");
    let pairs = encodings.iter().flat_map(|key| encodings.iter().map(move |r| (key, r)));
    pairs.map(|(key, r)| case(*key, *r, [0; 32])).collect()
}

/// Signatures that an ordinary secret made with torsion added to its key and its nonce, with
/// whether the cofactorless equation holds for them.
fn mixed_order_cases() -> Vec<(Case, bool)> {
    let (secret, nonce) = (Scalar::from(0x5eed_u64), Scalar::from(0xface_u64));
    let torsion = EIGHT_TORSION.iter();
    let pairs = torsion.clone().flat_map(|on_key| torsion.clone().map(move |on_r| (on_key, on_r)));
    pairs
        .map(|(on_key, on_r)| {
            let key = (secret * ED25519_BASEPOINT_POINT + on_key).compress().to_bytes();
            let r = (nonce * ED25519_BASEPOINT_POINT + on_r).compress().to_bytes();
            let k = challenge(&r, &key);
            let s = nonce + k * secret;
            let cofactorless: EdwardsPoint = on_r + k * on_key;
            (case(key, r, s.to_bytes()), cofactorless.is_identity())
        })
        .collect()
}

fn signed(case: &Case) -> Signed<'_> {
    Signed { signature: &case.signature, key: case.key, voter: None, bytes: MESSAGE }
}

fn single(signed: &Signed<'_>) -> bool {
    zip215(&signed.key, signed.bytes, signed.signature)
}

fn each(signed: &[Signed<'_>]) -> Vec<bool> {
    let mut right = Vec::new();
    zip215_each(signed, &single, &mut right);
    right
}

fn honest(n: u8) -> Vec<Case> {
    (0..n)
        .map(|i| {
            let key = ed25519_zebra::SigningKey::from([i; 32]);
            let signature = Signature(key.sign(MESSAGE).to_bytes());
            Case { key: PublicKey(key.verification_key().into()), signature }
        })
        .collect()
}

#[test]
fn zip215_accepts_all_196_small_order_signatures_single_and_batched_and_strict_none() {
    let cases = small_order_cases();
    assert_eq!(cases.len(), 196);
    let honest = honest(3);
    for case in &cases {
        assert!(single(&signed(case)));
        let mixed: Vec<_> = honest.iter().chain([case]).map(signed).collect();
        assert_eq!(zip215_all(&mixed), Some(true), "in a batch with others");
        assert!(!Strict.check(&case.key, MESSAGE, &case.signature));
    }
    assert_eq!(zip215_all(&cases.iter().map(signed).collect::<Vec<_>>()), Some(true));
}

#[test]
fn zip215_accepts_torsion_single_and_batched_and_strict_where_it_cancels() {
    let cases = mixed_order_cases();
    assert_eq!(cases.len(), 64);
    let mut strict_differs = 0;
    for (case, cofactorless) in &cases {
        assert!(single(&signed(case)));
        assert_eq!(zip215_all(&[signed(case)]), Some(true));
        let strict = Strict.check(&case.key, MESSAGE, &case.signature);
        assert_eq!(strict, *cofactorless);
        strict_differs += usize::from(!strict);
    }
    assert!(strict_differs > 40, "{strict_differs} of 64 differ");
    let all: Vec<_> = cases.iter().map(|(case, _)| signed(case)).collect();
    assert_eq!(zip215_all(&all), Some(true));
}

#[test]
fn s_above_the_group_order_is_refused_single_and_batched() {
    // L = 2^252 + 27742317777372353535851937790883648493, little-endian.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let honest = honest(4);
    for Case { key, signature } in &honest {
        let mut malleated = *signature;
        let mut carry = 0;
        for (byte, l) in malleated.0[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(l) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        let malleated = Case { key: *key, signature: malleated };
        assert!(!single(&signed(&malleated)));
        assert_eq!(zip215_all(&[signed(&malleated)]), Some(false));
        assert!(!Strict.check(key, MESSAGE, &malleated.signature));
    }
}

#[test]
fn encodings_that_are_no_point_are_refused_single_and_batched() {
    let not_a_point = (0..=255_u8)
        .map(|byte| [byte; 32])
        .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none())
        .unwrap();
    let [honest] = &honest(1)[..] else { unreachable!() };
    let s = [1; 32];
    let point = honest.key.0;
    for case in [case(not_a_point, point, s), case(point, not_a_point, s)] {
        assert!(!single(&signed(&case)));
        assert_eq!(zip215_all(&[signed(&case)]), Some(false));
        assert_eq!(each(&[signed(&case)]), [false]);
    }
}

#[test]
fn bisection_finds_exactly_the_wrong_ones() {
    let mut cases = honest(64);
    for wrong in [vec![], vec![0], vec![63], vec![31, 32], vec![5, 6, 7, 40], (0..64).collect()] {
        for &i in &wrong {
            cases[i].signature.0[40] ^= 1;
        }
        let found = each(&cases.iter().map(signed).collect::<Vec<_>>());
        let expected: Vec<bool> = (0..64).map(|i| !wrong.contains(&i)).collect();
        assert_eq!(found, expected);
        for &i in &wrong {
            cases[i].signature.0[40] ^= 1;
        }
    }
}

#[test]
fn two_wrong_signatures_that_cancel_in_a_plain_sum_do_not_pass_as_a_batch() {
    let mut cases = honest(2);
    // s of the one is raised and of the other lowered by one: the sum of both equations holds.
    let shift = |signature: &mut Signature, by: Scalar| {
        let s = Scalar::from_canonical_bytes(signature.0[32..].try_into().unwrap()).unwrap();
        signature.0[32..].copy_from_slice(&(s + by).to_bytes());
    };
    shift(&mut cases[0].signature, Scalar::ONE);
    shift(&mut cases[1].signature, -Scalar::ONE);
    assert_eq!(zip215_all(&cases.iter().map(signed).collect::<Vec<_>>()), Some(false));
}

#[test]
fn coefficients_differ_from_batch_to_batch_and_within_one() {
    let (mut one, mut two) = (Coefficients::draw().unwrap(), Coefficients::draw().unwrap());
    let mut drawn = Vec::new();
    for _ in 0..64 {
        for source in [&mut one, &mut two] {
            let mut coefficient = [0; 16];
            source.fill_bytes(&mut coefficient);
            assert!(!drawn.contains(&coefficient));
            drawn.push(coefficient);
        }
    }
}

#[test]
#[ignore = "slow"]
fn cost_of_one_signature_by_batch_size_slow() {
    let messages: Vec<[u8; 200]> = (0..=255).map(|byte| [byte; 200]).collect();
    for keys in [4_u8, 128] {
        for size in [1, 2, 3, 4, 6, 8, 16, 32, 64, 128] {
            let cases: Vec<Case> = (0..size)
                .map(|i| {
                    let key = ed25519_zebra::SigningKey::from([i % keys; 32]);
                    let signature = Signature(key.sign(&messages[usize::from(i)]).to_bytes());
                    Case { key: PublicKey(key.verification_key().into()), signature }
                })
                .collect();
            let all: Vec<_> = cases
                .iter()
                .zip(&messages)
                .map(|(case, bytes)| Signed { bytes, ..signed(case) })
                .collect();
            let parsed: Vec<_> =
                cases.iter().map(|c| VerificationKey::try_from(c.key.0).unwrap()).collect();
            let rounds = 2000 / u32::from(size) + 1;
            let clock = Instant::now();
            for _ in 0..rounds {
                for (signed, key) in all.iter().zip(&parsed) {
                    assert!(zip215_parsed(key, signed.bytes, signed.signature));
                }
            }
            let singly = clock.elapsed() / rounds / u32::from(size);
            let clock = Instant::now();
            for _ in 0..rounds {
                assert_eq!(zip215_all(&all), Some(true));
            }
            let batched = clock.elapsed() / rounds / u32::from(size);
            println!("{keys} keys, {size} signatures: single {singly:?}, batched {batched:?} each");
        }
    }
}
