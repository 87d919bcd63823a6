//! `request.http`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::saved_request(bytes);
});
