//! Opening the log: find what is whole, cut the rest, make again what is derived.

use super::{
    CERTIFICATE_INDEX, CERTIFICATES, Certificates, END_BYTES, ENTRIES, ENTRY_BYTES_MAX, ENTRY_ENDS,
    EXCHANGE_BYTES_MAX, EXCHANGE_ENDS, EXCHANGES, HASH_BYTES, INDEX_BYTES, Log, LogError, Opened,
    Shared, TILES,
    grow::{Growth, Pending, cut_derived},
    mark::Mark,
    reader::{IndexLine, corrupt, ends, index_line},
};
use crate::{
    disk::{Disk, DiskError, cut, read_exactly, replace},
    format::{FRAME_BYTES, HEADER_BYTES, Header, HeaderFault, Kind, Owner, u32_at, unframed},
    source::Source,
    tile::hashes_in_level,
};
use quorate_types::{Slot, StableCertificate, Wire};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Entries whose derived bytes are written at once.
const BATCH: usize = 1024;
/// Where a file is copied to before the copy takes its place.
const COPY: &str = "log.new";
/// Bytes behind the mark that are written once more when the log is opened, at most.
const WRITTEN_AGAIN_MAX: usize = 256 << 20;

pub(super) fn open<D: Disk>(disk: D, owner: Owner) -> Result<Opened<D>, LogError> {
    let mark = Mark::read(&disk, owner)?;
    let shared = Arc::new(Shared::new(disk, owner));
    for (file, kind, needed) in [
        (ENTRIES, Kind::Entries, mark.entries_end),
        (EXCHANGES, Kind::Exchanges, mark.exchanges_end),
        (CERTIFICATES, Kind::Certificates, mark.certificates_end),
    ] {
        prepare(&shared, file, kind, needed)?;
        write_again(&shared, file, needed)?;
    }
    let before = lengths(&shared.disk)?;
    let (growth, rebuilt_entries) = entries(&shared.disk, &mark)?;
    let (certificates, rebuilt_index) = certificates(&shared.disk, &mark)?;
    let after = lengths(&shared.disk)?;
    shared.size.store(growth.frontier.size(), Ordering::Release);
    shared.certificates.store(certificates.count, Ordering::Release);
    let marked = Arc::new(AtomicU64::new(mark.size));
    Ok(Opened {
        log: Log { shared, growth, certificates, marked, untidy: false },
        cut: before - after,
        rebuilt: rebuilt_entries || rebuilt_index,
    })
}

/// Checks a primary file's header, or writes it where there is none, durably: whatever a power
/// loss leaves of the records behind it, the header is there.
fn prepare<D: Disk>(
    shared: &Shared<D>,
    file: &'static str,
    kind: Kind,
    needed: u64,
) -> Result<(), LogError> {
    let (disk, owner) = (&shared.disk, shared.owner);
    let length = length(disk, file)?;
    if length < needed && needed > HEADER_BYTES as u64 {
        return Err(corrupt(file, 0, "it is shorter than when it was last synced"));
    }
    if length > 0 {
        match Header::read(disk, file, kind, owner)? {
            Ok(_) => return Ok(()),
            // Records follow only when the header is durable: this one never had any.
            Err(HeaderFault::Damaged) if length <= HEADER_BYTES as u64 => {}
            Err(fault) => return Err(LogError::header(fault, file, owner)),
        }
    }
    cut(disk, file, 0)?;
    disk.append(file, &Header::new(kind, owner).to_bytes())?;
    disk.sync(file).map_err(|error| shared.fail(&error))
}

/// Writes anew what is not known to be durable, so that the next sync makes it so: after a failed
/// fsync the system holds pages for clean that are not on the disk. A crash meanwhile may lose it,
/// as it might before.
///
/// Where no mark vouches for anything, not even the header is known to be durable; and if the mark
/// was damaged, all of it may be. A copy takes the file's place then, and nothing is ever lost.
fn write_again<D: Disk>(shared: &Shared<D>, file: &str, durable: u64) -> Result<(), LogError> {
    let disk = &shared.disk;
    let marked = durable > HEADER_BYTES as u64;
    let from = if marked { durable } else { 0 };
    let behind = usize::try_from(length(disk, file)?.saturating_sub(from)).unwrap_or(usize::MAX);
    // More than that is there only if the mark is damaged, and is left alone.
    if behind == 0 || behind > WRITTEN_AGAIN_MAX {
        return Ok(());
    }
    let Some(bytes) = read_exactly(disk, file, from, behind)? else { return Ok(()) };
    if marked {
        cut(disk, file, from)?;
        return Ok(disk.append(file, &bytes)?);
    }
    replace(disk, COPY, file, &bytes, |error| shared.fail(&error))
}

fn length<D: Disk>(disk: &D, file: &str) -> Result<u64, DiskError> {
    let files = disk.list()?;
    Ok(files.into_iter().find(|(name, _)| name == file).map_or(0, |(_, length)| length))
}

/// Bytes in the primary files.
fn lengths<D: Disk>(disk: &D) -> Result<u64, DiskError> {
    let mut sum = 0;
    for file in [ENTRIES, EXCHANGES, CERTIFICATES] {
        sum += length(disk, file)?;
    }
    Ok(sum)
}

/// Takes what the mark vouches for from the derived files, or makes them again; then goes on with
/// what stands behind the mark. True if all was made again.
fn entries<D: Disk>(disk: &D, mark: &Mark) -> Result<(Growth, bool), LogError> {
    if let Some(growth) = vouched(disk, mark)? {
        cut_derived(disk, mark.size)?;
        return Ok((scan(disk, growth, mark)?, false));
    }
    cut_derived(disk, 0)?;
    Ok((scan(disk, Growth::empty(), mark)?, true))
}

