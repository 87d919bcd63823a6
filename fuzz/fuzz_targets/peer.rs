//! What replicas send each other.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::replica::peer(bytes);
});
