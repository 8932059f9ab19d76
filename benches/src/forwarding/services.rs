//! `--services`: ten thousand services of ten servers each, in the real rvsd under full load: how long they take to load,
//! how long a change takes to reach the worker, and what changes cost the forwarding.

use crate::director::{Director, nothing_lost};
use crate::files::Files;
use crate::process::Sample;
use crate::set_up::SetUp;
use crate::{cycles, median};
use anyhow::{Result, ensure};
use control::client::Remote;
use control::command::{Command, ServerSpec, ServiceName};
use control::server::Executor;
use forwarder::service::{Method, Protocol};
use rvs_bench::frames::Proto;
use rvs_bench::traffic::{self, Mode, VIRTUAL};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Services beside the one that has the traffic, and servers of each.
const SERVICES: u16 = 10_000;
const SERVERS: usize = 10;
/// Connections of the load.
const FLOWS: usize = 65_536;
/// The first service's port.
const PORT: u16 = 10_000;
/// Changes whose latency is measured, with a pause between two.
const CHANGES: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// The storm: so many changes a second, for so long.
const RATE: u32 = 1_000;
const STORM: Duration = Duration::from_secs(10);
/// Rounds of three windows each, whose differences are looked at.
const ROUNDS: usize = 200;
const WINDOW: Duration = Duration::from_millis(100);
/// Changes a second in them.
const CHANGES_A_SECOND: u32 = 100;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    services: usize,
    servers: usize,
    /// From the first byte of the rules to the answer that the worker works by them.
    load_seconds: f64,
    /// Of changes, one at a time, under full load.
    change_ms_median: f64,
    change_ms_longest: f64,
    /// Cycles a packet with no change.
    cycles_per_packet: f64,
    /// What a hundred changes a second add to them.
    changes_add: Share,
    /// The same changes, made to another director that forwards nothing: what a program on the other CPU takes away.
    changes_elsewhere_add: Share,
    /// What changes add to that: what they cost this director itself.
    changes_themselves_add: Share,
    /// Of the storm.
    changes: u64,
    changes_per_second: f64,
    cycles_per_packet_in_storm: f64,
    /// Frames that came in meanwhile, all of which went out.
    frames: u64,
}

impl Report {
    /// Measures.
    pub fn measure(set_up: &mut SetUp, stop: &AtomicBool) -> Result<Self> {
        let (files, _) = Files::write(set_up, Mode::Dr, Proto::Tcp, FLOWS, 1)?;
        set_up.reserve(&files, 2);
        let mut director = Director::start(set_up, "rvsd", &files)?;
        let begin = director.sample()?;

        let services = (0..SERVICES).map(|n| SocketAddrV4::new(*VIRTUAL.ip(), PORT + n));
        let rules: String = services.map(|at| traffic::service(at, Mode::Dr, Proto::Tcp, "wlc", SERVERS)).collect();
        let started = Instant::now();
        director.rvsadm().run(&["--restore"], &rules)?;
        let load_seconds = started.elapsed().as_secs_f64();

        let mut changes = Changes::to(&director);
        let mut latencies = Vec::new();
        for _ in 0..CHANGES {
            ensure!(!stop.load(Relaxed), "stopped");
            let started = Instant::now();
            changes.make()?;
            latencies.push(started.elapsed().as_secs_f64() * 1e3);
            sleep(PAUSE);
        }
        let elsewhere = resting(set_up, &files, &rules)?;
        let mut changes_elsewhere = Changes::to(&elsewhere);
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            // Each kind of window comes first, second and last as often as the others.
            let mut measured = [0.0; 3];
            for kind in [0, 1, 2].map(|place| (place + round) % 3) {
                ensure!(!stop.load(Relaxed), "stopped");
                let from = director.sample()?;
                match kind {
                    0 => sleep(WINDOW),
                    1 => drop(changes_elsewhere.make_for(WINDOW, CHANGES_A_SECOND)?),
                    _ => drop(changes.make_for(WINDOW, CHANGES_A_SECOND)?),
                }
                measured[kind] = cycles(set_up, from, director.sample()?);
            }
            rounds.push(measured);
        }
        drop(elsewhere);
        let share = |of: usize, beside: usize| Share::of(rounds.iter().map(|round| round[of] / round[beside] - 1.0));
        let (before, started) = (director.sample()?, Instant::now());
        let made = changes.make_for(STORM, RATE)?;
        let took = started.elapsed();
        let after = director.sample()?;
        nothing_lost(begin.counts, after.counts)?;
        let Sample { counts, .. } = after;
        Ok(Self {
            services: usize::from(SERVICES) + 1,
            servers: usize::from(SERVICES) * SERVERS,
            load_seconds,
            change_ms_longest: latencies.iter().copied().fold(0.0, f64::max),
            change_ms_median: median(&mut latencies),
            cycles_per_packet: median(&mut rounds.iter().map(|round| round[0]).collect::<Vec<_>>()),
            changes_add: share(2, 0),
            changes_elsewhere_add: share(1, 0),
            changes_themselves_add: share(2, 1),
            changes: made.into(),
            changes_per_second: f64::from(made) / took.as_secs_f64(),
            cycles_per_packet_in_storm: cycles(set_up, before, after),
            frames: counts.received - begin.counts.received,
        })
    }

    /// In words.
    pub fn print(&self) {
        let Self { services, servers, .. } = self;
        println!("{services} services and {servers} servers under full load (DR, TCP, {FLOWS} connections):");
        println!("  loaded in {:.2} s (goal: 1)", self.load_seconds);
        let (median, longest) = (self.change_ms_median, self.change_ms_longest);
        println!("  a change reaches the worker in {median:.2} ms, at most {longest:.2} (goal: 10)");
        println!(
            "  {CHANGES_A_SECOND} changes a second add to {:.1} cycles a packet (goal: 1 %):",
            self.cycles_per_packet
        );
        println!("    {}", self.changes_add);
        println!("    {} when made to another director, which forwards nothing", self.changes_elsewhere_add);
        println!("    {} more than those", self.changes_themselves_add);
        println!(
            "  {:.0} changes a second for {} s: {:.1} cycles a packet; {} frames, none lost",
            self.changes_per_second,
            STORM.as_secs(),
            self.cycles_per_packet_in_storm,
            self.frames
        );
    }
}

