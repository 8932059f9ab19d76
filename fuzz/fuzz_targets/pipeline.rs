//! `cargo fuzz run pipeline --features libfuzzer`: see `hostile::pipeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::pipeline::run(data));
