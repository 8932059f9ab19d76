//! Who watches a director: a scraper, a health check, systemd.

use super::{Alone, PATIENCE, RVSD, SERVICES, word_after};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn metrics_are_scraped() {
    let director = Alone::start(SERVICES);
    let (status, text) = director.get("/metrics");
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
        "# TYPE rvs_worker_rx_burst_size histogram",
        "rvs_port_link_up{port=\"0\",device=\"net_null0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
    let received = |text: &str| word_after(text, "\nrvs_received_packets_total ").and_then(|count| count.parse().ok());
    let (before, end): (u64, _) = (received(&text).expect("a number"), Instant::now() + PATIENCE);
    while received(&director.get("/metrics").1).is_none_or(|after| after <= before) {
        assert!(Instant::now() < end, "nothing was received");
    }
    promtool(&text);
}

/// Debian's promtool has nothing against it.
fn promtool(text: &str) {
    let place = tempfile::tempdir().expect("a place for files");
    let Some(program) = of_prometheus(place.path(), "promtool") else { return };
    let mut child = Command::new(program)
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

/// A file of Debian's package of prometheus, unpacked; none if the package is not there.
fn of_prometheus(place: &Path, name: &str) -> Option<std::path::PathBuf> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages");
    let found = std::fs::read_dir(&packages).into_iter().flatten().flatten().map(|file| file.path());
    let Some(file) = found.into_iter().find(|file| file.to_string_lossy().contains("/prometheus_")) else {
        eprintln!("SKIPPED: no package of prometheus in {}: make setup fetches it", packages.display());
        return None;
    };
    let unpack = format!("dpkg-deb --fsys-tarfile {} | tar -x -C {} ./usr/bin/{name}", file.display(), place.display());
    assert!(Command::new("sh").args(["-c", &unpack]).status().is_ok_and(|status| status.success()), "{unpack}");
    Some(place.join("usr/bin").join(name))
}

/// Debian's prometheus, on loopback, scrapes a director and answers what it found.
#[test]
fn prometheus_scrapes() {
    let place = tempfile::tempdir().expect("a place for files");
    let Some(program) = of_prometheus(place.path(), "prometheus") else { return };
    let director = Alone::start(SERVICES);
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: rvs\n  static_configs:\n  - targets: ['127.0.0.1:{}']\n",
        director.http
    );
    std::fs::write(place.path().join("prometheus.yml"), config).expect("a new file");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let log = std::fs::File::create(place.path().join("log")).expect("a new file");
    let mut prometheus = Command::new("timeout")
        .arg("90")
        .arg(program)
        .arg(format!("--config.file={}", place.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", place.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{free}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("coreutils are essential");
    let ask = |query: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", free)).ok()?;
        write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(body["data"]["result"].clone()).filter(|found| found.as_array().is_some_and(|found| !found.is_empty()))
    };
    let end = Instant::now() + 2 * PATIENCE;
    let weight = loop {
        if let Some(found) = ask("rvs_backend_weight") {
            break found;
        }
        let log = || std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
        assert!(Instant::now() < end, "nothing was scraped: {}", log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!((&weight[0]["value"][1], &weight[0]["metric"]["remote_address"]), (&"3".into(), &"10.0.0.2".into()));
    let found = ["up", "rvs_build_info", "rvs_service_info", "rvs_worker_rx_burst_size_bucket", "rvs_drops_total"];
    found.iter().for_each(|name| assert!(ask(name).is_some(), "{name} was not scraped"));
    assert_eq!(ask("up").expect("it was there")[0]["value"][1], "1");
    let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&prometheus), rustix::process::Signal::TERM);
    let _ = prometheus.wait();
}

