//! What hostile bytes are put through. Each module has one `run(&[u8])`, which must neither panic nor take long, whatever
//! the bytes are, and checks what has to hold besides.
//!
//! The same functions serve cargo-fuzz (`fuzz_targets`) and `cargo test` (`tests`: every file of `corpus`, and random
//! bytes). An input that broke something once goes into `corpus/TARGET`, under a name that says what it broke.

mod check;
pub mod config;
mod draw;
#[cfg(test)]
mod found;
mod frames;
pub mod ipvsadm;
mod notes;
pub mod parse;
pub mod pipeline;
pub mod request;
mod world;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("parse", parse::run),
    ("pipeline", pipeline::run),
    ("ipvsadm", ipvsadm::run),
    ("request", request::run),
    ("config", config::run),
];
