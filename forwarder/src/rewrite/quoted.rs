//! ICMP errors about a connection (`ip_vs_nat_icmp`, `ip_vs_in_icmp`).
//!
//! For NAT they are rewritten like the packets they quote, inside and outside, so that both ends see their own
//! connection. What the quoted packet carries keeps its checksum, which cannot be right after that and which nobody
//! checks. DR and TUN servers get the errors like any other packet (`dr::send`, `ipip::send`, …).

use super::icmp_error::{self, Message, Sender};
use super::{Hop, Outcome, forward};
use crate::parse::{Parsed, Quoted};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, icmp};
use packet_io::Frame;

/// An address and a port, both as they stand in memory.
pub type Endpoint = (u32, u16);

/// An error from the client's side about a reply: it goes to the real server at `server`, whose packet it quotes again.
pub fn to_server<F: Frame>(frame: &mut F, parsed: &Parsed, quoted: &Quoted, server: Endpoint, hop: &Hop) -> Outcome {
    translate(frame, parsed, quoted, server, hop, true)
}

/// An error from the server's side about a request: it leaves as if the virtual service at `service` had sent it,
/// whoever did, and quotes the client's own packet.
pub fn to_client<F: Frame>(frame: &mut F, parsed: &Parsed, quoted: &Quoted, service: Endpoint, hop: &Hop) -> Outcome {
    translate(frame, parsed, quoted, service, hop, false)
}

fn translate<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    quoted: &Quoted,
    (address, port): Endpoint,
    hop: &Hop,
    inbound: bool,
) -> Outcome {
    let outcome = forward(frame, parsed, hop);
    if !matches!(outcome, Outcome::Send | Outcome::Fragment) {
        return outcome;
    }
    let bytes = frame.bytes_mut();
    let l4 = usize::from(parsed.l4);
    let (quoted_l3, quoted_l4) = (usize::from(quoted.l3), usize::from(quoted.l4));
    let Some(mut outer) = Ipv4::at_mut(bytes, parsed.l3.into()) else { return Outcome::NoRoom };
    if inbound {
        outer.set_destination(address);
    } else {
        outer.set_source(address);
    }
    let Some(header) = bytes.get_mut(parsed.l3.into()..l4) else { return Outcome::NoRoom };
    ipv4::seal(header);
    let Some(mut inner) = Ipv4::at_mut(bytes, quoted_l3) else { return Outcome::NoRoom };
    if inbound {
        inner.set_source(address);
    } else {
        inner.set_destination(address);
    }
    let Some(header) = bytes.get_mut(quoted_l3..quoted_l4) else { return Outcome::NoRoom };
    ipv4::seal(header);
    let at = quoted_l4 + if inbound { 0 } else { 2 };
    let Some(slot) = bytes.get_mut(at..at + 2) else { return Outcome::NoRoom };
    slot.copy_from_slice(&port.to_ne_bytes());
    let Some(message) = bytes.get_mut(l4..) else { return Outcome::NoRoom };
    let Some(field) = message.get_mut(icmp::CHECKSUM..icmp::CHECKSUM + 2) else { return Outcome::NoRoom };
    field.fill(0);
    let sum = checksum::finish(checksum::sum(message));
    message[icmp::CHECKSUM..icmp::CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
    outcome
}

/// What to tell the client after an error about the outer packet of its tunnel. `path_mtu` is the MTU now known of the
/// path to the real server, bytes of outer packet (the kernel prefers it to what the error says); nothing if unknown.
/// Nothing is told of a "fragmentation needed" about a packet that may be fragmented.
#[must_use]
pub fn about_tunnel(quoted: &Quoted, path_mtu: Option<u16>) -> Option<Message> {
    quoted.tunnel?;
    if !quoted.is_fragmentation_needed() {
        return Some(Message::Other(quoted.kind, quoted.code, quoted.rest));
    }
    let mtu = path_mtu.unwrap_or(quoted.mtu());
    // As the kernel: less an IP header, whatever the tunnel; one that would leave less than 68 bytes is passed on as it is.
    const HEADER: u16 = ipv4::HEADER as u16;
    let mtu = if mtu > 68 + HEADER { mtu - HEADER } else { mtu };
    quoted.df.then_some(Message::FragmentationNeeded(mtu))
}

/// Turns an error about the outer packet of a tunnel into one about the client's packet in it, sent to the client by
/// `sender` (the virtual address). Answers false if the frame has no room for it: then drop it.
#[must_use]
pub fn from_tunnel<F: Frame>(
    frame: &mut F,
    parsed: &Parsed,
    quoted: &Quoted,
    message: Message,
    sender: &Sender,
) -> bool {
    let (l3, inner) = (usize::from(parsed.l3), usize::from(quoted.l3));
    let Some(available) = parsed.frame_length().checked_sub(inner) else { return false };
    let Some(strip) = inner.checked_sub(l3) else { return false };
    let Some(packet) = Ipv4::at(frame.bytes(), inner) else { return false };
    let length = available.min(packet.total_length().into());
    if frame.bytes().len() < inner + length {
        return false;
    }
    frame.bytes_mut().copy_within(..l3, strip);
    frame.shrink_front(strip) && icmp_error::put(frame, l3, length, message, sender)
}
