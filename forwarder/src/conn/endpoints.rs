//! Source and destination of a packet, as they stand in it.

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

    /// From two addresses with ports, as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub fn between(source: (u32, u16), destination: (u32, u16)) -> Self {
        let far = |near: bool| u32::from(near != cfg!(target_endian = "little"));
        Self {
            addresses: u64::from(source.0) << (32 * far(true)) | u64::from(destination.0) << (32 * far(false)),
            ports: u32::from(source.1) << (16 * far(true)) | u32::from(destination.1) << (16 * far(false)),
        }
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
    #[inline(always)]
    #[must_use]
    pub fn source_bits(self) -> (u32, u16) {
        self.end(false)
    }

    /// The destination's address and port as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub fn destination_bits(self) -> (u32, u16) {
        self.end(true)
    }

    /// The source's address and port, or (`second`) the destination's, as they stand in memory, without a branch.
    #[inline(always)]
    #[must_use]
    pub fn end(self, second: bool) -> (u32, u16) {
        let far = u32::from(second == cfg!(target_endian = "little"));
        ((self.addresses >> (far * 32)) as u32, (self.ports >> (far * 16)) as u16)
    }

    /// With source and destination exchanged.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { addresses: self.addresses.rotate_left(32), ports: self.ports.rotate_left(16) }
    }
}
