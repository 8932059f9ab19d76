//! Packets that come in fragments: their pieces wait here until all are there, then they are one packet for the pipeline,
//! and leave in fragments again, no longer than the longest that came (the kernel's ip_defrag and ip_do_fragment).
//!
//! Memory is bounded: so many packets, so many pieces each. A packet that is not whole after [`PATIENCE`], or whose
//! pieces overlap (RFC 5722, and the kernel since 4.18: nobody honest sends such), is dropped with all its pieces.

use crate::clock::{TICKS_PER_SECOND, Tick};
use crate::lines;
use crate::parse::{Fragment, Kind, Parsed, fragment, parse};
use crate::pipeline::DropReason;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4};
use packet_io::Frame;
use std::collections::VecDeque;

/// Packets that wait for pieces, at most.
const PACKETS: usize = 64;
/// Pieces of one packet, at most: a whole 64 KiB in frames of an ordinary MTU.
pub(super) const PIECES: usize = 48;
/// How long a packet may be incomplete (net.ipv4.ipfrag_time).
const PATIENCE: u32 = 30 * TICKS_PER_SECOND;
/// Room in front of a collected packet for outer headers.
const HEADROOM: usize = 128;
/// Room for any packet and its Ethernet header.
const ROOM: usize = HEADROOM + 64 + 65_536;

/// What the pieces of one packet have in common (RFC 791).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    addresses: u64,
    id: u16,
    protocol: u8,
}

impl Key {
    fn of(parsed: &Parsed, at: Fragment) -> Self {
        Self { addresses: parsed.addresses, id: at.id, protocol: parsed.protocol }
    }
}

/// One packet's pieces, in the order of their offsets.
struct Packet<F> {
    key: Key,
    since: Tick,
    /// The number of the first trail of a piece, or 0.
    mark: u32,
    pieces: Vec<Piece<F>>,
}

struct Piece<F> {
    at: Fragment,
    parsed: Parsed,
    /// Where it came from: pieces may take several ways.
    port: u16,
    frame: F,
}

/// Collects pieces.
pub(super) struct Collector<F> {
    /// Packets that miss pieces.
    packets: Vec<Packet<F>>,
    /// Packets that are whole, in the order in which they became so.
    ready: VecDeque<Ready<F>>,
    /// Memory for pieces of packets that do not wait at the moment.
    spare: Vec<Vec<Piece<F>>>,
    /// The packet at work.
    pub whole: Whole,
}

/// A packet that is whole.
pub(super) struct Ready<F> {
    pieces: Vec<Piece<F>>,
    /// The port that its first piece came from, whose headers it has.
    pub port: u16,
    /// The number of the trail that leads to it, or 0.
    pub mark: u32,
}

/// This many pieces are dropped, by this name.
pub(super) struct Dropped(pub usize, pub DropReason);

impl<F: Frame> Collector<F> {
    pub fn new() -> Self {
        Self {
            packets: lines::room(PACKETS),
            ready: VecDeque::with_capacity(PACKETS),
            spare: (0..PACKETS).map(|_| lines::room(PIECES)).collect(),
            whole: Whole { buffer: vec![0; ROOM].into_boxed_slice(), head: HEADROOM, end: HEADROOM },
        }
    }

    /// Pieces that wait.
    pub fn len(&self) -> usize {
        self.packets.iter().map(|packet| packet.pieces.len()).sum()
    }

    /// The number of the trail of the packet that waits for this piece; 0 if there is none.
    pub fn trail_of(&self, frame: &impl Frame) -> u32 {
        if self.packets.is_empty() {
            return 0;
        }
        let parsed = parse(frame.bytes(), frame.checksums());
        let at = fragment(frame.bytes(), &parsed).filter(|_| parsed.kind == Kind::Fragment);
        let Some(at) = at else { return 0 };
        let misses = |packet: &&Packet<F>| {
            packet.key == Key::of(&parsed, at) && packet.pieces.iter().all(|piece| piece.at.offset != at.offset)
        };
        self.packets.iter().find(misses).map_or(0, |packet| packet.mark)
    }

