//! rvsd on the recorded network, in a network namespace of its own: its ports are the ends of veth pairs, and what the
//! recordings call the client side and the real servers is a program at the other ends.

use crate::lab::{self, Killed, PATIENCE, ROOT, RVSD, rvsadm};
use conformance::kernel::{EXT, INT, Mac, mac};
use conformance::packet::to_hex;
use conformance::shell::Printed;
use conformance::subject::{Sent, Subject};
use control::command::mark::MarkSpec;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The wires, and the settings that every interface made later takes over.
const BEFORE: &str = "
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0
for which in all default; do
    sysctl -qw net.ipv4.conf.$which.rp_filter=0 net.ipv4.conf.$which.send_redirects=0
done
ip link set lo up
for n in 0 1; do
    ip link add port$n type veth peer name wire$n
    ip link set port$n address 02:00:00:00:0$n:fe
    # Its frames are rvsd's: the kernel sees them too, and must neither answer nor route them.
    sysctl -qw net.ipv4.conf.port$n.rp_filter=1 net.ipv4.conf.port$n.arp_ignore=8
    for end in port$n wire$n; do
        ethtool -K $end tx off rx off tso off gso off gro off >/dev/null
        ip link set $end up
    done
done";

/// Addresses, and then the neighbours: the last one is what the director is waited for by.
const AFTER: &str = "
ip address add 10.0.0.1/24 dev lvs0
ip address add 172.16.0.1/32 dev lvs0
ip address add 192.168.1.1/24 dev lvs1
ip link set lvs0 up
ip link set lvs1 up
ip neighbour replace 10.0.0.254 lladdr 02:00:00:00:00:01 dev lvs0 nud permanent
ip route add default via 10.0.0.254
for k in 2 3 4 5 6 50 250; do
    ip neighbour replace 192.168.1.$k lladdr 02:00:00:00:01:$(printf %02x $k) dev lvs1 nud permanent
done";

/// A director without services, and its network. All of it goes when it is dropped.
pub struct RealDirector {
    namespace: Namespace,
    files: TempDir,
    rvsd: Killed,
    wires: Wires,
}

impl RealDirector {
    /// Starts one and waits until it knows its network.
    pub fn start() -> Self {
        let namespace = Namespace::new();
        namespace.sh(BEFORE);
        let files = tempfile::tempdir().expect("a place for files");
        std::os::unix::fs::symlink(rvsadm(), files.path().join("ipvsadm")).expect("a new file");
        let log = std::fs::File::create(files.path().join("rvsd.log")).expect("a new file");
        let mut command = namespace.command(RVSD);
        command.args(lab::eal(&namespace.0, lab::Options::default()));
        command.args(["--", "--idle", "pause", "--connections", "4096", "--destinations", "256", "--mbufs", "2047"]);
        command.arg("--socket").arg(files.path().join("control.sock"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let rvsd = Killed(command.spawn().expect("ip can be run"));
        let wires = Wires::new(&namespace);
        let mut director = Self { namespace, files, rvsd, wires };
        director.wait_for("an answer", |director| director.call("ipvsadm", &["-Ln"], "").status == 0);
        director.namespace.sh(AFTER);
        director.learn();
        director
    }

    /// Waits until the director knows the last neighbour. One-packet scheduling leaves no connection behind.
    fn learn(&mut self) {
        let good = |printed: Printed| assert_eq!(printed.status, 0, "{printed}");
        good(self.call("ipvsadm", &["-A", "-u", "172.16.0.1:9", "-o"], ""));
        good(self.call("ipvsadm", &["-a", "-u", "172.16.0.1:9", "-r", "192.168.1.250", "-g"], ""));
        let probe = conformance::packet::udp(
            "10.9.8.1:9".parse().expect("an endpoint"),
            "172.16.0.1:9".parse().expect("an endpoint"),
            b"x",
        );
        self.wait_for("the network", |director| director.client_sends(&probe).iter().any(|sent| sent.port == INT));
        good(self.call("ipvsadm", &["-C"], ""));
    }

    fn wait_for(&mut self, what: &str, mut there: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !there(self) {
            let ended = self.rvsd.0.try_wait().expect("it was started");
            assert!(ended.is_none() && Instant::now() < end, "in vain waited for {what} ({ended:?}):\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn call(&self, name: &str, arguments: &[&str], input: &str) -> Printed {
        let program = if name == "ipvsadm" { self.files.path().join(name) } else { rvsadm() };
        let mut command = Command::new(program);
        command.args(arguments).env("RVS_SOCKET", self.files.path().join("control.sock"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rvsadm");
        // It may end without having read all.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it was started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let status = output.status.code().and_then(|code| u8::try_from(code).ok()).expect("a status");
        Printed { status, output: text(output.stdout), errors: text(output.stderr) }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("rvsd.log")).unwrap_or_default()
    }
}

impl Drop for RealDirector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rvsd said:\n{}---", self.log());
        }
    }
}

impl Subject for RealDirector {
    fn ipvsadm(&mut self, arguments: &[String], input: &str) -> Printed {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.call("ipvsadm", &arguments, input)
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        self.call("rvsadm", &["set", "vs", name, value], "").status == 0
    }

    fn read(&mut self, file: &str) -> Option<String> {
        let name = file.strip_prefix("/proc/sys/net/ipv4/vs/")?;
        let all = self.call("rvsadm", &["show", "vs"], "").output;
        all.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(" = ")?.to_owned() + "\n"))
    }

