//! Reading the log, from any thread, while another one appends.

use super::{
    CERTIFICATE_INDEX, CERTIFICATES, END_BYTES, ENTRIES, ENTRY_BYTES_MAX, ENTRY_ENDS,
    EXCHANGE_BYTES_MAX, EXCHANGE_ENDS, EXCHANGES, HASH_BYTES, INDEX_BYTES, LogError, TILES,
};
use crate::{
    disk::{Disk, DiskError, read_array, read_exactly},
    format::{FRAME_BYTES, HEADER_BYTES, Owner, u32_at, u64_at, unframed},
    source::Source,
    tile::{TILE_WIDTH, hashes_in_level, subtree_root},
};
use quorate_proof::tree::{empty_root, leaf_hash, node_hash, root_from_path};
use quorate_types::{
    Digest, Exchange, Head, Index, LogItem, Opening, Slot, StableCertificate, Wire,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What the appending and the reading sides share.
#[derive(Debug)]
pub(super) struct Shared<D> {
    pub(super) disk: D,
    pub(super) owner: Owner,
    /// How many entries are whole in all files. Stored after them, loaded before them.
    pub(super) size: AtomicU64,
    /// How many certificates are whole in both files.
    pub(super) certificates: AtomicU64,
    /// Whether an fsync failed.
    pub(super) failed: AtomicBool,
}

/// A handle for reading the log.
///
/// Cheap to clone. Nothing is kept in memory: a read is a few `pread`s, checked before it is
/// handed out. What lies beyond the log's present size is `None`, not an error.
#[derive(Clone, Debug)]
pub struct LogReader<D>(pub(super) Arc<Shared<D>>);

impl<D: Disk> LogReader<D> {
    /// How many entries can be read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size.load(Ordering::Acquire)
    }

    /// An entry's text.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn entry(&self, index: Index) -> Result<Option<String>, LogError> {
        if index.0 >= self.size() {
            return Ok(None);
        }
        let bytes = self.entry_bytes(index.0)?;
        String::from_utf8(bytes).map(Some).map_err(|_| corrupt(ENTRIES, index.0, "it is no text"))
    }

    /// An entry's leaf hash.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn leaf(&self, index: Index) -> Result<Option<Digest>, LogError> {
        if index.0 >= self.size() {
            return Ok(None);
        }
        hash(&self.0.disk, index.0).map(Some)
    }

    /// The exchange behind an entry; `Some(None)` for an entry that has none.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn exchange(&self, index: Index) -> Result<Option<Option<Exchange>>, LogError> {
        Ok(self.item(index)?.map(|item| item.exchange))
    }

    /// An entry with its exchange.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn item(&self, index: Index) -> Result<Option<LogItem>, LogError> {
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        let (start, end) = range(&self.0.disk, EXCHANGE_ENDS, index.0)?;
        let frame =
            self.record(EXCHANGES, index.0, start, end, EXCHANGE_BYTES_MAX + FRAME_BYTES)?;
        let payload = unframed(&frame, index.0, entry.as_bytes())
            .ok_or_else(|| corrupt(EXCHANGES, index.0, "the checksum is wrong"))?;
        item(index.0, entry, payload).map(Some)
    }

    /// All items from a place on, checked as [`Self::item`] does, in fewer reads than one by one.
    ///
    /// # Errors
    /// Each item's, after which nothing follows: [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn items(&self, from: Index) -> Result<Items<'_, D>, LogError> {
        let disk = &self.0.disk;
        let (size, next) = (self.size(), from.0);
        let (entries, exchanges) = ends(disk, next.min(size))?;
        Ok(Items {
            next,
            size,
            entries: Source::new(disk, ENTRIES, entries),
            exchanges: Source::new(disk, EXCHANGES, exchanges),
            leaves: Source::new(disk, TILES[0], next.saturating_mul(HASH_BYTES)),
            leaf: Digest::ZERO,
            ends: [entries, exchanges],
        })
    }

    /// The inclusion path of an entry in the tree of the first `size` entries, from the leaf's
    /// sibling up (RFC 6962 section 2.1.1); `None` unless index < size <= [`Self::size`].
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn path(&self, index: Index, size: u64) -> Result<Option<Vec<Digest>>, LogError> {
        if index.0 >= size || size > self.size() {
            return Ok(None);
        }
        let disk = &self.0.disk;
        let (mut low, mut high) = (0, size);
        let mut path = Vec::new();
        while high - low > 1 {
            let middle = low + split(high - low);
            if index.0 < middle {
                path.push(range_root(disk, middle, high)?);
                high = middle;
            } else {
                path.push(range_root(disk, low, middle)?);
                low = middle;
            }
        }
        path.reverse();
        Ok(Some(path))
    }

    /// The inclusion path of an entry under a head, checked to lead there.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when it does not: hashes are damaged, or the head is not of this log.
    pub fn path_to(&self, index: Index, head: &Head) -> Result<Option<Vec<Digest>>, LogError> {
        let Some(path) = self.path(index, head.size)? else { return Ok(None) };
        let leaf = leaf_hash(&self.entry_bytes(index.0)?);
        if root_from_path(&leaf, index.0, head.size, &path) == Some(head.root) {
            return Ok(Some(path));
        }
        Err(corrupt(TILES[0], index.0, "its path does not lead to the head"))
    }

    /// The root of the tree of the first `size` entries; `None` beyond [`Self::size`].
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn root(&self, size: u64) -> Result<Option<Digest>, LogError> {
        match size {
            _ if size > self.size() => Ok(None),
            0 => Ok(Some(empty_root())),
            _ => range_root(&self.0.disk, 0, size).map(Some),
        }
    }

    /// The `width` hashes from `256 n` on of a level, side by side: a C2SP tile; `None` unless
    /// width is 1 to 256 and all of them exist.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when a full tile does not hash to its parent, [`LogError::Disk`].
    pub fn tile(&self, level: u8, n: u64, width: u16) -> Result<Option<Vec<u8>>, LogError> {
        let size = self.size();
        let Some(first) = place(n, width, hashes_in_level(size, level)) else { return Ok(None) };
        let tile = hashes(&self.0.disk, level, first, u64::from(width))?;
        let above = level.saturating_add(1);
        if u64::from(width) == TILE_WIDTH
            && n < hashes_in_level(size, above)
            && subtree_root(&tile) != hashes(&self.0.disk, above, n, 1)?.first().copied()
        {
            return Err(corrupt(TILES[0], first, "a tile does not hash to its parent"));
        }
        Ok(Some(tile.iter().flat_map(|hash| hash.0).collect()))
    }

    /// The `width` entries from `256 n` on, each behind its length in two big-endian bytes: a C2SP
    /// entry bundle; `None` unless width is 1 to 256 and all of them exist.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn entry_bundle(&self, n: u64, width: u16) -> Result<Option<Vec<u8>>, LogError> {
        let Some(first) = place(n, width, self.size()) else { return Ok(None) };
        let mut bundle = Vec::new();
        for index in first..first + u64::from(width) {
            let entry = self.entry_bytes(index)?;
            bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(0).to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
        Ok(Some(bundle))
    }

    /// The oldest stored certificate whose head covers an entry: the earliest proof of it.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn certificate_covering(
        &self,
        index: Index,
    ) -> Result<Option<StableCertificate>, LogError> {
        self.first_certificate(|line| line.size > index.0)
    }

    /// The oldest stored certificate of a slot not below this one.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn certificate_from(&self, slot: Slot) -> Result<Option<StableCertificate>, LogError> {
        self.first_certificate(|line| line.slot >= slot.0)
    }

    /// The newest stored certificate. Its head may be ahead of the log.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn newest_certificate(&self) -> Result<Option<StableCertificate>, LogError> {
        match self.0.certificates.load(Ordering::Acquire) {
            0 => Ok(None),
            count => self.certificate(count - 1).map(Some),
        }
    }

    /// The newest stored certificate whose head lies within the log: the log may have lost its
    /// tail, which certificates stored beside it still cover.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Disk`].
    pub fn certificate_within(&self) -> Result<Option<StableCertificate>, LogError> {
        let size = self.size();
        match self.first_number(|line| line.size > size)? {
            0 => Ok(None),
            ahead => self.certificate(ahead - 1).map(Some),
        }
    }

    /// Reads and checks everything: every entry, exchange, hash and certificate. Slow.
    ///
    /// # Errors
    /// The first damage found, as [`LogError::Corrupt`].
    pub fn verify(&self) -> Result<(), LogError> {
        self.read_all(|_| {})
    }

    /// All items, after everything was read and checked as [`Self::verify`] does.
    ///
    /// # Errors
    /// The first damage found, as [`LogError::Corrupt`].
    pub fn verified(&self) -> Result<Vec<LogItem>, LogError> {
        let mut items = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        self.read_all(|item| items.push(item))?;
        Ok(items)
    }

    fn read_all(&self, mut take: impl FnMut(LogItem)) -> Result<(), LogError> {
        let mut frontier = quorate_proof::tree::Frontier::new();
        let mut items = self.items(Index(0))?;
        let disk = &self.0.disk;
        let mut files = [ENTRY_ENDS, EXCHANGE_ENDS].map(|file| Source::new(disk, file, 0));
        while let Some(item) = items.next() {
            let (index, size) = (items.next - 1, items.size);
            take(item?);
            frontier.push(items.leaf);
            for (ends, found) in files.iter_mut().zip(items.ends) {
                if ends.take(END_BYTES as usize)?.is_none_or(|end| u64_at(end, 0) != found) {
                    return Err(corrupt(ENTRY_ENDS, index, "its ends are wrong"));
                }
            }
            // Nodes above the leaves: at every size that ends a tile, all levels must agree.
            if (index + 1) % TILE_WIDTH == 0 || index + 1 == size {
                let root = range_root(disk, 0, index + 1)?;
                if root != frontier.root() {
                    return Err(corrupt(TILES[0], index, "the levels disagree"));
                }
            }
        }
        for number in 0..self.0.certificates.load(Ordering::Acquire) {
            self.certificate(number)?;
        }
        Ok(())
    }

    fn record(
        &self,
        file: &'static str,
        record: u64,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<u8>, LogError> {
        let length = end
            .checked_sub(start)
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= bytes_max)
            .ok_or_else(|| corrupt(file, record, "its ends are wrong"))?;
        read_exactly(&self.0.disk, file, start, length)?
            .ok_or_else(|| corrupt(file, record, "the file ends before it"))
    }

    /// An entry's text as bytes, checked with its leaf hash. The index is below the size.
    fn entry_bytes(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let (start, end) = range(&self.0.disk, ENTRY_ENDS, index)?;
        let mut bytes = self.record(ENTRIES, index, start, end, 2 + ENTRY_BYTES_MAX)?;
        let length = match bytes.get(..2) {
            Some(length) => u16::from_be_bytes([length[0], length[1]]),
            None => return Err(corrupt(ENTRIES, index, "its ends are wrong")),
        };
        bytes.drain(..2);
        if usize::from(length) != bytes.len() {
            return Err(corrupt(ENTRIES, index, "its length is wrong"));
        }
        if hash(&self.0.disk, index)? != leaf_hash(&bytes) {
            return Err(corrupt(ENTRIES, index, "its hash is not the leaf's"));
        }
        Ok(bytes)
    }

    /// Binary search over the index: sizes and slots ascend.
    fn first_certificate(
        &self,
        late_enough: impl Fn(&IndexLine) -> bool,
    ) -> Result<Option<StableCertificate>, LogError> {
        let count = self.0.certificates.load(Ordering::Acquire);
        let number = self.first_number(late_enough)?;
        if number >= count { Ok(None) } else { self.certificate(number).map(Some) }
    }

    /// The number of the first certificate that is late enough, or how many there are.
    fn first_number(&self, late_enough: impl Fn(&IndexLine) -> bool) -> Result<u64, LogError> {
        let (mut low, mut high) = (0, self.0.certificates.load(Ordering::Acquire));
        while low < high {
            let middle = low + (high - low) / 2;
            if late_enough(&index_line(&self.0.disk, middle)?) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    fn certificate(&self, number: u64) -> Result<StableCertificate, LogError> {
        let start = match number.checked_sub(1) {
            None => HEADER_BYTES as u64,
            Some(previous) => index_line(&self.0.disk, previous)?.end,
        };
        let line = index_line(&self.0.disk, number)?;
        let most = EXCHANGE_BYTES_MAX + FRAME_BYTES;
        let frame = self.record(CERTIFICATES, number, start, line.end, most)?;
        unframed(&frame, number, b"")
            .and_then(|payload| StableCertificate::from_wire(payload, EXCHANGE_BYTES_MAX).ok())
            .filter(|found| (found.head.size, found.slot().0) == (line.size, line.slot))
            .ok_or_else(|| corrupt(CERTIFICATES, number, "the checksum or the index is wrong"))
    }
}

/// Items in order; see [`LogReader::items`].
pub struct Items<'r, D> {
    next: u64,
    size: u64,
    entries: Source<'r, D>,
    exchanges: Source<'r, D>,
    leaves: Source<'r, D>,
    /// The last item's leaf hash.
    leaf: Digest,
    /// Where its records end.
    ends: [u64; 2],
}

