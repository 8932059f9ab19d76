//! `--handed`: what it costs to hand a frame over to the worker that it belongs to, and what a second worker gains.
//!
//! Three directors forward the same connections in turn: one worker; two workers whose queues bring each its own frames;
//! two workers whose queues bring each as many of the other's. (If all were the other's, the rings would fill: who gets
//! fewer frames turns faster, and gives the other more than it can take.) Which worker a client belongs to, only the
//! running director knows: so clients are taken in two halves of which each belongs to one worker, whatever its key is,
//! and the second director is started until each half comes in where it belongs.

use crate::director::{self, Director};
use crate::files::{Crews, Files};
use crate::process::Sample;
use crate::report::name;
use crate::set_up::SetUp;
use crate::{cycles, median, window};
use anyhow::{Context, Result, bail, ensure};
use control::client::Remote;
use control::command::{Command, Reply, WorkerView};
use control::server::Executor;
use rvs_bench::frames::Proto;
use rvs_bench::traffic::Mode;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What is measured.
const ROWS: [(Mode, Proto, usize); 4] = [
    (Mode::Dr, Proto::Tcp, 1_000),
    (Mode::Dr, Proto::Tcp, 60_000),
    (Mode::Nat, Proto::Tcp, 1_000),
    (Mode::Nat, Proto::Tcp, 60_000),
];
/// Starts until each half comes in where it belongs, as every second does.
const STARTS: usize = 24;
/// Windows that are given up, for each that counts: somebody took a CPU from a worker, and frames found its ring full.
const RETRIES: usize = 20;
/// The share of frames that a window may lose so.
const LOSS: f64 = 0.02;
/// The share of frames that the third director hands over.
const HANDED: f64 = 0.5;

/// One measured row. Cycles are those of all workers together.
#[derive(Debug, Serialize)]
pub struct Row {
    mode: Mode,
    proto: Proto,
    flows: usize,
    /// A packet's, with one worker, with two that get their own frames, and with two of whose frames half are handed over.
    one_worker_cycles_per_packet: f64,
    two_workers_cycles_per_packet: f64,
    half_handed_over_cycles_per_packet: f64,
    /// Of a frame that is handed over, what it takes more than another: of giving and of taking.
    handover_cycles: f64,
    /// Rate of two workers beside one's.
    two_workers_beside_one: f64,
    /// The largest share of frames that a window lost.
    lost: f64,
}

/// Measures all rows and prints each.
pub fn rows(set_up: &mut SetUp, windows: usize, length: Duration, stop: &AtomicBool) -> Result<Vec<Row>> {
    println!("cycles a packet, of all workers together:");
    println!(
        "{:5} {:5} {:>8} {:>11} {:>12} {:>12} {:>13}   {:>15}",
        "mode", "proto", "flows", "one worker", "two workers", "half handed", "of a handover", "two beside one"
    );
    let mut rows = Vec::new();
    for (mode, proto, flows) in ROWS {
        let row = measure(set_up, mode, proto, flows, windows, length, stop)?;
        println!(
            "{:5} {:5} {flows:>8} {:>11.1} {:>12.1} {:>12.1} {:>13.1}   {:>15.2}",
            name(mode),
            name(proto),
            row.one_worker_cycles_per_packet,
            row.two_workers_cycles_per_packet,
            row.half_handed_over_cycles_per_packet,
            row.handover_cycles,
            row.two_workers_beside_one,
        );
        rows.push(row);
    }
    Ok(rows)
}

fn measure(
    set_up: &mut SetUp,
    mode: Mode,
    proto: Proto,
    flows: usize,
    windows: usize,
    length: Duration,
    stop: &AtomicBool,
) -> Result<Row> {
    let (files, frames) = Crews::write(set_up, mode, proto, flows)?;
    set_up.reserve(&files.mixed, 3);
    director::check_sample(set_up, &files.mixed, &frames).context("reading back a sample")?;
    let one = Director::start(set_up, "rvsd-one", &files.one)?;
    one.program().freeze()?;
    let own = sorted(set_up, &files.sorted, stop)?;
    own.program().freeze()?;
    let mixed = Director::start(set_up, "rvsd-mixed", &files.mixed)?;
    let [received, handed] = counts(&mixed)?;
    ensure!(handed > 0, "of {received} frames none was handed over");
    mixed.program().freeze()?;
    let mut lost = 0.0;
    let mut directors = [(one, Vec::new()), (own, Vec::new()), (mixed, Vec::new())];
    for _ in 0..windows {
        for (director, measured) in &mut directors {
            ensure!(!stop.load(Relaxed), "stopped");
            director.program().thaw()?;
            let (from, to, share) = lossless(length, director)?;
            director.program().freeze()?;
            measured.push(cycles(set_up, from, to));
            lost = f64::max(lost, share);
        }
    }
    let [one, own, handed] = directors.map(|(_, mut measured)| median(&mut measured));
    Ok(Row {
        mode,
        proto,
        flows,
        one_worker_cycles_per_packet: one,
        two_workers_cycles_per_packet: own,
        half_handed_over_cycles_per_packet: handed,
        handover_cycles: (handed - own) / HANDED,
        two_workers_beside_one: 2.0 * one / own,
        lost,
    })
}

/// A director of two workers each of which gets its own frames.
fn sorted(set_up: &SetUp, files: &Files, stop: &AtomicBool) -> Result<Director> {
    for _ in 0..STARTS {
        ensure!(!stop.load(Relaxed), "stopped");
        let director = Director::start(set_up, "rvsd-sorted", files)?;
        if counts(&director)?[1] == 0 {
            return Ok(director);
        }
    }
    bail!("frames came in where they do not belong in each of {STARTS} starts")
}

/// Frames that came in, and those that were handed over.
fn counts(director: &Director) -> Result<[u64; 2]> {
    match Remote::new(director.rvsadm().socket()).execute(Command::Workers) {
        Ok(Reply::Workers(workers)) => {
            let sum = |of: fn(&WorkerView) -> u64| workers.iter().map(of).sum();
            Ok([sum(|worker| worker.received), sum(|worker| worker.handed_out)])
        }
        Ok(other) => bail!("an answer about something else: {other:?}"),
        Err(error) => bail!("{error}"),
    }
}

/// A window in which hardly a frame was lost, and the share of those that were.
fn lossless(length: Duration, director: &mut Director) -> Result<(Sample, Sample, f64)> {
    let mut least = f64::INFINITY;
    for _ in 0..RETRIES {
        let (from, to) = window(length, || director.sample())?;
        let received = (to.counts.received - from.counts.received) as f64;
        let share = (1.0 - (to.counts.sent - from.counts.sent) as f64 / received).max(0.0);
        if share < LOSS {
            return Ok((from, to, share));
        }
        least = least.min(share);
    }
    bail!("at least {:.1} % of the frames were lost: other programs need the CPUs", least * 100.0)
}
