//! The one place where every front end meets: a [`Command`] in, a [`Reply`] or an [`Error`] out.
//!
//! All of it is plain data that travels as JSON lines. Nothing here parses text or touches a director.

mod capture;
mod error;
mod exception;
mod layout;
pub mod mark;
mod names;
pub(crate) mod network;
mod observe;
mod process;
mod reply;
mod spec;
mod trace;

pub use capture::{CapturePage, CaptureSpec, CapturedFrame, LONGEST_CAPTURE, LONGEST_SNAP};
pub use error::Error;
pub use exception::{ExceptionView, class};
pub use layout::{LayoutView, PortLayout, QueueSettings, QueueView, SeatView};
pub use mark::MarkSpec;
pub use names::{Netmask, ServerName, ServiceName, method, protocol};
pub use network::{NeighbourView, RoutePage, RouteSpec, RouteView, WayView};
pub use observe::{ClassView, ExtendedStat, ForwardingView, PortRates, PortStats, PortView, RecentLoad, WorkerView};
pub use process::{HeapView, HugePagesView, LogView, MemoryView, PoolView};
pub use reply::{
    Change, ChangePage, ConfigReport, ConnectionPage, ConnectionView, Counters, DrainView, FlushedView, Origin, Rates,
    Reply, ServerView, ServiceView, Setting, Statistics, StatusView, Version,
};
pub use spec::{DaemonRole, DaemonSpec, SchedulerFlags, ServerSpec, ServiceSpec, Timeouts};
pub use trace::{
    MOST_TRACED, MOST_TRACES, TRACED, TracePage, TraceSpec, TraceStep, TracedConnection, TracedPacket, TracedService,
    TracedTemplate,
};

