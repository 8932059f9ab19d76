//! Debian's prometheus-node-exporter on our files instead of the kernel's.

use crate::daemon::{self, Daemon, ipvsadm};
use crate::inside::inside;
use crate::packages::unpacked;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Where it listens, and where rvsd does.
const EXPORTER: &str = "127.0.0.1:9100";
const RVSD: &str = "127.0.0.1:9847";

/// A program that is killed with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Series of IPVS by name and sorted labels, without the prefix; nothing if nobody answers.
fn scrape(address: &str, prefix: &str) -> BTreeMap<(String, Vec<String>), f64> {
    let Ok(mut stream) = TcpStream::connect(address) else { return BTreeMap::new() };
    let _ = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.strip_prefix(prefix)?.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').map(str::to_owned).collect();
        labels.sort_unstable();
        Some(((name.to_owned(), labels), value.parse().ok()?))
    });
    series.collect()
}

#[test]
fn node_exporter_reads_our_files() {
    inside("exporter::node_exporter_reads_our_files", || {
        let proc = |files: &std::path::Path| format!("[metrics]\nprocfs = \"{}\"\n", files.join("proc").display());
        let daemon = Daemon::start_with(Some(&daemon::load()), "--no-telemetry", proc);
        ipvsadm("-A -t 172.16.0.1:80 -s rr", "");
        ipvsadm("-a -t 172.16.0.1:80 -r 192.168.1.2:8080 -m -w 3", "");
        ipvsadm("-a -t 172.16.0.1:80 -r 192.168.1.3:80 -m -w 0", "");
        ipvsadm("-A -f 268500992 -s rr", "");
        ipvsadm("-a -f 268500992 -r 192.168.1.4:0 -g", "");
        let program = "usr/bin/prometheus-node-exporter";
        let members = [&*format!("./{program}")];
        let Some(package) = unpacked("prometheus-node-exporter", &members, &daemon.file("package")) else { return };
        let mut exporter = Command::new(package.join(program));
        exporter.arg(format!("--path.procfs={}", daemon.file("proc").display()));
        exporter.args(["--collector.disable-defaults", "--collector.ipvs", "--log.level=error"]);
        exporter.arg(format!("--web.listen-address={EXPORTER}")).stdout(Stdio::null());
        let _exporter = Killed(exporter.spawn().expect("it was unpacked"));
        let theirs = || scrape(EXPORTER, "node_ipvs_");
        let connections = || theirs().get(&("connections_total".to_owned(), vec![String::new()])).copied();
        daemon.eventually("connections that the exporter counts", || connections().is_some_and(|count| count > 10.0));
        daemon.eventually("all servers", || theirs().keys().filter(|(name, _)| name == "backend_weight").count() == 3);
        // It knows nothing that we do not tell by ourselves, under the same name and labels but for the prefix.
        let (theirs, ours) = (theirs(), scrape(RVSD, "rvs_"));
        assert_eq!(theirs.len(), 5 + 3 * 3, "{theirs:?}");
        for (series, value) in &theirs {
            let our = ours.get(series).unwrap_or_else(|| panic!("we do not tell {series:?}: {ours:?}"));
            assert!(series.0 != "backend_weight" || our == value, "{series:?}: {value}, but {our}");
        }
    });
}
