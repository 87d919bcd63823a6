//! One spelling of a JSON text, whatever order its writer gave the members of objects.
//!
//! Nothing is read into numbers or strings and written anew: tokens are kept byte for byte, so that
//! no precision is lost and no escape changes. Only the order of members and the blanks between
//! tokens go.

use bytes::Bytes;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// How deep objects and arrays may lie in each other.
const DEPTH_MAX: usize = 64;

/// The text with its objects' members in the order of their names, and without blanks.
///
/// `None` for what is not JSON, has two members of one name in an object, or lies too deep: such a
/// text stays as it is.
#[must_use]
pub fn canonical(text: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(text).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = Vec::with_capacity(text.len());
    let mut scan = Scan { rest: text };
    scan.value(&mut out, 0)?;
    Some(out.into())
}

/// What is left of a text that is known to be JSON.
struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        match self.peek()? {
            _ if depth > DEPTH_MAX => None,
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            _ => {
                out.extend_from_slice(self.token()?.as_bytes());
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let mut members = BTreeMap::new();
        self.skip(1)?;
        while self.peek()? != b'}' {
            let raw = self.token()?;
            // Two spellings of one name are one name.
            let name: String = serde_json::from_str(raw).ok()?;
            let mut member = raw.as_bytes().to_vec();
            member.push(b':');
            self.peek()?;
            self.skip(1)?;
            self.value(&mut member, depth + 1)?;
            if members.insert(name, member).is_some() {
                return None;
            }
            if self.peek()? == b',' {
                self.skip(1)?;
            }
        }
        self.skip(1)?;
        out.push(b'{');
        for (position, member) in members.values().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(member);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.skip(1)?;
        out.push(b'[');
        while self.peek()? != b']' {
            self.value(out, depth + 1)?;
            if self.peek()? == b',' {
                self.skip(1)?;
                out.push(b',');
            }
        }
        self.skip(1)?;
        out.push(b']');
        Some(())
    }

    /// The next byte that is no blank, which is left where it is.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// A string, a number or a word, as it is spelled.
    fn token(&mut self) -> Option<&'a str> {
        let length = match self.peek()? {
            b'"' => string_length(self.rest)?,
            _ => {
                let is_end =
                    |c: char| matches!(c, ',' | ']' | '}' | ':' | ' ' | '\t' | '\n' | '\r');
                self.rest.find(is_end).unwrap_or(self.rest.len())
            }
        };
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(token)
    }
}

/// The bytes of the string that a text begins with, quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        canonical(json.as_bytes()).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn members_stand_in_order_at_every_depth_and_blanks_are_gone() {
        let json = " { \"b\" : [ { \"z\":1, \"a\" : null } , true ],\n\t\"a\":{} , \"\":[] } ";
        assert_eq!(
            text(json).as_deref(),
            Some("{\"\":[],\"a\":{},\"b\":[{\"a\":null,\"z\":1},true]}")
        );
        assert_eq!(text(" \"x, y\" ").as_deref(), Some("\"x, y\""));
        assert_eq!(text("[ 1 , 2 ]").as_deref(), Some("[1,2]"));
    }

    #[test]
    fn numbers_and_strings_keep_their_spelling() {
        let json = "{\"n\":[1.0,1e400,12345678901234567890123,-0],\"s\":\"\\u0061\\\"]}\\\\\"}";
        assert_eq!(text(json).as_deref(), Some(json));
        // Names are ordered by what they say, not by how it is spelled.
        assert_eq!(text("{\"b\":1,\"\\u0061\":2}").as_deref(), Some("{\"\\u0061\":2,\"b\":1}"));
    }

    #[test]
    fn what_has_no_one_meaning_is_left_alone() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(text(&deep(DEPTH_MAX)).is_some());
        assert_eq!(text(&deep(DEPTH_MAX + 2)), None);
        assert_eq!(text(&deep(100_000)), None);
        for wrong in
            ["{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "{", "", "[1,]", "1 2", "{a:1}"]
        {
            assert_eq!(text(wrong), None, "{wrong}");
        }
        assert_eq!(canonical(b"\"\xff\""), None);
    }
}
