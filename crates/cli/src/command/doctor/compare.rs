//! Two answers that should be equal, field by field.

use super::cause::Cause;
use quorate_node::host::canonical;
use quorate_types::Response;
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// The most differences that are told of one answer.
const TOLD_MAX: usize = 64;

/// The most characters of a value that are shown.
const SHOWN_MAX: usize = 60;

/// One way in which two answers differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Difference {
    /// Where.
    pub(super) place: Place,
    /// Why, as it seems.
    pub(super) cause: Cause,
    /// What each copy says there, shortened.
    pub(super) values: [String; 2],
}

/// A part of an answer.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Place {
    /// All of it: there is no answer.
    Answer,
    /// The status.
    Status,
    /// A covered field, by its name.
    Field(String),
    /// JSON content, by the path: `$.items[2].created_at`.
    Json(String),
    /// Other content, from this byte on.
    Byte(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => f.write_str("the answer"),
            Self::Status => f.write_str("the status"),
            Self::Field(name) => f.write_str(name),
            Self::Json(path) => f.write_str(path),
            Self::Byte(at) => write!(f, "the content from byte {at} on"),
        }
    }
}

impl Place {
    /// The same for all elements of an array, so that what differs in each is told once.
    pub(super) fn without_positions(&self) -> Self {
        let Self::Json(path) = self else { return self.clone() };
        let mut out = String::with_capacity(path.len());
        let mut pieces = path.split('[');
        out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            out.push('[');
            match piece.split_once(']') {
                Some((position, rest)) if position.bytes().all(|byte| byte.is_ascii_digit()) => {
                    out.push_str("*]");
                    out.push_str(rest);
                }
                _ => out.push_str(piece),
            }
        }
        Self::Json(out)
    }
}

/// What a copy said: an answer, or why there is none.
pub(super) type Said = Result<Response, String>;

/// All ways in which two copies' answers differ; their ports are told apart from other numbers.
pub(super) fn compare(a: &Said, b: &Said, ports: [u16; 2]) -> Vec<Difference> {
    let (Ok(a), Ok(b)) = (a, b) else {
        let word = |said: &Said| match said {
            Ok(response) => format!("status {}", response.status),
            Err(reason) => shown(reason),
        };
        // Silence agrees with nothing, not even with silence.
        return vec![Difference {
            place: Place::Answer,
            cause: Cause::Silence,
            values: [word(a), word(b)],
        }];
    };
    let mut differences = Vec::new();
    if a.status != b.status {
        differences.push(Difference {
            place: Place::Status,
            cause: Cause::Unknown,
            values: [a.status.to_string(), b.status.to_string()],
        });
    }
    compare_fields(a, b, ports, &mut differences);
    compare_contents(a, b, ports, &mut differences);
    differences.truncate(TOLD_MAX);
    differences
}

fn compare_fields(a: &Response, b: &Response, ports: [u16; 2], out: &mut Vec<Difference>) {
    let by_name = |response: &Response| {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &response.fields {
            fields.entry(name.clone()).or_default().push(value.clone());
        }
        fields
    };
    let (a, b) = (by_name(a), by_name(b));
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (a, b) = (a.get(name), b.get(name));
        if a == b {
            continue;
        }
        let text = |values: Option<&Vec<String>>| values.map(|values| values.join(" | "));
        let cause = match (text(a), text(b)) {
            _ if name == "set-cookie" => Cause::Session,
            (Some(a), Some(b)) => Cause::of_texts(&a, &b, ports),
            _ => Cause::Unknown,
        };
        let word = |values| text(values).map_or("absent".to_owned(), |text| shown(&text));
        let place = Place::Field(name.clone());
        out.push(Difference { place, cause, values: [word(a), word(b)] });
    }
}

fn compare_contents(a: &Response, b: &Response, ports: [u16; 2], out: &mut Vec<Difference>) {
    if a.body == b.body {
        return;
    }
    let json = |response: &Response| serde_json::from_slice::<Value>(&response.body).ok();
    if let (Some(x), Some(y)) = (json(a), json(b)) {
        let before = out.len();
        compare_json("$", &x, &y, ports, out);
        let one_spelling = canonical(&a.body).is_some_and(|a| Some(a) == canonical(&b.body));
        // The same value in another spelling: of the whole, or of a number or a string in it.
        let cause = if one_spelling { Cause::Spelling } else { Cause::Unknown };
        if out.len() > before {
            return;
        }
        let place = Place::Json("$".to_owned());
        out.push(Difference { place, cause, values: [text(&a.body, 0), text(&b.body, 0)] });
        return;
    }
    let at = a.body.iter().zip(&b.body).take_while(|(a, b)| a == b).count();
    let from = at.saturating_sub(10);
    let values = [text(&a.body, from), text(&b.body, from)];
    let lines = |body: &[u8]| {
        let mut lines: Vec<Vec<u8>> =
            body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    let cause = if lines(&a.body) == lines(&b.body) {
        Cause::Order
    } else {
        let [a, b] = [word_at(&a.body, at), word_at(&b.body, at)];
        Cause::of_texts(&a, &b, ports)
    };
    out.push(Difference { place: Place::Byte(at), cause, values });
}

fn compare_json(path: &str, a: &Value, b: &Value, ports: [u16; 2], out: &mut Vec<Difference>) {
    if out.len() >= TOLD_MAX || a == b {
        return;
    }
    let cause = match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let path = format!("{path}{}", member(name));
                match (x.get(name), y.get(name)) {
                    (Some(x), Some(y)) => compare_json(&path, x, y, ports, out),
                    (x, y) => {
                        let word = |value: Option<&Value>| {
                            value.map_or("absent".to_owned(), |value| shown(&value.to_string()))
                        };
                        out.push(Difference {
                            place: Place::Json(path),
                            cause: Cause::Unknown,
                            values: [word(x), word(y)],
                        });
                    }
                }
            }
            return;
        }
        (Value::Array(x), Value::Array(y)) if is_reordered(x, y) => Cause::Order,
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (position, (x, y)) in x.iter().zip(y).enumerate() {
                compare_json(&format!("{path}[{position}]"), x, y, ports, out);
            }
            return;
        }
        _ => Cause::of_scalars(a, b, ports),
    };
    let values = [shown(&a.to_string()), shown(&b.to_string())];
    out.push(Difference { place: Place::Json(path.to_owned()), cause, values });
}

