//! The shape of the file, as serde reads it: keys and types, with where each value stands. What the values mean is
//! checked by the parent module.

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use toml::Spanned;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub eal: Eal,
    pub port: Vec<Spanned<Port>>,
    pub control: Control,
    pub log: Log,
    pub metrics: Metrics,
    pub connections: Connections,
    pub workers: Workers,
    pub timeouts: Timeouts,
    pub neighbour: Vec<Neighbour>,
    pub route: Vec<Route>,
    pub marks: Marks,
    pub exceptions: Exceptions,
    pub settings: std::collections::BTreeMap<Spanned<String>, Spanned<Setting>>,
    pub service: Vec<Spanned<Service>>,
    pub sync: Vec<Spanned<Sync>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Eal {
    pub args: Vec<Spanned<String>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub device: Spanned<Device>,
    pub kernel: Option<Spanned<Kernel>>,
    pub queues: Option<Spanned<i64>>,
    pub side: Option<super::Side>,
    pub mtu: Option<Spanned<i64>>,
    #[serde(default)]
    pub addresses: Vec<Spanned<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Control {
    pub socket: Option<Spanned<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub level: Option<Spanned<super::Level>>,
    pub format: Option<Spanned<super::Format>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub listen: Option<Spanned<Listen>>,
    pub backends: Option<Spanned<bool>>,
    pub workers: Option<Spanned<bool>>,
    pub node_names: Option<Spanned<bool>>,
    pub procfs: Option<Spanned<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub tcp: Option<Spanned<Duration>>,
    pub tcp_fin: Option<Spanned<Duration>>,
    pub udp: Option<Spanned<Duration>>,
}

/// A virtual service: one of `tcp`, `udp`, `sctp` and `fwmark` names it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub tcp: Option<Spanned<String>>,
    pub udp: Option<Spanned<String>>,
    pub sctp: Option<Spanned<String>>,
    pub fwmark: Option<Spanned<i64>>,
    pub ipv6: Option<Spanned<bool>>,
    pub name: Option<Spanned<String>>,
    pub scheduler: Option<Spanned<String>>,
    #[serde(default)]
    pub flags: Vec<Spanned<String>>,
    pub persistent: Option<Spanned<Duration>>,
    pub netmask: Option<Spanned<Netmask>>,
    pub pe: Option<Spanned<String>>,
    #[serde(default)]
    pub ops: bool,
    pub timeouts: Option<Timeouts>,
    #[serde(default)]
    pub server: Vec<Spanned<Server>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub address: Spanned<String>,
    pub method: Option<Spanned<Method>>,
    pub tunnel: Option<Spanned<Tunnel>>,
    pub tunnel_port: Option<Spanned<i64>>,
    pub tunnel_checksum: Option<Spanned<Checksum>>,
    pub weight: Option<Spanned<i64>>,
    pub upper: Option<Spanned<i64>>,
    pub lower: Option<Spanned<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    Nat,
    Tun,
    Dr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tunnel {
    Ipip,
    Gue,
    Gre,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Checksum {
    None,
    Full,
    Remote,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sync {
    pub role: crate::command::DaemonRole,
    pub interface: Spanned<String>,
    pub id: Option<Spanned<i64>>,
    pub max_len: Option<Spanned<i64>>,
    pub group: Option<Spanned<String>>,
    pub port: Option<Spanned<i64>>,
    pub ttl: Option<Spanned<i64>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Connections {
    pub capacity: Option<Spanned<i64>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workers {
    pub idle: Option<Spanned<super::Idle>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Marks {
    pub rules: Vec<Spanned<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exceptions {
    pub arp: Option<Spanned<i64>>,
    pub routing: Option<Spanned<i64>>,
    pub icmp: Option<Spanned<i64>>,
    pub other: Option<Spanned<i64>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Neighbour {
    pub port: Spanned<Device>,
    pub address: Spanned<String>,
    pub mac: Spanned<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub to: Spanned<String>,
    pub via: Spanned<String>,
}

/// A device: DPDK's port number, or a PCI address or name of a virtual device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Number(i64),
    Name(String),
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Device;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a PCI address or the name of a virtual device in quotes, or a port number")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Device, E> {
                Ok(Device::Name(name.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Device, E> {
                Ok(Device::Number(number))
            }
        }
        from.deserialize_any(Either)
    }
}

/// The name of a kernel interface, or `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    Name(String),
    None,
}

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Kernel;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("the name of an interface in quotes, or false")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Kernel, E> {
                Ok(Kernel::Name(name.to_owned()))
            }
            fn visit_bool<E: Error>(self, wanted: bool) -> Result<Kernel, E> {
                if wanted { Err(E::invalid_value(serde::de::Unexpected::Bool(true), &self)) } else { Ok(Kernel::None) }
            }
        }
        from.deserialize_any(Either)
    }
}

/// A duration in seconds: a whole number, or one with its unit in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duration(pub u32);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Duration;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a duration with its unit like \"90s\", \"15m\", \"1h\" or \"2d\", or a number of seconds")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                let seconds = match &text[end..] {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3600,
                    "d" => 86_400,
                    _ => 0,
                };
                let number = text[..end].parse::<u32>().ok().filter(|_| seconds > 0);
                let seconds = number.and_then(|number| number.checked_mul(seconds));
                seconds.map(Duration).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(seconds), &self);
                u32::try_from(seconds).map(Duration).map_err(wrong)
            }
        }
        from.deserialize_any(Either)
    }
}

