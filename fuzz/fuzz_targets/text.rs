//! Entries, origins, keys, checkpoints, proofs, policies and coverage.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::one_text(bytes);
});
