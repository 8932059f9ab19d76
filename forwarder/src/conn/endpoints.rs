//! Source and destination of a packet, as they stand in it.

use crate::parse::Parsed;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Source and destination address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The eight bytes of source and destination address, as they stand in memory.
    pub addresses: u64,
    /// The four bytes of source and destination port, as they stand in memory.
    pub ports: u32,
}

impl Endpoints {
    /// From two addresses with ports.
    #[must_use]
    pub fn new(source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (source.ip().octets(), destination.ip().octets());
        let ([i, j], [k, l]) = (source.port().to_be_bytes(), destination.port().to_be_bytes());
        Self { addresses: u64::from_ne_bytes([a, b, c, d, e, f, g, h]), ports: u32::from_ne_bytes([i, j, k, l]) }
    }

    /// The source.
    #[must_use]
    pub fn source(self) -> SocketAddrV4 {
        let ([a, b, c, d, ..], [i, j, ..]) = (self.addresses.to_ne_bytes(), self.ports.to_ne_bytes());
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([i, j]))
    }

    /// The destination.
    #[must_use]
    pub fn destination(self) -> SocketAddrV4 {
        let ([.., e, f, g, h], [.., k, l]) = (self.addresses.to_ne_bytes(), self.ports.to_ne_bytes());
        SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([k, l]))
    }

    /// The source's address and port as they stand in memory.
    #[inline]
    #[must_use]
    pub fn source_bits(self) -> (u32, u16) {
        let parsed = self.as_parsed();
        (parsed.source_bits(), parsed.source_port_bits())
    }

    /// The destination's address and port as they stand in memory.
    #[inline]
    #[must_use]
    pub fn destination_bits(self) -> (u32, u16) {
        let parsed = self.as_parsed();
        (parsed.destination_bits(), parsed.destination_port_bits())
    }

    /// The source's address and port, or (`second`) the destination's, as they stand in memory, without a branch.
    #[inline(always)]
    #[must_use]
    pub fn end(self, second: bool) -> (u32, u16) {
        let far = u32::from(second == cfg!(target_endian = "little"));
        ((self.addresses >> (far * 32)) as u32, (self.ports >> (far * 16)) as u16)
    }

    #[inline]
    fn as_parsed(self) -> Parsed {
        Parsed { addresses: self.addresses, ports: self.ports, ..Parsed::default() }
    }

    /// With source and destination exchanged.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { addresses: self.addresses.rotate_left(32), ports: self.ports.rotate_left(16) }
    }
}
