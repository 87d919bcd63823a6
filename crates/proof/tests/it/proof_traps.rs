//! What a proof text, a head and signature lines may not be.

use crate::sealed::{Draft, ORIGIN, Sealed, TIME_S, named_line, public};
use ed25519_dalek::{Signer as _, SigningKey};
use quorate_proof::{
    KeyKind, SignatureCheck as _, Strict, VerifierKey, head_text, is_sound_key, proof_text,
};
use quorate_types::{Digest, Head, Index, PublicKey, Signature};

#[test]
fn a_signer_counts_once_however_often_it_signs() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let checkpoint = sealed.quorum.checkpoint(&head, &[0, 1, 1, 1]);
    let earlier = sealed.quorum.cosigner_line(1, &head, TIME_S - 1);
    let proof = sealed.proof_with(&(checkpoint + &earlier));
    assert_eq!(sealed.outcome_of(&proof), Err("quorum-missing"));
    let proof = sealed.proof_with(&sealed.quorum.checkpoint(&head, &[0, 1, 2, 2]));
    assert_eq!(sealed.outcome_of(&proof), Ok(3));
}

#[test]
fn lines_of_unknown_names_and_ids_are_passed_over() {
    let mut sealed = Sealed::default();
    let key = VerifierKey::new(
        "org-0.example/r0",
        KeyKind::Cosigner,
        public(&sealed.quorum.cosigners[0]),
    );
    for stranger in [
        named_line("stranger.example", key.id, &[7; 72]),
        named_line(&key.name, [1, 2, 3, 4], &[7; 72]),
        named_line(ORIGIN, [1, 2, 3, 4], &[7; 64]),
        named_line("post-quantum.example", [6; 4], &[7; 2428]),
        named_line("\u{e9}\u{df}", [6; 4], &[7]),
    ] {
        let proof = sealed.proof() + &stranger;
        assert_eq!(sealed.outcome_of(&proof), Ok(3), "{stranger}");
    }
}

#[test]
fn a_wrong_line_of_a_known_key_condemns_the_head_beside_a_full_quorum() {
    let mut sealed = Sealed::default();
    let other = head_text(ORIGIN, &Head { size: 8, root: sealed.head.root });
    for wrong in [
        sealed.quorum.cosigner_line(3, &other, TIME_S),
        sealed.quorum.cosigner_line(0, &other, TIME_S),
        sealed.quorum.log_line(3, &other),
    ] {
        let proof = sealed.proof() + &wrong;
        assert_eq!(sealed.outcome_of(&proof), Err("signature-wrong"), "{wrong}");
    }
}

#[test]
fn a_known_key_s_line_of_another_length_condemns_the_head() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let cosigner = public(&sealed.quorum.cosigners[3]);
    let key = VerifierKey::new("org-3.example/r3", KeyKind::Cosigner, cosigner);
    let signature = sealed.quorum.cosign(3, &head, TIME_S);
    let stamped = [&TIME_S.to_be_bytes()[..], &signature.0].concat();
    for bytes in [&stamped[..71], &[&stamped[..], &[0]].concat(), &signature.0[..], &[0]] {
        let proof = sealed.proof() + &named_line(&key.name, key.id, bytes);
        assert_eq!(sealed.outcome_of(&proof), Err("signature-wrong"), "{}", bytes.len());
    }
}

#[test]
fn a_cosignature_s_time_is_below_two_to_the_63() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    for (time_s, outcome) in [((1 << 63) - 1, Ok(4)), (1 << 63, Err("signature-wrong"))] {
        let proof = sealed.proof() + &sealed.quorum.cosigner_line(3, &head, time_s);
        assert_eq!(sealed.outcome_of(&proof), outcome);
    }
}

#[test]
fn a_log_must_have_signed_and_cosigners_do_not_stand_in() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let lines: String = (0..4).map(|r| sealed.quorum.cosigner_line(r, &head, TIME_S)).collect();
    let proof = sealed.proof_with(&format!("{head}\n{lines}"));
    assert_eq!(sealed.outcome_of(&proof), Err("log-signature-missing"));
}

#[test]
fn logs_do_not_stand_in_for_cosigners() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let lines: String = (0..4).map(|r| sealed.quorum.log_line(r, &head)).collect();
    let proof = sealed.proof_with(&format!("{head}\n{lines}"));
    assert_eq!(sealed.outcome_of(&proof), Err("quorum-missing"));
}

