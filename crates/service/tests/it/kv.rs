//! The key-value service, answer by answer.

use crate::drive::{Drive, code, request};
use bytes::Bytes;
use quorate_service::{Kv, builtin};
use quorate_types::Response;

fn kv() -> Drive<Kv> {
    Drive::new(Kv)
}

fn etag(response: &Response) -> &str {
    response.field("etag").unwrap()
}

#[test]
fn a_value_is_written_read_replaced_and_deleted() {
    let mut kv = kv();
    assert_eq!(code(&kv.ask("GET", "/kv/greeting", "")), "not-found");
    let created = kv.ask("PUT", "/kv/greeting", "hello");
    assert_eq!((created.status, etag(&created), created.body.len()), (201, "\"2\"", 0));
    let read = kv.ask("GET", "/kv/greeting", "");
    assert_eq!((read.status, etag(&read), &read.body[..]), (200, "\"2\"", &b"hello"[..]));
    let replaced = kv.ask("PUT", "/kv/greeting", "hi");
    assert_eq!((replaced.status, etag(&replaced)), (204, "\"4\""));
    assert_eq!(&kv.ask("GET", "/kv/greeting", "").body[..], b"hi");
    let deleted = kv.ask("DELETE", "/kv/greeting", "");
    assert_eq!((deleted.status, deleted.fields.len(), deleted.body.len()), (204, 0, 0));
    assert_eq!(kv.ask("DELETE", "/kv/greeting", "").status, 404);
    assert_eq!(kv.ask("GET", "/kv/greeting", "").status, 404);
    assert!(kv.state.is_empty());
    assert_eq!(kv.ask("PUT", "/kv/greeting", "again").status, 201);
}

#[test]
fn head_is_answered_as_get() {
    let mut kv = kv();
    kv.ask("PUT", "/kv/a", "hello");
    assert_eq!(kv.ask("HEAD", "/kv/a", ""), kv.ask("GET", "/kv/a", ""));
    assert_eq!(kv.ask("HEAD", "/kv/b", "").status, 404);
}

#[test]
fn values_are_raw_bytes_and_keep_the_type_that_they_came_with() {
    let mut kv = kv();
    let raw: Vec<u8> = (0..=255).collect();
    let mut put = request("PUT", "/kv/raw", raw.clone());
    kv.send(&put);
    let read = kv.ask("GET", "/kv/raw", "");
    assert_eq!(read.field("content-type"), Some("application/octet-stream"));
    assert_eq!(read.body, raw);
    put.fields.push(("content-type".to_owned(), "image/png; q=\"1\"".to_owned()));
    kv.send(&put);
    let read = kv.ask("GET", "/kv/raw", "");
    assert_eq!(read.field("content-type"), Some("image/png; q=\"1\""));
    kv.ask("PUT", "/kv/raw", "");
    let read = kv.ask("GET", "/kv/raw", "");
    assert_eq!((read.status, read.body.len()), (200, 0));
    assert_eq!(read.field("content-type"), Some("application/octet-stream"));
}

#[test]
fn if_match_guards_every_method() {
    let mut kv = kv();
    // Nothing is there: a PUT on a condition fails, and what would be 404 anyway stays 404.
    for tags in ["*", "\"1\""] {
        assert_eq!(kv.ask_if("PUT", "/kv/a", ("if-match", tags)), 412);
        assert_eq!(kv.ask_if("GET", "/kv/a", ("if-match", tags)), 404);
        assert_eq!(kv.ask_if("DELETE", "/kv/a", ("if-match", tags)), 404);
    }
    let tag = etag(&kv.ask("PUT", "/kv/a", "old")).to_owned();
    assert_eq!(tag, "\"7\"");
    let wrong = ["\"6\"", "7", "W/\"7\"", "\"07\"", "", "\"77\"", "\"7", "\"6\", \"8\"", "'7'"];
    for tags in wrong {
        for method in ["PUT", "GET", "HEAD", "DELETE"] {
            assert_eq!(kv.ask_if(method, "/kv/a", ("if-match", tags)), 412, "{method} {tags}");
        }
    }
    assert_eq!(&kv.ask("GET", "/kv/a", "").body[..], b"old");
    for tags in ["*", " * ", "\"7\"", "\"6\", \"7\"", "\"x,y\",\"7\""] {
        assert_eq!(kv.ask_if("GET", "/kv/a", ("if-match", tags)), 200, "{tags}");
    }
    assert_eq!(kv.ask_if("PUT", "/kv/a", ("if-match", &tag)), 204);
    assert_eq!(kv.ask_if("PUT", "/kv/a", ("if-match", &tag)), 412);
    let tag = etag(&kv.ask("GET", "/kv/a", "")).to_owned();
    assert_eq!(kv.ask_if("DELETE", "/kv/a", ("if-match", &tag)), 204);
}

