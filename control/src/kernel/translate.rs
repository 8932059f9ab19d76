//! The kernel's messages as the router builder's [`Event`]s: which interface is which port, and which of the kernel's
//! route types and neighbour states mean what. Pure; it knows no sockets.

use super::resolver::Key;
use forwarder::route::{Event, Hop, Neighbour, Place, Route, Table, Target};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// What a message asks for besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Then {
    /// Nothing.
    Carry,
    /// The kernel drops routes without a word when an interface or an address goes: read everything anew.
    Resync,
}

/// Knows the interfaces.
#[derive(Debug)]
pub(super) struct Translator {
    ports: HashMap<String, u16>,
    links: HashMap<u32, Interface>,
    /// Neighbours that an operator has fixed.
    fixed: HashSet<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    port: Option<u16>,
    /// IFF_UP, and IFF_LOWER_UP (carrier).
    state: (bool, bool),
}

impl Translator {
    /// `interfaces` are the names of the kernel interfaces that belong to ports.
    pub(super) fn new(interfaces: &[(u16, String)]) -> Self {
        let ports = interfaces.iter().map(|(port, name)| (name.clone(), *port)).collect();
        Self { ports, links: HashMap::new(), fixed: HashSet::new() }
    }

    /// Forgets the interfaces and fixed neighbours, to be told them anew.
    pub(super) fn reset(&mut self) {
        self.links.clear();
        self.fixed.clear();
    }

    /// True if the MAC address of this neighbour was written by hand. The kernel must not be asked to resolve it: that
    /// would throw away what was written.
    pub(super) fn is_fixed(&self, key: Key) -> bool {
        self.fixed.contains(&key)
    }

