//! Ways out, one for each neighbour, prepared when a snapshot is made: what a packet needs to leave lies together in one
//! place, ready to be copied into its headers.

use crate::pipeline::Waiting;
use crate::rewrite::{Departure, Hop};
use crate::route::{Port, Routes};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A way out.
#[derive(Clone, Debug)]
pub struct Way {
    /// What the frame gets: MAC addresses, and how long it may be. Without a destination while that is unknown.
    pub hop: Hop,
    /// The port.
    pub port: u16,
    /// The port's own address: the outer source of tunnels.
    pub source: Ipv4Addr,
    /// Set while the neighbour's MAC address is unknown.
    pub waiting: Option<Waiting>,
    /// The packet stays here: the director's own kernel takes it.
    pub local: bool,
    /// The hop and the port for packets that may leave at once; closed while the MAC address is unknown, and if `local`.
    pub departure: Departure,
}

impl Way {
    /// The way to a neighbour that nobody knows yet.
    #[must_use]
    pub fn unknown(number: u16, port: &Port, neighbour: Ipv4Addr) -> Self {
        Self {
            hop: Hop::new([0; 6], port.mac, port.mtu),
            port: number,
            source: port.source,
            waiting: Some(Waiting { port: number, neighbour }),
            local: false,
            departure: Departure::CLOSED,
        }
    }

    /// The port, if the neighbour's MAC address is known.
    #[must_use]
    pub fn resolved(&self) -> Option<u16> {
        self.waiting.is_none().then_some(self.port)
    }
}

/// The ways to all neighbours, by [`crate::route::LinkId`].
#[must_use]
pub fn ways(routes: &Routes, ports: &[Port]) -> Arc<[Way]> {
    let nowhere = Port { mac: [0; 6], mtu: 0, source: Ipv4Addr::UNSPECIFIED };
    let way = |link: &crate::route::Link| {
        let port = ports.get(usize::from(link.port)).unwrap_or(&nowhere);
        let unknown = Way::unknown(link.port, port, link.address);
        match link.mac {
            Some(mac) => {
                let hop = Hop::new(mac, port.mac, port.mtu);
                Way { hop, waiting: None, departure: Departure { hop, port: link.port }, ..unknown }
            }
            None => unknown,
        }
    };
    routes.links.iter().map(way).collect()
}
