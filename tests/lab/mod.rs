//! What the end-to-end tests share: a network of `demo/lab.py`, and rvsd in its director's namespace.
//!
//! Everything here cleans up after itself when it is dropped, also on a panic; nothing waits without a bound.

#![allow(dead_code)] // each test binary uses its part

use control::client::Remote;
use control::command::{Reply, WorkerView};
use control::ipvsadm::Executor as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The daemon under test.
pub const RVSD: &str = env!("CARGO_BIN_EXE_rvsd");
/// How long one thing may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a script may take, for `timeout`.
const SCRIPT_SECONDS: &str = "120";

/// A network: the hosts `client`, `director`, `outside`, `rs2`, `rs3`, `rs4` and the bridges' `wire`.
pub struct Lab {
    name: String,
}

impl Lab {
    /// A new network with its servers running; none, after a word about it, for a user who cannot make one.
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skipped("network namespaces need root");
            return None;
        }
        let lab = Self { name: format!("rvs{}t{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) };
        lab.script("up");
        Some(lab)
    }

    fn script(&self, action: &str) {
        success(Command::new("python3").arg(Path::new(ROOT).join("demo/lab.py")).args([action, &self.name]));
    }

    /// A command that runs on a host. Programs may be named by their path in the repository.
    pub fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.name), program]).current_dir(ROOT);
        command
    }

    /// Runs shell on a host, whatever comes of it.
    pub fn try_sh(&self, host: &str, script: &str) -> Output {
        self.shell(host, script).output().expect("ip can be run")
    }

    /// Runs shell on a host and answers what it printed, less the white space around it.
    pub fn sh(&self, host: &str, script: &str) -> String {
        success(&mut self.shell(host, script))
    }

    fn shell(&self, host: &str, script: &str) -> Command {
        let mut command = self.command(host, "timeout");
        command.args([SCRIPT_SECONDS, "sh", "-ec", script]);
        command
    }

    /// Asks a URL, on a new connection each time, and answers who answered: nobody is the empty string.
    pub fn curl(&self, host: &str, url: &str, times: usize) -> Vec<String> {
        let script =
            format!("for i in $(seq {times}); do curl --silent --show-error --max-time 15 {url} || echo; done");
        self.sh_lines(host, &script).iter().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect()
    }

    fn sh_lines(&self, host: &str, script: &str) -> Vec<String> {
        let output = self.try_sh(host, script);
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }

    /// The MAC address of an interface.
    pub fn mac(&self, host: &str, interface: &str) -> String {
        self.sh(host, &format!("cat /sys/class/net/{interface}/address"))
    }

    /// Sends Ethernet frames from an interface.
    pub fn send(&self, host: &str, interface: &str, frames: &[Vec<u8>]) {
        let mut sender = self.python(host, &["tests/frames.py", "send", interface]);
        let mut input = sender.0.stdin.take().expect("piped");
        for frame in frames {
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(input, "{hex}").expect("the sender reads");
        }
        drop(input);
        assert!(sender.0.wait().expect("it was started").success());
    }

    /// Starts to listen on an interface; the frames seen are in [`Sniffer::stop`].
    pub fn sniff(&self, host: &str, interface: &str) -> Sniffer {
        let mut process = self.python(host, &["tests/frames.py", "sniff", interface]);
        let mut output = std::io::BufReader::new(process.0.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).expect("it prints");
        assert_eq!(line, "ready\n");
        Sniffer { process, output }
    }

    /// Starts a Python program with pipes on a host.
    pub fn python(&self, host: &str, arguments: &[&str]) -> Killed {
        let mut command = self.command(host, "python3");
        Killed(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip can be run"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let script = Path::new(ROOT).join("demo/lab.py");
        let _ = Command::new("python3").arg(script).args(["down", &self.name]).status();
    }
}

/// A process that does not outlive the test.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody who listens on an interface.
pub struct Sniffer {
    process: Killed,
    output: std::io::BufReader<std::process::ChildStdout>,
}

impl Sniffer {
    /// The frames that passed since it started.
    pub fn stop(mut self) -> Vec<Vec<u8>> {
        drop(self.process.0.stdin.take()); // its sign to end
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut text).expect("text");
        let byte = |at: &[u8]| u8::from_str_radix(std::str::from_utf8(at).expect("text"), 16).expect("hex");
        text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
    }
}

