//! `Signature-Input` and `Signature`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::client_signature(bytes);
});
