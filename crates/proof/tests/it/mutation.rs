//! Every one-byte change of a saved exchange.
//!
//! A change either makes the verdict fail, or stands in a byte that no signature covers and that
//! changes nothing: which bytes these are, and what they may become, is said here exactly, and a
//! change that survives without being listed fails the test, as does a listed one that does not.

use crate::example::{POLICY, REQUEST, RESPONSE, judge, judge_by};
use quorate_proof::{Policy, Verdict};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Set(u8),
    Delete,
    Double,
}

fn changed(file: &[u8], at: usize, change: Change) -> Vec<u8> {
    let mut file = file.to_vec();
    match change {
        Change::Set(byte) => file[at] = byte,
        Change::Delete => {
            file.remove(at);
        }
        Change::Double => file.insert(at, file[at]),
    }
    file
}

/// Where a byte stands in a message, as far as it matters to what it may become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Bound by a hash, a signature or the form of the file.
    Bound,
    /// A field's name that is looked for: letters may change case.
    Name,
    /// The name of a field that nobody looks for: any token.
    FreeName { first: bool, length: usize },
    /// The colon after such a name.
    FreeColon,
    /// The colon of a field that must stand, but whose value does not matter.
    HostColon,
    /// The blank between colon and value.
    Blank,
    /// A value that nobody looks at, or the reason phrase.
    FreeValue,
    /// The blank before the reason phrase.
    ReasonBlank,
}

/// Fields that the verifier ignores: the exchange does not cover them, and no rule asks for them.
const FREE: [&str; 3] = ["User-Agent", "Link", "Server-Timing"];

fn places(file: &[u8]) -> Vec<Place> {
    let mut places = vec![Place::Bound; file.len()];
    let end = file.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut at = 0;
    for (number, line) in file[..end].split(|&byte| byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).unwrap().trim_end_matches('\r');
        let spot = &mut places[at..at + line.len()];
        at += line.len() + 2;
        if number == 0 {
            if let Some(reason) = line.strip_prefix("HTTP/1.1 201 ") {
                let start = line.len() - reason.len();
                spot[start..].fill(Place::FreeValue);
                spot[start - 1] = Place::ReasonBlank;
            }
            continue;
        }
        let colon = line.find(": ").unwrap();
        let name = &line[..colon];
        spot[..colon].fill(Place::Name);
        spot[colon + 1] = Place::Blank;
        if name == "Host" {
            spot[colon] = Place::HostColon;
            spot[colon + 1..].fill(Place::FreeValue);
        }
        if FREE.contains(&name) {
            spot[..colon].fill(Place::FreeName { first: false, length: colon });
            spot[0] = Place::FreeName { first: true, length: colon };
            spot[colon] = Place::FreeColon;
            spot[colon + 1..].fill(Place::FreeValue);
        }
    }
    places
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80
}

/// Whether a change leaves the verdict as it was, by the place in which it stands.
fn survives(place: Place, before: u8, change: Change) -> bool {
    match (place, change) {
        (Place::Bound, _) => false,
        (Place::Name, Change::Set(byte)) => byte.eq_ignore_ascii_case(&before),
        (Place::Name, _) => false,
        // A colon inside a name makes the rest of it part of the value.
        (Place::FreeName { first, .. }, Change::Set(byte)) => {
            is_token(byte) || (byte == b':' && !first)
        }
        (Place::FreeName { length, .. }, Change::Delete) => length > 1,
        (Place::FreeName { .. }, Change::Double) => true,
        (Place::FreeColon | Place::HostColon, change) => change == Change::Double,
        (Place::Blank, Change::Set(byte)) => byte == b'\t',
        (Place::Blank, Change::Delete | Change::Double) => true,
        (Place::FreeValue, Change::Set(byte)) => is_value(byte),
        (Place::FreeValue, Change::Delete | Change::Double) => true,
        (Place::ReasonBlank, change) => change == Change::Double,
    }
}

