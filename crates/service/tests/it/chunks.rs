//! A state is all of its chunks.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_service::{CHUNKS, State};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_state_comes_back_from_its_chunks(
        plain in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..30),
            prop::collection::vec(any::<u8>(), 0..30),
            0..400,
        )
    ) {
        let mut state: State = plain.into_iter().collect();
        let chunks: Vec<Vec<(&[u8], &Bytes)>> = state.chunks().collect();
        prop_assert_eq!(chunks.len(), usize::from(CHUNKS));
        let items = chunks.into_iter().flatten();
        let mut back: State = items.map(|(key, value)| (key, value.clone())).collect();
        prop_assert_eq!(back.root(), state.root());
        prop_assert_eq!((back.len(), back.bytes()), (state.len(), state.bytes()));
    }
}

#[test]
fn a_chunk_holds_the_keys_whose_hashes_begin_with_its_number() {
    // SHA-256("k") begins with 0x82.
    let state: State = [("k", "v")].into_iter().collect();
    for (number, chunk) in state.chunks().enumerate() {
        assert_eq!(chunk.len(), usize::from(number == 0x82), "chunk {number}");
    }
}
