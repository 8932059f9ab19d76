//! `--services`: ten thousand services of ten servers each, in the real rvsd under full load: how long they take to load,
//! how long a change takes to reach the worker, and what changes cost the forwarding.

use crate::director::{Director, nothing_lost};
use crate::process::Sample;
use crate::set_up::SetUp;
use crate::{cycles, median, window};
use anyhow::{Result, ensure};
use control::client::Remote;
use control::command::{Command, ServerSpec, ServiceName};
use control::server::Executor;
use forwarder::service::{Method, Protocol};
use rvs_bench::frames::Proto;
use rvs_bench::pcap;
use rvs_bench::traffic::{self, Mode, VIRTUAL};
use serde::Serialize;
use std::fs::File;
use std::io::BufWriter;
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
/// Windows that the forwarding rate is the median of, with changes and without in turn.
const WINDOWS: usize = 5;

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
    /// Cycles a packet with no change, and with a hundred a second.
    cycles_per_packet: f64,
    cycles_per_packet_with_changes: f64,
    /// Of the storm.
    changes: u64,
    changes_per_second: f64,
    cycles_per_packet_in_storm: f64,
    /// Frames that came in meanwhile, all of which went out.
    frames: u64,
}

impl Report {
    /// Measures.
    pub fn measure(set_up: &mut SetUp, length: Duration, stop: &AtomicBool) -> Result<Self> {
        let frames = traffic::file(Mode::Dr, Proto::Tcp, FLOWS);
        let file = set_up.path("frames.pcap");
        pcap::write(BufWriter::new(File::create(&file)?), &frames)?;
        set_up.reserve(frames.len(), FLOWS);
        let mut director = Director::start(set_up, Mode::Dr, Proto::Tcp, FLOWS, frames.len(), &file)?;
        let begin = director.sample()?;

        let services = (0..SERVICES).map(|n| SocketAddrV4::new(*VIRTUAL.ip(), PORT + n));
        let rules: String = services.map(|at| traffic::service(at, Mode::Dr, Proto::Tcp, "wlc", SERVERS)).collect();
        let started = Instant::now();
        director.rvsadm().run(&["--restore"], &rules)?;
        let load_seconds = started.elapsed().as_secs_f64();

        let mut remote = Remote::new(director.rvsadm().socket());
        let mut weight = 1;
        let mut change = || -> Result<Duration> {
            weight += 1;
            let started = Instant::now();
            let done = remote.execute(edit(weight));
            done.map_err(|error| anyhow::anyhow!("a change was refused: {error}"))?;
            Ok(started.elapsed())
        };
        let mut latencies = Vec::new();
        for _ in 0..CHANGES {
            ensure!(!stop.load(Relaxed), "stopped");
            latencies.push(change()?.as_secs_f64() * 1e3);
            sleep(PAUSE);
        }
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..WINDOWS {
            let (from, to) = window(length, || director.sample())?;
            without.push(cycles(set_up, from, to));
            let from = director.sample()?;
            let until = Instant::now() + length;
            while Instant::now() < until {
                change()?;
                sleep(PAUSE);
            }
            with.push(cycles(set_up, from, director.sample()?));
        }
        let (before, started) = (director.sample()?, Instant::now());
        let mut changes = 0u32;
        while started.elapsed() < STORM {
            ensure!(!stop.load(Relaxed), "stopped");
            change()?;
            changes += 1;
            sleep((Duration::from_secs(1) * changes / RATE).saturating_sub(started.elapsed()));
        }
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
            cycles_per_packet: median(&mut without),
            cycles_per_packet_with_changes: median(&mut with),
            changes: changes.into(),
            changes_per_second: f64::from(changes) / took.as_secs_f64(),
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
        let share = (self.cycles_per_packet_with_changes / self.cycles_per_packet - 1.0) * 100.0;
        println!(
            "  a hundred changes a second: {:.1} cycles a packet instead of {:.1}, {share:+.1} % (goal: 1)",
            self.cycles_per_packet_with_changes, self.cycles_per_packet
        );
        println!(
            "  {:.0} changes a second for {} s: {:.1} cycles a packet; {} frames, none lost",
            self.changes_per_second,
            STORM.as_secs(),
            self.cycles_per_packet_in_storm,
            self.frames
        );
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
