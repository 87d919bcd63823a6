//! Every type of the vocabulary: the first byte chooses which.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    quorate_fuzz::wire::any_wire_type(bytes);
});
