//! With several workers: which of them a frame belongs to.
//!
//! A connection belongs to the worker that its client's endpoint names ([`crate::rss::Spread`]), in both directions. A frame that
//! arrives elsewhere is handed over before anybody looks for its connection, and decided by its owner as if it had
//! arrived there. Frames that concern no service are decided where they arrive.
//!
//! A frame makes two steps at most. A real server's packet is taken for a reply first; if it is none, but may be a
//! request, the owner of the reply that it is not hands it on. An ICMP error that may be about a request or a reply goes
//! the same way. Whoever hands on is the owner of the first guess, so nothing ever goes round in a circle.
//!
//! Fragments are collected by the worker that the hash of their addresses names. When the packet is whole, and another
//! worker's, its pieces go there and are collected once more.

use super::burst::Kinds;
use super::{ConnSlot, Pipeline, Turn, Verdict};
use crate::flow_table::{hash, owner};
use crate::parse::{Kind, Parsed, Quoted, parse, quoted};
use packet_io::{Burst, Frame, TableMemory};

/// Which part of all connections is one worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The worker's number.
    pub worker: u32,
    /// How many workers there are.
    pub of: u32,
}

impl Share {
    /// Everything: there is one worker.
    pub const ALL: Self = Self { worker: 0, of: 1 };

    /// True if there is one worker.
    #[inline]
    #[must_use]
    pub fn is_all(self) -> bool {
        self.of == 1
    }

    /// The worker that a hash of anything but a client belongs to, unless it is this one.
    #[inline]
    #[must_use]
    pub fn other_owner(self, hash: u64) -> Option<u32> {
        let owner = owner(hash, self.of);
        (owner != self.worker).then_some(owner)
    }
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// Between the stages, with several workers: hands over what belongs to others. The slots stay empty. The answer has
    /// their bits.
    #[inline(never)]
    pub(super) fn hand_over<F: Frame>(
        &self,
        turn: &Turn<'_>,
        burst: &mut Burst<F>,
        kinds: &Kinds,
        mut hand: impl FnMut(u32, F),
    ) -> u32 {
        let mut gone = 0;
        for (index, slot) in burst.slots_mut().iter_mut().enumerate() {
            // Nearly every frame that the NIC or the kernel could sort is where it belongs.
            let Some(frame) = slot else { continue };
            if let Some(client) = kinds.client(index, frame.bytes())
                && self.other_owner(client).is_none()
            {
                continue;
            }
            let parsed = &parse(frame.bytes(), frame.checksums());
            let owner = match parsed.kind {
                Kind::Tcp | Kind::Udp | Kind::Sctp => {
                    let owner = self.other_owner(self.client(turn, parsed));
                    owner.filter(|_| turn.snapshot.may_concern(parsed))
                }
                Kind::Fragment => {
                    let collector = self.share.other_owner(hash(parsed.addresses, &self.secret));
                    collector.filter(|_| turn.snapshot.may_concern(parsed))
                }
                Kind::IcmpError => self.owner_of_error(turn, frame.bytes(), parsed),
                Kind::Kernel | Kind::Malformed(_) => None,
            };
            if let Some(owner) = owner
                && let Some(frame) = slot.take()
            {
                hand(owner, frame);
                gone |= 1 << index;
            }
        }
        gone
    }

    /// The worker that a client's connections belong to, unless it is this one.
    #[inline]
    pub(super) fn other_owner(&self, client: u64) -> Option<u32> {
        let owner = self.spread.as_ref()?.owner(client);
        (owner != self.share.worker).then_some(owner)
    }

    /// The other worker to which an ICMP error goes from where it arrived.
    fn owner_of_error(&self, turn: &Turn<'_>, frame: &[u8], parsed: &Parsed) -> Option<u32> {
        let gue_port = |port| turn.snapshot.gue_ports.contains(&port);
        let [first, second] = clients_of_error(turn, &quoted(frame, parsed, gue_port)?);
        self.other_owner(first.or(second)?)
    }

    /// An ICMP error for which this worker found no connection: on to the owner of the second guess, if this worker was
    /// that of the first.
    pub(super) fn next_owner_of_error(&self, turn: &Turn<'_>, quote: &Quoted) -> Option<u32> {
        let [Some(first), Some(second)] = clients_of_error(turn, quote) else { return None };
        match self.other_owner(first) {
            Some(_) => None,
            None => self.other_owner(second),
        }
    }

    /// A real server's packet that is no reply: on to the owner of its request, if this worker is that of the reply.
    pub(super) fn owner_of_request(&self, turn: &Turn<'_>, parsed: &Parsed) -> Option<u32> {
        let next = self.other_owner(parsed.source_endpoint())?;
        let mine = self.other_owner(parsed.destination_endpoint()).is_none();
        (mine && turn.snapshot.may_be_virtual(parsed.destination())).then_some(next)
    }

    /// The other worker that a packet belongs to which was put together from fragments; pieces stay here. `client`
    /// is the client's endpoint if the direction was guessed right.
    pub(super) fn owner_of_whole(&self, turn: &Turn<'_>, parsed: &Parsed, client: u64) -> Option<u32> {
        if self.share.is_all() || parsed.kind == Kind::Fragment {
            return None;
        }
        let owner = self.other_owner(client)?;
        // Its pieces came from that owner, where it was no reply.
        let guessed_wrong = turn.snapshot.nat_servers.may_contain(parsed.source())
            && turn.snapshot.may_be_virtual(parsed.destination())
            && self.other_owner(parsed.source_endpoint()).is_none();
        (!guessed_wrong).then_some(owner)
    }

    /// The first packet of a connection of a service must be decided by its owner. It nearly always is; but workers may
    /// hold different snapshots for a moment, and guess differently.
    #[inline]
    pub(super) fn misplaced(&self, parsed: &Parsed) -> Option<Verdict> {
        self.other_owner(parsed.source_endpoint()).map(Verdict::HandOver)
    }
}

/// The endpoints of the clients that an ICMP error may concern, in the order in which `related` looks for them: the
/// client of the reply, then of the request, that it quotes. In a tunnel, what is quoted is a request.
fn clients_of_error(turn: &Turn<'_>, quote: &Quoted) -> [Option<u64>; 2] {
    let inner = quote.as_parsed();
    let of_request = inner.source_endpoint();
    if quote.tunnel.is_some() {
        return [turn.snapshot.may_be_virtual(inner.destination()).then_some(of_request), None];
    }
    let of_reply = turn.snapshot.may_be_virtual(inner.source()).then_some(inner.destination_endpoint());
    let of_request = turn.snapshot.nat_servers.may_contain(inner.destination()).then_some(of_request);
    [of_reply, of_request]
}
