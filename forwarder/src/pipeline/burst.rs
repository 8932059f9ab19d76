//! The stages over a burst, each a loop of its own: (1) read and hash the headers of every frame, and ask for the memory
//! where its connection would be; (2) look there, and ask for the memory where it most likely is; several bursts may take
//! these two together; (3) the ordinary
//! packets (`steady`), in groups that are handled alike; (4) all others, one by one. With several workers, what belongs to
//! others leaves between (2) and (3).

use super::{Answers, ConnSlot, NO_PORT, Pipeline, Turn, Verdict};
use crate::conn::Conn;
use crate::flow_table::{Candidate, FlowTable, hash};
use crate::parse::{Kind, Parsed, parse, plain_client, plain_flags, plain_head, plain_source};
use crate::wire::ipv4::protocol;
use crate::wire::tcp;
use packet_io::{BURST, Burst, Frame, TableMemory, Work};

/// Bursts that take the first stages together, at most.
pub const BURSTS: usize = 4;

/// Connections whose entries find room in the third level cache of many a processor, with what else is there.
pub(super) const CACHED: usize = 1 << 17;

/// What the first stages found out about the frames of a burst, by slot. Of odd frames it says nothing.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Stage {
    /// The hash of the client's endpoint.
    pub hashes: [u64; BURST],
    /// Where the connection is looked for.
    pub at: [Candidate; BURST],
    /// The ports by which they leave; [`NO_PORT`] for those that do not.
    pub ports: [u16; BURST],
    kinds: Kinds,
    /// Most frames of the last burst were UDP.
    usually_udp: bool,
}

impl Default for Stage {
    fn default() -> Self {
        let (kinds, usually_udp) = (Kinds::default(), false);
        Self { hashes: [0; BURST], at: [Candidate::NOWHERE; BURST], ports: [NO_PORT; BURST], kinds, usually_udp }
    }
}

/// Groups of frames of a burst: a bit by slot. Of an odd frame the other bits say nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kinds {
    /// By their headers alone no ordinary packets: neither untagged, unfragmented TCP without SYN, FIN and RST, nor such UDP.
    pub odd: u32,
    /// Plain TCP or UDP, odd or not: their hash is known.
    pub plain: u32,
    /// Replies, if their source is a real server's address, as it may be: they are looked up as such first.
    pub replies: u32,
    /// UDP; else TCP.
    pub udp: u32,
}

impl Kinds {
    /// The client's endpoint of a frame whose headers are ordinary.
    #[inline]
    pub fn client(&self, index: usize, frame: &[u8]) -> Option<u64> {
        let is = |group: u32| group >> index & 1 != 0;
        let protocol = if is(self.udp) { protocol::UDP } else { protocol::TCP };
        let head = frame.first_chunk().filter(|_| !is(self.odd))?;
        Some(plain_client(head, protocol, is(self.replies)))
    }
}

