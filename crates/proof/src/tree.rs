//! The Merkle tree of RFC 6962: hashes, inclusion paths, and the frontier where a log grows.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_types::Digest;
use sha2::{Digest as _, Sha256};

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// The hash of a leaf: SHA-256(0x00 || data). RFC 6962 section 2.1.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 || left || right). RFC 6962 section 2.1.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    // In one piece: a hasher that is fed three takes twice as long.
    let mut node = [1; 1 + 2 * Digest::SIZE];
    let (_, digests) = node.split_at_mut(1);
    digests[..Digest::SIZE].copy_from_slice(&left.0);
    digests[Digest::SIZE..].copy_from_slice(&right.0);
    sha256(&node)
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    sha256(&[])
}

/// The root that a leaf's inclusion path leads to; `None` when the index is not below the size or
/// the path is longer or shorter than that place in that tree asks for.
///
/// RFC 9162 section 2.1.3.2. The path goes from the leaf's sibling up.
#[must_use]
pub fn root_from_path(leaf: &Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut root = *leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            root = node_hash(sibling, &root);
            // A last node without a right sibling is its own parent: climb until it is a right one.
            let climb = if place & 1 == 1 { 0 } else { place.trailing_zeros().min(63) };
            place >>= climb;
            last >>= climb;
        } else {
            root = node_hash(&root, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Where a log grows: the roots of its complete subtrees, largest first.
///
/// Holds at most 64 digests, whatever the size, and gives the root and the inclusion paths of the
/// leaves that are appended next.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier from its parts; `None` unless there is one peak for each bit set in `size`.
    #[must_use]
    pub fn from_peaks(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut smaller = self.peaks.iter().rev();
        let Some(&smallest) = smaller.next() else { return empty_root() };
        smaller.fold(smallest, |right, left| node_hash(left, &right))
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Appends leaf hashes; gives, for each, its inclusion path at the size that is then reached.
    ///
    /// Each new node is hashed once, so that a slot of `k` entries costs about `2k` hashes.
    pub fn append(&mut self, leaves: &[Digest]) -> Vec<Vec<Digest>> {
        let before = self.size;
        let size = leaves.iter().fold(before, |size, _| size.saturating_add(1));
        let levels = Levels::new(self, leaves, size);
        let paths = (before..size).map(|index| levels.path(index)).collect();
        *self = Self { size, peaks: levels.peaks() };
        paths
    }
}

/// The complete nodes that an append touches, level by level, and the incomplete right edge.
struct Levels {
    size: u64,
    levels: Vec<Level>,
}

/// One level: complete nodes from `first` on, and the root over the leaves right of all of them.
struct Level {
    first: u64,
    nodes: Vec<Digest>,
    edge: Option<Digest>,
}

impl Level {
    fn node(&self, place: u64) -> Option<&Digest> {
        self.nodes.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }
}

impl Levels {
    /// The nodes of `frontier` grown by `leaves` to `size`, each hashed once.
    fn new(frontier: &Frontier, leaves: &[Digest], size: u64) -> Self {
        let mut peaks = frontier.peaks.iter().rev();
        let mut levels: Vec<Level> =
            Vec::with_capacity((u64::BITS - size.leading_zeros()) as usize);
        // A level has room for the peak before it.
        let mut nodes = Vec::with_capacity(leaves.len() + 1);
        nodes.extend_from_slice(leaves);
        let mut edge = None;
        let (mut old, mut new) = (frontier.size, size);
        while new > 0 {
            let mut first = old;
            if old & 1 == 1
                && let Some(&peak) = peaks.next()
            {
                // The peak is the left sibling of the first new node at this level.
                nodes.insert(0, peak);
                first -= 1;
            }
            let mut parents = Vec::with_capacity(nodes.len() / 2 + 1);
            parents.extend(nodes.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)));
            let level = Level { first, nodes, edge };
            if new & 1 == 1
                && let Some(last) = level.node(new - 1)
            {
                edge = Some(edge.map_or(*last, |edge| node_hash(last, &edge)));
            }
            levels.push(level);
            nodes = parents;
            old >>= 1;
            new >>= 1;
        }
        Self { size, levels }
    }

    /// The inclusion path of a leaf that was appended.
    fn path(&self, index: u64) -> Vec<Digest> {
        let mut path = Vec::with_capacity(self.levels.len());
        let mut place = index;
        for (height, level) in self.levels.iter().enumerate() {
            let complete = self.size >> height;
            let sibling = place ^ 1;
            if sibling < complete {
                path.extend(level.node(sibling));
            } else if sibling == complete {
                path.extend(level.edge);
            }
            place >>= 1;
        }
        path
    }

    /// The peaks at the new size.
    fn peaks(&self) -> Vec<Digest> {
        let complete = |(height, level): (usize, &Level)| {
            let count = self.size >> height;
            if count & 1 == 1 { level.node(count - 1).copied() } else { None }
        };
        self.levels.iter().enumerate().rev().filter_map(complete).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, word for word.
    fn root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&root(left), &root(right))
            }
        }
    }

    /// RFC 6962 section 2.1.1, word for word.
    fn path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let split = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(split);
        let (mut below, other) = if index < split {
            (path(index, left), root(right))
        } else {
            (path(index - split, right), root(left))
        };
        below.push(other);
        below
    }

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|number| leaf_hash(&[number])).collect()
    }

    #[test]
    fn the_empty_tree_has_the_hash_of_nothing() {
        assert_eq!(
            Frontier::new().root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn every_append_gives_the_paths_that_the_rfc_defines() {
        for before in 0..35 {
            for added in 0..20 {
                let all = leaves(before + added);
                let (old, new) = all.split_at(usize::from(before));
                let mut frontier = Frontier::new();
                old.iter().for_each(|&leaf| frontier.push(leaf));
                assert_eq!(frontier.root(), root(old));
                let paths = frontier.append(new);
                assert_eq!((frontier.size(), frontier.root()), (all.len() as u64, root(&all)));
                let mut pushed = Frontier::new();
                all.iter().for_each(|&leaf| pushed.push(leaf));
                assert_eq!(frontier, pushed);
                for (offset, found) in paths.iter().enumerate() {
                    assert_eq!(found, &path(old.len() + offset, &all), "{before} + {added}");
                }
            }
        }
    }

    #[test]
    fn a_path_leads_to_the_root_at_its_own_place_and_length_only() {
        for size in 1..40 {
            let all = leaves(size);
            for index in 0..usize::from(size) {
                let right = path(index, &all);
                for claimed in 0..u64::from(size) + 2 {
                    let found = root_from_path(&all[index], claimed, u64::from(size), &right);
                    assert_eq!(found == Some(root(&all)), claimed == index as u64);
                }
                let mut longer = right.clone();
                longer.push(Digest::ZERO);
                assert_eq!(root_from_path(&all[index], index as u64, size.into(), &longer), None);
                if let Some((_, shorter)) = right.split_last() {
                    assert_eq!(
                        root_from_path(&all[index], index as u64, size.into(), shorter),
                        None
                    );
                }
            }
        }
    }

    #[test]
    fn a_path_in_the_largest_tree_does_not_overflow() {
        let path = vec![Digest::ZERO; 64];
        // The last of an odd number of leaves has one sibling less.
        assert!(root_from_path(&Digest::ZERO, u64::MAX - 1, u64::MAX, &path[..63]).is_some());
        assert!(root_from_path(&Digest::ZERO, u64::MAX - 1, u64::MAX, &path).is_none());
        assert!(root_from_path(&Digest::ZERO, 0, u64::MAX, &path).is_some());
        assert!(root_from_path(&Digest::ZERO, 1 << 63, (1 << 63) + 1, &path[..1]).is_some());
        assert_eq!(root_from_path(&Digest::ZERO, u64::MAX, u64::MAX, &path), None);
    }

    #[test]
    fn peaks_that_do_not_fit_the_size_are_refused() {
        assert!(Frontier::from_peaks(5, vec![Digest::ZERO; 2]).is_some());
        assert!(Frontier::from_peaks(5, vec![Digest::ZERO; 3]).is_none());
        assert!(Frontier::from_peaks(0, Vec::new()).is_some());
    }
}
