//! State transfer: a chunk proves itself, and nothing else does.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_service::{CHUNKS, Chunk, State};
use quorate_types::{Digest, Wire};

fn state(items: u32) -> State {
    let mut state: State =
        (0..items).map(|n| (format!("key {n}"), format!("value {n}").into_bytes())).collect();
    state.root();
    state
}

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
        let mut state: State = plain.clone().into_iter().collect();
        let chunks: Vec<Chunk> = state.chunks().collect();
        let root = state.root();
        prop_assert_eq!(chunks.len(), usize::from(CHUNKS));
        for (number, chunk) in (0..).zip(&chunks) {
            prop_assert!(chunk.verify(number, &root));
            prop_assert!(state.chunk(number).as_ref() == Some(chunk));
            let wire = chunk.to_wire();
            let decoded = Chunk::from_wire(&wire, wire.len());
            prop_assert_eq!(decoded.as_ref(), Ok(chunk));
        }
        let mut back = State::from_chunks(chunks);
        prop_assert_eq!(back.root(), root);
        prop_assert_eq!((back.len(), back.bytes()), (state.len(), state.bytes()));
    }
}

#[test]
fn a_chunk_of_a_state_that_changed_since_its_root_is_of_the_new_state() {
    let mut state = state(1000);
    state.put("new", "value");
    state.delete("key 7");
    let chunks: Vec<Chunk> = state.chunks().collect();
    let root = state.clone().root();
    assert!((0..).zip(&chunks).all(|(number, chunk)| chunk.verify(number, &root)));
}

#[test]
fn empty_ranges_are_proven_too() {
    let mut state = state(1);
    let root = state.root();
    let held: Vec<usize> = state.chunks().map(|chunk| chunk.items.len()).collect();
    assert_eq!(held.iter().sum::<usize>(), 1);
    for number in 0..CHUNKS {
        let chunk = state.chunk(number).unwrap();
        assert!(chunk.verify(number, &root));
        let hidden = Chunk { items: Vec::new(), ..chunk.clone() };
        assert_eq!(hidden.verify(number, &root), chunk.items.is_empty(), "chunk {number}");
    }
}

/// Forges a chunk, perhaps with the help of another.
type Alter = fn(&mut Chunk, &Chunk);

/// Whether any number takes the chunk.
fn believed(chunk: &Chunk, root: &Digest) -> bool {
    (0..=u16::MAX).step_by(17).chain(0..512).any(|number| chunk.verify(number, root))
}

#[test]
fn a_chunk_that_was_changed_is_refused() {
    let mut state = state(3000);
    let root = state.root();
    let chunk = state.chunk(5).unwrap();
    assert!(chunk.verify(5, &root) && chunk.items.len() > 3);
    let other = state.chunk(6).unwrap();
    let alter: [(&str, Alter); 14] = [
        ("a value changed", |chunk, _| chunk.items[1].1 = Bytes::from_static(b"forged")),
        ("a value emptied", |chunk, _| chunk.items[1].1 = Bytes::new()),
        ("a key changed", |chunk, _| chunk.items[1].0 = Bytes::from_static(b"key")),
        ("an item left out", |chunk, _| drop(chunk.items.remove(2))),
        ("all items left out", |chunk, _| chunk.items.clear()),
        ("two items reordered", |chunk, _| chunk.items.swap(0, 1)),
        ("the items reversed", |chunk, _| chunk.items.reverse()),
        ("an item repeated", |chunk, _| chunk.items.insert(1, chunk.items[1].clone())),
        ("a key with two values", |chunk, _| {
            chunk.items.insert(1, (chunk.items[1].0.clone(), Bytes::from_static(b"forged")));
        }),
        ("an item of another range", |chunk, other| chunk.items.push(other.items[0].clone())),
        ("the items of another range", |chunk, other| chunk.items.clone_from(&other.items)),
        ("the path of another range", |chunk, other| chunk.path.clone_from(&other.path)),
        ("a longer path", |chunk, _| chunk.path.push(Digest::ZERO)),
        ("a shorter path", |chunk, _| chunk.path.truncate(7)),
    ];
    for (what, alter) in alter {
        let mut forged = chunk.clone();
        alter(&mut forged, &other);
        assert!(!believed(&forged, &root), "{what}");
    }
    for position in 0..chunk.path.len() {
        let mut forged = chunk.clone();
        forged.path[position].0[31] ^= 1;
        assert!(!believed(&forged, &root), "hash {position} of the path changed");
    }
}

#[test]
fn a_chunk_is_believed_at_its_own_number_only() {
    let mut state = state(3000);
    let root = state.root();
    let chunk = state.chunk(200).unwrap();
    let takers: Vec<u16> = (0..=u16::MAX).filter(|&number| chunk.verify(number, &root)).collect();
    assert_eq!(takers, [200]);
    assert!(!chunk.verify(200, &Digest::ZERO));
    assert!(!chunk.verify(200, &State::new().root()));
    assert_eq!(state.chunk(CHUNKS), None);
    assert_eq!(state.chunk(u16::MAX), None);
}

#[test]
fn an_empty_range_is_not_proven_by_a_chunk_of_another_state() {
    let mut empty = State::new();
    let root = empty.root();
    let chunk = empty.chunk(0).unwrap();
    assert!(chunk.verify(0, &root));
    assert!(!chunk.verify(0, &state(3000).root()));
}

#[test]
fn a_chunk_with_bytes_missing_or_left_over_is_not_decoded() {
    let wire = state(3000).chunk(9).unwrap().to_wire();
    for length in 0..wire.len() {
        assert!(Chunk::from_wire(&wire[..length], wire.len()).is_err(), "{length} bytes");
    }
    let longer = [&wire[..], &[0]].concat();
    assert!(Chunk::from_wire(&longer, longer.len()).is_err());
    assert!(Chunk::from_wire(&wire, wire.len() - 1).is_err());
}