/// Another director with the same services, which forwards nothing.
fn resting(set_up: &SetUp, files: &Files, rules: &str) -> Result<Director> {
    let director = Director::start(set_up, "rvsd-other", files)?;
    let stopped = Remote::new(director.rvsadm().socket()).execute(Command::StopForwarding);
    stopped.map_err(|error| anyhow::anyhow!("forwarding cannot be stopped: {error}"))?;
    director.rvsadm().run(&["--restore"], rules)?;
    Ok(director)
}

/// Who changes a director.
struct Changes {
    remote: Remote,
    weight: u32,
}

impl Changes {
    fn to(director: &Director) -> Self {
        Self { remote: Remote::new(director.rvsadm().socket()), weight: 1 }
    }

    /// One change.
    fn make(&mut self) -> Result<()> {
        self.weight += 1;
        let done = self.remote.execute(edit(self.weight));
        done.map(drop).map_err(|error| anyhow::anyhow!("a change was refused: {error}"))
    }

    /// So many a second, for so long. Answers how many they were.
    fn make_for(&mut self, length: Duration, rate: u32) -> Result<u32> {
        let (started, mut made) = (Instant::now(), 0);
        while started.elapsed() < length {
            self.make()?;
            made += 1;
            sleep((Duration::from_secs(1) * made / rate).saturating_sub(started.elapsed()));
        }
        Ok(made)
    }
}

/// What differences come to, as shares of what they are differences to.
#[derive(Debug, Serialize)]
struct Share {
    median: f64,
    /// The true median is between these, 19 times of 20.
    between: [f64; 2],
}

impl Share {
    fn of(differences: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = differences.collect();
        let median = median(&mut sorted);
        // Half of the values lie below the true median, give or take what tossing coins would.
        let (count, reach) = (sorted.len(), (sorted.len() as f64).sqrt() * 0.98);
        let low = (count as f64 / 2.0 - reach).floor().max(0.0) as usize;
        Self { median, between: [sorted[low], sorted[count - 1 - low]] }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, low, high] = [self.median, self.between[0], self.between[1]].map(|share| share * 100.0);
        write!(to, "{median:+.2} % ({low:+.2} to {high:+.2})")
    }
}

/// Another weight for a server in the middle of the services.
fn edit(weight: u32) -> Command {
    let number = (weight % u32::from(SERVICES)) as u16;
    let address = IpAddr::V4(*VIRTUAL.ip());
    let service = ServiceName::Address { protocol: Protocol::Tcp, address, port: PORT + number };
    let server = ServerSpec::new(IpAddr::V4(*traffic::server(3).ip()), PORT + number);
    Command::EditServer { service, server: ServerSpec { method: Method::Dr, weight: 1 + weight % 100, ..server } }
}
