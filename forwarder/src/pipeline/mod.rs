//! From a frame to its verdict: find the connection, or make one; keep its state, timer and counts; rewrite.
//!
//! The files, in a packet's order: `burst` (the stages over a burst: headers, hash, prefetches), `steady` (the ordinary
//! packet); of any other packet this one, `request` (from clients, existing connections), `first` (the packet that
//! makes a connection), `persist` (templates), `reply` (from real servers), `related` (ICMP errors about a
//! connection), `answer` (what the director itself replies), `bypass` (past the servers), `leave` (the last step: next
//! hop and rewriting). `own` keeps what the routes say of virtual addresses, `path_mtu` knows the paths of tunnels,
//! `sweep` takes away what removed servers leave, `flush` what an operator wants away, `sight` tells who watches what
//! there is to find; `ledger` and `schedulers` hold what a worker knows about destinations and services. With several
//! workers, `ownership` stands between the two stages, and `survey` finds out what connections the others have.

mod answer;
mod audit;
mod burst;
mod bypass;
mod consult;
mod exits;
mod first;
mod flush;
mod leave;
mod ledger;
mod listing;
mod own;
mod ownership;
mod path_mtu;
mod peers;
mod persist;
mod related;
mod reply;
mod request;
mod schedulers;
mod sight;
mod sip;
mod steady;
mod survey;
mod sweep;
mod verdict;

pub use flush::{Flushed, Which};
pub use listing::{ConnView, Listing};
pub use ownership::Share;
pub(crate) use peers::Peers;
use persist::Templates;
pub use persist::templates_for;
pub use sight::{Found, Offer, Remembered, Sight};
pub use verdict::{DropReason, Verdict, Waiting};

use crate::clock::Tick;
use crate::conn::{Conn, Forward, Leaving, Signal, Template};
use crate::flow_table::{Fate, FlowTable, Secret, Slot, SlotId, hash};
use crate::lines;
use crate::parse::{Kind, Parsed};
use crate::police::Bucket;
use crate::rss::Spread;
use crate::service::{DestId, Destination, Snapshot};
use crate::stats::WorkerStats;
use crate::wire::sctp;
pub use burst::BURSTS;
use burst::{CACHED, Stage};
use exits::Exits;
use ledger::Ledger;
use own::Own;
use packet_io::{BURST, Burst, Frame, TableMemory};
use path_mtu::PathMtus;
use schedulers::Schedulers;
use std::sync::Arc;
use survey::Survey;
use sweep::Sweep;

/// A slot of the connection table: 64 bytes.
pub type ConnSlot = Slot<Conn>;
/// A slot of the table of persistence templates.
pub type TemplateSlot = Slot<Template>;

/// Ended connections that are noted, at most; the entries of others go when the hand finds them, within a second.
const ENDED: usize = 256;

/// ICMP errors that a worker sends a second (net.ipv4.icmp_msgs_per_sec), and at once: many, because when a service loses
/// its last server all of its clients should hear of it.
const ERRORS: u32 = 1000;
const ERRORS_AT_ONCE: u32 = 10_000;

/// What stays the same during one burst.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The configuration.
    pub snapshot: &'a Snapshot,
    /// The time.
    pub now: Tick,
    /// The port the burst came from.
    pub port: u16,
}