use forwarder::police::Class;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Something to do, or to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// `-A`: fails with [`Error::ServiceExists`] or [`Error::SchedulerNotFound`].
    AddService(ServiceSpec),
    /// `-E`: everything about the service but its name becomes what the specification says.
    EditService(ServiceSpec),
    /// `-D`.
    DeleteService {
        /// Which.
        service: ServiceName,
    },
    /// `-a`.
    AddServer {
        /// Of this service.
        service: ServiceName,
        /// The real server.
        server: ServerSpec,
    },
    /// `-e`: everything about the server but its name becomes what the specification says.
    EditServer {
        /// Of this service.
        service: ServiceName,
        /// The real server.
        server: ServerSpec,
    },
    /// `-d`: its connections stay, and come back to life with it.
    DeleteServer {
        /// Of this service.
        service: ServiceName,
        /// Which.
        server: ServerName,
    },
    /// The server gets no new connections (its weight becomes 0), and is done with when it has none left, or at the
    /// deadline. Editing or deleting it ends that.
    DrainServer {
        /// Of this service.
        service: ServiceName,
        /// Which.
        server: ServerName,
        /// Seconds that it may take, at most 31 days; none is as long as it takes.
        #[serde(default)]
        deadline: Option<u32>,
        /// Delete it at the end.
        #[serde(default)]
        delete: bool,
    },
    /// `-C`: deletes every service.
    Clear,
    /// `-Z`: counters and rates start again from zero.
    Zero {
        /// Of this service and its servers, or of everything.
        service: Option<ServiceName>,
    },
    /// `--set`.
    SetTimeouts(Timeouts),
    /// `--start-daemon`.
    StartDaemon(DaemonSpec),
    /// `--stop-daemon`.
    StopDaemon {
        /// Which.
        role: DaemonRole,
    },
    /// Takes connections away, and the persistence templates of the same servers and clients: those of a service, of one of
    /// its servers, of a client, or all. Packets that still come find none. Answers [`Reply::Flushed`]. What is made
    /// meanwhile may stay.
    FlushConnections {
        /// Of this service, deleted servers of it included ([`Error::NoSuchService`]).
        #[serde(default)]
        service: Option<ServiceName>,
        /// Of this server alone ([`Error::NoSuchDestination`]); only with a service.
        #[serde(default)]
        server: Option<ServerName>,
        /// Of this client alone.
        #[serde(default)]
        client: Option<IpAddr>,
    },
    /// Changes a setting of the kernel's `/proc/sys/net/ipv4/vs`, by its name there.
    Set {
        /// The file's name.
        name: String,
        /// What would be written to it.
        value: String,
    },
    /// The kernel gets so many frames of a class a second from each worker, at most.
    SetExceptionLimit {
        /// The class.
        #[serde(with = "class")]
        #[schemars(with = "exception::ClassName")]
        class: Class,
        /// So many; 0: none at all.
        limit: u32,
    },
    /// Adds a marking rule behind the others ([`Error::MarkExists`] if it is there already).
    AddMark(MarkSpec),
    /// Takes a marking rule away ([`Error::NoSuchMark`] if it is not there).
    DeleteMark(MarkSpec),
    /// All of these or none: the first that fails undoes those before it.
    Transaction {
        /// In this order. Only changes; a question among them is refused.
        commands: Vec<Command>,
    },
    /// A transaction of what a configuration file says: what it adds and edits has [`Origin::File`].
    Configure {
        /// In this order. Only changes.
        commands: Vec<Command>,
    },
    /// Each of these by itself, a refused one being passed over, and the data path told once: a table comes quicker so.
    /// Answers [`Reply::Each`].
    Each {
        /// In this order. Only changes; a question among them is refused.
        commands: Vec<Command>,
    },
    /// `-L`: answers [`Reply::Services`], in the kernel's order.
    Services {
        /// Only this one ([`Error::NoSuchService`] if it does not exist), or all.
        service: Option<ServiceName>,
    },
    /// `-L -c`: answers one page, [`Reply::Connections`].
    Connections {
        /// Where the page starts: 0, or what the page before it said.
        cursor: u64,
        /// Only those of this service, with its templates, whatever their addresses are ([`Error::NoSuchService`]). A page may
        /// then be empty, and not the last.
        #[serde(default)]
        service: Option<ServiceName>,
    },
    /// `-L --timeout`: answers [`Reply::Timeouts`].
    Timeouts,
    /// `-L --daemon`: answers [`Reply::Daemons`].
    Daemons,
    /// The settings of `/proc/sys/net/ipv4/vs`: answers [`Reply::Settings`].
    Settings,
    /// The marking rules, the first being the one that wins: answers [`Reply::Marks`].
    Marks,
    /// What the kernel got, by class: answers [`Reply::Exceptions`].
    Exceptions,
    /// The kernel's `/proc/net/ip_vs_stats`: answers [`Reply::Statistics`].
    Statistics,
    /// Answers [`Reply::Version`].
    Version,
    /// Reads the daemon's configuration file again and takes it over as a whole: answers [`Reply::Config`]. If it is bad
    /// nothing changes ([`Error::BadConfig`]).
    Reload {
        /// Only says what it would change.
        #[serde(default)]
        dry: bool,
    },
    /// The text of a configuration file that describes what runs: answers [`Reply::Text`].
    RunningConfig,
    /// The text of the director's configuration file as it was last taken over, without what is so anyway: answers
    /// [`Reply::Text`].
    FileConfig,
    /// Since when the daemon runs, and how its file was read: answers [`Reply::Status`].
    Status,
    /// What was changed lately: answers [`Reply::Changes`].
    Changes {
        /// The changes from this number on; without it none, but the number of the next one.
        #[serde(default)]
        since: Option<u64>,
    },
    /// What each worker does and did: answers [`Reply::Workers`].
    Workers,
    /// The ports and what they counted: answers [`Reply::Ports`].
    Ports {
        /// Only this one ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
        /// With all that the driver counts.
        #[serde(default)]
        extended: bool,
    },
    /// Which worker serves which queue, and how queues are set up: answers [`Reply::Layout`].
    Layout,
    /// Frames dropped by reason, over all workers, since this was last cleared: answers [`Reply::Drops`].
    Drops,
    /// [`Command::Drops`] counts from zero again; nothing else does.
    ClearDrops,
    /// The neighbours that the data path knows: answers [`Reply::Neighbours`].
    Neighbours,
    /// The routes of the data path: answers [`Reply::Routes`].
    Routes {
        /// Only the one to this address.
        #[serde(default)]
        to: Option<Ipv4Addr>,
    },
    /// Writes a neighbour's MAC address by hand, in the kernel. Only on a port with an interface there.
    AddNeighbour {
        /// The port ([`Error::NoSuchPort`] if it does not exist).
        port: u16,
        /// The neighbour's address.
        address: Ipv4Addr,
        /// Its MAC address: `02:00:00:00:00:01`.
        mac: String,
    },
    /// Lets the kernel forget a neighbour, written by hand or not.
    DeleteNeighbour {
        /// The port ([`Error::NoSuchPort`] if it does not exist).
        port: u16,
        /// The neighbour's address.
        address: Ipv4Addr,
    },
    /// Adds a route to the kernel's main table, by a gateway, a port, or both.
    AddRoute(RouteSpec),
    /// Takes a route out of the kernel's main table, the first that is as described.
    DeleteRoute(RouteSpec),
    /// What is logged: answers [`Reply::Log`].
    Log,
    /// Lines of a target are logged from this level on, or all that nothing else is said of.
    SetLog {
        /// A part of the program (`control::server`), `dpdk` or `packet`; none is all.
        #[serde(default)]
        target: Option<String>,
        /// off, error, warn, info, debug or trace.
        level: String,
    },
    /// Keeps frames as they pass, for [`Command::Captured`]. There is one capture at a time.
    StartCapture(CaptureSpec),
    /// Ends the capture, if there is one.
    StopCapture,
    /// What was captured meanwhile: answers [`Reply::Captured`].
    Captured,
    /// Keeps the decisions about packets from now on, for [`Command::Trace`]. Fails with [`Error::Refused`] if too much is
    /// asked for.
    AddTrace(TraceSpec),
    /// The packets that were traced: answers [`Reply::Traced`].
    Trace,
    /// Forgets the packets that were traced, and waits for no more.
    ClearTrace,
    /// DPDK's memory and the machine's huge pages: answers [`Reply::Memory`].
    Memory,
    /// What is in the way on this machine, as `rvsd doctor` says it: answers [`Reply::Findings`].
    Doctor,
    /// Ends the director as SIGTERM does, and with it all forwarding.
    Shutdown,
    /// Starts forwarding on all workers; fails with [`Error::Forwarding`], and with [`Error::PortsStopped`].
    StartForwarding,
    /// Stops it: workers leave their queues alone, connections age. Fails with [`Error::NotForwarding`].
    StopForwarding,
    /// What was forwarded since forwarding started or was last cleared: answers [`Reply::Forwarding`].
    Forwarding,
    /// [`Command::Forwarding`] counts from zero again; nothing else does.
    ClearForwarding,
    /// At most so many frames are received at once, 4 to 32.
    SetBurst {
        /// So many.
        frames: u16,
    },
    /// Frames are logged, some hundred a second at most: 0 none, 1 those received, 2 those received with what was decided
    /// about them, 3 those received and those sent.
    SetVerbose {
        /// 0 to 3.
        level: u8,
    },
    /// From the next [`Command::StartForwarding`] on, only so many workers serve the ports' queues, 1 to all. Connections
    /// stay with the workers that they belong to; those without queues get what is theirs from the others.
    SetWorkers {
        /// So many.
        workers: u16,
    },
    /// Adds a device, as the EAL's --vdev or -a would, in place of the first port that was detached: the port keeps its
    /// number, and its MAC address where the device can take it, and is stopped. Answers [`Reply::Ports`].
    AttachPort {
        /// The device and its arguments: `net_vhost1,iface=/run/b.sock,queues=2`.
        device: String,
    },
    /// Removes the device of a stopped port. Fails with [`Error::PortStarted`].
    DetachPort {
        /// The port ([`Error::NoSuchPort`] if it does not exist).
        port: u16,
    },
    /// Starts a stopped port; a started one stays so. Others forward meanwhile.
    StartPort {
        /// One port ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
    },
    /// Stops a port; a stopped one stays so. Others forward meanwhile.
    StopPort {
        /// One port ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
    },
    /// A port's own counters start from zero, and so do those who read them.
    ClearPort {
        /// One port ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
        /// All that its driver counts, and not only what every driver counts.
        #[serde(default)]
        extended: bool,
    },
    /// Lets a port's link come up, or takes it down. Drivers without a link of their own refuse it.
    SetLink {
        /// The port ([`Error::NoSuchPort`] if it does not exist).
        port: u16,
        /// Up.
        up: bool,
    },
    /// Frames for every multicast address are received, or not.
    SetAllMulticast {
        /// One port ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
        /// Every address.
        on: bool,
    },
    /// Frames for every MAC address are received, or only for the port's own.
    SetPromiscuous {
        /// One port ([`Error::NoSuchPort`] if it does not exist), or all.
        #[serde(default)]
        port: Option<u16>,
        /// Every address.
        on: bool,
    },
}

