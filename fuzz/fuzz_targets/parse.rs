//! `cargo fuzz run parse --features libfuzzer`: see `hostile::parse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::parse::run(data));
