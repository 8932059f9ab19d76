//! A command line of ipvsadm to what it asks for, or to its complaint. Pure: it looks at nothing but its arguments.

use super::address::{endpoint, inet_aton, leading_number, number};
use super::names::Names;
use super::options::{KNOWN, Opt, OptSet, Tag, Verb};
use super::popt::Scanner;
use crate::command::{
    Command, DaemonRole, DaemonSpec, Netmask, SchedulerFlags, ServerName, ServerSpec, ServiceName, ServiceSpec,
    Timeouts,
};
use forwarder::service::{Family, Method, Protocol, Tunnel, TunnelChecksum};
use std::net::{IpAddr, Ipv4Addr};

/// The longest timeout, seconds: 31 days.
const MAX_TIMEOUT: i64 = 31 * 86_400;
/// What a bare `-p` means, seconds.
const TEMPLATE_TIMEOUT: u32 = 360;
/// Names of schedulers and interfaces are cut after this many bytes.
const NAME: usize = 15;
/// Names of engines after this many.
const ENGINE_NAME: usize = 16;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// A change.
    Change(Command),
    /// A listing.
    List(List),
    /// `-S`.
    Save {
        /// `-n`.
        numeric: bool,
        /// `--full`: with thresholds, timeouts and daemons.
        full: bool,
    },
    /// `-R`.
    Restore {
        /// `--atomic`: all lines or none, in place of what is there.
        atomic: bool,
    },
    /// `-h`.
    Help,
    /// `-v`.
    Version,
}

/// A listing and its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// Of what.
    pub what: What,
    /// In which form.
    pub form: Form,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All services, or one.
    Services(Option<ServiceName>),
    /// Connections.
    Connections,
    /// Timeouts.
    Timeouts,
    /// Synchronisation daemons.
    Daemons,
}

/// The form of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// `-n`: no names.
    pub numeric: bool,
    /// `--exact`: no shortened numbers.
    pub exact: bool,
    /// `--nosort`: the kernel's order.
    pub nosort: bool,
    /// `--json`.
    pub json: bool,
    /// `--persistent-conn`, which is also a form of the list of connections.
    pub persistent: bool,
    /// Which columns.
    pub columns: Columns,
    /// With what ipvsadm knows nothing of: what services are called, what the file has made, what drains.
    pub ours: bool,
}

/// The columns of a list of services. Of several, the first of this order counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Columns {
    Stats,
    Rate,
    Thresholds,
    Persistent,
    Tunnel,
    #[default]
    Plain,
}

/// Why a command line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For standard error, without the last newline.
    pub message: String,
    /// Exit status.
    pub status: u8,
    /// True if it also ends a `-R` that it is a line of.
    pub ends_restore: bool,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, status: 2, ends_restore: true }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// Where a command line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a shell.
    Shell,
    /// In the input of `-R`.
    Restore,
}

/// Reads the arguments after the program's name. No arguments at all are a listing.
///
/// # Errors
/// A [`Failure`] with ipvsadm's message and exit status.
pub fn parse(program: &str, arguments: &[String], source: Source, names: &dyn Names) -> Result<Invocation, Failure> {
    if arguments.is_empty() {
        return Ok(Invocation::List(List { what: What::Services(None), form: Form::default() }));
    }
    let try_help = || Failure {
        message: format!("Try `{program} -h' or '{program} --help' for more information."),
        status: 255,
        ends_restore: true,
    };
    let mut scanner = Scanner::new(KNOWN, arguments);
    let (verb, daemon) = match scanner.next_option() {
        Ok(Some((Tag::Command(Verb::Restore), _))) if source == Source::Restore => return Err(try_help()),
        Ok(Some((Tag::Command(verb), value))) => (verb, value),
        Ok(Some((Tag::Help, _))) => return Ok(Invocation::Help),
        Ok(Some((Tag::Version, _))) => return Ok(Invocation::Version),
        _ => return Err(try_help()),
    };
    let mut draft = Draft::new(names);
    match verb {
        Verb::StartDaemon => draft.role = Some(role(daemon).ok_or("illegal start-daemon parameter specified")?),
        Verb::StopDaemon => draft.role = Some(role(daemon).ok_or("illegal start_daemon specified")?),
        _ => {}
    }
    loop {
        match scanner.next_option() {
            Ok(Some((tag, value))) => draft.take(tag, value, scanner.last())?,
            Ok(None) => break,
            Err(bad) => {
                let message = format!("{}: {bad}", scanner.last());
                return Err(Failure { message, status: 255, ends_restore: false });
            }
        }
    }
    let leftovers = scanner.leftovers();
    let mut leftovers = leftovers.into_iter();
    if verb == Verb::Set {
        let (Some(tcp), Some(fin), Some(udp)) = (leftovers.next(), leftovers.next(), leftovers.next()) else {
            return Err("--set option requires 3 timeout values".into());
        };
        draft.timeouts = Timeouts { tcp: timeout(tcp, 0)?, tcp_fin: timeout(fin, 0)?, udp: timeout(udp, 0)? };
    }
    if let Some(unexpected) = leftovers.next() {
        return Err(format!("unexpected argument {unexpected}").into());
    }
    draft.finish(verb)
}

