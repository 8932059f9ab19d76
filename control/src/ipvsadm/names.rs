//! Names of hosts and services.

use forwarder::service::Protocol;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where names are looked up. A trait, so that the parser and the listings are pure.
pub trait Names {
    /// The IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The port of a service.
    fn port(&self, service: &str, protocol: Protocol) -> Option<u16>;
    /// The name of a host.
    fn host(&self, address: IpAddr) -> Option<String>;
    /// The name of a service.
    fn service(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// The name of a protocol in `/etc/services`.
fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// Services as `/etc/services` lists them (services(5)).
#[derive(Clone, Debug, Default)]
pub struct Services {
    ports: HashMap<(String, String), u16>,
    names: HashMap<(u16, String), String>,
}

impl Services {
    /// Reads the text of such a file. The first line about a name or a port wins.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(name), Some((port, protocol))) = (words.next(), words.next().and_then(|w| w.split_once('/')))
            else {
                continue;
            };
            let Ok(port) = port.parse() else { continue };
            services.names.entry((port, protocol.to_owned())).or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services.ports.entry((name.to_owned(), protocol.to_owned())).or_insert(port);
            }
        }
        services
    }

    /// The port of a service, by name or alias.
    #[must_use]
    pub fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        self.ports.get(&(service.to_owned(), protocol_name(protocol).to_owned())).copied()
    }

    /// The name of the service on a port.
    #[must_use]
    pub fn name(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.names.get(&(port, protocol_name(protocol).to_owned())).cloned()
    }
}

/// A table of names in memory.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Services.
    pub services: Services,
    addresses: HashMap<String, Ipv4Addr>,
    hosts: HashMap<IpAddr, String>,
}

impl Table {
    /// Reads texts like `/etc/hosts` (hosts(5)) and `/etc/services`.
    #[must_use]
    pub fn parse(hosts: &str, services: &str) -> Self {
        let mut table = Self { services: Services::parse(services), ..Self::default() };
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(Ok(address)), Some(name)) = (words.next().map(str::parse::<IpAddr>), words.next()) else {
                continue;
            };
            table.hosts.entry(address).or_insert_with(|| name.to_owned());
            if let IpAddr::V4(v4) = address {
                for name in std::iter::once(name).chain(words) {
                    table.addresses.entry(name.to_owned()).or_insert(v4);
                }
            }
        }
        table
    }
}

impl Names for Table {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.addresses.get(host).copied()
    }
    fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        self.services.port(service, protocol)
    }
    fn host(&self, address: IpAddr) -> Option<String> {
        self.hosts.get(&address).cloned()
    }
    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services.name(port, protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_library_reads_them() {
        let hosts = "# hosts\n127.0.0.1 localhost\n172.16.0.9 vip9.example.com vip9 # the VIP\n::1 localhost6\nbad\n";
        let services =
            "http\t80/tcp\twww # WorldWideWeb\ndomain 53/tcp\ndomain 53/udp\nkerberos 88/tcp kerberos5\nx y/tcp\n";
        let names = Table::parse(hosts, services);
        let vip = Ipv4Addr::new(172, 16, 0, 9);
        assert_eq!((names.address("vip9"), names.address("vip9.example.com")), (Some(vip), Some(vip)));
        assert_eq!(names.address("localhost6"), None);
        assert_eq!(names.host(IpAddr::V4(vip)).as_deref(), Some("vip9.example.com"));
        assert_eq!(names.port("www", Protocol::Tcp), Some(80));
        assert_eq!(names.port("www", Protocol::Udp), None);
        assert_eq!(names.service(53, Protocol::Udp).as_deref(), Some("domain"));
        assert_eq!(names.service(81, Protocol::Tcp), None);
    }
}
