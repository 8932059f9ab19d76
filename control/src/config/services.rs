//! Services and servers of the file: values by their places, then the whole by the rules that commands obey.

use super::check::Check;
use super::mistake::did_you_mean;
use super::{Service, raw};
use crate::command::{
    Command, ConnectionPage, Counters, DaemonSpec, Error, Netmask, Reply, SchedulerFlags, ServerSpec, ServiceName,
    ServiceSpec, Timeouts,
};
use crate::ipvsadm::Executor;
use crate::ipvsadm::address::endpoint;
use crate::ipvsadm::names::Table;
use crate::state::{Limits, Live, Observed, State, check_name};
use forwarder::clock::Tick;
use forwarder::scheduler::SCHEDULERS;
use forwarder::service::{DestId, Method, Protocol, Tunnel, TunnelChecksum};
use std::net::IpAddr;
use std::ops::Range;
use toml::Spanned;

/// The longest timeout, seconds: 31 days.
const LONGEST: u32 = 31 * 86_400;

impl Check<'_> {
    /// Services and daemons that a director would take, one after the other.
    pub(super) fn services(
        &mut self,
        services: Vec<Spanned<raw::Service>>,
        daemons: Vec<Spanned<raw::Sync>>,
    ) -> (Vec<Service>, Vec<DaemonSpec>) {
        let limits = Limits { services: u32::MAX, destinations: u32::MAX };
        let mut trial = Trial::new(limits);
        let daemons = daemons.into_iter().filter_map(|daemon| {
            let span = daemon.span();
            let spec = self.daemon(daemon.into_inner())?;
            self.try_out(&mut trial, span, Command::StartDaemon(spec.clone())).then_some(spec)
        });
        let daemons = daemons.collect();
        let services = services.into_iter().filter_map(|service| self.service(service, &mut trial)).collect();
        (services, daemons)
    }

    pub(super) fn timeouts(&mut self, timeouts: raw::Timeouts) -> Timeouts {
        let mut take = |timeout: Option<Spanned<raw::Duration>>| timeout.and_then(|it| self.duration(it)).unwrap_or(0);
        Timeouts { tcp: take(timeouts.tcp), tcp_fin: take(timeouts.tcp_fin), udp: take(timeouts.udp) }
    }

    fn duration(&mut self, duration: Spanned<raw::Duration>) -> Option<u32> {
        let raw::Duration(seconds) = *duration.get_ref();
        let fits = (1..=LONGEST).contains(&seconds).then_some(seconds);
        self.take(duration.span(), fits.ok_or_else(|| "a timeout is 1 second to 31 days".to_owned()))
    }

    /// True if the director would do it; a mistake there if not.
    fn try_out(&mut self, trial: &mut Trial, span: Range<usize>, command: Command) -> bool {
        match trial.execute(command) {
            Ok(_) => true,
            Err(error) => {
                self.wrong(span, error.to_string());
                false
            }
        }
    }

    fn service(&mut self, service: Spanned<raw::Service>, trial: &mut Trial) -> Option<Service> {
        let span = service.span();
        let service = service.into_inner();
        let name = self.service_name(&service, span.clone());
        let mut spec = ServiceSpec::new(name.unwrap_or(ServiceName::Mark { mark: 1, ipv6: false }));
        if let Some(scheduler) = service.scheduler {
            self.scheduler(&scheduler);
            spec.scheduler = scheduler.into_inner();
        }
        for flag in &service.flags {
            self.flag(flag, &spec.scheduler, &mut spec.flags);
        }
        spec.persistence = service.persistent.and_then(|persistent| self.duration(persistent));
        if let Some(netmask) = service.netmask {
            let span = netmask.span();
            let value = match netmask.into_inner() {
                raw::Netmask::Mask(text) => {
                    text.parse().map(Netmask::Mask).map_err(|_| format!("'{text}' is no mask like 255.255.255.0"))
                }
                raw::Netmask::Bits(bits @ 1..=128) => Ok(Netmask::Prefix(bits as u8)),
                raw::Netmask::Bits(bits) => Err(format!("a netmask has 1 to 128 bits, not {bits}")),
            };
            spec.netmask = self.take(span.clone(), value);
            if spec.persistence.is_none() {
                self.wrong(span, "a netmask means nothing without persistent");
            }
        }
        spec.name = service.name.and_then(|name| {
            let possible = check_name(name.get_ref()).map_err(|error| error.to_string());
            self.take(name.span(), possible).map(|()| name.into_inner())
        });
        spec.engine = service.pe.map(Spanned::into_inner);
        spec.one_packet = service.ops;
        spec.timeouts = service.timeouts.map(|timeouts| self.timeouts(timeouts));
        let known = name.is_some()
            && SCHEDULERS.iter().any(|known| known.name == spec.scheduler)
            && self.try_out(trial, span, Command::AddService(spec.clone()));
        let mut servers = Vec::new();
        for server in service.server {
            let span = server.span();
            let Some(server) = self.server(server.into_inner(), spec.service) else { continue };
            if known && self.try_out(trial, span, Command::AddServer { service: spec.service, server }) {
                servers.push(server);
            }
        }
        Some(Service { spec, servers })
    }

    fn service_name(&mut self, service: &raw::Service, span: Range<usize>) -> Option<ServiceName> {
        let addresses = [(Protocol::Tcp, &service.tcp), (Protocol::Udp, &service.udp), (Protocol::Sctp, &service.sctp)];
        let mut said = addresses.into_iter().filter_map(|(protocol, text)| text.as_ref().map(|text| (protocol, text)));
        let name = match (said.next(), said.next(), &service.fwmark) {
            (Some((protocol, text)), None, None) => {
                let wrong = || format!("'{}' is no address with a port, like 192.0.2.1:80", text.get_ref());
                let endpoint = endpoint(text.get_ref(), None, &Table::default());
                let (address, port) = self.take(text.span(), endpoint.ok_or_else(wrong))?;
                ServiceName::Address { protocol, address, port: port.unwrap_or(0) }
            }
            (None, None, Some(mark)) => {
                let mark = self.number("a mark", mark.clone(), 1..i64::from(u32::MAX) + 1)?;
                ServiceName::Mark { mark, ipv6: service.ipv6.as_ref().is_some_and(|ipv6| *ipv6.get_ref()) }
            }
            _ => {
                self.wrong(span, "a service has one of tcp, udp, sctp and fwmark, like tcp = \"192.0.2.1:80\"");
                return None;
            }
        };
        if let (Some(ipv6), ServiceName::Address { .. }) = (&service.ipv6, name) {
            self.wrong(ipv6.span(), "ipv6 is for services by fwmark; others have it in their address");
        }
        Some(name)
    }

    fn scheduler(&mut self, scheduler: &Spanned<String>) {
        let name = scheduler.get_ref();
        if !SCHEDULERS.iter().any(|known| known.name == name) {
            let guess = did_you_mean(name, SCHEDULERS.iter().map(|known| known.name));
            let guess = guess.map(|guess| format!(" (did you mean '{guess}'?)")).unwrap_or_default();
            self.wrong(scheduler.span(), format!("there is no scheduler '{name}'{guess}"));
        }
    }

    fn flag(&mut self, flag: &Spanned<String>, scheduler: &str, flags: &mut SchedulerFlags) {
        match (flag.get_ref().as_str(), scheduler) {
            ("flag-1", _) | ("sh-fallback", "sh") | ("mh-fallback", "mh") => flags.flag1 = true,
            ("flag-2", _) | ("sh-port", "sh") | ("mh-port", "mh") => flags.flag2 = true,
            ("flag-3", _) => flags.flag3 = true,
            (other, _) => {
                let known = "flag-1, flag-2, flag-3; with sh sh-fallback, sh-port; with mh mh-fallback, mh-port";
                self.wrong(flag.span(), format!("'{other}' is no flag of {scheduler} ({known})"));
            }
        }
    }

    fn server(&mut self, server: raw::Server, service: ServiceName) -> Option<ServerSpec> {
        let text = server.address.get_ref();
        let wrong = || format!("'{text}' is no address with or without a port, like 10.0.0.2:8080");
        let endpoint = match text.parse::<IpAddr>() {
            Ok(address) => Some((address, None)),
            Err(_) => endpoint(text, None, &Table::default()),
        };
        let endpoint = self.take(server.address.span(), endpoint.ok_or_else(wrong));
        let method = self.method(&server);
        let weights = 0..i64::from(i32::MAX) + 1;
        let counts = 0..i64::from(u32::MAX) + 1;
        let mut number = |what: &str, value: Option<Spanned<i64>>, range: &Range<i64>, default: u32| match value {
            None => Some(default),
            Some(value) => self.number(what, value, range.clone()),
        };
        let weight = number("a weight", server.weight, &weights, 1);
        let upper = number("a threshold", server.upper, &counts, 0);
        let lower = number("a threshold", server.lower, &counts, 0);
        let ((address, port), method) = (endpoint?, method?);
        // DR and TUN leave the packet's port alone, so it is the service's whatever is written.
        let port = match (method, service.port()) {
            (Method::Dr | Method::Tun(_), Some(port)) => port,
            (_, own) => port.or(own).unwrap_or(0),
        };
        Some(ServerSpec { address, port, method, weight: weight?, upper: upper?, lower: lower? })
    }

    fn method(&mut self, server: &raw::Server) -> Option<Method> {
        let tunnel = server.tunnel.as_ref().map(|tunnel| *tunnel.get_ref());
        let method = match (&server.method, tunnel) {
            (Some(method), Some(_)) if *method.get_ref() != raw::Method::Tun => {
                self.wrong(method.span(), "a tunnel is for method = \"tun\"");
                return None;
            }
            (Some(method), _) => *method.get_ref(),
            (None, Some(_)) => raw::Method::Tun,
            (None, None) => raw::Method::Dr,
        };
        let port = match (&server.tunnel_port, tunnel) {
            (Some(port), Some(raw::Tunnel::Gue)) => self.number("a port", port.clone(), 1..65_536)?,
            (Some(port), _) => {
                self.wrong(port.span(), "a tunnel's port is for tunnel = \"gue\"");
                return None;
            }
            (None, Some(raw::Tunnel::Gue)) => {
                let span = server.tunnel.as_ref().map(Spanned::span).unwrap_or_default();
                self.wrong(span, "gue needs a tunnel_port (6080 is usual)");
                return None;
            }
            (None, _) => 0,
        };
        let checksum = match (&server.tunnel_checksum, tunnel) {
            (None, _) => TunnelChecksum::None,
            (Some(checksum), Some(raw::Tunnel::Gue | raw::Tunnel::Gre)) => match checksum.get_ref() {
                raw::Checksum::None => TunnelChecksum::None,
                raw::Checksum::Full => TunnelChecksum::Full,
                raw::Checksum::Remote if tunnel == Some(raw::Tunnel::Gre) => {
                    self.wrong(checksum.span(), "gre has no remote checksum");
                    return None;
                }
                raw::Checksum::Remote => TunnelChecksum::Remote,
            },
            (Some(checksum), _) => {
                self.wrong(checksum.span(), "a tunnel's checksum is for tunnel = \"gue\" or \"gre\"");
                return None;
            }
        };
        Some(match (method, tunnel) {
            (raw::Method::Nat, _) => Method::Nat,
            (raw::Method::Dr, _) => Method::Dr,
            (raw::Method::Tun, None | Some(raw::Tunnel::Ipip)) => Method::Tun(Tunnel::Ipip),
            (raw::Method::Tun, Some(raw::Tunnel::Gue)) => Method::Tun(Tunnel::Gue(port, checksum)),
            (raw::Method::Tun, Some(raw::Tunnel::Gre)) => Method::Tun(Tunnel::Gre(checksum)),
        })
    }

    fn daemon(&mut self, daemon: raw::Sync) -> Option<DaemonSpec> {
        let mut number = |what: &str, value: Option<Spanned<i64>>, range: Range<i64>| match value {
            None => Some(None),
            Some(value) => self.number::<u16>(what, value, range).map(Some),
        };
        let id = number("an id", daemon.id, 0..256)?;
        let max_len = number("the longest message", daemon.max_len, 1..65_536)?;
        let port = number("a port", daemon.port, 1..65_536)?;
        let ttl = number("a time to live", daemon.ttl, 1..256)?;
        let group = match daemon.group {
            None => None,
            Some(group) => {
                let wrong = |_| format!("'{}' is no address of a group", group.get_ref());
                Some(self.take(group.span(), group.get_ref().parse().map_err(wrong))?)
            }
        };
        Some(DaemonSpec {
            role: daemon.role,
            interface: daemon.interface.into_inner(),
            sync_id: id.unwrap_or(0) as u8,
            max_len,
            group,
            port,
            ttl: ttl.map(|ttl| ttl as u8),
        })
    }
}

/// A director to try things out on.
pub(crate) struct Trial(State);

impl Trial {
    pub fn new(limits: Limits) -> Self {
        Self(State::new(limits, Tick(0)))
    }
}

impl Executor for Trial {
    fn execute(&mut self, command: Command) -> Result<Reply, Error> {
        self.0.execute(command, &Nothing)
    }
}

/// It forwards nothing, and has every interface that it is asked for: which there are shows when they are used.
struct Nothing;

impl Observed for Nothing {
    fn now(&self) -> Tick {
        Tick(0)
    }
    fn counters(&self, _: DestId) -> Counters {
        Counters::default()
    }
    fn live(&self, _: DestId) -> Live {
        Live::default()
    }
    fn connections(&self, _: u64) -> Result<ConnectionPage, Error> {
        Ok(ConnectionPage::default())
    }
    fn interface_mtu(&self, _: &str) -> Option<u32> {
        Some(u32::from(u16::MAX))
    }
}