#[test]
fn a_failed_condition_says_so() {
    let mut kv = kv();
    let mut put = request("PUT", "/kv/a", "");
    put.fields.push(("if-match".to_owned(), "\"1\"".to_owned()));
    let answer = kv.send(&put);
    assert_eq!((answer.status, code(&answer).as_str()), (412, "precondition-failed"));
}

#[test]
fn if_none_match_creates_only_and_spares_a_known_value() {
    let mut kv = kv();
    assert_eq!(kv.ask_if("PUT", "/kv/a", ("if-none-match", "*")), 201);
    assert_eq!(kv.ask_if("PUT", "/kv/a", ("if-none-match", "*")), 412);
    assert_eq!(kv.ask_if("GET", "/kv/a", ("if-none-match", "\"1\"")), 304);
    assert_eq!(kv.ask_if("HEAD", "/kv/a", ("if-none-match", "W/\"1\"")), 304);
    assert_eq!(kv.ask_if("GET", "/kv/a", ("if-none-match", "\"2\"")), 200);
    assert_eq!(kv.ask_if("DELETE", "/kv/a", ("if-none-match", "\"1\"")), 412);
    assert_eq!(kv.ask_if("DELETE", "/kv/a", ("if-none-match", "\"9\"")), 204);
}

#[test]
fn cas_sets_a_value_that_is_the_expected_one() {
    let mut kv = kv();
    let created = kv.ask("POST", "/kv/a/cas", r#"{"expect":null,"set":"one"}"#);
    assert_eq!((created.status, etag(&created)), (200, "\"1\""));
    let conflict = kv.ask("POST", "/kv/a/cas", r#"{"expect":null,"set":"two"}"#);
    assert_eq!((conflict.status, &conflict.body[..]), (409, &br#"{"actual":"one"}"#[..]));
    assert_eq!(conflict.field("content-type"), Some("application/json"));
    let swapped = kv.ask("POST", "/kv/a/cas", r#"{ "set": "t\u0077o", "expect": "one" }"#);
    assert_eq!((swapped.status, etag(&swapped)), (200, "\"3\""));
    let read = kv.ask("GET", "/kv/a", "");
    assert_eq!((etag(&read), &read.body[..]), ("\"3\"", &b"two"[..]));
    let deleted = kv.ask("POST", "/kv/a/cas", r#"{"expect":"two","set":null}"#);
    assert_eq!((deleted.status, etag(&deleted)), (200, "\"5\""));
    assert!(kv.state.is_empty());
    let conflict = kv.ask("POST", "/kv/a/cas", r#"{"expect":"two","set":"x"}"#);
    assert_eq!((conflict.status, &conflict.body[..]), (409, &br#"{"actual":null}"#[..]));
    assert_eq!(kv.ask("POST", "/kv/a/cas", r#"{"expect":null,"set":null}"#).status, 200);
    assert!(kv.state.is_empty());
}

#[test]
fn cas_tells_an_empty_value_from_none() {
    let mut kv = kv();
    kv.ask("PUT", "/kv/a", "");
    let conflict = kv.ask("POST", "/kv/a/cas", r#"{"expect":null,"set":"x"}"#);
    assert_eq!((conflict.status, &conflict.body[..]), (409, &br#"{"actual":""}"#[..]));
    assert_eq!(kv.ask("POST", "/kv/a/cas", r#"{"expect":"","set":"x"}"#).status, 200);
}

#[test]
fn cas_tells_awkward_values_as_json() {
    let mut kv = kv();
    let mut actual = |value: &'static [u8]| {
        kv.send(&request("PUT", "/kv/a", Bytes::from_static(value)));
        let conflict = kv.ask("POST", "/kv/a/cas", r#"{"expect":"?","set":""}"#);
        assert_eq!(conflict.status, 409);
        String::from_utf8(conflict.body.to_vec()).unwrap()
    };
    assert_eq!(actual(b"a\"b\\c\n\x01"), r#"{"actual":"a\"b\\c\n\u0001"}"#);
    assert_eq!(actual("\u{fffd}é".as_bytes()), "{\"actual\":\"\u{fffd}é\"}");
    assert_eq!(actual(b"a\xffb"), "{\"actual\":\"a\u{fffd}b\",\"utf8\":false}");
}

#[test]
fn cas_honours_if_match() {
    let mut kv = kv();
    kv.ask("PUT", "/kv/a", "one");
    let mut cas = request("POST", "/kv/a/cas", r#"{"expect":"one","set":"two"}"#);
    cas.fields.push(("if-match".to_owned(), "\"9\"".to_owned()));
    assert_eq!(kv.send(&cas).status, 412);
    cas.fields[0].1 = "\"1\"".to_owned();
    assert_eq!(kv.send(&cas).status, 200);
}

#[test]
fn cas_refuses_content_that_it_would_have_to_guess_at() {
    let deep = format!("{{\"expect\":{}", "[".repeat(500_000));
    let deep_extra = format!("{{\"x\":{}", "{\"x\":".repeat(150_000));
    let wrong: [&[u8]; 20] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\"expect\"",
        br#"{"expect":"a"}"#,
        br#"{"set":"a"}"#,
        br#"{"expect":1,"set":"a"}"#,
        br#"{"expect":true,"set":"a"}"#,
        br#"{"expect":["a"],"set":"a"}"#,
        br#"{"expect":"a","set":{}}"#,
        br#"{"expect":"a","set":"b","more":1}"#,
        br#"{"expect":"a","set":"b","set":"c"}"#,
        br#"{"expect":"a","set":"b"} x"#,
        br#"{"expect":"a","set":"b""#,
        br#"{"expect":"a","set":"\ud800"}"#,
        b"{\"expect\":\"a\",\"set\":\"\xff\"}",
        b"\xef\xbb\xbf{\"expect\":\"a\",\"set\":\"b\"}",
        deep.as_bytes(),
        deep_extra.as_bytes(),
    ];
    let mut kv = kv();
    for content in wrong {
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        let answer = kv.send(&request("POST", "/kv/a/cas", content.to_vec()));
        assert_eq!((answer.status, code(&answer).as_str()), (400, "cas-malformed"), "{shown}");
    }
    assert!(kv.state.is_empty());
}

#[test]
fn json_of_every_depth_is_answered() {
    let mut kv = kv();
    for depth in (0..300).chain([1000, 10_000, 300_000]) {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let content = format!("{{\"expect\":{open}null{close},\"set\":null}}");
            let status = kv.send(&request("POST", "/kv/a/cas", content)).status;
            assert_eq!(status, if depth == 0 { 200 } else { 400 }, "depth {depth}");
        }
    }
}

#[test]
fn a_key_is_the_decoded_segment() {
    let mut kv = kv();
    kv.ask("PUT", "/kv/a%2Fb", "slash");
    assert_eq!(&kv.ask("GET", "/kv/%61%2fb", "").body[..], b"slash");
    kv.ask("PUT", "/kv/%00%ff%25", "bytes");
    assert_eq!(&kv.ask("GET", "/kv/%00%FF%25", "").body[..], b"bytes");
    assert_eq!(kv.state.get(b"\x00\xff%").map(|value| value.ends_with(b"bytes")), Some(true));
    // A plus is a plus, and dots are a key like any other.
    kv.ask("PUT", "/kv/a+b", "plus");
    assert_eq!(kv.ask("GET", "/kv/a%20b", "").status, 404);
    assert_eq!(&kv.ask("GET", "/kv/a%2Bb", "").body[..], b"plus");
    assert_eq!(kv.ask("PUT", "/kv/..", "").status, 201);
    assert_eq!(kv.ask("PUT", "/kv/cas", "").status, 201);
    assert_eq!(kv.ask("POST", "/kv/cas/cas", r#"{"expect":"","set":""}"#).status, 200);
    for path in ["/kv/%", "/kv/%2", "/kv/a%zz", "/kv/%%41", "/kv/%+1", "/kv/%1"] {
        let answer = kv.ask("PUT", path, "");
        assert_eq!((answer.status, code(&answer).as_str()), (400, "key-encoding"), "{path}");
    }
}

#[test]
fn the_query_does_not_belong_to_the_key() {
    let mut kv = kv();
    kv.ask("PUT", "/kv/a", "hello");
    let mut get = request("GET", "/kv/a", "");
    get.query = "?b=c".to_owned();
    assert_eq!(kv.send(&get).status, 200);
}

#[test]
fn a_key_of_1024_bytes_is_the_longest() {
    let mut kv = kv();
    let longest = format!("/kv/{}", "%41".repeat(1024));
    assert_eq!(kv.ask("PUT", &longest, "").status, 201);
    assert_eq!(kv.ask("GET", &format!("/kv/{}", "A".repeat(1024)), "").status, 200);
    for (method, path) in [("PUT", ""), ("GET", ""), ("DELETE", ""), ("POST", "/cas")] {
        let answer = kv.ask(method, &format!("/kv/{}{path}", "A".repeat(1025)), "");
        assert_eq!((answer.status, code(&answer).as_str()), (414, "kv-key-too-long"));
    }
}

#[test]
fn other_paths_are_not_found() {
    let mut kv = kv();
    let paths =
        ["/", "/kv", "/kv/", "/kv//", "/kv//cas", "/kv/a/", "/kv/a/b", "/kv/a/cas/", "/KV/a"];
    for path in paths.into_iter().chain(["/kv/a/CAS", "//kv/a", "/x/../kv/a", "", "*"]) {
        for method in ["GET", "PUT", "POST", "DELETE", "BREW"] {
            let answer = kv.ask(method, path, "");
            assert_eq!((answer.status, code(&answer).as_str()), (404, "not-found"), "{path}");
        }
    }
}

#[test]
fn other_methods_are_not_allowed() {
    let mut kv = kv();
    let on_key = ["POST", "PATCH", "OPTIONS", "TRACE", "get", "BREW", ""];
    let on_cas = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "post"];
    let asked = on_key.map(|method| (method, "/kv/a")).into_iter();
    for (method, path) in asked.chain(on_cas.map(|method| (method, "/kv/a/cas"))) {
        let answer = kv.ask(method, path, "");
        assert_eq!((answer.status, code(&answer).as_str()), (405, "method-not-allowed"));
    }
    assert!(kv.state.is_empty());
}

#[test]
fn a_stored_value_that_is_not_one_is_read_as_none() {
    // Nothing but the service writes its state; a foreign value must still not end a replica.
    let mut kv = kv();
    for foreign in [&b""[..], b"1234567", b"12345678\0\0\0\x09short"] {
        kv.state.put("a", foreign);
        assert_eq!(kv.ask("GET", "/kv/a", "").status, 404);
    }
}

#[test]
fn the_service_is_found_by_its_name() {
    let mut kv = Drive::new(builtin("kv").unwrap());
    assert_eq!(kv.ask("PUT", "/kv/a", "").status, 201);
    for name in ["", "KV", "Cart", "http://127.0.0.1:1"] {
        assert!(builtin(name).is_none(), "{name}");
    }
}
