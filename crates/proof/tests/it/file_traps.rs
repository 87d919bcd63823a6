//! What a saved request and response may not be.

use crate::{
    example::{POLICY, REQUEST, RESPONSE, judge},
    sealed::{Draft, field},
};
use quorate_proof::{
    ReceivedResponse, SentRequest, parse_request, parse_response, write_request, write_response,
};
use quorate_types::Response;

fn request(from: &str, to: &str) -> Result<usize, String> {
    outcome(&replaced(REQUEST, from, to), RESPONSE)
}

fn response(from: &str, to: &str) -> Result<usize, String> {
    outcome(REQUEST, &replaced(RESPONSE, from, to))
}

fn outcome(request: &[u8], response: &[u8]) -> Result<usize, String> {
    judge(POLICY.as_bytes(), request, response).map(|verdict| verdict.signers)
}

fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(file.to_vec()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn refused(outcome: Result<usize, String>, code: &str) {
    assert_eq!(outcome, Err(code.to_owned()));
}

#[test]
fn start_lines_say_http_1_1() {
    for version in ["HTTP/1.0", "HTTP/2", "http/1.1", "HTTP/1.1 ", " HTTP/1.1", ""] {
        refused(request("HTTP/1.1", version), "file-start-line");
    }
    for start in ["HTTP/1.0 201 Created", "HTTP/2 201 ", "HTTP/1.1 201", "HTTP/1.1  201 Created"] {
        refused(response("HTTP/1.1 201 Created", start), "file-start-line");
    }
    for status in ["0201", "20", "2O1", "+21", "600", "099", "000"] {
        refused(response(" 201 ", &format!(" {status} ")), "file-start-line");
    }
    assert_eq!(response("Created", ""), Ok(3));
    assert_eq!(response("Created", "Whatever, really"), Ok(3));
}

#[test]
fn a_target_is_in_origin_form_without_fragment() {
    for target in ["http://shop.example/orders", "*", "shop.example:80", "/orders#a", "orders"] {
        refused(request("/orders", target), "file-start-line");
    }
    for target in ["/orders?", "/orders/", "/orders?a", "//orders", "/%6frders"] {
        let expected = if target == "/orders?" { Ok(3) } else { Err("not-in-log".to_owned()) };
        assert_eq!(request("/orders", target), expected, "{target}");
    }
}

#[test]
fn an_interim_response_is_refused() {
    for status in ["100", "103", "199"] {
        refused(response(" 201 ", &format!(" {status} ")), "file-interim");
    }
    let both = [b"HTTP/1.1 100 Continue\r\n\r\n", RESPONSE].concat();
    refused(outcome(REQUEST, &both), "file-interim");
}

#[test]
fn lines_end_with_cr_and_lf() {
    refused(request("\r\n\r\n", "\n\n"), "file-truncated");
    refused(request("\r\nHost", "\nHost"), "file-header-line");
    refused(request("\r\nHost", "\rHost"), "file-header-line");
    refused(response("\r\nLink", "\nLink"), "file-header-line");
    refused(response("\r\nLink", "\r\r\nLink"), "file-header-line");
    refused(outcome(b"", RESPONSE), "file-truncated");
    refused(outcome(REQUEST, b"\r\n\r\n"), "file-start-line");
    refused(outcome(REQUEST, b"HTTP/1.1 200 OK\r\n"), "file-truncated");
}

#[test]
fn a_header_line_is_a_name_a_colon_and_a_value() {
    for line in
        ["Folded\r\n : a", "No colon", ": nameless", "Blank : a", "B(d: a", "N: \0", "N\0: a"]
    {
        refused(request("User-Agent: quorate", line), "file-header-line");
        refused(response("Link: <", &format!("{line}\r\nLink: <")), "file-header-line");
    }
    // A folded continuation of a covered field and of an uncovered one.
    refused(response("no-store, no", "no-store,\r\n no"), "file-header-line");
    refused(response("\"describedby\"; ", "\"describedby\";\r\n\t"), "file-header-line");
}

#[test]
fn a_request_has_exactly_one_host_whose_value_does_not_matter() {
    refused(request("Host: shop.example\r\n", ""), "file-host");
    refused(request("Host: ", "Host: a\r\nhost: "), "file-host");
    assert_eq!(request("shop.example", "127.0.0.1:7400"), Ok(3));
    assert_eq!(request("shop.example", ""), Ok(3));
    assert_eq!(response("Link", "Host: a\r\nHost: b\r\nLink"), Ok(3));
}

#[test]
fn content_has_its_length_and_nothing_behind_it() {
    for value in ["21", "23", "", "022", "+22", "22, 22", "22 22", "18446744073709551638"] {
        refused(request("Length: 22", &format!("Length: {value}")), "file-content-length");
    }
    refused(request("Content-Length: 22\r\n", ""), "file-content-length");
    refused(
        request("Content-Length: 22", "Content-Length: 22\r\ncontent-length: 22"),
        "file-content-length",
    );
    refused(response("Content-Length: 33\r\n", ""), "file-content-length");
    refused(outcome(&[REQUEST, b"\n"].concat(), RESPONSE), "file-content-length");
    refused(outcome(REQUEST, &[RESPONSE, b"\0"].concat()), "file-content-length");
    refused(outcome(REQUEST, &RESPONSE[..RESPONSE.len() - 1]), "file-content-length");
}

#[test]
fn a_transfer_coding_is_refused() {
    for line in ["Transfer-Encoding: chunked\r\n", "transfer-encoding: identity\r\n"] {
        refused(request("User-", &format!("{line}User-")), "file-transfer-encoding");
        refused(response("Link", &format!("{line}Link")), "file-transfer-encoding");
    }
}

#[test]
fn covered_fields_stand_once_in_files_too() {
    for name in ["cookie", "Cookie"] {
        let line = format!("{name}: a=b\r\n");
        refused(request("User-", &format!("{line}{line}User-")), "field-repeated");
    }
    refused(response("Link", "Location: /orders/42\r\nLink"), "field-repeated");
    refused(response("Link", "Content-Encoding: gzip\r\nLink"), "content-coded");
    refused(request("User-", "Content-Encoding: gzip\r\nUser-"), "content-coded");
    refused(response("Link", "Content-Range: bytes 0-1/2\r\nLink"), "content-partial");
}

#[test]
fn what_has_no_content_may_say_any_length() {
    for (method, status) in [("HEAD", 200), ("PUT", 204), ("GET", 304)] {
        let mut draft = Draft::default();
        draft.request.method = method.to_owned();
        draft.response = Response::new(status);
        let sealed = draft.seal();
        let sent = write_request(&sealed.sent, "127.0.0.1");
        for line in ["", "Content-Length: 0\r\n", "Content-Length: 42\r\n", "Content-Length: x\r\n"]
        {
            let mut file = write_response(&sealed.received, method);
            file.truncate(file.len() - 2);
            file.extend_from_slice(format!("{line}\r\n").as_bytes());
            let judged = judge(sealed.policy.as_bytes(), &sent, &file);
            assert_eq!(judged.map(|verdict| verdict.signers), Ok(3), "{method} {status} {line}");
            file.push(b'x');
            let judged = judge(sealed.policy.as_bytes(), &sent, &file);
            assert_eq!(judged.map(|_| ()), Err("file-content-length".to_owned()));
        }
    }
}

#[test]
fn an_exchange_that_is_written_is_read_back() {
    let sealed = Draft::default().seal();
    let request = write_request(&sealed.sent, "shop.example");
    let response = write_response(&sealed.received, &sealed.sent.method);
    let verdict = judge(sealed.policy.as_bytes(), &request, &response).unwrap();
    assert_eq!(verdict, sealed.verdict().unwrap());
}

#[test]
fn a_writer_replaces_what_frames_a_message() {
    let sent = SentRequest {
        method: "GET".to_owned(),
        path: "/a".to_owned(),
        query: "?b".to_owned(),
        fields: vec![
            field("host", "other"),
            field("Content-Length", "9"),
            field("transfer-encoding", "chunked"),
            field("accept", "\u{e9}"),
        ],
        body: Vec::new().into(),
    };
    let file = write_request(&sent, "shop.example");
    assert_eq!(file, b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\naccept: \xe9\r\n\r\n");
    let read = parse_request(&file).unwrap();
    assert_eq!(read.fields, [field("Host", "shop.example"), field("accept", "\u{e9}")]);
    let received = ReceivedResponse {
        status: 200,
        fields: vec![field("connection", "close"), field("etag", "\"1\"")],
        body: Vec::from("hi").into(),
    };
    let file = write_response(&received, "GET");
    assert_eq!(file, b"HTTP/1.1 200 OK\r\netag: \"1\"\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(parse_response(&file, "GET").unwrap().body, received.body);
}