impl<D: Disk> Items<'_, D> {
    fn read(&mut self, index: u64) -> Result<LogItem, LogError> {
        let short = |file| corrupt(file, index, "the file ends before it");
        let length = self.entries.peek(2)?.ok_or_else(|| short(ENTRIES))?;
        let length = 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let entry = &self.entries.take(length)?.ok_or_else(|| short(ENTRIES))?[2..];
        let leaf = self.leaves.take(Digest::SIZE)?.ok_or_else(|| short(TILES[0]))?;
        self.leaf = leaf_hash(entry);
        if leaf != self.leaf.0 {
            return Err(corrupt(ENTRIES, index, "its hash is not the leaf's"));
        }
        let frame = match self.exchanges.peek(FRAME_BYTES)?.map(|header| u32_at(header, 0)) {
            Some(length) if length as usize <= EXCHANGE_BYTES_MAX => {
                self.exchanges.take(FRAME_BYTES + length as usize)?
            }
            _ => None,
        };
        let frame = frame.ok_or_else(|| short(EXCHANGES))?;
        self.ends = [self.ends[0] + length as u64, self.ends[1] + frame.len() as u64];
        let payload = unframed(frame, index, entry)
            .ok_or_else(|| corrupt(EXCHANGES, index, "the checksum is wrong"))?;
        let text = std::str::from_utf8(entry);
        let text = text.map_err(|_| corrupt(ENTRIES, index, "it is no text"))?;
        item(index, text.to_owned(), payload)
    }
}

