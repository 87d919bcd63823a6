//! The map against a plain one, and its root against one computed without any tree in memory.

use proptest::prelude::*;
use quorate_service::State;
use quorate_types::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

/// The root by its definition: all 65,536 buckets, then level by level.
fn defined_root(plain: &Plain) -> Digest {
    let mut buckets = vec![Sha256::new_with_prefix([0]); 65_536];
    for (key, value) in plain {
        let hash = Sha256::digest(key);
        let bucket = &mut buckets[usize::from(hash[0]) << 8 | usize::from(hash[1])];
        bucket.update(u32::try_from(key.len()).unwrap().to_be_bytes());
        bucket.update(key);
        bucket.update(Sha256::digest(value));
    }
    let mut level: Vec<[u8; 32]> = buckets.into_iter().map(|hash| hash.finalize().into()).collect();
    while level.len() > 1 {
        let node = |pair: &[[u8; 32]]| Sha256::digest([&[1], &pair[0][..], &pair[1]].concat());
        level = level.chunks(2).map(|pair| node(pair).into()).collect();
    }
    Digest(level[0])
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Root,
    /// Keep a clone, which later steps must not change.
    Keep,
}

/// Few keys, so that steps meet each other.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0_u8..40).prop_map(|n| vec![n]),
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..80)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(k, v)| Step::Put(k, v)),
        3 => key().prop_map(Step::Delete),
        // Rare: each costs a root by definition.
        1 => (0_u8..8).prop_map(|n| if n == 0 { Step::Keep } else { Step::Root }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_map_behaves_like_a_plain_one(steps in prop::collection::vec(step(), 0..120)) {
        let (mut state, mut plain) = (State::new(), Plain::new());
        let mut kept = Vec::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    let had = state.put(&key, value.clone());
                    prop_assert_eq!(had, plain.insert(key, value).is_some());
                }
                Step::Delete(key) => {
                    prop_assert_eq!(state.delete(&key), plain.remove(&key).is_some());
                }
                Step::Root => {
                    state.root();
                }
                Step::Keep => kept.push((state.clone(), plain.clone())),
            }
        }
        kept.push((state, plain));
        for (mut state, plain) in kept {
            prop_assert_eq!(state.len(), plain.len());
            prop_assert_eq!(state.is_empty(), plain.is_empty());
            let bytes: usize = plain.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert_eq!(state.bytes(), bytes as u64);
            for (key, value) in &plain {
                prop_assert_eq!(state.get(key).map(|value| &value[..]), Some(&value[..]));
            }
            let items = state.iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
            prop_assert_eq!(items.collect::<Plain>(), plain.clone());
            prop_assert_eq!(state.root(), defined_root(&plain));
        }
    }

    #[test]
    fn the_root_does_not_depend_on_the_order_of_writes(
        plain in prop::collection::btree_map(
            key(),
            prop::collection::vec(any::<u8>(), 0..9),
            0..60,
        ),
        seed in any::<u64>(),
    ) {
        let mut shuffled: Vec<_> = plain.clone().into_iter().collect();
        shuffled.sort_by_key(|(key, _)| Sha256::digest([&seed.to_be_bytes()[..], key].concat()));
        let mut detour = State::new();
        for (number, (key, value)) in shuffled.iter().enumerate() {
            detour.put(number.to_be_bytes(), vec![1]);
            detour.put(key, vec![2]);
            if number % 3 == 0 {
                detour.root();
            }
            detour.delete(number.to_be_bytes());
            detour.put(key, value.clone());
        }
        // The detour's own keys may be among the others.
        for (key, value) in &plain {
            detour.put(key, value.clone());
        }
        let mut straight: State = plain.into_iter().collect();
        prop_assert_eq!(detour.root(), straight.root());
    }

    #[test]
    fn roots_are_equal_exactly_when_contents_are(
        one in prop::collection::btree_map(0_u8..4, 0_u8..3, 0..4),
        other in prop::collection::btree_map(0_u8..4, 0_u8..3, 0..4),
    ) {
        let root = |plain: &BTreeMap<u8, u8>| {
            plain.iter().map(|(&key, &value)| ([key], vec![value])).collect::<State>().root()
        };
        prop_assert_eq!(root(&one) == root(&other), one == other);
    }
}