/// What may become of the policy without touching the verdict: blanks, which separate whatever
/// their number; log lines of replicas whose log did not sign, which may become comments; and the
/// threshold, which may become smaller. All of these are the verifier's own file.
fn policy_survives(at: usize, change: Change) -> bool {
    let text = POLICY.as_bytes();
    let starts_line = at == 0 || text[at - 1] == b'\n';
    let threshold = POLICY.find("replicas 3").unwrap() + "replicas ".len();
    match (text[at], change) {
        (b' ', Change::Set(byte)) => byte == b'\t',
        (b' ' | b'\n', Change::Double) => true,
        (b'l', Change::Set(b'#')) => starts_line && at != 0,
        (b'3', Change::Set(b'1' | b'2')) => at == threshold,
        _ => false,
    }
}

/// All bytes, or those that are likely to be mistaken for what stands there.
fn bytes(before: u8, all: bool) -> Vec<u8> {
    if all {
        return (0..=255).filter(|&byte| byte != before).collect();
    }
    let mut bytes: Vec<u8> = (0..8).map(|bit| before ^ (1 << bit)).collect();
    bytes.extend(b"\0\t\n\r #:=0129Aa+/\x7f\x80\xff");
    bytes.sort_unstable();
    bytes.dedup();
    bytes.retain(|&byte| byte != before);
    bytes
}

fn sweep(file: &[u8], all: bool, listed: impl Fn(usize, Change) -> bool, whole: impl Judge) {
    let right = judge(POLICY.as_bytes(), REQUEST, RESPONSE).unwrap();
    let mut survivors = 0;
    for at in 0..file.len() {
        let set = bytes(file[at], all).into_iter().map(Change::Set);
        for change in set.chain([Change::Delete, Change::Double]) {
            let verdict = whole.judge(&changed(file, at, change));
            let expected = listed(at, change);
            survivors += usize::from(expected);
            match verdict {
                Ok(verdict) => {
                    assert!(expected, "byte {at} survives {change:?}");
                    assert_eq!(verdict, right, "byte {at}, {change:?}");
                }
                Err(code) => assert!(!expected, "byte {at} does not survive {change:?}: {code}"),
            }
        }
    }
    assert!(survivors > 0);
}

trait Judge {
    fn judge(&self, file: &[u8]) -> Result<Verdict, String>;
}

impl<F: Fn(&[u8]) -> Result<Verdict, String>> Judge for F {
    fn judge(&self, file: &[u8]) -> Result<Verdict, String> {
        self(file)
    }
}

fn sweep_request(all: bool) {
    let policy = Policy::parse(POLICY).unwrap();
    let places = places(REQUEST);
    sweep(
        REQUEST,
        all,
        |at, change| survives(places[at], REQUEST[at], change),
        |file: &[u8]| judge_by(&policy, file, RESPONSE),
    );
}

fn sweep_response(all: bool) {
    let policy = Policy::parse(POLICY).unwrap();
    let places = places(RESPONSE);
    sweep(
        RESPONSE,
        all,
        |at, change| survives(places[at], RESPONSE[at], change),
        |file: &[u8]| judge_by(&policy, REQUEST, file),
    );
}

fn sweep_policy(all: bool) {
    sweep(POLICY.as_bytes(), all, policy_survives, |file: &[u8]| judge(file, REQUEST, RESPONSE));
}

#[test]
fn a_byte_of_the_request_is_bound_or_listed() {
    sweep_request(false);
}

#[test]
fn a_byte_of_the_response_is_bound_or_listed() {
    sweep_response(false);
}

#[test]
fn a_byte_of_the_policy_is_bound_or_listed() {
    sweep_policy(false);
}

#[test]
#[ignore = "slow"]
fn every_byte_of_all_three_files_set_to_every_value_slow() {
    std::thread::scope(|scope| {
        scope.spawn(|| sweep_request(true));
        scope.spawn(|| sweep_response(true));
        sweep_policy(true);
    });
}

#[test]
fn every_byte_of_a_proof_that_holds_a_smallest_quorum_is_bound() {
    let mut sealed = crate::sealed::Sealed::default();
    let proof = sealed.proof().into_bytes();
    for at in 0..proof.len() {
        let set = bytes(proof[at], false).into_iter().map(Change::Set);
        for change in set.chain([Change::Delete, Change::Double]) {
            let Ok(text) = String::from_utf8(changed(&proof, at, change)) else { continue };
            assert!(sealed.outcome_of(&text).is_err(), "byte {at} survives {change:?}");
        }
    }
}
