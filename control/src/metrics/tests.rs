//! The text of a small director, and that the dashboard in contrib asks for nothing else.

use super::*;
use crate::command::{ClassView, DrainView, PortStats, ServerSpec, ServiceSpec};
use forwarder::service::Protocol;
use std::collections::{BTreeMap, BTreeSet};

const OPTIONS: Options = Options { backends: true, workers: false, node_names: false, capacity: 2000 };

fn statistics(connections: u64) -> Statistics {
    let counters = Counters { connections, in_packets: 10, out_packets: 9, in_bytes: 1000, out_bytes: 900 };
    Statistics { counters, ..Statistics::default() }
}

fn scrape(options: Options) -> Scrape {
    let server = |address: [u8; 4], weight| ServerView {
        spec: ServerSpec { weight, ..ServerSpec::new(address.into(), 8080) },
        active: 3,
        inactive: 2,
        persistent: 1,
        statistics: statistics(5),
        origin: Default::default(),
        drain: (weight == 0).then_some(DrainView { seconds: 1, remaining: None, delete: false }),
    };
    let service = |name, servers| ServiceView {
        spec: ServiceSpec {
            scheduler: "rr".to_owned(),
            name: matches!(name, ServiceName::Mark { .. }).then(|| "seven".to_owned()),
            ..ServiceSpec::new(name)
        },
        statistics: statistics(10),
        servers,
        origin: Default::default(),
    };
    let address = ServiceName::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port: 80 };
    let mark = ServiceName::Mark { mark: 0x10, ipv6: false };
    let worker = |worker, entries| WorkerView {
        worker,
        entries,
        received: 40,
        busy_cycles: 300,
        idle_cycles: 700,
        bursts: [2, 0, 1, 0, 0, 1],
        drops: [("ttl".to_owned(), 1), ("no_route".to_owned(), u64::from(worker))].into(),
        states: [("ESTABLISHED".to_owned(), entries)].into(),
        expired_in: [("ESTABLISHED".to_owned(), 2), ("TIME_WAIT".to_owned(), entries)].into(),
        classes: [("arp".to_owned(), ClassView { passed: 4, policed: 1, dropped: 2 })].into(),
        ..WorkerView::default()
    };
    Scrape {
        options,
        version: "1.2.3".to_owned(),
        status: StatusView { started: 1000, reloads: 2, failed_reloads: 1, last_reload: 2000 },
        services: vec![
            service(address, vec![server([10, 0, 0, 2], 1), server([10, 0, 0, 3], 0)]),
            service(mark, Vec::new()),
        ],
        total: statistics(20),
        forwarding: ForwardingView::default(),
        workers: vec![worker(0, 7), worker(1, 5)],
        ports: vec![PortView {
            device: "net_\"0".to_owned(),
            stats: PortStats { rx_missed: 3, ..PortStats::default() },
            ..PortView::default()
        }],
        frames_available: Some(99),
    }
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line {line} in\n{text}");
    }
}

const BACKEND: &str = r#"{local_address="10.0.0.1",local_port="80",local_mark="",proto="TCP",remote_address="10.0.0.3",remote_port="8080"}"#;

#[test]
fn workers_are_sums_unless_they_are_wanted() {
    let text = scrape(OPTIONS).text();
    has(
        &text,
        &[
            "rvs_conn_entries 12",
            r#"rvs_service_info{local_address="10.0.0.1",local_port="80",local_mark="",proto="TCP",name="tcp 10.0.0.1:80",scheduler="rr"} 1"#,
            r#"rvs_service_info{local_address="",local_port="0",local_mark="00000010",proto="FWM",name="seven",scheduler="rr"} 1"#,
            r#"rvs_conn_state_entries{state="ESTABLISHED"} 12"#,
            r#"rvs_conn_expired_total{state="ESTABLISHED"} 4"#,
            r#"rvs_conn_expired_total{state="TIME_WAIT"} 12"#,
            r#"rvs_drops_total{reason="no_route"} 1"#,
            r#"rvs_drops_total{reason="ttl"} 2"#,
            r#"rvs_exception_packets_total{class="arp"} 8"#,
            r#"rvs_exception_dropped_total{class="arp"} 6"#,
            "rvs_worker_busy_cycles_total 600",
            "rvs_worker_cycles_total 2000",
            "# TYPE rvs_worker_rx_burst_size histogram",
            "rvs_worker_rx_burst_size_sum 80.0",
            "rvs_worker_rx_burst_size_count 8",
            r#"rvs_worker_rx_burst_size_bucket{le="1.0"} 4"#,
            r#"rvs_worker_rx_burst_size_bucket{le="7.0"} 6"#,
            r#"rvs_worker_rx_burst_size_bucket{le="+Inf"} 8"#,
            r#"rvs_mempool_available{pool="rvs_frames"} 99"#,
            r#"rvs_port_rx_missed_total{port="0",device="net_\"0"} 3"#,
            &format!("rvs_backend_draining{BACKEND} 1"),
        ],
    );
    assert!(text.ends_with("# EOF\n") && !text.contains("worker=") && !text.contains("node_ipvs"), "{text}");
    let text = scrape(Options { workers: true, backends: false, ..OPTIONS }).text();
    has(
        &text,
        &[
            r#"rvs_conn_entries{worker="1"} 5"#,
            r#"rvs_drops_total{worker="1",reason="no_route"} 1"#,
            r#"rvs_worker_rx_burst_size_bucket{le="3.0",worker="0"} 2"#,
        ],
    );
    assert!(!text.contains("_backend_"), "{text}");
}

#[test]
fn names_of_node_exporter_are_told_if_they_are_wanted() {
    let text = scrape(Options { node_names: true, ..OPTIONS }).text();
    let both = |rest: &str| has(&text, &[&format!("rvs_{rest}"), &format!("node_ipvs_{rest}")]);
    both("connections_total 20");
    both("outgoing_bytes_total 900");
    both(&format!("backend_connections_active{BACKEND} 3"));
    both(&format!("backend_weight{BACKEND} 0"));
    assert!(!text.contains("node_ipvs_backend_draining") && text.matches("# EOF").count() == 1, "{text}");
}

#[test]
fn no_series_is_told_twice() {
    let text = scrape(Options { node_names: true, workers: true, ..OPTIONS }).text();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let series = if line.starts_with('#') { line } else { line.rsplit_once(' ').expect("a value").0 };
        assert!(seen.insert(series), "{series} is there twice");
        let name = series.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        assert!(name.starts_with("rvs_") || name.starts_with("node_ipvs_") || line == "# EOF", "{line}");
    }
}

#[test]
fn the_dashboard_asks_only_for_what_is_told() {
    let text = scrape(OPTIONS).text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let told: BTreeMap<_, _> = lines.map(|line| (line.split(['{', ' ']).next().unwrap_or_default(), line)).collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../contrib/grafana-dashboard.json")).expect("JSON");
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let (expression, legend) =
                (target["expr"].as_str().expect("text"), target["legendFormat"].as_str().expect("text"));
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names: Vec<_> = words.filter(|word| word.starts_with("rvs_")).collect();
            let find = |name: &&str| *told.get(name).unwrap_or_else(|| panic!("{name} of {expression} does not exist"));
            let lines: Vec<_> = names.iter().map(find).collect();
            asked += lines.len();
            // The instance is the scraper's label.
            let labels = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            for label in labels.filter(|label| *label != "instance") {
                assert!(lines[0].contains(&format!("{label}=\"")), "{label} of {}", lines[0]);
            }
        }
    }
    assert!(asked > 20, "only {asked} names");
}
