//! ipvsadm's listings, byte for byte.

use super::names::Names;
use super::parse::{Columns, Form};
use crate::command::{
    ConnectionView, Counters, DaemonRole, DaemonSpec, Netmask, Origin, Rates, SchedulerFlags, ServerView, ServiceName,
    ServiceSpec, ServiceView, Timeouts,
};
use forwarder::service::{Method, Protocol, Tunnel, TunnelChecksum};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The first line of a list of all services: the version of IPVS that RVS is held against, and the kernel's table size.
pub const IPVS: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

/// An endpoint is cut to this many characters, a server's or a service's to the width of its column.
const ENDPOINT: usize = 59;
const COLUMN: usize = 28;

/// Turns addresses and ports into text.
#[derive(Clone, Copy)]
pub struct Endpoints<'a> {
    /// Where names come from; none for `-n`.
    pub names: Option<&'a dyn Names>,
}

impl Endpoints<'_> {
    /// `address:port`, with names where there are any. Without a protocol, ports have none.
    #[must_use]
    pub fn full(self, address: IpAddr, port: u16, protocol: Option<Protocol>) -> String {
        let host = self.names.and_then(|names| names.host(address)).unwrap_or_else(|| address.to_string());
        let service = match (self.names, protocol) {
            (Some(names), Some(protocol)) if port != 0 => names.service(port, protocol),
            _ => None,
        };
        let port = service.unwrap_or_else(|| port.to_string());
        if address.is_ipv4() { format!("{host}:{port}") } else { format!("[{host}]:{port}") }
    }

    fn cut(self, address: IpAddr, port: u16, protocol: Option<Protocol>, width: usize) -> String {
        let width = if address.is_ipv4() { width } else { ENDPOINT };
        self.full(address, port, protocol).chars().take(width).collect()
    }
}

/// A list of services, in the order given. `all` puts the line about IPVS first.
#[must_use]
pub fn services(services: &[ServiceView], form: &Form, all: bool, names: &dyn Names) -> String {
    let endpoints = Endpoints { names: (!form.numeric).then_some(names) };
    let mut text = String::from(if all { IPVS } else { "" });
    text += titles(form.columns);
    for view in services {
        service(&mut text, view, form, endpoints);
        for server in &view.servers {
            let address = endpoints.cut(server.spec.address, server.spec.port, protocol(view.spec.service), COLUMN);
            let _ = write!(text, "  -> {address:<COLUMN$}");
            self::server(&mut text, server, form);
            if form.ours {
                text.push_str(origin(server.origin));
                text.push_str(if server.drain.is_some() { " draining" } else { "" });
            }
            text.push('\n');
        }
    }
    text
}

fn titles(columns: Columns) -> &'static str {
    match columns {
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::Persistent => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        }
        Columns::Tunnel => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        }
        Columns::Plain => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
    }
}

/// The protocol by which a service's ports have names; a mark's have none.
fn protocol(name: ServiceName) -> Option<Protocol> {
    match name {
        ServiceName::Address { protocol, .. } => Some(protocol),
        ServiceName::Mark { .. } => None,
    }
}

fn service(text: &mut String, view: &ServiceView, form: &Form, endpoints: Endpoints<'_>) {
    let spec = &view.spec;
    let name = match spec.service {
        ServiceName::Address { protocol, address, port } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            format!("{word:<4} {}", endpoints.cut(address, port, Some(protocol), COLUMN))
        }
        ServiceName::Mark { mark, ipv6 } => format!("FWM  {mark}{}", if ipv6 { " IPv6" } else { "" }),
    };
    match form.columns {
        Columns::Stats => {
            let _ = write!(text, "{name:<33}");
            counters(view.statistics.counters).iter().for_each(|n| large(text, *n, form.exact));
        }
        Columns::Rate => {
            let _ = write!(text, "{name:<33}");
            rates(view.statistics.rates).iter().for_each(|n| large(text, *n, form.exact));
        }
        _ => {
            let _ = write!(text, "{name} {}", spec.scheduler);
            if !spec.flags.is_empty() {
                let _ = write!(text, " ({})", flags(spec));
            }
            if let Some(timeout) = spec.persistence {
                let _ = write!(text, " persistent {timeout}");
                if let Some(mask) = mask(spec) {
                    let _ = write!(text, " mask {mask}");
                }
                if let Some(engine) = &spec.engine {
                    let _ = write!(text, " pe {engine}");
                }
            }
            if spec.one_packet {
                text.push_str(" ops");
            }
        }
    }
    if form.ours {
        let _ = spec.name.iter().try_for_each(|name| write!(text, " name {name}"));
        text.push_str(origin(view.origin));
    }
    text.push('\n');
}