fn role(value: Option<&str>) -> Option<DaemonRole> {
    match value? {
        "master" => Some(DaemonRole::Master),
        "backup" => Some(DaemonRole::Backup),
        _ => None,
    }
}

fn timeout(text: &str, least: i64) -> Result<u32, Failure> {
    match number(text, least, MAX_TIMEOUT) {
        Some(seconds) => Ok(seconds as u32),
        None => Err(format!("invalid timeout value `{text}' specified").into()),
    }
}

/// `TCP/TCPFIN/UDP`, seconds.
fn own_timeouts(text: &str) -> Option<Timeouts> {
    let mut parts = text.split('/').map(|part| timeout(part, 0).ok());
    let own = Timeouts { tcp: parts.next()??, tcp_fin: parts.next()??, udp: parts.next()?? };
    parts.next().is_none().then_some(own)
}

/// The text up to the length of a name in the kernel, at a character's end.
fn cut(text: &str, length: usize) -> String {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// What has been read so far. Each option sees what stands before it, and only that.
struct Draft<'a> {
    names: &'a dyn Names,
    given: OptSet,
    family: Family,
    /// None before the service is named.
    protocol: Option<Protocol>,
    address: IpAddr,
    port: u16,
    mark: u32,
    scheduler: String,
    flags: String,
    persistence: Option<u32>,
    /// A mask in host byte order, or a prefix length.
    netmask: u32,
    engine: String,
    server: Option<(IpAddr, u16)>,
    method: Method,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel: String,
    tunnel_port: u16,
    timeouts: Timeouts,
    /// Those of one service.
    own_timeouts: Option<Timeouts>,
    role: Option<DaemonRole>,
    daemon: DaemonSpec,
}

impl<'a> Draft<'a> {
    fn new(names: &'a dyn Names) -> Self {
        let daemon = DaemonSpec {
            role: DaemonRole::Master,
            interface: String::new(),
            sync_id: 0,
            max_len: None,
            group: None,
            port: None,
            ttl: None,
        };
        Self {
            names,
            given: OptSet::default(),
            family: Family::V4,
            protocol: None,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 0,
            mark: 0,
            scheduler: String::new(),
            flags: String::new(),
            persistence: None,
            netmask: u32::MAX,
            engine: String::new(),
            server: None,
            method: Method::Dr,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: "ipip".to_owned(),
            tunnel_port: 0,
            timeouts: Timeouts::default(),
            own_timeouts: None,
            role: None,
            daemon,
        }
    }