/// What became of the frames that workers received.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// All of them.
    pub received: u64,
    /// Sent on.
    pub forwarded: u64,
    /// Given to the kernel.
    pub to_kernel: u64,
    /// Waiting.
    pub held: u64,
    /// Given to another worker, and taken from one.
    pub handed: (u64, u64),
    /// Dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Counters {
    /// Those of workers, added up.
    pub fn of(workers: &[WorkerView]) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.received += worker.received;
            sum.forwarded += worker.forwarded;
            sum.to_kernel += worker.to_kernel;
            sum.held += worker.held;
            sum.handed = (sum.handed.0 + worker.handed_out, sum.handed.1 + worker.handed_in);
            for (reason, frames) in &worker.drops {
                *sum.drops.entry(reason.clone()).or_default() += frames;
            }
        }
        sum
    }
}

/// The workers of the rvsd behind a socket.
pub fn workers(socket: &Path) -> Vec<WorkerView> {
    let reply = Remote::new(socket).execute(control::command::Command::Workers).expect("it answers");
    let Reply::Workers(workers) = reply else { panic!("not about workers: {reply:?}") };
    workers
}

/// What a test wants of its rvsd.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Run on huge pages.
    pub huge_pages: bool,
    /// The driver of its ports.
    pub driver: Driver,
    /// Workers beyond the first.
    pub more_workers: usize,
}

/// What carries frames between rvsd and the director's veth ends.
#[derive(Clone, Copy, Default)]
pub enum Driver {
    /// net_af_packet. It lets the kernel put IPv4 fragments together, and loses what is then longer than a frame.
    #[default]
    AfPacket,
    /// net_pcap, which hands over what is on the wire.
    Pcap,
}

impl Driver {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "net_af_packet",
            Self::Pcap => "net_pcap",
        }
    }

    /// The device of a port, as the EAL and the console take it.
    pub fn device(self, number: usize, workers: usize) -> String {
        format!("{}{number},{}", self.name(), self.arguments(&format!("port{number}"), workers))
    }

    /// As many queues as there are workers, if it can have several.
    fn arguments(self, interface: &str, workers: usize) -> String {
        match self {
            Self::AfPacket => format!("iface={interface},qpairs={workers}"),
            Self::Pcap => format!("rx_iface_in={interface},tx_iface={interface}"),
        }
    }
}

/// A running rvsd with the ports `port0` and `port1`, whose kernel interfaces `lvs0` and `lvs1` have their addresses.
pub struct Director<'lab> {
    lab: &'lab Lab,
    process: Killed,
    files: TempDir,
    socket: PathBuf,
    stopped: bool,
}

impl<'lab> Director<'lab> {
    /// Starts it and waits until it answers.
    pub fn start(lab: &'lab Lab) -> Self {
        Self::start_with(lab, Options::default())
    }

