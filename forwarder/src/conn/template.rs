//! Persistence templates: the memory that a client's next connections go to the same server.

use crate::clock::TICKS_PER_SECOND;
use crate::flow_table::{self, Secret};
use crate::service::{DestId, Protocol, ServiceKey};
use std::net::{Ipv4Addr, SocketAddrV4};

/// FTP's control port: a client's data connections, to any port, must find the same server (FTP_PORT of ip_vs_core.c).
const FTP: u16 = 21;
/// The port that an invalidated template is listed with.
const INVALID: u16 = 65535;
/// A template that connections still hang on when its time is up stays for this long at a time, ticks.
const EXTENSION: u32 = 60 * TICKS_PER_SECOND;

/// Which connections share a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateKey {
    /// The client's address under the service's mask.
    pub client: Ipv4Addr,
    /// The virtual address; of a mark service the mark, as an address.
    pub target: Ipv4Addr,
    /// The virtual port, host byte order; 0 for all ports.
    pub port: u16,
    /// IP protocol number; 0 for a mark service, all protocols.
    pub protocol: u8,
    /// With `--pe sip`: a hash of the Call-ID, never 0; else 0. Connections of one call share a template, and then the
    /// client does not matter.
    pub call: u64,
}

impl TemplateKey {
    /// The key of a connection that `client` opens to `target`, `port`. `mask` is the service's, host byte order.
    #[must_use]
    pub fn new(
        service: &ServiceKey,
        mask: u32,
        client: Ipv4Addr,
        target: Ipv4Addr,
        protocol: Protocol,
        port: u16,
    ) -> Self {
        let client = Ipv4Addr::from_bits(client.to_bits() & mask);
        let (target, port, protocol) = match *service {
            ServiceKey::Mark(mark, _) => (Ipv4Addr::from_bits(mark), 0, 0),
            ServiceKey::Address(_, _, served) => {
                (target, if port == served && port != FTP { port } else { 0 }, protocol as u8)
            }
        };
        Self { client, target, port, protocol, call: 0 }
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self, secret: &Secret) -> u64 {
        let client = if self.call == 0 { u64::from(self.client.to_bits()) } else { self.call };
        let service = u64::from(self.port) << 32 | u64::from(self.protocol) << 48 | u64::from(self.target.to_bits());
        flow_table::hash(flow_table::hash(client, secret) ^ service, secret)
    }
}

impl Default for TemplateKey {
    /// A key that no connection has.
    fn default() -> Self {
        Self { client: Ipv4Addr::UNSPECIFIED, target: Ipv4Addr::UNSPECIFIED, port: 0, protocol: u8::MAX, call: 0 }
    }
}

/// A template, IPv4: 48 bytes, for a flow table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    key: TemplateKey,
    server: Ipv4Addr,
    /// The destination's slot.
    pub dest: DestId,
    /// Connections that it scheduled and that still live.
    connections: u32,
    timeout: u32,
    /// The generation that the destination had; with another one the template is stale.
    pub generation: u16,
    server_port: u16,
    assured: bool,
    valid: bool,
}

const _: () = assert!(size_of::<flow_table::Slot<Template>>() == 64);

impl Default for Template {
    fn default() -> Self {
        Self {
            key: TemplateKey::default(),
            server: Ipv4Addr::UNSPECIFIED,
            dest: DestId::default(),
            connections: 0,
            timeout: 0,
            generation: 0,
            server_port: 0,
            assured: false,
            valid: false,
        }
    }
}

/// Why a connection leaves its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Its time was up, or a new connection took its place.
    Ended,
    /// It was pushed out to make room.
    GaveWay,
}

impl Template {
    /// A template for this key, by which its clients find `server`, destination `dest` of that generation.
    /// `timeout` is the service's, seconds. A template for all ports has no port of the server either.
    #[must_use]
    pub fn new(key: TemplateKey, server: SocketAddrV4, dest: DestId, generation: u16, timeout: u32) -> Self {
        Self {
            key,
            server: *server.ip(),
            dest,
            timeout: timeout.saturating_mul(TICKS_PER_SECOND),
            generation,
            server_port: if key.port == 0 { 0 } else { server.port() },
            valid: true,
            ..Self::default()
        }
    }

    /// True if it is for this key, and valid.
    #[inline]
    #[must_use]
    pub fn matches(&self, key: &TemplateKey) -> bool {
        let same_client = self.key.call == key.call && (key.call != 0 || self.key.client == key.client);
        let same_service =
            self.key.target == key.target && self.key.port == key.port && self.key.protocol == key.protocol;
        self.valid && same_client && same_service
    }

    /// Its server can serve no more: no connection finds it again, but it stays until those that it has are gone and
    /// its time is up, also if the server comes back.
    pub fn invalidate(&mut self) {
        self.valid = false;
    }

    /// False once it is invalidated.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// It scheduled a connection. The answer is its new life from now on, ticks.
    pub fn scheduled(&mut self) -> u32 {
        self.connections += 1;
        self.timeout
    }

    /// One of its connections proved real ([`super::Change::assured`]).
    pub fn assure(&mut self) {
        self.assured = true;
    }

    /// One of its connections is gone. True if the template goes with it, now.
    #[must_use]
    pub fn left(&mut self, why: Leaving) -> bool {
        self.connections = self.connections.saturating_sub(1);
        let forced = match why {
            Leaving::Ended => false,
            Leaving::GaveWay => !self.assured,
        };
        forced && self.connections == 0
    }

    /// Its time is up. The answer is its further life from now on, ticks, or none if it goes. It lives on in steps of
    /// 60 seconds while connections hang on it; and once that began, also its next connections give it 60 seconds.
    #[must_use]
    pub fn time_is_up(&mut self) -> Option<u32> {
        if self.connections == 0 {
            return None;
        }
        self.timeout = EXTENSION;
        Some(EXTENSION)
    }

    /// Connections that it scheduled and that still live.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Which connections share it.
    #[must_use]
    pub fn key(&self) -> &TemplateKey {
        &self.key
    }

    /// The name of its state as `ipvsadm -Lnc` prints it.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        if self.assured { "ASSURED" } else { "NONE" }
    }

    /// The virtual endpoint as it is listed.
    #[must_use]
    pub fn listed_target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.key.target, if self.valid { self.key.port } else { INVALID })
    }

    /// The server as it is listed.
    #[must_use]
    pub fn listed_server(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, if self.valid { self.server_port } else { INVALID })
    }
}
