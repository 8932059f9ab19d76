//! Names as this machine knows them: its resolver for hosts, `/etc/services` for services.

use super::names::{Names, Services};
use forwarder::service::Protocol;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::Mutex;

/// Names that are remembered; a list of connections may have any number of clients.
const REMEMBERED: usize = 16 * 1024;

/// The machine's names. Those looked up last are remembered: a list repeats them, and the resolver may be slow.
#[derive(Debug, Default)]
pub struct SystemNames {
    services: Services,
    hosts: Mutex<HashMap<IpAddr, Option<String>>>,
}

impl SystemNames {
    /// Reads `/etc/services`; without it, services have no names.
    #[must_use]
    pub fn new() -> Self {
        let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
        Self { services: Services::parse(&services), hosts: Mutex::default() }
    }
}

impl Names for SystemNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        // what looks like an address and is none has no name either: do not bother the resolver
        if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        let mut addresses = (host, 0).to_socket_addrs().ok()?;
        addresses.find_map(|address| match address.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        })
    }

    fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        self.services.port(service, protocol)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        let known = self.hosts.lock().ok().and_then(|hosts| hosts.get(&address).cloned());
        known.unwrap_or_else(|| {
            let name = dns_lookup::lookup_addr(&address).ok().filter(|name| name.parse::<IpAddr>().is_err());
            if let Ok(mut hosts) = self.hosts.lock() {
                if hosts.len() >= REMEMBERED {
                    hosts.clear();
                }
                hosts.insert(address, name.clone());
            }
            name
        })
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services.name(port, protocol)
    }
}