/// The root of an empty state, by a second implementation (Python's hashlib).
const EMPTY: &str = "d83389ac9a207fb7dbdc492fbb56b9482f19170699e224be64694cc885a3a2a2";

/// The root of `{"": "", "a": "1", "b/c": 1,000 bytes of 0x07}`, likewise.
const SMALL: &str = "9c522ea4f1b8a2203319920d5ca887c8b4388b96c40b1df904a3f3bfa12fbd9b";

#[test]
fn the_roots_of_two_states_are_frozen() {
    assert_eq!(State::new().root().to_string(), EMPTY);
    let long = vec![7; 1000];
    let small = [("", vec![]), ("a", b"1".to_vec()), ("b/c", long)];
    assert_eq!(small.into_iter().collect::<State>().root().to_string(), SMALL);
}

#[test]
fn a_key_and_its_value_do_not_run_into_each_other() {
    let root = |items: &[(&str, &str)]| {
        let items = items.iter().map(|&(key, value)| (key, value.as_bytes().to_vec()));
        items.collect::<State>().root()
    };
    assert_ne!(root(&[("ab", "c")]), root(&[("a", "bc")]));
    assert_ne!(root(&[("a", "")]), root(&[]));
    assert_ne!(root(&[("", "a")]), root(&[("a", "")]));
}

#[test]
fn deleting_everything_gives_the_empty_root_back() {
    let mut state: State = (0..2000_u32).map(|n| (n.to_be_bytes(), vec![1])).collect();
    assert_ne!(state.root(), State::new().root());
    for n in 0..2000_u32 {
        assert!(state.delete(n.to_be_bytes()));
    }
    assert_eq!(state.root(), State::new().root());
    assert_eq!((state.len(), state.bytes()), (0, 0));
}

#[test]
fn a_clone_is_not_changed_by_its_original() {
    let mut state: State = (0..500_u32).map(|n| (n.to_be_bytes(), vec![1])).collect();
    let dirty = state.clone();
    let root = state.root();
    let mut clean = state.clone();
    for n in 0..500_u32 {
        state.put(n.to_be_bytes(), vec![2]);
    }
    state.delete(7_u32.to_be_bytes());
    assert_ne!(state.root(), root);
    assert_eq!(clean.root(), root);
    assert_eq!(dirty.clone().root(), root);
    assert!(dirty.iter().all(|(_, value)| value[..] == [1]));
}

#[test]
fn many_keys_of_one_bucket_are_kept_apart() {
    // Keys whose hashes begin with two zero bytes, found by trying.
    let zero = |n: &u32| Sha256::digest(n.to_be_bytes())[..2] == [0, 0];
    let keys: Vec<u32> = (0..1_000_000).filter(zero).collect();
    assert!(keys.len() > 8, "{keys:?}");
    let mut state = State::new();
    let mut plain = Plain::new();
    for key in keys.iter().rev() {
        state.put(key.to_be_bytes(), key.to_le_bytes().to_vec());
        plain.insert(key.to_be_bytes().to_vec(), key.to_le_bytes().to_vec());
    }
    assert_eq!(state.root(), defined_root(&plain));
    assert!(state.delete(keys[3].to_be_bytes()));
    assert!(!state.delete(keys[3].to_be_bytes()));
    plain.remove(&keys[3].to_be_bytes()[..]);
    assert_eq!(state.root(), defined_root(&plain));
    assert!(keys.iter().all(|key| state.get(key.to_be_bytes()).is_some() == (*key != keys[3])));
}
