//! The small canonical forms: numbers, base64, digests, tokens.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_types::{Digest, Salt};

/// Appends standard base64 with padding.
pub(crate) fn push_base64(out: &mut String, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}

/// Standard base64 with padding and zero pad bits; the one encoding of the bytes, or nothing.
pub(crate) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The longest array that is read from base64: signatures have 64 bytes.
const ARRAY_BYTES_MOST: usize = 96;

/// Base64 of exactly `N` bytes.
pub(crate) fn base64_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    const { assert!(N <= ARRAY_BYTES_MOST) };
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    let mut bytes = [0; ARRAY_BYTES_MOST];
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}

/// Appends `sha-256=:..:`, an RFC 9530 dictionary of one member.
pub(crate) fn push_digest(out: &mut String, digest: &Digest) {
    out.push_str("sha-256=:");
    push_base64(out, &digest.0);
    out.push(':');
}

/// A digest as `sha-256=:..:`, the value of `Content-Digest` (RFC 9530) and `Quorate-State`.
#[must_use]
pub fn digest_value(digest: &Digest) -> String {
    let mut out = String::with_capacity(54);
    push_digest(&mut out, digest);
    out
}

/// A salt as `:..:`, an RFC 8941 byte sequence: the value of `Quorate-Salt`.
#[must_use]
pub fn salt_value(salt: &Salt) -> String {
    let mut out = String::with_capacity(26);
    push_byte_sequence(&mut out, &salt.0);
    out
}

/// Appends `:..:`, an RFC 8941 byte sequence.
pub(crate) fn push_byte_sequence(out: &mut String, bytes: &[u8]) {
    out.push(':');
    push_base64(out, bytes);
    out.push(':');
}

/// The text between the colons of a byte sequence.
pub(crate) fn byte_sequence(text: &str) -> Option<&str> {
    text.strip_prefix(':')?.strip_suffix(':')
}

/// Reads `sha-256=:..:`.
pub(crate) fn digest_of_value(text: &str) -> Option<Digest> {
    base64_array(byte_sequence(text.strip_prefix("sha-256=")?)?).map(Digest)
}

/// Appends a number in decimal, without allocating.
pub(crate) fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// A decimal below 2^63 without leading zeros, signs or blanks.
pub(crate) fn number(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let plain =
        bytes.iter().all(u8::is_ascii_digit) && (bytes.first() != Some(&b'0') || bytes == b"0");
    // 2^63 - 1 has nineteen digits, so that a u64 holds whatever passes here.
    if !plain || bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    text.parse().ok().filter(|&number: &u64| number < 1 << 63)
}

/// RFC 9110 section 5.6.2: a method or a field name.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A field name in the form that HTTP/2 sends and signature bases use.
pub(crate) fn is_lower_token(text: &str) -> bool {
    is_token(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Without the outer blanks (SP and HTAB) that HTTP does not count as part of a value.
pub(crate) fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// ASCII without controls, HTAB aside, and without outer blanks: a value as an exchange holds it.
pub(crate) fn is_covered_value(value: &str) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    bytes.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte))
        && !is_blank(bytes.first())
        && !is_blank(bytes.last())
}

/// A C2SP key name: not empty, no Unicode blank, no `+`, no control character.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c < ' ' || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling_and_stays_below_two_to_the_63() {
        for right in [0, 1, 9, 10, 617, (1 << 63) - 1] {
            let mut text = String::new();
            push_number(&mut text, right);
            assert_eq!(text, right.to_string());
            assert_eq!(number(&text), Some(right));
        }
        for wrong in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "9223372036854775808"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
        assert_eq!(number("18446744073709551616"), None);
        let mut most = String::new();
        push_number(&mut most, u64::MAX);
        assert_eq!(most, u64::MAX.to_string());
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64_bytes("AAE="), Some(vec![0, 1]));
        for wrong in ["AAE", "AAF=", "AAE==", "AA E=", "AAE=\n", "AAE=AAE=", "A", "__8="] {
            assert_eq!(base64_bytes(wrong), None, "{wrong:?}");
        }
        assert_eq!(base64_array::<2>("AAECAwQF"), None);
    }
}