/// Where something came from, unless it was made at run time.
fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Runtime => "",
        Origin::File => " from file",
        Origin::FileEdited => " from file, edited",
    }
}

fn server(text: &mut String, view: &ServerView, form: &Form) {
    let spec = &view.spec;
    let (weight, active, inactive) = (spec.weight, view.active, view.inactive);
    let forward = forward(spec.method);
    let _ = match form.columns {
        Columns::Stats => {
            counters(view.statistics.counters).iter().for_each(|n| large(text, *n, form.exact));
            Ok(())
        }
        Columns::Rate => {
            // connections and packets are never shortened in a server's row
            let [connections, in_packets, out_packets, bytes @ ..] = rates(view.statistics.rates);
            let _ = write!(text, " {connections:>8} {in_packets:>8} {out_packets:>8}");
            bytes.iter().for_each(|n| large(text, *n, form.exact));
            Ok(())
        }
        Columns::Thresholds => {
            write!(text, " {:<10} {:<10} {active:<10} {inactive:<10}", spec.upper, spec.lower)
        }
        Columns::Persistent => {
            write!(text, " {weight:<9} {:<11} {active:<10} {inactive:<10}", view.persistent)
        }
        Columns::Tunnel => {
            write!(text, " {forward:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}", tunnel(spec.method))
        }
        Columns::Plain => write!(text, " {forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
    };
}

/// A method's name in lists.
#[must_use]
pub fn forward(method: Method) -> &'static str {
    match method {
        Method::Nat => "Masq",
        Method::Tun(_) => "Tunnel",
        Method::Dr => "Route",
        Method::Local => "Local",
    }
}

fn counters(counters: Counters) -> [u64; 5] {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes } = counters;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
}

fn rates(rates: Rates) -> [u64; 5] {
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = rates;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
}

/// A number in a column of nine, shortened if it needs to be and may.
fn large(text: &mut String, n: u64, exact: bool) {
    let _ = match n {
        _ if exact => write!(text, " {n:>8}"),
        0..100_000_000 => write!(text, "{n:>9}"),
        100_000_000..1_000_000_000 => write!(text, "{:>8}K", n / 1_000),
        1_000_000_000..100_000_000_000 => write!(text, "{:>8}M", n / 1_000_000),
        100_000_000_000..100_000_000_000_000 => write!(text, "{:>8}G", n / 1_000_000_000),
        _ => write!(text, "{:>8}T", n / 1_000_000_000_000),
    };
}

fn flags(spec: &ServiceSpec) -> String {
    let SchedulerFlags { flag1, flag2, flag3 } = spec.flags;
    let names = match spec.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = names.into_iter().zip([flag1, flag2, flag3]).filter(|(_, set)| *set);
    set.map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

/// The mask, unless each client stands for itself.
fn mask(spec: &ServiceSpec) -> Option<String> {
    match spec.netmask? {
        Netmask::Mask(mask) if mask.to_bits() == u32::MAX => None,
        Netmask::Mask(mask) => Some(mask.to_string()),
        Netmask::Prefix(128) => None,
        Netmask::Prefix(prefix) => Some(prefix.to_string()),
    }
}

fn tunnel(method: Method) -> String {
    let sum = |checksum| match checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Full => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match method {
        Method::Tun(Tunnel::Ipip) => "ipip".to_owned(),
        Method::Tun(Tunnel::Gue(port, checksum)) => format!("gue:{port}:{}", sum(checksum)),
        Method::Tun(Tunnel::Gre(checksum)) => format!("gre:{}", sum(checksum)),
        _ => "n/a".to_owned(),
    }
}

/// Services as the commands that make them (`-S`), in the order given. `full` adds thresholds, which ipvsadm forgets, and timeouts.
#[must_use]
pub fn rules(services: &[ServiceView], numeric: bool, full: bool, names: &dyn Names) -> String {
    let endpoints = Endpoints { names: (!numeric).then_some(names) };
    let mut text = String::new();
    for ServiceView { spec, servers, .. } in services {
        let name = match spec.service {
            ServiceName::Address { protocol, address, port } => {
                let option = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                };
                format!("{option} {}", endpoints.full(address, port, Some(protocol)))
            }
            ServiceName::Mark { mark, ipv6 } => format!("-f {mark}{}", if ipv6 { " -6" } else { "" }),
        };
        service_rule(&mut text, &name, spec, full);
        for ServerView { spec: server, .. } in servers {
            let address = endpoints.full(server.address, server.port, protocol(spec.service));
            let (method, tunnel) = method_options(server.method);
            let _ = write!(text, "-a {name} -r {address} {method} -w {}", server.weight);
            if full && server.upper != 0 {
                let _ = write!(text, " -x {}", server.upper);
            }
            if full && server.lower != 0 {
                let _ = write!(text, " -y {}", server.lower);
            }
            text += &tunnel;
            text.push('\n');
        }
    }
    text
}

