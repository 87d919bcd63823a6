//! Paths of a service that are its replica's own, and no client's.

/// Whether a path may lead a server to one of these, however it is written: with escapes, doubled
/// slashes, dots, in another case, or with a slash at its end.
#[must_use]
pub fn leads_to(own: &[String], path: &str) -> bool {
    !own.is_empty() && {
        let path = plain(path);
        own.iter().any(|own| plain(own) == path)
    }
}

/// A path as the most lenient server reads it.
fn plain(path: &str) -> String {
    let decoded = decoded(path).to_lowercase();
    let mut parts = Vec::new();
    for part in decoded.split(['/', '\\']) {
        match part.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn decoded(path: &str) -> String {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        let mut ahead = bytes.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_in_every_spelling() {
        let own = ["/admin/reset".to_owned()];
        for same in [
            "/admin/reset",
            "/admin//reset/",
            "/./x/../Admin/RESET",
            "/%61dmin%2Freset",
            "/admin/reset;a=1",
            "\\admin\\reset",
        ] {
            assert!(leads_to(&own, same), "{same}");
        }
        for other in ["/", "/admin", "/admin/reset/x", "/admin/%zzreset", "/reset"] {
            assert!(!leads_to(&own, other), "{other}");
        }
        assert!(!leads_to(&[], "/"));
    }
}
