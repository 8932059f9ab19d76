//! The stages over a burst.

mod verdict;
pub use verdict::{DropReason, Verdict, Waiting};