/// Who carries out verdicts.
pub trait Answers<F> {
    /// Sends the frames of a burst, all of connections, in their order, each by its port; leaves the burst empty. Slots
    /// whose frame was taken out have port [`NO_PORT`].
    fn forward(&mut self, burst: &mut Burst<F>, ports: &[u16; BURST]);
    /// Told of each frame that is no ordinary packet before it is decided, and perhaps changed: for who keeps what came.
    #[inline]
    fn consider(&mut self, _frame: &F) {}
    /// Does with the frame what the verdict says.
    fn finish(&mut self, turn: &Turn<'_>, verdict: Verdict, frame: F);
}

/// Stands for the port of a frame that is not sent on.
pub const NO_PORT: u16 = u16::MAX;

/// The tables and states of one worker.
pub struct Pipeline<M: TableMemory<ConnSlot>> {
    conns: FlowTable<Conn, M>,
    templates: Templates,
    schedulers: Schedulers,
    ledger: Ledger,
    secret: Secret,
    share: Share,
    /// Which worker a client belongs to, if there are several.
    spread: Option<Arc<Spread>>,
    survey: Survey,
    /// Questions to other workers about templates.
    open: Vec<consult::Open>,
    /// The number of the last question.
    questions: u32,
    /// Identification of the next outer header that may be fragmented.
    ip_id: u16,
    /// ICMP errors that the director itself may send.
    errors: Bucket,
    /// Version of the snapshot that the schedulers are in step with.
    version: u64,
    /// Removals of destinations that the pipeline knows of ([`Snapshot::removals`]).
    removals: u64,
    sweep: Option<Sweep>,
    /// Connections that have ended in this tick: their entries go in the next.
    ended: Vec<SlotId>,
    /// Of a packet of a one-packet service nothing is left that tells which server it got; who watches asks for the last.
    one_packet_went_to: DestId,
    paths: PathMtus,
    own: Own,
    exits: Exits,
    /// The method of the connections whose packets came last.
    usual: Forward,
    /// From so many connections on, bursts are run together.
    cached: usize,
    /// Taken out while bursts are in work.
    stages: Option<Box<[Stage; BURSTS]>>,
}

impl<M: TableMemory<ConnSlot>> Pipeline<M> {
    /// A pipeline with these tables. `secret` keys the hash of the connection table and must not be guessable; all
    /// workers have the same.
    #[must_use]
    pub fn new(
        conns: FlowTable<Conn, M>,
        templates: FlowTable<Template, Vec<TemplateSlot>>,
        stats: Arc<WorkerStats>,
        secret: Secret,
    ) -> Self {
        Self {
            conns,
            templates: Templates { table: templates, share: Share::ALL, peers: Peers::default() },
            open: Vec::new(),
            questions: 0,
            schedulers: Schedulers::new(hash(0, &secret)),
            exits: Exits::new(stats.destinations.len()),
            ledger: Ledger::new(stats),
            ip_id: hash(1, &secret) as u16,
            errors: Bucket::new(ERRORS, ERRORS_AT_ONCE, Tick::default()),
            secret,
            share: Share::ALL,
            spread: None,
            survey: Survey::new(Vec::new()),
            version: 0,
            removals: 0,
            sweep: None,
            ended: lines::room(ENDED),
            one_packet_went_to: DestId::NONE,
            paths: PathMtus::new(),
            own: Own::new(),
            usual: Forward::Nat,
            cached: CACHED,
            stages: Some(Box::default()),
        }
    }

    /// The pipeline of one of several workers, whose counters are these, by worker. All must have the same secret and
    /// the same spread.
    #[must_use]
    ///
    /// # Panics
    /// With more than 256 workers, or a table of templates that is larger than [`templates_for`] ever asks for.
    pub fn among(mut self, share: Share, workers: &[Arc<WorkerStats>], spread: &Arc<Spread>) -> Self {
        (self.share, self.templates.share) = (share, share);
        assert!(self.templates.fit(), "too many workers or templates to tell them apart");
        if share.is_all() {
            return self;
        }
        // Workers that draw or count alike would do the same at the same time.
        let own = hash(u64::from(share.worker) << 32, &self.secret);
        self.schedulers = Schedulers::new(own);
        self.ip_id = own as u16;
        let others = workers.iter().filter(|stats| !Arc::ptr_eq(stats, &self.ledger.stats));
        self.survey = Survey::new(others.cloned().collect());
        self.spread = Some(spread.clone());
        self.ledger.expect_others();
        self.open.reserve(peers::OPEN);
        self
    }

    /// Connects it to the other workers.
    pub(crate) fn meet(&mut self, peers: Peers) {
        self.templates.peers = peers;
    }

    /// Which part of all connections is this worker's.
    #[must_use]
    pub fn share(&self) -> Share {
        self.share
    }