    /// Adds a piece that came from `port`, with the number of its trail or 0. Pieces that cannot be kept are released; the error says how many, and why, and
    /// `told` gets each, with its port.
    pub fn add(
        &mut self,
        frame: F,
        port: u16,
        mark: u32,
        now: Tick,
        told: impl Fn(DropReason, u16, &[u8]),
    ) -> Result<(), Dropped> {
        let dropped = |reason, bytes: &[u8]| {
            told(reason, port, bytes);
            Err(Dropped(1, reason))
        };
        let parsed = parse(frame.bytes(), frame.checksums());
        let Some(at) = fragment(frame.bytes(), &parsed) else {
            return dropped(DropReason::ShortTransport, frame.bytes());
        };
        let key = Key::of(&parsed, at);
        let index = match self.packets.iter().position(|packet| packet.key == key) {
            Some(index) => index,
            None => match self.spare.pop() {
                Some(pieces) => {
                    self.packets.push(Packet { key, since: now, mark, pieces });
                    self.packets.len() - 1
                }
                None => return dropped(DropReason::FragmentLimit, frame.bytes()),
            },
        };
        let packet = &mut self.packets[index];
        let (start, end) = (u32::from(at.offset), u32::from(at.offset) + u32::from(at.length));
        let place = packet.pieces.partition_point(|piece| piece.at.offset < at.offset);
        if packet.pieces.get(place).is_some_and(|same| (same.at.offset, same.at.length) == (at.offset, at.length)) {
            return dropped(DropReason::FragmentDuplicate, frame.bytes());
        }
        let end_of = |piece: &Piece<F>| u32::from(piece.at.offset) + u32::from(piece.at.length);
        let overlaps = place.checked_sub(1).is_some_and(|before| end_of(&packet.pieces[before]) > start)
            || packet.pieces.get(place).is_some_and(|after| u32::from(after.at.offset) < end)
            || packet.pieces.last().is_some_and(|last| !last.at.more && end_of(last) < end);
        // Pieces but the last are multiples of 8 bytes (RFC 791).
        if overlaps || (at.more && (at.length == 0 || !at.length.is_multiple_of(8))) {
            let _: Result<(), _> = dropped(DropReason::FragmentOverlap, frame.bytes());
            return Err(Dropped(
                1 + self.forget(index, DropReason::FragmentOverlap, &told),
                DropReason::FragmentOverlap,
            ));
        }
        if packet.pieces.len() == PIECES {
            let _: Result<(), _> = dropped(DropReason::FragmentLimit, frame.bytes());
            return Err(Dropped(1 + self.forget(index, DropReason::FragmentLimit, &told), DropReason::FragmentLimit));
        }
        packet.mark = if packet.mark == 0 { mark } else { packet.mark };
        packet.pieces.insert(place, Piece { at, parsed, port, frame });
        if packet.is_whole() {
            let Packet { pieces, mark, .. } = self.packets.swap_remove(index);
            let port = pieces.first().map_or(port, |first| first.port);
            self.ready.push_back(Ready { pieces, port, mark });
        }
        Ok(())
    }

    /// Drops the packets that have waited too long; answers how many pieces that were. `told` gets each, with its port.
    pub fn expire(&mut self, now: Tick, told: impl Fn(DropReason, u16, &[u8])) -> usize {
        let mut dropped = 0;
        while let Some(index) = self.packets.iter().position(|packet| now.since(packet.since) > PATIENCE) {
            dropped += self.forget(index, DropReason::FragmentTimeout, &told);
        }
        dropped
    }

    fn forget(&mut self, index: usize, reason: DropReason, told: &impl Fn(DropReason, u16, &[u8])) -> usize {
        let Packet { mut pieces, .. } = self.packets.swap_remove(index);
        let count = pieces.len();
        pieces.drain(..).for_each(|piece| told(reason, piece.port, piece.frame.bytes()));
        self.spare.push(pieces);
        count
    }

    /// The next whole packet, put together in [`Self::whole`]; to be given back to [`Self::finish`]. With it comes the
    /// length of its longest piece, bytes of IP packet; 0 if the pieces make no packet.
    pub fn next(&mut self) -> Option<(Ready<F>, u16)> {
        let ready = self.ready.pop_front()?;
        let longest = ready.pieces.iter().map(|piece| piece.parsed.total_length).max().unwrap_or_default();
        let longest = if self.whole.fill(&ready.pieces) { longest } else { 0 };
        Some((ready, longest))
    }