impl Command {
    /// True if it changes something.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::AddService(_)
            | Self::EditService(_)
            | Self::DeleteService { .. }
            | Self::AddServer { .. }
            | Self::EditServer { .. }
            | Self::DeleteServer { .. }
            | Self::DrainServer { .. }
            | Self::Configure { .. }
            | Self::Clear
            | Self::Zero { .. }
            | Self::SetTimeouts(_)
            | Self::StartDaemon(_)
            | Self::StopDaemon { .. }
            | Self::FlushConnections { .. }
            | Self::Set { .. }
            | Self::SetExceptionLimit { .. }
            | Self::AddMark(_)
            | Self::DeleteMark(_)
            | Self::Transaction { .. }
            | Self::Each { .. }
            | Self::StartForwarding
            | Self::StopForwarding
            | Self::ClearForwarding
            | Self::SetBurst { .. }
            | Self::SetVerbose { .. }
            | Self::SetWorkers { .. }
            | Self::AttachPort { .. }
            | Self::DetachPort { .. }
            | Self::StartPort { .. }
            | Self::StopPort { .. }
            | Self::ClearDrops
            | Self::AddNeighbour { .. }
            | Self::DeleteNeighbour { .. }
            | Self::AddRoute(_)
            | Self::DeleteRoute(_)
            | Self::SetLog { .. }
            | Self::StartCapture(_)
            | Self::AddTrace(_)
            | Self::ClearTrace
            | Self::StopCapture
            | Self::Shutdown
            | Self::ClearPort { .. }
            | Self::SetLink { .. }
            | Self::SetAllMulticast { .. }
            | Self::SetPromiscuous { .. } => true,
            Self::Services { .. }
            | Self::Connections { .. }
            | Self::Timeouts
            | Self::Daemons
            | Self::Settings
            | Self::Marks
            | Self::Exceptions
            | Self::Statistics
            | Self::Version
            | Self::Changes { .. }
            | Self::Reload { .. }
            | Self::RunningConfig
            | Self::FileConfig
            | Self::Status
            | Self::Workers
            | Self::Ports { .. }
            | Self::Layout
            | Self::Drops
            | Self::Neighbours
            | Self::Routes { .. }
            | Self::Log
            | Self::Captured
            | Self::Trace
            | Self::Memory
            | Self::Doctor
            | Self::Forwarding => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forwarder::service::Method;

