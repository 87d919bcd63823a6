//! What a replica's engine keeps in its write-ahead log.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::replica::record(bytes);
});
