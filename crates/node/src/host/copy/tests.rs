use super::*;
use crate::host::fake::{Deed, Fake, ok};
use quorate_types::{Digest, Index, Salt, UnixMillis};
use std::sync::Arc;

fn rules() -> Rules {
    Rules {
        authority: "shop.example".to_owned(),
        coverage: Coverage { request: Vec::new(), response: vec!["x-total".to_owned()] },
        volatile: Vec::new(),
        canonical_json: false,
        body_max: 1000,
        call_timeout: Duration::from_millis(300),
        own_paths: vec!["/reset".to_owned()],
    }
}

fn copy_of(fake: &Fake, rules: Rules) -> OwnCopy {
    OwnCopy::new(Endpoint::parse(&fake.address).unwrap(), rules)
}

fn call(method: &str, target: &str, body: &str) -> Call {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: if query.is_empty() { "?" } else { query }.to_owned(),
        fields: vec![("accept".to_owned(), "text/plain".to_owned())],
        body: body.to_owned().into(),
        salt: Salt([7; 16]),
        signature: None,
    };
    let (index, time) = (Index(5), UnixMillis(1_763_658_123_456));
    Call { index, time, seed: Digest([0xab; 32]), request: Arc::new(request) }
}

async fn answer_to(bytes: impl Into<Vec<u8>>, rules: Rules) -> Result<Response, NoAnswer> {
    let bytes = bytes.into();
    let fake = Fake::start(move |_, _| Deed::SayAndClose(bytes.clone())).await;
    copy_of(&fake, rules).call(&call("GET", "/", "")).await
}

#[tokio::test]
async fn a_copy_sees_what_is_covered_and_what_was_agreed_on_and_nothing_else() {
    let fake = Fake::start(|_, _| Deed::Say(ok("1"))).await;
    let mut copy = copy_of(&fake, rules());
    copy.call(&call("POST", "/a%2f//b?x=%20&", "hello")).await.unwrap();
    copy.call(&call("GET", "/", "")).await.unwrap();
    let heard = fake.heard.lock().unwrap();
    let seed = "ab".repeat(32);
    assert_eq!(
        heard.requests[0],
        format!(
            "POST /a%2f//b?x=%20& HTTP/1.1\r\nhost: shop.example\r\naccept-encoding: identity\r\n\
             quorate-index: 5\r\nquorate-time: 1763658123456\r\nquorate-seed: {seed}\r\n\
             accept: text/plain\r\ncontent-length: 5\r\n\r\nhello"
        )
    );
    assert!(heard.requests[1].starts_with("GET / HTTP/1.1\r\n"));
    assert!(!heard.requests[1].contains("content-length"));
    assert_eq!(heard.connections, 1, "the connection is used again");
}

#[tokio::test]
async fn of_an_answer_the_covered_fields_are_kept() {
    let text = "HTTP/1.1 303 See Other\r\nDate: now\r\nServer: s\r\nSet-Cookie: a=1\r\n\
                X-Total: 1\r\nx-total:  2\t\r\nLocation: /next\r\nSet-Cookie: b=2\r\n\
                Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n";
    let answer = answer_to(text, rules()).await.unwrap();
    let fields = |list: &[(&str, &str)]| {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let expected: Vec<(String, String)> = fields(&[
        ("location", "/next"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-total", "1, 2"),
    ]);
    assert_eq!((answer.status, &answer.body[..]), (303, &b"abc"[..]));
    assert_eq!(answer.fields, expected);
    let volatile = Rules { volatile: vec!["set-cookie".to_owned()], ..rules() };
    let answer = answer_to(text, volatile).await.unwrap();
    assert_eq!(answer.fields, fields(&[("location", "/next"), ("x-total", "1, 2")]));
}

#[tokio::test]
async fn json_is_put_into_one_spelling_where_that_is_asked_for() {
    let text = "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\n\
                Content-Length: 16\r\n\r\n{\"b\": 1, \"a\":2}\n";
    let plain = answer_to(text, rules()).await.unwrap();
    assert_eq!(&plain.body[..], b"{\"b\": 1, \"a\":2}\n");
    let canonical = Rules { canonical_json: true, ..rules() };
    assert_eq!(&answer_to(text, canonical).await.unwrap().body[..], b"{\"a\":2,\"b\":1}");
}

#[tokio::test]
async fn an_answer_that_no_proof_can_cover_is_an_answer_all_the_same() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(5000));
    let (long, endless) =
        (answer_to(long, rules()).await.unwrap(), answer_to(endless, rules()).await.unwrap());
    assert_eq!(long, endless, "whatever it held, it is one byte too long");
    assert_eq!(long.body.len(), 1001);
    let whole = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(1000));
    assert_eq!(answer_to(whole, rules()).await.unwrap().body.len(), 1000);
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        assert_eq!(answer_to(text, rules()).await, Ok(Response::new(UNCOVERABLE)), "{text}");
    }
    let odd = answer_to("HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", rules()).await;
    assert_eq!(odd.map(|answer| answer.status), Ok(799), "left to the replica to refuse");
}

