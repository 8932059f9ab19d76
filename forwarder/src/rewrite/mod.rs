//! Rewriting of packets, one file a forwarding method.
//!
//! A rewriter receives a frame, what [`crate::parse`] said about it, and a resolved action: addresses, ports, MAC
//! addresses. It never sees a table, a service or a clock, allocates nothing and panics on no input.
//!
//! * [`dr`], [`nat`], [`ipip`]: every packet of a connection; [`gue`], [`gre`]: the other tunnels (`outer`: what they share)
//! * [`quoted`]: ICMP errors about a connection; [`options`]: IP options that a router fills in
//! * [`icmp_error`], [`reset`]: what the director itself answers, written over the frame that caused it
//! * [`fragment`]: what is longer than the MTU it leaves by

pub mod dr;
pub mod fragment;
pub mod gre;
pub mod gue;
pub mod icmp_error;
pub mod ipip;
pub mod nat;
pub mod options;
mod outer;
pub mod quoted;
pub mod reset;

pub use outer::{Outer, Prepared};

use crate::parse::Parsed;
use crate::route::Mac;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{ethernet, tcp};
use packet_io::Frame;

/// The link that a frame leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Destination and source MAC address, as a frame begins.
    macs: [u8; 12],
    /// Bytes of IP packet that the link takes.
    pub mtu: u16,
}

impl Hop {
    /// No link: it takes nothing.
    pub const NONE: Self = Self { macs: [0; 12], mtu: 0 };

    /// A link to the neighbour `destination` from the port with the address `source`.
    #[inline]
    #[must_use]
    pub fn new(destination: Mac, source: Mac, mtu: u16) -> Self {
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&destination);
        macs[6..].copy_from_slice(&source);
        Self { macs, mtu }
    }
}

/// A link and the port that it is on: all that an ordinary packet needs to leave, in one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Departure {
    /// The link.
    pub hop: Hop,
    /// The port.
    pub port: u16,
}

const _: () = assert!(size_of::<Departure>() == 16);

impl Departure {
    /// No packet is short enough for it.
    pub const CLOSED: Self = Self { hop: Hop::NONE, port: 0 };

    /// The same for packets that will grow by so many bytes.
    #[must_use]
    pub fn less(self, overhead: u16) -> Self {
        Self { hop: Hop { mtu: self.hop.mtu.saturating_sub(overhead), ..self.hop }, ..self }
    }
}

/// Bytes of the headers of a plain TCP segment (`Parsed::is_plain`); every plain frame that came by Ethernet is longer.
pub(crate) const PLAIN: usize = ethernet::HEADER + ipv4::HEADER + tcp::HEADER;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Rewritten: send it.
    Send,
    /// Rewritten, but longer than the MTU: [`fragment::split`] makes the frames to send.
    Fragment,
    /// Untouched: its TTL was used up. Answer with [`icmp_error::Message::TimeExceeded`].
    TimeExceeded,
    /// Untouched: it is longer than this MTU (bytes of the packet as it came) and must not be fragmented. Answer with
    /// [`icmp_error::Message::FragmentationNeeded`].
    FragmentationNeeded(u16),
    /// Dropped: the frame has no room for what it was to carry, or is shorter than it was parsed to be.
    NoRoom,
}

/// What a forwarder checks first: `length` is that of the packet as it will leave, `overhead` of it added on the way.
/// Answers [`Outcome::Send`] or [`Outcome::Fragment`] if the frame may be rewritten.
#[inline]
fn admit(ip: &Ipv4<&[u8; ipv4::HEADER]>, length: usize, overhead: u16, hop: &Hop, honour_df: bool) -> Outcome {
    if ip.ttl() <= 1 {
        Outcome::TimeExceeded
    } else if length <= usize::from(hop.mtu) {
        Outcome::Send
    } else if honour_df && ip.fragment() & ipv4::DF != 0 {
        Outcome::FragmentationNeeded(hop.mtu.saturating_sub(overhead))
    } else {
        Outcome::Fragment
    }
}

/// The part of every forwarding that does not depend on the method: MAC addresses and TTL. The frame keeps its VLAN
/// tags and loses its padding.
fn forward<F: Frame>(frame: &mut F, parsed: &Parsed, hop: &Hop) -> Outcome {
    let Some(ip) = Ipv4::at(frame.bytes(), parsed.l3.into()) else { return Outcome::NoRoom };
    let outcome = admit(&ip, parsed.total_length.into(), 0, hop, true);
    if matches!(outcome, Outcome::Send | Outcome::Fragment) {
        let bytes = frame.bytes_mut();
        set_macs(bytes, hop);
        if let Some(mut ip) = Ipv4::at_mut(bytes, parsed.l3.into()) {
            ip.decrement_ttl();
        }
        frame.truncate(parsed.frame_length());
    }
    outcome
}

/// Writes the MAC addresses of a frame, which is long enough for them.
#[inline(always)]
fn set_macs(bytes: &mut [u8], hop: &Hop) {
    if let Some(macs) = bytes.first_chunk_mut::<12>() {
        *macs = hop.macs;
    }
}

#[cfg(test)]
mod tests;
