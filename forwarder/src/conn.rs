//! What a connection means: its states, timeouts and counts. Knows no bytes and no table.

/// Timeouts by state, ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {}
