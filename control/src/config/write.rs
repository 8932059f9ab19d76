//! A configuration as the text of a file: what is read from it is the same configuration.

use super::{Config, Device, Format, Idle, Level, Metrics, Port, Service, Side};
use crate::command::{DaemonRole, DaemonSpec, Netmask, SchedulerFlags, ServerSpec, ServiceName, Timeouts};
use crate::kernel::Network;
use forwarder::police::Class;
use forwarder::service::{Method, Protocol, Tunnel, TunnelChecksum};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

impl Config {
    /// The text of a file that says this, and nothing that is so without it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.eal.is_empty() {
            section(&mut text, "[eal]", [("args", list(self.eal.iter().map(|argument| quoted(argument))))]);
        }
        for port in &self.ports {
            self.port(&mut text, port);
        }
        for neighbour in &self.neighbours {
            let mac = neighbour.mac.map(|byte| format!("{byte:02x}")).join(":");
            let fields = [
                ("port", neighbour.port.to_string()),
                ("address", quoted(&neighbour.address.to_string())),
                ("mac", quoted(&mac)),
            ];
            section(&mut text, "[[neighbour]]", fields);
        }
        for route in &self.routes {
            let fields = [("to", quoted(&network(&route.network))), ("via", quoted(&route.gateway.to_string()))];
            section(&mut text, "[[route]]", fields);
        }
        if let Some(socket) = &self.socket {
            section(&mut text, "[control]", [("socket", quoted(&socket.to_string_lossy()))]);
        }
        let log = [
            ("level", (self.log.level != Level::default()).then(|| quoted(level(self.log.level)))),
            ("format", (self.log.format != Format::default()).then(|| quoted("json"))),
        ];
        section(&mut text, "[log]", said(log));
        let (metrics, usual) = (&self.metrics, Metrics::default());
        let listen = metrics.listen.map_or("false".to_owned(), |at| quoted(&at.to_string()));
        let metrics = [
            ("listen", (metrics.listen != usual.listen).then_some(listen)),
            ("backends", (metrics.backends != usual.backends).then(|| metrics.backends.to_string())),
            ("workers", (metrics.workers != usual.workers).then(|| metrics.workers.to_string())),
            ("node_names", (metrics.node_names != usual.node_names).then(|| metrics.node_names.to_string())),
            ("procfs", metrics.procfs.as_ref().map(|path| quoted(&path.display().to_string()))),
        ];
        section(&mut text, "[metrics]", said(metrics));
        section(&mut text, "[connections]", said([("capacity", self.capacity.map(|capacity| capacity.to_string()))]));
        section(&mut text, "[workers]", said([("idle", (self.idle == Idle::Pause).then(|| quoted("pause")))]));
        section(&mut text, "[timeouts]", said(timeout_fields(self.timeouts)));
        if !self.marks.is_empty() {
            let rules = self.marks.iter().map(|rule| format!("\n    {}", quoted(&rule.to_string())));
            let rules = format!("[{},\n]", rules.collect::<Vec<_>>().join(","));
            section(&mut text, "[marks]", [("rules", rules)]);
        }
        let limits = Class::ALL.into_iter().zip(self.exceptions);
        let limits = limits.filter_map(|(class, limit)| Some((class.name(), limit?.to_string())));
        section(&mut text, "[exceptions]", limits);
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), setting(value)));
        section(&mut text, "[settings]", settings);
        for daemon in &self.daemons {
            self.daemon(&mut text, daemon);
        }
        for service in &self.services {
            self.service(&mut text, service);
        }
        text
    }

    fn port(&self, text: &mut String, port: &Port) {
        let number = self.ports.iter().position(|other| std::ptr::eq(other, port)).unwrap_or_default();
        let device = match &port.device {
            Device::Number(number) => number.to_string(),
            Device::Name(name) => quoted(name),
        };
        let kernel = match &port.kernel {
            None => Some("false".to_owned()),
            Some(name) if *name == format!("lvs{number}") => None,
            Some(name) => Some(quoted(name)),
        };
        let side = port.side.map(|side| match side {
            Side::Outside => quoted("outside"),
            Side::Inside => quoted("inside"),
        });
        let addresses = list(port.addresses.iter().map(|address| quoted(&network_of(address))));
        let fields = [
            ("device", Some(device)),
            ("kernel", kernel),
            ("queues", port.queues.map(|queues| queues.to_string())),
            ("side", side),
            ("mtu", port.mtu.map(|mtu| mtu.to_string())),
            ("addresses", (!port.addresses.is_empty()).then_some(addresses)),
        ];
        section(text, "[[port]]", said(fields));
    }

    fn daemon(&self, text: &mut String, daemon: &DaemonSpec) {
        let role = match daemon.role {
            DaemonRole::Master => "master",
            DaemonRole::Backup => "backup",
        };
        let fields = [
            ("role", Some(quoted(role))),
            ("interface", Some(quoted(&daemon.interface))),
            ("id", (daemon.sync_id != 0).then(|| daemon.sync_id.to_string())),
            ("max_len", daemon.max_len.map(|length| length.to_string())),
            ("group", daemon.group.map(|group| quoted(&group.to_string()))),
            ("port", daemon.port.map(|port| port.to_string())),
            ("ttl", daemon.ttl.map(|ttl| ttl.to_string())),
        ];
        section(text, "[[sync]]", said(fields));
    }

    fn service(&self, text: &mut String, Service { spec, servers }: &Service) {
        let name = match spec.service {
            ServiceName::Mark { mark, .. } => ("fwmark", mark.to_string()),
            ServiceName::Address { protocol, address, port } => {
                let protocol = match protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                };
                (protocol, quoted(&endpoint(address, port)))
            }
        };
        let netmask = spec.netmask.map(|netmask| match netmask {
            Netmask::Mask(mask) => quoted(&mask.to_string()),
            Netmask::Prefix(bits) => bits.to_string(),
        });
        let fields = [
            (name.0, Some(name.1)),
            ("ipv6", matches!(spec.service, ServiceName::Mark { ipv6: true, .. }).then(|| "true".to_owned())),
            ("name", spec.name.as_deref().map(quoted)),
            ("scheduler", Some(quoted(&spec.scheduler))),
            ("flags", (!spec.flags.is_empty()).then(|| flags(spec.flags))),
            ("persistent", spec.persistence.map(duration)),
            ("netmask", netmask),
            ("pe", spec.engine.as_deref().map(quoted)),
            ("ops", spec.one_packet.then(|| "true".to_owned())),
            ("timeouts", spec.timeouts.map(timeouts)),
        ];
        section(text, "[[service]]", said(fields));
        for server in servers {
            section(text, "[[service.server]]", said(server_fields(server)));
        }
    }
}

