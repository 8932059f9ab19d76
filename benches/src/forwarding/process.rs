//! A DPDK program under measurement: started, frozen and thawed, and asked how much CPU time its lcore has used and how
//! many frames its port has seen.

use crate::telemetry::Telemetry;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a program may take until it answers.
const START: Duration = Duration::from_secs(60);
/// How long the kernel may take to bring a thread's CPU time up to date.
const STALE: Duration = Duration::from_millis(100);

/// A running program. It ends when this value goes.
pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    telemetry: Option<Telemetry>,
    /// The threads of its lcores.
    threads: Vec<PathBuf>,
}

/// Frames that a port has received and sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub received: u64,
    pub sent: u64,
}

/// What a program had done at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub cpu: Duration,
    pub counts: Counts,
}

impl Program {
    /// Starts it. What it says goes to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let output = fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { name, child, log, telemetry: None, threads: Vec::new() })
    }

    /// Waits until its port is there and so many lcores run. `prefix` is its --file-prefix.
    pub fn wait_until_up(&mut self, prefix: &str, lcores: usize) -> Result<()> {
        let until = Instant::now() + START;
        loop {
            self.check_alive()?;
            if self.telemetry.is_none() {
                self.telemetry = Telemetry::connect(prefix).ok();
            }
            if self.telemetry.is_some()
                && self.counts().is_ok()
                && let threads = self.lcore_threads()
                && threads.len() == lcores
            {
                self.threads = threads;
                return Ok(());
            }
            ensure!(Instant::now() < until, "{} is not up after {START:?}: {}", self.name, self.said());
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until its log has `text` more than `times`.
    pub fn wait_for(&mut self, text: &str, times: usize) -> Result<()> {
        let until = Instant::now() + START;
        while fs::read_to_string(&self.log)?.matches(text).count() <= times {
            self.check_alive()?;
            ensure!(Instant::now() < until, "{} did not say '{text}' in {START:?}: {}", self.name, self.said());
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Times that its log has `text`.
    pub fn said_times(&self, text: &str) -> usize {
        fs::read_to_string(&self.log).map_or(0, |log| log.matches(text).count())
    }

    /// What it reads from.
    pub fn input(&mut self) -> Result<&mut std::process::ChildStdin> {
        self.child.stdin.as_mut().context("its input is closed")
    }

    fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.said());
        }
        Ok(())
    }

    /// The end of its log.
    fn said(&self) -> String {
        let mut log = String::new();
        let read = fs::File::open(&self.log).and_then(|mut file| file.read_to_string(&mut log));
        let lines: Vec<_> = if read.is_ok() { log.lines().collect() } else { Vec::new() };
        lines[lines.len().saturating_sub(8)..].join(" | ")
    }

    fn lcore_threads(&self) -> Vec<PathBuf> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten();
        let is_worker = |task: &PathBuf| {
            // The main lcore has no thread of such a name (of one release or another).
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            name.starts_with("rte-worker") || name.starts_with("lcore-worker")
        };
        tasks.flatten().map(|task| task.path()).filter(is_worker).collect()
    }

    /// Stops all of its threads.
    pub fn freeze(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::STOP)?)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id() as i32).context("no process number")
    }

    /// CPU time and frames at one moment. The kernel brings a running thread's time up to date every few milliseconds:
    /// right after it did is the moment.
    pub fn sample(&mut self) -> Result<Sample> {
        let before = self.cpu()?;
        let until = Instant::now() + STALE;
        let cpu = loop {
            let cpu = self.cpu()?;
            if cpu != before || Instant::now() > until {
                break cpu;
            }
        };
        Ok(Sample { cpu, counts: self.counts()? })
    }

    /// Of all its lcores together.
    fn cpu(&self) -> Result<Duration> {
        self.threads.iter().map(|thread| self.cpu_of(&thread.join("schedstat"))).sum()
    }

    fn cpu_of(&self, path: &Path) -> Result<Duration> {
        let text = fs::read_to_string(path).with_context(|| format!("{} has ended: {}", self.name, self.said()))?;
        let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
        Ok(Duration::from_nanos(nanoseconds.with_context(|| format!("{} has no CPU time", path.display()))?))
    }

    /// What its port 0 has counted.
    pub fn counts(&mut self) -> Result<Counts> {
        let stats = self.ask("/ethdev/stats,0")?;
        let number = |name: &str| stats[name].as_u64().with_context(|| format!("telemetry has no {name}"));
        Ok(Counts { received: number("ipackets")?, sent: number("opackets")? })
    }

    /// The MAC address of its port 0.
    pub fn mac(&mut self) -> Result<[u8; 6]> {
        let info = self.ask("/ethdev/info,0")?;
        let text = info["mac_addr"].as_str().context("telemetry has no mac_addr")?;
        let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().ok().with_context(|| format!("'{text}' is no MAC address"))
    }

    fn ask(&mut self, command: &str) -> Result<serde_json::Value> {
        self.telemetry.as_mut().context("no telemetry yet")?.ask(command)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A frozen program would not see that it is to end.
        let _ = self.thaw();
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// The CPUs that this process may use, of which DPDK programs get two: for control, and for the lcore under measurement.
pub fn cpus() -> Result<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("").trim();
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>()?..=last.parse()?);
    }
    ensure!(cpus.len() >= 2, "the bench needs two CPUs; this process may use {list}");
    Ok((cpus[0], cpus[cpus.len() - 1]))
}

/// The frequency of the time stamp counter. The kernel derives BogoMIPS from it: twice the MHz.
pub fn tsc_hz() -> Result<f64> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let field = info.lines().find(|line| line.to_ascii_lowercase().starts_with("bogomips"));
    let value = field.and_then(|line| line.split(':').nth(1)).and_then(|value| value.trim().parse::<f64>().ok());
    Ok(value.context("/proc/cpuinfo has no BogoMIPS: cycles can only be told on x86")? * 500_000.0)
}

/// A path of a program that must be there.
pub fn require(path: &Path, hint: &str) -> Result<()> {
    ensure!(path.exists(), "{} is missing: {hint}", path.display());
    Ok(())
}
