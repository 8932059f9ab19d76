//! The frames of a row, in capture files that a director and its yardstick replay.

use crate::set_up::SetUp;
use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode as Permissions, mknodat};
use rvs_bench::frames::{LENGTH, Proto};
use rvs_bench::pcap;
use rvs_bench::traffic::{self, Mode};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Frames as the port has them.
pub type Frames = Vec<[u8; LENGTH]>;

/// What is forwarded, and where it comes from.
pub struct Files {
    pub mode: Mode,
    pub proto: Proto,
    /// Connections.
    pub flows: usize,
    /// Frames of a queue, which come again and again: one file for each worker.
    pub queues: Vec<(PathBuf, usize)>,
    /// What makes the connections beforehand, where the frames cannot.
    pub requests: Option<Arc<Frames>>,
}

impl Files {
    /// Of one row, with a queue for each of so many workers, all with the same frames. Answers these, too.
    pub fn write(set_up: &SetUp, mode: Mode, proto: Proto, flows: usize, workers: usize) -> Result<(Self, Frames)> {
        let frames = traffic::file(mode, proto, flows);
        let queues = vec![save(set_up, "frames.pcap", &frames)?; workers];
        let requests = (mode == Mode::NatReply).then(|| Arc::new(traffic::file(Mode::Nat, proto, flows)));
        Ok((Self { mode, proto, flows, queues, requests }, frames))
    }

    /// Frames of all queues, each of which has its own.
    pub fn frames(&self) -> usize {
        self.queues.iter().map(|(_, frames)| frames).sum()
    }

    /// The director's devices; what it sends goes to `sent`, if anywhere. Requests come at a second one, out of a pipe,
    /// again and again: those that come before the service is there make no connection.
    pub fn devices(&self, set_up: &SetUp, sent: Option<&Path>) -> Result<(Vec<String>, Option<Feed>)> {
        let mut device = "net_pcap0,infinite_rx=1".to_owned();
        for (file, _) in &self.queues {
            device += &format!(",rx_pcap={}", file.display());
        }
        if let Some(sent) = sent {
            device += &format!(",tx_pcap={}", sent.display());
        }
        let Some(requests) = &self.requests else { return Ok((vec![device], None)) };
        let path = set_up.path("requests.pcap");
        let feed = Feed::start(&path, requests.clone())?;
        Ok((vec![device, format!("net_pcap1,rx_pcap={}", path.display())], Some(feed)))
    }
}

/// The same requests for one worker and for two.
pub struct Crews {
    pub one: Files,
    /// Each of two queues has the clients of one worker.
    pub sorted: Files,
    /// Each has all.
    pub mixed: Files,
}

impl Crews {
    /// Answers the frames, too.
    pub fn write(set_up: &SetUp, mode: Mode, proto: Proto, flows: usize) -> Result<(Self, Frames)> {
        let [first, second] = [0, 1].map(|half| traffic::half(half, proto, flows / 2));
        let of = |queues| Files { mode, proto, flows: flows / 2 * 2, queues, requests: None };
        let sorted = of(vec![save(set_up, "first.pcap", &first)?, save(set_up, "second.pcap", &second)?]);
        let frames = traffic::mixed(&[first, second].concat());
        let all = save(set_up, "all.pcap", &frames)?;
        Ok((Self { one: of(vec![all.clone()]), sorted, mixed: of(vec![all.clone(), all]) }, frames))
    }
}

/// A new pipe with this name.
pub fn pipe(path: &Path) -> Result<()> {
    Ok(mknodat(CWD, path, FileType::Fifo, Permissions::RUSR | Permissions::WUSR, 0)?)
}

/// Writes frames into a pipe, again and again, until this value goes or nobody reads any more.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Feed {
    fn start(path: &Path, frames: Arc<Frames>) -> Result<Self> {
        pipe(path)?;
        let (path, stop) = (path.to_owned(), Arc::new(AtomicBool::new(false)));
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            // Waits for who reads.
            let opened = File::create(&path);
            fs::remove_file(&path)?;
            pcap::write(BufWriter::new(opened?), frames.iter().cycle().take_while(|_| !until.load(Relaxed)))
        });
        Ok(Self { stop, thread })
    }

    /// No more.
    pub fn end(self) -> Result<()> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("who writes into the pipe has panicked"))??;
        Ok(())
    }
}

/// Writes a file, and answers where it is and how many frames it has.
fn save(set_up: &SetUp, name: &str, frames: &Frames) -> Result<(PathBuf, usize)> {
    let path = set_up.path(name);
    pcap::write(BufWriter::new(File::create(&path)?), frames)?;
    Ok((path, frames.len()))
}