fn service_rule(text: &mut String, name: &str, spec: &ServiceSpec, full: bool) {
    let _ = write!(text, "-A {name} -s {}", spec.scheduler);
    if let Some(timeout) = spec.persistence {
        let _ = write!(text, " -p {timeout}");
        if let Some(mask) = mask(spec) {
            let _ = write!(text, " -M {mask}");
        }
    }
    if let Some(engine) = &spec.engine {
        let _ = write!(text, " --pe {engine}");
    }
    if spec.one_packet {
        text.push_str(" -o");
    }
    if !spec.flags.is_empty() {
        let _ = write!(text, " -b {}", flags(spec));
    }
    if let (true, Some(Timeouts { tcp, tcp_fin, udp })) = (full, spec.timeouts) {
        let _ = write!(text, " --conn-timeouts {tcp}/{tcp_fin}/{udp}");
    }
    text.push('\n');
}

fn method_options(method: Method) -> (&'static str, String) {
    let sum = |checksum| match checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Full => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    match method {
        Method::Nat => ("-m", String::new()),
        Method::Dr | Method::Local => ("-g", String::new()),
        Method::Tun(Tunnel::Ipip) => ("-i", " --tun-type ipip".to_owned()),
        Method::Tun(Tunnel::Gue(port, checksum)) => {
            ("-i", format!(" --tun-type gue --tun-port {port} {}", sum(checksum)))
        }
        Method::Tun(Tunnel::Gre(checksum)) => ("-i", format!(" --tun-type gre {}", sum(checksum))),
    }
}

/// `--set`, as `-S --full` writes it.
#[must_use]
pub fn timeouts_rule(timeouts: &Timeouts) -> String {
    format!("--set {} {} {}\n", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
}

/// `--start-daemon`, as `-S --full` writes it.
#[must_use]
pub fn daemon_rule(daemon: &DaemonSpec) -> String {
    let mut text =
        format!("--start-daemon {} --mcast-interface {} --syncid {}", role(daemon), daemon.interface, daemon.sync_id);
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " --{name} {value}");
        }
    };
    option("sync-maxlen", daemon.max_len.map(|value| value.to_string()));
    option("mcast-group", daemon.group.map(|value| value.to_string()));
    option("mcast-port", daemon.port.map(|value| value.to_string()));
    option("mcast-ttl", daemon.ttl.map(|value| value.to_string()));
    text + "\n"
}

fn role(daemon: &DaemonSpec) -> &'static str {
    match daemon.role {
        DaemonRole::Master => "master",
        DaemonRole::Backup => "backup",
    }
}

/// `-L --timeout`.
#[must_use]
pub fn timeouts(timeouts: &Timeouts) -> String {
    format!("Timeout (tcp tcpfin udp): {} {} {}\n", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
}

/// `-L --daemon`.
#[must_use]
pub fn daemons(daemons: &[DaemonSpec]) -> String {
    let mut text = String::new();
    for daemon in daemons {
        let _ = write!(text, "{} sync daemon (mcast={}, syncid={}", role(daemon), daemon.interface, daemon.sync_id);
        let mut part = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = write!(text, ", {name}={value}");
            }
        };
        part("maxlen", daemon.max_len.map(|value| value.to_string()));
        part("group", daemon.group.map(|value| value.to_string()));
        part("port", daemon.port.map(|value| value.to_string()));
        part("ttl", daemon.ttl.map(|value| value.to_string()));
        text += ")\n";
    }
    text
}

/// The lines above a list of connections.
#[must_use]
pub fn connection_titles(form: &Form) -> &'static str {
    if form.persistent {
        "IPVS connection entries\npro expire state       source             virtual            destination        pe name          pe_data\n"
    } else {
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
    }
}

