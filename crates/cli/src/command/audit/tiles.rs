//! The Merkle tree as tiles, made again from the entries.

use super::{Finding, Stop, source::Source};
use quorate_ledger::TileKind;
use quorate_proof::{node_hash, tree::Frontier};
use quorate_types::Digest;

/// Hashes of the tile of each level that is not full yet, and how many tiles were before it.
#[derive(Default)]
pub(super) struct Tiles {
    levels: Vec<Level>,
    full: Vec<Tile>,
    compared: u64,
}

#[derive(Default)]
struct Level {
    n: u64,
    hashes: Vec<Digest>,
}

struct Tile {
    level: u8,
    n: u64,
    hashes: Vec<Digest>,
}

/// Entries below one hash of a level.
fn span(level: u8) -> u64 {
    1_u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX)
}

impl Tiles {
    /// Adds the next entry's leaf hash.
    pub(super) fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for level in 0..8_u8 {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push(Level::default());
            }
            let Some(current) = self.levels.get_mut(place) else { return };
            current.hashes.push(hash);
            if current.hashes.len() < 256 {
                return;
            }
            let hashes = std::mem::take(&mut current.hashes);
            hash = subtree_root(&hashes);
            self.full.push(Tile { level, n: current.n, hashes });
            current.n += 1;
        }
    }

    /// Compares all tiles that became full with those that the source publishes; and at the end of
    /// the log the partial ones too.
    pub(super) async fn compare(&mut self, source: &mut Source, at_end: bool) -> Result<(), Stop> {
        for tile in std::mem::take(&mut self.full) {
            self.compare_one(source, &tile).await?;
        }
        if !at_end {
            return Ok(());
        }
        for (level, current) in (0..).zip(std::mem::take(&mut self.levels)) {
            if !current.hashes.is_empty() {
                let tile = Tile { level, n: current.n, hashes: current.hashes };
                self.compare_one(source, &tile).await?;
            }
        }
        Ok(())
    }

    /// How many tiles were compared.
    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    async fn compare_one(&mut self, source: &mut Source, tile: &Tile) -> Result<(), Stop> {
        let Tile { level, n, hashes } = tile;
        let published = source.tile(TileKind::Hashes(*level), *n, hashes.len() as u64).await?;
        let first = n * 256;
        let entry = |place: u64| (first + place).saturating_mul(span(*level));
        for (place, hash) in (0..).zip(hashes) {
            let at = usize::try_from(place).unwrap_or(usize::MAX).saturating_mul(32);
            if published.get(at..at.saturating_add(32)) != Some(&hash.0[..]) {
                let reason = format!("the tile of level {level} does not follow from the entries");
                return Err(Finding::at(entry(place), "audit-tile", reason).into());
            }
        }
        if published.len() != hashes.len() * 32 {
            let reason = format!("the tile of level {level} has more hashes than it should");
            return Err(Finding::at(entry(hashes.len() as u64), "audit-tile", reason).into());
        }
        self.compared += 1;
        Ok(())
    }
}

/// The root over 256 hashes.
fn subtree_root(hashes: &[Digest]) -> Digest {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| node_hash(&pair[0], &pair[pair.len() - 1])).collect();
    }
    row.first().copied().unwrap_or(Frontier::new().root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proof::leaf_hash;

    #[test]
    fn a_full_tile_hashes_to_the_root_of_its_leaves() {
        let leaves: Vec<Digest> = (0..=255_u8).map(|i| leaf_hash(&[i])).collect();
        let mut frontier = Frontier::new();
        let mut tiles = Tiles::default();
        for leaf in &leaves {
            frontier.push(*leaf);
            tiles.push(*leaf);
        }
        assert_eq!(subtree_root(&leaves), frontier.root());
        assert_eq!(tiles.full.len(), 1);
        assert_eq!(tiles.levels[1].hashes, [frontier.root()]);
        assert_eq!((span(0), span(1), span(2)), (1, 256, 65_536));
    }
}
