//! Safe wrappers over DPDK, behind the seam of `packet-io`.
//!
//! [`eal`] starts DPDK once; all else needs its [`EalHandle`]: [`mempool`] holds frames ([`mbuf`]), [`port`] is a NIC
//! or a virtual device and hands its [`queue`]s out once each, [`hotplug`] adds and removes devices, [`lcore`] runs
//! workers, [`clock`] counts cycles, [`memory`] holds tables on huge pages, [`instructions`] picks the
//! best of the processor. [`log`](mod@log) carries what DPDK prints,
//! and `diagnose` turns it into one line that says what to do.
//!
//! This is the only crate that may say `unsafe`; each use gives its reason. It must not know protocols, connections or
//! services.
//!
//! What makes it sound, in short: a frame has one owner and is released when that is dropped; a queue exists at most
//! once and only while its port is started; memory pools live until the EAL is cleaned up, and that happens only when
//! nothing of DPDK is held any more ([`eal::Eal`]).

#![allow(unsafe_code)]

pub mod clock;
pub mod eal;
pub mod error;
pub mod heap;
pub mod hotplug;
pub mod instructions;
pub mod lcore;
pub mod link;
pub mod log;
pub mod mbuf;
pub mod memory;
pub mod mempool;
pub mod port;
pub mod prefetch;
pub mod queue;
pub mod queue_info;
pub mod stats;
pub mod telemetry;

mod diagnose;

pub use eal::{Eal, EalHandle};
pub use error::Error;
pub use mbuf::Mbuf;
pub use mempool::Mempool;
pub use port::{Port, PortConfig, PortId};
pub use prefetch::prefetch;
pub use queue::{RxQueue, TxQueue};