impl<D: Disk> Iterator for Items<'_, D> {
    type Item = Result<LogItem, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.size {
            return None;
        }
        let item = self.read(self.next);
        self.next = if item.is_ok() { self.next + 1 } else { self.size };
        Some(item)
    }
}

fn item(index: u64, entry: String, payload: &[u8]) -> Result<LogItem, LogError> {
    let (exchange, opening) =
        <(Option<Exchange>, Option<Opening>)>::from_wire(payload, EXCHANGE_BYTES_MAX)
            .map_err(|_| corrupt(EXCHANGES, index, "it is no exchange"))?;
    Ok(LogItem { entry, exchange, opening })
}

/// A line of the certificates' index.
pub(super) struct IndexLine {
    pub(super) size: u64,
    pub(super) slot: u64,
    pub(super) end: u64,
}

pub(super) fn index_line<D: Disk>(disk: &D, number: u64) -> Result<IndexLine, LogError> {
    let (file, offset) = (CERTIFICATE_INDEX, number * INDEX_BYTES);
    let line = read_array::<{ INDEX_BYTES as usize }>(disk, file, offset)?
        .ok_or_else(|| corrupt(file, number, "it is too short"))?;
    Ok(IndexLine { size: u64_at(&line, 0), slot: u64_at(&line, 8), end: u64_at(&line, 16) })
}