    /// This worker's counters.
    #[must_use]
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.ledger.stats
    }

    /// Brings the schedulers up to date with a snapshot. Answers whether it was new.
    pub fn adopt(&mut self, snapshot: &Snapshot, now: Tick) -> bool {
        let news = self.version != snapshot.version;
        if news {
            self.adopt_changes(snapshot, now);
        }
        news
    }

    #[cold]
    fn adopt_changes(&mut self, snapshot: &Snapshot, now: Tick) {
        for &id in &snapshot.relieved {
            self.ledger.relieve(id);
        }
        if snapshot.version == self.version.wrapping_add(1) {
            for &id in &snapshot.changed {
                self.schedulers.adopt(id, snapshot, now);
            }
        } else {
            // The publisher gave up waiting for this worker, and what changed in between is not known.
            self.schedulers.adopt_all(snapshot, now);
        }
        self.exits.adopt(snapshot.version);
        self.own.adopt(&snapshot.routes);
        self.note_removals(snapshot, now);
        self.version = snapshot.version;
        self.ledger.stats.snapshot.set(snapshot.version);
    }

    /// One frame. `hash` is that of its client's endpoint as the first stage guessed the direction.
    #[inline]
    fn decide<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, hash: u64) -> Verdict {
        match parsed.kind {
            Kind::Tcp | Kind::Udp => self.transport(turn, frame, parsed, hash),
            _ => self.other(turn, frame, parsed, hash),
        }
    }

    #[inline]
    fn transport<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, hash: u64) -> Verdict {
        let from_server = turn.snapshot.nat_servers.may_contain(parsed.source());
        if from_server {
            if let Some(slot) =
                self.conns.find(hash, |conn| conn.is_reply(parsed.addresses, parsed.ports, parsed.protocol))
            {
                return self.reply(turn, frame, parsed, slot);
            }
            return self.maybe_request(turn, frame, parsed);
        }
        match self.conns.find(hash, |conn| conn.is_request(parsed.addresses, parsed.ports, parsed.protocol)) {
            Some(slot) => self.request(turn, frame, parsed, slot, hash),
            None => self.first(turn, frame, parsed, hash, None),
        }
    }

    /// A packet whose source may be a real server, but which is no reply: real servers are clients, too.
    #[cold]
    fn maybe_request<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed) -> Verdict {
        let hash = hash(parsed.source_endpoint(), &self.secret);
        match self.conns.find(hash, |conn| conn.is_request(parsed.addresses, parsed.ports, parsed.protocol)) {
            Some(slot) => self.request(turn, frame, parsed, slot, hash),
            None => match self.owner_of_request(turn, parsed) {
                Some(owner) => Verdict::HandOver(owner),
                None => self.first(turn, frame, parsed, hash, None),
            },
        }
    }

    #[cold]
    fn other<F: Frame>(&mut self, turn: &Turn<'_>, frame: &mut F, parsed: &Parsed, hash: u64) -> Verdict {
        match parsed.kind {
            Kind::Malformed(reason) => Verdict::Drop(reason.into()),
            Kind::Sctp => self.transport(turn, frame, parsed, hash),
            Kind::IcmpError => self.related(turn, frame, parsed),
            Kind::Fragment if turn.snapshot.may_concern(parsed) => Verdict::Collect,
            _ => Verdict::Kernel,
        }
    }

    /// Looks a piece further at what connections other workers have.
    #[inline]
    pub fn survey(&mut self, snapshot: &Snapshot, now: Tick) {
        if !self.survey.is_empty() {
            self.survey.advance(snapshot, &mut self.ledger, now);
        }
    }

    /// Lets go the entries whose time is up, doing no more than `budget` allows (`FlowTable::advance`).
    pub fn expire(&mut self, snapshot: &Snapshot, now: Tick, budget: usize) {
        if !self.ended.is_empty() {
            self.expire_ended(snapshot, now);
        }
        let left = self.expire_conns(snapshot, now, budget);
        self.expire_templates(now, budget);
        // A burst of new connections needs as many places as a block has: one block a turn is not enough if in each some
        // expire.
        if left > budget {
            self.expire_conns(snapshot, now, budget);
        }
        if let Some(sweep) = self.sweep {
            self.sweep_on(sweep, snapshot, now);
        }
        self.ledger.stats.entries.set(self.conns.len() as u64);
    }

    /// A step of the connections' hand; answers what is left to do ([`FlowTable::advance`]).
    fn expire_conns(&mut self, snapshot: &Snapshot, now: Tick, budget: usize) -> usize {
        let Self { conns, templates, ledger, .. } = self;
        conns.advance(now, budget, |conn, _| {
            if !templates.may_leave(conn) {
                return Fate::Renew(now);
            }
            gone(conn, snapshot, now, templates, ledger);
            Fate::Expire
        })
    }

    #[cold]
    fn expire_ended(&mut self, snapshot: &Snapshot, now: Tick) {
        let Self { conns, templates, ledger, ended, .. } = self;
        ended.retain(|&slot| {
            let ended = conns.contains(slot) && conns.get(slot).is_ended();
            if ended
                && now.passed(conns.expires(slot))
                && templates.may_leave(conns.get(slot))
                && let Some(conn) = conns.remove(slot)
            {
                gone(&conn, snapshot, now, templates, ledger);
                return false;
            }
            // One that was given more time is left to the hand.
            ended && conns.expires(slot) == now
        });
    }

    /// Ends a connection: no packet finds it any more. As in the kernel, its entry goes, and stops counting, a moment
    /// later.
    fn end(&mut self, now: Tick, slot: SlotId) {
        self.conns.get_mut(slot).end();
        self.conns.rearm(slot, now);
        if self.ended.len() < ENDED {
            self.ended.push(slot);
        }
    }
}

