//! A packet that came in fragments, forwarded once all of them are there.
//!
//! The kernel puts such a packet together, balances it as one, and sends it on in fragments no longer than the longest
//! it came in (`ip_defrag`, `ip_do_fragment`). Here it is never copied together: its headers are rewritten in the first
//! fragment, and new fragments are cut from the old ones' data. Who collects them, and how long, is not decided here.

use super::gue::Gue;
use super::nat::Nat;
use super::outer::{self, Outer, SMALLEST_MTU};
use super::{Hop, Outcome, admit, fragment, gre, gue, nat, set_macs};
use crate::parse::{self, Kind, Parsed, parse};
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::{checksum, header};
use packet_io::{Checksums, Frame, FramePool};

/// How a packet is forwarded.
#[derive(Debug)]
pub enum Action<'a> {
    /// As [`super::dr::send`].
    Dr,
    /// As [`nat::request`].
    Request(&'a Nat),
    /// As [`nat::reply`].
    Reply(&'a Nat),
    /// As [`super::ipip::send`]; the last is the next identification.
    Ipip(&'a Outer, &'a mut u16),
    /// As [`gre::send`].
    Gre(&'a Outer, bool, &'a mut u16),
    /// As [`gue::send`].
    Gue(&'a Outer, &'a Gue, &'a mut u16),
}

/// All fragments of one packet.
#[derive(Debug)]
pub struct Fragments<'a, F> {
    frames: &'a mut [F],
    /// The packet as if it had come in one: for looking it up. Its offsets are those in the first frame.
    pub parsed: Parsed,
    /// Bytes of the longest IP packet among the fragments.
    longest: u16,
    df: bool,
}

impl<'a, F: Frame> Fragments<'a, F> {
    /// The packet whose fragments are in `frames`, first to last. Nothing if one is missing, overlaps another or belongs
    /// to another packet, or if it would be too long. Only Ethernet padding is taken off them.
    pub fn new(frames: &'a mut [F]) -> Option<Self> {
        let mut whole: Option<(Parsed, parse::Fragment)> = None;
        let (mut next, mut longest, mut df, mut more) = (0_usize, 0, false, true);
        for frame in frames.iter_mut() {
            let parsed = parse(frame.bytes(), Checksums::Ipv4Good);
            let piece = parse::fragment(frame.bytes(), &parsed).filter(|_| parsed.kind == Kind::Fragment)?;
            let (first, first_piece) = whole.get_or_insert((parsed, piece));
            let same =
                (parsed.addresses, parsed.protocol, piece.id) == (first.addresses, first.protocol, first_piece.id);
            if !same || !more || usize::from(piece.offset) != next {
                return None;
            }
            next += usize::from(piece.length);
            (longest, df, more) = (longest.max(parsed.total_length), df | piece.df, piece.more);
            frame.truncate(parsed.frame_length());
        }
        let (mut parsed, _) = whole.filter(|_| !more)?;
        parsed.total_length = u16::try_from(usize::from(parsed.l4 - parsed.l3) + next).ok()?;
        parsed.kind = match parsed.protocol {
            protocol::TCP => Kind::Tcp,
            protocol::UDP => Kind::Udp,
            protocol::SCTP => Kind::Sctp,
            _ => Kind::Kernel,
        };
        Some(Self { frames, parsed, longest, df })
    }

    /// Forwards the packet by `hop` and hands new fragments to `emit`. Answers [`Outcome::Send`] if all went, and
    /// [`Outcome::NoRoom`] if the pool ran out; what was not emitted is lost then. If it refuses, the first frame's IP
    /// header has become the whole packet's, as the kernel quotes it: answer with that frame.
    pub fn send<P: FramePool>(
        &mut self,
        action: Action<'_>,
        hop: &Hop,
        pool: &mut P,
        emit: impl FnMut(P::Frame),
    ) -> Outcome {
        self.try_send(action, hop, pool, emit).unwrap_or(Outcome::NoRoom)
    }

    fn try_send<P: FramePool>(
        &mut self,
        action: Action<'_>,
        hop: &Hop,
        pool: &mut P,
        emit: impl FnMut(P::Frame),
    ) -> Option<Outcome> {
        let parsed = &self.parsed;
        let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
        let (first, rest) = self.frames.split_first_mut()?;
        let bytes = first.bytes_mut();
        let mut ip = Ipv4::at_mut(bytes, l3)?;
        ip.set_total_length(parsed.total_length);
        ip.set_fragment(if self.df { ipv4::DF } else { 0 });
        ipv4::seal(bytes.get_mut(l3..l4)?);

        let (overhead, honour_df) = match &action {
            Action::Dr | Action::Request(_) | Action::Reply(_) => (0, true),
            Action::Ipip(outer, _) => (super::ipip::OVERHEAD, outer.pmtu_disc),
            Action::Gre(outer, with_checksum, _) => (gre::overhead(*with_checksum), outer.pmtu_disc),
            Action::Gue(outer, ..) => (gue::OVERHEAD, outer.pmtu_disc),
        };
        let length = usize::from(parsed.total_length) + usize::from(overhead);
        match admit(&Ipv4::at(bytes, l3)?, length, overhead, hop, honour_df) {
            Outcome::Send | Outcome::Fragment => {}
            Outcome::FragmentationNeeded(mtu) => return Some(Outcome::FragmentationNeeded(mtu.max(SMALLEST_MTU))),
            refused => return Some(refused),
        }
        let length = u16::try_from(length).ok()?;
        set_macs(bytes, hop);
        Ipv4::at_mut(bytes, l3)?.decrement_ttl();
        let rest = rest.iter().filter_map(payload);
        let mtu = hop.mtu.min(self.longest);
        let sent = match action {
            Action::Dr => cut(bytes, parsed, rest, mtu, pool, emit)?,
            Action::Request(change) | Action::Reply(change) => {
                let is_request = matches!(action, Action::Request(_));
                nat::replace_whole(bytes, parsed, change, is_request, rest.clone())?;
                cut(bytes, parsed, rest, mtu, pool, emit)?
            }
            Action::Ipip(outer, id) => {
                let headers = Headers::new(bytes, parsed, outer, protocol::IPIP, length, id)?;
                headers.cut(bytes, &[], rest, mtu, pool, emit)?
            }
            Action::Gre(outer, with_checksum, id) => {
                let headers = Headers::new(bytes, parsed, outer, protocol::GRE, length, id)?;
                let inner = sum_of(bytes.get(l3..)?, rest.clone());
                let mut extra = [0; 8];
                let extra = &mut extra[..usize::from(overhead) - ipv4::HEADER];
                gre::write(extra, with_checksum, inner);
                headers.cut(bytes, extra, rest, mtu, pool, emit)?
            }
            Action::Gue(outer, gue, id) => {
                let headers = Headers::new(bytes, parsed, outer, protocol::UDP, length, id)?;
                let inner = sum_of(bytes.get(l3..)?, rest.clone());
                let mut extra = [0; gue::EXTRA];
                gue::write(&mut extra, gue, headers.addresses(), length - ipv4::HEADER as u16, inner);
                headers.cut(bytes, &extra, rest, mtu, pool, emit)?
            }
        };
        sent.then_some(Outcome::Send)
    }
}

/// The data of a fragment whose padding is off.
fn payload<F: Frame>(frame: &F) -> Option<&[u8]> {
    let parsed = parse(frame.bytes(), Checksums::Ipv4Good);
    frame.bytes().get(parsed.l4.into()..)
}

fn sum_of<'a>(first: &[u8], rest: impl Iterator<Item = &'a [u8]>) -> u64 {
    rest.fold(checksum::sum(first), |sum, piece| sum + checksum::sum(piece))
}