/// Where the records of the first `size` entries end, in both files.
pub(super) fn ends<D: Disk>(disk: &D, size: u64) -> Result<(u64, u64), LogError> {
    let header = HEADER_BYTES as u64;
    match size.checked_sub(1) {
        None => Ok((header, header)),
        Some(last) => Ok((range(disk, ENTRY_ENDS, last)?.1, range(disk, EXCHANGE_ENDS, last)?.1)),
    }
}

/// Where an entry's record starts and ends, from a file of ends.
fn range<D: Disk>(disk: &D, file: &'static str, index: u64) -> Result<(u64, u64), LogError> {
    let short = || corrupt(file, index, "it is too short");
    let Some(previous) = index.checked_sub(1) else {
        let end = read_array::<{ END_BYTES as usize }>(disk, file, 0)?.ok_or_else(short)?;
        return Ok((HEADER_BYTES as u64, u64_at(&end, 0)));
    };
    let ends = read_array::<{ 2 * END_BYTES as usize }>(disk, file, previous * END_BYTES)?
        .ok_or_else(short)?;
    Ok((u64_at(&ends, 0), u64_at(&ends, 8)))
}

pub(super) fn corrupt(file: &'static str, record: u64, reason: &'static str) -> LogError {
    LogError::Corrupt { file, record, reason }
}