#[test]
fn health_and_readiness_are_told_apart() {
    let director = Alone::start(SERVICES);
    assert_eq!(director.get("/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(director.get("/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    director.rvsadm(&["stop"]);
    assert_eq!(director.get("/healthz").0, "HTTP/1.1 200 OK");
    let stopped = ("HTTP/1.1 503 Service Unavailable".to_owned(), "forwarding is stopped\n".to_owned());
    assert_eq!(director.get("/readyz"), stopped);
    director.rvsadm(&["start"]);
    assert_eq!(director.get("/readyz").0, "HTTP/1.1 200 OK");
    assert_eq!(director.get("/").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn systemd_is_told() {
    let mut director = Alone::start("");
    director.rvsadm(&["stop"]);
    director.hear("STATUS=stopped: 1 worker, 1 port, 0 services");
    director.rvsadm(&["-A", "-t", "10.0.0.1:80"]);
    director.rvsadm(&["start"]);
    director.hear("STATUS=forwarding: 1 worker, 1 port, 1 service");
    // All workers move, so the watchdog is fed.
    director.hear("WATCHDOG=1");
    director.signal("-HUP");
    let said = director.hear("RELOADING=1");
    assert!(said.last().is_some_and(|message| message.contains("MONOTONIC_USEC=")), "{said:?}");
    director.hear("READY=1");
    director.signal("-TERM");
    director.hear("STOPPING=1");
    let status = director.end();
    assert!(status.success(), "{status}: {}", director.log());
}

/// A network namespace whose loopback interface is down, as a new one is. There it used to wait for its HTTP server.
#[test]
fn it_ends_where_nothing_can_be_reached() {
    let mut command = Command::new("unshare");
    command.args(["--net", RVSD]);
    let mut director = Alone::start_by(command, SERVICES);
    director.signal("-TERM");
    let status = director.end();
    assert!(status.success(), "{status}: {}", director.log());
}

/// systemd understands the unit, with this rvsd for the installed one.
#[test]
fn the_unit_is_understood() {
    let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd/rvsd.service"));
    let unit = unit.expect("it is in the tree");
    assert!(unit.contains("Type=notify\n") && unit.contains("ExecReload=/bin/kill -HUP $MAINPID\n"), "{unit}");
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: the_unit_is_understood: there is no systemd-analyze");
        return;
    }
    let files = tempfile::tempdir().expect("a place for files");
    let copy = files.path().join("rvsd.service");
    std::fs::write(&copy, unit.replace("/usr/local/sbin/rvsd", RVSD)).expect("a new file");
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(copy).output().expect("it was just run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
/// Stops the one thread that polls: the watchdog goes hungry, health is denied, and both come back with the thread.
#[test]
fn a_stuck_worker_is_not_hidden() {
    let director = Alone::start("");
    director.hear("WATCHDOG=1");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", director.process.id())).expect("it runs");
    let is_worker =
        |name: &str| ["rte-worker", "lcore-worker", "rvs-worker"].iter().any(|begin| name.starts_with(begin));
    let mut workers = tasks
        .flatten()
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| is_worker(&name)));
    let worker = workers.next().expect("a worker's thread").file_name();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stuck.py");
    let mut stop = Command::new("timeout");
    stop.args(["60", "python3"]).arg(script).arg(worker).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut stop = stop.spawn().expect("there is a python3");
    // Kept open: python would end for a line that nobody reads.
    let mut said = BufReader::new(stop.stdout.take().expect("piped"));
    let mut word = String::new();
    if said.read_line(&mut word).is_err() || word != "stopped\n" {
        let _ = stop.wait();
        eprintln!("SKIPPED: a_stuck_worker_is_not_hidden: no thread can be stopped here (ptrace)");
        return;
    }
    let end = Instant::now() + PATIENCE;
    while director.get("/healthz").0 != "HTTP/1.1 503 Service Unavailable" {
        assert!(Instant::now() < end, "nobody noticed:\n{}", director.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(director.get("/healthz").1, "stuck: worker 0\n");
    assert_eq!(director.get("/readyz").1, "stuck: worker 0\n");
    // What was sent before; from the news on, nothing feeds the watchdog.
    director.hear("STATUS=stuck: worker 0");
    director.systemd.set_nonblocking(true).expect("a socket");
    assert!(director.systemd.recv(&mut [0; 64]).is_err(), "the watchdog is still fed");
    director.systemd.set_nonblocking(false).expect("a socket");
    // Who wants something of it is told.
    let (show, add) = (["set", "verbose", "2"], |to| ["-A", "-t", to]);
    for words in [show, add("10.0.0.1:80"), show, add("10.0.0.1:81"), show] {
        let output = director.call(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("worker 0"), "{words:?}: {output:?}");
    }
    drop(stop.stdin.take());
    assert!(stop.wait().is_ok_and(|status| status.success()));
    director.hear("WATCHDOG=1");
    assert_eq!(director.get("/healthz").1, "ok\n");
}
