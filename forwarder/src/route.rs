//! Where a packet leaves: routes, neighbours and ports, as mirrored from the kernel. Pure data; nobody here asks the
//! kernel or resolves anything.
//!
//! The routing table is flattened: address space is cut into the ranges that share an answer, so a lookup is one binary
//! search. [`RoutesBuilder`] takes the kernel's events and makes the next [`Routes`].

mod builder;
mod ranges;
#[cfg(test)]
mod tests;

pub use builder::{Event, Hop, Neighbour, Place, Route, RoutesBuilder, Table, Target};
pub use ranges::Range;

use std::net::Ipv4Addr;
use std::sync::Arc;

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
    /// Send to this neighbour, once its [`Link::mac`] is known; until then ask for [`Link::address`].
    Link(LinkId),
    /// The address is on the network of this port, and no neighbour entry exists yet: ask for it.
    Unknown(u16),
    /// It is an address of the director itself: its kernel takes the packet.
    Local,
    /// There is no route.
    Unreachable,
}

/// Routes and neighbours. Cloning copies no tables.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Changes when an answer of [`Routes::lookup`] may have changed (not when only a MAC did); connections cache
    /// answers with this number beside them. 0 only before anything was built, so a cache may start with 0. With a thousand
    /// changes a second a number comes again after seven weeks, and connections live a month at most.
    pub version: u32,
    /// Neighbours by number. Numbers that nobody has are filled with address 0.0.0.0 and no MAC.
    pub links: Arc<[Link]>,
    /// First addresses of the ranges (host byte order), rising; the first one is 0.
    starts: Arc<[u32]>,
    /// The answer of each range.
    answers: Arc<[Answer]>,
    /// The paths of [`Answer::Several`].
    groups: Arc<[Paths]>,
    /// The numbers of neighbours by address and port, sorted.
    neighbours: Arc<[(Ipv4Addr, u16, LinkId)]>,
}

/// The answer for a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Local,
    Unreachable,
    /// The destination itself is the neighbour to ask, on this port.
    OnLink(u16),
    /// A gateway.
    Via(LinkId),
    /// One of several paths, by number of the group.
    Several(u32),
}

/// The next hops of a route with several, each with the sum of the weights up to and including its own.
type Paths = Box<[(u32, Answer)]>;

impl Routes {
    /// Where a packet to this address leaves.
    ///
    /// Of several next hops of one route, the address alone decides, so an address keeps its path while the routes
    /// stay. Multicast and broadcast addresses are the kernel's.
    #[must_use]
    pub fn lookup(&self, address: Ipv4Addr) -> NextHop {
        if address.is_multicast() || address.is_broadcast() {
            return NextHop::Local;
        }
        let after = self.starts.partition_point(|start| *start <= u32::from(address));
        let answer = self.answers.get(after.wrapping_sub(1)).copied().unwrap_or(Answer::Unreachable);
        self.resolve(answer, address)
    }

    /// The neighbour with this number.
    #[inline]
    #[must_use]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(usize::from(id.0))
    }

    /// The number of a neighbour, if it has an entry.
    #[must_use]
    pub fn neighbour(&self, port: u16, address: Ipv4Addr) -> Option<LinkId> {
        let found = self.neighbours.binary_search_by_key(&(address, port), |entry| (entry.0, entry.1)).ok()?;
        Some(self.neighbours[found].2)
    }

    /// The gateways that routes lead to; one may be named several times.
    pub fn gateways(&self) -> impl Iterator<Item = LinkId> {
        let paths = self.groups.iter().flatten().map(|path| path.1);
        self.answers.iter().copied().chain(paths).filter_map(|answer| match answer {
            Answer::Via(id) => Some(id),
            _ => None,
        })
    }

    fn resolve(&self, answer: Answer, address: Ipv4Addr) -> NextHop {
        match answer {
            Answer::Local => NextHop::Local,
            Answer::Unreachable => NextHop::Unreachable,
            Answer::Via(id) => NextHop::Link(id),
            Answer::OnLink(port) => self.neighbour(port, address).map_or(NextHop::Unknown(port), NextHop::Link),
            Answer::Several(group) => {
                let paths = &self.groups[group as usize];
                let total = paths.last().map_or(0, |path| path.0);
                let draw = ((u64::from(spread(address)) * u64::from(total)) >> 32) as u32;
                let index = paths.partition_point(|path| path.0 <= draw);
                // A group holds no groups, so this goes one level deep.
                paths.get(index).map_or(NextHop::Unreachable, |path| self.resolve(path.1, address))
            }
        }
    }
}

/// 32 well mixed bits of an address.
#[inline(always)]
fn spread(address: Ipv4Addr) -> u32 {
    (u64::from(u32::from_ne_bytes(address.octets())).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// A set of addresses with a cheap test that may say yes wrongly (a one-hash Bloom filter), never no wrongly.
#[derive(Clone, Debug, Default)]
pub struct AddressSet {
    bits: Vec<u64>,
    /// What keeps the number of a bit below how many there are.
    mask: u32,
    /// How many addresses it was told of.
    told: usize,
}

impl AddressSet {
    /// A set of these addresses: at 256 bits an address while that is a few KiB, so that one in 256 answers is false;
    /// else at 16 bits an address or more.
    pub fn new(addresses: impl ExactSizeIterator<Item = Ipv4Addr>) -> Self {
        if addresses.len() == 0 {
            return Self::default();
        }
        const GENEROUS: usize = 1024;
        let least = addresses.len() * 16 / 64;
        let words = least.max((addresses.len() * 256 / 64).min(GENEROUS)).next_power_of_two().max(8);
        let mut set = Self { bits: vec![0; words], mask: (words * 64 - 1) as u32, told: 0 };
        for address in addresses {
            set.put(address);
        }
        set
    }

    /// Adds an address; false if there is no room for it, and the set must be made anew.
    #[must_use]
    pub fn insert(&mut self, address: Ipv4Addr) -> bool {
        let room = self.told < self.bits.len() * 4;
        if room {
            self.put(address);
        }
        room
    }

    /// How many addresses it was told of, since it was made.
    #[must_use]
    pub fn told(&self) -> usize {
        self.told
    }

    fn put(&mut self, address: Ipv4Addr) {
        let bit = self.bit(address);
        self.bits[bit / 64] |= 1 << (bit % 64);
        self.told += 1;
    }

    /// True if no address is in the set.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told == 0
    }

    /// False if the address is surely not in the set.
    #[inline(always)]
    #[must_use]
    pub fn may_contain(&self, address: Ipv4Addr) -> bool {
        let bit = self.bit(address);
        self.bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    #[inline(always)]
    fn bit(&self, address: Ipv4Addr) -> usize {
        (spread(address) & self.mask) as usize
    }
}
