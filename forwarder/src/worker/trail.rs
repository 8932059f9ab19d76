//! What is kept of a packet that somebody watches: how it came, what was found for it, what was decided, and what it
//! looked like before and after.

use crate::pipeline::{DropReason, Found, Sight, Turn, Verdict};
use packet_io::Frame;
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a frame that a trail keeps: all headers, also those of a packet that is quoted or in a tunnel.
pub const HEAD: usize = 128;

/// Who watches the frames of workers. It is called by them while they forward, so it must neither wait nor allocate; what
/// it keeps must be bounded.
pub trait Watcher: Debug + Send + Sync {
    /// True if it wants trails; asked once, when a worker gets it.
    fn wants_trails(&self) -> bool;
    /// True if it wants the frames that are dropped; asked once, when a worker gets it.
    fn wants_drops(&self) -> bool;
    /// False if at the moment it wants the trail of no packet.
    fn may_want(&self) -> bool;
    /// True if it wants the trail of this packet.
    fn wants(&self, sight: &Sight) -> bool;
    /// A number for a trail, never 0, that no other trail has for a long time.
    fn number(&self) -> u32;
    /// A packet that it wants was decided, or one that an earlier trail [leads to](Trail::follows).
    fn keep(&self, trail: &Trail);
    /// A frame is dropped: the bytes that are left of it, as far as possible as they came, and how long it was. `port` is
    /// the one that it came by; of a frame that was ready to leave, the one that it would have left by.
    fn dropped(&self, port: u16, reason: DropReason, bytes: &[u8], length: usize);
}

/// How a frame came to the worker that decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// By this queue of its port.
    Received(u16),
    /// Another worker handed it over.
    HandedOver,
    /// It was put together from so many fragments.
    Whole(u16),
    /// It waited for what another worker knows about its client's template.
    Answered,
    /// It was held until its neighbour's MAC address was known, or nobody answered.
    Held,
    /// The kernel sends it by its port.
    FromKernel,
}

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Bytes of the whole frame, without FCS.
    pub length: u32,
    bytes: [u8; HEAD],
}

impl Head {
    /// Of this frame.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        let mut head = Self { length: frame.len() as u32, bytes: [0; HEAD] };
        let kept = frame.len().min(HEAD);
        head.bytes[..kept].copy_from_slice(&frame[..kept]);
        head
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..HEAD.min(self.length as usize)]
    }
}

/// One packet's way through one worker.
#[derive(Clone, Copy, Debug)]
pub struct Trail {
    /// Its number.
    pub number: u32,
    /// The number of the trail that led here: of the same packet in the worker that handed it over, or before it waited,
    /// or of a fragment of it; else 0.
    pub follows: u32,
    /// The worker.
    pub worker: u32,
    /// The port that the frame came by.
    pub port: u16,
    /// How it came.
    pub came: Came,
    /// The frame as it came.
    pub before: Head,
    /// What was found for it.
    pub sight: Sight,
    /// What became of it.
    pub verdict: Verdict,
    /// The frame as it was then.
    pub after: Head,
    /// Its connection after that.
    pub connection: Option<Found>,
    /// The packet made that connection.
    pub made: bool,
    /// To make room for it another connection went.
    pub pushed_out: bool,
    /// There was no room for it.
    pub no_room: bool,
    /// The server of a packet for which no connection is kept.
    pub one_packet_server: Option<SocketAddrV4>,
    /// The neighbour that the frame was sent to.
    pub neighbour: Option<Ipv4Addr>,
    /// It could not be done as decided: the frame was dropped.
    pub dropped: Option<DropReason>,
}

impl Trail {
    pub(super) fn begin(
        number: u32,
        follows: u32,
        (worker, port): (u32, u16),
        came: Came,
        sight: Sight,
        frame: &impl Frame,
    ) -> Self {
        let before = Head::of(frame.bytes());
        Self {
            number,
            follows,
            worker,
            port,
            came,
            before,
            sight,
            verdict: Verdict::Kernel,
            after: before,
            connection: None,
            made: false,
            pushed_out: false,
            no_room: false,
            one_packet_server: None,
            neighbour: None,
            dropped: None,
        }
    }

    /// Who has the MAC address that the frame was sent to.
    pub(super) fn find_neighbour(&mut self, turn: &Turn<'_>) {
        let (Verdict::Transmit(port) | Verdict::Answer(port, _) | Verdict::Split { port, .. }) = self.verdict else {
            return;
        };
        let mac = self.after.bytes().first_chunk::<6>();
        let links = turn.snapshot.routes.links.iter();
        let mut found = links.filter(|link| link.port == port && link.mac.as_ref() == mac && mac.is_some());
        self.neighbour = found.next().map(|link| link.address);
    }
}