    #[test]
    fn a_command_survives_a_json_line() {
        let service = ServiceName::Mark { mark: 7, ipv6: true };
        let mut server = ServerSpec::new("10.0.0.2".parse().unwrap(), 0);
        server.method = Method::Tun(forwarder::service::Tunnel::Gue(6080, forwarder::service::TunnelChecksum::Remote));
        let command = Command::Transaction {
            commands: vec![Command::Clear, Command::AddServer { service, server }, Command::Zero { service: None }],
        };
        let line = serde_json::to_string(&command).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
    }

    #[test]
    fn what_json_leaves_out_is_ipvsadms_default() {
        let line =
            r#"{"command":"add_service","service":{"address":{"protocol":"tcp","address":"10.0.0.1","port":80}}}"#;
        let name = ServiceName::Address {
            protocol: forwarder::service::Protocol::Tcp,
            address: "10.0.0.1".parse().unwrap(),
            port: 80,
        };
        assert_eq!(serde_json::from_str::<Command>(line).unwrap(), Command::AddService(ServiceSpec::new(name)));
        let line = r#"{"command":"add_server","service":{"mark":{"mark":1,"ipv6":false}},"server":{"address":"10.0.0.2","port":80}}"#;
        let expected = Command::AddServer {
            service: ServiceName::Mark { mark: 1, ipv6: false },
            server: ServerSpec::new("10.0.0.2".parse().unwrap(), 80),
        };
        assert_eq!(serde_json::from_str::<Command>(line).unwrap(), expected);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let line = r#"{"command":"set_timeouts","tcp":1,"tcp_fin":2,"udp":3,"upd":4}"#;
        assert!(serde_json::from_str::<Command>(line).is_err());
    }
}
