//! Single values of the file, from text: devices, names, addresses. An error is what the operator reads.

use super::{Device, raw};
use crate::kernel::Network;
use forwarder::route::Mac;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The kernel's limit for the name of an interface, bytes.
const INTERFACE_NAME: usize = 15;

/// The longest path that a Unix socket can be bound to, bytes.
const SOCKET_PATH: usize = 107;

pub(super) fn device(device: &raw::Device) -> Result<Device, String> {
    match device {
        raw::Device::Number(number) => {
            u16::try_from(*number).map(Device::Number).map_err(|_| format!("a port number is 0 to 65535, not {number}"))
        }
        raw::Device::Name(name) if name.is_empty() => Err("a device has a name".to_owned()),
        raw::Device::Name(name) if name.contains([' ', ',', '\0']) => {
            Err(format!("'{name}' is no device: write the name alone, its options belong to --vdev or -a"))
        }
        raw::Device::Name(name) if name.contains(':') => pci(name).map(Device::Name).ok_or_else(|| {
            format!("'{name}' is no PCI address: it looks like 0000:3b:00.0 (dpdk-devbind.py --status lists them)")
        }),
        raw::Device::Name(name) => Ok(Device::Name(name.clone())),
    }
}

/// A PCI address as DPDK names its device: domain, bus, device and function, in lower case.
pub(super) fn pci(text: &str) -> Option<String> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplit(':');
    let (device, bus, domain) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0000"));
    let hex = |text: &str, longest: usize| {
        let digits = !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let (domain, bus) = (hex(domain, 8)?, hex(bus, 2)?);
    let (device, function) = (hex(device, 2).filter(|n| *n < 32)?, hex(function, 1).filter(|n| *n < 8)?);
    parts.next().is_none().then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

/// A name that the kernel takes for an interface.
pub(super) fn interface(name: &str) -> Result<String, String> {
    let wrong = name.is_empty()
        || name == "."
        || name == ".."
        || name.len() > INTERFACE_NAME
        || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if wrong {
        return Err(format!(
            "'{name}' is no name for an interface: 1 to {INTERFACE_NAME} bytes, without '/', ':' and blanks"
        ));
    }
    Ok(name.to_owned())
}

/// The address of one host.
pub(crate) fn address(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| format!("'{text}' is no IPv4 address"))?;
    match address.is_multicast() || address.is_broadcast() || address.is_unspecified() {
        true => Err(format!("'{text}' is not the address of one host")),
        false => Ok(address),
    }
}

/// An address with its prefix length.
pub(super) fn network(text: &str) -> Result<Network, String> {
    let wrong = || format!("'{text}' is no address with its prefix length, like 10.0.0.1/24");
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
    Ok(Network { address: address.parse().map_err(|_| wrong())?, prefix })
}

/// A network, an address, or `default`.
pub(crate) fn destination(text: &str) -> Result<Network, String> {
    if text == "default" {
        return Ok(Network { address: Ipv4Addr::UNSPECIFIED, prefix: 0 });
    }
    let network = if text.contains('/') { network(text)? } else { Network { address: address(text)?, prefix: 32 } };
    let first = u32::from(network.address) & u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0);
    if first == u32::from(network.address) {
        return Ok(network);
    }
    let meant = Ipv4Addr::from(first);
    Err(format!("'{text}' is an address inside a network (did you mean '{meant}/{}'?)", network.prefix))
}

pub(crate) fn mac(text: &str) -> Result<Mac, String> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    let good = mac.iter_mut().all(|byte| {
        let part = parts.next().unwrap_or_default();
        let value = u8::from_str_radix(part, 16).ok().filter(|_| part.len() <= 2 && !part.starts_with('+'));
        value.map(|value| *byte = value).is_some()
    });
    match mac {
        _ if !good || parts.next().is_some() => Err(format!("'{text}' is no MAC address like 02:00:00:00:00:01")),
        [first, ..] if first & 1 != 0 => Err(format!("'{text}' is a group's MAC address, not that of a neighbour")),
        [0, 0, 0, 0, 0, 0] => Err(format!("'{text}' is nobody's MAC address")),
        _ => Ok(mac),
    }
}

/// A path for a Unix socket.
pub(super) fn socket(text: &str) -> Result<PathBuf, String> {
    match text.len() {
        _ if !text.starts_with('/') => Err(format!("the socket's path '{text}' does not begin with '/'")),
        _ if text.contains('\0') => Err("a path cannot contain NUL".to_owned()),
        length if length > SOCKET_PATH => {
            Err(format!("the socket's path has {length} bytes; {SOCKET_PATH} are the most"))
        }
        _ => Ok(PathBuf::from(text)),
    }
}

/// A directory for files like those of /proc, where the kernel's own are.
pub(super) fn procfs(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || path.parent().is_none() || path.starts_with("/proc") || text.contains('\0') {
        return Err(format!("'{text}' is no directory for files like the kernel's; one is /run/rvs/proc"));
    }
    Ok(path)
}
