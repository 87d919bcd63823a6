//! The form that gateways and replicas demand of a request.

use crate::sealed::{field, request};
use quorate_proof::{Coverage, check_request, split_target};
use quorate_types::{ClientSignature, PublicKey, Request, Signature};

fn outcome(change: impl FnOnce(&mut Request)) -> Result<(), (u16, &'static str)> {
    let mut request = request();
    change(&mut request);
    let coverage = Coverage { request: vec!["x-a".to_owned()], response: Vec::new() };
    check_request(&request, &coverage).map_err(|fault| (fault.status(), fault.code()))
}

#[test]
fn a_request_in_order_is_accepted() {
    assert_eq!(outcome(|_| {}), Ok(()));
    assert_eq!(outcome(|r| r.fields.clear()), Ok(()));
    assert_eq!(outcome(|r| r.fields.push(field("x-a", ""))), Ok(()));
    assert_eq!(outcome(|r| r.path = "/".to_owned()), Ok(()));
    assert_eq!(outcome(|r| r.path = "/../%zz//\"<>".to_owned()), Ok(()));
    assert_eq!(outcome(|r| r.query = "?a=/?&b".to_owned()), Ok(()));
}

#[test]
fn a_method_is_a_token() {
    for method in ["", "GE T", "G\u{c9}T", "GET\n", "GET:", "(GET)"] {
        let found = outcome(|r| r.method = method.to_owned());
        assert_eq!(found, Err((400, "request-method")), "{method:?}");
    }
}

#[test]
fn a_path_and_a_query_are_raw_and_in_origin_form() {
    for path in ["", "a", "*", "http://a/", "/a b", "/a#b", "/a?b", "/\u{e9}", "/\n", "/\0"] {
        let found = outcome(|r| r.path = path.to_owned());
        assert_eq!(found, Err((400, "request-path")), "{path:?}");
    }
    for query in ["", "a", "?a b", "?#", "?\u{e9}", "?\r", "? "] {
        let found = outcome(|r| r.query = query.to_owned());
        assert_eq!(found, Err((400, "request-query")), "{query:?}");
    }
}

#[test]
fn a_target_splits_at_its_first_question_mark() {
    assert_eq!(split_target("/a"), Some(("/a", "?")));
    assert_eq!(split_target("/a?"), Some(("/a", "?")));
    assert_eq!(split_target("/a?b?c"), Some(("/a", "?b?c")));
    for wrong in ["", "?", "?a", "*", "http://a/b", "a:80", "/a#", "/a?#", "/a b", "/\u{e9}"] {
        assert_eq!(split_target(wrong), None, "{wrong:?}");
    }
}

#[test]
fn fields_are_covered_ones_in_order_once_and_trimmed() {
    let key = "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"";
    for (fields, expected) in [
        (vec![field("host", "a")], "field-uncovered"),
        (vec![field("Accept", "a")], "field-uncovered"),
        (vec![field("content-digest", "a")], "field-uncovered"),
        (vec![field("quorate-covers", "a")], "field-uncovered"),
        (vec![field("accept", "a"), field("accept", "a")], "field-repeated"),
        (vec![field("accept", "a"), field("content-type", "a")], "field-repeated"),
        (vec![field("x-a", "a"), field("idempotency-key", key)], "field-repeated"),
        (vec![field("accept", " a")], "field-value"),
        (vec![field("accept", "a\t")], "field-value"),
        (vec![field("accept", "a\r\nb")], "field-value"),
        (vec![field("accept", "\u{e9}")], "field-value"),
        (vec![field("accept", "\u{7f}")], "field-value"),
    ] {
        let found = outcome(|r| r.fields = fields.clone());
        assert_eq!(found, Err((400, expected)), "{fields:?}");
    }
}

#[test]
fn a_key_is_a_quoted_string_of_at_most_255_bytes() {
    let of = |value: String| outcome(|r| r.fields = vec![field("idempotency-key", &value)]);
    assert_eq!(of(format!("\"{}\"", "k".repeat(253))), Ok(()));
    assert_eq!(of(format!("\"{}\"", "k".repeat(254))), Err((400, "key-too-long")));
    assert_eq!(of(format!("\"{}\"", "\\\"".repeat(11))), Ok(()));
    for wrong in [
        "k".repeat(40),
        "\"".to_owned(),
        format!("\"{}\\\"", "k".repeat(30)),
        format!("\"{}\"k\"", "k".repeat(30)),
        format!("\"\\k{}\"", "k".repeat(30)),
        format!("\"{}\";a", "k".repeat(30)),
        format!("\"{}\t\"", "k".repeat(30)),
        String::new(),
    ] {
        assert_eq!(of(wrong.clone()), Err((400, "key-form")), "{wrong}");
    }
}

#[test]
fn an_anonymous_key_has_128_bits_and_others_need_not() {
    let short = field("idempotency-key", &format!("\"{}\"", "k".repeat(21)));
    let long = field("idempotency-key", &format!("\"{}\"", "k".repeat(22)));
    assert_eq!(outcome(|r| r.fields = vec![short.clone()]), Err((400, "key-too-short")));
    assert_eq!(outcome(|r| r.fields = vec![long]), Ok(()));
    let known = vec![field("authorization", "Bearer x"), short.clone()];
    assert_eq!(outcome(|r| r.fields = known), Ok(()));
    let signature = ClientSignature {
        key: PublicKey([1; 32]),
        params: String::new(),
        signature: Signature([0; 64]),
    };
    let signed = |r: &mut Request| {
        r.fields = vec![short];
        r.signature = Some(signature);
    };
    assert_eq!(outcome(signed), Ok(()));
}

#[test]
fn what_leaves_no_room_for_a_response_is_414_or_431() {
    let long = "a".repeat(62_000);
    let target = outcome(|r| r.path = format!("/{long}"));
    assert_eq!(target, Err((414, "target-too-long")));
    let query = outcome(|r| r.query = format!("?{long}"));
    assert_eq!(query, Err((414, "target-too-long")));
    let fields = outcome(|r| r.fields = vec![field("cookie", &long)]);
    assert_eq!(fields, Err((431, "fields-too-long")));
    assert_eq!(outcome(|r| r.path = format!("/{}", "a".repeat(60_000))), Ok(()));
}
