//! The kernel as slow path: its routes and neighbours mirrored for the data path, and asked to resolve what is not.
//!
//! [`Mirror`] runs a thread that listens to rtnetlink and calls back with new [`Update`]s; [`Fixed`] is the same from the
//! configuration. What counts is what a plain IPv4 look-up in the kernel would say: the local and the main table, in
//! that order, without policy rules; routes by interfaces that are none of our ports are the kernel's to forward.
//! Nothing here knows services or packets.
//!
//! A message walks `socket` (bytes) → `translate` (whose interface, which event) → the builder in
//! `forwarder::route` → `pace` (when to publish) → the callback; `resolver` decides when the kernel is asked;
//! `change` has it changed.

pub mod change;
mod fixed;
mod interface;
mod mirror;
mod operator;
mod pace;
mod resolver;
mod socket;
mod translate;

#[cfg(test)]
mod tests;

pub use fixed::{Fixed, FixedNeighbour, FixedPort, FixedRoute, Network, NoPort};
pub use interface::{exists, set_up};
pub use mirror::{Asker, Config, Counts, Mirror, Update};
pub use operator::Operator;

use rustix::io::Errno;

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("cannot open a netlink socket ({0}); the kernel needs CONFIG_NET, the process the right to AF_NETLINK")]
    Open(#[source] Errno),
    /// The socket broke.
    #[error("cannot hear the kernel's changes ({0})")]
    Receive(#[source] Errno),
    /// A request was refused.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was tried.
        doing: String,
        /// Why not, and what helps.
        reason: String,
        /// The kernel's error.
        errno: Errno,
    },
    /// No thread or wake-up descriptor.
    #[error("cannot start the kernel mirror ({0})")]
    Start(#[source] std::io::Error),
    /// The configuration does not fit together.
    #[error(transparent)]
    Fixed(#[from] NoPort),
}

impl Error {
    fn refused(doing: &str, errno: Errno) -> Self {
        let reason = match errno {
            Errno::PERM | Errno::ACCESS => "not permitted; run as root or with CAP_NET_ADMIN".to_owned(),
            Errno::NODEV => "there is no such interface".to_owned(),
            Errno::AGAIN => "the kernel did not answer".to_owned(),
            other => other.to_string(),
        };
        Self::Refused { doing: doing.to_owned(), reason, errno }
    }
}
