//! What a connection means: who talks to whom, through which server, in which state, and what a packet changes.
//!
//! Everything here is the kernel's rule, as a pure function. It knows no bytes (parsing is `wire`'s) and no table
//! (finding is `flow_table`'s).

mod endpoints;
mod rules;
pub mod signal;
mod state;
mod template;
#[cfg(test)]
mod tests;
mod timeouts;

pub use endpoints::Endpoints;
pub use rules::{Unavailable, is_replaced, may_start, on_unavailable, starts_anew, template_usable};
pub use signal::Signal;
pub use signal::chunk;
pub use state::{State, View, transition};
pub use template::{Leaving, Template, TemplateKey};
pub use timeouts::Timeouts;

use crate::rewrite::nat::{self, Nat};
use crate::service::{DestId, Method};

/// Which way a packet goes. What there is of each direction is kept in arrays by this, so that the path of an ordinary
/// packet needs no branch for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    #[default]
    Request = 0,
    /// From the server.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Request => Self::Reply,
            Self::Reply => Self::Request,
        }
    }
}

/// How a connection's packets reach its server: [`Method`] without what the destination knows better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // as in Method
pub enum Forward {
    #[default]
    Nat = 0,
    Tun = 1,
    Dr = 2,
    Local = 3,
}

impl From<Method> for Forward {
    fn from(method: Method) -> Self {
        match method {
            Method::Nat => Self::Nat,
            Method::Tun(_) => Self::Tun,
            Method::Dr => Self::Dr,
            Method::Local => Self::Local,
        }
    }
}

/// The bits of [`Conn::flags`] below these two are its [`Forward`].
const FORWARD: u16 = 0b11;
/// It counts as active at its destination; else as inactive.
const ACTIVE: u16 = 1 << 2;
/// No reply was ever seen, and none is expected: the server answers past the director.
const NO_REPLIES: u16 = 1 << 3;
/// An ordinary request changes nothing but the expiry.
const STEADY_REQUEST: u16 = 1 << 4;
/// The same of a reply.
const STEADY_REPLY: u16 = STEADY_REQUEST << Direction::Reply as u16;
/// It was scheduled by a persistence template, in [`Conn::template`].
const TEMPLATED: u16 = 1 << 6;

/// No packet belongs to it any more.
const ENDED: u16 = 1 << 7;
/// Its service has timeouts of its own.
const OWN_TIMEOUTS: u16 = 1 << 9;
/// It has no destination: its packets go where the client sent them.
const BYPASS: u16 = 1 << 8;

/// An IPv4 connection: 48 bytes, so that an entry of the flow table is one cache line.
///
/// Addresses and ports are kept as they stand in its packets, so that finding it is three comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Conn {
    /// By [`Direction`].
    addresses: [u64; 2],
    /// By [`Direction`].
    ports: [u32; 2],
    /// Its destination's slot.
    pub dest: DestId,
    /// With [`is_templated`](Self::is_templated): the number of its template.
    pub template: u32,
    /// The version of the routes that `client_link` was looked up in; with another one it must be looked up again.
    pub route_version: u32,
    /// NAT: the link by which replies leave ([`crate::route::LinkId`]).
    pub client_link: u16,
    /// The generation that the destination had; with another one the connection is stale.
    pub generation: u16,
    /// NAT: what a request's IP checksum changes by; a reply's changes by its complement (RFC 1624).
    ip_delta: u16,
    /// NAT: the same for the transport checksum.
    l4_delta: u16,
    flags: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Its state; [`Conn::see`] changes it.
    pub state: State,
}

const _: () = assert!(size_of::<Conn>() == 48 && size_of::<crate::flow_table::Slot<Conn>>() == 64);

/// The state of connections that ordinary packets belong to.
#[inline(always)]
#[must_use]
pub const fn ordinary_state(protocol: u8) -> State {
    if protocol == crate::wire::ipv4::protocol::UDP { State::Udp } else { State::Established }
}

/// What a packet changed in its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The state is another one: the table must be told the new expiry with `rearm`, as it may be earlier.
    pub moved: bool,
    /// It counts as active (true) or inactive (false) from now on, which it did not before.
    pub recount: Option<bool>,
    /// The connection proved real: its template is assured from now on.
    pub assured: bool,
}