    /// The interface index of a port, while its interface exists.
    pub(super) fn index_of(&self, port: u16) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.port == Some(port)).map(|(index, _)| *index)
    }

    /// Calls back with the events of a message that has these header flags.
    pub(super) fn translate(&mut self, message: &RouteNetlinkMessage, flags: u16, mut each: impl FnMut(Event)) -> Then {
        let mut then = Then::Carry;
        let event = match message {
            // Of AF_BRIDGE are a bridge's words about its members.
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
                if link.header.interface_family != AddressFamily::Unspec =>
            {
                None
            }
            RouteNetlinkMessage::NewLink(link) => return self.link(link, each),
            RouteNetlinkMessage::DelLink(link) => return self.link_gone(link.header.index, each),
            RouteNetlinkMessage::NewAddress(address) => {
                self.address(address).map(|(port, address)| Event::AddressAdded { port, address })
            }
            RouteNetlinkMessage::DelAddress(address) => {
                // Whichever interface had it, routes with this source address went too.
                then = Then::Resync;
                self.address(address).map(|(port, address)| Event::AddressRemoved { port, address })
            }
            RouteNetlinkMessage::NewRoute(route) => {
                self.route(route).map(|route| Event::RouteAdded(route, place(flags)))
            }
            RouteNetlinkMessage::DelRoute(route) => self.route(route).map(Event::RouteRemoved),
            RouteNetlinkMessage::NewNeighbour(message) => self.neighbour(message).map(|neighbour| {
                let key = (neighbour.port, neighbour.address);
                match message.header.state {
                    NeighbourState::Permanent | NeighbourState::Noarp => self.fixed.insert(key),
                    _ => self.fixed.remove(&key),
                };
                Event::Neighbour(neighbour)
            }),
            RouteNetlinkMessage::DelNeighbour(message) => {
                self.neighbour(message).map(|Neighbour { port, address, .. }| {
                    self.fixed.remove(&(port, address));
                    Event::NeighbourRemoved { port, address }
                })
            }
            _ => None,
        };
        if let Some(event) = event {
            each(event);
        }
        then
    }

    fn link(&mut self, message: &LinkMessage, mut each: impl FnMut(Event)) -> Then {
        let (mut name, mut mac, mut mtu) = (None, [0; 6], 1500);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.as_str()),
                LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().unwrap_or(mac),
                LinkAttribute::Mtu(bytes) => mtu = u16::try_from(*bytes).unwrap_or(u16::MAX),
                _ => {}
            }
        }
        let flags = message.header.flags;
        let up = flags.contains(LinkFlags::Up);
        let port = name.and_then(|name| self.ports.get(name).copied());
        let now = Interface { port, state: (up, flags.contains(LinkFlags::LowerUp)) };
        let before = self.links.insert(message.header.index, now);
        if let Some(port) = port {
            each(Event::Port { port, up, mac, mtu });
        } else if let Some(port) = before.and_then(|before| before.port) {
            // Renamed: it is not ours any more.
            each(Event::Port { port, up: false, mac, mtu });
        }
        match before {
            // Of what came up before this one was known, its addresses and routes were not taken for ours.
            None if port.is_some() => Then::Resync,
            Some(before) if before != now => Then::Resync,
            _ => Then::Carry,
        }
    }

    fn link_gone(&mut self, index: u32, mut each: impl FnMut(Event)) -> Then {
        if let Some(port) = self.links.remove(&index).and_then(|link| link.port) {
            each(Event::Port { port, up: false, mac: [0; 6], mtu: 1500 });
        }
        Then::Resync
    }

    fn port(&self, index: u32) -> Option<u16> {
        self.links.get(&index).and_then(|link| link.port)
    }

    /// An address that can be a source: global, and not a secondary of its network.
    fn address(&self, message: &AddressMessage) -> Option<(u16, Ipv4Addr)> {
        let header = &message.header;
        let port = self.port(header.index)?;
        if header.scope != AddressScope::Universe || header.flags.contains(AddressHeaderFlags::Secondary) {
            return None;
        }
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })?;
        Some((port, local))
    }

    fn neighbour(&self, message: &NeighbourMessage) -> Option<Neighbour> {
        let header = &message.header;
        let port = self.port(header.ifindex)?;
        if header.flags.contains(NeighbourFlags::Proxy) {
            return None;
        }
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
            _ => None,
        })?;
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
        Some(Neighbour { port, address, mac: mac.filter(|_| usable(header.state)) })
    }

    /// A route of the main or local table that a packet without a type of service can take.
    fn route(&self, message: &RouteMessage) -> Option<Route> {
        let header = &message.header;
        if header.tos != 0 || header.flags.contains(RouteFlags::Cloned) {
            return None;
        }
        let (mut number, mut network, mut metric) = (u32::from(header.table), Ipv4Addr::UNSPECIFIED, 0);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(table) => number = *table,
                RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
                RouteAttribute::Destination(_) => return None,
                RouteAttribute::Priority(priority) => metric = *priority,
                _ => {}
            }
        }
        let table = match number {
            254 => Table::Main,
            255 => Table::Local,
            _ => return None,
        };
        let target = match header.kind {
            RouteType::Unicast => self.hops(message),
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => Target::Local,
            RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Target::Unreachable,
            // "Not in this table": after the main one nothing follows.
            RouteType::Throw if table == Table::Main => Target::Unreachable,
            _ => return None,
        };
        Some(Route { table, network, prefix: header.destination_prefix_length, metric, target })
    }

    /// The next hops by our ports. A route that has only others is the kernel's to forward.
    fn hops(&self, message: &RouteMessage) -> Target {
        let mut ours = Vec::new();
        let mut others = false;
        let mut take = |index: Option<u32>, attributes: &[RouteAttribute], weight: u16, dead: bool| {
            if dead {
                return;
            }
            match (index.and_then(|index| self.port(index)), gateway(attributes)) {
                (Some(port), Gateway::None) => ours.push(Hop { port, gateway: None, weight }),
                (Some(port), Gateway::V4(address)) => ours.push(Hop { port, gateway: Some(address), weight }),
                _ => others = true,
            }
        };
        let several = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => Some(hops),
            _ => None,
        });
        match several {
            Some(hops) => hops.iter().for_each(|hop: &RouteNextHop| {
                let dead = hop.flags.contains(RouteNextHopFlags::Dead);
                take(Some(hop.interface_index), &hop.attributes, u16::from(hop.hops) + 1, dead);
            }),
            None => {
                let index = message.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                });
                take(index, &message.attributes, 1, message.header.flags.contains(RouteFlags::Dead));
            }
        }
        if ours.is_empty() && others { Target::Local } else { Target::Hops(ours) }
    }
}

enum Gateway {
    None,
    V4(Ipv4Addr),
    /// An IPv6 gateway of an IPv4 route (RFC 8950): left to the kernel.
    Other,
}

fn gateway(attributes: &[RouteAttribute]) -> Gateway {
    let found = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) | RouteAttribute::Via(RouteVia::Inet(address)) => {
            Some(Gateway::V4(*address))
        }
        RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => Some(Gateway::Other),
        _ => None,
    });
    found.unwrap_or(Gateway::None)
}

fn place(flags: u16) -> Place {
    if flags & NLM_F_REPLACE != 0 {
        Place::Replace
    } else if flags & NLM_F_APPEND != 0 {
        Place::Last
    } else {
        Place::First
    }
}

/// True in the states in which the kernel itself would send to the neighbour (NUD_VALID).
fn usable(state: NeighbourState) -> bool {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    matches!(state, Reachable | Stale | Delay | Probe | Permanent | Noarp)
}
