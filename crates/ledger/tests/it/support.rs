//! What the tests share: an owner, and items and certificates that differ by their number.

use quorate_ledger::{Log, MemoryDisk, Owner};
use quorate_proof::tree::{leaf_hash, node_hash};
use quorate_types::{
    Chain, Cosignature, Digest, Epoch, Exchange, Head, Index, LogItem, Opening, ReplicaId, Request,
    Response, Salt, Signature, Slot, StableCertificate, StateRecord, UnixMillis,
};
use std::sync::Arc;

pub(crate) fn owner() -> Owner {
    Owner { chain: Chain::parse("5f2c9a17d0e84b63").unwrap(), replica: ReplicaId(2) }
}

/// Item `n`; every third one answers no request.
pub(crate) fn item(n: u64) -> LogItem {
    let entry = format!("quorate-mark/1\nindex {n}\nepoch 0\ntime {}\n", 1_763_658_123_456 + n);
    let exchange = (!n.is_multiple_of(3)).then(|| Exchange {
        request: Arc::new(Request {
            method: "PUT".to_owned(),
            path: format!("/kv/{n}"),
            query: "?".to_owned(),
            fields: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: vec![n as u8; n as usize % 7].into(),
            salt: Salt([n as u8; 16]),
            signature: None,
        }),
        response: Response::new(204),
    });
    let root = Digest([n as u8; 32]);
    let opening = n.is_multiple_of(2).then_some(Opening {
        slot: Slot(n / 2),
        service: root,
        table: root,
        engine: root,
    });
    LogItem { entry, exchange, opening }
}

pub(crate) fn items(range: std::ops::Range<u64>) -> Vec<LogItem> {
    range.map(item).collect()
}

/// A certificate for a head of that size and slot; its contents are arbitrary but for these.
pub(crate) fn certificate(size: u64, slot: u64) -> StableCertificate {
    StableCertificate {
        head: Head { size, root: Digest([size as u8; 32]) },
        cosignatures: vec![Cosignature { replica: ReplicaId(1), signature: Signature([7; 64]) }],
        last_entry: item(size - 1).entry,
        path: vec![Digest([3; 32])],
        record: StateRecord {
            slot: Slot(slot),
            next_index: Index(size),
            epoch: Epoch(0),
            time: UnixMillis(slot),
            service: Digest([1; 32]),
            replay: Digest([2; 32]),
            engine: Digest([3; 32]),
        },
    }
}

/// The root of RFC 6962 section 2.1, by its definition.
pub(crate) fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => quorate_proof::tree::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// The path of RFC 6962 section 2.1.1, by its definition.
pub(crate) fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (naive_path(index, left), naive_root(right)),
        Some(index) => (naive_path(index, right), naive_root(left)),
    };
    path.push(sibling);
    path
}

pub(crate) fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(item(n).entry.as_bytes())).collect()
}

/// Opens a log that must open.
pub(crate) fn open_log(disk: &MemoryDisk) -> Log<MemoryDisk> {
    Log::open(disk.clone(), owner()).unwrap().log
}

/// A log of `count` items, appended a few at a time, never synced.
pub(crate) fn log_of(disk: &MemoryDisk, count: u64) -> Log<MemoryDisk> {
    let mut log = open_log(disk);
    let mut n = log.size();
    while n < count {
        let end = count.min(n + 1 + n % 5);
        log.append(&items(n..end)).unwrap();
        n = end;
    }
    log
}

/// Everything that can be read from a log is that of the first `size` items.
pub(crate) fn assert_holds(log: &Log<MemoryDisk>, size: u64) {
    assert_eq!(log.size(), size);
    let reader = log.reader();
    reader.verify().unwrap();
    for n in 0..size {
        assert_eq!(reader.item(Index(n)).unwrap(), Some(item(n)), "item {n}");
    }
    assert_eq!(reader.item(Index(size)).unwrap(), None);
    assert_eq!(log.frontier().root(), naive_root(&leaves(size)));
    assert_eq!(reader.root(size).unwrap(), Some(naive_root(&leaves(size))));
}
