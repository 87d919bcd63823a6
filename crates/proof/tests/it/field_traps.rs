//! What header fields, contents and the exchange may not be.

use crate::sealed::{Draft, Sealed, field, request};
use quorate_proof::{Coverage, ExchangeError, exchange_base, with_defaults};
use quorate_types::Response;

#[test]
fn quorates_own_fields_stand_exactly_once() {
    for name in [
        "Quorate-Index",
        "Quorate-Epoch",
        "Quorate-Time",
        "Quorate-State",
        "Quorate-Salt",
        "Quorate-Proof",
        "Content-Digest",
    ] {
        let mut sealed = Sealed::default();
        let (_, value) =
            sealed.received.fields.iter().find(|(field, _)| field == name).cloned().unwrap();
        sealed.received.fields.push(field(&name.to_lowercase(), &value));
        assert_eq!(sealed.outcome(), Err("field-repeated"), "{name}");
        sealed.received.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        assert_eq!(sealed.outcome(), Err("field-missing"), "{name}");
    }
}

#[test]
fn quorates_own_fields_have_no_parameters_and_one_spelling() {
    for (name, values) in [
        ("Quorate-Index", &["05", "5;a=1", "+5", "5.0", "", "5, 5", "9223372036854775808"][..]),
        ("Quorate-Epoch", &["00", "0;a", "-0", "9223372036854775808"]),
        ("Quorate-Time", &["01763658123456", "1763658123456 ms", "9223372036854775808"]),
        (
            "Quorate-State",
            &[
                "sha-256=:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=:;a=1",
                "sha-256=:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQl=:",
                "sha-256=CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=",
                "SHA-256=:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=:",
                "sha-512=:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=:",
                "sha-256=:CQk=:",
            ],
        ),
        (
            "Quorate-Salt",
            &[
                ":AAECAwQFBgcICQoLDA0ODw==:;a",
                "AAECAwQFBgcICQoLDA0ODw==",
                ":AAECAwQFBgcICQoLDA0ODx==:",
                ":AAECAwQFBgcICQoLDA0O:",
                ":AAECAwQFBgcICQoLDA0ODxA=:",
                "::",
            ],
        ),
    ] {
        for value in values {
            let mut sealed = Sealed::default();
            sealed.set(name, value);
            assert_eq!(sealed.outcome(), Err("field-malformed"), "{name}: {value}");
        }
    }
}