/// Which clients share a template: a mask in quotes, or a number of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Netmask {
    Mask(String),
    Bits(i64),
}

impl<'de> Deserialize<'de> for Netmask {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Netmask;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a mask in quotes like \"255.255.255.0\" for IPv4, a number of bits for IPv6")
            }
            fn visit_str<E: Error>(self, mask: &str) -> Result<Netmask, E> {
                Ok(Netmask::Mask(mask.to_owned()))
            }
            fn visit_i64<E: Error>(self, bits: i64) -> Result<Netmask, E> {
                Ok(Netmask::Bits(bits))
            }
        }
        from.deserialize_any(Either)
    }
}

/// Where to listen, or `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    At(String),
    Nowhere,
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Listen;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an address and port in quotes like \"127.0.0.1:9847\", or false")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
                Ok(Listen::At(text.to_owned()))
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Listen, E> {
                if on { Err(E::invalid_value(serde::de::Unexpected::Bool(true), &self)) } else { Ok(Listen::Nowhere) }
            }
        }
        from.deserialize_any(Either)
    }
}

/// A value of a setting, as it would be written into the kernel's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting(pub String);

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Setting;
            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a number, true or false, or a list of numbers")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Setting, E> {
                Ok(Setting(number.to_string()))
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Setting, E> {
                self.visit_i64(i64::from(on))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Setting, A::Error> {
                let mut words = Vec::new();
                while let Some(number) = list.next_element::<i64>()? {
                    words.push(number.to_string());
                }
                Ok(Setting(words.join(" ")))
            }
        }
        from.deserialize_any(Numbers)
    }
}

impl File {
    /// Adds another file to this one. Lists get longer; `twice` is told of values that both have.
    pub fn join(&mut self, other: Self, twice: &mut dyn FnMut(std::ops::Range<usize>)) {
        fn one<T>(
            mine: &mut Option<Spanned<T>>,
            other: Option<Spanned<T>>,
            twice: &mut dyn FnMut(std::ops::Range<usize>),
        ) {
            match other {
                Some(other) if mine.is_some() => twice(other.span()),
                Some(other) => *mine = Some(other),
                None => {}
            }
        }
        self.eal.args.extend(other.eal.args);
        self.port.extend(other.port);
        one(&mut self.control.socket, other.control.socket, twice);
        one(&mut self.log.level, other.log.level, twice);
        one(&mut self.log.format, other.log.format, twice);
        one(&mut self.metrics.listen, other.metrics.listen, twice);
        one(&mut self.metrics.backends, other.metrics.backends, twice);
        one(&mut self.metrics.workers, other.metrics.workers, twice);
        one(&mut self.metrics.node_names, other.metrics.node_names, twice);
        one(&mut self.metrics.procfs, other.metrics.procfs, twice);
        one(&mut self.connections.capacity, other.connections.capacity, twice);
        one(&mut self.workers.idle, other.workers.idle, twice);
        one(&mut self.timeouts.tcp, other.timeouts.tcp, twice);
        one(&mut self.timeouts.tcp_fin, other.timeouts.tcp_fin, twice);
        one(&mut self.timeouts.udp, other.timeouts.udp, twice);
        one(&mut self.exceptions.arp, other.exceptions.arp, twice);
        one(&mut self.exceptions.routing, other.exceptions.routing, twice);
        one(&mut self.exceptions.icmp, other.exceptions.icmp, twice);
        one(&mut self.exceptions.other, other.exceptions.other, twice);
        self.neighbour.extend(other.neighbour);
        self.route.extend(other.route);
        self.marks.rules.extend(other.marks.rules);
        for (name, value) in other.settings {
            if self.settings.contains_key(&name) {
                twice(name.span());
            }
            self.settings.entry(name).or_insert(value);
        }
        self.service.extend(other.service);
        self.sync.extend(other.sync);
    }
}
