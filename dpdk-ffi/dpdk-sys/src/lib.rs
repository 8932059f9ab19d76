//! Raw DPDK: what bindgen makes of `shim.h`. The lists in `build.rs` say what is bound; `dpdk-ffi` makes it safe.

#![allow(unsafe_code)] // declarations of foreign functions, and bindgen's bit fields
#![allow(missing_docs, non_camel_case_types, non_upper_case_globals, non_snake_case)] // C's names and DPDK's own guide
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)] // generated

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
