//! Files that were written, damaged and found again. What is read is what was written, or is
//! refused.

use quorate_ledger::{Disk as _, Log, MemoryDisk, Owner, Snapshots, Wal};
use quorate_types::{Chain, Exchange, Index, LogItem, ReplicaId, Request, Response, Salt, Slot};
use std::sync::Arc;

fn owner() -> Owner {
    let chain = Chain::parse("5f2c9a17d0e84b63").expect("sixteen digits");
    Owner { chain, replica: ReplicaId(2) }
}

/// Damages the files by what `bytes` say: an odd first byte makes the rest the whole content of
/// one file, an even one is followed by edits of five bytes (file, place, how, value).
fn damage(disk: &MemoryDisk, bytes: &[u8]) -> bool {
    let Some((&how, rest)) = bytes.split_first() else { return false };
    let files: Vec<String> = disk.list().expect("no faults").into_iter().map(|f| f.0).collect();
    if how & 1 == 1 {
        let file = &files[usize::from(how >> 1) % files.len()];
        disk.place(file, rest);
        return true;
    }
    for edit in rest.chunks_exact(5) {
        let &[file, high, low, how, value] = edit else { continue };
        let file = &files[usize::from(file) % files.len()];
        let mut content = disk.bytes(file).expect("listed");
        let place = usize::from(u16::from_be_bytes([high, low])) % (content.len() + 1);
        match how % 4 {
            0 => content.truncate(place),
            1 => content.insert(place, value),
            _ if place == content.len() => content.push(value),
            2 => content[place] = value,
            _ => drop(content.remove(place)),
        }
        disk.place(file, content);
    }
    false
}

fn records() -> Vec<(Option<Slot>, Vec<u8>)> {
    (0..12_u8)
        .map(|n| ((n % 3 != 0).then(|| Slot(n.into())), vec![n; usize::from(n) * 9]))
        .collect()
}

/// A damaged write-ahead log opens to the beginning of what was written, or not at all; once
/// opened, it opens again to the same.
///
/// # Panics
/// When it does not.
pub fn wal(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let mut log = Wal::create(disk.clone(), owner()).expect("a new disk");
    for (n, (slot, payload)) in records().iter().enumerate() {
        log.append(*slot, payload).expect("room");
        if n % 4 == 3 {
            log.sync().expect("no faults");
        }
    }
    drop(log);
    let forged = damage(&disk, bytes);
    let Ok(recovered) = Wal::open(disk.clone(), owner()) else { return };
    let found: Vec<_> = recovered.records.into_iter().map(|r| (r.slot, r.bytes)).collect();
    drop(recovered.wal);
    if !forged {
        let written = records();
        assert_eq!(found, written[..found.len()], "not what was written");
    }
    let again = Wal::open(disk, owner()).expect("what was opened opens again");
    let again: Vec<_> = again.records.into_iter().map(|r| (r.slot, r.bytes)).collect();
    assert_eq!(found, again);
}

fn items() -> Vec<LogItem> {
    let item = |n: u8| {
        let request = Request {
            method: "PUT".into(),
            path: format!("/kv/{n}"),
            query: "?".into(),
            fields: Vec::new(),
            body: vec![n; usize::from(n)].into(),
            salt: Salt([n; 16]),
            signature: None,
        };
        let exchange = Exchange { request: Arc::new(request), response: Response::new(204) };
        let exchange = (n % 3 != 0).then_some(exchange);
        LogItem { entry: format!("quorate-mark/1\nindex {n}\n"), exchange, opening: None }
    };
    (0..10).map(item).collect()
}

/// A damaged log gives, of every item, what was appended, nothing, or an error.
///
/// # Panics
/// When it gives anything else.
pub fn log(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let mut log = Log::open(disk.clone(), owner()).expect("a new disk").log;
    for (n, item) in items().iter().enumerate() {
        log.append(std::slice::from_ref(item)).expect("room");
        if n == 6 {
            log.sync().expect("no faults");
        }
    }
    drop(log);
    let forged = damage(&disk, bytes);
    let Ok(opened) = Log::open(disk, owner()) else { return };
    let reader = opened.log.reader();
    for (n, item) in items().into_iter().enumerate() {
        if let Ok(Some(found)) = reader.item(Index(n as u64))
            && !forged
        {
            assert_eq!(found, item, "not what was appended at {n}");
        }
    }
    let _ = reader.verify();
    let _ = reader.root(opened.log.size());
}

/// A damaged snapshot is not found, or every chunk of it is what was saved, or an error.
///
/// # Panics
/// When it is anything else.
pub fn snapshot(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let mut snapshots = Snapshots::new(disk.clone(), owner());
    let chunk = |n: usize| vec![u8::try_from(n).unwrap_or(0); n * 17];
    snapshots.save(Slot(3), b"older", (0..2).map(chunk)).expect("room");
    snapshots.save(Slot(9), b"manifest", (0..5).map(chunk)).expect("room");
    let forged = damage(&disk, bytes);
    let Ok(loaded) = Snapshots::new(disk, owner()).newest() else { return };
    let Some(found) = loaded.snapshot else { return };
    for n in 0..found.chunks() {
        if let Ok(Some(content)) = found.chunk(n)
            && !forged
        {
            assert_eq!(content, chunk(n), "not what was saved as {n}");
        }
    }
    if !forged {
        let expected: &[u8] = if found.slot() == Slot(9) { b"manifest" } else { b"older" };
        assert_eq!(found.manifest(), expected);
    }
}
