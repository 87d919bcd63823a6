//! Policies, beyond their text: whether any set of witnesses can be asked about.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::proof::policy(bytes);
});