const _: () = assert!(BURST == u32::BITS as usize, "groups of frames are bits of a u32");

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// How many bursts should be run together, 1 or [`BURSTS`]: where entries come from memory, they come while the headers
    /// of other bursts are read; else more frames in work only take room in the nearest cache.
    #[inline]
    #[must_use]
    pub fn together(&self) -> usize {
        if self.conns.len() >= self.cached { BURSTS } else { 1 }
    }

    /// Bursts are run together from so many connections on.
    pub fn run_together_from(&mut self, connections: usize) {
        self.cached = connections;
    }

    /// Runs bursts that arrived at this worker, at most [`BURSTS`], through the stages; leaves them empty.
    #[inline]
    pub fn run<F: Frame>(&mut self, turn: &Turn<'_>, bursts: &mut [Burst<F>], out: &mut impl Answers<F>) {
        self.stages(turn, bursts, out, !self.share.is_all());
    }

    /// Runs a burst that another worker handed over through the stages; leaves it empty.
    pub fn run_handed_over<F: Frame>(&mut self, turn: &Turn<'_>, burst: &mut Burst<F>, out: &mut impl Answers<F>) {
        self.stages(turn, std::slice::from_mut(burst), out, false);
    }

    /// The stages; with `hand_over`, what belongs to other workers goes to them in between. The first two are taken by all
    /// bursts together: while the headers of one are read, the lines that were asked for another come.
    fn stages<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        bursts: &mut [Burst<F>],
        out: &mut impl Answers<F>,
        hand_over: bool,
    ) {
        if turn.snapshot.index.is_empty() {
            return bursts.iter_mut().for_each(|burst| Self::step_aside(turn, burst, out));
        }
        let Some(mut stages) = self.stages.take() else { return };
        for (burst, stage) in bursts.iter_mut().zip(stages.iter_mut()) {
            self.read_any(turn, burst, stage);
        }
        if !self.conns.is_sparse() {
            for (burst, stage) in bursts.iter().zip(stages.iter_mut()) {
                M::run(Look { conns: &self.conns, count: burst.len(), stage });
            }
        }
        for (burst, stage) in bursts.iter_mut().zip(stages.iter_mut()) {
            self.decide_all(turn, burst, stage, out, hand_over);
        }
        self.stages = Some(stages);
    }

    /// The other stages.
    #[inline]
    fn decide_all<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        burst: &mut Burst<F>,
        stage: &mut Stage,
        out: &mut impl Answers<F>,
        hand_over: bool,
    ) {
        let (mut left, mut kinds) = (all(burst), stage.kinds);
        if hand_over {
            let gone = self.hand_over(turn, burst, &kinds, |owner, frame| {
                out.finish(turn, Verdict::HandOver(owner), frame);
            });
            each(gone, |index| stage.ports[index] = NO_PORT);
            left &= !gone;
            kinds.odd &= !gone;
        }
        let slots = burst.all_slots_mut();
        while left != 0 {
            // What is odd by its headers may change anything, so it waits until those before it are through.
            let odd = kinds.odd & kinds.odd.wrapping_neg();
            let before = left & odd.wrapping_sub(1);
            let others = if before == 0 { 0 } else { self.pass_ordinary(turn, slots, stage, &kinds, before) };
            each(others | odd, |index| {
                let hash = (kinds.plain >> index & 1 != 0).then_some(stage.hashes[index]);
                stage.ports[index] = self.settle(turn, &mut slots[index], hash, out);
            });
            left &= !(before | odd);
            kinds.odd &= !odd;
        }
        out.forward(burst, &stage.ports);
    }

    /// The first stage.
    #[inline]
    fn read_any<F: Frame>(&self, turn: &Turn<'_>, burst: &mut Burst<F>, stage: &mut Stage) {
        let group = all(burst);
        let (usually_udp, slots) = (stage.usually_udp, burst.all_slots_mut());
        stage.kinds = Kinds::default();
        let has_nat = !turn.snapshot.nat_servers.is_empty();
        let mut read = |udp: bool, group: u32| match (udp, has_nat) {
            _ if group == 0 => 0,
            (true, true) => self.read::<F, { protocol::UDP }, true>(turn, slots, stage, group),
            (true, false) => self.read::<F, { protocol::UDP }, false>(turn, slots, stage, group),
            (false, true) => self.read::<F, { protocol::TCP }, true>(turn, slots, stage, group),
            (false, false) => self.read::<F, { protocol::TCP }, false>(turn, slots, stage, group),
        };
        // What was usual in the burst before is tried first.
        let others = read(usually_udp, group);
        let odd = read(!usually_udp, others);
        let kinds = &mut stage.kinds;
        kinds.odd |= odd;
        kinds.plain = group & !odd;
        kinds.udp = if usually_udp { group & !others } else { others };
        stage.usually_udp = kinds.udp.count_ones() > group.count_ones() / 2;
    }

    /// Reads the headers of those frames of a group that are plain ones of a protocol, and asks for the memory where their
    /// connections would be. The answer has a bit for each that is something else. Without `NAT` there are no replies.
    #[inline(never)] // a loop by itself has the registers for itself
    fn read<F: Frame, const PROTOCOL: u8, const NAT: bool>(
        &self,
        turn: &Turn<'_>,
        slots: &[Option<F>; BURST],
        stage: &mut Stage,
        group: u32,
    ) -> u32 {
        M::run(Read::<F, M, PROTOCOL, NAT> { pipeline: self, turn, slots, stage, group })
    }

    /// Decides about one frame that is no ordinary packet, and whose hash may be known. Answers the port by which it leaves; any other verdict is
    /// carried out, and the slot empty.
    #[inline(never)]
    fn settle<F: Frame>(
        &mut self,
        turn: &Turn<'_>,
        slot: &mut Option<F>,
        known: Option<u64>,
        out: &mut impl Answers<F>,
    ) -> u16 {
        let Some(frame) = slot else { return NO_PORT };
        out.consider(frame);
        let parsed = parse(frame.bytes(), frame.checksums());
        let hash = known.unwrap_or_else(|| hash(self.client(turn, &parsed), &self.secret));
        match self.decide(turn, frame, &parsed, hash) {
            Verdict::Transmit(port) => port,
            verdict => {
                if let Some(frame) = slot.take() {
                    out.finish(turn, verdict, frame);
                }
                NO_PORT
            }
        }
    }

    /// One packet that does not come in a burst: put together from fragments, or one that waited here.
    pub fn run_one<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F) -> Verdict {
        if turn.snapshot.index.is_empty() {
            return Verdict::Kernel;
        }
        let parsed = parse(frame.bytes(), frame.checksums());
        let client = self.client(turn, &parsed);
        match self.owner_of_whole(turn, &parsed, client) {
            Some(owner) => Verdict::HandOver(owner),
            None => self.decide(turn, frame, &parsed, hash(client, &self.secret)),
        }
    }

    /// The client's endpoint of a packet, as its headers alone tell it: a reply's, if its source may be a real server's
    /// address.
    pub(super) fn client(&self, turn: &Turn<'_>, parsed: &Parsed) -> u64 {
        parsed.client_endpoint(turn.snapshot.nat_servers.may_contain(parsed.source()))
    }

    /// As in the kernel: without a service the director does not interfere, not even with connections that live on.
    #[cold]
    fn step_aside<F: Frame>(turn: &Turn<'_>, burst: &mut Burst<F>, out: &mut impl Answers<F>) {
        for frame in burst.drain() {
            let verdict = match parse(frame.bytes(), frame.checksums()).kind {
                Kind::Malformed(reason) => Verdict::Drop(reason.into()),
                _ => Verdict::Kernel,
            };
            out.finish(turn, verdict, frame);
        }
    }
}

