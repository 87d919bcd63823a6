//! The oracles that fuzzing uses, over the worked example with a few bytes changed.

use crate::{
    example::{ENTRY, POLICY, PROOF, REQUEST, RESPONSE},
    oracles::{
        checkpoint, client_signature, entry, one_text, policy, saved_request, saved_response,
        signature_parameters, tlog_proof, verified_response,
    },
    sealed::public,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use quorate_proof::{created_s, parse_signature, signature_params};

fn signature_lines() -> String {
    let params = signature_params(1_763_658_123, &public(&SigningKey::from_bytes(&[5; 32])));
    format!("sig1={params}\nsig1=:{}:", STANDARD.encode([7; 64]))
}

/// Bytes with a few of them set, deleted, inserted, or replaced by a part of themselves.
fn mutated(bytes: &[u8]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let bytes = bytes.to_vec();
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..5_u8);
    prop::collection::vec(edit, 0..4).prop_map(move |edits| {
        let mut bytes = bytes.clone();
        for (place, other, value, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let (place, other) = (place.index(bytes.len()), other.index(bytes.len()));
            match edit {
                0 => bytes[place] = value,
                1 => drop(bytes.remove(place)),
                2 => bytes.insert(place, value),
                3 => bytes[place] ^= 1 << (value % 8),
                _ => {
                    let part = bytes[place.min(other)..place.max(other)].to_vec();
                    bytes.splice(other..other, part);
                }
            }
        }
        bytes
    })
}

#[test]
fn the_oracles_accept_the_worked_example() {
    assert!(verified_response(RESPONSE));
    assert!(policy(POLICY.as_bytes()));
    assert!(tlog_proof(PROOF.as_bytes()));
    assert!(checkpoint(PROOF.split_once("\n\n").unwrap().1.as_bytes()));
    assert!(entry(ENTRY.as_bytes()));
    let lines = signature_lines();
    let (input, value) = lines.split_once('\n').unwrap();
    assert!(created_s(&parse_signature(input, value).unwrap()).is_some());
    for bytes in [REQUEST, RESPONSE, POLICY.as_bytes(), PROOF.as_bytes(), ENTRY.as_bytes()] {
        one_text(bytes);
        saved_request(bytes);
        saved_response(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_saved_request_is_the_same_when_written_again(bytes in mutated(REQUEST)) {
        saved_request(&bytes);
    }

    #[test]
    fn a_saved_response_is_the_same_when_written_again(bytes in mutated(RESPONSE)) {
        saved_response(&bytes);
    }

    #[test]
    fn a_verified_response_says_what_the_quorum_signed(bytes in mutated(RESPONSE)) {
        verified_response(&bytes);
    }

    #[test]
    fn an_accepted_client_signature_is_canonical(bytes in mutated(signature_lines().as_bytes())) {
        client_signature(&bytes);
    }

    #[test]
    fn accepted_parameters_of_a_signature_stand_in_its_base(
        bytes in mutated(signature_lines()[5..].split_once('\n').unwrap().0.as_bytes())
    ) {
        signature_parameters(&bytes);
    }

    #[test]
    fn an_accepted_policy_is_one_that_can_be_judged_by(bytes in mutated(POLICY.as_bytes())) {
        policy(&bytes);
        one_text(&bytes);
    }

    #[test]
    fn an_accepted_proof_or_checkpoint_is_the_one_text_of_its_value(
        proof in mutated(PROOF.as_bytes()),
        note in mutated(PROOF.split_once("\n\n").unwrap().1.as_bytes()),
    ) {
        tlog_proof(&proof);
        checkpoint(&note);
    }

    #[test]
    fn an_accepted_entry_is_the_one_text_of_its_value(bytes in mutated(ENTRY.as_bytes())) {
        entry(&bytes);
    }
}
