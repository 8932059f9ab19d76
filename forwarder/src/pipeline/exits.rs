//! How ordinary packets leave to each destination: one cache line each, with everything in it that a packet needs. It is
//! made from the snapshot when a packet asks for it first, and again after each publication; so a publication costs
//! nothing for destinations that nobody asks for.

use super::destination_of;
use crate::conn::Conn;
use crate::rewrite::{Hop, Outer};
use crate::service::{Method, Snapshot, Tunnel};
use crate::stats::DestCounters;

/// A destination's exit.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Exit {
    /// The version and the generation it was made for; 0 if for none.
    stamp: u64,
    pub hop: Hop,
    pub port: u16,
    /// Bytes of the longest packet that fits.
    pub room: u16,
    /// The ends of an IPIP tunnel.
    pub tunnel: Option<Outer>,
}

const _: () = assert!(size_of::<Exit>() == 64);

impl Exit {
    const NONE: Self = Self { stamp: 0, hop: Hop::NONE, port: 0, room: 0, tunnel: None };
}

/// The exits of all destinations.
#[derive(Debug)]
pub(super) struct Exits {
    slots: Box<[Exit]>,
    /// The version in use, above the 16 bits of a generation; never 0.
    version: u64,
}

impl Exits {
    /// For so many destination slots.
    pub fn new(destinations: usize) -> Self {
        Self { slots: vec![Exit::NONE; destinations].into_boxed_slice(), version: 1 << 16 }
    }

    /// Forgets what was made from an earlier snapshot than this version's.
    pub fn adopt(&mut self, version: u64) {
        self.version = version.wrapping_add(1) << 16;
    }

    /// The exits, and the counters of the same destinations: as many of the one as of the other.
    #[inline]
    pub fn beside<'a>(&'a mut self, counters: &'a [DestCounters]) -> (Beside<'a>, &'a [DestCounters]) {
        let count = self.slots.len().min(counters.len());
        (Beside { exits: &mut self.slots[..count], version: self.version }, &counters[..count])
    }

    /// The exit of a connection's destination, after [`Beside::index`] has answered for that connection.
    #[inline(always)]
    pub fn get(&self, conn: &Conn) -> Option<&Exit> {
        self.slots.get(conn.dest.0 as usize)
    }
}

/// The exits, taken apart for a burst.
pub(super) struct Beside<'a> {
    exits: &'a mut [Exit],
    version: u64,
}

impl Beside<'_> {
    /// The index of the exit of a connection's destination, if ordinary packets may leave by it; it is then ready.
    #[inline(always)]
    pub fn index(&mut self, conn: &Conn, snapshot: &Snapshot) -> Option<usize> {
        let index = conn.dest.0 as usize;
        let exit = self.exits.get_mut(index)?;
        if exit.stamp != self.version | u64::from(conn.generation) {
            *exit = made(conn, snapshot, self.version)?;
        }
        Some(index)
    }
}

#[cold]
#[inline(never)]
fn made(conn: &Conn, snapshot: &Snapshot, version: u64) -> Option<Exit> {
    let destination = destination_of(conn, snapshot)?;
    let exit = &destination.exit;
    let tunnel = (destination.method == Method::Tun(Tunnel::Ipip)).then(|| Outer {
        source: exit.source,
        destination: u32::from_ne_bytes(destination.address.octets()),
        pmtu_disc: snapshot.settings.pmtu_disc,
    });
    exit.open.then(|| Exit {
        stamp: version | u64::from(destination.generation),
        hop: exit.hop,
        port: exit.port,
        room: exit.room,
        tunnel,
    })
}
