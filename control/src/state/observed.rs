//! What the desired state has to ask of the running director. A trait, so that the state is tested without one.

use crate::command::{ConnectionPage, Counters, Error};
use forwarder::clock::Tick;
use forwarder::service::DestId;
use std::net::{IpAddr, Ipv4Addr};

/// Connections of a destination, now, summed over the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// ActiveConn.
    pub active: u32,
    /// InActConn.
    pub inactive: u32,
    /// PersistConn.
    pub persistent: u32,
}

/// The running director, as the state sees it.
pub trait Observed {
    /// The moment.
    fn now(&self) -> Tick;

    /// What was counted for this slot since the director started. Never reset, also not when the slot changes hands.
    fn counters(&self, id: DestId) -> Counters;

    /// Its connections.
    fn live(&self, id: DestId) -> Live;

    /// True while any entry of a connection table refers to this slot: it must not be given to another destination.
    fn in_use(&self, id: DestId) -> bool {
        self.live(id) != Live::default()
    }

    /// A page of the connection table. Cursor 0 is the start.
    ///
    /// # Errors
    /// [`Error::Silent`].
    fn connections(&self, cursor: u64) -> Result<ConnectionPage, Error>;

    /// The MTU of an interface; none if there is no such interface.
    fn interface_mtu(&self, name: &str) -> Option<u32>;

    /// True for an address of the director itself.
    fn is_own(&self, address: IpAddr) -> bool {
        let _ = address;
        false
    }

    /// True for the broadcast address of one of the director's networks.
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        let _ = address;
        false
    }
}

/// A director that does nothing, at a fixed moment: for checking a configuration, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle(pub Tick);

impl Observed for Idle {
    fn now(&self) -> Tick {
        self.0
    }
    fn counters(&self, _: DestId) -> Counters {
        Counters::default()
    }
    fn live(&self, _: DestId) -> Live {
        Live::default()
    }
    fn connections(&self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        None
    }
}
