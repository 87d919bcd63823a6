//! Tiles: how C2SP `tlog-tiles` names and cuts a Merkle log, with tiles of height 8.
//!
//! A tile of level L holds, side by side, the roots of 256 complete subtrees of 256^L leaves each;
//! the rightmost one of a level may be partial. An entry bundle holds the 256 entries below a tile
//! of level 0. Names: `tile/L/N`, `tile/L/N.p/W`, `tile/entries/N`, `tile/entries/N.p/W`; N in
//! groups of three digits, all but the last behind an `x`: 1234067 is `x001/x234/067`.

use quorate_types::Digest;
use std::fmt;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels that a log of fewer than 2^64 entries can have.
pub const TILE_LEVELS: u8 = 8;

/// The highest level that has a name.
const LEVEL_MAX: u8 = 63;

/// What a tile's path names.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TileKind {
    /// Hashes of a level, 0 to 63.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The coordinates of a tile.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TilePath {
    /// Hashes or entries.
    pub kind: TileKind,
    /// Its place in its level.
    pub n: u64,
    /// How many hashes or entries: 256 for a full one, 1 to 255 for a partial one.
    pub width: u16,
}

impl TilePath {
    /// Reads a path such as `tile/0/x001/234.p/5`, in its one canonical form; `None` otherwise.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (kind, rest) = rest.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(
                canonical(level).and_then(|l| u8::try_from(l).ok()).filter(|l| *l <= LEVEL_MAX)?,
            ),
        };
        let (place, width) = match rest.split_once(".p/") {
            None => (rest, 256),
            Some((place, width)) => {
                let width = canonical(width).and_then(|width| u16::try_from(width).ok())?;
                (place, Some(width).filter(|width| (1..256).contains(width))?)
            }
        };
        Some(Self { kind, n: parse_place(place)?, width })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.n % 1000];
        let mut rest = self.n / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() {
                write!(f, "{group:03}")?;
            } else {
                write!(f, "x{group:03}/")?;
            }
        }
        if u64::from(self.width) < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// A decimal number without leading zeros, of at most four digits.
fn canonical(digits: &str) -> Option<u64> {
    let plain =
        !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    (plain && (digits == "0" || !digits.starts_with('0'))).then(|| digits.parse().ok())?
}

fn parse_place(place: &str) -> Option<u64> {
    let mut groups = place.split('/').peekable();
    let mut n = 0_u64;
    let mut first = true;
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x')? };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // A leading group of zeros would be a second name for the same tile.
        if first && !last && digits == "000" {
            return None;
        }
        n = n.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        first = false;
    }
    Some(n)
}

/// The root of a complete subtree over hashes whose number is a power of two.
pub(crate) fn subtree_root(hashes: &[Digest]) -> Option<Digest> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| quorate_proof::tree::node_hash(&pair[0], &pair[1]))
            .collect();
    }
    row.pop()
}

/// How many hashes level `level` holds in a log of `size` entries: size / 256^level.
pub(crate) fn hashes_in_level(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form_and_come_back() {
        for (path, kind, n, width) in [
            ("tile/0/000", TileKind::Hashes(0), 0, 256),
            ("tile/0/x001/234.p/5", TileKind::Hashes(0), 1234, 5),
            ("tile/63/x001/x234/067", TileKind::Hashes(63), 1_234_067, 256),
            ("tile/entries/999.p/255", TileKind::Entries, 999, 255),
            ("tile/entries/x001/000", TileKind::Entries, 1000, 256),
        ] {
            let parsed = TilePath::parse(path).unwrap();
            assert_eq!(parsed, TilePath { kind, n, width });
            assert_eq!(parsed.to_string(), path);
        }
        for n in [0, 7, 999, 1000, 999_999, 1_000_000, u64::MAX] {
            let path = TilePath { kind: TileKind::Hashes(3), n, width: 256 };
            assert_eq!(TilePath::parse(&path.to_string()), Some(path));
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/256/000",
            "tile/0/x000/001",
            "tile/0/x01/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/5/",
            "tile/0/000.p/5.p/5",
            "/tile/0/000",
            "tile/0/000/",
            "tile//000",
            "tile/data/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/०००",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }
}
