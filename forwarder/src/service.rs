//! The snapshot: services, their servers, and where packets leave, immutable once published.
//!
//! The control thread builds a new [`Snapshot`] for each change and publishes it in one swap; a worker reads it once a
//! burst. It knows nothing about connections or packets.

use crate::conn::Timeouts;
use crate::marks::MarkRules;
use crate::parse::Parsed;
use crate::rewrite::Departure;
use crate::route::{AddressSet, Port, Routes};
use crate::scheduler::{self, Kind};
use crate::way::Way;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A service's slot. Slots are reused: the generation tells a service from its predecessor in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// A destination's slot: the index of its counters and of its entry in [`Snapshot::destination`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestId(pub u32);

impl DestId {
    /// No destination: no slot has this number.
    pub const NONE: Self = Self(u32::MAX);
}

/// An IP protocol that can be balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// Also the protocol number stored in connections.
    Tcp = 6,
    /// User datagrams.
    Udp = 17,
    /// Stream control transmission.
    Sctp = 132,
}

/// What a virtual service answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// A protocol, virtual address and port (host byte order; 0: every port, for persistent services).
    Address(Protocol, IpAddr, u16),
    /// A firewall mark (never 0), for IPv4 or IPv6.
    Mark(u32, Family),
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How a packet reaches its real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `-m`: addresses and ports are rewritten, and back on the way out.
    Nat,
    /// `-i`: the packet travels in an outer one; the server answers the client directly.
    Tun(Tunnel),
    /// `-g`: only the MAC addresses change; the server answers the client directly.
    Dr,
    /// The director itself is the server: the packet goes to its own kernel.
    Local,
}

/// The outer headers of [`Method::Tun`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// IP in IP (RFC 2003).
    #[default]
    Ipip,
    /// Generic UDP encapsulation to this port, variant 0 or with remote checksum offload.
    Gue(u16, TunnelChecksum),
    /// Generic routing encapsulation (RFC 2784); never with [`TunnelChecksum::Remote`].
    Gre(TunnelChecksum),
}

/// The checksum of an outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// Over the payload.
    Full,
    /// Remote checksum offload (GUE only).
    Remote,
}

/// A destination as the pipeline needs it, for packets of existing connections.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Differs from that of an earlier destination in the same slot; a connection with another one is stale.
    pub generation: u16,
    /// False once the destination was deleted while connections live on (it is in the kernel's "trash").
    pub available: bool,
    /// Its weight; at 0 it keeps its connections and gets no new ones.
    pub weight: u32,
    /// `-x`: at this many connections it counts as overloaded; 0 is no limit.
    pub upper: u32,
    /// `-y`: below this many connections it is taken back; 0 means below 3/4 of `upper`.
    pub lower: u32,
    /// How packets reach it.
    pub method: Method,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port, host byte order; 0 leaves the packet's port as it is.
    pub port: u16,
    /// The service it serves.
    pub service: ServiceId,
    /// The state of its route: where packets to it leave.
    pub next_hop: crate::route::NextHop,
    /// The same, ready for use.
    pub exit: Exit,
}

/// How ordinary packets leave to a destination, so that they need look no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its MTU is that of packets as they come, before a tunnel's header is added. Closed if a packet has to look closer:
    /// the destination is gone, is the director itself, or its neighbour's MAC address is unknown.
    pub departure: Departure,
    /// The outer source of tunnels, as it stands in memory.
    pub source: u32,
}

impl Exit {
    /// No way out is known.
    pub const CLOSED: Self = Self { departure: Departure::CLOSED, source: 0 };

    /// The exit of a destination that is reached by this way.
    #[must_use]
    pub fn new(way: &Way, method: Method) -> Self {
        let overhead = if matches!(method, Method::Tun(_)) { crate::rewrite::ipip::OVERHEAD } else { 0 };
        Self { departure: way.departure.less(overhead), source: u32::from_ne_bytes(way.source.octets()) }
    }
}

/// A destination as a scheduler sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its slot.
    pub id: DestId,
    /// Its address; together with the port it seeds the table of `mh`.
    pub address: IpAddr,
    /// Its port, host byte order.
    pub port: u16,
    /// 0 quiesces: no new connections.
    pub weight: u32,
    /// The last weight that was not 0 (0 if there never was one): `mh` keeps the table slots of a quiesced server.
    pub last_weight: u32,
    /// `-x`: at this many connections the server counts as overloaded; 0 is no limit.
    pub upper: u32,
    /// `-y`: below this many connections it is taken back; 0 means below 3/4 of `upper`.
    pub lower: u32,
}

