//! Connections and templates, as a listing shows them, a few at a time between bursts.

use super::{ConnSlot, Pipeline, destination_of};
use crate::clock::Tick;
use crate::conn::{Conn, Forward, Template};
use crate::service::{DestId, Snapshot};
use packet_io::TableMemory;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A connection or template as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnView {
    /// IP protocol number; 0 for the template of a mark service.
    pub protocol: u8,
    /// Ticks until it expires; 0 if that moment has passed.
    pub expires: u32,
    /// Its state's name, as ipvsadm prints it.
    pub state: &'static str,
    /// The client; of a template its masked address and port 0.
    pub client: SocketAddrV4,
    /// The virtual address and port.
    pub target: SocketAddrV4,
    /// The real server.
    pub server: SocketAddrV4,
    /// The destination's slot.
    pub destination: DestId,
    /// Which of the destinations that had this slot it is.
    pub generation: u16,
    /// It is a persistence template.
    pub template: bool,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// At the first connection.
    #[default]
    Start,
    /// At this slot of the connections.
    Conns(usize),
    /// At this slot of the templates.
    Templates(usize),
    /// There is no more.
    End,
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Shows what lives in the next `limit` slots to `visit`, and answers where to go on. An entry that lives
    /// throughout the whole listing is shown once.
    pub fn list(
        &self,
        snapshot: &Snapshot,
        now: Tick,
        from: Listing,
        limit: usize,
        mut visit: impl FnMut(ConnView),
    ) -> Listing {
        match from {
            Listing::Start | Listing::Conns(_) => {
                let from = if let Listing::Conns(slot) = from { slot } else { 0 };
                let next = self.conns.scan(from, limit, |_, conn, expires| {
                    visit(conn_view(conn, snapshot, expires.since(now)));
                });
                next.map_or(Listing::Templates(0), Listing::Conns)
            }
            Listing::Templates(from) => {
                let next = self.templates.table.scan(from, limit, |_, template, expires| {
                    visit(template_view(template, expires.since(now)));
                });
                next.map_or(Listing::End, Listing::Templates)
            }
            Listing::End => Listing::End,
        }
    }
}

pub(super) fn conn_view(conn: &Conn, snapshot: &Snapshot, expires: u32) -> ConnView {
    let request = conn.request();
    let server = match (conn.forward(), destination_of(conn, snapshot)) {
        _ if conn.is_bypass() => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        (Forward::Nat, _) | (_, None) => conn.reply().source(),
        (_, Some(destination)) => {
            SocketAddrV4::new(destination.address, destination.port_for(request.destination().port()))
        }
    };
    ConnView {
        protocol: conn.protocol(),
        expires,
        state: conn.state.name(),
        client: request.source(),
        target: request.destination(),
        server,
        destination: conn.dest,
        generation: conn.generation,
        template: false,
    }
}

fn template_view(template: &Template, expires: u32) -> ConnView {
    let key = template.key();
    ConnView {
        protocol: key.protocol,
        expires,
        state: template.state_name(),
        client: SocketAddrV4::new(key.client, 0),
        target: template.listed_target(),
        server: template.listed_server(),
        destination: template.dest,
        generation: template.generation,
        template: true,
    }
}
