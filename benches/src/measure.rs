//! The pure pipeline under generated load: how many cycles a packet takes, and how long a burst.
//!
//! What is measured is the CPU time of this thread, so that a busy machine does not blur it; only a burst's latency is
//! told by the cycle counter, and has what others took from this thread in it. Frames of new connections are written
//! between two measured stretches, and the cost of replaying frames is measured by itself.

use crate::frames::{LENGTH, Proto};
use crate::replay;
use crate::rig::{BURST, Rig, Setup};
use crate::traffic::{self, Mode, VIRTUAL};
use control::command::{Command, Timeouts};
use forwarder::clock::Tick;
use forwarder::flow_table::TURN;
use forwarder::pipeline::ConnSlot;
use forwarder::stats::WorkerStats;
use packet_io::TableMemory;
use rustix::time::{ClockId, clock_gettime};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Frames between two looks at the clock.
const STRETCH: usize = 256 * BURST;
/// CPU time of a window; the median is of these.
const WINDOW: Duration = Duration::from_millis(50);
/// Bursts whose latency is kept, at most.
const BURSTS: usize = 1 << 22;
/// Frames a tick, where nothing else says: ten millions a second.
const FRAMES_A_TICK: f64 = 100_000.0;
/// Seconds after which datagrams' connections expire where new ones come all the time, and the ticks that they have been
/// there when the hand finds them, half a turn later.
const LIFE: (u32, f64) = (1, 100.0 + TURN as f64 / 2.0);

/// What is forwarded.
#[derive(Clone, Debug)]
pub struct Load {
    /// How.
    pub mode: Mode,
    /// Of which protocol.
    pub proto: Proto,
    /// Connections at a time.
    pub flows: usize,
    /// Of the frames, those that make a connection, 0 to 1: at least so many of the connections are theirs.
    pub fresh: f64,
    /// Bytes of a frame without FCS.
    pub length: usize,
    /// Frames of a burst.
    pub burst: usize,
    /// The service's scheduler. Replies can be written beforehand with `sh` alone.
    pub scheduler: String,
    /// Its servers.
    pub servers: usize,
    /// Services; all traffic is one's.
    pub services: usize,
}

impl Load {
    /// Connections that the table has room for.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.flows.max(1024)
    }
}

/// Why something cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody knows which server's replies to write.
    #[error("replies need the scheduler sh, {} servers, and no new connections", traffic::SERVERS)]
    Replies,
    /// Some frames did not go out: a row that does not count.
    #[error("{lost} of {received} frames were not forwarded: {reasons}")]
    Lost {
        /// Frames.
        received: u64,
        /// Of these, lost.
        lost: u64,
        /// What was counted.
        reasons: String,
    },
}

/// Where a measurement stands, to tell who waits: what is done, and which part of it, 0 to 1.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, f64);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// CPU seconds a packet, the replay's own work included: the median of the windows.
    pub seconds: f64,
    /// Of these, the replay's own work.
    pub replay: f64,
    /// Frames forwarded.
    pub frames: u64,
    /// Connections made meanwhile.
    pub created: u64,
    /// Connections that expired, and that gave way to new ones.
    pub gone: [u64; 2],
    /// Connections at the end.
    pub entries: u64,
    /// What the bursts took, in units of the cycle counter, rising.
    pub bursts: Vec<u32>,
}

