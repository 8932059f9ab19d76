//! rvsd alone: its one port needs no network, and receives empty frames. What is around it is real: files, signals,
//! systemd's socket, HTTP, a terminal.

mod config;
mod console;
mod monitor;
mod top;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RVSD: &str = env!("CARGO_BIN_EXE_rvsd");
/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running rvsd, which ends with this.
struct Alone {
    process: Child,
    files: TempDir,
    systemd: UnixDatagram,
    /// The port of its HTTP server.
    http: String,
}

/// The file of a director with one port and an HTTP server.
fn file(services: &str) -> String {
    let port = "[[port]]\ndevice = \"net_null0\"\nkernel = false\naddresses = [\"10.0.0.1/24\", \"172.16.0.1/32\"]\n";
    format!("[metrics]\nlisten = \"127.0.0.1:0\"\n\n{port}{services}")
}

const SERVICES: &str = r#"
[[service]]
tcp = "172.16.0.1:80"
scheduler = "wlc"

[[service.server]]
address = "10.0.0.2"
method = "nat"
weight = 3

[[service]]
fwmark = 7
scheduler = "rr"
"#;

fn rvsadm() -> PathBuf {
    Path::new(RVSD).with_file_name("rvsadm")
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn word_after(text: &str, what: &str) -> Option<String> {
    let rest = &text[text.find(what)? + what.len()..];
    Some(rest.split_whitespace().next()?.to_owned())
}

impl Alone {
    /// Starts it on these services, in the environment that systemd would give it.
    fn start(services: &str) -> Self {
        Self::start_by(Command::new(RVSD), services)
    }

    /// The same by a command that becomes rvsd.
    fn start_by(command: Command, services: &str) -> Self {
        let files = tempfile::tempdir().expect("a place for files");
        let at = |name: &str| files.path().join(name);
        std::fs::write(at("rvs.toml"), file(services)).expect("a new file");
        let systemd = UnixDatagram::bind(at("notify")).expect("a new socket");
        systemd.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let process = Self::spawn(command, files.path());
        let mut director = Self { process, files, systemd, http: String::new() };
        director.hear("READY=1");
        director.http = word_after(&director.log(), "address=127.0.0.1:").expect("it says where");
        director
    }

    fn spawn(mut command: Command, files: &Path) -> Child {
        let at = |name: &str| files.join(name);
        let log = File::create(at("rvsd.log")).expect("a new file");
        command
            .args(["--no-pci", "--no-huge", "--no-shconf", "--no-telemetry", "-m", "256", "--vdev=net_null0"])
            .arg(format!("--file-prefix=rvs-alone-{}", std::process::id()))
            .args(["--", "--idle", "pause", "--connections", "1000", "--config"])
            .arg(at("rvs.toml"))
            .arg("--socket")
            .arg(at("control.sock"))
            .env("NOTIFY_SOCKET", at("notify"))
            .env("WATCHDOG_USEC", "10000000")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it was built")
    }

    /// Ends it, and starts it again with the same files.
    fn restart(&mut self) {
        self.signal("-TERM");
        assert!(self.end().success(), "{}", self.log());
        self.process = Self::spawn(Command::new(RVSD), self.files.path());
        self.hear("READY=1");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.at("rvsd.log")).unwrap_or_default()
    }

    /// Waits until systemd is told this; what else it is told meanwhile.
    fn hear(&self, what: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let mut message = [0; 4096];
            let length = self.systemd.recv(&mut message).unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            if message.lines().any(|line| line == what) {
                said.push(message);
                return said;
            }
            said.push(message);
            assert!(Instant::now() < end, "systemd was told {said:?}, not {what}:\n{}", self.log());
        }
    }

    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.http)).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    fn call(&self, words: &[&str]) -> Output {
        let mut command = Command::new(rvsadm());
        command.env("RVS_SOCKET", self.at("control.sock")).args(words).output().expect("it was built")
    }

    /// A call that succeeds; what it prints.
    fn rvsadm(&self, words: &[&str]) -> String {
        let output = self.call(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How it ends by itself.
    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end", || {
            status = self.process.try_wait().expect("it was started");
            status.is_some()
        });
        status.expect("it ended")
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
