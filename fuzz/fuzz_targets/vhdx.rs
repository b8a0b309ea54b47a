//! See `labpack_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| labpack_fuzz::run("vhdx", input));