impl Measured {
    /// What this share of the bursts, 0 to 1, stayed below or at.
    #[must_use]
    pub fn latency(&self, share: f64) -> u32 {
        let last = self.bursts.len().saturating_sub(1);
        self.bursts.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Forwards this load for so long, on a table in the memory that `memory` makes of so many slots. `clock` is the cycle
/// counter.
///
/// # Errors
/// [`Error`].
///
/// # Panics
/// If the load cannot be set up.
pub fn run<M: TableMemory<ConnSlot> + Send>(
    load: &Load,
    length: Duration,
    memory: impl FnOnce(usize) -> M,
    clock: fn() -> u64,
    progress: Progress<'_>,
) -> Result<Measured, Error> {
    let replies = matches!(load.mode, Mode::NatReply | Mode::NatMixed);
    if replies && (load.scheduler != "sh" || load.servers != traffic::SERVERS || load.fresh > 0.0) {
        return Err(Error::Replies);
    }
    progress("setting up", 0.0);
    let mut rig = set_up(load, memory);
    let mut traffic = Traffic::new(load);
    let mut now = Tick(2);
    if !traffic.lasting.is_empty() {
        progress("connecting", 0.0);
        rig.connect(load.mode, load.proto, traffic.flows, load.length, now);
    }
    let replay = replay_alone(load, &traffic, length / 10);
    // New connections first fill the table, which nobody wants to measure.
    let mut left = if load.fresh > 0.0 { (2.0 * load.flows as f64 / load.fresh) as usize } else { load.flows };
    let mut stretch = Stretch { clock, passed: 0.0, frames_a_tick: traffic.frames_a_tick, bursts: Vec::new() };
    let whole = left.max(1) as f64;
    rig.replay(&traffic.lasting, load.length, load.burst);
    while left > 0 {
        progress("filling the table", 1.0 - left as f64 / whole);
        traffic.next(&mut rig, load);
        stretch.forward(&mut rig, &mut now);
        left = left.saturating_sub(STRETCH);
    }
    stretch.bursts = Vec::with_capacity(BURSTS);
    let before = Counted::new(rig.stats());
    let until = Instant::now() + length;
    let mut windows = Vec::new();
    let mut window = (Duration::ZERO, 0);
    while Instant::now() < until || windows.is_empty() {
        progress(
            "measuring",
            1.0 - (until.saturating_duration_since(Instant::now())).as_secs_f64() / length.as_secs_f64(),
        );
        traffic.next(&mut rig, load);
        let from = cpu();
        let frames = stretch.forward(&mut rig, &mut now);
        window = (window.0 + cpu() - from, window.1 + frames);
        if window.0 >= WINDOW {
            windows.push(window.0.as_secs_f64() / window.1 as f64);
            window = Default::default();
        }
    }
    let after = Counted::new(rig.stats());
    let (received, lost) = (after.received - before.received, after.lost - before.lost);
    if lost > 0 || after.forwarded - before.forwarded != received {
        let lost = received - (after.forwarded - before.forwarded);
        return Err(Error::Lost { received, lost, reasons: reasons(rig.stats()) });
    }
    let mut bursts = stretch.bursts;
    bursts.sort_unstable();
    windows.sort_by(f64::total_cmp);
    Ok(Measured {
        seconds: windows[windows.len() / 2],
        replay,
        frames: received,
        created: after.created - before.created,
        gone: [after.expired - before.expired, after.evicted - before.evicted],
        entries: rig.stats().entries.get(),
        bursts,
    })
}

fn set_up<M: TableMemory<ConnSlot> + Send>(load: &Load, memory: impl FnOnce(usize) -> M) -> Rig<M> {
    let mut rig = Rig::new(&Setup::with(load.connections(), load.servers, load.services), memory);
    let service = |address| traffic::service(address, load.mode, load.proto, &load.scheduler, load.servers);
    let others = (1..load.services).map(|number| SocketAddrV4::new(*VIRTUAL.ip(), 10_000 + number as u16));
    rig.serve_by(&[VIRTUAL].into_iter().chain(others).map(service).collect::<String>());
    if load.fresh > 0.0 && load.proto == Proto::Udp {
        let timeouts = Timeouts { tcp: 0, tcp_fin: 0, udp: LIFE.0 };
        rig.execute(Command::SetTimeouts(timeouts)).expect("timeouts can be set");
    }
    rig
}

/// Which frames come next.
struct Traffic {
    /// Of the flows that last.
    lasting: Vec<[u8; LENGTH]>,
    /// How many these are.
    flows: usize,
    /// The next of them.
    next: usize,
    /// The number of the next new client, and the first.
    client: u32,
    /// How much of a new connection is due.
    due: f64,
    frames_a_tick: f64,
}

impl Traffic {
    fn new(load: &Load) -> Self {
        // Half of what is left beside new ones, so that each is heard of before its time is up.
        let flows = if load.fresh > 0.0 { (load.flows as f64 * (1.0 - load.fresh) / 2.0) as usize } else { load.flows };
        let lasting = if flows == 0 { Vec::new() } else { traffic::file(load.mode, load.proto, flows) };
        let frames_a_tick = match load.proto {
            Proto::Udp if load.fresh > 0.0 => load.flows as f64 / LIFE.1,
            _ => FRAMES_A_TICK,
        };
        Self { lasting, flows, next: 0, client: flows as u32, due: 0.0, frames_a_tick }
    }

    /// Lets the rig replay what comes next, if there is anything new in it.
    fn next<M: TableMemory<ConnSlot> + Send>(&mut self, rig: &mut Rig<M>, load: &Load) {
        if load.fresh == 0.0 {
            return;
        }
        rig.source().refill(STRETCH, load.length, load.burst, |frame| {
            self.due += load.fresh;
            if self.due >= 1.0 || self.lasting.is_empty() {
                self.due -= 1.0;
                *frame = traffic::first(load.proto, traffic::client(self.client));
                self.client = if self.client == 0xff_ffff { self.flows as u32 } else { self.client + 1 };
            } else {
                *frame = self.lasting[self.next];
                self.next = if self.next + 1 == self.lasting.len() { 0 } else { self.next + 1 };
            }
        });
    }
}

/// Turns of the worker, with time.
struct Stretch {
    clock: fn() -> u64,
    frames_a_tick: f64,
    /// Of the tick, what has passed.
    passed: f64,
    bursts: Vec<u32>,
}

impl Stretch {
    /// A number of turns; answers how many frames they were.
    fn forward<M: TableMemory<ConnSlot> + Send>(&mut self, rig: &mut Rig<M>, now: &mut Tick) -> usize {
        let mut frames = 0;
        while frames < STRETCH {
            let from = (self.clock)();
            let count = rig.turn(*now);
            let took = (self.clock)().wrapping_sub(from);
            frames += count;
            self.passed += count as f64 / self.frames_a_tick;
            if self.passed >= 1.0 {
                *now = now.plus(self.passed as u32);
                self.passed = self.passed.fract();
            }
            if self.bursts.len() < self.bursts.capacity() {
                self.bursts.push(u32::try_from(took).unwrap_or(u32::MAX));
            }
        }
        frames
    }
}

/// CPU seconds a frame of replaying alone.
fn replay_alone(load: &Load, traffic: &Traffic, length: Duration) -> f64 {
    let one = [traffic::first(load.proto, traffic::client(0))];
    let frames = if traffic.lasting.is_empty() { &one[..] } else { &traffic.lasting[..] };
    let mut source = replay::Source::default();
    source.replay(frames, load.length, load.burst);
    let (from, mut count) = (cpu(), 0);
    while cpu() - from < length {
        count += replay::through(&mut source, STRETCH);
    }
    (cpu() - from).as_secs_f64() / count as f64
}

struct Counted {
    received: u64,
    forwarded: u64,
    lost: u64,
    created: u64,
    expired: u64,
    evicted: u64,
}

impl Counted {
    fn new(stats: &WorkerStats) -> Self {
        Self {
            received: stats.received.get(),
            forwarded: stats.forwarded.get(),
            lost: stats.dropped() + stats.to_kernel.get(),
            created: stats.created.get(),
            expired: stats.expired.get(),
            evicted: stats.evicted.get(),
        }
    }
}

fn reasons(stats: &WorkerStats) -> String {
    use forwarder::pipeline::DropReason;
    let counted = DropReason::ALL.iter().map(|&reason| (reason.name(), stats.drops[reason as usize].get()));
    let named: Vec<_> = counted.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::flow_table::Slot;

    fn load(mode: Mode, proto: Proto, fresh: f64) -> Load {
        Load {
            mode,
            proto,
            flows: 2_000,
            fresh,
            length: LENGTH,
            burst: BURST,
            scheduler: "wlc".to_owned(),
            servers: 40,
            services: 3,
        }
    }

    #[test]
    fn new_connections_are_as_many_as_asked_for_and_others_stay() {
        for (proto, fresh) in
            [(Proto::Tcp, 1.0), (Proto::Udp, 1.0), (Proto::Tcp, 0.25), (Proto::Udp, 0.5), (Proto::Tcp, 0.0)]
        {
            let load = load(Mode::Dr, proto, fresh);
            let mut told = 0;
            let memory = |slots| vec![Slot::default(); slots];
            let measured = run(&load, Duration::from_millis(1), memory, || 0, &mut |_, done| {
                told += u32::from((0.0..=1.0).contains(&done))
            })
            .unwrap();
            let share = measured.created as f64 / measured.frames as f64;
            assert!((share - fresh).abs() < 0.01, "{proto:?}: {share} instead of {fresh}");
            // Datagrams' connections expire; half-open ones give way when the table is full.
            let [expired, gave_way] = measured.gone;
            match proto {
                _ if fresh == 0.0 => assert_eq!(measured.gone, [0, 0]),
                Proto::Udp => assert!(expired > 0 && gave_way < expired / 100, "{gave_way} gave way"),
                Proto::Tcp => assert!(expired == 0 && gave_way == measured.created, "{gave_way} gave way"),
            }
            assert!(told > 3 && measured.seconds > measured.replay * 0.5);
        }
    }

    #[test]
    fn every_scheduler_serves_all_there_is() {
        for known in forwarder::scheduler::SCHEDULERS {
            let load = Load { scheduler: known.name.to_owned(), ..load(Mode::Nat, Proto::Tcp, 1.0) };
            let memory = |slots| vec![Slot::default(); slots];
            let measured = run(&load, Duration::ZERO, memory, || 0, &mut |_, _| {});
            assert!(measured.is_ok_and(|measured| measured.created == measured.frames), "{}", known.name);
        }
    }

    #[test]
    fn replies_of_an_unknown_server_are_not_measured() {
        let load = load(Mode::NatReply, Proto::Tcp, 0.0);
        let memory = |slots| vec![Slot::default(); slots];
        let refused = run(&load, Duration::ZERO, memory, || 0, &mut |_, _| {});
        assert_eq!(refused.unwrap_err(), Error::Replies);
    }
}