impl Conn {
    /// A connection whose first packet comes in, in state NONE and counted as inactive, with everything that the
    /// destination and the routes add left 0. `server` is where its requests go; it matters for NAT alone, because
    /// otherwise replies would come from the virtual address.
    #[inline(always)] // so that it is made where it will be
    #[must_use]
    pub fn new(request: Endpoints, protocol: u8, forward: Forward, server: std::net::SocketAddrV4) -> Self {
        let server = (u32::from_ne_bytes(server.ip().octets()), server.port().to_be());
        let replier = if forward == Forward::Nat { server } else { request.destination_bits() };
        let reply = Endpoints::between(replier, request.source_bits());
        let no_replies = if forward == Forward::Nat { 0 } else { NO_REPLIES };
        let (ip_delta, l4_delta) = nat::deltas(request.destination_bits(), reply.source_bits());
        Self {
            addresses: [request.addresses, reply.addresses],
            ports: [request.ports, reply.ports],
            protocol,
            ip_delta,
            l4_delta,
            flags: forward as u16 | no_replies,
            ..Self::default()
        }
    }

    /// A connection that passes by the servers (cache_bypass): it has no destination, and its packets keep their own.
    #[must_use]
    pub fn bypass(request: Endpoints, protocol: u8) -> Self {
        let mut conn = Self::new(request, protocol, Forward::Dr, request.destination());
        conn.flags |= BYPASS;
        conn.dest = DestId::NONE;
        conn
    }

    /// True if it passes by the servers.
    #[inline]
    #[must_use]
    pub fn is_bypass(&self) -> bool {
        self.flags & BYPASS != 0
    }

    /// True if a packet with these addresses, ports and protocol is a request of this connection.
    #[inline]
    #[must_use]
    pub fn is_request(&self, addresses: u64, ports: u32, protocol: u8) -> bool {
        (self.addresses[Direction::Request as usize] == addresses)
            & (self.ports[Direction::Request as usize] == ports)
            & (self.protocol == protocol)
    }

    /// True if a packet with these addresses, ports and protocol is a reply of this connection.
    #[inline]
    #[must_use]
    pub fn is_reply(&self, addresses: u64, ports: u32, protocol: u8) -> bool {
        (self.addresses[Direction::Reply as usize] == addresses)
            & (self.ports[Direction::Reply as usize] == ports)
            & (self.protocol == protocol)
    }

    /// Source and destination of its requests.
    #[inline]
    #[must_use]
    pub fn request(&self) -> Endpoints {
        Endpoints {
            addresses: self.addresses[Direction::Request as usize],
            ports: self.ports[Direction::Request as usize],
        }
    }

    /// Source and destination of its replies as they come in.
    #[inline]
    #[must_use]
    pub fn reply(&self) -> Endpoints {
        Endpoints { addresses: self.addresses[Direction::Reply as usize], ports: self.ports[Direction::Reply as usize] }
    }

    /// How its packets reach the server.
    #[inline]
    #[must_use]
    pub fn forward(&self) -> Forward {
        match self.flags & FORWARD {
            0 => Forward::Nat,
            1 => Forward::Tun,
            2 => Forward::Dr,
            _ => Forward::Local,
        }
    }

