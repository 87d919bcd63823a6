//! State transfer in pages of bounded size: each proves itself, and nothing else does.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_service::{Cursor, Next, Page, State};
use quorate_types::{Digest, Wire};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// Takes a state over page by page, as a replica would.
fn transferred(source: &State, root: &Digest, bytes_max: usize) -> (State, Vec<(Cursor, Page)>) {
    let (mut copy, mut pages, mut at) = (State::new(), Vec::new(), Cursor::START);
    loop {
        let page = source.page(at, bytes_max).unwrap();
        let next = page.verify(at, root).unwrap();
        copy.extend(page.items.iter().cloned());
        pages.push((at, page));
        match next {
            Next::Page(next) => {
                assert!(next > at);
                at = next;
            }
            Next::End => return (copy, pages),
        }
    }
}

fn state(items: u32) -> State {
    (0..items).map(|n| (format!("key {n}"), format!("value {n}").into_bytes())).collect()
}

/// Forty keys of one bucket, found by trying, and some others.
static AIMED: LazyLock<State> = LazyLock::new(|| {
    let aimed = |n: &u32| Sha256::digest(n.to_be_bytes())[..2] == [0x12, 0x34];
    let keys = (0..4_000_000_u32).filter(aimed).take(40).map(|n| n.to_be_bytes().to_vec());
    let others = (0..500).map(|n| format!("key {n}").into_bytes());
    let mut state: State = keys.chain(others).map(|key| (key, vec![7; 100])).collect();
    state.root();
    state
});
const AIMED_AT: u16 = 0x1234;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_state_goes_over_in_pages(
        plain in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..30),
            prop::collection::vec(any::<u8>(), 0..30),
            0..200,
        ),
        bytes_max in 200_usize..20_000,
    ) {
        let source: State = plain.into_iter().collect();
        let root = source.clone().root();
        let (mut copy, pages) = transferred(&source, &root, bytes_max);
        prop_assert_eq!(copy.root(), root);
        prop_assert_eq!((copy.len(), copy.bytes()), (source.len(), source.bytes()));
        for (_, page) in pages {
            let bytes: usize = page.items.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert!(bytes <= bytes_max);
            let wire = page.to_wire();
            prop_assert_eq!(Page::from_wire(&wire, wire.len()), Ok(page));
        }
    }
}

#[test]
fn a_small_state_is_one_page() {
    for source in [State::new(), state(1), state(1000)] {
        let root = source.clone().root();
        let (mut copy, pages) = transferred(&source, &root, 1 << 20);
        assert_eq!((copy.root(), pages.len()), (root, 1));
    }
}

#[test]
fn a_bucket_that_keys_were_aimed_at_goes_over_in_pieces() {
    let root = AIMED.clone().root();
    let (mut copy, pages) = transferred(&AIMED, &root, 1000);
    assert_eq!(copy.root(), root);
    let pieces = pages.iter().filter(|(at, _)| at.bucket == AIMED_AT).count();
    assert!((4..=6).contains(&pieces), "{pieces} pieces");
    assert!(pages.iter().all(|(_, page)| page.items.len() < 12));
    // With a bound that nothing keeps, every page still has an item, and gets on.
    let (mut copy, _) = transferred(&AIMED, &root, 0);
    assert_eq!(copy.root(), root);
}

/// Forges a page, perhaps with the help of another.
type Alter = fn(&mut Page, &Page);

fn forged(page: &Page, other: &Page, from: Cursor, root: &Digest, alterations: &[(&str, Alter)]) {
    assert!(page.verify(from, root).is_some());
    for (what, alter) in alterations {
        let mut forged = page.clone();
        alter(&mut forged, other);
        assert_ne!(&forged, page, "{what}");
        assert_eq!(forged.verify(from, root), None, "{what}");
    }
    for position in 0..page.path.len() {
        let mut forged = page.clone();
        forged.path[position].0[0] ^= 1;
        assert_eq!(forged.verify(from, root), None, "hash {position} of the path");
    }
}

