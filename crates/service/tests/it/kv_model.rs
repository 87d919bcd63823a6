//! The key-value service against a plain map, over random histories.

use crate::drive::{Drive, request};
use proptest::prelude::*;
use quorate_service::{Kv, State};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Put(u8, Vec<u8>, Tag),
    Delete(u8, Tag),
    Cas(u8, Option<u8>, Option<u8>),
}

/// Which `If-Match` a request carries.
#[derive(Clone, Copy, Debug)]
enum Tag {
    None,
    Any,
    /// The value's own tag, if there is a value, else `"0"`.
    Right,
    Wrong,
}

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof![
        3 => Just(Tag::None),
        1 => Just(Tag::Any),
        2 => Just(Tag::Right),
        1 => Just(Tag::Wrong)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (key, small) = (0_u8..4, || prop::option::of(0_u8..3));
    prop_oneof![
        key.clone().prop_map(Step::Get),
        (key.clone(), prop::collection::vec(0_u8..3, 0..3), tag())
            .prop_map(|(key, value, tag)| Step::Put(key, value, tag)),
        (key.clone(), tag()).prop_map(|(key, tag)| Step::Delete(key, tag)),
        (key, small(), small()).prop_map(|(key, expect, set)| Step::Cas(key, expect, set)),
    ]
}

/// Key to (value, index of its last write).
type Plain = BTreeMap<u8, (Vec<u8>, u64)>;

/// What the plain map answers: status, tag, content.
type Answer = (u16, Option<String>, Option<Vec<u8>>);

fn quoted(index: u64) -> String {
    format!("\"{index}\"")
}

fn expected(plain: &mut Plain, step: &Step, index: u64) -> Answer {
    let failed = |tag: Tag, held: bool| match tag {
        Tag::None => false,
        Tag::Any | Tag::Right => !held,
        Tag::Wrong => true,
    };
    match step {
        Step::Get(key) => match plain.get(key) {
            Some((value, written)) => (200, Some(quoted(*written)), Some(value.clone())),
            None => (404, None, None),
        },
        Step::Put(key, value, tag) => {
            let held = plain.contains_key(key);
            if failed(*tag, held) {
                return (412, None, None);
            }
            plain.insert(*key, (value.clone(), index));
            (if held { 204 } else { 201 }, Some(quoted(index)), Some(Vec::new()))
        }
        Step::Delete(key, tag) => match plain.contains_key(key) {
            false => (404, None, None),
            true if failed(*tag, true) => (412, None, None),
            true => {
                plain.remove(key);
                (204, None, Some(Vec::new()))
            }
        },
        Step::Cas(key, expect, set) => {
            let text = |n: &u8| vec![b'0' + n];
            let actual = plain.get(key).map(|(value, _)| value.clone());
            if actual != expect.as_ref().map(text) {
                return (409, None, None);
            }
            plain.remove(key);
            plain.extend(set.as_ref().map(|set| (*key, (text(set), index))));
            (200, Some(quoted(index)), Some(Vec::new()))
        }
    }
}

fn given(kv: &mut Drive<Kv>, plain: &Plain, step: &Step) -> Answer {
    let json = |n: &Option<u8>| n.map_or("null".to_owned(), |n| format!("\"{n}\""));
    let (mut request, key, tag) = match step {
        Step::Get(key) => (request("GET", &format!("/kv/{key}"), ""), key, Tag::None),
        Step::Put(key, value, tag) => {
            // The digits that `cas` writes, so that it meets them.
            let value: Vec<u8> = value.iter().map(|n| b'0' + n).collect();
            (request("PUT", &format!("/kv/{key}"), value), key, *tag)
        }
        Step::Delete(key, tag) => (request("DELETE", &format!("/kv/{key}"), ""), key, *tag),
        Step::Cas(key, expect, set) => {
            let content = format!("{{\"expect\":{},\"set\":{}}}", json(expect), json(set));
            (request("POST", &format!("/kv/{key}/cas"), content), key, Tag::None)
        }
    };
    let right = plain.get(key).map_or(0, |(_, written)| *written);
    let value = match tag {
        Tag::None => None,
        Tag::Any => Some("*".to_owned()),
        Tag::Right => Some(quoted(right)),
        Tag::Wrong => Some(quoted(right + 1)),
    };
    request.fields.extend(value.map(|value| ("if-match".to_owned(), value)));
    let response = kv.send(&request);
    let content = (response.status < 300).then(|| response.body.to_vec());
    (response.status, response.field("etag").map(str::to_owned), content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn kv_answers_like_a_plain_map(steps in prop::collection::vec(step(), 0..80)) {
        let (mut kv, mut plain) = (Drive::new(Kv), Plain::new());
        for step in &steps {
            let answer = given(&mut kv, &plain, step);
            let digits = |step: &Step| match step {
                Step::Put(key, value, tag) => {
                    Step::Put(*key, value.iter().map(|n| b'0' + n).collect(), *tag)
                }
                other => other.clone(),
            };
            prop_assert_eq!(answer, expected(&mut plain, &digits(step), kv.index), "{:?}", step);
            prop_assert_eq!(kv.state.len(), plain.len());
        }
    }

    #[test]
    fn two_replicas_that_execute_alike_have_one_root(
        steps in prop::collection::vec(step(), 0..40),
        restart in 0_usize..40,
    ) {
        let (mut one, mut other) = (Drive::new(Kv), Drive::new(Kv));
        let mut plain = Plain::new();
        for (number, step) in steps.iter().enumerate() {
            if number == restart {
                // The other installs a snapshot, with a new service.
                let index = other.index;
                let all = other.state.iter().map(|(key, value)| (key, value.clone()));
                let state = all.collect::<State>();
                other = Drive::new(Kv);
                (other.state, other.index) = (state, index);
            }
            prop_assert_eq!(given(&mut one, &plain, step), given(&mut other, &plain, step));
            expected(&mut plain, step, one.index);
            prop_assert_eq!(one.state.root(), other.state.root());
        }
    }
}
