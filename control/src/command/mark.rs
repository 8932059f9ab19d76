//! Marking rules: which packets belong to a mark service, as iptables' `-j MARK` says it in the kernel.

use super::Error;
use super::names::{ProtocolName, protocol};
use forwarder::marks::{MarkRule, Prefix};
use forwarder::service::Protocol;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A rule that marks first packets, IPv4. Of the rules that fit a packet the first one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkSpec {
    /// Only packets of this protocol; none is any.
    #[serde(default, with = "some_protocol", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ProtocolName>")]
    pub protocol: Option<Protocol>,
    /// Only packets from here.
    #[serde(default = "any", with = "prefix", skip_serializing_if = "is_any")]
    #[schemars(with = "String")]
    pub source: Prefix,
    /// Only packets to here.
    #[serde(default = "any", with = "prefix", skip_serializing_if = "is_any")]
    #[schemars(with = "String")]
    pub destination: Prefix,
    /// Only packets to these ports, first and last, host byte order.
    #[serde(default = "all_ports", skip_serializing_if = "is_all_ports")]
    pub ports: (u16, u16),
    /// The mark that they get, not 0.
    pub mark: u32,
}

impl MarkSpec {
    /// A rule that gives every packet this mark.
    #[must_use]
    pub fn new(mark: u32) -> Self {
        Self { protocol: None, source: any(), destination: any(), ports: all_ports(), mark }
    }

    /// Checks what its type does not: the mark, and the order of the ports.
    ///
    /// # Errors
    /// [`Error::BadMark`].
    pub fn check(&self) -> Result<(), Error> {
        let why = if self.mark == 0 {
            "a mark is 1 to 4294967295"
        } else if self.ports.0 > self.ports.1 {
            "the first port is above the last"
        } else {
            return Ok(());
        };
        Err(Error::BadMark { why: why.to_owned() })
    }
}

impl From<&MarkSpec> for MarkRule {
    fn from(spec: &MarkSpec) -> Self {
        let MarkSpec { protocol, source, destination, ports: (first, last), mark } = *spec;
        Self { protocol, source, destination, ports: first..=last, mark }
    }
}

fn any() -> Prefix {
    Prefix::ANY
}

fn is_any(prefix: &Prefix) -> bool {
    *prefix == Prefix::ANY
}

fn all_ports() -> (u16, u16) {
    (0, u16::MAX)
}

fn is_all_ports(ports: &(u16, u16)) -> bool {
    *ports == all_ports()
}

/// A prefix as text: a network (`10.0.0.0/8`), an address, or `any`.
pub mod prefix {
    use forwarder::marks::Prefix;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
    use std::net::Ipv4Addr;

    /// Writes it.
    pub fn serialize<S: Serializer>(prefix: &Prefix, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(*prefix))
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
        parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    /// The text.
    #[must_use]
    pub fn text(Prefix { address, length }: Prefix) -> String {
        match length {
            0 => "any".to_owned(),
            32 => address.to_string(),
            _ => format!("{address}/{length}"),
        }
    }

    /// From the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Prefix, String> {
        if text == "any" {
            return Ok(Prefix::ANY);
        }
        let wrong = || format!("'{text}' is no network (10.0.0.0/8), address or 'any'");
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().ok().filter(|length| *length <= 32).ok_or_else(wrong)?;
        let first = address.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        if first != address.to_bits() {
            let meant = Ipv4Addr::from(first);
            return Err(format!("'{text}' is an address inside a network (did you mean '{meant}/{length}'?)"));
        }
        Ok(Prefix { address, length })
    }
}

mod some_protocol {
    use super::{Protocol, protocol};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(some: &Option<Protocol>, to: S) -> Result<S::Ok, S::Error> {
        match some {
            Some(some) => protocol::serialize(some, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Protocol>, D::Error> {
        protocol::deserialize(from).map(Some)
    }
}

/// Ports as text: `80` or `8000-8999`.
///
/// # Errors
/// What is wrong with it.
pub fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("'{text}' is no port (80) or range of ports (8000-8999)")),
    }
}

impl fmt::Display for MarkSpec {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{} ", protocol::name(protocol))?;
        }
        for (word, prefix) in [("from", self.source), ("to", self.destination)] {
            if !is_any(&prefix) {
                write!(f, "{word} {} ", prefix::text(prefix))?;
            }
        }
        match self.ports {
            ports if is_all_ports(&ports) => {}
            (first, last) if first == last => write!(f, "port {first} ")?,
            (first, last) => write!(f, "port {first}-{last} ")?,
        }
        write!(f, "set {}", self.mark)
    }
}

impl FromStr for MarkSpec {
    type Err = Error;

    /// `[tcp|udp|sctp] [from NETWORK] [to NETWORK] [port FIRST[-LAST]] set MARK`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::BadMark { why };
        let mut spec = Self::new(0);
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if let Some(protocol) = protocol::by_name(word) {
                spec.protocol = Some(protocol);
                continue;
            }
            let value = words.next().ok_or_else(|| {
                wrong(format!(
                    "'{word}' ends a rule; it reads [tcp|udp|sctp] [from NET] [to NET] [port N[-M]] set MARK"
                ))
            })?;
            match word {
                "from" => spec.source = prefix::parse(value).map_err(wrong)?,
                "to" => spec.destination = prefix::parse(value).map_err(wrong)?,
                "port" => spec.ports = ports(value).map_err(wrong)?,
                "set" => spec.mark = value.parse().map_err(|_| wrong("a mark is 1 to 4294967295".to_owned()))?,
                _ => return Err(wrong(format!("'{word}' is none of tcp, udp, sctp, from, to, port and set"))),
            }
        }
        spec.check()?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_text_and_json() {
        for text in [
            "set 1",
            "tcp port 80 set 1",
            "udp from 10.0.0.0/8 to 192.0.2.1 port 5000-5999 set 4294967295",
            "sctp to 93.184.0.0/16 set 7",
        ] {
            let spec: MarkSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<MarkSpec>(&json).unwrap(), spec, "{json}");
        }
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        for text in [
            "",
            "set 0",
            "set x",
            "tcp",
            "tcp set",
            "icmp set 1",
            "from 10.0.0.1/8 set 1",
            "to 10.0.0.0/33 set 1",
            "port 90-80 set 1",
            "port 65536 set 1",
            "port set 1",
        ] {
            assert!(matches!(text.parse::<MarkSpec>(), Err(Error::BadMark { .. })), "{text}");
        }
        let why = "from 10.0.0.1/8 set 1".parse::<MarkSpec>().unwrap_err().to_string();
        assert!(why.contains("did you mean '10.0.0.0/8'?"), "{why}");
    }
}
