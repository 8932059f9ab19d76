//! The table, and target/bench/forwarding.json.

use clap::ValueEnum;
use rvs_bench::frames::Proto;
use rvs_bench::traffic::Mode;
use serde::Serialize;
use std::io::Write;

/// One measured row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub mode: Mode,
    pub proto: Proto,
    pub flows: usize,
    pub mpps: f64,
    pub cycles_per_packet: f64,
    pub testpmd_5tswap_cycles_per_packet: f64,
    pub ratio_to_5tswap: f64,
    pub testpmd_io_cycles_per_packet: f64,
    pub testpmd_mac_cycles_per_packet: f64,
}

/// All rows that count.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
}

impl Row {
    /// The ratio that a row of so many flows is to reach.
    pub fn goal(&self) -> f64 {
        match self.flows {
            ..=1_000 => 1.1,
            1_001..=65_536 => 1.05,
            _ => 0.85,
        }
    }

    pub fn print_head(mut to: impl Write) -> std::io::Result<()> {
        writeln!(to, "{:54}{:^32}", "", "testpmd, cycles/packet")?;
        writeln!(
            to,
            "{:10} {:5} {:>9} {:>8} {:>15}   {:>7} {:>7} {:>7}   {:>14}",
            "mode", "proto", "flows", "Mpps", "cycles/packet", "io", "mac", "5tswap", "ratio (goal)"
        )
    }

    pub fn print(&self, mut to: impl Write) -> std::io::Result<()> {
        writeln!(
            to,
            "{:10} {:5} {:>9} {:>8.2} {:>15.1}   {:>7.1} {:>7.1} {:>7.1}   {:>6.2} ({:.2}) {}",
            name(self.mode),
            name(self.proto),
            self.flows,
            self.mpps,
            self.cycles_per_packet,
            self.testpmd_io_cycles_per_packet,
            self.testpmd_mac_cycles_per_packet,
            self.testpmd_5tswap_cycles_per_packet,
            self.ratio_to_5tswap,
            self.goal(),
            if self.ratio_to_5tswap >= self.goal() { "reached" } else { "" },
        )
    }
}

/// The name that the command line and the report give something.
pub fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
