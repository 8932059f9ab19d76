//! Where programs, files and sockets of a bench are, and the arguments that both sides share.

use crate::files::Files;
use crate::huge::HugePages;
use crate::{process, telemetry};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Bytes of a frame's buffer with its head, as DPDK lays them out.
const FRAME: u64 = 768;
/// Frames besides those of the file.
const SPARE: usize = 8_192;
/// Bytes a program needs besides frames and tables.
const BASE: u64 = 64 << 20;

/// The names that programs run under.
const PROGRAMS: [&str; 6] = ["rvsd", "rvsd-one", "rvsd-sorted", "rvsd-mixed", "rvsd-other", "testpmd"];

/// What is the same for all rows.
pub struct SetUp {
    pub rvsd: PathBuf,
    pub rvsadm: PathBuf,
    pub testpmd: PathBuf,
    pub tsc_hz: f64,
    directory: tempfile::TempDir,
    cpus: (usize, usize),
    huge: HugePages,
    /// Without huge pages: so many MiB of ordinary memory.
    ordinary: Option<u64>,
}

impl SetUp {
    pub fn new(testpmd: PathBuf) -> Result<Self> {
        let own = std::env::current_exe()?;
        let programs = own.parent().context("this program is nowhere")?;
        let set_up = Self {
            rvsd: programs.join("rvsd"),
            rvsadm: programs.join("rvsadm"),
            testpmd,
            tsc_hz: process::tsc_hz()?,
            directory: tempfile::Builder::new().prefix("rvs-bench-").tempdir()?,
            cpus: process::cpus()?,
            huge: HugePages::default(),
            ordinary: None,
        };
        for program in [&set_up.rvsd, &set_up.rvsadm] {
            process::require(program, "build it first (`make bench` does)")?;
        }
        process::require(&set_up.testpmd, "apt-get install dpdk-dev")?;
        Ok(set_up)
    }

    /// Sees to the memory of so many programs, or the yardstick among them, for these files. Answers whether it is huge
    /// pages.
    pub fn reserve(&mut self, files: &Files, programs: u64) -> bool {
        let workers = files.queues.len();
        let frames = self.mbufs(files.frames(), workers) as u64 * FRAME + BASE;
        let table = workers as u64 * (files.flows as u64 * 64 * 5 / 3 + (4 << 20));
        let huge = self.huge.reserve(programs * (frames + table));
        self.ordinary = (!huge).then_some(frames >> 20);
        huge
    }

    /// Frames in a pool, for files of so many and so many lcores.
    pub fn mbufs(&self, frames: usize, lcores: usize) -> usize {
        frames + SPARE * lcores
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program's --file-prefix.
    pub fn prefix(&self, program: &str) -> String {
        format!("rvs_bench_{program}_{}", std::process::id())
    }

    /// The EAL's arguments, with so many lcores beside the main one, on the two CPUs in turn.
    pub fn eal(&self, program: &str, devices: &[String], lcores: usize) -> Vec<String> {
        let cpu = |lcore: usize| if lcore.is_multiple_of(2) { self.cpus.0 } else { self.cpus.1 };
        let lcores: Vec<_> = (0..=lcores).map(|lcore| format!("{lcore}@{}", cpu(lcore))).collect();
        let mut arguments = vec![format!("--lcores={}", lcores.join(",")), "--no-pci".to_owned()];
        arguments.push(format!("--file-prefix={}", self.prefix(program)));
        arguments.extend(devices.iter().map(|device| format!("--vdev={device}")));
        match self.ordinary {
            Some(mib) => arguments.extend(["--no-huge".to_owned(), "-m".to_owned(), mib.to_string()]),
            // Needs no hugetlbfs, and the pages go back to the system with the program.
            None => arguments.push("--in-memory".to_owned()),
        }
        arguments
    }
}

/// The EAL leaves its run directories behind.
impl Drop for SetUp {
    fn drop(&mut self) {
        for program in PROGRAMS {
            let _ = fs::remove_dir_all(telemetry::directory(&self.prefix(program)));
        }
    }
}
