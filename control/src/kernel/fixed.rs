//! Addresses, neighbours and routes from the configuration, for ports without a kernel interface.

use forwarder::route::{Event, Hop, Mac, Neighbour, Place, Port, Route, Routes, RoutesBuilder, Table, Target};
use std::fmt;
use std::net::Ipv4Addr;
use thiserror::Error;

/// A network: address and prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address in it.
    pub address: Ipv4Addr,
    /// The prefix length, 0 to 32.
    pub prefix: u8,
}

impl Network {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    /// True if the address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (u32::from(self.address) ^ u32::from(address)) & self.mask() == 0
    }
}

impl fmt::Display for Network {
    /// `10.0.0.0/8`, `10.0.0.7`, `default`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            0 => to.write_str("default"),
            32 => write!(to, "{}", self.address),
            prefix => write!(to, "{}/{prefix}", self.address),
        }
    }
}

/// A port as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPort {
    /// Its number.
    pub port: u16,
    /// Its MAC address.
    pub mac: Mac,
    /// Its MTU, bytes of IP packet.
    pub mtu: u16,
    /// Its addresses and the networks they are in. The first is the source of tunnels.
    pub addresses: Vec<Network>,
}

/// A neighbour with a known MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedNeighbour {
    /// The port that it is reached by.
    pub port: u16,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC address.
    pub mac: Mac,
}

/// A route by a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedRoute {
    /// Where to.
    pub network: Network,
    /// The gateway. Its port is that of the [`FixedNeighbour`] with this address, else the one with it in its network.
    pub gateway: Ipv4Addr,
}

/// All that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Ports without a kernel interface.
    pub ports: Vec<FixedPort>,
    /// Their neighbours. Each is reachable, whatever the routes say.
    pub neighbours: Vec<FixedNeighbour>,
    /// Routes by them.
    pub routes: Vec<FixedRoute>,
}

/// A route that leads nowhere.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "no port has the gateway {gateway} in its network: give a port an address there, or the gateway a [[neighbour]]"
)]
pub struct NoPort {
    /// The gateway.
    pub gateway: Ipv4Addr,
}

impl Fixed {
    /// The events that tell this to a builder of routes.
    ///
    /// # Errors
    /// A gateway that no port reaches.
    pub fn events(&self) -> Result<Vec<Event>, NoPort> {
        // As in every kernel, what is on the loopback interface is nobody else's.
        let loopback = Network { address: Ipv4Addr::new(127, 0, 0, 0), prefix: 8 };
        let mut events = vec![route(Table::Local, loopback, Target::Local)];
        for FixedPort { port, mac, mtu, addresses } in &self.ports {
            events.push(Event::Port { port: *port, up: true, mac: *mac, mtu: *mtu });
            for network in addresses {
                events.push(Event::AddressAdded { port: *port, address: network.address });
                events.push(local(network.address));
                events.push(on_link(*port, *network));
                if network.prefix < 31 {
                    events.push(local(Ipv4Addr::from(u32::from(network.address) | !network.mask())));
                }
            }
        }
        for FixedNeighbour { port, address, mac } in &self.neighbours {
            events.push(Event::Neighbour(Neighbour { port: *port, address: *address, mac: Some(*mac) }));
            events.push(on_link(*port, Network { address: *address, prefix: 32 }));
        }
        for FixedRoute { network, gateway } in &self.routes {
            let port = self.port_of(*gateway).ok_or(NoPort { gateway: *gateway })?;
            events.push(route(
                Table::Main,
                *network,
                Target::Hops(vec![Hop { port, gateway: Some(*gateway), weight: 1 }]),
            ));
        }
        Ok(events)
    }

    /// The routes and ports that follow from this alone, for a director without kernel interfaces and `ports` ports.
    ///
    /// # Errors
    /// A gateway that no port reaches.
    pub fn routes(&self, ports: u16) -> Result<(Routes, Vec<Port>), NoPort> {
        let mut builder = RoutesBuilder::new(ports);
        self.events()?.into_iter().for_each(|event| builder.apply(event));
        Ok(builder.build().unwrap_or_default())
    }

    fn port_of(&self, gateway: Ipv4Addr) -> Option<u16> {
        let neighbour = self.neighbours.iter().find(|neighbour| neighbour.address == gateway);
        let in_network = |port: &&FixedPort| port.addresses.iter().any(|network| network.contains(gateway));
        neighbour.map(|neighbour| neighbour.port).or_else(|| self.ports.iter().find(in_network).map(|port| port.port))
    }
}

fn route(table: Table, network: Network, target: Target) -> Event {
    let Network { address, prefix } = network;
    Event::RouteAdded(Route { table, network: address, prefix, metric: 0, target }, Place::Last)
}

fn local(address: Ipv4Addr) -> Event {
    route(Table::Local, Network { address, prefix: 32 }, Target::Local)
}

fn on_link(port: u16, network: Network) -> Event {
    route(Table::Main, network, Target::Hops(vec![Hop { port, gateway: None, weight: 1 }]))
}