#[test]
fn a_page_that_was_changed_is_refused() {
    let source = state(3000);
    let root = source.clone().root();
    let (_, pages) = transferred(&source, &root, 4000);
    let ((from, page), (_, other)) = (&pages[3], &pages[4]);
    assert!(page.items.len() > 3 && page.levels > 0);
    forged(
        page,
        other,
        *from,
        &root,
        &[
            ("a value changed", |page, _| page.items[1].1 = Bytes::from_static(b"forged")),
            ("a key changed", |page, _| page.items[1].0 = Bytes::from_static(b"key")),
            ("an item left out", |page, _| page.items.truncate(2)),
            ("the first left out", |page, _| page.items = page.items.split_off(1)),
            ("all left out", |page, _| page.items.clear()),
            ("two items reordered", |page, _| page.items.swap(0, 1)),
            ("an item repeated", |page, _| page.items.insert(1, page.items[1].clone())),
            ("an item of the next page", |page, next| page.items.push(next.items[0].clone())),
            ("the items of the next page", |page, next| page.items.clone_from(&next.items)),
            ("the path of the next page", |page, next| page.path.clone_from(&next.path)),
            ("a longer path", |page, _| page.path.push(Digest::ZERO)),
            ("a shorter path", |page, _| page.path.truncate(page.path.len() - 1)),
            ("a lower part", |page, _| page.levels -= 1),
            ("a higher part", |page, _| page.levels += 1),
            ("a part above the root", |page, _| page.levels = 17),
            ("a part of no height", |page, _| page.levels = 255),
            ("an item named before", |page, _| page.before.push((Bytes::new(), Digest::ZERO))),
            ("an item named after", |page, _| page.after.push((Bytes::new(), Digest::ZERO))),
        ],
    );
}

#[test]
fn a_piece_of_a_bucket_that_was_changed_is_refused() {
    let root = AIMED.clone().root();
    let from = Cursor { bucket: AIMED_AT, item: 10 };
    let page = AIMED.page(from, 1000).unwrap();
    let other = AIMED.page(Cursor { item: 20, ..from }, 1000).unwrap();
    assert_eq!((page.before.len(), page.after.is_empty()), (10, false));
    forged(
        &page,
        &other,
        from,
        &root,
        &[
            ("a value changed", |page, _| page.items[1].1 = Bytes::from_static(b"forged")),
            ("an item left out", |page, _| page.items.truncate(2)),
            ("all left out", |page, _| page.items.clear()),
            ("a name before left out", |page, _| page.before.truncate(9)),
            ("a name after left out", |page, _| page.after.truncate(1)),
            ("no names after", |page, _| page.after.clear()),
            ("a hash before changed", |page, _| page.before[3].1.0[0] ^= 1),
            ("a hash after changed", |page, _| page.after[0].1.0[0] ^= 1),
            ("names reordered", |page, _| page.before.swap(0, 1)),
            ("a name moved over", |page, _| page.before.extend(page.after.pop())),
            ("the items of another piece", |page, other| page.items.clone_from(&other.items)),
            ("a higher part", |page, _| page.levels = 1),
        ],
    );
    // An item that is named only is not one that was sent: the next page begins right after.
    let count = u32::try_from(page.items.len()).unwrap();
    let next = Next::Page(Cursor { item: 10 + count, ..from });
    assert_eq!(page.verify(from, &root), Some(next));
    let mut hidden = page.clone();
    let (key, value) = hidden.items.pop().unwrap();
    hidden.after.insert(0, (key, Digest(Sha256::digest(&value).into())));
    let next = Next::Page(Cursor { item: 10 + count - 1, ..from });
    assert_eq!(hidden.verify(from, &root), Some(next));
}

#[test]
fn a_page_is_believed_at_its_own_place_only() {
    let root = AIMED.clone().root();
    let from = Cursor { bucket: AIMED_AT, item: 5 };
    let page = AIMED.page(from, 1000).unwrap();
    for bucket in [0, 1, AIMED_AT - 1, AIMED_AT, AIMED_AT + 1, u16::MAX] {
        for item in [0, 4, 5, 6, u32::MAX] {
            let at = Cursor { bucket, item };
            assert_eq!(page.verify(at, &root).is_some(), at == from, "{at:?}");
        }
    }
    assert_eq!(page.verify(from, &Digest::ZERO), None);
    assert_eq!(page.verify(from, &state(3).root()), None);
}

#[test]
fn a_question_for_a_place_that_does_not_exist_gets_no_page() {
    assert_eq!(AIMED.page(Cursor { bucket: AIMED_AT, item: 40 }, 1000), None);
    assert_eq!(AIMED.page(Cursor { bucket: AIMED_AT, item: u32::MAX }, 1000), None);
    assert_eq!(State::new().page(Cursor { bucket: 7, item: 1 }, 1000), None);
    let last = State::new().page(Cursor { bucket: u16::MAX, item: 0 }, 1000).unwrap();
    let root = State::new().root();
    assert_eq!(last.verify(Cursor { bucket: u16::MAX, item: 0 }, &root), Some(Next::End));
}

#[test]
fn a_page_with_bytes_missing_or_left_over_is_not_decoded() {
    let wire = AIMED.page(Cursor { bucket: AIMED_AT, item: 5 }, 500).unwrap().to_wire();
    for length in 0..wire.len() {
        assert!(Page::from_wire(&wire[..length], wire.len()).is_err(), "{length} bytes");
    }
    let longer = [&wire[..], &[0]].concat();
    assert!(Page::from_wire(&longer, longer.len()).is_err());
}
