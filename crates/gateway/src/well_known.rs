//! What lies under `/.well-known/quorate/`: the only paths that are not the service's.
//!
//! | path | what |
//! |---|---|
//! | `policy` | the trust root |
//! | `proof/N` | the tlog-proof of entry N |
//! | `exchange/N` | request, response and salt of entry N, for callers whom the operator allows |
//! | `status`, `readyz` | how this replica is |
//! | `log/checkpoint` | its newest certified head |
//! | `log/tile/L/K[.p/W]` | hashes, as C2SP tlog-tiles |
//! | `log/tile/entries/K[.p/W]` | entries |

use crate::{
    backend::{Fetch, Fetched},
    codes,
};
use bytes::Bytes;
use quorate_types::{Index, Refusal};

/// The reserved prefix.
pub(crate) const PREFIX: &str = "/.well-known/quorate/";

/// What `readyz` says when all is well.
pub(crate) fn ready() -> Fetched {
    Fetched { content_type: "text/plain; charset=utf-8", body: Bytes::from_static(b"ready\n") }
}

/// Something under the prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    Fetch(Fetch),
    Status,
    Ready,
}

impl Page {
    /// The page of a path behind the prefix.
    ///
    /// # Errors
    /// `not-found`.
    pub(crate) fn of(path: &str) -> Result<Self, Refusal> {
        let page = match path.split_once('/') {
            None => match path {
                "policy" => Some(Self::Fetch(Fetch::Policy)),
                "status" => Some(Self::Status),
                "readyz" => Some(Self::Ready),
                _ => None,
            },
            Some(("proof", index)) => entry_index(index).map(|n| Self::Fetch(Fetch::Proof(n))),
            Some(("exchange", index)) => {
                entry_index(index).map(|n| Self::Fetch(Fetch::Exchange(n)))
            }
            Some(("log", "checkpoint")) => Some(Self::Fetch(Fetch::Checkpoint)),
            Some(("log", rest)) => rest.strip_prefix("tile/").and_then(tile).map(Self::Fetch),
            Some(_) => None,
        };
        page.ok_or_else(|| codes::NOT_FOUND.refusal(format!("nothing is at {PREFIX}{path}")))
    }

    /// Whether its bytes never change: full tiles only.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Fetch(Fetch::Tile { width: 256, .. } | Fetch::Entries { width: 256, .. })
        )
    }
}

fn entry_index(text: &str) -> Option<Index> {
    // An index is below 2^63.
    number(text).filter(|&index| index < 1 << 63).map(Index)
}

/// A decimal number in its one spelling.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

/// `L/K[.p/W]` or `entries/K[.p/W]`.
fn tile(path: &str) -> Option<Fetch> {
    let (level, rest) = path.split_once('/')?;
    let (n, width) = match rest.split_once(".p/") {
        Some((n, width)) => (n, number(width).filter(|width| (1..256).contains(width))?),
        None => (rest, 256),
    };
    let (n, width) = (tile_number(n)?, u16::try_from(width).ok()?);
    if level == "entries" {
        return Some(Fetch::Entries { n, width });
    }
    let level = number(level).filter(|&level| level < 64)?;
    Some(Fetch::Tile { level: u8::try_from(level).ok()?, n, width })
}

/// A tile's number in groups of three digits, all but the last marked by an `x`: `x001/x234/067`.
fn tile_number(text: &str) -> Option<u64> {
    let mut number: u64 = 0;
    let mut groups = text.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x')? };
        let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        // A leading group of zeros would be a second spelling of the same number.
        if !plain || (first && !last && digits == "000") {
            return None;
        }
        number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        first = false;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_page() {
        for (path, page) in [
            ("policy", Page::Fetch(Fetch::Policy)),
            ("status", Page::Status),
            ("readyz", Page::Ready),
            ("proof/0", Page::Fetch(Fetch::Proof(Index(0)))),
            ("exchange/617", Page::Fetch(Fetch::Exchange(Index(617)))),
            ("log/checkpoint", Page::Fetch(Fetch::Checkpoint)),
            ("log/tile/0/000", Page::Fetch(Fetch::Tile { level: 0, n: 0, width: 256 })),
            ("log/tile/63/067.p/1", Page::Fetch(Fetch::Tile { level: 63, n: 67, width: 1 })),
            (
                "log/tile/1/x001/x234/067.p/255",
                Page::Fetch(Fetch::Tile { level: 1, n: 1_234_067, width: 255 }),
            ),
            ("log/tile/entries/x001/000", Page::Fetch(Fetch::Entries { n: 1000, width: 256 })),
        ] {
            assert_eq!(Page::of(path), Ok(page), "{path}");
        }
    }

    #[test]
    fn there_is_no_second_spelling() {
        for path in [
            "",
            "polic",
            "policy/",
            "Policy",
            "proof",
            "proof/",
            "proof/-1",
            "proof/01",
            "proof/+1",
            "proof/1/2",
            "proof/9223372036854775808",
            "proof/1%30",
            "exchange/a",
            "log",
            "log/",
            "log/tile",
            "log/tile/0",
            "log/tile/0/0",
            "log/tile/0/0000",
            "log/tile/0/x000/001",
            "log/tile/64/000",
            "log/tile/00/000",
            "log/tile/0/000.p/0",
            "log/tile/0/000.p/256",
            "log/tile/0/000.p/01",
            "log/tile/0/x001",
            "log/tile/0/001/000",
            "log/tile/-1/000",
            "log/tile/0/x99999999999999999999/000",
            "log/tile/data/000",
            "../policy",
        ] {
            assert_eq!(Page::of(path).map_err(|refusal| refusal.code), Err("not-found"), "{path}");
        }
        let endless = format!("log/tile/0/{}001", "x001/".repeat(40));
        assert!(Page::of(&endless).is_err());
    }

    #[test]
    fn only_full_tiles_last() {
        for (path, lasting) in [
            ("log/tile/0/000", true),
            ("log/tile/entries/000", true),
            ("log/tile/0/000.p/3", false),
            ("log/checkpoint", false),
            ("proof/3", false),
        ] {
            assert_eq!(Page::of(path).unwrap().is_lasting(), lasting, "{path}");
        }
    }
}
