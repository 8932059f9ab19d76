//! `make bench`: the real rvsd and dpdk-testpmd in turn on the same device, frames and core.
//!
//! Both stay up for a row and are frozen while the other works. What is measured is the CPU time of the lcore's thread,
//! as the kernel counts it, so that a busy machine does not blur it: cycles per packet = CPU seconds × TSC Hz ÷ frames
//! that the port has sent. A row counts only if every frame that came in went out, and a sample of them is right.

mod director;
mod files;
mod fresh;
mod handover;
mod huge;
mod process;
mod report;
mod services;
mod set_up;
mod telemetry;
mod yardstick;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use director::Director;
use files::Files;
use process::Sample;
use report::{Report, Row};
use rvs_bench::frames::Proto;
use rvs_bench::traffic::Mode;
use set_up::SetUp;
use std::fs;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;
use yardstick::Yardstick;

/// What a thawed program gets to fill the caches again.
const WARM_UP: Duration = Duration::from_millis(25);

/// A window takes at most so many times its length.
const PATIENCE: u32 = 100;

/// Measures rvsd beside dpdk-testpmd
#[derive(Parser)]
struct Options {
    /// NAT and DR, TCP, at 1,000 and 65,536 flows
    #[arg(long)]
    quick: bool,
    /// Measure new connections instead, by every scheduler (`rvsd bench`)
    #[arg(long)]
    new: bool,
    /// Measure ten thousand services and their changes instead
    #[arg(long, conflicts_with = "new")]
    services: bool,
    /// Measure frames that are handed from worker to worker, and what a second worker gains, instead
    #[arg(long, conflicts_with_all = ["new", "services"])]
    handed: bool,
    /// Only these modes
    #[arg(long, value_delimiter = ',')]
    mode: Vec<Mode>,
    /// Only these protocols
    #[arg(long, value_delimiter = ',')]
    proto: Vec<Proto>,
    /// Only these numbers of flows
    #[arg(long, value_delimiter = ',')]
    flows: Vec<usize>,
    /// Workers of the director, each with a queue of its own that has all flows. With several, frames may be lost
    /// between them when the machine gives one of them no time, and rows count all the same
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Windows that the median is of
    #[arg(long, default_value_t = 5)]
    windows: usize,
    /// Length of a window [default: 300, of --quick 150]
    #[arg(long, value_name = "MS")]
    window: Option<u64>,
    /// The yardstick
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/dpdk-testpmd")]
    testpmd: PathBuf,
    /// Where the rows are written
    #[arg(long, value_name = "FILE", default_value = "target/bench/forwarding.json")]
    out: PathBuf,
}

impl Options {
    fn window(&self) -> Duration {
        Duration::from_millis(self.window.unwrap_or(if self.quick { 150 } else { 300 }))
    }

    fn rows(&self) -> Vec<(Mode, Proto, usize)> {
        let quick = self.quick;
        let or = |given: &[usize], quick_ones: &[usize], all: &[usize]| match given {
            [] if quick => quick_ones.to_vec(),
            [] => all.to_vec(),
            given => given.to_vec(),
        };
        let flows = or(&self.flows, &[1_000, 65_536], &[1, 1_000, 65_536, 1_048_576]);
        let modes = match &self.mode[..] {
            [] if quick => vec![Mode::Nat, Mode::Dr],
            [] => Mode::value_variants().to_vec(),
            given => given.to_vec(),
        };
        let protos = match &self.proto[..] {
            [] if quick => vec![Proto::Tcp],
            [] => Proto::value_variants().to_vec(),
            given => given.to_vec(),
        };
        let mut rows = Vec::new();
        for mode in modes {
            for &proto in &protos {
                rows.extend(flows.iter().map(|&flows| (mode, proto, flows)));
            }
        }
        rows
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether all rows count.
fn run(options: &Options) -> Result<bool> {
    let window = options.window();
    ensure!(options.windows >= 1 && window.as_millis() >= 20, "at least one window of at least 20 ms");
    // Ctrl-C ends the bench at the next step, so that what it started and reserved goes.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut set_up = SetUp::new(options.testpmd.clone())?;
    if options.new {
        let rows = fresh::rows(&set_up, &stop)?;
        save(&options.out.with_file_name("new_connections.json"), &serde_json::json!({ "rows": rows }))?;
        return Ok(true);
    }
    if options.services {
        let report = services::Report::measure(&mut set_up, &stop)?;
        report.print();
        save(&options.out.with_file_name("services.json"), &report)?;
        return Ok(true);
    }
    if options.handed {
        let rows = handover::rows(&mut set_up, options.windows, window, &stop)?;
        save(&options.out.with_file_name("handed.json"), &serde_json::json!({ "rows": rows }))?;
        return Ok(true);
    }
    let mut report = Report::default();
    let mut failed = 0;
    Row::print_head(stdout())?;
    for (mode, proto, flows) in options.rows() {
        match measure(&mut set_up, options, mode, proto, flows, &stop) {
            Ok(row) => {
                row.print(stdout())?;
                report.rows.push(row);
            }
            Err(error) if stop.load(Relaxed) => return Err(error),
            Err(error) => {
                failed += 1;
                println!("{:10} {:5} {flows:>9} does not count: {error:#}", report::name(mode), report::name(proto));
            }
        }
        // Row by row, so that a bench that is cut off leaves what it has.
        save(&options.out, &report)?;
    }
    println!("{} rows in {}, {failed} failed", report.rows.len(), options.out.display());
    Ok(failed == 0)
}

fn save(out: &Path, report: &impl serde::Serialize) -> Result<()> {
    if let Some(directory) = out.parent() {
        fs::create_dir_all(directory)?;
    }
    let text = serde_json::to_string_pretty(report)?;
    fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))
}

