//! What a pipeline would find for a packet, for who watches single packets. Looking changes nothing and counts nothing.

use super::{ConnSlot, ConnView, Pipeline, Turn, listing, persist, sip};
use crate::conn::{Conn, Direction, Endpoints, Forward, template_usable};
use crate::flow_table::{SlotId, hash};
use crate::parse::{Kind, Parsed, parse, quoted};
use crate::service::{Protocol, Service, ServiceKey};
use packet_io::{Checksums, TableMemory};
use std::net::{Ipv4Addr, SocketAddrV4};

/// A packet before it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// What it is.
    pub parsed: Parsed,
    /// Whose ends it is about: its own, or of an ICMP error those of the packet that it quotes.
    pub about: Endpoints,
    /// The connection that it belongs to here.
    pub found: Option<Found>,
    /// The service that a first packet would be of.
    pub offer: Option<Offer>,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Which way the packet goes in it, or the one that an ICMP error is about goes against.
    pub direction: Direction,
    /// As it is listed.
    pub view: ConnView,
    /// How its requests reach their server.
    pub forward: Forward,
    /// A persistence template chose its server.
    pub templated: bool,
    /// It passes by the servers.
    pub bypass: bool,
}

/// A service.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// What it answers for.
    pub key: ServiceKey,
    /// The mark that the packet got, or 0.
    pub mark: u32,
    /// Its scheduler's name.
    pub scheduler: &'static str,
    /// No connections are kept.
    pub one_packet: bool,
    /// What is known of the client's template.
    pub template: Remembered,
}

/// A persistence template that a first packet may be scheduled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// The service has none.
    Nothing,
    /// There is none for this client.
    Nobody,
    /// It names a server that takes connections.
    Server(SocketAddrV4),
    /// This other worker knows.
    Elsewhere(u32),
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// What this worker would find for a frame.
    #[must_use]
    pub fn sight(&self, turn: &Turn<'_>, frame: &[u8], checksums: Checksums) -> Sight {
        let parsed = parse(frame, checksums);
        let own = Endpoints { addresses: parsed.addresses, ports: parsed.ports };
        match parsed.kind {
            Kind::Tcp | Kind::Udp | Kind::Sctp => {
                let found = self.connection_of(turn, own, parsed.protocol);
                Sight { parsed, about: own, found, offer: self.offer(turn, frame, &parsed) }
            }
            Kind::IcmpError => {
                let quote = quoted(frame, &parsed, |port| turn.snapshot.gue_ports.contains(&port));
                let Some(quote) = quote else { return Sight::of(parsed) };
                let about = Endpoints { addresses: quote.addresses, ports: quote.ports };
                let found = if quote.tunnel.is_some() {
                    self.as_request(turn, about, quote.protocol)
                } else {
                    let back = about.reversed();
                    self.as_request(turn, back, quote.protocol).or_else(|| self.as_reply(turn, back, quote.protocol))
                };
                Sight { parsed, about, found, offer: None }
            }
            Kind::Fragment | Kind::Kernel | Kind::Malformed(_) => Sight::of(parsed),
        }
    }

    /// The same connection after the packet was decided, or the one that the packet made.
    #[must_use]
    pub fn sight_after(&self, turn: &Turn<'_>, sight: &Sight) -> Option<Found> {
        let Some(before) = &sight.found else { return self.connection_of(turn, sight.about, sight.parsed.protocol) };
        let request = Endpoints::new(before.view.client, before.view.target);
        let mut after = self.as_request(turn, request, before.view.protocol)?;
        after.direction = before.direction;
        Some(after)
    }

    /// The server that took the last packet of a one-packet service.
    #[must_use]
    pub fn one_packet_server(&self, turn: &Turn<'_>, parsed: &Parsed) -> Option<SocketAddrV4> {
        let server = turn.snapshot.destination(self.one_packet_went_to)?;
        Some(SocketAddrV4::new(server.address, server.port_for(parsed.destination_port())))
    }

    /// In the order in which the pipeline looks.
    fn connection_of(&self, turn: &Turn<'_>, ends: Endpoints, protocol: u8) -> Option<Found> {
        let reply = turn.snapshot.nat_servers.may_contain(*ends.source().ip());
        let reply = reply.then(|| self.as_reply(turn, ends, protocol)).flatten();
        reply.or_else(|| self.as_request(turn, ends, protocol))
    }

    fn as_request(&self, turn: &Turn<'_>, ends: Endpoints, protocol: u8) -> Option<Found> {
        let hash = hash(parsed_as(ends, protocol).source_endpoint(), &self.secret);
        let slot = self.conns.find(hash, |conn| conn.is_request(ends.addresses, ends.ports, protocol))?;
        Some(self.found(turn, slot, Direction::Request))
    }

    fn as_reply(&self, turn: &Turn<'_>, ends: Endpoints, protocol: u8) -> Option<Found> {
        let hash = hash(parsed_as(ends, protocol).destination_endpoint(), &self.secret);
        let slot = self.conns.find(hash, |conn| conn.is_reply(ends.addresses, ends.ports, protocol))?;
        Some(self.found(turn, slot, Direction::Reply))
    }

    fn found(&self, turn: &Turn<'_>, slot: SlotId, direction: Direction) -> Found {
        let conn: &Conn = self.conns.get(slot);
        let view = listing::conn_view(conn, turn.snapshot, self.conns.expires(slot).since(turn.now));
        let (templated, bypass) = (conn.is_templated(), conn.is_bypass());
        Found { direction, view, forward: conn.forward(), templated, bypass }
    }

    fn offer(&self, turn: &Turn<'_>, frame: &[u8], parsed: &Parsed) -> Option<Offer> {
        let protocol = Protocol::from_number(parsed.protocol)?;
        let (source, target, port) = (parsed.source(), parsed.destination(), parsed.destination_port());
        let (service, mark) = turn.snapshot.service_for(protocol, source, target, port)?;
        Some(Offer {
            key: service.key,
            mark,
            scheduler: service.scheduler.definition().name,
            one_packet: service.one_packet,
            template: self.remembered(turn, frame, parsed, service, protocol),
        })
    }

    fn remembered(
        &self,
        turn: &Turn<'_>,
        frame: &[u8],
        parsed: &Parsed,
        service: &Service,
        protocol: Protocol,
    ) -> Remembered {
        let Some(persistence) = &service.persistence else { return Remembered::Nothing };
        let call = if persistence.sip { sip::call(frame, parsed, &self.secret).unwrap_or(0) } else { 0 };
        let key = persist::key(service, persistence, protocol, parsed, call);
        let hash = key.hash(&self.secret);
        if let Some(keeper) = self.share.other_owner(hash) {
            return Remembered::Elsewhere(keeper);
        }
        let table = &self.templates.table;
        let template = table.find(hash, |template| template.matches(&key)).map(|slot| table.get(slot));
        let usable = template.and_then(|template| {
            let server = turn.snapshot.destination(template.dest)?;
            let usable = server.generation == template.generation
                && template_usable(server.available, server.weight, &turn.snapshot.settings);
            usable.then(|| SocketAddrV4::new(server.address, server.port_for(parsed.destination_port())))
        });
        usable.map_or(Remembered::Nobody, Remembered::Server)
    }
}