#[test]
fn every_claim_in_a_header_field_is_bound_to_the_entry() {
    for (name, value, expected) in [
        ("Quorate-Index", "4", "index-differs"),
        ("Quorate-Epoch", "1", "not-in-log"),
        ("Quorate-Time", "1763658123457", "not-in-log"),
        ("Quorate-State", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", "not-in-log"),
        ("Quorate-Salt", ":AAECAwQFBgcICQoLDA0OEA==:", "not-in-log"),
        ("location", "/orders/43", "not-in-log"),
        ("cache-control", "no-store", "not-in-log"),
        ("set-cookie", "a=b", "not-in-log"),
        ("etag", "", "not-in-log"),
        ("Quorate-Covers", "x-total", "not-in-log"),
    ] {
        let mut sealed = Sealed::default();
        sealed.set(name, value);
        assert_eq!(sealed.outcome(), Err(expected), "{name}");
    }
}

#[test]
fn a_change_to_what_was_asked_or_answered_is_refused() {
    type Change = fn(&mut Sealed);
    let changes: [(&str, Change); 12] = [
        ("not-in-log", |s| s.sent.method = "PUT".to_owned()),
        ("not-in-log", |s| s.sent.path = "/orders/".to_owned()),
        ("not-in-log", |s| s.sent.query = "?a".to_owned()),
        ("not-in-log", |s| s.sent.body = Vec::from("{}").into()),
        ("not-in-log", |s| s.sent.fields.push(field("accept", "*/*"))),
        ("not-in-log", |s| s.sent.fields.truncate(1)),
        ("not-in-log", |s| s.received.status = 200),
        ("content-digest-wrong", |s| s.received.body = Vec::new().into()),
        ("request-path", |s| s.sent.path = "orders".to_owned()),
        ("request-path", |s| s.sent.path = "/orders?".to_owned()),
        ("request-query", |s| s.sent.query = String::new()),
        ("request-method", |s| s.sent.method = "PO ST".to_owned()),
    ];
    for (position, (expected, change)) in changes.into_iter().enumerate() {
        let mut sealed = Sealed::default();
        change(&mut sealed);
        assert_eq!(sealed.outcome(), Err(expected), "change {position}");
    }
}

#[test]
fn uncovered_fields_and_the_case_of_names_do_not_matter() {
    let mut sealed = Sealed::default();
    sealed.sent.fields.extend([field("User-Agent", "x"), field("User-Agent", "\u{e9}")]);
    sealed.sent.fields[0].0 = "CONTENT-Type".to_owned();
    sealed.received.fields.extend([
        field("Date", "now"),
        field("Link", "<a>"),
        field("Link", "<b>"),
        field("Quorate-Weather", "fine"),
    ]);
    assert_eq!(sealed.outcome(), Ok(3));
}

#[test]
fn outer_blanks_of_a_value_do_not_matter_and_inner_ones_do() {
    let mut sealed = Sealed::default();
    sealed.set("location", " \t/orders/42\t ");
    assert_eq!(sealed.outcome(), Ok(3));
    sealed.set("cache-control", "no-store,  no-transform");
    assert_eq!(sealed.outcome(), Err("not-in-log"));
}

#[test]
fn a_covered_field_that_is_repeated_is_refused() {
    let mut sealed = Sealed::default();
    sealed.sent.fields.push(field("Content-Type", "application/json"));
    assert_eq!(sealed.outcome(), Err("field-repeated"));
    let mut sealed = Sealed::default();
    sealed.received.fields.push(field("Location", "/orders/42"));
    assert_eq!(sealed.outcome(), Err("field-repeated"));
}

#[test]
fn a_covered_value_outside_ascii_is_refused() {
    let mut sealed = Sealed::default();
    sealed.sent.fields.push(field("accept", "\u{e9}"));
    assert_eq!(sealed.outcome(), Err("field-value"));
    let mut sealed = Sealed::default();
    sealed.set("location", "/\u{7f}");
    assert_eq!(sealed.outcome(), Err("field-value"));
}

#[test]
fn a_coded_or_partial_content_is_refused_even_unnamed_by_the_exchange() {
    for (name, expected) in
        [("Content-Encoding", "content-coded"), ("content-range", "content-partial")]
    {
        let mut sealed = Sealed::default();
        sealed.received.fields.push(field(name, "identity"));
        assert_eq!(sealed.outcome(), Err(expected));
        let mut sealed = Sealed::default();
        sealed.sent.fields.push(field(name, "identity"));
        assert_eq!(sealed.outcome(), Err(expected));
    }
}

#[test]
fn a_content_range_that_the_exchange_covers_is_accepted() {
    let mut draft = Draft {
        coverage: Coverage { request: Vec::new(), response: vec!["content-range".to_owned()] },
        ..Draft::default()
    };
    draft.response = draft.response.with_field("content-range", "bytes 0-9/20");
    let sealed = draft.seal();
    assert_eq!(sealed.outcome(), Ok(3));
}

#[test]
fn a_request_s_own_content_digest_must_be_right() {
    let mut sealed = Sealed::default();
    let right = quorate_proof::content_digest(&sealed.sent.body);
    sealed.sent.fields.push(field("Content-Digest", &right));
    assert_eq!(sealed.outcome(), Ok(3));
    for wrong in [
        quorate_proof::content_digest(b""),
        format!("{right};a=1"),
        format!("sha-512=:AAAA:, {right}"),
        right.replace("sha-256", "sha-512"),
    ] {
        sealed.sent.fields.pop();
        sealed.sent.fields.push(field("Content-Digest", &wrong));
        assert_eq!(sealed.outcome(), Err("content-digest-wrong"), "{wrong}");
    }
}

#[test]
fn a_response_has_one_content_digest_of_one_algorithm() {
    let mut sealed = Sealed::default();
    let right = quorate_proof::content_digest(&sealed.received.body);
    for wrong in [
        format!("sha-512=:AAAA:, {right}"),
        format!("{right}, sha-512=:AAAA:"),
        right.replace("sha-256", "sha-512"),
        String::new(),
    ] {
        sealed.set("Content-Digest", &wrong);
        assert_eq!(sealed.outcome(), Err("content-digest-wrong"), "{wrong}");
    }
}

#[test]
fn head_204_and_304_have_no_content() {
    for (method, status) in [("HEAD", 200), ("PUT", 204), ("GET", 304)] {
        let mut draft = Draft::default();
        draft.request.method = method.to_owned();
        draft.response = Response::new(status).with_body("text/plain", "dropped");
        let mut sealed = draft.seal();
        assert!(sealed.received.body.is_empty());
        assert_eq!(sealed.outcome(), Ok(3), "{method} {status}");
        sealed.received.body = Vec::from("dropped").into();
        assert_eq!(sealed.outcome(), Err("content-unexpected"));
    }
}

#[test]
fn a_request_without_a_key_is_verified_and_not_fresh() {
    let mut draft = Draft::default();
    draft.request.fields.truncate(1);
    let verdict = draft.seal().verdict().unwrap();
    assert!(!verdict.fresh);
    assert!(Sealed::default().verdict().unwrap().fresh);
}

fn covered(request: &[&str], response: &[&str]) -> Coverage {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Coverage { request: owned(request), response: owned(response) }
}

#[test]
fn further_fields_are_covered_announced_and_bound() {
    let mut draft =
        Draft { coverage: covered(&["x-api-key"], &["x-total", "x-page"]), ..Draft::default() };
    draft.request.fields.push(field("x-api-key", "secret"));
    draft.response = draft.response.with_field("x-page", "").with_field("x-other", "dropped");
    let mut sealed = draft.seal();
    let announced = field("quorate-covers", "x-api-key;req, x-total, x-page");
    assert!(sealed.received.fields.contains(&announced));
    assert!(!sealed.received.fields.iter().any(|(name, _)| name == "x-other"));
    assert_eq!(sealed.outcome(), Ok(3));
    sealed.set("x-page", "1");
    assert_eq!(sealed.outcome(), Err("not-in-log"));
    sealed.set("x-page", "");
    sealed.set("x-total", "");
    assert_eq!(sealed.outcome(), Err("not-in-log"));
    sealed.received.fields.pop();
    assert_eq!(sealed.outcome(), Ok(3));
    sealed.set("Quorate-Covers", "x-api-key;req, x-total");
    assert_eq!(sealed.outcome(), Err("not-in-log"));
    sealed.set("Quorate-Covers", "x-api-key;req,x-total,x-page");
    assert_eq!(sealed.outcome(), Err("covers-name"));
}

#[test]
fn an_exchange_with_everything_is_written_line_by_line() {
    let mut request = request();
    request.method = "GET".to_owned();
    request.path = "/a%20b/%2e%2e/c".to_owned();
    request.query = "?q=1&r=%3F?".to_owned();
    request.fields = [
        ("content-type", ""),
        ("accept", "*/*"),
        ("accept-language", "en"),
        ("authorization", "Bearer x"),
        ("cookie", "a=1; b=2"),
        ("if-match", "\"1\""),
        ("if-none-match", "*"),
        ("idempotency-key", "\"k\""),
        ("x-a", "1"),
    ]
    .map(|(name, value)| field(name, value))
    .to_vec();
    request.body = Vec::new().into();
    let coverage = covered(&["x-a"], &["x-a"]);
    let response = Response::new(200)
        .with_field("x-a", "2")
        .with_field("set-cookie", "a=1; Path=/")
        .with_field("etag", "\"17\"")
        .with_field("Set-Cookie", " b=2, c ")
        .with_field("content-type", "text/plain")
        .with_field("server", "dropped");
    let response = with_defaults(response, &coverage);
    let empty = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    let expected = format!(
        "\"@method\";req: GET
\"@authority\";req: shop.example:8443
\"@path\";req: /a%20b/%2e%2e/c
\"@query\";req: ?q=1&r=%3F?
\"content-type\";req: \n\"accept\";req: */*
\"accept-language\";req: en
\"authorization\";req: Bearer x
\"cookie\";req: a=1; b=2
\"if-match\";req: \"1\"
\"if-none-match\";req: *
\"idempotency-key\";req: \"k\"
\"x-a\";req: 1
\"content-digest\";req: {empty}
\"@status\": 200
\"content-type\": text/plain
\"etag\": \"17\"
\"cache-control\": no-store, no-transform
\"set-cookie\";bs: :YT0xOyBQYXRoPS8=:, :Yj0yLCBj:
\"quorate-covers\": x-a;req, x-a
\"x-a\": 2
\"content-digest\": {empty}
\"@signature-params\": (\"@method\";req \"@authority\";req \"@path\";req \"@query\";req \
\"content-type\";req \"accept\";req \"accept-language\";req \"authorization\";req \
\"cookie\";req \"if-match\";req \"if-none-match\";req \"idempotency-key\";req \"x-a\";req \
\"content-digest\";req \"@status\" \"content-type\" \"etag\" \"cache-control\" \
\"set-cookie\";bs \"quorate-covers\" \"x-a\" \"content-digest\");tag=\"quorate-exchange/1\""
    );
    let base = exchange_base("shop.example:8443", &request, &response, &coverage).unwrap();
    assert_eq!(base, expected);
}

#[test]
fn defaults_are_added_once_and_give_way_to_the_service() {
    let own = Response::new(200).with_field("cache-control", "max-age=60");
    let own = with_defaults(own, &Coverage::default());
    assert_eq!(own.fields, [field("cache-control", "max-age=60")]);
    let again = with_defaults(own.clone(), &Coverage::default());
    assert_eq!(again, own);
    let covers = covered(&[], &["x-a"]);
    let forged = Response::new(200).with_field("quorate-covers", "x-b");
    let fields = with_defaults(forged, &covers).fields;
    assert_eq!(
        fields,
        [field("cache-control", "no-store, no-transform"), field("quorate-covers", "x-a")]
    );
}

#[test]
fn what_makes_no_exchange_is_told() {
    let none = Coverage::default();
    let base = |response: &Response| exchange_base("a", &request(), response, &none);
    for status in [0, 100, 199, 600, u16::MAX] {
        assert_eq!(base(&Response::new(status)), Err(ExchangeError::Status(status)));
    }
    let twice = Response::new(200).with_field("etag", "1").with_field("etag", "1");
    assert_eq!(base(&twice).map_err(|error| error.code()), Err("field-repeated"));
    for value in ["a\nb", "\u{e9}", " a", "a\r", "\0"] {
        for name in ["etag", "set-cookie"] {
            let response = Response::new(200).with_field(name, value);
            assert_eq!(base(&response).map_err(|error| error.code()), Err("field-value"));
        }
    }
    let announced = Response::new(200).with_field("quorate-covers", "x-a");
    assert_eq!(base(&announced), Err(ExchangeError::Announcement));
    assert_eq!(
        exchange_base("a", &request(), &Response::new(200), &covered(&[], &["x-a"])),
        Err(ExchangeError::Announcement)
    );
}

#[test]
fn an_exchange_has_at_most_65535_bytes() {
    let length = |filler: usize| {
        let response = Response::new(200).with_field("etag", "e".repeat(filler));
        exchange_base("a", &request(), &response, &Coverage::default()).map(|base| base.len())
    };
    let around = length(0).unwrap();
    assert_eq!(length(65_535 - around), Ok(65_535));
    assert_eq!(length(65_536 - around), Err(ExchangeError::TooLong(65_536)));
}