    /// Takes the next option. `last` is how it was written.
    fn take(&mut self, tag: Tag, value: Option<&str>, last: &str) -> Result<(), Failure> {
        let text = value.unwrap_or_default();
        match tag {
            Tag::Command(_) | Tag::Help | Tag::Version => return Err(format!("invalid option `{last}'").into()),
            Tag::Sort => {}
            Tag::Tcp => self.service(Protocol::Tcp, text)?,
            Tag::Udp => self.service(Protocol::Udp, text)?,
            Tag::Sctp => self.service(Protocol::Sctp, text)?,
            Tag::Mark => {
                self.given.add(Opt::Service)?;
                self.family = Family::V4;
                self.protocol = Some(Protocol::Tcp);
                self.mark = number(text, 1, u32::MAX.into())
                    .ok_or_else(|| format!("invalid fwmark value `{text}' specified"))?
                    as u32;
            }
            Tag::Ipv6 => {
                if self.mark == 0 {
                    return Err("-6 used before -f\n".into());
                }
                self.family = Family::V6;
                self.netmask = 128;
            }
            Tag::Masquerading => self.method(Method::Nat)?,
            Tag::Gatewaying => self.method(Method::Dr)?,
            Tag::Ipip => self.method(Method::Tun(Tunnel::Ipip))?,
            Tag::Option(option) => {
                self.given.add(option)?;
                self.option(option, value)?;
            }
        }
        Ok(())
    }

    fn service(&mut self, protocol: Protocol, text: &str) -> Result<(), Failure> {
        self.given.add(Opt::Service)?;
        self.protocol = Some(protocol);
        let illegal = "illegal virtual server address[:port] specified";
        let (address, port) = endpoint(text, Some(protocol), self.names).ok_or(illegal)?;
        self.address = address;
        self.port = port.unwrap_or(0);
        self.family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        if address.is_ipv6() {
            self.netmask = 128;
        }
        Ok(())
    }

    fn method(&mut self, method: Method) -> Result<(), Failure> {
        self.given.add(Opt::Forward)?;
        self.method = method;
        Ok(())
    }