fn measure(
    set_up: &mut SetUp,
    options: &Options,
    mode: Mode,
    proto: Proto,
    flows: usize,
    stop: &AtomicBool,
) -> Result<Row> {
    let (files, frames) = Files::write(set_up, mode, proto, flows, options.workers)?;
    if !set_up.reserve(&files, 2) {
        eprintln!("bench: no huge pages for {flows} flows; both sides run on ordinary memory");
    }
    director::check_sample(set_up, &files, &frames).context("reading back a sample")?;
    drop(frames);

    let mut testpmd = Yardstick::start(set_up, &files)?;
    testpmd.program().freeze()?;
    let mut director = Director::start(set_up, "rvsd", &files)?;
    let length = options.window();
    let mut windows = Windows::default();
    let mut first = None;
    for _ in 0..options.windows {
        ensure!(!stop.load(Relaxed), "stopped");
        let (from, to) = window(length, || director.sample())?;
        if options.workers == 1 {
            director::nothing_lost(first.get_or_insert(from).counts, to.counts)?;
        }
        windows.rvs.push(cycles(set_up, from, to));
        director.program().freeze()?;
        testpmd.program().thaw()?;
        for (mode, part, cycles_of) in
            [("5tswap", 1, &mut windows.swap), ("io", 3, &mut windows.io), ("mac", 3, &mut windows.mac)]
        {
            testpmd.forward(mode)?;
            let (from, to) = window(length / part, || testpmd.sample())?;
            cycles_of.push(cycles(set_up, from, to));
        }
        testpmd.program().freeze()?;
        director.program().thaw()?;
    }
    let (rvs, swap) = (median(&mut windows.rvs), median(&mut windows.swap));
    Ok(Row {
        mode,
        proto,
        flows,
        mpps: set_up.tsc_hz / rvs / 1e6,
        cycles_per_packet: rvs,
        testpmd_5tswap_cycles_per_packet: swap,
        ratio_to_5tswap: swap / rvs,
        testpmd_io_cycles_per_packet: median(&mut windows.io),
        testpmd_mac_cycles_per_packet: median(&mut windows.mac),
    })
}

/// Cycles per packet, window by window.
#[derive(Default)]
struct Windows {
    rvs: Vec<f64>,
    swap: Vec<f64>,
    io: Vec<f64>,
    mac: Vec<f64>,
}

/// What is done in `length` of the lcore's own CPU time, which takes longer where others want the CPU, too.
fn window(length: Duration, mut sample: impl FnMut() -> Result<Sample>) -> Result<(Sample, Sample)> {
    sleep(WARM_UP);
    let from = sample()?;
    for _ in 0..PATIENCE {
        sleep(length);
        let to = sample()?;
        if to.cpu - from.cpu >= length * 3 / 4 {
            return Ok((from, to));
        }
    }
    anyhow::bail!("the lcore got less than {length:?} of CPU time in {:?}", length * PATIENCE)
}

fn cycles(set_up: &SetUp, from: Sample, to: Sample) -> f64 {
    let frames = to.counts.sent - from.counts.sent;
    (to.cpu - from.cpu).as_secs_f64() * set_up.tsc_hz / frames as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
