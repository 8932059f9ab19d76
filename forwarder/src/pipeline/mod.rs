//! The stages over a burst.

mod ledger;
mod verdict;
pub use verdict::{DropReason, Verdict, Waiting};
