//! How ordinary packets leave to each destination: one cache line each, with everything in it that a packet needs. It is
//! made from the snapshot when a packet asks for it first, and again after each publication; so a publication costs
//! nothing for destinations that nobody asks for.

use super::destination_of;
use crate::conn::Conn;
use crate::rewrite::{Departure, Outer, Prepared};
use crate::service::{Method, Snapshot, Tunnel};
use crate::stats::DestCounters;

/// A destination's exit.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Exit {
    /// The version and the generation it was made for; 0 if for none.
    stamp: u64,
    /// Its MTU is that of packets as they come: without a tunnel's header.
    pub departure: Departure,
    /// The ends of an IPIP tunnel.
    pub tunnel: Option<Prepared>,
}

const _: () = assert!(size_of::<Exit>() == 64);

impl Exit {
    const NONE: Self = Self { stamp: 0, departure: Departure::CLOSED, tunnel: None };
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
    #[inline(always)]
    pub fn beside<'a>(&'a self, counters: &'a [DestCounters]) -> (Beside<'a>, &'a [DestCounters]) {
        let count = self.slots.len().min(counters.len());
        (Beside { exits: &self.slots[..count], version: self.version }, &counters[..count])
    }

    /// Makes the exit of a connection's destination, unless it is there already or ordinary packets may not leave by it.
    /// Answers true if it was made.
    pub fn prepare(&mut self, conn: &Conn, snapshot: &Snapshot) -> bool {
        let Some(exit) = self.slots.get_mut(conn.dest.0 as usize) else { return false };
        if exit.stamp == self.version | u64::from(conn.generation) {
            return false;
        }
        match made(conn, snapshot, self.version) {
            Some(made) => *exit = made,
            // Perhaps the slot belongs to another destination by now, whose exit this is.
            None => return false,
        }
        true
    }
}

/// The exits, taken apart for a burst.
pub(super) struct Beside<'a> {
    exits: &'a [Exit],
    version: u64,
}

impl Beside<'_> {
    /// The exit of a connection's destination, if it is ready.
    #[inline(always)]
    pub fn get(&self, conn: &Conn) -> Option<&Exit> {
        let exit = self.exits.get(conn.dest.0 as usize)?;
        (exit.stamp == self.version | u64::from(conn.generation)).then_some(exit)
    }
}

fn made(conn: &Conn, snapshot: &Snapshot, version: u64) -> Option<Exit> {
    let destination = destination_of(conn, snapshot)?;
    let exit = &destination.exit;
    let tunnel = (destination.method == Method::Tun(Tunnel::Ipip)).then(|| {
        let (source, pmtu_disc) = (exit.source, snapshot.settings.pmtu_disc);
        let destination = u32::from_ne_bytes(destination.address.octets());
        Outer { source, destination, pmtu_disc }.prepared()
    });
    let stamp = version | u64::from(destination.generation);
    (exit.departure != Departure::CLOSED).then_some(Exit { stamp, departure: exit.departure, tunnel })
}
