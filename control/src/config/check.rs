//! Whether the parts of a file fit together: every mistake is collected, with its place.

use super::mistake::did_you_mean;
use super::sources::Sources;
use super::values::{address, destination, device, interface, mac, network, procfs, socket};
use super::{Config, Device, Log, Metrics, Mistake, Port, raw};
use crate::command::{self, MarkSpec};
use crate::kernel::{FixedNeighbour, FixedRoute, Network};
use crate::state::Settings;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

/// The configuration that a file means, or every mistake in the order of the text.
pub(super) fn check(sources: &Sources, file: raw::File) -> Result<Config, Vec<Mistake>> {
    let mut check = Check { sources, mistakes: Vec::new() };
    let config = check.file(file);
    check.mistakes.sort_by_key(|mistake| (sources.rank(&mistake.path), mistake.line, mistake.column));
    if check.mistakes.is_empty() { Ok(config) } else { Err(check.mistakes) }
}

/// Checks values, and collects what is wrong with them.
pub(super) struct Check<'a> {
    sources: &'a Sources,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    pub(super) fn wrong(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.mistakes.push(self.sources.mistake(0, Some(span), message));
    }

    /// The value, or a mistake there.
    pub(super) fn take<T>(&mut self, span: Range<usize>, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.wrong(span, message)).ok()
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self, what: &str, value: Spanned<i64>, range: Range<i64>) -> Option<T> {
        let number = Some(*value.get_ref()).filter(|number| range.contains(number));
        let converted = number.and_then(|number| T::try_from(number).ok());
        let message = || format!("{what} is {} to {}, not {}", range.start, range.end - 1, value.get_ref());
        self.take(value.span(), converted.ok_or_else(message))
    }

    fn file(&mut self, file: raw::File) -> Config {
        let eal = file.eal.args.into_iter().filter_map(|argument| self.argument(argument)).collect();
        let mut ports: Vec<Port> = Vec::new();
        for port in file.port {
            if ports.len() > usize::from(u16::MAX) {
                self.wrong(port.span(), "too many ports");
                break;
            }
            let port = self.port(port.into_inner(), &ports);
            ports.push(port);
        }
        let mut config = Config {
            eal,
            ports,
            socket: file.control.socket.and_then(|path| self.socket(path)),
            log: Log {
                level: file.log.level.map(Spanned::into_inner).unwrap_or_default(),
                format: file.log.format.map(Spanned::into_inner).unwrap_or_default(),
            },
            metrics: self.metrics(file.metrics),
            idle: file.workers.idle.map(Spanned::into_inner).unwrap_or_default(),
            capacity: file.connections.capacity.and_then(|n| self.number("the capacity", n, 1..(1 << 30) + 1)),
            ..Config::default()
        };
        for (name, value) in file.settings {
            config.settings.extend(self.setting(&name, &value));
        }
        for rule in &file.marks.rules {
            config.marks.extend(self.mark(rule, &config.marks));
        }
        for neighbour in file.neighbour {
            config.neighbours.extend(self.neighbour(neighbour, &config.ports));
        }
        for route in file.route {
            config.routes.extend(self.route(&route, &config));
        }
        config.exceptions = self.exceptions(file.exceptions);
        config.timeouts = self.timeouts(file.timeouts);
        (config.services, config.daemons) = self.services(file.service, file.sync);
        config
    }

    fn argument(&mut self, argument: Spanned<String>) -> Option<String> {
        let text = argument.get_ref();
        let value = match text.as_str() {
            "--" => Err("'--' ends DPDK's arguments on the command line; it has no place here".to_owned()),
            _ if text.contains('\0') => Err("an argument cannot contain NUL".to_owned()),
            _ => Ok(text.clone()),
        };
        self.take(argument.span(), value)
    }

    fn socket(&mut self, path: Spanned<String>) -> Option<PathBuf> {
        self.take(path.span(), socket(path.get_ref()))
    }

    fn metrics(&mut self, metrics: raw::Metrics) -> Metrics {
        let default = Metrics::default();
        let listen = match metrics.listen {
            None => default.listen,
            Some(listen) => match listen.get_ref() {
                raw::Listen::Nowhere => None,
                raw::Listen::At(text) => {
                    let wrong = |_| format!("'{text}' is no address with a port, like 127.0.0.1:9847");
                    self.take(listen.span(), text.parse().map_err(wrong))
                }
            },
        };
        let or = |said: Option<Spanned<bool>>, default: bool| said.map_or(default, Spanned::into_inner);
        let procfs = metrics.procfs.and_then(|path| self.take(path.span(), procfs(path.get_ref())));
        Metrics {
            listen,
            backends: or(metrics.backends, default.backends),
            workers: or(metrics.workers, default.workers),
            node_names: or(metrics.node_names, default.node_names),
            procfs,
        }
    }

    fn setting(&mut self, name: &Spanned<String>, value: &Spanned<raw::Setting>) -> Option<(String, String)> {
        let (word, text) = (name.get_ref(), &value.get_ref().0);
        let mut settings = Settings::default();
        match settings.set(word, text) {
            Ok(()) => return Some((word.clone(), text.clone())),
            Err(error @ command::Error::NoSuchSetting { .. }) => {
                let known = settings.list();
                let guess = did_you_mean(word, known.iter().map(|setting| setting.name.as_str()));
                let guess = guess.map(|guess| format!(" (did you mean '{guess}'?)")).unwrap_or_default();
                self.wrong(name.span(), format!("{error}{guess}"));
            }
            Err(error) => self.wrong(value.span(), error.to_string()),
        }
        None
    }

    fn exceptions(&mut self, said: raw::Exceptions) -> [Option<u32>; 4] {
        let raw::Exceptions { arp, routing, icmp, other } = said;
        [arp, routing, icmp, other].map(|limit| self.number("a limit", limit?, 0..i64::from(u32::MAX) + 1))
    }

    fn mark(&mut self, rule: &Spanned<String>, others: &[MarkSpec]) -> Option<MarkSpec> {
        let parsed = rule
            .get_ref()
            .parse()
            .and_then(|rule: MarkSpec| if others.contains(&rule) { Err(command::Error::MarkExists) } else { Ok(rule) });
        self.take(rule.span(), parsed.map_err(|error| error.to_string()))
    }

    fn port(&mut self, port: raw::Port, others: &[Port]) -> Port {
        let span = port.device.span();
        let device = self.take(span.clone(), device(port.device.get_ref()));
        if let Some(other) = others.iter().position(|other| Some(&other.device) == device.as_ref()) {
            self.wrong(span, format!("this device is port {other} already"));
        }
        let default = format!("lvs{}", others.len());
        let taken = |name: &str| others.iter().position(|other| other.kernel.as_deref() == Some(name));
        let kernel = match port.kernel {
            None => {
                if let Some(other) = taken(&default) {
                    let message = format!("its kernel interface would be '{default}', which is that of port {other}");
                    self.wrong(port.device.span(), message + ": give it another name with kernel = \"…\"");
                }
                Some(default)
            }
            Some(value) => match value.get_ref() {
                raw::Kernel::None => None,
                raw::Kernel::Name(name) => {
                    let name = match taken(name) {
                        Some(other) => Err(format!("'{name}' is the kernel interface of port {other} already")),
                        None => interface(name),
                    };
                    self.take(value.span(), name).or(Some(default))
                }
            },
        };
        let mut addresses = Vec::new();
        for address in port.addresses {
            if let Some(name) = &kernel {
                let command = format!("ip address add {} dev {name}", address.get_ref());
                self.wrong(
                    address.span(),
                    format!("a port with a kernel interface has its addresses there: {command}"),
                );
            }
            addresses.extend(self.take(address.span(), network(address.get_ref())));
        }
        Port {
            device: device.unwrap_or(Device::Number(0)),
            kernel,
            queues: port.queues.and_then(|queues| self.number("the number of queues", queues, 1..1025)),
            side: port.side,
            // The least that IPv4 allows (RFC 791), the most that fits the field.
            mtu: port.mtu.and_then(|mtu| self.number("an MTU", mtu, 68..65_536)),
            addresses,
        }
    }

    /// The number of a configured port without a kernel interface.
    fn port_number(&mut self, port: &Spanned<raw::Device>, ports: &[Port], command: &str) -> Option<u16> {
        let number = match port.get_ref() {
            raw::Device::Number(number) => {
                usize::try_from(*number).ok().filter(|number| *number < ports.len()).ok_or_else(|| match ports.len() {
                    0 => "there is no [[port]]".to_owned(),
                    count => format!("there is no port {number}: the ports are 0 to {}", count - 1),
                })
            }
            named => device(named).and_then(|wanted| {
                let found = ports.iter().position(|known| known.device == wanted);
                found.ok_or_else(|| match (wanted, ports.iter().map(|port| &port.device)) {
                    (Device::Name(name), known) => {
                        let names = known.filter_map(|device| match device {
                            Device::Name(name) => Some(name.as_str()),
                            Device::Number(_) => None,
                        });
                        let guess = did_you_mean(&name, names).map(|guess| format!(" (did you mean '{guess}'?)"));
                        format!("no [[port]] has the device '{name}'{}", guess.unwrap_or_default())
                    }
                    (Device::Number(number), _) => format!("there is no port {number}"),
                })
            }),
        };
        let number = self.take(port.span(), number)?;
        match &ports[number].kernel {
            Some(name) => {
                self.wrong(port.span(), format!("a port with a kernel interface is told there: {command} dev {name}"));
                None
            }
            None => u16::try_from(number).ok(),
        }
    }

    fn neighbour(&mut self, neighbour: raw::Neighbour, ports: &[Port]) -> Option<FixedNeighbour> {
        let address = self.take(neighbour.address.span(), address(neighbour.address.get_ref()));
        let mac_text = neighbour.mac.get_ref();
        let mac = self.take(neighbour.mac.span(), mac(mac_text));
        let command = format!("ip neigh replace {} lladdr {mac_text}", neighbour.address.get_ref());
        let port = self.port_number(&neighbour.port, ports, &command);
        Some(FixedNeighbour { port: port?, address: address?, mac: mac? })
    }

    fn route(&mut self, route: &raw::Route, config: &Config) -> Option<FixedRoute> {
        let network = self.take(route.to.span(), destination(route.to.get_ref()));
        let gateway = self.take(route.via.span(), address(route.via.get_ref()))?;
        let mut reachable = config.fixed(|_| ([0; 6], 1500));
        reachable.routes = vec![FixedRoute { network: Network { address: Ipv4Addr::UNSPECIFIED, prefix: 0 }, gateway }];
        if let Err(error) = reachable.events() {
            self.wrong(route.via.span(), error.to_string());
        }
        Some(FixedRoute { network: network?, gateway })
    }
}
