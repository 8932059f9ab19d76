//! Where a packet leaves: routes, neighbours and ports, as mirrored from the kernel. Pure data; nobody here asks the
//! kernel or resolves anything.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A neighbour on a port: an entry of [`Routes::links`]. The number stays the same while the neighbour exists, so a
/// connection may remember it; a changed MAC address changes only the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u16);

/// A neighbour: the last step to a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The neighbour's IP address.
    pub address: Ipv4Addr,
    /// The port it is reached by.
    pub port: u16,
    /// Its MAC address; none while the kernel has not resolved it.
    pub mac: Option<Mac>,
}

/// A port of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its MAC address: the source of what leaves by it.
    pub mac: Mac,
    /// Its MTU, bytes of IP packet.
    pub mtu: u16,
    /// The kernel's preferred source address on it: the outer source of tunnels. 0.0.0.0 if it has none.
    pub source: Ipv4Addr,
}

/// What the routing table says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Send to this neighbour.
    Link(LinkId),
    /// The address is on the network of this port, and no neighbour entry exists yet: ask for it.
    Unknown(u16),
    /// It is an address of the director itself: its kernel takes the packet.
    Local,
    /// There is no route.
    Unreachable,
}

/// Routes and neighbours.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Changes when an answer of [`Routes::lookup`] may have changed (not when only a MAC did); connections cache
    /// answers with this number beside them.
    pub version: u16,
    /// Neighbours by number.
    pub links: Vec<Link>,
}

/// A set of addresses with a cheap test that may say yes wrongly (a one-hash Bloom filter), never no wrongly.
#[derive(Clone, Debug, Default)]
pub struct AddressSet {
    bits: Vec<u64>,
}

impl AddressSet {
    /// A set of these addresses, at 16 bits an address or more: about 6 % false answers at most.
    pub fn new(addresses: impl ExactSizeIterator<Item = Ipv4Addr>) -> Self {
        if addresses.len() == 0 {
            return Self::default();
        }
        let words = (addresses.len() * 16 / 64).next_power_of_two().max(8);
        let mut set = Self { bits: vec![0; words] };
        for address in addresses {
            let bit = set.bit(address);
            set.bits[bit / 64] |= 1 << (bit % 64);
        }
        set
    }

    /// False if the address is surely not in the set.
    #[inline]
    #[must_use]
    pub fn may_contain(&self, address: Ipv4Addr) -> bool {
        !self.bits.is_empty() && {
            let bit = self.bit(address);
            self.bits[bit / 64] & 1 << (bit % 64) != 0
        }
    }

    #[inline]
    fn bit(&self, address: Ipv4Addr) -> usize {
        let hash = u64::from(u32::from_ne_bytes(address.octets())).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        hash as usize & (self.bits.len() * 64 - 1)
    }
}
