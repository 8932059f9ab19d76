//! `cargo fuzz run ipvsadm --features libfuzzer`: see `hostile::ipvsadm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::ipvsadm::run(data));
