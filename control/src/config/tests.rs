mod reload;
mod services;

use super::values::pci;
use super::*;
use crate::kernel::Network;
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// The mistakes in a file, as an operator reads them.
fn mistakes(text: &str) -> Vec<String> {
    match Config::parse(text) {
        Ok(config) => panic!("no mistake found: {config:?}"),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn an_empty_file_has_the_defaults() {
    assert_eq!(Config::parse(""), Ok(Config::default()));
    assert_eq!(Config::default().log, Log { level: Level::Info, format: Format::Text });
}

#[test]
fn a_whole_file_is_understood() {
    let config = Config::parse(
        r#"
        [eal]
        args = ["-l", "0,2", "--in-memory"]

        [[port]]
        device = "3B:00.0"
        kernel = "wan"
        queues = 2
        mtu = 9000

        [[port]]
        device = 1
        side = "inside"

        [[port]]
        device = "net_pcap0"
        kernel = false
        addresses = ["10.0.0.254/24", "10.9.0.1/32"]

        [control]
        socket = "/tmp/control.sock"

        [log]
        level = "debug"
        format = "json"

        [connections]
        capacity = 1_000_000

        [[neighbour]]
        port = "net_pcap0"
        address = "10.0.0.7"
        mac = "02:00:00:00:00:0A"

        [[route]]
        to = "default"
        via = "10.0.0.1"

        [[route]]
        to = "192.0.2.0/24"
        via = "10.0.0.7"

        [marks]
        rules = ["tcp port 80 set 1"]

        [settings]
        expire_nodest_conn = true
        sync_threshold = [3, 50]
        lblc_expiration = 60
        "#,
    )
    .unwrap();
    let expected = Config {
        eal: ["-l", "0,2", "--in-memory"].map(str::to_owned).to_vec(),
        ports: vec![
            Port {
                device: Device::Name("0000:3b:00.0".to_owned()),
                kernel: Some("wan".to_owned()),
                queues: Some(2),
                side: None,
                mtu: Some(9000),
                addresses: vec![],
            },
            Port {
                device: Device::Number(1),
                kernel: Some("lvs1".to_owned()),
                queues: None,
                side: Some(Side::Inside),
                mtu: None,
                addresses: vec![],
            },
            Port {
                device: Device::Name("net_pcap0".to_owned()),
                kernel: None,
                queues: None,
                side: None,
                mtu: None,
                addresses: vec![
                    Network { address: ip("10.0.0.254"), prefix: 24 },
                    Network { address: ip("10.9.0.1"), prefix: 32 },
                ],
            },
        ],
        socket: Some("/tmp/control.sock".into()),
        log: Log { level: Level::Debug, format: Format::Json },
        capacity: Some(1_000_000),
        neighbours: vec![FixedNeighbour { port: 2, address: ip("10.0.0.7"), mac: [2, 0, 0, 0, 0, 10] }],
        routes: vec![
            FixedRoute { network: Network { address: ip("0.0.0.0"), prefix: 0 }, gateway: ip("10.0.0.1") },
            FixedRoute { network: Network { address: ip("192.0.2.0"), prefix: 24 }, gateway: ip("10.0.0.7") },
        ],
        marks: vec!["tcp port 80 set 1".parse().unwrap()],
        settings: [("expire_nodest_conn", "1"), ("lblc_expiration", "60"), ("sync_threshold", "3 50")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..Config::default()
    };
    assert_eq!(config, expected);

    let fixed = config.fixed(|port| ([2, 0, 0, 0, 0, port as u8], 1400));
    assert_eq!(fixed.ports.len(), 1, "only the port without a kernel interface");
    assert_eq!((fixed.ports[0].port, fixed.ports[0].mac, fixed.ports[0].mtu), (2, [2, 0, 0, 0, 0, 2], 1400));
    assert!(fixed.events().is_ok());
}

#[test]
fn the_documented_file_is_right() {
    let config = Config::parse(include_str!("../../../docs/rvs.toml")).unwrap();
    assert_eq!((config.ports.len(), config.neighbours.len(), config.routes.len()), (2, 1, 1));
    assert!(config.fixed(|_| ([2; 6], 1500)).routes(2).is_ok());
}

#[test]
fn a_mistyped_key_is_guessed() {
    for (text, expected) in [
        (
            "[[port]]\ndevise = \"net_tap0\"\n",
            "line 2, column 1: unknown field `devise`, expected one of `device`, `kernel`, `queues`, `side`, `mtu`, \
             `addresses` (did you mean 'device'?)",
        ),
        (
            "[log]\nlevel = \"inof\"",
            "line 2, column 9: unknown variant `inof`, expected one of `error`, `warn`, `info`, `debug`, `trace` (did you \
             mean 'info'?)",
        ),
        ("[control]\nxyzzy = 1", "line 2, column 1: unknown field `xyzzy`, expected `socket`"),
        (
            "\n  [contorl]\n",
            "line 2, column 4: unknown field `contorl`, expected one of `eal`, `port`, `control`, `log`, `metrics`, \
             `connections`, `workers`, `timeouts`, `neighbour`, `route`, `marks`, `exceptions`, `settings`, `service`, \
             `sync` (did you mean 'control'?)",
        ),
    ] {
        assert_eq!(mistakes(text), [expected]);
    }
}

#[test]
fn wrong_types_and_text_that_is_no_toml_say_where() {
    for (text, place) in [
        ("[[port]]\n", "line 1, column 1: missing field `device`"),
        ("[[port]]\ndevice = 1.5\n", "line 2, column 10: invalid type: floating point `1.5`, expected a PCI address"),
        (
            "[[port]]\ndevice = 1\nkernel = true\n",
            "line 3, column 10: invalid value: boolean `true`, expected the name",
        ),
        ("[[port]]\ndevice = 1\nmtu = \"big\"\n", "line 3, column 7: invalid type: string \"big\", expected i64"),
        ("[settings]\nx = \"1\"\n", "line 2, column 5: invalid type: string \"1\", expected a number"),
        ("[log\n", "line 1, column 5: "),
        ("é = 'ü'\u{1}", "line 1, column "),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(place), "{text:?}: {}", found[0]);
        assert_eq!(found[0].lines().count(), 1, "one line: {}", found[0]);
    }
}

#[test]
fn every_wrong_value_is_found_at_its_place() {
    let text = r#"
[eal]
args = ["-l", "0", "--"]

[[port]]
device = "0000:zz:00.0"
kernel = "a/b"
queues = 0
mtu = 67

[[port]]
device = "net_tap0"
kernel = "lvs9"
addresses = ["10.0.0.1/24"]

[[port]]
device = "net_tap0"
kernel = "lvs9"

[[port]]
device = "net_pcap0"
kernel = false
addresses = ["10.0.0.1"]

[control]
socket = "control.sock"

[connections]
capacity = 0

[[neighbour]]
port = "net_pcap1"
address = "10.0.0"
mac = "01:00:00:00:00:01"

[[neighbour]]
port = 1
address = "10.0.0.9"
mac = "2:0:0:0:0:1"

[[route]]
to = "10.0.0.1/24"
via = "10.9.0.1"
"#;
    let expected = [
        "line 3, column 20: '--' ends DPDK's arguments on the command line; it has no place here",
        "line 6, column 10: '0000:zz:00.0' is no PCI address: it looks like 0000:3b:00.0 (dpdk-devbind.py --status lists them)",
        "line 7, column 10: 'a/b' is no name for an interface: 1 to 15 bytes, without '/', ':' and blanks",
        "line 8, column 10: the number of queues is 1 to 1024, not 0",
        "line 9, column 7: an MTU is 68 to 65535, not 67",
        "line 14, column 14: a port with a kernel interface has its addresses there: ip address add 10.0.0.1/24 dev lvs9",
        "line 17, column 10: this device is port 1 already",
        "line 18, column 10: 'lvs9' is the kernel interface of port 1 already",
        "line 23, column 14: '10.0.0.1' is no address with its prefix length, like 10.0.0.1/24",
        "line 26, column 10: the socket's path 'control.sock' does not begin with '/'",
        "line 29, column 12: the capacity is 1 to 1073741824, not 0",
        "line 32, column 8: no [[port]] has the device 'net_pcap1' (did you mean 'net_pcap0'?)",
        "line 33, column 11: '10.0.0' is no IPv4 address",
        "line 34, column 7: '01:00:00:00:00:01' is a group's MAC address, not that of a neighbour",
        "line 37, column 8: a port with a kernel interface is told there: ip neigh replace 10.0.0.9 lladdr 2:0:0:0:0:1 dev lvs9",
        "line 42, column 6: '10.0.0.1/24' is an address inside a network (did you mean '10.0.0.0/24'?)",
        "line 43, column 7: no port has the gateway 10.9.0.1 in its network: give a port an address there, or the gateway a \
         [[neighbour]]",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn a_default_name_that_is_taken_is_a_mistake() {
    let text = "[[port]]\ndevice = 0\nkernel = \"lvs1\"\n[[port]]\ndevice = 1\n";
    let expected = "line 5, column 10: its kernel interface would be 'lvs1', which is that of port 0: give it another name \
                    with kernel = \"…\"";
    assert_eq!(mistakes(text), [expected]);
}

#[test]
fn settings_are_those_of_the_kernel() {
    let text = "[settings]\nexpire_nodest_con = 1\nsecure_tcp = 4\nsync_threshold = 3\n";
    let expected = [
        "line 2, column 1: there is no setting 'expire_nodest_con' (did you mean 'expire_nodest_conn'?)",
        "line 3, column 14: '4' is no value for secure_tcp (0 to 3)",
        "line 4, column 18: '3' is no value for sync_threshold (2 numbers from 0 to 2147483647)",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn neighbours_and_gateways_are_hosts() {
    let text = "[[port]]\ndevice = 0\nkernel = false\n[[neighbour]]\nport = 0\naddress = \"224.0.0.1\"\n\
                mac = \"0:0:0:0:0:0\"\n[[route]]\nto = \"10.1.2.3\"\nvia = \"0.0.0.0\"\n";
    let expected = [
        "line 6, column 11: '224.0.0.1' is not the address of one host",
        "line 7, column 7: '0:0:0:0:0:0' is nobody's MAC address",
        "line 10, column 7: '0.0.0.0' is not the address of one host",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn pci_addresses_are_named_as_dpdk_names_them() {
    for (written, named) in [
        ("0000:3b:00.0", Some("0000:3b:00.0")),
        ("3b:00.1", Some("0000:3b:00.1")),
        ("0:3B:1f.7", Some("0000:3b:1f.7")),
        ("10000:01:00.0", Some("10000:01:00.0")),
        ("3b:20.0", None),
        ("3b:00.8", None),
        ("3b:00", None),
        ("0:0:3b:00.0", None),
        (":00.0", None),
        ("+1:00.0", None),
    ] {
        assert_eq!(pci(written).as_deref(), named, "{written}");
    }
}

#[test]
fn marking_rules_are_read_in_their_order() {
    let config = Config::parse("[marks]\nrules = [\"tcp port 80 set 1\", \"set 2\"]\n").unwrap();
    assert_eq!(config.marks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tcp port 80 set 1", "set 2"]);
    let mistakes = Config::parse("[marks]\nrules = [\"set 1\", \"set 1\", \"set 0\"]\n").unwrap_err();
    let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.column, mistake.message.as_str())).collect();
    assert_eq!(told, [(19, "Marking rule already exists"), (28, "bad marking rule: a mark is 1 to 4294967295")]);
}

#[test]
fn a_file_that_is_wrong_or_missing_is_named() {
    let missing = Config::load(Path::new("/nonexistent/rvs.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read /nonexistent/rvs.toml: "), "{missing}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rvs.toml");
    std::fs::write(&path, "[connections]\ncapacity = 0\n").unwrap();
    let wrong = Config::load(&path).unwrap_err().to_string();
    assert!(wrong.ends_with("rvs.toml: line 2, column 12: the capacity is 1 to 1073741824, not 0"), "{wrong}");
}

proptest! {
    #[test]
    fn no_text_is_trouble(text in "(\\[\\[(port|route|neighbour)\\]\\]\n|[a-z]{1,9} = (\"[^\"\n]{0,20}\"|[0-9-]{1,20})\n|.{0,20}\n){0,8}") {
        if let Err(mistakes) = Config::parse(&text) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|mistake| mistake.line <= text.matches('\n').count() + 1));
        }
    }
}
