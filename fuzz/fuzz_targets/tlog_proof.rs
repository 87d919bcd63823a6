//! Proof texts: the checkpoint in one is a checkpoint.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::tlog_proof(bytes);
});
