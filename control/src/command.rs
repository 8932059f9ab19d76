//! The one place where every front end meets: a [`Command`] in, a [`Reply`] or an [`Error`] out.

use forwarder::service::{Method, Protocol};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What names a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceName {
    /// `-t`, `-u`, `--sctp-service`.
    Address {
        /// Protocol.
        #[serde(with = "crate::command::protocol")]
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
        ipv6: bool,
    },
}

/// A protocol as its lower-case name.
pub mod protocol {
    use forwarder::service::Protocol;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the name.
    pub fn serialize<S: Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }

    /// Reads the name.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Protocol, D::Error> {
        match String::deserialize(from)?.as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            other => Err(D::Error::custom(format!("unknown protocol '{other}' (tcp, udp or sctp)"))),
        }
    }
}

/// Keeps the import list honest until the commands below use it.
pub type ForwardingMethod = Method;