    /// True if it counts in ActiveConn, false if in InActConn.
    #[inline]
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.flags & ACTIVE != 0
    }

    /// True if no reply of it was seen and none is expected (every method but NAT).
    #[inline]
    #[must_use]
    pub fn has_no_replies(&self) -> bool {
        self.flags & NO_REPLIES != 0
    }

    /// True if a persistence template chose its server.
    #[inline]
    #[must_use]
    pub fn is_templated(&self) -> bool {
        self.flags & TEMPLATED != 0
    }

    /// The template that chose its server, by the number that it was given.
    #[inline]
    #[must_use]
    pub fn template(&self) -> Option<u32> {
        self.is_templated().then_some(self.template)
    }

    /// The IP protocol number, also of a connection that has [ended](Self::end).
    #[must_use]
    pub fn protocol(&self) -> u8 {
        if self.flags & ENDED != 0 { !self.protocol } else { self.protocol }
    }

    /// True once it has [ended](Self::end).
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.flags & ENDED != 0
    }

    /// No packet finds it any more; it is only listed and counted until its entry goes.
    pub fn end(&mut self) {
        if self.flags & ENDED == 0 {
            // No packet has such a protocol number, so finding needs no look at the flags.
            self.protocol = !self.protocol;
            self.flags |= ENDED;
        }
    }

    /// Remembers the template that chose its server, by a number.
    #[inline(always)]
    pub fn set_template(&mut self, number: u32) {
        self.template = number;
        self.flags |= TEMPLATED;
    }

    /// True if a packet with these TCP flags (of UDP: ACK) changes nothing but the expiry: the answer for nearly all.
    #[inline]
    #[must_use]
    pub fn is_steady(&self, direction: Direction, tcp_flags: u8) -> bool {
        use crate::wire::tcp::flags::{ACK, FIN, RST, SYN};
        let steady = if direction == Direction::Request { STEADY_REQUEST } else { STEADY_REPLY };
        (self.flags & steady != 0) & (tcp_flags & (SYN | FIN | RST | ACK) == ACK)
    }

    /// True if a packet with these addresses and ports, whose TCP flags neither start nor end anything, is one of this
    /// connection's in this direction and protocol, goes its `forward` way, and changes nothing but the expiry: to that of
    /// [`ordinary_state`], with everybody's timeouts.
    #[inline(always)]
    #[must_use]
    pub fn is_ordinary(
        &self,
        direction: Direction,
        protocol: u8,
        forward: Forward,
        addresses: u64,
        ports: u32,
    ) -> bool {
        let steady = STEADY_REQUEST << direction as u16;
        // What is asked for is known when this is compiled.
        self.addresses[direction as usize] == addresses
            && self.ports[direction as usize] == ports
            && self.flags & (steady | OWN_TIMEOUTS | FORWARD) == steady | forward as u16
            && self.protocol == protocol
            && self.state == ordinary_state(protocol)
    }

    /// What an ordinary packet of this direction becomes, with the sums that are kept (NAT).
    #[inline(always)]
    #[must_use]
    pub fn translation(&self, direction: Direction) -> Nat {
        // A request gets the address that replies come from, a reply the one that requests go to.
        let other = Endpoints {
            addresses: self.addresses[direction.other() as usize],
            ports: self.ports[direction.other() as usize],
        };
        let (address, port) = other.end(direction == Direction::Reply);
        // What undoes a change is its complement.
        let flip = (direction as u16).wrapping_neg();
        Nat::kept(address, port, self.ip_delta ^ flip, self.l4_delta ^ flip)
    }

    /// True if its service has timeouts of its own; else everybody's apply.
    #[inline]
    #[must_use]
    pub fn has_own_timeouts(&self) -> bool {
        self.flags & OWN_TIMEOUTS != 0
    }

    /// From now on its service's own timeouts apply.
    #[inline(always)]
    pub fn set_own_timeouts(&mut self) {
        self.flags |= OWN_TIMEOUTS;
    }

    /// A packet is seen: the new state, and what else that changes. `secure` picks the transitions of secure_tcp.
    ///
    /// The expiry is then the moment plus [`Timeouts::of`] the new state, also if that is the old one.
    #[inline(always)]
    pub fn see(&mut self, direction: Direction, signal: Signal, secure: bool) -> Change {
        if direction == Direction::Reply {
            self.flags &= !NO_REPLIES;
        }
        let view = match direction {
            Direction::Reply => View::Reply,
            Direction::Request if self.has_no_replies() => View::RequestOnly,
            Direction::Request => View::Request,
        };
        let old = self.state;
        self.state = transition(old, view, signal, secure);
        let moved = old != self.state;
        let recount = (moved && self.is_active() != self.state.is_active()).then(|| {
            self.flags ^= ACTIVE;
            self.is_active()
        });
        let assured = match self.state {
            State::Udp => direction == Direction::Reply,
            State::Established | State::SctpEstablished => moved,
            _ => false,
        };
        self.settle(direction, signal, moved);
        Change { moved, recount, assured }
    }

    /// Notes which ordinary packets [`is_steady`](Self::is_steady) may let pass from now on.
    #[inline(always)]
    fn settle(&mut self, direction: Direction, signal: Signal, moved: bool) {
        let steady = match signal {
            // A reply to a connection without replies would end that.
            Signal::Tcp(_) if self.state != State::Established => 0,
            Signal::Tcp(_) if self.has_no_replies() => STEADY_REQUEST,
            Signal::Tcp(_) => STEADY_REQUEST | STEADY_REPLY,
            // The first packet of a direction is never ordinary: it makes the entry, or assures the template.
            Signal::Udp if moved => 0,
            Signal::Udp if direction == Direction::Request => self.flags & STEADY_REPLY | STEADY_REQUEST,
            Signal::Udp => self.flags & STEADY_REQUEST | STEADY_REPLY,
            Signal::Sctp(_) => 0,
        };
        self.flags = self.flags & !(STEADY_REQUEST | STEADY_REPLY) | steady;
    }

    /// How easily it gives way to a new connection when the table is full (`FlowTable::insert`): half-open ones and
    /// those of a single datagram first, then closed ones; a living one never.
    #[inline]
    #[must_use]
    pub fn evictable(&self) -> Option<u8> {
        match self.state {
            _ if self.flags & ENDED != 0 => Some(0),
            State::Udp if self.flags & (STEADY_REQUEST | STEADY_REPLY) == 0 => Some(0),
            state if state.is_half_open() => Some(0),
            state if state.is_over() => Some(1),
            _ => None,
        }
    }
}
