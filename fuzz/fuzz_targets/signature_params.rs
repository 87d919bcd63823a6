//! `Signature-Input` with the rest in its right form.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::signature_parameters(bytes);
});