/// The log at the mark, from the derived files; `None` if they do not bear it out.
fn vouched<D: Disk>(disk: &D, mark: &Mark) -> Result<Option<Growth>, LogError> {
    let files = disk.list()?;
    let length = |file: &str| files.iter().find(|(name, _)| name == file).map_or(0, |(_, l)| *l);
    let ends_whole =
        [ENTRY_ENDS, EXCHANGE_ENDS].iter().all(|file| length(file) >= mark.size * END_BYTES);
    let tiles_whole = (0..)
        .zip(TILES)
        .all(|(level, file)| length(file) >= hashes_in_level(mark.size, level) * HASH_BYTES);
    if !ends_whole || !tiles_whole {
        return Ok(None);
    }
    if ends(disk, mark.size)? != (mark.entries_end, mark.exchanges_end) {
        return Ok(None);
    }
    let growth = Growth::load(disk, mark.size, mark.entries_end, mark.exchanges_end)?;
    Ok((growth.frontier.root() == mark.root).then_some(growth))
}

/// Reads entries with their exchanges from where `growth` ends, adds what is derived from them,
/// and cuts the files behind the last whole pair.
fn scan<D: Disk>(disk: &D, mut growth: Growth, mark: &Mark) -> Result<Growth, LogError> {
    let mut entries = Source::new(disk, ENTRIES, growth.entries_end);
    let mut exchanges = Source::new(disk, EXCHANGES, growth.exchanges_end);
    let mut pending = Pending::default();
    let mut waiting = 0;
    loop {
        let index = growth.frontier.size();
        if index == mark.size && !agrees(&growth, mark) {
            return Err(corrupt(ENTRIES, index, "the entries are not those last synced"));
        }
        let Some(entry) = next_entry(&mut entries)? else { break };
        let Some(frame) = next_frame(&mut exchanges)? else { break };
        let Some(exchange) = unframed(frame, index, entry) else { break };
        growth.push(entry, exchange, &mut pending);
        waiting += 1;
        if waiting == BATCH {
            std::mem::take(&mut pending).write_derived(disk)?;
            waiting = 0;
        }
    }
    if growth.frontier.size() < mark.size {
        let reason = "an entry or its exchange is damaged that was durable";
        return Err(corrupt(ENTRIES, growth.frontier.size(), reason));
    }
    pending.write_derived(disk)?;
    growth.cut(disk)?;
    Ok(growth)
}

fn agrees(growth: &Growth, mark: &Mark) -> bool {
    (growth.entries_end, growth.exchanges_end) == (mark.entries_end, mark.exchanges_end)
        && growth.frontier.root() == mark.root
}

/// The next entry's text, if all of it is there.
fn next_entry<'a, D: Disk>(source: &'a mut Source<'_, D>) -> Result<Option<&'a [u8]>, LogError> {
    let length = match source.peek(2)? {
        Some(length) => usize::from(u16::from_be_bytes([length[0], length[1]])),
        None => return Ok(None),
    };
    debug_assert!(length <= ENTRY_BYTES_MAX);
    if length == 0 {
        return Ok(None);
    }
    Ok(source.take(2 + length)?.map(|record| &record[2..]))
}

/// The next frame, if all of it is there.
fn next_frame<'a, D: Disk>(source: &'a mut Source<'_, D>) -> Result<Option<&'a [u8]>, LogError> {
    let length = match source.peek(FRAME_BYTES)? {
        Some(header) => u32_at(header, 0) as usize,
        None => return Ok(None),
    };
    if length > EXCHANGE_BYTES_MAX {
        return Ok(None);
    }
    Ok(source.take(FRAME_BYTES + length)?)
}

/// Checks the certificates behind the mark, or all where their index is short; cuts behind the
/// last whole one. True if the index was made again.
fn certificates<D: Disk>(disk: &D, mark: &Mark) -> Result<(Certificates, bool), LogError> {
    let whole = length(disk, CERTIFICATE_INDEX)? >= mark.certificates * INDEX_BYTES;
    let last = match mark.certificates.checked_sub(1).filter(|_| whole) {
        None => IndexLine { size: 0, slot: 0, end: HEADER_BYTES as u64 },
        Some(last) => index_line(disk, last)?,
    };
    let mut known = match last {
        IndexLine { size, slot, end } if whole && end == mark.certificates_end => {
            Certificates { count: mark.certificates, end, size, slot: Slot(slot) }
        }
        _ => Certificates { count: 0, end: HEADER_BYTES as u64, size: 0, slot: Slot(0) },
    };
    let rebuilt = known.count < mark.certificates;
    cut(disk, CERTIFICATE_INDEX, known.count * INDEX_BYTES)?;
    let mut source = Source::new(disk, CERTIFICATES, known.end);
    let mut lines = Vec::new();
    while let Some(frame) = next_frame(&mut source)? {
        let Some(certificate) = unframed(frame, known.count, b"")
            .and_then(|payload| StableCertificate::from_wire(payload, EXCHANGE_BYTES_MAX).ok())
        else {
            break;
        };
        known = Certificates {
            count: known.count + 1,
            end: known.end + frame.len() as u64,
            size: certificate.head.size,
            slot: certificate.slot(),
        };
        for number in [known.size, known.slot.0, known.end] {
            lines.extend_from_slice(&number.to_le_bytes());
        }
    }
    if known.count < mark.certificates {
        return Err(corrupt(
            CERTIFICATES,
            known.count,
            "a certificate is damaged that was durable",
        ));
    }
    if !lines.is_empty() {
        disk.append(CERTIFICATE_INDEX, &lines)?;
    }
    cut(disk, CERTIFICATES, known.end)?;
    Ok((known, rebuilt))
}