/// [`Pipeline::read`], to be compiled for more than one kind of processor.
struct Read<'a, F, M: TableMemory<ConnSlot>, const PROTOCOL: u8, const NAT: bool> {
    pipeline: &'a Pipeline<M>,
    turn: &'a Turn<'a>,
    slots: &'a [Option<F>; BURST],
    stage: &'a mut Stage,
    group: u32,
}

impl<F: Frame, M: TableMemory<ConnSlot>, const PROTOCOL: u8, const NAT: bool> Work for Read<'_, F, M, PROTOCOL, NAT> {
    type Answer = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { pipeline: Pipeline { conns, secret, .. }, turn, slots, stage, mut group } = self;
        let (mut others, mut odd, mut replies) = (0, 0, 0);
        let servers = &turn.snapshot.nat_servers;
        // No closure in here: it would not be inlined.
        while group != 0 {
            let index = first(group);
            group &= group - 1;
            let head = match &slots[index] {
                Some(frame) => plain_head::<PROTOCOL>(frame.bytes(), frame.checksums()),
                None => None,
            };
            let Some(head) = head else {
                others |= rare(index);
                continue;
            };
            if PROTOCOL == protocol::TCP && !tcp::flags::are_ordinary(plain_flags(head)) {
                odd |= rare(index);
            }
            let is_reply = NAT && servers.may_contain(plain_source(head));
            replies |= u32::from(is_reply) << index;
            let hash = hash(plain_client(head, PROTOCOL, is_reply), secret);
            stage.hashes[index] = hash;
            stage.at[index] = conns.begin(hash);
        }
        stage.kinds.odd |= odd;
        stage.kinds.replies |= replies;
        others
    }
}

/// The second stage, to be compiled for more than one kind of processor.
struct Look<'a, M: TableMemory<ConnSlot>> {
    conns: &'a FlowTable<Conn, M>,
    count: usize,
    stage: &'a mut Stage,
}

impl<M: TableMemory<ConnSlot>> Work for Look<'_, M> {
    type Answer = ();

    #[inline(always)]
    fn run(self) {
        let Self { conns, count, stage: Stage { at, hashes, .. } } = self;
        for (at, hash) in at.iter_mut().zip(hashes).take(count) {
            *at = conns.candidate(*at, *hash);
        }
    }
}

/// The group of all slots that a burst uses.
#[inline(always)]
fn all<F>(burst: &Burst<F>) -> u32 {
    u32::MAX.checked_shr((BURST - burst.len()) as u32).unwrap_or(0)
}

/// The slots of a group, from the first to the last.
#[inline(always)]
pub(super) fn each(mut group: u32, mut of: impl FnMut(usize)) {
    while group != 0 {
        of(first(group));
        group &= group - 1;
    }
}

/// The first slot of a group that has one.
#[inline(always)]
pub(super) fn first(group: u32) -> usize {
    group.trailing_zeros() as usize % BURST
}

/// A bit that is rarely set: the compiler shall not prepare it each time.
#[cold]
pub(super) fn rare(index: usize) -> u32 {
    1 << index
}