/// Persistence of a service (`-p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Life of a template after its last new connection, seconds.
    pub timeout: u32,
    /// Clients equal under this mask share a template: a dotted mask, in host byte order (IPv4).
    pub mask: u32,
    /// Prefix length for IPv6 clients.
    pub prefix: u8,
    /// `--pe sip`: connections are told apart by SIP Call-ID instead of by client.
    pub sip: bool,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its slot.
    pub id: ServiceId,
    /// Differs from that of an earlier service in the same slot.
    pub generation: u32,
    /// What it answers for.
    pub key: ServiceKey,
    /// Its scheduler.
    pub scheduler: Kind,
    /// `-b`: scheduler flags.
    pub flags: scheduler::Flags,
    /// `-p`.
    pub persistence: Option<Persistence>,
    /// `-o`: one-packet scheduling (UDP): no connection is kept.
    pub one_packet: bool,
    /// Its own timeouts, if it has any; else those of the snapshot apply.
    pub timeouts: Option<Timeouts>,
    /// Its destinations in the kernel's order: the newest first.
    pub members: Vec<Member>,
    /// Counts the destinations' additions, edits and deletions: as in the kernel, wrr restarts at each, even at an edit
    /// that changes nothing.
    pub edits: u32,
    /// What the scheduler prepared from the members ([`scheduler::Definition::prepare`]): the tables of dh, sh and mh.
    pub table: scheduler::Table,
}

/// Destinations in one chunk of the snapshot's table: a change copies one chunk, not the table.
pub const CHUNK: usize = 64;

/// All that the data path knows about configuration, immutable.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Rises by one with each publication.
    pub version: u64,
    /// The services by slot.
    pub services: Vec<Option<Arc<Service>>>,
    /// Lookup of the service of a first packet.
    pub index: ServiceIndex,
    /// Destinations by slot, in chunks.
    pub destinations: Vec<Arc<[Destination; CHUNK]>>,
    /// Real server addresses of NAT services: a packet from one of them may be a reply.
    pub nat_servers: AddressSet,
    /// Virtual addresses of services, and of former ones whose connections live on.
    pub virtual_addresses: AddressSet,
    /// Some of them are by mark: every address may be a virtual one.
    pub virtual_everywhere: bool,
    /// Slots whose service differs from the previous version's: workers bring their scheduler state up to date.
    pub changed: Vec<ServiceId>,
    /// Destinations whose upper threshold was raised or lifted since: they count as overloaded no more.
    pub relieved: Vec<DestId>,
    /// Timeouts of connections, for services without their own.
    pub timeouts: Timeouts,
    /// The kernel's /proc/sys/net/ipv4/vs.
    pub settings: Settings,
    /// What the kernel gets of each class.
    pub exceptions: crate::police::Limits,
    /// Routes and neighbours, mirrored from the kernel or configured.
    pub routes: Routes,
    /// The ports, by number.
    pub ports: Vec<Port>,
    /// The ways to the neighbours of `routes`, by number ([`crate::way::ways`]).
    pub ways: Arc<[Way]>,
    /// Marks of first packets, for mark services.
    pub marks: MarkRules,
    /// UDP ports of the GUE tunnels in use, host byte order.
    pub gue_ports: Vec<u16>,
    /// Milliseconds since midnight UT at tick 0, for IP options that ask for the time.
    pub day: u32,
    /// Rises whenever a destination is deleted.
    pub removals: u64,
    /// Some destination is the director itself: what its kernel sends may be a reply.
    pub local_servers: bool,
}

impl Protocol {
    /// The protocol with this number, if it can be balanced.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| *protocol as u8 == number)
    }
}

impl Destination {
    /// What a slot without a destination holds.
    pub const NONE: Self = Self {
        generation: 0,
        available: false,
        weight: 0,
        upper: 0,
        lower: 0,
        method: Method::Dr,
        address: Ipv4Addr::UNSPECIFIED,
        port: 0,
        service: ServiceId(0),
        next_hop: crate::route::NextHop::Unreachable,
        exit: Exit::CLOSED,
    };

    /// The port that a packet to `port` gets, host byte order.
    #[must_use]
    pub fn port_for(&self, port: u16) -> u16 {
        if self.port == 0 { port } else { self.port }
    }
}

impl Snapshot {
    /// The destination in this slot.
    #[inline]
    #[must_use]
    pub fn destination(&self, id: DestId) -> Option<&Destination> {
        Some(&self.destinations.get(id.0 as usize / CHUNK)?[id.0 as usize % CHUNK])
    }

