//! Changes that an operator asks for: the kernel makes them, on the interfaces of the ports, and the mirror hears of them.

use super::Error;
use super::fixed::Network;
use super::socket::Requests;
use forwarder::route::Mac;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{AddressFamily as SocketFamily, SocketType, netdevice, socket};
use std::net::Ipv4Addr;

/// A route: where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where to.
    pub network: Network,
    /// By this gateway; none: the hosts are neighbours.
    pub gateway: Option<Ipv4Addr>,
    /// By this interface; none leaves it to the kernel.
    pub interface: Option<String>,
    /// Of routes to the same network the one with the lowest counts; none is 0 for a new one, any for one that goes.
    pub metric: Option<u32>,
}

/// Writes a neighbour's MAC address by hand, in place of what the kernel knew of it.
///
/// # Errors
/// Why the kernel does not do it.
pub fn add_neighbour(interface: &str, address: Ipv4Addr, mac: Mac) -> Result<(), Error> {
    let mut message = neighbour(interface, address)?;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    let doing = format!("cannot add neighbour {address} on {interface}");
    Requests::open()?.request(&doing, RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Lets the kernel forget a neighbour, written by hand or not.
///
/// # Errors
/// Why the kernel does not do it.
pub fn delete_neighbour(interface: &str, address: Ipv4Addr) -> Result<(), Error> {
    let message = RouteNetlinkMessage::DelNeighbour(neighbour(interface, address)?);
    let doing = format!("cannot delete neighbour {address} on {interface}");
    Requests::open()?.request(&doing, message, 0).map_err(|error| match error {
        Error::Refused { doing, errno: errno @ Errno::NOENT, .. } => {
            Error::Refused { doing, reason: "there is none".to_owned(), errno }
        }
        other => other,
    })
}

/// Adds a route to the main table.
///
/// # Errors
/// Why the kernel does not do it.
pub fn add_route(way: &Way) -> Result<(), Error> {
    let mut message = route(way)?;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if way.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    let doing = format!("cannot add a route to {}", way.network);
    let message = RouteNetlinkMessage::NewRoute(message);
    Requests::open()?.request(&doing, message, NLM_F_CREATE | NLM_F_EXCL).map_err(|error| explain(error, way))
}

/// Takes a route out of the main table, the first that is as described.
///
/// # Errors
/// Why the kernel does not do it.
pub fn delete_route(way: &Way) -> Result<(), Error> {
    let mut message = route(way)?;
    message.header.scope = RouteScope::NoWhere;
    let doing = format!("cannot delete the route to {}", way.network);
    Requests::open()?.request(&doing, RouteNetlinkMessage::DelRoute(message), 0).map_err(|error| explain(error, way))
}

fn explain(error: Error, way: &Way) -> Error {
    let Error::Refused { doing, reason, errno } = error else { return error };
    let gateway = || way.gateway.map_or("the network".to_owned(), |gateway| format!("the gateway {gateway}"));
    let reason = match errno {
        Errno::EXIST => "there is one already; delete it first, or give this one another metric".to_owned(),
        Errno::SRCH => "there is none like that".to_owned(),
        Errno::NETUNREACH | Errno::HOSTUNREACH => format!("{} is on no network of the director", gateway()),
        Errno::NETDOWN => "the interface is down".to_owned(),
        Errno::INVAL => format!("the kernel does not take {}", gateway()),
        _ => reason,
    };
    Error::Refused { doing, reason, errno }
}

fn neighbour(interface: &str, address: Ipv4Addr) -> Result<NeighbourMessage, Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index(interface)?;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    Ok(message)
}

fn route(way: &Way) -> Result<RouteMessage, Error> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.destination_prefix_length = way.network.prefix;
    if way.network.prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(way.network.address)));
    }
    message.attributes.extend(way.gateway.map(|gateway| RouteAttribute::Gateway(RouteAddress::Inet(gateway))));
    if let Some(interface) = &way.interface {
        message.attributes.push(RouteAttribute::Oif(index(interface)?));
    }
    message.attributes.extend(way.metric.map(RouteAttribute::Priority));
    Ok(message)
}

fn index(interface: &str) -> Result<u32, Error> {
    let any = socket(SocketFamily::INET, SocketType::DGRAM, None).map_err(Error::Open)?;
    netdevice::name_to_index(any, interface)
        .map_err(|errno| Error::refused(&format!("cannot use the interface '{interface}'"), errno))
}
