//! DPDK's telemetry socket, read with Debian's dpdk-telemetry.py as it comes.

use crate::daemon::{Daemon, ipvsadm, shell};
use crate::inside::inside;
use serde_json::Value;

#[test]
fn read_with_dpdk_telemetry_py() {
    inside("telemetry::read_with_dpdk_telemetry_py", || {
        let daemon = Daemon::start_with(None, "--telemetry", |_| String::new());
        ipvsadm("-A -t 172.16.0.1:80 -s rr", "");
        ipvsadm("-a -t 172.16.0.1:80 -r 192.168.1.2:8080 -m -w 3", "");
        ipvsadm("-A -f 7 -s wlc", "");
        if shell("command -v dpdk-telemetry.py", "").status != 0 {
            eprintln!("SKIPPED: no dpdk-telemetry.py: make setup installs it");
            return;
        }
        let ask = |command: &str| -> Value {
            let done = shell(&format!("dpdk-telemetry.py -f {}", daemon.prefix()), &format!("{command}\nquit\n"));
            let mut answer: Value = serde_json::from_str(&done.output)
                .unwrap_or_else(|error| panic!("{command}: {error}: {done:?}\n{}", daemon.log()));
            answer[command.split(',').next().unwrap_or_default()].take()
        };
        assert_eq!(ask("/rvs/services"), serde_json::json!(["tcp 172.16.0.1:80 rr", "fwmark 7 wlc"]));
        let service = ask("/rvs/services,0");
        assert_eq!(service["scheduler"], "rr");
        assert_eq!(service["servers"], serde_json::json!(["192.168.1.2:8080 weight 3 active 0 inactive 0"]));
        let worker = ask("/rvs/workers,0");
        daemon.eventually("turns", || ask("/rvs/workers,0")["turns"].as_u64() > worker["turns"].as_u64());
        assert_eq!(ask("/rvs/workers")["0"]["received"], 0);
        let ports = ask("/rvs/ports");
        assert_eq!((&ports["0"]["device"], &ports["1"]["device"]), (&"net_null0".into(), &"net_null1".into()));
        assert_eq!(ask("/rvs/ports,1")["driver"], "net_null");
        assert_eq!(ask("/rvs/drops").as_object().map(|drops| drops.len() > 5), Some(true));
        assert_eq!(ask("/rvs/stats")["connections"], 0);
        // What means nothing is answered with nothing, and harms nobody.
        for nonsense in ["/rvs/services,9", "/rvs/workers,x", "/rvs/ports,-1", "/rvs/stats,1"] {
            assert_eq!(ask(nonsense), Value::Null, "{nonsense}");
        }
        let help = shell(&format!("dpdk-telemetry.py -f {}", daemon.prefix()), "/help,/rvs/services\nquit\n").output;
        assert!(help.contains("The virtual services"), "{help}");
        // More services than an answer has room for: it is cut, and says so.
        let rules: String = (0..2000).map(|n| format!("-A -f {} -s rr\n", n + 100)).collect();
        assert_eq!(crate::daemon::rvsadm("-R --atomic", &rules).status, 0);
        let services = ask("/rvs/services");
        let last = services.as_array().and_then(|list| list.last()).and_then(Value::as_str).unwrap_or_default();
        assert!(last.starts_with("... and ") && last.ends_with(" more"), "{services}");
    });
}
