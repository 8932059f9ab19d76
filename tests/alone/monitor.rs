//! Who watches a director: a scraper, a health check, systemd.

use super::{Alone, PATIENCE, RVSD, SERVICES, word_after};
use std::io::Write as _;
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
    let status = director.process.wait().expect("it was started");
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
