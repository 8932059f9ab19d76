//! `--new`: what a packet costs that makes a connection, by `rvsd bench`. Of the real program on a replayed file it cannot
//! be told: a file that is replayed soon brings flows that are there already.

use crate::report::name;
use crate::set_up::SetUp;
use anyhow::{Context, Result, ensure};
use forwarder::scheduler::SCHEDULERS;
use rvs_bench::frames::Proto;
use rvs_bench::traffic::{Mode, SERVERS};
use serde::Serialize;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Connections that the table has room for, and always has.
const FLOWS: usize = 262_144;
/// Of wlc's further row.
const MANY: usize = 1_000;
/// How long a row is measured.
const SECONDS: &str = "0.5";

/// One measured row.
#[derive(Debug, Serialize)]
pub struct Row {
    mode: Mode,
    proto: Proto,
    scheduler: String,
    servers: usize,
    connections: usize,
    mpps: f64,
    cycles_per_packet: f64,
    /// What replaying frames takes of it.
    replay_cycles_per_packet: f64,
    expired: u64,
    gave_way: u64,
    goal: f64,
}

/// Measures all rows and prints each.
pub fn rows(set_up: &SetUp, stop: &AtomicBool) -> Result<Vec<Row>> {
    println!(
        "every frame makes a connection, of {FLOWS} that there is room for: half-open ones of TCP give way, those of UDP expire"
    );
    println!(
        "{:5} {:5} {:10} {:>8} {:>8} {:>15} {:>10}   {:>14}",
        "mode", "proto", "scheduler", "servers", "Mpps", "cycles/packet", "of replay", "(goal)"
    );
    let mut rows = Vec::new();
    for mode in [Mode::Dr, Mode::Nat] {
        for proto in [Proto::Tcp, Proto::Udp] {
            let kinds = SCHEDULERS.iter().map(|known| (known.name, SERVERS));
            for (scheduler, servers) in kinds.chain([("wlc", MANY)]) {
                ensure!(!stop.load(Relaxed), "stopped");
                let row = measure(set_up, mode, proto, scheduler, servers)?;
                println!(
                    "{:5} {:5} {scheduler:10} {servers:>8} {:>8.2} {:>15.1} {:>10.1}   {:>14}",
                    name(mode),
                    name(proto),
                    row.mpps,
                    row.cycles_per_packet,
                    row.replay_cycles_per_packet,
                    format!("({:.0}) {}", row.goal, if row.cycles_per_packet <= row.goal { "reached" } else { "" })
                );
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

fn measure(set_up: &SetUp, mode: Mode, proto: Proto, scheduler: &str, servers: usize) -> Result<Row> {
    let mut command = Command::new(&set_up.rvsd);
    command.args(["bench", "--json", "--new", "100", "--seconds", SECONDS, "--scheduler", scheduler]);
    command.args(["--mode", &name(mode), "--proto", &name(proto)]);
    command.args(["--flows", &FLOWS.to_string(), "--servers", &servers.to_string()]);
    let output = command.output().context("cannot start rvsd bench")?;
    ensure!(output.status.success(), "rvsd bench: {}", String::from_utf8_lossy(&output.stderr).trim());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |field: &str| report[field].as_f64().with_context(|| format!("rvsd bench has no {field}"));
    ensure!(number("created")? == number("packets")?, "not every frame made a connection: {report}");
    Ok(Row {
        mode,
        proto,
        scheduler: scheduler.to_owned(),
        servers,
        connections: FLOWS,
        mpps: number("mpps")?,
        cycles_per_packet: number("cycles_per_packet")?,
        replay_cycles_per_packet: number("replay_cycles_per_packet")?,
        expired: number("expired")? as u64,
        gave_way: number("gave_way")? as u64,
        goal: if mode == Mode::Dr { 200.0 } else { 300.0 },
    })
}