#[test]
fn one_signature_less_than_the_quorum_is_refused() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let proof = sealed.proof_with(&sealed.quorum.checkpoint(&head, &[3, 1]));
    assert_eq!(sealed.outcome_of(&proof), Err("quorum-missing"));
    let proof = sealed.proof_with(&sealed.quorum.checkpoint(&head, &[3, 1, 0]));
    assert_eq!(sealed.outcome_of(&proof), Ok(3));
}

#[test]
fn a_head_of_another_log_is_refused() {
    let mut sealed = Sealed::default();
    for origin in [
        "shop.example/quorate/5f2c9a17d0e84b64/bft",
        "shop.example/quorate/5f2c9a17d0e84b63/hybrid",
        "shop.example",
    ] {
        let head = head_text(origin, &sealed.head);
        let proof = sealed.proof_with(&sealed.quorum.checkpoint(&head, &[0, 1, 2]));
        assert_eq!(sealed.outcome_of(&proof), Err("origin-differs"), "{origin}");
    }
}

#[test]
fn a_proof_of_another_entry_is_refused() {
    let mut sealed = Sealed::default();
    let checkpoint = sealed.quorum.checkpoint(&sealed.head_text(), &[0, 1, 2]);
    let proof = proof_text(Index(4), &sealed.path, &checkpoint);
    assert_eq!(sealed.outcome_of(&proof), Err("index-differs"));
}

#[test]
fn an_index_at_or_beyond_the_head_s_size_is_refused() {
    let mut sealed = Sealed::default();
    for size in [0, 4, 5] {
        let head = head_text(ORIGIN, &Head { size, root: sealed.head.root });
        let proof = sealed.proof_with(&sealed.quorum.checkpoint(&head, &[0, 1, 2]));
        assert_eq!(sealed.outcome_of(&proof), Err("index-beyond-head"), "{size}");
    }
}

#[test]
fn a_quorum_under_another_root_or_size_proves_nothing() {
    let mut sealed = Sealed::default();
    for head in [
        Head { size: 6, root: sealed.head.root },
        Head { size: 9, root: sealed.head.root },
        Head { size: 7, root: sealed.entry.leaf() },
        Head { size: 7, root: Digest([0; 32]) },
    ] {
        let text = head_text(ORIGIN, &head);
        let proof = sealed.proof_with(&sealed.quorum.checkpoint(&text, &[0, 1, 2]));
        assert_eq!(sealed.outcome_of(&proof), Err("not-in-log"), "{head:?}");
    }
}

#[test]
fn a_path_of_another_length_is_refused() {
    let mut sealed = Sealed::default();
    let right = sealed.path.clone();
    let mut longer = right.clone();
    longer.push(Digest([0; 32]));
    for path in [right[1..].to_vec(), right[..right.len() - 1].to_vec(), longer, Vec::new()] {
        sealed.path = path;
        assert_eq!(sealed.outcome_of(&sealed.proof()), Err("not-in-log"));
    }
}

#[test]
fn the_only_entry_of_a_log_has_an_empty_path() {
    let sealed = Draft { index: 0, size: 1, ..Draft::default() }.seal();
    assert!(sealed.path.is_empty());
    assert_eq!(sealed.outcome(), Ok(3));
}

#[test]
fn a_head_has_exactly_three_lines() {
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let (two, _) = head.split_at(head.len() - 45);
    for text in [format!("{head}extension\n"), two.to_owned(), format!("{head}\n")] {
        let proof = sealed.proof_with(&sealed.quorum.checkpoint(&text, &[0, 1, 2]));
        assert_eq!(sealed.outcome_of(&proof), Err("checkpoint-malformed"), "{text}");
    }
}

