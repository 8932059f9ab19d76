//! Sets up the kernel interface of a port.

use super::Error;
use super::socket::Requests;
use forwarder::route::Mac;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

/// Gives the interface of this name a MAC address and an MTU (where given; bytes of IP packet) and brings it up.
///
/// # Errors
/// The kernel's refusal: there is no such interface, it does not take that address or MTU, or CAP_NET_ADMIN is missing.
pub fn set_up(name: &str, mac: Option<Mac>, mtu: Option<u16>) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    // Index 0: the name says which one.
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    message.attributes.extend(mtu.map(|mtu| LinkAttribute::Mtu(u32::from(mtu))));
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let doing = format!("cannot set up the interface '{name}'");
    Requests::open()?.request(&doing, RouteNetlinkMessage::SetLink(message), 0)
}

/// True if there is an interface of this name.
#[must_use]
pub fn exists(name: &str) -> bool {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    socket(AddressFamily::INET, SocketType::DGRAM, None).is_ok_and(|any| netdevice::name_to_index(any, name).is_ok())
}
