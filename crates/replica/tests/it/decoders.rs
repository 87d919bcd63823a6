//! What replicas send each other and what they keep, cut, lengthened and changed.

use crate::oracles::{
    peer, record,
    samples::{messages, records},
};
use proptest::prelude::*;

#[test]
fn a_message_or_record_cut_short_anywhere_or_with_a_byte_more_is_refused() {
    let messages = messages().into_iter().map(|bytes| (peer as fn(&[u8]) -> bool, bytes));
    let records = records().into_iter().map(|bytes| (record as fn(&[u8]) -> bool, bytes));
    for (decode, mut bytes) in messages.chain(records) {
        assert!(decode(&bytes));
        for end in 0..bytes.len() {
            assert!(!decode(&bytes[..end]), "cut to {end} bytes");
        }
        bytes.push(0);
        assert!(!decode(&bytes), "a trailing byte");
    }
}

#[test]
fn a_changed_byte_gives_another_message_or_none_and_never_a_borrowed_name() {
    for mut bytes in messages() {
        for place in 0..bytes.len() {
            for flip in [1, 2, 0x80, 0xff] {
                bytes[place] ^= flip;
                peer(&bytes);
                bytes[place] ^= flip;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_panic_no_decoder(
        kind in 0..14_u8,
        inner in 0..12_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        peer(&bytes);
        record(&bytes);
        // Past the first tags, so that every variant is met.
        peer(&[&[kind][..], &bytes].concat());
        peer(&[&[0, 0, 0, 0, 0, inner][..], &bytes].concat());
        record(&[&[kind][..], &bytes].concat());
    }

    #[test]
    fn a_message_with_bytes_changed_moved_or_repeated_panics_no_decoder(
        choice in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let samples = [messages(), records()].concat();
        let mut bytes = samples[choice.index(samples.len())].clone();
        for (place, value, edit) in edits {
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = value,
                1 => bytes.insert(place, value),
                2 if bytes.len() > 1 => { bytes.remove(place); }
                _ => bytes.extend_from_within(..place),
            }
        }
        peer(&bytes);
        record(&bytes);
    }
}
