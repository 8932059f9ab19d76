//! `rvsd bench`: the pure pipeline on generated flows, without a NIC, without root, without DPDK running.

use crate::options::BenchOptions;
use anyhow::{Context, Result, ensure};
use dpdk_ffi::clock::tsc;
use dpdk_ffi::memory::TableMemory;
use forwarder::flow_table::{Slot, slots_for};
use forwarder::pipeline::ConnSlot;
use rvs_bench::measure::{self, Load, Measured};
use serde::Serialize;
use std::io::{IsTerminal, Write, stderr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the cycle counter is compared with the clock.
const CALIBRATION: Duration = Duration::from_millis(50);
/// Bytes of a frame's checksum on the wire.
const FCS: usize = 4;
/// Servers over all services.
const SERVERS: usize = 1 << 20;
/// How often progress is told.
const TOLD: Duration = Duration::from_millis(100);

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    mode: String,
    proto: String,
    flows: usize,
    frame_size: usize,
    new_percent: f64,
    scheduler: String,
    servers: usize,
    services: usize,
    /// Of the flow table, and what it is made of.
    table_bytes: usize,
    table_memory: String,
    mpps: f64,
    cycles_per_packet: f64,
    /// Of these, what replaying the frames took.
    replay_cycles_per_packet: f64,
    packets: u64,
    created: u64,
    expired: u64,
    gave_way: u64,
    connections: u64,
    burst: usize,
    burst_latency_us: Latency,
}

/// Microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Measures, and prints.
///
/// # Errors
/// What cannot be measured, or why it does not count.
pub fn run(options: &BenchOptions) -> Result<()> {
    let load = load(options)?;
    let hz = tsc_hz();
    let table = TableMemory::<ConnSlot>::new(slots_for(load.connections()), Slot::default(), None)?;
    let memory = table.kind().to_string();
    let table_bytes = table.len() * size_of::<ConnSlot>();
    let mut told = Teller::new();
    let seconds = Duration::from_secs_f64(options.seconds);
    let measured = measure::run(&load, seconds, |_| table, tsc, &mut |what, done| told.tell(what, done));
    told.end();
    let report = report(options, &load, &measured?, hz, table_bytes, memory);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    Ok(())
}

fn load(options: &BenchOptions) -> Result<Load> {
    let fresh = options.new / 100.0;
    ensure!((0.0..=1.0).contains(&fresh), "--new is a percentage");
    ensure!(options.seconds > 0.0 && options.seconds <= 3600.0, "--seconds: more than 0, an hour at most");
    let servers = usize::from(options.servers) * usize::from(options.services);
    ensure!(servers <= SERVERS, "{servers} servers are more than there is room for ({SERVERS})");
    let scheduler = options.scheduler.clone();
    let known = forwarder::scheduler::Kind::by_name(&scheduler);
    known.with_context(|| format!("there is no scheduler '{scheduler}'"))?;
    Ok(Load {
        mode: options.mode,
        proto: options.proto,
        flows: options.flows,
        fresh,
        length: usize::from(options.frame_size) - FCS,
        burst: usize::from(options.burst),
        scheduler,
        servers: usize::from(options.servers),
        services: usize::from(options.services),
    })
}

fn report(
    options: &BenchOptions,
    load: &Load,
    measured: &Measured,
    hz: f64,
    table_bytes: usize,
    table_memory: String,
) -> Report {
    let microseconds = |share| f64::from(measured.latency(share)) / hz * 1e6;
    Report {
        mode: name(options.mode),
        proto: name(options.proto),
        flows: load.flows,
        frame_size: load.length + FCS,
        new_percent: options.new,
        scheduler: load.scheduler.clone(),
        servers: load.servers,
        services: load.services,
        table_bytes,
        table_memory,
        mpps: 1e-6 / measured.seconds,
        cycles_per_packet: measured.seconds * hz,
        replay_cycles_per_packet: measured.replay * hz,
        packets: measured.frames,
        created: measured.created,
        expired: measured.gone[0],
        gave_way: measured.gone[1],
        connections: measured.entries,
        burst: load.burst,
        burst_latency_us: Latency {
            p50: microseconds(0.5),
            p90: microseconds(0.9),
            p99: microseconds(0.99),
            p999: microseconds(0.999),
            max: microseconds(1.0),
        },
    }
}

fn name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl Report {
    fn print(&self) {
        println!(
            "{} {}, {} connections, frames of {} bytes, {} % of them new connections, {} services, {} with {} servers",
            self.mode,
            self.proto,
            self.flows,
            self.frame_size,
            self.new_percent,
            self.services,
            self.scheduler,
            self.servers
        );
        println!("  flow table:     {:.1} MiB on {}", self.table_bytes as f64 / f64::from(1 << 20), self.table_memory);
        println!("  rate:           {:.2} Mpps", self.mpps);
        println!(
            "  packet:         {:.1} cycles, {:.1} of them for replaying frames",
            self.cycles_per_packet, self.replay_cycles_per_packet
        );
        let Latency { p50, p90, p99, p999, max } = self.burst_latency_us;
        println!(
            "  burst of {}:    {p50:.2} µs, 90 % {p90:.2}, 99 % {p99:.2}, 99.9 % {p999:.2}, longest {max:.1}",
            self.burst
        );
        println!(
            "  of {} packets, {} made connections; {} expired, {} gave way, {} are there",
            self.packets, self.created, self.expired, self.gave_way, self.connections
        );
    }
}

/// Units of the cycle counter in a second.
fn tsc_hz() -> f64 {
    let (from, start) = (tsc(), Instant::now());
    sleep(CALIBRATION);
    let (to, took) = (tsc(), start.elapsed());
    to.wrapping_sub(from) as f64 / took.as_secs_f64()
}

/// Tells a terminal how far it is.
struct Teller {
    on: bool,
    last: Option<Instant>,
}

impl Teller {
    fn new() -> Self {
        Self { on: stderr().is_terminal(), last: None }
    }

    fn tell(&mut self, what: &str, done: f64) {
        if self.on && self.last.is_none_or(|last| last.elapsed() > TOLD) {
            self.last = Some(Instant::now());
            let _ = write!(stderr(), "\r\x1b[K{what}: {:.0} %", done * 100.0);
        }
    }

    fn end(&self) {
        if self.on {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
