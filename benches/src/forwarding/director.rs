//! The real rvsd, on a file of frames.

use crate::files::{self, Feed, Files, Frames};
use crate::process::{Counts, Program, Sample};
use crate::set_up::SetUp;
use anyhow::{Context, Result, bail, ensure};
use rvs_bench::pcap;
use rvs_bench::traffic::{self, Expected};
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the first pass over a file may take.
const PRIMING: Duration = Duration::from_secs(60);
/// How long the sample may take: frames before their connection is known do not come.
const PATIENCE: Duration = Duration::from_secs(40);
/// Frames that are looked at.
const SAMPLE: usize = 2_000;
/// Frames that may come in or go out between the reading of one counter and of the other.
const IN_FLIGHT: u64 = 1_024;

/// A running director with its service, all of whose connections are made.
pub struct Director {
    program: Program,
    rvsadm: Rvsadm,
}

impl Director {
    /// Starts it on these files. No two that run have the same name.
    pub fn start(set_up: &SetUp, name: &'static str, files: &Files) -> Result<Self> {
        let (devices, feed) = files.devices(set_up, None)?;
        let (program, rvsadm) = launch(set_up, name, files, &devices)?;
        let director = Self { program, rvsadm };
        director.prime(files.flows, feed)?;
        Ok(director)
    }

    /// Waits until every flow has its connection, and every frame that comes in goes out.
    fn prime(&self, flows: usize, feed: Option<Feed>) -> Result<()> {
        let until = Instant::now() + PRIMING;
        loop {
            let made = self.rvsadm.connections()?;
            if made >= flows as u64 {
                ensure!(made == flows as u64, "{made} connections of {flows} flows");
                break;
            }
            ensure!(Instant::now() < until, "{made} of {flows} connections after {PRIMING:?}");
            sleep(Duration::from_millis(50));
        }
        feed.map_or(Ok(()), Feed::end)?;
        // What came in before the last connection was made is through by now.
        sleep(Duration::from_millis(50));
        Ok(())
    }

    /// CPU time and frames at this moment.
    pub fn sample(&mut self) -> Result<Sample> {
        self.program.sample()
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The way to its commands.
    pub fn rvsadm(&self) -> &Rvsadm {
        &self.rvsadm
    }
}

/// Checks by the port's counters that between two moments every frame that came in went out.
pub fn nothing_lost(from: Counts, to: Counts) -> Result<()> {
    let (received, sent) = (to.received - from.received, to.sent - from.sent);
    ensure!(sent > 0, "nothing was forwarded of {received} frames");
    ensure!(received.abs_diff(sent) <= IN_FLIGHT, "{received} frames came in and {sent} went out");
    Ok(())
}

/// Forwards the files' frames into a pipe, reads some of them back and compares each with what it should be. `frames` are
/// those of the queues.
pub fn check_sample(set_up: &SetUp, files: &Files, frames: &Frames) -> Result<()> {
    let pipe = set_up.path("sent.pcap");
    files::pipe(&pipe)?;
    let (devices, feed) = files.devices(set_up, Some(&pipe))?;
    let replies_only = files.requests.is_some();
    // The director opens the pipe when its port starts, and waits until somebody reads.
    let reader = std::thread::spawn(move || -> Result<Vec<Vec<u8>>> {
        let opened = fs::File::open(&pipe);
        fs::remove_file(&pipe)?;
        let mut reader = pcap::Reader::new(BufReader::new(opened?))?;
        let (mut sent, mut wanted) = (Vec::new(), 0);
        while wanted < SAMPLE {
            let frame = reader.next_frame()?;
            wanted += usize::from(!replies_only || traffic::is_reply(&frame));
            sent.push(frame);
        }
        Ok(sent)
    });
    let (mut program, _) = launch(set_up, "rvsd", files, &devices)?;
    let sent_or_not = frames.iter().chain(files.requests.iter().flat_map(|requests| requests.iter()));
    let expected = Expected::new(files.mode, files.proto, sent_or_not, program.mac()?);
    let until = Instant::now() + PATIENCE;
    while !reader.is_finished() {
        ensure!(Instant::now() < until, "fewer than {SAMPLE} frames were sent in {PATIENCE:?}");
        sleep(Duration::from_millis(10));
    }
    feed.map_or(Ok(()), Feed::end)?;
    drop(program);
    let sent = reader.join().map_err(|_| anyhow::anyhow!("the reader has panicked"))??;
    for frame in &sent {
        match expected.of(frame) {
            Some(expected) if expected == frame => {}
            Some(expected) => bail!("a frame was sent as {} and should be {}", hex(frame), hex(expected)),
            None => bail!("a frame was sent that belongs to no flow: {}", hex(frame)),
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn launch(set_up: &SetUp, name: &'static str, files: &Files, devices: &[String]) -> Result<(Program, Rvsadm)> {
    let config = set_up.path(&format!("{name}.toml"));
    let names: Vec<_> = devices.iter().filter_map(|device| device.split(',').next()).collect();
    fs::write(&config, traffic::configuration(&names))?;
    let socket = set_up.path(&format!("{name}.sock"));
    let workers = files.queues.len();
    let mut command = Command::new(&set_up.rvsd);
    command
        .args(set_up.eal(name, devices, workers))
        .arg("--")
        .args(["--log-level", "warn", "--mbuf-size", "512"])
        .args(["--mbufs", &set_up.mbufs(files.frames(), workers).to_string()])
        .args(["--connections", &files.flows.max(1024).to_string()])
        .arg("--config")
        .arg(&config)
        .arg("--socket")
        .arg(&socket);
    let mut program = Program::start(name, &mut command, set_up.path(&format!("{name}.log")))?;
    program.wait_until_up(&set_up.prefix(name), workers)?;
    let rvsadm = Rvsadm { program: set_up.rvsadm.clone(), socket };
    rvsadm.wait()?;
    // In one step, so that no connection is scheduled while some of the servers are missing.
    rvsadm.run(&["--restore", "--atomic"], &traffic::rules(files.mode, files.proto))?;
    Ok((program, rvsadm))
}

/// The way to a director's commands.
pub struct Rvsadm {
    program: PathBuf,
    socket: PathBuf,
}

impl Rvsadm {
    fn wait(&self) -> Result<()> {
        let until = Instant::now() + PRIMING;
        while let Err(error) = self.run(&["-Ln"], "") {
            ensure!(Instant::now() < until, "rvsd does not answer: {error}");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs rvsadm, and answers what it says.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        child.stdin.take().context("its input is closed")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let words = arguments.join(" ");
        ensure!(output.status.success(), "rvsadm {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Connections over all servers: ActiveConn and InActConn, the last two columns of a server's line.
    fn connections(&self) -> Result<u64> {
        let list = self.run(&["-Ln"], "")?;
        let servers = list.lines().filter_map(|line| line.trim_start().strip_prefix("-> "));
        let counts = servers.flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[words.len().saturating_sub(2)..]
                .iter()
                .filter_map(|word| word.parse::<u64>().ok())
                .collect::<Vec<_>>()
        });
        Ok(counts.sum())
    }
}