    /// The packet is done with: its pieces go to `release` with the ports that they came from, first to last.
    pub fn finish(&mut self, ready: Ready<F>, mut release: impl FnMut(u16, F)) {
        let Ready { mut pieces, .. } = ready;
        pieces.drain(..).for_each(|piece| release(piece.port, piece.frame));
        self.spare.push(pieces);
    }
}

impl<F> Ready<F> {
    /// How many pieces it came in.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The addresses that it came with.
    pub fn addresses(&self) -> Option<u64> {
        self.pieces.first().map(|piece| piece.parsed.addresses)
    }
}

impl<F> Packet<F> {
    fn is_whole(&self) -> bool {
        let mut next = 0;
        for Piece { at, .. } in &self.pieces {
            if u32::from(at.offset) != next {
                return false;
            }
            next += u32::from(at.length);
        }
        self.pieces.last().is_some_and(|last| !last.at.more)
    }
}

/// A packet that was put together: a frame like any other, of up to 64 KiB.
pub(super) struct Whole {
    buffer: Box<[u8]>,
    head: usize,
    end: usize,
}

impl Whole {
    /// Its addresses as they stand.
    pub fn addresses(&self) -> Option<u64> {
        let (_, l3) = ethernet::payload(self.bytes())?;
        Some(Ipv4::at(self.bytes(), l3)?.addresses())
    }

    /// Puts the pieces together behind the first one's headers. Answers false if they make no packet.
    fn fill<F: Frame>(&mut self, pieces: &[Piece<F>]) -> bool {
        let Some(first) = pieces.first() else { return false };
        let (l3, l4) = (usize::from(first.parsed.l3), usize::from(first.parsed.l4));
        (self.head, self.end) = (HEADROOM, HEADROOM);
        let df = pieces.iter().any(|piece| piece.at.df);
        for (index, Piece { parsed, frame, .. }) in pieces.iter().enumerate() {
            let from = if index == 0 { 0 } else { usize::from(parsed.l4) };
            let Some(bytes) = frame.bytes().get(from..parsed.frame_length()) else { return false };
            let Some(room) = self.buffer.get_mut(self.end..self.end + bytes.len()) else { return false };
            room.copy_from_slice(bytes);
            self.end += bytes.len();
        }
        let bytes = self.bytes_mut();
        let Ok(length) = u16::try_from(bytes.len() - l3) else { return false };
        let Some(mut ip) = Ipv4::at_mut(bytes, l3) else { return false };
        ip.set_total_length(length);
        ip.set_fragment(if df { ipv4::DF } else { 0 });
        let Some(header) = bytes.get_mut(l3..l4) else { return false };
        ipv4::seal(header);
        true
    }
}

