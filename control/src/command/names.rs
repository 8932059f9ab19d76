//! What names services and servers, and how forwarder's types are written in JSON.

use forwarder::service::{Family, Method, Protocol, ServiceKey, Tunnel, TunnelChecksum};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What names a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceName {
    /// `-t`, `-u`, `--sctp-service`.
    Address {
        /// Protocol.
        #[serde(with = "protocol")]
        #[schemars(with = "ProtocolName")]
        protocol: Protocol,
        /// Virtual address.
        address: IpAddr,
        /// Port, host byte order; 0 for every port.
        port: u16,
    },
    /// `-f`, with `-6` if `ipv6`.
    Mark {
        /// The firewall mark, never 0.
        mark: u32,
        /// The family it balances.
        #[serde(default)]
        ipv6: bool,
    },
}

impl ServiceName {
    /// The family of its clients.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => family(*address),
            Self::Mark { ipv6: true, .. } => Family::V6,
            Self::Mark { ipv6: false, .. } => Family::V4,
        }
    }

    /// Its port; none for a mark.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address { port, .. } => Some(*port),
            Self::Mark { .. } => None,
        }
    }
}

impl fmt::Display for ServiceName {
    /// As the console names it: `tcp 10.0.0.1:80`, `fwmark 7 ipv6`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                let protocol = match protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                };
                write!(to, "{protocol} {}", SocketAddr::new(address, port))
            }
            Self::Mark { mark, ipv6 } => write!(to, "fwmark {mark}{}", if ipv6 { " ipv6" } else { "" }),
        }
    }
}

impl From<ServiceName> for ServiceKey {
    fn from(name: ServiceName) -> Self {
        match name {
            ServiceName::Address { protocol, address, port } => Self::Address(protocol, address, port),
            ServiceName::Mark { mark, .. } => Self::Mark(mark, name.family()),
        }
    }
}

/// The family of an address.
pub(crate) fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// What names a real server within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerName {
    /// Address.
    pub address: IpAddr,
    /// Port, host byte order.
    pub port: u16,
}

impl fmt::Display for ServerName {
    /// `10.0.0.2:80`, `[2001:db8::2]:80`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(to)
    }
}

/// Which clients share a persistence template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Netmask {
    /// IPv4: those equal under this mask, which need not be contiguous.
    Mask(Ipv4Addr),
    /// IPv6: those equal in this many first bits, 1 to 128.
    Prefix(u8),
}

/// The names of protocols, for the schema.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum ProtocolName {
    Tcp,
    Udp,
    Sctp,
}

/// A protocol as its lower-case name.
pub mod protocol {
    use forwarder::service::Protocol;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Its name.
    #[must_use]
    pub fn name(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| self::name(*protocol) == name)
    }

    /// Writes the name.
    pub fn serialize<S: Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name(*protocol))
    }

    /// Reads the name.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Protocol, D::Error> {
        let name = String::deserialize(from)?;
        by_name(&name).ok_or_else(|| D::Error::custom(format!("unknown protocol '{name}' (tcp, udp or sctp)")))
    }
}

/// A forwarding method as JSON: `"dr"`, `"nat"`, `{"tun":"ipip"}`, `{"tun":{"gue":{"port":6080,"checksum":"full"}}}` …
pub mod method {
    use super::{Method, MethodJson};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes it.
    pub fn serialize<S: Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
        MethodJson::from(*method).serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
        Ok(MethodJson::deserialize(from)?.into())
    }
}

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MethodJson {
    Nat,
    Tun(TunnelJson),
    Dr,
    Local,
}

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TunnelJson {
    Ipip,
    Gue {
        port: u16,
        #[serde(default)]
        checksum: ChecksumJson,
    },
    Gre {
        #[serde(default)]
        checksum: ChecksumJson,
    },
}

#[derive(Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChecksumJson {
    #[default]
    None,
    Full,
    Remote,
}

impl From<Method> for MethodJson {
    fn from(method: Method) -> Self {
        match method {
            Method::Nat => Self::Nat,
            Method::Dr => Self::Dr,
            Method::Local => Self::Local,
            Method::Tun(Tunnel::Ipip) => Self::Tun(TunnelJson::Ipip),
            Method::Tun(Tunnel::Gue(port, checksum)) => Self::Tun(TunnelJson::Gue { port, checksum: checksum.into() }),
            Method::Tun(Tunnel::Gre(checksum)) => Self::Tun(TunnelJson::Gre { checksum: checksum.into() }),
        }
    }
}

impl From<MethodJson> for Method {
    fn from(method: MethodJson) -> Self {
        match method {
            MethodJson::Nat => Self::Nat,
            MethodJson::Dr => Self::Dr,
            MethodJson::Local => Self::Local,
            MethodJson::Tun(TunnelJson::Ipip) => Self::Tun(Tunnel::Ipip),
            MethodJson::Tun(TunnelJson::Gue { port, checksum }) => Self::Tun(Tunnel::Gue(port, checksum.into())),
            MethodJson::Tun(TunnelJson::Gre { checksum }) => Self::Tun(Tunnel::Gre(checksum.into())),
        }
    }
}

impl From<TunnelChecksum> for ChecksumJson {
    fn from(checksum: TunnelChecksum) -> Self {
        match checksum {
            TunnelChecksum::None => Self::None,
            TunnelChecksum::Full => Self::Full,
            TunnelChecksum::Remote => Self::Remote,
        }
    }
}

impl From<ChecksumJson> for TunnelChecksum {
    fn from(checksum: ChecksumJson) -> Self {
        match checksum {
            ChecksumJson::None => Self::None,
            ChecksumJson::Full => Self::Full,
            ChecksumJson::Remote => Self::Remote,
        }
    }
}