    /// The service in this slot.
    #[inline]
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id.0 as usize)?.as_ref()
    }

    /// False if this is surely no virtual address of a service, nor of one whose connections live on.
    #[inline]
    #[must_use]
    pub fn may_be_virtual(&self, address: Ipv4Addr) -> bool {
        self.virtual_everywhere || self.virtual_addresses.may_contain(address)
    }

    /// False if a packet is surely of no service, in either direction; its ports may be unknown.
    #[inline]
    #[must_use]
    pub fn may_concern(&self, parsed: &Parsed) -> bool {
        self.may_be_virtual(parsed.destination()) || self.nat_servers.may_contain(parsed.source())
    }

    /// True if a packet comes from the address and port of a real server of a NAT service of its protocol.
    #[must_use]
    pub fn is_real_server(&self, parsed: &Parsed) -> bool {
        self.nat_servers.may_contain(parsed.source())
            && self.services.iter().flatten().any(|service| {
                let same_protocol = match service.key {
                    ServiceKey::Address(protocol, ..) => protocol as u8 == parsed.protocol,
                    ServiceKey::Mark(..) => true,
                };
                same_protocol
                    && service.members.iter().any(|member| {
                        member.address == IpAddr::V4(parsed.source())
                            && member.port == parsed.source_port()
                            && self.destination(member.id).is_some_and(|server| server.method == Method::Nat)
                    })
            })
    }

    /// True if there is such a destination of a service. It looks at all of them: for rare packets only.
    pub fn any_destination(&self, is_it: impl Fn(&Destination) -> bool) -> bool {
        let members = self.services.iter().flatten().flat_map(|service| &service.members);
        members.filter_map(|member| self.destination(member.id)).any(is_it)
    }

    /// The service of a first packet, as the kernel looks for it: by mark, by address and port, by address with port 0.
    /// `port` is the packet's destination port in host byte order. With the service comes the mark, 0 without one.
    #[must_use]
    pub fn service_for(
        &self,
        protocol: Protocol,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        port: u16,
    ) -> Option<(&Arc<Service>, u32)> {
        if !self.index.marks.is_empty() && !self.marks.is_empty() {
            let mark = self.marks.mark(protocol, source, destination, port);
            if let Some(service) = self.index.marks.get(&mark).and_then(|&id| self.service(id)) {
                return Some((service, mark));
            }
        }
        let find = |port| self.service(*self.index.addresses.get(&address_key(protocol, destination, port))?);
        find(port).or_else(|| find(0)).map(|service| (service, 0))
    }
}

/// The settings of the kernel's /proc/sys/net/ipv4/vs that the data path obeys, with the kernel's names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the kernel's ipvs-sysctl.rst describes each
pub struct Settings {
    pub expire_nodest_conn: bool,
    pub expire_quiescent_template: bool,
    pub conn_reuse_mode: u8,
    pub sloppy_tcp: bool,
    pub sloppy_sctp: bool,
    pub secure_tcp: u8,
    pub nat_icmp_send: bool,
    pub pmtu_disc: bool,
    pub cache_bypass: bool,
    pub lblc_expiration: u32,
    pub lblcr_expiration: u32,
}

impl Settings {
    /// True if TCP follows the stricter transitions. With secure_tcp 1 and 2 the kernel switches to them when its memory
    /// runs short; the memory of these tables is fixed, so only 3, "always", counts.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure_tcp == 3
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            sloppy_sctp: false,
            secure_tcp: 0,
            nat_icmp_send: false,
            pmtu_disc: true,
            cache_bypass: false,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
        }
    }
}

/// Finds the service of a first packet (IPv4).
#[derive(Clone, Debug, Default)]
pub struct ServiceIndex {
    addresses: HashMap<u64, ServiceId, Mix>,
    marks: HashMap<u32, ServiceId, Mix>,
}

fn address_key(protocol: Protocol, address: Ipv4Addr, port: u16) -> u64 {
    u64::from(u32::from_ne_bytes(address.octets())) << 32 | u64::from(port) << 16 | protocol as u64
}

impl ServiceIndex {
    /// True if there is no IPv4 service at all: then, as in the kernel, the director does nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.marks.is_empty()
    }

    /// Adds or replaces a service. IPv6 services are configuration only, until IPv6 is forwarded.
    pub fn insert(&mut self, key: ServiceKey, id: ServiceId) {
        match key {
            ServiceKey::Address(protocol, IpAddr::V4(address), port) => {
                self.addresses.insert(address_key(protocol, address, port), id);
            }
            ServiceKey::Mark(mark, Family::V4) => {
                self.marks.insert(mark, id);
            }
            ServiceKey::Address(_, IpAddr::V6(_), _) | ServiceKey::Mark(_, Family::V6) => {}
        }
    }

    /// Removes a service.
    pub fn remove(&mut self, key: ServiceKey) {
        match key {
            ServiceKey::Address(protocol, IpAddr::V4(address), port) => {
                self.addresses.remove(&address_key(protocol, address, port));
            }
            ServiceKey::Mark(mark, Family::V4) => {
                self.marks.remove(&mark);
            }
            ServiceKey::Address(_, IpAddr::V6(_), _) | ServiceKey::Mark(_, Family::V6) => {}
        }
    }
}

/// A quick hash for keys that only the operator chooses (services, rules, neighbours); a client cannot make them collide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix;

impl BuildHasher for Mix {
    type Hasher = Mixer;
    fn build_hasher(&self) -> Mixer {
        Mixer(0)
    }
}

/// The state of [`Mix`]: one folded multiplication a word.
#[derive(Clone, Copy, Debug)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