#[test]
fn a_proof_text_has_one_spelling() {
    let mut sealed = Sealed::default();
    let proof = sealed.proof();
    let last = proof.len() - 1;
    for wrong in [
        proof[..last].to_owned(),
        format!("{proof}\n"),
        format!("{proof} "),
        format!("\n{proof}"),
        proof.replace('\n', "\r\n"),
        proof.replacen("@v1\n", "@v1\nextra AAAA\n", 1),
        proof.replacen("@v1", "@v2", 1),
        proof.replacen("@v1\n", "@v1 \n", 1),
        proof.replacen("index 5", "index 05", 1),
        proof.replacen("index 5", "index +5", 1),
        proof.replacen("index 5", "index  5", 1),
        proof.replacen("index 5", "index 9223372036854775808", 1),
        proof.replacen("index 5", "Index 5", 1),
        proof.replacen("\n7\n", "\n07\n", 1),
        proof.replacen("\n7\n", "\n7 \n", 1),
        proof.replacen("\n7\n", "\n9223372036854775808\n", 1),
        proof.replacen("\n\n", "\n\n\n", 1),
        proof.replacen("\u{2014}", "-", 1),
        proof.replacen("\u{2014} ", "\u{2014}  ", 1),
        proof.replacen("\u{2014} shop", "\u{2014} \u{a0}shop", 1),
        proof.replacen("=\n", "\n", 1),
        proof.replacen("=\n", "==\n", 1),
        proof.split_once("\n\n").unwrap().0.to_owned() + "\n",
        String::new(),
    ] {
        assert!(sealed.outcome_of(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn base64_with_pad_bits_set_is_refused_even_on_unknown_lines() {
    let mut sealed = Sealed::default();
    // 68 bytes end in one pad character, whose neighbour has two bits to spare.
    let line = named_line("stranger.example", [0; 4], &[0; 64]);
    let wrong = line.replace("A=\n", "B=\n");
    assert_ne!(line, wrong);
    let right = sealed.proof() + &line;
    assert_eq!(sealed.outcome_of(&right), Ok(3));
    let wrong = sealed.proof() + &wrong;
    assert_eq!(sealed.outcome_of(&wrong), Err("checkpoint-malformed"));
}

#[test]
fn a_proof_that_is_not_base64_or_not_text_is_refused() {
    let mut sealed = Sealed::default();
    for value in ["", "::", "AAAA", ":AAA:", ":/w==:", ":AAAA:;a=1", "\"AAAA\"", ":AAAA"] {
        sealed.set("Quorate-Proof", value);
        assert!(sealed.outcome().is_err(), "{value}");
    }
    sealed.set("Quorate-Proof", ":/w==:");
    assert_eq!(sealed.outcome(), Err("field-malformed"));
}

#[test]
fn a_proof_has_at_most_256_signature_lines_63_hashes_and_64_kib() {
    let mut sealed = Sealed::default();
    let line = named_line("s.example", [0; 4], &[0; 64]);
    for (strangers, outcome) in [(252, Ok(3)), (253, Err("checkpoint-malformed"))] {
        let proof = sealed.proof() + &line.repeat(strangers);
        assert_eq!(sealed.outcome_of(&proof), outcome, "{strangers}");
    }
    let fat = named_line("s.example", [0; 4], &[0; 48 * 1024]);
    let proof = sealed.proof() + &fat;
    assert_eq!(sealed.outcome_of(&proof), Err("proof-too-long"));
    sealed.path = vec![Digest([0; 32]); 64];
    assert_eq!(sealed.outcome_of(&sealed.proof()), Err("proof-malformed"));
}

#[test]
fn a_note_without_signatures_is_refused() {
    let mut sealed = Sealed::default();
    for checkpoint in [format!("{}\n", sealed.head_text()), sealed.head_text()] {
        let proof = sealed.proof_with(&checkpoint);
        assert!(sealed.outcome_of(&proof).is_err());
    }
}

/// The eight points of small order, and the other encodings that decompress to some of them.
pub(crate) const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

pub(crate) fn key(hex: &str) -> PublicKey {
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    PublicKey(std::array::from_fn(byte))
}

#[test]
fn a_key_of_small_order_is_no_key_in_any_encoding() {
    for hex in SMALL_ORDER {
        assert!(!is_sound_key(&key(hex)), "{hex}");
        // With A the identity, R = S*B satisfies the plain equation for every message.
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!Strict.check(&key(hex), b"message", &Signature(signature)), "{hex}");
    }
}

#[test]
fn a_key_that_is_not_canonically_encoded_is_no_key() {
    // y = 3 + p: decompresses to the point with y = 3, whose one encoding is another.
    let canonical = "0300000000000000000000000000000000000000000000000000000000000000";
    let other = "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    assert!(is_sound_key(&key(canonical)));
    assert!(!is_sound_key(&key(other)));
}

#[test]
fn a_signature_with_s_at_or_above_the_order_or_r_of_small_order_is_refused() {
    let signer = SigningKey::from_bytes(&[1; 32]);
    let right = signer.sign(b"message").to_bytes();
    assert!(Strict.check(&public(&signer), b"message", &Signature(right)));
    // S + L verifies the same equation.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = right;
    let mut carry = 0;
    for (byte, add) in malleable[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert!(!Strict.check(&public(&signer), b"message", &Signature(malleable)));
    for hex in SMALL_ORDER {
        let mut weak = right;
        weak[..32].copy_from_slice(&key(hex).0);
        assert!(!Strict.check(&public(&signer), b"message", &Signature(weak)), "{hex}");
    }
}