/// What a packet says to its connection's state. `frame` is looked into for the chunk of SCTP.
#[inline]
fn signal(frame: &[u8], parsed: &Parsed) -> Signal {
    match parsed.kind {
        Kind::Tcp => Signal::Tcp(parsed.flags),
        Kind::Sctp => Signal::Sctp(chunk(frame.get(usize::from(parsed.l4)..parsed.frame_length()).unwrap_or(&[]))),
        _ => Signal::Udp,
    }
}

/// The chunk type that counts in an SCTP packet: the first, but an ABORT bundled behind a COOKIE ECHO or ACK wins.
#[cold]
fn chunk(packet: &[u8]) -> u8 {
    use crate::conn::chunk::{ABORT, COOKIE_ACK, COOKIE_ECHO};
    let at = |offset: usize| packet.get(offset).copied().unwrap_or(0);
    let first = at(sctp::HEADER);
    let length = usize::from(u16::from_be_bytes([at(sctp::HEADER + 2), at(sctp::HEADER + 3)]));
    let second = at(sctp::HEADER + length.next_multiple_of(4));
    if matches!(first, COOKIE_ECHO | COOKIE_ACK) && second == ABORT { ABORT } else { first }
}

/// The destination of a connection, unless its slot belongs to another one by now.
#[inline]
fn destination_of<'a>(conn: &Conn, snapshot: &'a Snapshot) -> Option<&'a Destination> {
    snapshot.destination(conn.dest).filter(|destination| destination.generation == conn.generation)
}

/// A connection's time is over.
fn gone(conn: &Conn, snapshot: &Snapshot, now: Tick, templates: &mut Templates, ledger: &mut Ledger) {
    ledger.stats.expired.add(1);
    ledger.stats.expired_in[conn.state as usize].add(1);
    unbind(conn, snapshot, ledger);
    templates.leave(conn, Leaving::Ended, now);
}

/// A connection's entry is gone: it counts no more.
fn unbind(conn: &Conn, snapshot: &Snapshot, ledger: &mut Ledger) {
    ledger.left(conn.state);
    if conn.is_bypass() {
        return;
    }
    ledger.unbind(conn.dest, destination_of(conn, snapshot), conn.is_active());
}