/// Fragments of the packet itself, whose headers and first data are in `bytes`.
fn cut<'a, P: FramePool>(
    bytes: &'a [u8],
    parsed: &Parsed,
    rest: impl Iterator<Item = &'a [u8]> + Clone,
    mtu: u16,
    pool: &mut P,
    emit: impl FnMut(P::Frame),
) -> Option<bool> {
    let (headers, first) = bytes.split_at_checked(parsed.l4.into())?;
    Some(fragment::cut(headers, parsed.l3.into(), std::iter::once(first).chain(rest), mtu, pool, emit))
}

/// Ethernet header with tags and outer IP header.
struct Headers {
    bytes: [u8; 22 + ipv4::HEADER],
    l3: usize,
}

impl Headers {
    fn new(inner: &[u8], parsed: &Parsed, outer: &Outer, protocol: u8, length: u16, id: &mut u16) -> Option<Self> {
        let l3 = usize::from(parsed.l3);
        let ip = Ipv4(header(inner, l3)?);
        let outer = outer::header(ip.tos(), ip.fragment(), ip.ttl(), protocol, length, outer, id).bytes();
        let mut bytes = [0; 22 + ipv4::HEADER];
        bytes.get_mut(..l3)?.copy_from_slice(&inner[..l3]);
        bytes.get_mut(l3..l3 + ipv4::HEADER)?.copy_from_slice(&outer);
        Some(Self { bytes, l3 })
    }

    /// The outer addresses as they stand.
    fn addresses(&self) -> u64 {
        Ipv4::at(&self.bytes, self.l3).map_or(0, |ip| ip.addresses())
    }

    /// Fragments of the outer packet: `extra` headers, then the inner packet.
    fn cut<'a, P: FramePool>(
        &self,
        inner: &'a [u8],
        extra: &'a [u8],
        rest: impl Iterator<Item = &'a [u8]> + Clone,
        mtu: u16,
        pool: &mut P,
        emit: impl FnMut(P::Frame),
    ) -> Option<bool> {
        let headers = &self.bytes[..self.l3 + ipv4::HEADER];
        let pieces = [extra, inner.get(self.l3..)?].into_iter().chain(rest);
        Some(fragment::cut(headers, self.l3, pieces, mtu, pool, emit))
    }
}
