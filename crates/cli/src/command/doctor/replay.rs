//! The requests that both copies are asked.

use crate::failure::Failure;
use bytes::Bytes;
use quorate_proof::Coverage;
use quorate_types::{Request, Salt};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, iter::repeat_n, path::Path, sync::Arc};

/// The most requests of a file.
const REQUESTS_MAX: usize = 100_000;

/// The longest file, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A line of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default = "get")]
    method: String,
    /// With its query.
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text as it is, any other value as JSON.
    #[serde(default)]
    body: Option<Value>,
}

fn get() -> String {
    "GET".to_owned()
}

/// The requests of a file, in its order.
pub(super) fn read(path: &Path, coverage: &Coverage) -> Result<Vec<Request>, Failure> {
    let length = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    if length > FILE_BYTES_MAX {
        let message = format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Failure::usage("replay-malformed", message));
    }
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let requests = parse(&text, coverage).map_err(|reason| {
        Failure::usage("replay-malformed", format!("{}: {reason}", path.display()))
            .hint("a line is {\"method\": \"POST\", \"path\": \"/orders\", \"body\": {..}}")
    })?;
    if requests.is_empty() {
        let message = format!("{} holds no request", path.display());
        return Err(Failure::usage("replay-malformed", message));
    }
    Ok(requests)
}

/// How often each copy is asked what changes nothing: orders that are drawn at random are the same
/// by chance now and then.
const REPEATS: usize = 8;

/// The requests by their positions, in the order in which a copy is asked.
pub(super) fn with_repeats(requests: &[Arc<Request>]) -> Vec<usize> {
    let times = |request: &Request| match request.method.as_str() {
        "GET" | "HEAD" => REPEATS,
        _ => 1,
    };
    let asked = requests.iter().enumerate();
    asked.flat_map(|(position, request)| repeat_n(position, times(request))).collect()
}

/// What is asked where nobody says what clients ask.
pub(super) fn probes() -> Vec<Request> {
    let line = |method: &str, path: &str, body: Option<Value>| Line {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        body,
    };
    let lines = [
        line("GET", "/", None),
        line("HEAD", "/", None),
        line("GET", "/nothing/is?here=", None),
        line("POST", "/nothing/is/here", Some(Value::Object(serde_json::Map::new()))),
        line("GET", "/", None),
    ];
    let coverage = Coverage::default();
    lines.into_iter().map(|line| request(line, &coverage)).collect()
}

fn parse(text: &str, coverage: &Coverage) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = number + 1;
        if requests.len() == REQUESTS_MAX {
            return Err(format!("line {number}: more than {REQUESTS_MAX} requests"));
        }
        let line: Line =
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
        if !line.path.starts_with('/') {
            return Err(format!("line {number}: the path does not begin with a slash"));
        }
        requests.push(request(line, coverage));
    }
    Ok(requests)
}

/// The request as a gateway orders it: fields that no exchange covers do not reach a service.
fn request(line: Line, coverage: &Coverage) -> Request {
    let (path, query) = line.path.split_once('?').unwrap_or((&line.path, ""));
    let mut given: BTreeMap<String, String> = line
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = match line.body {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) => text.into(),
        Some(value) => {
            given.entry("content-type".to_owned()).or_insert("application/json".to_owned());
            value.to_string().into()
        }
    };
    let fields = coverage.request_fields().filter_map(|name| given.remove_entry(name)).collect();
    Request {
        method: line.method,
        path: path.to_owned(),
        query: format!("?{query}"),
        fields,
        body,
        salt: Salt([0; 16]),
        signature: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_what_a_gateway_would_order() {
        let text = "\n{\"path\":\"/a?b=1\",\"headers\":{\"ACCEPT\":\" x/y \",\"X-Own\":\"1\"}}\n\
                    {\"method\":\"POST\",\"path\":\"/\",\"body\":{\"n\":1}}\n\
                    {\"method\":\"PUT\",\"path\":\"/\",\"body\":\"text\"}\n";
        let own = Coverage { request: vec!["x-own".to_owned()], response: Vec::new() };
        assert!(parse(text, &own).unwrap()[0].fields.contains(&("x-own".into(), "1".into())));
        let requests = parse(text, &Coverage::default()).unwrap();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0].method, "GET");
        assert_eq!((requests[0].path.as_str(), requests[0].query.as_str()), ("/a", "?b=1"));
        assert_eq!(requests[0].fields, [("accept".to_owned(), "x/y".to_owned())]);
        assert_eq!(&requests[1].body[..], b"{\"n\":1}");
        assert_eq!(requests[1].fields[0].1, "application/json");
        assert_eq!((&requests[2].body[..], requests[2].fields.len()), (&b"text"[..], 0));
        assert_eq!(requests[2].query, "?");
    }

    #[test]
    fn a_wrong_line_is_named() {
        for wrong in
            ["{\"path\":\"/\",\"more\":1}", "{\"method\":\"GET\"}", "GET /", "{\"path\":\"x\"}"]
        {
            let text = format!("{{\"path\":\"/\"}}\n{wrong}");
            let reason = parse(&text, &Coverage::default()).unwrap_err();
            assert!(reason.starts_with("line 2: "), "{reason}");
        }
    }
}