#[tokio::test]
async fn interim_answers_are_passed_over_and_silent_ones_have_no_content() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let answer = answer_to(text, rules()).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n".to_vec();
    let fake = Fake::start(move |_, _| Deed::Say(head.clone())).await;
    let mut copy = copy_of(&fake, rules());
    let answer = copy.call(&call("HEAD", "/", "")).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn each_way_of_giving_no_answer_has_its_code() {
    let code = |answer: Result<Response, NoAnswer>| answer.map_err(|none| none.code());
    let broken = [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ];
    for text in broken {
        assert_eq!(code(answer_to(text, rules()).await), Err("copy-broke-off"), "{text:?}");
    }
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for text in
        ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "{}\r\n\r\n", &huge]
    {
        let text_shown = &text[..text.len().min(40)];
        assert_eq!(code(answer_to(text, rules()).await), Err("copy-garbage"), "{text_shown:?}");
    }
    let hanging = Fake::start(|_, _| Deed::Hang).await;
    let none = copy_of(&hanging, rules()).call(&call("GET", "/", "")).await.unwrap_err();
    assert_eq!((none.code(), none.may_have_arrived()), ("copy-timed-out", true));
    let slow = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc".to_vec();
    let slow = Fake::start(move |_, _| Deed::Say(slow.clone())).await;
    assert_eq!(
        code(copy_of(&slow, rules()).call(&call("GET", "/", "")).await),
        Err("copy-timed-out")
    );
    let nobody = OwnCopy::new(Endpoint::parse("127.0.0.1:1").unwrap(), rules());
    let none = { nobody }.call(&call("GET", "/", "")).await.unwrap_err();
    assert_eq!((none.code(), none.may_have_arrived()), ("copy-unreachable", false));
}

#[tokio::test]
async fn a_request_that_may_have_been_read_is_never_sent_again() {
    let fake = Fake::start(|_, before| match before {
        0 => Deed::Say(ok("1")),
        1 => Deed::SayAndClose(Vec::new()),
        _ => Deed::SayAndClose(ok("3")),
    })
    .await;
    let mut copy = copy_of(&fake, rules());
    assert_eq!(&copy.call(&call("GET", "/1", "")).await.unwrap().body[..], b"1");
    assert!(copy.call(&call("GET", "/2", "")).await.is_err());
    for third in ["/3", "/4", "/5"] {
        // The copy closes after each answer: a new connection, and no request lost for it.
        assert_eq!(&copy.call(&call("GET", third, "")).await.unwrap().body[..], b"3");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lines = ["/1", "/2", "/3", "/4", "/5"].map(|path| format!("GET {path} HTTP/1.1"));
    assert_eq!(fake.lines(), lines);
    assert_eq!(fake.heard.lock().unwrap().connections, 4);
}

#[tokio::test]
async fn what_cannot_be_sent_has_an_answer_that_is_the_same_everywhere() {
    let fake = Fake::start(|_, _| Deed::Say(ok("1"))).await;
    let mut copy = copy_of(&fake, rules());
    for own in ["/reset", "/a/../RESET/", "//%72ese%74?x", "/./reset;a"] {
        let answer = copy.call(&call("POST", own, "")).await.unwrap();
        assert_eq!(answer.status, 403, "{own}");
    }
    for unwritable in [("CONNECT", "/"), ("GET", "/\u{7f}")] {
        let answer = copy.call(&call(unwritable.0, unwritable.1, "")).await.unwrap();
        assert_eq!(answer.status, 400, "{unwritable:?}");
    }
    assert!(fake.lines().is_empty());
    // Every byte that a gateway lets through in a target reaches the copy as it is.
    let target: String =
        (b'!'..=b'~').filter(|byte| !b"#?<>`\"".contains(byte)).map(char::from).collect();
    let target = format!("/{target}\"?{target}`?");
    assert_eq!(copy.call(&call("GET", &target, "")).await.unwrap().status, 200);
    assert_eq!(fake.lines(), [format!("GET {target} HTTP/1.1")]);
}
