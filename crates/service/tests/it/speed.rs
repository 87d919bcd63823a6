//! What a root costs on a large state. Prints its numbers; fails only on the grossly wrong, since
//! a build may be unoptimised and the machine busy.

use quorate_service::State;
use std::{hint::black_box, time::Duration};

// The clock here measures the test, it does not reach a service.
#[allow(clippy::disallowed_methods)]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = std::time::Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn key(n: u64) -> [u8; 16] {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [spread.to_be_bytes(), n.to_be_bytes()].concat().try_into().unwrap()
}

/// The median time of 100 writes of 512 bytes and a root, over many rounds.
fn round(state: &mut State, items: u64, rounds: u64, mut before: impl FnMut(&State)) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|round| {
            before(state);
            let writes = || {
                for n in 0..100 {
                    state.put(key((round * 7919 + n * 104_729) % items), vec![round as u8; 512]);
                }
                black_box(state.root());
            };
            timed(writes).0
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "slow"]
fn a_hundred_writes_and_a_root_of_a_million_items_slow() {
    const ITEMS: u64 = 1_000_000;
    let before = resident();
    let mut state = State::new();
    let (filled, ()) = timed(|| {
        for n in 0..ITEMS {
            state.put(key(n), vec![1; 512]);
        }
    });
    let (rooted, _) = timed(|| state.root());
    let overhead = (resident() - before).saturating_sub(state.bytes()) / ITEMS;
    let (read, ()) = timed(|| {
        for n in 0..100_000 {
            black_box(state.get(key(n * 7919 % ITEMS)));
        }
    });
    let alone = round(&mut state, ITEMS, 101, |_| ());
    let mut snapshot = None;
    let cloned = round(&mut state, ITEMS, 101, |state| snapshot = Some(state.clone()));
    let (cut, bytes) = timed(|| {
        let items = state.chunks().flatten();
        items.map(|(key, value)| key.len() + value.len()).sum::<usize>()
    });
    println!("a million items of 512 bytes: filled in {filled:?}, first root {rooted:?}");
    println!("memory an item beside key and value: {overhead} bytes");
    println!("a read: {:?}", read / 100_000);
    println!("100 writes and the root: {alone:?}, with a snapshot taken before: {cloned:?}");
    println!("all chunks: {cut:?}");
    assert_eq!((state.len() as u64, bytes as u64), (ITEMS, state.bytes()));
    assert!(overhead < 400, "{overhead} bytes an item");
    assert!(cloned < Duration::from_millis(100), "{cloned:?}");
}
