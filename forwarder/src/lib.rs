//! The data path of RVS: bytes, tables and schedulers, with time as an argument.
//!
//! A packet walks these files in this order:
//!
//! 1. [`worker`]: the loop of one lcore: receive a burst, run it through the pipeline, transmit, let entries
//!    expire
//! 2. [`pipeline`]: the stages over a burst; each frame ends in a `Verdict`, a dropped one with a `DropReason`
//! 3. [`wire`]: header views over bytes; [`parse`]: one frame to its addresses, ports, hash and kind
//! 4. [`flow_table`]: where a connection is found (mechanism); [`conn`]: what it means (states, timeouts, counts)
//! 5. [`service`]: the immutable snapshot of services and servers; the VIP lookup of a first packet
//!    and [`marks`]: the firewall mark of a first packet
//! 6. [`scheduler`]: which server a new connection gets
//! 7. [`rewrite`]: the packet's new headers, for each forwarding method; [`route`] and [`way`]: where it leaves
//! 8. [`stats`]: what was counted; [`rss`]: which of several workers a client belongs to
//!
//! It knows no DPDK, sockets, clocks, logs or files: see `packet-io` for the seam below it and `control` for who
//! writes the snapshot.

pub mod clock;
pub mod conn;
pub mod flow_table;
pub mod lines;
pub mod marks;
pub mod parse;
pub mod pipeline;
pub mod police;
pub mod publication;
pub mod rewrite;
pub mod route;
pub mod rss;
pub mod scheduler;
pub mod service;
pub mod stats;
mod sync;
pub mod way;
pub mod wire;
pub mod worker;
