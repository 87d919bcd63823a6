//! A deterministic generator: SHA-256 in counter mode.

use quorate_types::Digest;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Separates this use of SHA-256 from every other.
const TAG: &[u8] = b"quorate-rng/1";

/// A stream of bytes that follows from a seed: block `i` is SHA-256("quorate-rng/1" || seed || `i`
/// as 8 bytes big-endian), counted from 0. The stream is part of what replicas agree on and never
/// changes.
#[derive(Clone)]
pub struct Rng {
    seed: Digest,
    next: u64,
    block: [u8; Digest::SIZE],
    used: usize,
}

impl Rng {
    /// The stream of a seed, from its start.
    #[must_use]
    pub fn new(seed: Digest) -> Self {
        Self { seed, next: 0, block: [0; Digest::SIZE], used: Digest::SIZE }
    }

    /// Fills a buffer with the next bytes of the stream.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            if self.used == Digest::SIZE {
                self.refill();
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }

    /// The next `N` bytes of the stream.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// The next eight bytes as a big-endian number.
    pub fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// A number below `bound`, each equally likely; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers past the last whole multiple of `bound` would favour the small remainders. At
        // most one draw in two is refused.
        let refused = (u64::MAX % bound + 1) % bound;
        loop {
            let drawn = self.next_u64();
            if drawn <= u64::MAX - refused {
                return drawn % bound;
            }
        }
    }

    fn refill(&mut self) {
        let hash = Sha256::new_with_prefix(TAG).chain_update(self.seed);
        self.block = hash.chain_update(self.next.to_be_bytes()).finalize().into();
        // 2^64 blocks are out of reach.
        self.next = self.next.wrapping_add(1);
        self.used = 0;
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rng").field("seed", &self.seed).field("next", &self.next).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_sha_256_in_counter_mode() {
        let seed = Digest([7; 32]);
        let mut expected = Vec::new();
        for counter in 0_u64..3 {
            let input = [TAG, &seed.0, &counter.to_be_bytes()].concat();
            expected.extend_from_slice(&Sha256::digest(input));
        }
        let mut rng = Rng::new(seed);
        let mut stream = rng.bytes::<5>().to_vec();
        stream.extend(rng.bytes::<91>());
        assert_eq!(stream, expected);
    }

    #[test]
    fn the_first_number_of_a_seed_is_frozen() {
        // `(printf quorate-rng/1; head -c 40 /dev/zero) | sha256sum` begins like this.
        assert_eq!(Rng::new(Digest::ZERO).next_u64(), 0x0af2_76e4_c9b2_ae86);
    }

    #[test]
    fn a_bounded_number_is_below_its_bound_and_reaches_all_of_it() {
        let mut rng = Rng::new(Digest([1; 32]));
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[usize::try_from(rng.below(6)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        for bound in [1 << 63, (1 << 63) + 1, u64::MAX] {
            assert!(rng.below(bound) < bound);
        }
    }
}