/// Whether two arrays hold the same elements.
fn is_reordered(a: &[Value], b: &[Value]) -> bool {
    let sorted = |values: &[Value]| {
        let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

/// A member's name in a path: `.name`, or `["a name"]` where it is no word.
fn member(name: &str) -> String {
    let is_word = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    if is_word(name) { format!(".{name}") } else { format!("[{}]", Value::from(name)) }
}

/// The word that a byte stands in.
fn word_at(body: &[u8], at: usize) -> String {
    let is_of_word = |byte: &u8| !byte.is_ascii_whitespace() && !b"<>\"'(),;".contains(byte);
    let at = at.min(body.len());
    let before = body[..at].iter().rev().take_while(|byte| is_of_word(byte)).count();
    let after = body[at..].iter().take_while(|byte| is_of_word(byte)).count();
    String::from_utf8_lossy(&body[at - before..at + after]).into_owned()
}

fn text(body: &[u8], from: usize) -> String {
    shown(&String::from_utf8_lossy(&body[from.min(body.len())..]))
}

/// A value in one line, shortened.
fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        out.push_str("..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [u16; 2] = [9000, 9001];

    fn json(body: &str) -> Said {
        Ok(Response::new(200).with_body("application/json", body.to_owned()))
    }

    fn places(a: &Said, b: &Said) -> Vec<(String, Cause)> {
        let differences = compare(a, b, PORTS).into_iter();
        differences.map(|one| (one.place.to_string(), one.cause)).collect()
    }

    #[test]
    fn equal_answers_differ_nowhere() {
        assert_eq!(places(&json("{\"a\":1}"), &json("{\"a\":1}")), []);
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let a = "{\"items\":[{\"at\":\"2026-01-01\"},{\"at\":\"2026-01-01\"}],\"a b\":1,\"n\":0}";
        let b = "{\"items\":[{\"at\":\"2026-01-01\"},{\"at\":\"2026-01-02\"}],\"a b\":2}";
        let expected = [
            ("$[\"a b\"]".to_owned(), Cause::Unknown),
            ("$.items[1].at".to_owned(), Cause::Time),
            ("$.n".to_owned(), Cause::Unknown),
        ];
        assert_eq!(places(&json(a), &json(b)), expected);
        let place = Place::Json("$.items[1][\"a[0]\"].at[22]".to_owned());
        assert_eq!(place.without_positions().to_string(), "$.items[*][\"a[*]\"].at[*]");
    }

    #[test]
    fn other_orders_and_spellings_are_told_from_other_values() {
        let one = |a, b| places(&json(a), &json(b));
        assert_eq!(one("{\"t\":[1,2]}", "{\"t\":[2,1]}"), [("$.t".to_owned(), Cause::Order)]);
        let spelled = [("$".to_owned(), Cause::Spelling)];
        assert_eq!(one("{\"a\":1,\"b\":2}", "{\"b\":2, \"a\":1}"), spelled);
        // No spelling of ours changes how a string is escaped.
        assert_eq!(one("\"a\"", "\"\\u0061\""), [("$".to_owned(), Cause::Unknown)]);
        assert_eq!(one("[1]", "[1,2]"), [("$".to_owned(), Cause::Unknown)]);
    }

    #[test]
    fn statuses_fields_texts_and_silence_are_compared() {
        let plain = |status, body: &str, etag: &str| -> Said {
            let response = Response::new(status).with_body("text/plain", body.to_owned());
            Ok(response.with_field("etag", etag))
        };
        let a = plain(200, "hello 2026-01-31 world", "\"12345678\"");
        let b = plain(201, "hello 2026-02-01 world", "\"12345679\"");
        let expected = [
            ("the status".to_owned(), Cause::Unknown),
            ("etag".to_owned(), Cause::Random),
            ("the content from byte 12 on".to_owned(), Cause::Time),
        ];
        assert_eq!(places(&a, &b), expected);
        assert_eq!(places(&a, &Err("timed out".to_owned()))[0].1, Cause::Silence);
        let silent: Said = Err("timed out".to_owned());
        assert_eq!(places(&silent, &silent)[0].0, "the answer");
        let cookie = |value| Ok(Response::new(200).with_field("set-cookie", value));
        let expected = [("set-cookie".to_owned(), Cause::Session)];
        assert_eq!(places(&cookie("s=1"), &cookie("s=2")), expected);
        let (a, b) = (plain(200, "x\ny", "\"1\""), plain(200, "y\nx", "\"1\""));
        assert_eq!(places(&a, &b)[0].1, Cause::Order);
    }
}