/// Ends a list whose rest never came: whoever sees only the list must not take it for whole. It makes broken JSON, too.
pub const BROKEN_OFF: &str = "*** the list breaks off here\n";

/// A row of a list of connections.
#[must_use]
pub fn connection(view: &ConnectionView, form: &Form, names: &dyn Names) -> String {
    let endpoints = Endpoints { names: (!form.numeric).then_some(names) };
    let protocol = match view.protocol.as_str() {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    };
    let text = |address, port| endpoints.cut(address, port, protocol, ENDPOINT);
    let expires = format!("{:02}:{:02}", view.expires / 60, view.expires % 60);
    let mut row = format!(
        "{:<3} {expires:<6} {:<11} {:<18} {:<18} {}",
        view.protocol,
        view.state,
        text(view.client, view.client_port),
        text(view.target, view.target_port),
        text(view.server, view.server_port),
    );
    if let Some((name, data)) = view.engine.as_ref().filter(|_| form.persistent) {
        let _ = write!(row, " {name:<18} {data}");
    }
    row.push('\n');
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ipvsadm 1.31 prints of these numbers.
    #[test]
    fn large_numbers_lose_digits_unless_exact() {
        let rows = [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (1_000_000_000, "    1000M", " 1000000000"),
            (99_999_999_999, "   99999M", " 99999999999"),
            (100_000_000_000, "     100G", " 100000000000"),
            (1_000_000_000_000, "    1000G", " 1000000000000"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
        ];
        for (n, short, whole) in rows {
            let text = |exact| {
                let mut text = String::new();
                large(&mut text, n, exact);
                text
            };
            assert_eq!((text(false), text(true)), (short.to_owned(), whole.to_owned()), "{n}");
        }
    }

    #[test]
    fn connections() {
        let mut view = ConnectionView {
            protocol: "UDP".into(),
            expires: 297,
            state: "UDP".into(),
            client: "127.0.0.1".parse().unwrap(),
            client_port: 0,
            target: "172.16.0.1".parse().unwrap(),
            target_port: 5060,
            server: "192.168.1.3".parse().unwrap(),
            server_port: 5060,
            engine: Some(("sip".into(), "12734@example.com".into())),
        };
        let names = super::super::names::Table::parse("127.0.0.1 localhost\n", "sip 5060/udp\nhttp 80/tcp\n");
        let row = |view: &ConnectionView, numeric, persistent| {
            connection(view, &Form { numeric, persistent, ..Form::default() }, &names)
        };
        let rows = [
            (
                row(&view, true, false),
                "UDP 04:57  UDP         127.0.0.1:0        172.16.0.1:5060    192.168.1.3:5060\n",
            ),
            (
                row(&view, false, false),
                "UDP 04:57  UDP         localhost:0        172.16.0.1:sip     192.168.1.3:sip\n",
            ),
            (
                row(&view, true, true),
                "UDP 04:57  UDP         127.0.0.1:0        172.16.0.1:5060    192.168.1.3:5060 sip                12734@example.com\n",
            ),
        ];
        rows.iter().for_each(|(got, expected)| assert_eq!(got, expected));
        view.protocol = "IP".into();
        view.expires = 100_000;
        view.target_port = 80;
        assert_eq!(
            row(&view, false, false),
            "IP  1666:40 UDP         localhost:0        172.16.0.1:80      192.168.1.3:5060\n",
            "ports have no names without a protocol"
        );
    }

    #[test]
    fn long_names_are_cut_in_lists_and_whole_in_rules() {
        let host = "abcdefghijklmnopqrstuvwxyz0123456789";
        let names = super::super::names::Table::parse(&format!("1.2.3.4 {host}\n"), "");
        let spec = ServiceSpec::new(ServiceName::Address {
            protocol: Protocol::Sctp,
            address: "1.2.3.4".parse().unwrap(),
            port: 81,
        });
        let view =
            [ServiceView { spec, statistics: Default::default(), servers: Vec::new(), origin: Default::default() }];
        let list = services(&view, &Form::default(), false, &names);
        assert_eq!(list.lines().last(), Some("SCTP abcdefghijklmnopqrstuvwxyz01 wlc"));
        assert_eq!(rules(&view, false, false, &names), format!("-A --sctp-service {host}:81 -s wlc\n"));
    }
}
