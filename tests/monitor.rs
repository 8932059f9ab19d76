//! Who watches a director: a scraper, a health check, systemd. Ports that need no network; one receives empty frames.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RVSD: &str = env!("CARGO_BIN_EXE_rvsd");
/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(30);

struct Watched {
    process: Child,
    files: TempDir,
    systemd: UnixDatagram,
    address: String,
}

/// What systemd's environment would be, and the file.
fn start(services: &str) -> Watched {
    let files = tempfile::tempdir().expect("a place for files");
    let at = |name: &str| files.path().join(name);
    let config = format!(
        "[metrics]\nlisten = \"127.0.0.1:0\"\n\n\
         [[port]]\ndevice = \"net_null0\"\nkernel = false\naddresses = [\"10.0.0.1/24\", \"172.16.0.1/32\"]\n\n{services}"
    );
    std::fs::write(at("rvs.toml"), config).expect("a new file");
    let systemd = UnixDatagram::bind(at("notify")).expect("a new socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let log = File::create(at("rvsd.log")).expect("a new file");
    let process = Command::new(RVSD)
        .args(["--no-pci", "--no-huge", "--no-shconf", "--no-telemetry", "-m", "256", "--vdev=net_null0"])
        .arg(format!("--file-prefix=rvs-monitor-{}", std::process::id()))
        .args(["--", "--idle", "pause", "--connections", "1000", "--config"])
        .arg(at("rvs.toml"))
        .arg("--socket")
        .arg(at("control.sock"))
        .env("NOTIFY_SOCKET", at("notify"))
        .env("WATCHDOG_USEC", "10000000")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("it was built");
    let mut watched = Watched { process, files, systemd, address: String::new() };
    watched.hear("READY=1");
    watched.address = word_after(&watched.log(), "address=127.0.0.1:").expect("it says where");
    watched
}

fn word_after(text: &str, what: &str) -> Option<String> {
    let rest = &text[text.find(what)? + what.len()..];
    Some(rest.split_whitespace().next()?.to_owned())
}

impl Watched {
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
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.address)).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    fn rvsadm(&self, words: &[&str]) {
        let rvsadm = Path::new(RVSD).with_file_name("rvsadm");
        let output = Command::new(rvsadm).env("RVS_SOCKET", self.at("control.sock")).args(words).output();
        let output = output.expect("it was built");
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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

#[test]
fn metrics_are_scraped() {
    let watched = start(SERVICES);
    let (status, text) = watched.get("/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let labels = "local_address=\"172.16.0.1\",local_port=\"80\",local_mark=\"\",proto=\"TCP\"";
    for line in [
        "rvs_build_info{version=\"0.1.0\"} 1",
        "rvs_services 2",
        "rvs_conn_capacity 1000",
        "rvs_forwarding 1",
        &format!("rvs_service_connections_total{{{labels}}} 0"),
        &format!("rvs_backend_weight{{{labels},remote_address=\"10.0.0.2\",remote_port=\"80\"}} 3"),
        "rvs_service_connections_total{local_address=\"\",local_port=\"0\",local_mark=\"00000007\",proto=\"FWM\"} 0",
        "rvs_config_reloads_total{result=\"success\"} 0",
        "rvs_port_link_up{port=\"0\",device=\"net_null0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
    let received = |text: &str| word_after(text, "\nrvs_received_packets_total ").and_then(|count| count.parse().ok());
    let (before, end): (u64, _) = (received(&text).expect("a number"), Instant::now() + PATIENCE);
    while received(&watched.get("/metrics").1).is_none_or(|after| after <= before) {
        assert!(Instant::now() < end, "nothing was received");
    }
    promtool(&text);
}

/// Debian's promtool has nothing against it.
fn promtool(text: &str) {
    let place = tempfile::tempdir().expect("a place for files");
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages");
    let found = std::fs::read_dir(&packages).into_iter().flatten().flatten().map(|file| file.path());
    let Some(file) = found.into_iter().find(|file| file.to_string_lossy().contains("/prometheus_")) else {
        eprintln!("SKIPPED: no package of prometheus in {}: make setup fetches it", packages.display());
        return;
    };
    let unpack =
        format!("dpkg-deb --fsys-tarfile {} | tar -x -C {} ./usr/bin/promtool", file.display(), place.path().display());
    assert!(Command::new("sh").args(["-c", &unpack]).status().is_ok_and(|status| status.success()), "{unpack}");
    let mut child = Command::new(place.path().join("usr/bin/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was unpacked");
    // It reads the older text format, which is the same but for the names of counters in comments and the end.
    let mut counters = Vec::new();
    let older = text.lines().filter(|line| *line != "# EOF").map(|line| {
        let mut words: Vec<&str> = line.splitn(4, ' ').collect();
        if words.len() == 4 && words[1] == "TYPE" && words[3] == "counter" {
            counters.push(words[2].to_owned());
        }
        if words.len() == 4 && words[1] == "TYPE" && words[3] == "info" {
            words[3] = "gauge";
        }
        words.join(" ")
    });
    let older: Vec<String> = older.collect();
    let older: String = older.iter().fold(String::new(), |text, line| {
        let named = |suffix: &str, name: &str| line.replacen(&format!(" {name} "), &format!(" {name}{suffix} "), 1);
        let mut words = line.splitn(4, ' ');
        let line = match (words.next(), words.nth(1)) {
            (Some("#"), Some(name)) if counters.iter().any(|counter| counter == name) => named("_total", name),
            (Some("#"), Some(name @ ("rvs_build" | "rvs_service"))) => named("_info", name),
            _ => line.clone(),
        };
        text + &line + "\n"
    });
    child.stdin.take().expect("piped").write_all(older.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it was started");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{older}");
}

#[test]
fn health_and_readiness_are_told_apart() {
    let watched = start(SERVICES);
    assert_eq!(watched.get("/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(watched.get("/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    watched.rvsadm(&["stop"]);
    assert_eq!(watched.get("/healthz").0, "HTTP/1.1 200 OK");
    let stopped = ("HTTP/1.1 503 Service Unavailable".to_owned(), "forwarding is stopped\n".to_owned());
    assert_eq!(watched.get("/readyz"), stopped);
    watched.rvsadm(&["start"]);
    assert_eq!(watched.get("/readyz").0, "HTTP/1.1 200 OK");
    assert_eq!(watched.get("/").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn systemd_is_told() {
    let mut watched = start("");
    // All workers move, so the watchdog is fed.
    watched.hear("WATCHDOG=1");
    watched.signal("-HUP");
    let said = watched.hear("RELOADING=1");
    assert!(said.last().is_some_and(|message| message.contains("MONOTONIC_USEC=")), "{said:?}");
    watched.hear("READY=1");
    watched.signal("-TERM");
    watched.hear("STOPPING=1");
    let status = watched.process.wait().expect("it was started");
    assert!(status.success(), "{status}: {}", watched.log());
}