impl Frame for Whole {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.head..self.end]
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.head..self.end]
    }
    fn grow_front(&mut self, n: usize) -> bool {
        let fits = n <= self.head;
        if fits {
            self.head -= n;
        }
        fits
    }
    fn shrink_front(&mut self, n: usize) -> bool {
        let fits = n <= self.end - self.head;
        if fits {
            self.head += n;
        }
        fits
    }
    fn grow_back(&mut self, n: usize) -> bool {
        let fits = n <= self.buffer.len() - self.end;
        if fits {
            self.end += n;
        }
        fits
    }
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.head.saturating_add(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::fragment;
    use packet_io::memory::{MemFrame, MemPool};
    use proptest::prelude::*;

    fn nobody(_: DropReason, _: u16, _: &[u8]) {}

    /// A UDP packet with this many bytes of data, in an Ethernet frame.
    fn packet(data: usize, id: u16) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0]);
        let length = (28 + data) as u16;
        let ip = ipv4::New {
            tos: 0,
            total_length: length,
            id,
            fragment: 0,
            ttl: 64,
            protocol: 17,
            source: u32::from_ne_bytes([10, 0, 0, 1]),
            destination: u32::from_ne_bytes([10, 0, 0, 2]),
        };
        let mut header = [0; ipv4::HEADER];
        ip.write(&mut header);
        bytes.extend(header);
        bytes.extend([0x1f, 0x90, 0, 53]);
        bytes.extend((length - 20).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend((0..data).map(|n| n as u8));
        bytes
    }

    fn pieces(packet: &[u8], mtu: u16, pool: &mut MemPool) -> Vec<MemFrame> {
        let mut pieces = Vec::new();
        assert!(fragment::split(packet, 14, mtu, pool, |piece| pieces.push(piece)));
        pieces
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_become_the_packet_and_are_released_once(
            data in 100usize..9000, mtu in 300u16..1500, order in any::<u64>(), twice in any::<bool>(),
        ) {
            let mut pool = MemPool::new(1000);
            let original = packet(data, 7);
            let mut frames = pieces(&original, mtu, &mut pool);
            let (count, mut dropped) = (frames.len(), 0);
            prop_assume!(count > 1);
            let mut collector = Collector::new();
            let mut state = order;
            while !frames.is_empty() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                let frame = frames.swap_remove((state >> 33) as usize % frames.len());
                if twice && !frames.is_empty() {
                    let copy = pool.frame(frame.bytes()).unwrap();
                    prop_assert!(collector.add(copy, 0, 0, Tick(0), nobody).is_ok());
                    dropped += collector.add(frame, 0, 0, Tick(0), nobody).unwrap_err().0;
                } else {
                    prop_assert!(collector.next().is_none(), "whole without all of its pieces");
                    prop_assert!(collector.add(frame, 0, 0, Tick(0), nobody).is_ok());
                }
            }
            let (ready, longest) = collector.next().expect("all pieces are there");
            prop_assert_eq!(collector.whole.bytes(), &original[..]);
            prop_assert!(longest <= mtu && usize::from(longest) + 8 > usize::from(mtu));
            prop_assert_eq!(ready.len(), count);
            prop_assert_eq!(dropped, if twice { count - 1 } else { 0 });
            let mut released = 0;
            collector.finish(ready, |_, _| released += 1);
            prop_assert_eq!((released, collector.len(), pool.in_use()), (count, 0, 0));
        }
    }

    #[test]
    fn a_packet_that_misses_a_piece_goes_after_its_time() {
        let mut pool = MemPool::new(100);
        let mut collector = Collector::new();
        for piece in pieces(&packet(4000, 1), 1500, &mut pool).into_iter().skip(1) {
            assert!(collector.add(piece, 0, 0, Tick(5), nobody).is_ok());
        }
        assert_eq!(collector.expire(Tick(5 + PATIENCE), nobody), 0);
        assert_eq!(collector.expire(Tick(6 + PATIENCE), nobody), 2);
        assert_eq!((collector.len(), pool.in_use()), (0, 0));
    }

    #[test]
    fn overlapping_pieces_take_all_of_their_packet_with_them() {
        let mut pool = MemPool::new(100);
        let mut collector = Collector::new();
        let (big, small) = (pieces(&packet(4000, 1), 1500, &mut pool), pieces(&packet(4000, 1), 1000, &mut pool));
        let mut big = big.into_iter();
        assert!(collector.add(big.next().unwrap(), 0, 0, Tick(0), nobody).is_ok());
        let Dropped(count, reason) =
            collector.add(small.into_iter().nth(1).unwrap(), 0, 0, Tick(0), nobody).unwrap_err();
        assert_eq!((count, reason), (2, DropReason::FragmentOverlap));
        drop(big);
        assert_eq!((collector.len(), pool.in_use()), (0, 0));
    }

    #[test]
    fn floods_find_an_end() {
        let mut pool = MemPool::new(1000);
        let mut collector = Collector::new();
        let mut refused = 0;
        for id in 0..200 {
            let first = pieces(&packet(4000, id), 1500, &mut pool).swap_remove(0);
            refused += collector
                .add(first, 0, 0, Tick(0), nobody)
                .is_err_and(|Dropped(_, why)| why == DropReason::FragmentLimit) as usize;
        }
        assert_eq!((collector.len(), refused), (PACKETS, 200 - PACKETS));
        let tiny = pieces(&packet(4000, 0), 60, &mut pool);
        let lost: usize = tiny
            .into_iter()
            .filter_map(|piece| collector.add(piece, 0, 0, Tick(0), nobody).err())
            .map(|dropped| dropped.0)
            .sum();
        assert!(lost > PIECES && collector.len() <= PACKETS - 1 + PIECES);
        drop(collector);
        assert_eq!(pool.in_use(), 0);
    }
}