    /// The same, as the test wants it.
    pub fn start_with(lab: &'lab Lab, options: Options) -> Self {
        let files = tempfile::tempdir().expect("a place for files");
        let socket = files.path().join("control.sock");
        std::os::unix::fs::symlink(rvsadm(), files.path().join("ipvsadm")).expect("a new file");
        std::fs::write(files.path().join("rvs.toml"), config(&socket, options)).expect("a new file");
        let log = File::create(files.path().join("rvsd.log")).expect("a new file");
        let mut command = lab.command("director", RVSD);
        command.args(eal(&lab.name, options)).arg("--").arg("--config").arg(files.path().join("rvs.toml"));
        if options.more_workers > 0 {
            // They share CPUs, and must not wait for each other's slices.
            command.args(["--idle", "pause"]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = Killed(command.spawn().expect("ip can be run"));
        let mut director = Self { lab, process, files, socket, stopped: false };
        let end = Instant::now() + PATIENCE;
        while !director.ipvsadm("-Ln").status.success() {
            let ended = director.process.0.try_wait().expect("it was started");
            assert!(ended.is_none() && Instant::now() < end, "rvsd does not start ({ended:?}):\n{}", director.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        lab.script("address");
        director
    }

    /// Runs shell on the director, where `ipvsadm` is rvsadm.
    pub fn sh(&self, script: &str) -> Output {
        let path = format!("{}:{}", self.files.path().display(), std::env::var("PATH").expect("cargo was found in it"));
        let mut command = self.lab.shell("director", script);
        command.env("PATH", path).env("RVS_SOCKET", &self.socket).output().expect("ip can be run")
    }

    /// Runs `ipvsadm` with these arguments.
    pub fn ipvsadm(&self, arguments: &str) -> Output {
        self.sh(&format!("ipvsadm {arguments}"))
    }

    /// Runs lines of `ipvsadm`, which must all succeed.
    pub fn configure(&self, lines: &[&str]) {
        for line in lines {
            let output = self.ipvsadm(line);
            assert!(output.status.success(), "ipvsadm {line}: {output:?}");
        }
    }

    /// What `ipvsadm` prints.
    pub fn list(&self, arguments: &str) -> String {
        String::from_utf8(self.ipvsadm(arguments).stdout).expect("text")
    }

    /// What a command of the console answers.
    pub fn console(&self, line: &str) -> String {
        let mut command = Command::new(rvsadm());
        let output = command.args(line.split_whitespace()).env("RVS_SOCKET", &self.socket).output();
        let output = output.expect("rvsadm can be run");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
    }

    /// What its workers counted, added up.
    pub fn counters(&self) -> Counters {
        Counters::of(&workers(&self.socket))
    }

    /// Everything it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("rvsd.log")).expect("it was made")
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The number of the rvsd process. `ip netns exec` becomes the program it runs.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.process.0.try_wait().expect("it was started").is_none()
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.stopped = true;
        self.process.0.kill().expect("it was started");
        self.process.0.wait().expect("it was started");
    }

    /// Ends it with SIGTERM. It must end well, and find every frame back in its pool.
    pub fn stop(&mut self) {
        self.stopped = true;
        let status = terminate(&mut self.process.0);
        let log = self.log();
        assert!(status.success(), "rvsd ended with {status}:\n{log}");
        assert!(!log.contains("not released") && !log.contains("panicked"), "{log}");
    }
}

impl Drop for Director<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rvsd said:\n{}---", self.log());
        } else if !self.stopped {
            self.stop();
        }
    }
}

/// Sends SIGTERM and waits, a bounded time, for the end.
pub fn terminate(process: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it was started");
    let mut status = None;
    eventually("the end after SIGTERM", || {
        status = process.try_wait().expect("it was started");
        status.is_some()
    });
    status.expect("just seen")
}

/// The configuration file of a director with two ports.
pub fn config(socket: &Path, options: Options) -> String {
    let port =
        |number| format!("[[port]]\ndevice = \"{}{number}\"\nkernel = \"lvs{number}\"\n\n", options.driver.name());
    format!("[control]\nsocket = {socket:?}\n\n{}{}", port(0), port(1))
}

/// The EAL's arguments for the director's two ports.
pub fn eal(prefix: &str, options: Options) -> Vec<String> {
    let workers = 1 + options.more_workers;
    let mut arguments = lcores(prefix, workers);
    arguments.extend([0, 1].map(|number| format!("--vdev={}", options.driver.device(number, workers))));
    let memory: &[&str] = if options.huge_pages { &["--in-memory"] } else { &NO_HUGE_PAGES };
    arguments.extend(memory.iter().map(|&argument| argument.to_owned()));
    arguments
}

/// The EAL's arguments for memory that needs nothing of the machine.
pub const NO_HUGE_PAGES: [&str; 2] = ["--no-huge", "--no-shconf"];

/// The EAL's arguments for a director: one control thread, its workers on the CPUs in turn, no file shared with others.
pub fn lcores(prefix: &str, workers: usize) -> Vec<String> {
    let allowed = rustix::thread::sched_getaffinity(None).expect("it is this thread's own");
    let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let lcores: Vec<_> = (0..=workers).map(|lcore| format!("{lcore}@{}", cpus[lcore % cpus.len()])).collect();
    vec![
        format!("--lcores={}", lcores.join(",")),
        "--no-pci".into(),
        "--no-telemetry".into(),
        format!("--file-prefix={prefix}"),
        "-m".into(),
        "256".into(),
    ]
}

/// The built rvsadm, which is of another package: it is beside rvsd once `cargo build --workspace --bins` has run.
pub fn rvsadm() -> PathBuf {
    let path = Path::new(RVSD).with_file_name("rvsadm");
    assert!(path.exists(), "{} is missing: make build", path.display());
    path
}

/// Says, past the test runner's capture, that a test saw nothing, and why.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Waits, a bounded time, until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn success(command: &mut Command) -> String {
    let output = command.output().expect("the program can be run");
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
