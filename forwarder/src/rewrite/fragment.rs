//! Fragmentation of what is longer than the MTU of the link it leaves by (RFC 791, 3.2), into frames of a pool.
//!
//! The pieces are the kernel's (`ip_do_fragment`): as long as the MTU allows in multiples of 8 bytes, all with the
//! packet's identification; options without the copy bit are blanked in all but the first.

use crate::wire::ipv4::{self, Ipv4, options};
use packet_io::{Frame, FramePool};

/// Splits a frame that was rewritten for its new link ([`super::Outcome::Fragment`]) and hands the fragments to `emit`, in
/// order. `l3` is the offset of its IP header. The MTU is that of the link, or less: a packet that came in fragments
/// leaves in ones no longer than the longest of them.
///
/// Answers false if the pool ran out, or if nothing fits: then what was not emitted is lost.
#[must_use]
pub fn split<P: FramePool>(frame: &[u8], l3: usize, mtu: u16, pool: &mut P, emit: impl FnMut(P::Frame)) -> bool {
    let Some(ip) = Ipv4::at(frame, l3) else { return false };
    let end = l3 + usize::from(ip.total_length());
    let Some(payload) = frame.get(l3 + ip.header_length()..end) else { return false };
    cut(&frame[..l3 + ip.header_length()], l3, [payload], mtu, pool, emit)
}

/// Makes fragments of one packet whose payload lies in several pieces, as after reassembly. `headers` are its Ethernet
/// and IP header with options; lengths, offsets and checksum in the latter are written anew, its DF is kept, and if it
/// is a fragment's itself, the new ones are fragments of that.
#[must_use]
pub fn cut<'a, P: FramePool, I>(
    headers: &[u8],
    l3: usize,
    pieces: I,
    mtu: u16,
    pool: &mut P,
    mut emit: impl FnMut(P::Frame),
) -> bool
where
    I: IntoIterator<Item = &'a [u8]> + Clone,
{
    let Some(header_length) = headers.len().checked_sub(l3).filter(|length| *length >= ipv4::HEADER) else {
        return false;
    };
    let Some(field) = Ipv4::at(headers, l3).map(|ip| ip.fragment()) else { return false };
    let step = usize::from(mtu).saturating_sub(header_length) & !7;
    if step == 0 {
        return false;
    }
    let mut left: usize = pieces.clone().into_iter().map(<[u8]>::len).sum();
    let mut pieces = pieces.into_iter();
    let mut piece: &[u8] = &[];
    let mut offset = usize::from(field & ipv4::OFFSET) * 8;
    if offset + left + header_length > usize::from(u16::MAX) {
        return false;
    }
    let first = offset;
    loop {
        // The last may use the MTU to the byte.
        let length = if left + header_length <= usize::from(mtu) { left } else { step };
        let Some(mut frame) = pool.allocate() else { return false };
        if !frame.grow_back(headers.len() + length) {
            return false;
        }
        let bytes = frame.bytes_mut();
        let (head, mut data) = bytes.split_at_mut(headers.len());
        head.copy_from_slice(headers);
        while !data.is_empty() {
            if piece.is_empty() {
                let Some(next) = pieces.next() else { return false };
                piece = next;
                continue;
            }
            let n = piece.len().min(data.len());
            data[..n].copy_from_slice(&piece[..n]);
            (piece, data) = (&piece[n..], &mut data[n..]);
        }
        left -= length;
        let more = left > 0 || field & ipv4::MF != 0;
        let fragment = field & ipv4::DF | if more { ipv4::MF } else { 0 } | (offset / 8) as u16;
        finish(&mut head[l3..], (header_length + length) as u16, fragment, offset == first && first == 0);
        emit(frame);
        offset += length;
        if left == 0 {
            return true;
        }
    }
}

fn finish(header: &mut [u8], total_length: u16, fragment: u16, is_first: bool) {
    let Some(mut ip) = Ipv4::at_mut(header, 0) else { return };
    ip.set_total_length(total_length);
    ip.set_fragment(fragment);
    if !is_first {
        blank_options(&mut header[ipv4::HEADER..]);
    }
    ipv4::seal(header);
}

/// Replaces options that belong to the first fragment alone by no-operations.
fn blank_options(list: &mut [u8]) {
    const COPIED: u8 = 0x80;
    const MOST: usize = 40;
    let mut blank = [false; MOST];
    let sound = options::walk(list, |at, kind, length| {
        if kind & COPIED == 0 {
            blank.iter_mut().skip(at).take(length).for_each(|byte| *byte = true);
        }
    });
    if sound {
        let marked = list.iter_mut().zip(blank).filter(|(_, blank)| *blank);
        marked.for_each(|(byte, _)| *byte = options::NOP);
    }
}

/// The headers of a reassembled packet: the first fragment's, without its fragment fields and with the whole length.
/// A packet of any fragment with DF keeps DF as the kernel does, if `df`. Writes them into `headers`, which has the
/// length of the first fragment's Ethernet and IP header, and answers false if the packet would be too long.
#[must_use]
pub fn whole_header(headers: &mut [u8], l3: usize, payload: usize, df: bool) -> bool {
    let Some(header) = headers.get_mut(l3..) else { return false };
    let Ok(length) = u16::try_from(header.len() + payload) else { return false };
    let Some(mut ip) = Ipv4::at_mut(header, 0) else { return false };
    ip.set_total_length(length);
    ip.set_fragment(if df { ipv4::DF } else { 0 });
    ipv4::seal(header);
    true
}
