//! A whole verification, of a response to the worked example's request.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::verified_response(bytes);
});
