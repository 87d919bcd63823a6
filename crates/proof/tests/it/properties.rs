//! Parsers give back what they accept, byte for byte, and never panic.

use crate::{
    example::{ENTRY, POLICY, PROOF, REQUEST, RESPONSE, judge},
    oracles::readings,
};
use proptest::prelude::*;
use quorate_proof::{
    Checkpoint, Entry, EntryKind, Frontier, NoteSignature, TlogProof, parse_request,
    parse_response, parse_signature, root_from_path, split_target,
};
use quorate_types::{Digest, Epoch, Head, Index, ReplicaId, UnixMillis};

/// A text with a few bytes set, deleted, doubled or swapped.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut bytes = text.as_bytes().to_vec();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn corpus() -> impl Strategy<Value = String> {
    let checkpoint = PROOF.split_once("\n\n").map(|(_, checkpoint)| checkpoint).unwrap();
    let key = POLICY.lines().next().and_then(|line| line.strip_prefix("log ")).unwrap();
    prop_oneof![
        mutated(ENTRY),
        mutated(PROOF),
        mutated(POLICY),
        mutated(checkpoint),
        mutated(key),
        mutated(crate::sealed::ORIGIN),
        mutated("x-api-key;req, x-total"),
        any::<String>(),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        digest().prop_map(EntryKind::Exchange),
        digest().prop_map(EntryKind::Policy),
        any::<u16>().prop_map(|replica| EntryKind::Rejoin(ReplicaId(replica))),
        Just(EntryKind::Mark),
    ];
    let number = 0..1_u64 << 63;
    (number.clone(), number.clone(), number, digest(), kind).prop_map(
        |(index, epoch, time, state, kind)| Entry {
            index: Index(index),
            epoch: Epoch(epoch),
            time: UnixMillis(time),
            state,
            kind,
        },
    )
}

fn proof() -> impl Strategy<Value = TlogProof> {
    let signature = ("[!-*,-~]{1,20}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 1..99))
        .prop_map(|(name, id, bytes)| NoteSignature { name, id, bytes });
    let signatures = prop::collection::vec(signature, 1..5);
    let checkpoint = ("[!-*,-~]{1,40}", 1..1_u64 << 63, digest(), signatures).prop_map(
        |(origin, size, root, signatures)| Checkpoint {
            origin,
            head: Head { size, root },
            signatures,
        },
    );
    let path = prop::collection::vec(digest(), 0..64);
    (checkpoint, path, any::<u64>()).prop_map(|(checkpoint, path, place)| TlogProof {
        index: Index(place % checkpoint.head.size),
        path,
        checkpoint,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn what_a_parser_accepts_it_gives_back_byte_for_byte(text in corpus()) {
        for reading in readings(&text).into_iter().flatten() {
            prop_assert_eq!(&reading, &text);
        }
    }

    #[test]
    fn an_entry_reads_back(entry in entry()) {
        prop_assert_eq!(Entry::parse(&entry.text()), Ok(entry));
    }

    #[test]
    fn a_proof_reads_back(proof in proof()) {
        prop_assert_eq!(TlogProof::parse(&proof.text()), Ok(proof));
    }

    #[test]
    fn arbitrary_bytes_panic_nowhere(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = readings(&text);
        let _ = parse_request(&bytes);
        let _ = parse_response(&bytes, "GET");
        let _ = parse_signature(&text, &text);
        let _ = split_target(&text);
        prop_assert!(judge(&bytes, REQUEST, RESPONSE).is_err());
        prop_assert!(judge(POLICY.as_bytes(), &bytes, RESPONSE).is_err());
        prop_assert!(judge(POLICY.as_bytes(), REQUEST, &bytes).is_err());
    }

    #[test]
    fn a_signature_field_panics_nowhere(
        input in "sig1=\\(\"@method\"[ -~]{0,80}\\);[ -~]{0,80}",
        value in "sig1=:[A-Za-z0-9+/]{86}==:",
    ) {
        let _ = parse_signature(&input, &value);
    }

    #[test]
    fn a_path_of_any_length_panics_nowhere(
        leaf in digest(),
        index in any::<u64>(),
        size in any::<u64>(),
        path in prop::collection::vec(digest(), 0..70),
    ) {
        let _ = root_from_path(&leaf, index, size, &path);
    }

    #[test]
    fn a_path_of_any_append_leads_to_the_root(
        before in 0..200_usize,
        leaves in prop::collection::vec(digest(), 1..60),
    ) {
        let mut frontier = Frontier::new();
        (0..before).for_each(|at| frontier.push(quorate_proof::leaf_hash(&at.to_be_bytes())));
        let paths = frontier.append(&leaves);
        for (offset, (leaf, path)) in leaves.iter().zip(&paths).enumerate() {
            let index = (before + offset) as u64;
            let root = root_from_path(leaf, index, frontier.size(), path);
            prop_assert_eq!(root, Some(frontier.root()));
        }
    }
}
