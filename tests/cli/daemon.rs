//! A running rvsd, and calls to it.

use conformance::packet::{flags, tcp, udp};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RVSD: &str = env!("CARGO_BIN_EXE_rvsd");
/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// From the client's gateway to the director's outer port.
const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, 8, 0];

/// What the outer port receives.
enum Source<'a> {
    Nothing,
    /// These frames, again and again, as fast as they can be read.
    Again(&'a [Vec<u8>]),
    /// So many datagrams, each of another client, to 172.16.0.1:53, on a queue for each worker.
    Clients(u32),
}

/// What a call printed.
#[derive(Debug)]
pub struct Printed {
    pub status: i32,
    pub output: String,
    pub errors: String,
}

/// Where calls find rvsadm under its names, and the socket. One test runs in a process.
struct Place {
    names: PathBuf,
    socket: PathBuf,
}

static PLACE: OnceLock<Place> = OnceLock::new();

fn place() -> &'static Place {
    PLACE.get().expect("a daemon was started")
}

/// Runs a line of shell, for which `ipvsadm` and the others are rvsadm.
pub fn shell(line: &str, input: &str) -> Printed {
    let path = format!("{}:{}", place().names.display(), std::env::var("PATH").expect("cargo was found in it"));
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path).env("RVS_SOCKET", &place().socket);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("there is a shell");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // Whoever does not read its input closes it.
    let writer = std::thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it was started");
    writer.join().expect("it only writes");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Printed { status: output.status.code().unwrap_or(-1), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// Calls rvsadm by this name.
pub fn call(name: &str, options: &str, input: &str) -> Printed {
    shell(&format!("{name} {options}"), input)
}

/// Calls it as ipvsadm.
pub fn ipvsadm(options: &str, input: &str) -> Printed {
    call("ipvsadm", options, input)
}

/// Calls it by its own name.
pub fn rvsadm(options: &str, input: &str) -> Printed {
    call("rvsadm", options, input)
}

/// A running rvsd, which ends with this.
pub struct Daemon {
    process: Child,
    files: TempDir,
}

impl Daemon {
    /// Starts it on ports that receive nothing, or these frames again and again.
    pub fn start(frames: Option<&[Vec<u8>]>) -> Self {
        Self::start_with(frames, "--no-telemetry", |_| String::new())
    }

    /// The same, with or without DPDK's telemetry, and with more in its file: what is made of the place for its files.
    pub fn start_with(frames: Option<&[Vec<u8>]>, telemetry: &str, more: impl FnOnce(&Path) -> String) -> Self {
        Self::launch(&frames.map_or(Source::Nothing, Source::Again), 1, 65_536, telemetry, more)
    }

    /// Starts it with two workers and so many clients, each of whose datagrams reaches a service at 172.16.0.1:53.
    pub fn with_clients(clients: u32) -> Self {
        // The service is there from the start, since the datagrams are.
        Self::launch(&Source::Clients(clients), 2, clients, "--no-telemetry", |_| {
            "\n[timeouts]\nudp = \"1d\"\n\n[[service]]\nudp = \"172.16.0.1:53\"\n\n\
             [[service.server]]\naddress = \"192.168.1.2:53\"\n"
                .to_owned()
        })
    }

    fn launch(
        source: &Source<'_>,
        workers: u32,
        connections: u32,
        telemetry: &str,
        more: impl FnOnce(&Path) -> String,
    ) -> Self {
        let files = tempfile::tempdir().expect("a place for files");
        let at = |name: &str| files.path().join(name);
        let rvsadm = Path::new(RVSD).with_file_name("rvsadm");
        assert!(rvsadm.exists(), "{} is missing: make build", rvsadm.display());
        std::fs::create_dir(at("names")).expect("a new directory");
        for name in ["rvsadm", "ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            symlink(&rvsadm, at("names").join(name)).expect("a new file");
        }
        let place = Place { names: at("names"), socket: at("control.sock") };
        assert!(PLACE.set(place).is_ok(), "one daemon a process");
        let load = |name: &str, frames: &mut dyn Iterator<Item = Vec<u8>>| {
            capture(&at(name), frames).expect("a new file");
            format!(",rx_pcap={}", at(name).display())
        };
        let (ext, device) = match source {
            Source::Again(frames) => {
                ("net_pcap0", format!("net_pcap0{},infinite_rx=1", load("load.pcap", &mut frames.iter().cloned())))
            }
            Source::Clients(count) => {
                let queue = |queue| {
                    load(&format!("{queue}.pcap"), &mut (queue..*count).step_by(workers as usize).map(datagram))
                };
                ("net_pcap0", "net_pcap0".to_owned() + &(0..workers).map(queue).collect::<String>())
            }
            Source::Nothing => ("net_null0", "net_null0,no-rx=1".to_owned()),
        };
        let config = format!(
            "[[port]]\ndevice = \"{ext}\"\nkernel = false\naddresses = [\"10.0.0.1/24\", \"172.16.0.1/32\"]\n\n\
             [[port]]\ndevice = \"net_null1\"\nkernel = false\naddresses = [\"192.168.1.1/24\"]\n"
        );
        std::fs::write(at("rvs.toml"), config + &more(files.path())).expect("a new file");
        let log = File::create(at("rvsd.log")).expect("a new file");
        let mut command = Command::new(RVSD);
        command.args(["--no-pci", "--no-huge", "--no-shconf", telemetry, "-m", "512", &lcores(workers)]);
        command.arg(format!("--file-prefix={}", prefix()));
        command.arg(format!("--vdev={device}")).arg("--vdev=net_null1,no-rx=1");
        command.args(["--", "--log-level", "warn", "--idle", "pause"]).arg(format!("--connections={connections}"));
        command.arg("--config").arg(at("rvs.toml"));
        command.arg("--socket").arg(at("control.sock")).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let mut daemon = Self { process: command.spawn().expect("it was built"), files };
        let end = Instant::now() + PATIENCE;
        while ipvsadm("-Ln", "").status != 0 {
            let ended = daemon.process.try_wait().expect("it was started");
            assert!(ended.is_none() && Instant::now() < end, "rvsd does not start ({ended:?}):\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// What tells its DPDK files from others'.
    pub fn prefix(&self) -> String {
        prefix()
    }

    /// A path among its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Lets other users see its files, so that the socket alone keeps them out.
    pub fn open_directory(&self) {
        std::fs::set_permissions(self.files.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// The directory of rvsadm under its names.
    pub fn names(&self) -> PathBuf {
        self.file("names")
    }

    /// Everything it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("rvsd.log")).expect("it was made")
    }

    /// Frames that it received.
    pub fn received(&self) -> u64 {
        self.counted("received")
    }

    /// What its workers counted under this name, added up.
    pub fn counted(&self, name: &str) -> u64 {
        let workers: serde_json::Value = serde_json::from_str(&rvsadm("show worker json", "").output).expect("JSON");
        let workers = workers["workers"].as_array().unwrap_or_else(|| panic!("{workers}"));
        workers.iter().map(|worker| worker[name].as_u64().expect("a number")).sum()
    }

    /// Frames of no service: they would be the kernel's, of which there is none.
    pub fn of_no_service(&self) -> u64 {
        let workers: serde_json::Value = serde_json::from_str(&rvsadm("show worker json", "").output).expect("JSON");
        let workers = workers["workers"].as_array().unwrap_or_else(|| panic!("{workers}"));
        workers.iter().map(|worker| worker["drops"]["no_kernel_interface"].as_u64().unwrap_or(0)).sum()
    }

    /// A line of its `/proc/PID/status` in kB.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).expect("such a line");
        value.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Lets `VmHWM`, the most memory it had, start from what it has.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("it runs");
    }

    /// Waits, a bounded time, until something is so.
    pub fn eventually(&self, what: &str, mut so: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < end, "in vain waited for: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + PATIENCE;
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            status = self.process.try_wait().unwrap_or_default();
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        if std::thread::panicking() {
            eprintln!("--- rvsd said:\n{}---", self.log());
        } else {
            assert!(status.is_some_and(|status| status.success()), "rvsd ended with {status:?}:\n{}", self.log());
        }
    }
}

/// One daemon runs in a process.
fn prefix() -> String {
    format!("rvs-cli-{}", std::process::id())
}

/// One control thread and so many workers, on CPUs that this test may use.
fn lcores(workers: u32) -> String {
    let allowed = rustix::thread::sched_getaffinity(None).expect("it is this thread's own");
    let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let workers = (1..=workers as usize)
        .map(|worker| format!(",{worker}@{}", cpus[(cpus.len() - worker % cpus.len()) % cpus.len()]));
    format!("--lcores=0@{}{}", cpus[0], workers.collect::<String>())
}

/// A datagram of the n-th client to 172.16.0.1:53.
pub fn datagram(n: u32) -> Vec<u8> {
    let client = SocketAddrV4::new((0x0a10_0000 + n).into(), 1024);
    [&ETHERNET[..], &udp(client, SocketAddrV4::new([172, 16, 0, 1].into(), 53), b"x")].concat()
}

/// Packets of many clients to what the recorded calls make services of: first packets, and ones in the middle.
pub fn load() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for n in 0..512_u32 {
        let client = SocketAddrV4::new((0x0a09_0000 + n / 4).into(), 1024 + (n % 4) as u16);
        for port in [53, 80, 443] {
            let service = SocketAddrV4::new([172, 16, 0, 1].into(), port);
            for letters in ["S", "A", "FA"] {
                frames.push([&ETHERNET[..], &tcp(client, service, flags(letters), 1000, 1, b"x")].concat());
            }
            frames.push([&ETHERNET[..], &udp(client, service, b"x")].concat());
        }
    }
    frames
}

/// Writes a capture file as libpcap reads it.
fn capture(to: &Path, frames: &mut dyn Iterator<Item = Vec<u8>>) -> std::io::Result<()> {
    let words = |words: &[u32]| words.iter().copied().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>();
    let mut file = std::io::BufWriter::new(File::create(to)?);
    file.write_all(&words(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, 1]))?;
    for frame in frames {
        file.write_all(&words(&[0, 0, frame.len() as u32, frame.len() as u32]))?;
        file.write_all(&frame)?;
    }
    file.flush()
}