/// The first hash or entry of a tile, if the level holds all of it.
fn place(n: u64, width: u16, available: u64) -> Option<u64> {
    let first = n.checked_mul(TILE_WIDTH)?;
    let end = first.checked_add(u64::from(width))?;
    ((1..=256).contains(&width) && end <= available).then_some(first)
}

/// The hash of a leaf.
fn hash<D: Disk>(disk: &D, index: u64) -> Result<Digest, LogError> {
    let file = TILES[0];
    let hash = match read_array(disk, file, index * HASH_BYTES) {
        Err(DiskError::Missing { .. }) => None,
        read => read?,
    };
    hash.map(Digest).ok_or_else(|| corrupt(file, index, "it is too short"))
}

/// Consecutive hashes of a level.
pub(super) fn hashes<D: Disk>(
    disk: &D,
    level: u8,
    first: u64,
    count: u64,
) -> Result<Vec<Digest>, LogError> {
    let Some(file) = TILES.get(usize::from(level)).filter(|_| count > 0) else {
        return Ok(Vec::new());
    };
    let length = usize::try_from(count * HASH_BYTES).unwrap_or(usize::MAX);
    let bytes = match read_exactly(disk, file, first * HASH_BYTES, length) {
        Err(DiskError::Missing { .. }) => None,
        read => read?,
    };
    let bytes = bytes.ok_or_else(|| corrupt(file, first, "it is too short"))?;
    let (hashes, _) = bytes.as_chunks::<{ Digest::SIZE }>();
    Ok(hashes.iter().copied().map(Digest).collect())
}

/// The largest power of two below `count`, which is at least 2: where RFC 6962 splits a tree.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The root over the leaves from `low` to below `high`, a range that RFC 6962 splits off: it
/// starts at a multiple of its size rounded up to a power of two.
fn range_root<D: Disk>(disk: &D, low: u64, high: u64) -> Result<Digest, LogError> {
    let mut roots = subtree_roots(disk, low, high)?.into_iter().rev();
    let smallest = roots.next().unwrap_or_else(empty_root);
    Ok(roots.fold(smallest, |right, left| node_hash(&left, &right)))
}

/// The frontier's peaks at a size, largest first.
pub(super) fn peaks<D: Disk>(disk: &D, size: u64) -> Result<Vec<Digest>, LogError> {
    subtree_roots(disk, 0, size)
}

/// The complete subtrees, largest first, that such a range consists of: at most one a height.
fn subtree_roots<D: Disk>(disk: &D, low: u64, high: u64) -> Result<Vec<Digest>, LogError> {
    let mut roots = Vec::new();
    let mut start = low;
    for height in (0..64).rev() {
        let leaves = 1_u64 << height;
        if (high - low) & leaves != 0 {
            roots.push(node(disk, height, start >> height)?);
            start += leaves;
        }
    }
    Ok(roots)
}

/// The root of the `k`-th complete subtree of 2^height leaves: one read of at most 128 hashes.
fn node<D: Disk>(disk: &D, height: u32, k: u64) -> Result<Digest, LogError> {
    let level = u8::try_from(height / 8).unwrap_or(0);
    let wide = height % 8;
    let row = hashes(disk, level, k << wide, 1 << wide)?;
    subtree_root(&row).ok_or_else(|| corrupt(TILES[0], k << height, "hashes are missing"))
}