    fn mark(&mut self, rule: MarkSpec) -> bool {
        let rule = rule.to_string();
        let words: Vec<&str> = ["mark", "add"].into_iter().chain(rule.split(' ')).collect();
        self.call("rvsadm", &words, "").status == 0
    }

    fn send(&mut self, port: u16, from: Mac, packet: &[u8]) -> Vec<Sent> {
        let to = if port == EXT { mac::EXT } else { mac::INT };
        self.wires.exchange(port, &[&to[..], &from, &[8, 0], packet].concat())
    }

    fn wait(&mut self, seconds: f64) {
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
}

/// The program at the other ends of the veth pairs.
struct Wires {
    _process: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Wires {
    fn new(namespace: &Namespace) -> Self {
        let mut command = namespace.command("python3");
        command.arg(Path::new(ROOT).join("tests/recordings/wire.py")).args(["wire0", "wire1"]);
        let mut process = Killed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip can be run"));
        let input = process.0.stdin.take().expect("piped");
        let output = BufReader::new(process.0.stdout.take().expect("piped"));
        let mut wires = Self { _process: process, input, output };
        assert_eq!(wires.line(), "ready");
        wires
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it prints");
        line.trim_end().to_owned()
    }

    fn exchange(&mut self, port: u16, frame: &[u8]) -> Vec<Sent> {
        writeln!(self.input, "{port} {}", to_hex(frame)).expect("it reads");
        let mut sent = Vec::new();
        loop {
            let line = self.line();
            let Some((port, frame)) = line.split_once(' ') else {
                assert_eq!(line, "done", "the director does not answer pings");
                break;
            };
            let frame = conformance::packet::from_hex(frame).expect("hexadecimal");
            let mac = *frame.first_chunk().expect("a frame");
            sent.push(Sent { port: port.parse().expect("a number"), mac, packet: frame[14..].to_vec() });
        }
        sent.sort_by_key(|sent| sent.port);
        sent
    }
}

/// A network namespace.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rvs{}r{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let status = Command::new("ip").args(["netns", "add", &name]).status().expect("ip can be run");
        assert!(status.success());
        Self(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    fn sh(&self, script: &str) {
        let output = self.command("timeout").args(["20", "sh", "-ec", script]).output().expect("ip can be run");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}
