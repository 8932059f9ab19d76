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
    pub connections: Connections,
    pub neighbour: Vec<Neighbour>,
    pub route: Vec<Route>,
    pub marks: Marks,
    pub settings: std::collections::BTreeMap<Spanned<String>, Spanned<Setting>>,
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
    pub level: super::Level,
    pub format: super::Format,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Connections {
    pub capacity: Option<Spanned<i64>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Marks {
    pub rules: Vec<Spanned<String>>,
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