impl Sight {
    /// Of a packet that nobody looks for.
    #[must_use]
    pub fn of(parsed: Parsed) -> Self {
        let about = Endpoints { addresses: parsed.addresses, ports: parsed.ports };
        Self { parsed, about, found: None, offer: None }
    }

    /// True if the packet, what it quotes, or its connection has this client's address.
    #[must_use]
    pub fn concerns_client(&self, client: Ipv4Addr) -> bool {
        self.found.is_some_and(|found| *found.view.client.ip() == client) || self.has_end(client, None)
    }

    /// True if the packet, what it quotes, or its connection has this virtual address, and the port if that is given.
    #[must_use]
    pub fn concerns_target(&self, address: Ipv4Addr, port: Option<u16>) -> bool {
        let is = |end: SocketAddrV4| *end.ip() == address && port.is_none_or(|port| port == end.port());
        self.found.is_some_and(|found| is(found.view.target)) || self.has_end(address, port)
    }

    fn has_end(&self, address: Ipv4Addr, port: Option<u16>) -> bool {
        let own = Endpoints { addresses: self.parsed.addresses, ports: self.parsed.ports };
        // Frames of other kinds than IP have zeros for addresses.
        [own, self.about].into_iter().filter(|ends| ends.addresses != 0).any(|ends| {
            [ends.source(), ends.destination()]
                .into_iter()
                .any(|end| *end.ip() == address && port.is_none_or(|port| port == end.port()))
        })
    }
}

fn parsed_as(ends: Endpoints, protocol: u8) -> Parsed {
    Parsed { addresses: ends.addresses, ports: ends.ports, protocol, ..Parsed::default() }
}