fn server_fields(server: &ServerSpec) -> [(&'static str, Option<String>); 8] {
    let (method, tunnel) = match server.method {
        Method::Nat => ("nat", None),
        Method::Tun(tunnel) => ("tun", Some(tunnel)),
        Method::Dr | Method::Local => ("dr", None),
    };
    let (kind, port, checksum) = match tunnel {
        None | Some(Tunnel::Ipip) => (None, None, TunnelChecksum::None),
        Some(Tunnel::Gue(port, checksum)) => (Some("gue"), Some(port), checksum),
        Some(Tunnel::Gre(checksum)) => (Some("gre"), None, checksum),
    };
    let checksum = match checksum {
        TunnelChecksum::None => None,
        TunnelChecksum::Full => Some("full"),
        TunnelChecksum::Remote => Some("remote"),
    };
    [
        ("address", Some(quoted(&endpoint(server.address, server.port)))),
        ("method", Some(quoted(method))),
        ("tunnel", kind.map(quoted)),
        ("tunnel_port", port.map(|port| port.to_string())),
        ("tunnel_checksum", checksum.map(quoted)),
        ("weight", (server.weight != 1).then(|| server.weight.to_string())),
        ("upper", (server.upper != 0).then(|| server.upper.to_string())),
        ("lower", (server.lower != 0).then(|| server.lower.to_string())),
    ]
}

/// A header and its keys, if there is any.
fn section<'a>(text: &mut String, header: &str, fields: impl IntoIterator<Item = (&'a str, String)>) {
    let mut fields = fields.into_iter().peekable();
    if fields.peek().is_none() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{header}");
    for (name, value) in fields {
        let _ = writeln!(text, "{name} = {value}");
    }
}

fn said<const N: usize>(fields: [(&'static str, Option<String>); N]) -> impl Iterator<Item = (&'static str, String)> {
    fields.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn duration(seconds: u32) -> String {
    let (number, unit) = match seconds {
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "d"),
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
        _ if seconds.is_multiple_of(60) && seconds > 900 => (seconds / 60, "m"),
        _ => (seconds, "s"),
    };
    quoted(&format!("{number}{unit}"))
}

fn timeout_fields(Timeouts { tcp, tcp_fin, udp }: Timeouts) -> [(&'static str, Option<String>); 3] {
    [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)].map(|(name, s)| (name, (s > 0).then(|| duration(s))))
}

fn timeouts(timeouts: Timeouts) -> String {
    let fields: Vec<String> = said(timeout_fields(timeouts)).map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

fn network(network: &Network) -> String {
    match network.prefix {
        0 => "default".to_owned(),
        _ => network_of(network),
    }
}

fn network_of(Network { address, prefix }: &Network) -> String {
    format!("{address}/{prefix}")
}

fn flags(flags: SchedulerFlags) -> String {
    let names = [(flags.flag1, "flag-1"), (flags.flag2, "flag-2"), (flags.flag3, "flag-3")];
    list(names.into_iter().filter(|(set, _)| *set).map(|(_, name)| quoted(name)))
}

/// A setting's value: one number, or a list of several.
fn setting(value: &str) -> String {
    let numbers: Vec<&str> = value.split_whitespace().collect();
    match numbers.as_slice() {
        [number] => (*number).to_owned(),
        numbers => list(numbers.iter().map(|number| (*number).to_owned())),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}
