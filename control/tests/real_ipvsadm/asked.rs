//! What is asked of the kernel, as the numbers of linux/ip_vs.h: read from what the real ipvsadm sends, and made of our commands.

use control::command::{Command, DaemonRole, DaemonSpec, Netmask, ServerName, ServerSpec, ServiceName, ServiceSpec};
use forwarder::service::{Family, Method, Protocol, Tunnel, TunnelChecksum};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A command (IPVS_CMD_*) and its attributes: by the attribute they are in, or 0, and their own number; as hexadecimal digits.
#[derive(Debug, PartialEq)]
pub struct Asked {
    command: u8,
    attributes: BTreeMap<(u8, u8), String>,
}

const SERVICE: u8 = 1;
const SERVER: u8 = 2;
const DAEMON: u8 = 3;

const NEW_SERVICE: u8 = 1;
const SET_SERVICE: u8 = 2;
const GET_SERVICE: u8 = 4;
const DEL_SERVER: u8 = 7;
const GET_SERVER: u8 = 8;
const GET_DAEMON: u8 = 11;
const GET_CONFIG: u8 = 13;
/// IP_VS_SVC_F_PERSISTENT.
const PERSISTENT: u32 = 1;

impl Asked {
    /// Reads a line of `kernel.c`. None for questions, which change nothing.
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let command: u8 = words.next()?.parse().ok()?;
        if [GET_SERVICE, GET_SERVER, GET_DAEMON, GET_CONFIG].contains(&command) {
            return None;
        }
        let (mut within, mut attributes) = (0, BTreeMap::new());
        for word in words {
            match (word.strip_suffix('{'), word.split_once('=')) {
                (Some(number), _) => within = number.parse().ok()?,
                (None, Some((number, bytes))) => {
                    _ = attributes.insert((within, number.parse().ok()?), bytes.to_owned())
                }
                _ => within = 0,
            }
        }
        Some(Self { command, attributes }.essential())
    }

    /// Without what this command's kernel does not look at.
    fn essential(mut self) -> Self {
        let flags = self.attributes.get(&(SERVICE, 7)).map_or("", |flags| flags.get(..8).unwrap_or_default());
        let persistent = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags.swap_bytes() & PERSISTENT != 0);
        let command = self.command;
        self.attributes.retain(|&(within, number), _| match within {
            SERVICE if [NEW_SERVICE, SET_SERVICE].contains(&command) => persistent || ![8, 9].contains(&number),
            SERVICE => number <= 5,
            SERVER if command == DEL_SERVER => [1, 2, 11].contains(&number),
            DAEMON if command == 10 => number == 1,
            _ => true,
        });
        // Behind an IPv4 address stands what was there before.
        for address in [(SERVICE, 3), (SERVER, 1)] {
            let family = if address.0 == SERVICE { (SERVICE, 1) } else { (SERVER, 11) };
            if self.attributes.get(&family).is_some_and(|family| family == "0200")
                && let Some(bytes) = self.attributes.get_mut(&address)
            {
                bytes.truncate(8);
            }
        }
        self
    }

    fn with(mut self, within: u8, number: u8, bytes: &[u8]) -> Self {
        self.attributes.insert((within, number), bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        self
    }

    fn number(self, within: u8, number: u8, value: u32) -> Self {
        self.with(within, number, &value.to_le_bytes())
    }

    fn half(self, within: u8, number: u8, value: u16) -> Self {
        self.with(within, number, &value.to_le_bytes())
    }

    /// Text with its final zero.
    fn text(self, within: u8, number: u8, text: &str) -> Self {
        self.with(within, number, format!("{text}\0").as_bytes())
    }

    fn service(self, name: &ServiceName) -> Self {
        let family = if name.family() == Family::V4 { 2 } else { 10 };
        let asked = self.half(SERVICE, 1, family);
        match *name {
            ServiceName::Mark { mark, .. } => asked.number(SERVICE, 5, mark),
            ServiceName::Address { protocol, address, port } => {
                let protocol = match protocol {
                    Protocol::Tcp => 6,
                    Protocol::Udp => 17,
                    Protocol::Sctp => 132,
                };
                let asked = asked.half(SERVICE, 2, protocol).with(SERVICE, 3, &sixteen(address));
                asked.with(SERVICE, 4, &port.to_be_bytes())
            }
        }
    }

    fn properties(self, spec: &ServiceSpec) -> Self {
        let ours = spec.flags;
        let bits = [spec.persistence.is_some(), false, spec.one_packet, ours.flag1, ours.flag2, ours.flag3];
        let flags = (0..).zip(bits).map(|(bit, set)| u32::from(set) << bit).sum::<u32>();
        let mut asked = self.service(&spec.service).text(SERVICE, 6, &spec.scheduler);
        asked = asked.with(SERVICE, 7, &[flags.to_le_bytes(), [0xff; 4]].concat());
        if let Some(engine) = &spec.engine {
            asked = asked.text(SERVICE, 11, engine);
        }
        if let Some(seconds) = spec.persistence {
            let mask = match spec.netmask {
                Some(Netmask::Mask(mask)) => mask.octets(),
                Some(Netmask::Prefix(length)) => u32::from(length).to_le_bytes(),
                None if spec.service.family() == Family::V4 => [0xff; 4],
                None => 128_u32.to_le_bytes(),
            };
            asked = asked.number(SERVICE, 8, seconds).with(SERVICE, 9, &mask);
        }
        asked
    }

    fn server(self, name: ServerName) -> Self {
        let family = if name.address.is_ipv4() { 2 } else { 10 };
        let asked = self.half(SERVER, 11, family).with(SERVER, 1, &sixteen(name.address));
        asked.with(SERVER, 2, &name.port.to_be_bytes())
    }

    fn forwarding(self, spec: &ServerSpec) -> Self {
        let sum = |checksum| match checksum {
            TunnelChecksum::None => 0,
            TunnelChecksum::Full => 1,
            TunnelChecksum::Remote => 2,
        };
        let (method, [kind, port, flags]) = match spec.method {
            Method::Nat => (0, [0; 3]),
            Method::Local => (1, [0; 3]),
            Method::Tun(Tunnel::Ipip) => (2, [0; 3]),
            Method::Tun(Tunnel::Gue(port, checksum)) => (2, [1, port, sum(checksum)]),
            Method::Tun(Tunnel::Gre(checksum)) => (2, [2, 0, sum(checksum)]),
            Method::Dr => (3, [0; 3]),
        };
        let asked = self.server(spec.name()).number(SERVER, 3, method).number(SERVER, 4, spec.weight);
        let asked = asked.number(SERVER, 5, spec.upper).number(SERVER, 6, spec.lower).with(SERVER, 13, &[kind as u8]);
        asked.with(SERVER, 14, &port.to_be_bytes()).half(SERVER, 15, flags)
    }

    fn daemon(self, spec: &DaemonSpec) -> Self {
        let asked = self.role(spec.role).text(DAEMON, 2, &spec.interface).number(DAEMON, 3, spec.sync_id.into());
        let asked = spec.max_len.into_iter().fold(asked, |asked, value| asked.half(DAEMON, 4, value));
        let asked = spec.group.into_iter().fold(asked, |asked, group| match group {
            IpAddr::V4(v4) => asked.with(DAEMON, 5, &v4.octets()),
            IpAddr::V6(v6) => asked.with(DAEMON, 6, &v6.octets()),
        });
        let asked = spec.port.into_iter().fold(asked, |asked, value| asked.half(DAEMON, 7, value));
        spec.ttl.into_iter().fold(asked, |asked, value| asked.with(DAEMON, 8, &[value]))
    }

    fn role(self, role: DaemonRole) -> Self {
        self.number(DAEMON, 1, if role == DaemonRole::Master { 1 } else { 2 })
    }
}

/// An address as the kernel's union has it.
fn sixteen(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes = v6.octets(),
    }
    bytes
}

/// What one of our commands would ask the kernel for. None if it changes nothing.
pub fn asked(command: &Command) -> Option<Asked> {
    let of = |command| Asked { command, attributes: BTreeMap::new() };
    let asked = match command {
        Command::AddService(spec) => of(1).properties(spec),
        Command::EditService(spec) => of(2).properties(spec),
        Command::DeleteService { service } => of(3).service(service),
        Command::AddServer { service, server } => of(5).service(service).forwarding(server),
        Command::EditServer { service, server } => of(6).service(service).forwarding(server),
        Command::DeleteServer { service, server } => of(7).service(service).server(*server),
        Command::StartDaemon(spec) => of(9).daemon(spec),
        Command::StopDaemon { role } => of(10).role(*role),
        Command::SetTimeouts(timeouts) => {
            of(12).number(0, 4, timeouts.tcp).number(0, 5, timeouts.tcp_fin).number(0, 6, timeouts.udp)
        }
        Command::Zero { service: None } => of(16),
        Command::Zero { service: Some(service) } => of(16).service(service),
        Command::Clear => of(17),
        _ => return None,
    };
    Some(asked.essential())
}
