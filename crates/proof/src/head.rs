//! The head as text: three lines that a log's replicas sign.

use crate::text::{base64_array, number, push_base64, push_number};
use quorate_types::{Digest, Head};

/// Origin, size and root, each newline-ended: the body of a C2SP checkpoint.
#[must_use]
pub fn head_text(origin: &str, head: &Head) -> String {
    let mut out = String::with_capacity(origin.len() + 68);
    out.push_str(origin);
    out.push('\n');
    push_number(&mut out, head.size);
    out.push('\n');
    push_base64(&mut out, &head.root.0);
    out.push('\n');
    out
}

/// Reads exactly three lines: the origin as it stands, and the head.
pub(crate) fn parse_head(text: &str) -> Option<(&str, Head)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let origin = lines.next().filter(|origin| !origin.is_empty())?;
    let size = number(lines.next()?)?;
    let root = Digest(base64_array(lines.next()?)?);
    lines.next().is_none().then_some((origin, Head { size, root }))
}
