//! What a cosignature signs: C2SP `cosignature/v1`.

use crate::text::push_number;

/// The bytes that a cosigner signs for a head at a time in whole Unix seconds.
#[must_use]
pub fn cosignature_message(head_text: &str, time_s: u64) -> Vec<u8> {
    let mut out = String::with_capacity(head_text.len() + 48);
    out.push_str("cosignature/v1\ntime ");
    push_number(&mut out, time_s);
    out.push('\n');
    out.push_str(head_text);
    out.into_bytes()
}
