//! ZIP-215 verification of many Ed25519 signatures, single or batched, with the same result.
//!
//! A batch asks one question of all its signatures: is a random linear combination of their
//! equations zero? It answers yes for valid ones, and for a set that holds an invalid one with
//! probability 2^-128. Both forms multiply by the cofactor, so they agree on every signature
//! (ZIP-215; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs"). Strict verification has no
//! equal batch form, which is why votes do not use it.

use ed25519_zebra::{Signature as ZebraSignature, VerificationKey, VerificationKeyBytes, batch};
use quorate_types::{PublicKey, ReplicaId, Signature};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Fewer signatures than this are verified one by one.
///
/// Measured by the ignored test `cost_of_one_signature_by_batch_size_slow`, per signature: singly
/// 47 us; in a batch of 1, 2, 3, 8 and 64 by four keys 67, 45, 36, 28 and 17 us.
pub(crate) const BATCH_LEAST: usize = 3;

/// One signature to verify. Comparable, so that the same one is verified once.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Signed<'a> {
    // First in the order: two different signatures nearly always differ in their first bytes.
    pub(crate) signature: &'a Signature,
    pub(crate) key: PublicKey,
    /// The replica whose vote key it is, when it is a vote.
    pub(crate) voter: Option<ReplicaId>,
    pub(crate) bytes: &'a [u8],
}

/// Whether `signature` over `bytes` is right by ZIP-215 for a key in its parsed form.
pub(crate) fn zip215_parsed(key: &VerificationKey, bytes: &[u8], signature: &Signature) -> bool {
    key.verify(&ZebraSignature::from_bytes(&signature.0), bytes).is_ok()
}

/// Whether `signature` over `bytes` is right by ZIP-215.
pub(crate) fn zip215(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    VerificationKey::try_from(key.0).is_ok_and(|key| zip215_parsed(&key, bytes, signature))
}

/// Verifies all in one batch. `None` when the operating system gives no randomness.
pub(crate) fn zip215_all(signed: &[Signed<'_>]) -> Option<bool> {
    let coefficients = Coefficients::draw().ok()?;
    let mut verifier = batch::Verifier::new();
    for Signed { signature, key, bytes, .. } in signed {
        let signature = ZebraSignature::from_bytes(&signature.0);
        verifier.queue((VerificationKeyBytes::from(key.0), signature, *bytes));
    }
    Some(verifier.verify(coefficients).is_ok())
}

/// Which of the signatures are right, given that some are suspected not to be: bisection, until a
/// part is small or both of its halves hold a wrong one.
///
/// The second rule bounds what a sender of nothing but forgeries can cost: a part that fails in
/// both halves is finished one by one, and the batches on the way to it, each half as long as the
/// one before, add up to at most twice the whole.
pub(crate) fn zip215_each(
    signed: &[Signed<'_>],
    single: &impl Fn(&Signed<'_>) -> bool,
    right: &mut Vec<bool>,
) {
    if signed.len() < BATCH_LEAST {
        right.extend(signed.iter().map(single));
        return;
    }
    let (left, rest) = signed.split_at(signed.len() / 2);
    let all_right = |part: &[Signed<'_>]| {
        if part.len() < BATCH_LEAST {
            part.iter().all(single)
        } else {
            zip215_all(part).unwrap_or(false)
        }
    };
    match (all_right(left), all_right(rest)) {
        // Nothing is wrong after all, or was suspected for want of randomness.
        (true, true) => right.extend(signed.iter().map(|_| true)),
        (true, false) => {
            right.extend(left.iter().map(|_| true));
            zip215_each(rest, single, right);
        }
        (false, true) => {
            zip215_each(left, single, right);
            right.extend(rest.iter().map(|_| true));
        }
        (false, false) => right.extend(signed.iter().map(single)),
    }
}

/// The random coefficients of one batch: SHA-256 over a fresh secret seed and a counter.
///
/// One call to the operating system a batch, and none that can fail in the middle: a coefficient
/// that an attacker knows lets wrong signatures cancel out.
struct Coefficients {
    seed: Zeroizing<[u8; 32]>,
    counter: u64,
}

impl Coefficients {
    fn draw() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self { seed, counter: 0 })
    }
}

impl CryptoRng for Coefficients {}

impl RngCore for Coefficients {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(*self.seed);
            hash.update(self.counter.to_be_bytes());
            self.counter += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