    fn option(&mut self, option: Opt, value: Option<&str>) -> Result<(), Failure> {
        let text = value.unwrap_or_default();
        let within = |least: i64, most: i64, illegal: &'static str| number(text, least, most).ok_or(illegal);
        match option {
            Opt::Scheduler => self.scheduler = cut(text, NAME),
            Opt::SchedulerFlags => self.flags = text.to_owned(),
            Opt::Engine => self.engine = cut(text, ENGINE_NAME),
            Opt::ConnTimeouts => {
                self.own_timeouts = Some(own_timeouts(text).ok_or("illegal timeouts specified: TCP/TCPFIN/UDP")?)
            }
            Opt::Persistent => {
                self.persistence = Some(value.map_or(Ok(TEMPLATE_TIMEOUT), |text| timeout(text, 1))?);
            }
            Opt::Netmask => {
                self.netmask = match self.family {
                    Family::V4 => inet_aton(text).ok_or("illegal virtual server persistent mask specified")?.to_bits(),
                    Family::V6 => match leading_number(text) {
                        prefix @ 1..=128 => prefix as u32,
                        _ => return Err("illegal ipv6 netmask specified".into()),
                    },
                };
            }
            Opt::Server => {
                let illegal = "illegal real server address[:port] specified";
                let (address, port) = endpoint(text, self.protocol, self.names).ok_or(illegal)?;
                self.server = Some((address, port.unwrap_or(self.port)));
            }
            Opt::Weight => self.weight = within(0, i32::MAX.into(), "illegal weight specified")? as u32,
            Opt::Upper => self.upper = within(0, i32::MAX.into(), "illegal u_threshold specified")? as u32,
            Opt::Lower => self.lower = within(0, i32::MAX.into(), "illegal l_threshold specified")? as u32,
            Opt::TunType => match text {
                "ipip" | "gue" | "gre" => self.tunnel = text.to_owned(),
                _ => return Err("illegal tunnel type specified".into()),
            },
            Opt::TunPort => self.tunnel_port = within(1, 65_535, "illegal tunnel port specified")? as u16,
            Opt::McastInterface => self.daemon.interface = cut(text, NAME),
            Opt::SyncId => self.daemon.sync_id = within(0, 255, "illegal syncid specified")? as u8,
            Opt::SyncMaxlen => self.daemon.max_len = Some(within(1, 65_507, "illegal sync-maxlen specified")? as u16),
            Opt::McastPort => self.daemon.port = Some(within(1, 65_535, "illegal mcast-port specified")? as u16),
            Opt::McastTtl => self.daemon.ttl = Some(within(1, 255, "illegal mcast-ttl specified")? as u8),
            Opt::McastGroup => {
                let family = if text.contains(':') { "IPv6" } else { "IPv4" };
                let group = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
                self.daemon.group = Some(group.ok_or_else(|| format!("invalid {family} mcast-group `{text}'"))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// All options are read: the checks that need several of them, in ipvsadm's order.
    fn finish(self, verb: Verb) -> Result<Invocation, Failure> {
        let flags = scheduler_flags(&self.scheduler, &self.flags)?;
        self.given.check(verb)?;
        Ok(match verb {
            Verb::AddService => Invocation::Change(Command::AddService(self.service_spec(flags)?)),
            Verb::EditService => Invocation::Change(Command::EditService(self.service_spec(flags)?)),
            Verb::DeleteService => Invocation::Change(Command::DeleteService { service: self.service_name() }),
            Verb::AddServer => {
                Invocation::Change(Command::AddServer { service: self.service_name(), server: self.server_spec()? })
            }
            Verb::EditServer => {
                Invocation::Change(Command::EditServer { service: self.service_name(), server: self.server_spec()? })
            }
            Verb::DeleteServer => {
                let (address, port) = self.server.ok_or("illegal real server address[:port] specified")?;
                let server = ServerName { address, port };
                Invocation::Change(Command::DeleteServer { service: self.service_name(), server })
            }
            Verb::Flush => Invocation::Change(Command::Clear),
            Verb::Zero => Invocation::Change(Command::Zero { service: self.chosen_service() }),
            Verb::Set => Invocation::Change(Command::SetTimeouts(self.timeouts)),
            Verb::StartDaemon => {
                let mut daemon = self.daemon;
                daemon.role = self.role.unwrap_or(DaemonRole::Master);
                if daemon.interface.is_empty() {
                    daemon.interface = "eth0".to_owned();
                }
                Invocation::Change(Command::StartDaemon(daemon))
            }
            Verb::StopDaemon => {
                Invocation::Change(Command::StopDaemon { role: self.role.unwrap_or(DaemonRole::Master) })
            }
            Verb::Restore => Invocation::Restore { atomic: self.given.has(Opt::Atomic) },
            Verb::Save => Invocation::Save { numeric: self.given.has(Opt::Numeric), full: self.given.has(Opt::Full) },
            Verb::List => Invocation::List(self.list()?),
        })
    }

    fn service_name(&self) -> ServiceName {
        match self.mark {
            0 => ServiceName::Address {
                protocol: self.protocol.unwrap_or(Protocol::Tcp),
                address: self.address,
                port: self.port,
            },
            mark => ServiceName::Mark { mark, ipv6: self.family == Family::V6 },
        }
    }

    fn chosen_service(&self) -> Option<ServiceName> {
        self.given.has(Opt::Service).then(|| self.service_name())
    }

    fn service_spec(self, flags: SchedulerFlags) -> Result<ServiceSpec, Failure> {
        let one_packet = self.given.has(Opt::Ops);
        if self.mark == 0 && self.port == 0 && self.persistence.is_none() {
            return Err("Zero port specified for non-persistent service".into());
        }
        if one_packet && self.mark == 0 && self.protocol != Some(Protocol::Udp) {
            return Err("One-Packet Scheduling is only for UDP virtual services".into());
        }
        let mut spec = ServiceSpec::new(self.service_name());
        if !self.scheduler.is_empty() {
            spec.scheduler = self.scheduler;
        }
        spec.flags = flags;
        spec.persistence = self.persistence;
        spec.netmask = match (self.family, self.netmask) {
            (Family::V4, u32::MAX) | (Family::V6, 128) => None,
            (Family::V4, mask) => Some(Netmask::Mask(Ipv4Addr::from_bits(mask))),
            (Family::V6, prefix) => Some(Netmask::Prefix(prefix as u8)),
        };
        spec.engine = Some(self.engine).filter(|engine| !engine.is_empty());
        spec.one_packet = one_packet;
        spec.timeouts = self.own_timeouts;
        Ok(spec)
    }

    fn server_spec(&self) -> Result<ServerSpec, Failure> {
        let (address, port) = self.server.ok_or("illegal real server address[:port] specified")?;
        let tunnelled = matches!(self.method, Method::Tun(_));
        if address.is_ipv4() != (self.family == Family::V4) && !tunnelled {
            return Err("Different address family is allowed only for tunneling servers".into());
        }
        let method = if tunnelled { Method::Tun(self.tunnel()?) } else { self.method };
        let tunnel_options = [Opt::TunType, Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];
        if !tunnelled && self.given.any(&tunnel_options) {
            return Err("Tunnel options conflict with forward method".into());
        }
        // the state does this too, for every front end; here it makes -r's port and -t's order not matter
        let port = if self.mark == 0 && method != Method::Nat { self.port } else { port };
        Ok(ServerSpec { address, port, method, weight: self.weight, upper: self.upper, lower: self.lower })
    }

    fn tunnel(&self) -> Result<Tunnel, Failure> {
        self.given.check_tunnel(&self.tunnel)?;
        let checksum = if self.given.has(Opt::TunCsum) {
            TunnelChecksum::Full
        } else if self.given.has(Opt::TunRemcsum) {
            TunnelChecksum::Remote
        } else {
            TunnelChecksum::None
        };
        Ok(match self.tunnel.as_str() {
            "gue" => Tunnel::Gue(self.tunnel_port, checksum),
            "gre" => Tunnel::Gre(checksum),
            _ => Tunnel::Ipip,
        })
    }

    fn list(&self) -> Result<List, Failure> {
        let given = self.given;
        let of_services = [Opt::Stats, Opt::Rate, Opt::Thresholds];
        let other = given.any(&[Opt::Timeout, Opt::Daemon]);
        if (given.has(Opt::Connection) || other) && given.any(&of_services) || other && given.has(Opt::PersistentConn) {
            return Err("options conflicts in the list command".into());
        }
        let what = if given.has(Opt::Connection) {
            What::Connections
        } else if given.has(Opt::Timeout) {
            What::Timeouts
        } else if given.has(Opt::Daemon) {
            What::Daemons
        } else {
            What::Services(self.chosen_service())
        };
        let columns = [
            (Opt::Stats, Columns::Stats),
            (Opt::Rate, Columns::Rate),
            (Opt::Thresholds, Columns::Thresholds),
            (Opt::PersistentConn, Columns::Persistent),
            (Opt::TunInfo, Columns::Tunnel),
        ];
        let form = Form {
            numeric: given.has(Opt::Numeric),
            exact: given.has(Opt::Exact),
            nosort: given.has(Opt::NoSort),
            json: given.has(Opt::Json),
            persistent: given.has(Opt::PersistentConn),
            columns: columns.into_iter().find(|(option, _)| given.has(*option)).map_or(Columns::Plain, |row| row.1),
            ours: false,
        };
        Ok(List { what, form })
    }
}

/// `-b`: names between commas; which are known depends on the scheduler.
fn scheduler_flags(scheduler: &str, text: &str) -> Result<SchedulerFlags, Failure> {
    let mut flags = SchedulerFlags::default();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (flag, only_for) = match name {
            "flag-1" => (&mut flags.flag1, None),
            "flag-2" => (&mut flags.flag2, None),
            "flag-3" => (&mut flags.flag3, None),
            "sh-fallback" => (&mut flags.flag1, Some("sh")),
            "sh-port" => (&mut flags.flag2, Some("sh")),
            "mh-fallback" => (&mut flags.flag1, Some("mh")),
            "mh-port" => (&mut flags.flag2, Some("mh")),
            _ => return Err(format!("invalid scheduler flag `{name}'").into()),
        };
        if only_for.is_some_and(|only| only != scheduler) {
            return Err(format!("incompatible scheduler flag `{name}'").into());
        }
        *flag = true;
    }
    Ok(flags)
}

#[cfg(test)]
mod tests;
