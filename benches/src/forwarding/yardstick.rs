//! dpdk-testpmd on the same device, file and core: what forwarding without a table costs.

use crate::files::Files;
use crate::process::{Program, Sample};
use crate::set_up::SetUp;
use anyhow::Result;
use std::io::Write;
use std::process::Command;

/// A running testpmd.
pub struct Yardstick {
    program: Program,
    mode: &'static str,
}

impl Yardstick {
    /// Starts it on the frames of these files' first queue.
    pub fn start(set_up: &SetUp, files: &Files) -> Result<Self> {
        let (file, frames) = &files.queues[0];
        let device = format!("net_pcap0,infinite_rx=1,rx_pcap={}", file.display());
        // Its answers must come line by line, though its output is no terminal.
        let mut command = Command::new("stdbuf");
        command
            .arg("-oL")
            .arg(&set_up.testpmd)
            .args(set_up.eal("testpmd", &[device], 1))
            .args(["--", "-i", "--no-flush-rx", "--mbuf-size=512", "--burst=32"])
            .arg(format!("--total-num-mbufs={}", set_up.mbufs(*frames, 1)));
        let mut program = Program::start("testpmd", &mut command, set_up.path("testpmd.log"))?;
        program.wait_until_up(&set_up.prefix("testpmd"), 1)?;
        Ok(Self { program, mode: "" })
    }

    /// Forwards in this mode from now on.
    pub fn forward(&mut self, mode: &'static str) -> Result<()> {
        if self.mode == mode {
            return Ok(());
        }
        let started = format!("{mode} packet forwarding");
        let times = self.program.said_times(&started);
        let stop = if self.mode.is_empty() { "" } else { "stop\n" };
        write!(self.program.input()?, "{stop}set fwd {mode}\nstart\n")?;
        self.program.wait_for(&started, times)?;
        self.mode = mode;
        Ok(())
    }

    /// CPU time and frames at this moment.
    pub fn sample(&mut self) -> Result<Sample> {
        self.program.sample()
    }

    pub fn program(&self) -> &Program {
        &self.program
    }
}
