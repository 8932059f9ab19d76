//! What the kernel gets, by class, and how much of it at most.

use forwarder::police::Class;
use serde::{Deserialize, Serialize};

/// A class of frames for the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExceptionView {
    /// The class.
    #[serde(with = "class")]
    #[schemars(with = "ClassName")]
    pub class: Class,
    /// Frames a second that the kernel gets from each worker, at most.
    pub limit: u32,
    /// Frames given to the kernel.
    pub packets: u64,
    /// Frames over the limit.
    pub policed: u64,
    /// Frames that found the queue to the kernel full.
    pub dropped: u64,
}

/// The names of classes, for the schema.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum ClassName {
    Arp,
    Routing,
    Icmp,
    Other,
}

/// A class as its name.
pub mod class {
    use forwarder::police::Class;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// The class of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Writes the name.
    pub fn serialize<S: Serializer>(class: &Class, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(class.name())
    }

    /// Reads the name.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Class, D::Error> {
        let name = String::deserialize(from)?;
        by_name(&name).ok_or_else(|| D::Error::custom(format!("unknown class '{name}' (arp, routing, icmp or other)")))
    }
}
