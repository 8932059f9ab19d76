//! `cargo fuzz run config --features libfuzzer`: see `hostile::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::config::run(data));
