//! Why a command was refused, with ipvsadm's words for the kernel's errno.

use serde::{Deserialize, Serialize};

/// Why a command was refused. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum Error {
    /// EEXIST from an added service.
    #[error("Service already exists")]
    ServiceExists,
    /// What nobody could say at a prompt.
    #[error("'{name}' is no name for a service: 1 to 63 letters, digits, '.', '_' and '-'")]
    BadName {
        /// As asked for.
        name: String,
    },
    /// Another service has this name.
    #[error("another service is called '{name}'")]
    NameTaken {
        /// As asked for.
        name: String,
    },
    /// No service has this name.
    #[error("no service is called '{name}'")]
    NoSuchName {
        /// As asked for.
        name: String,
    },
    /// ESRCH from a command about a service.
    #[error("No such service")]
    NoSuchService,
    /// ESRCH from a command about a server: its service is missing.
    #[error("Service not defined")]
    ServiceNotDefined,
    /// EEXIST from an added server.
    #[error("Destination already exists")]
    DestinationExists,
    /// ENOENT from a command about a server.
    #[error("No such destination")]
    NoSuchDestination,
    /// ENOENT from a command about a service.
    #[error("Scheduler or persistence engine not found")]
    SchedulerNotFound,
    /// EEXIST from a started daemon.
    #[error("Daemon has already run")]
    DaemonRunning,
    /// ESRCH from a stopped daemon.
    #[error("No daemon is running")]
    NoDaemon,
    /// ENODEV: the daemon's interface does not exist.
    #[error("No such device")]
    NoSuchDevice,
    /// ERANGE: a weight above 2147483647, or a lower threshold above the upper one.
    #[error("Numerical result out of range")]
    OutOfRange,
    /// EINVAL: among others an address that is not unicast.
    #[error("Invalid operation.  Possibly wrong module version, address not unicast, ...")]
    Invalid,
    /// EPERM.
    #[error("Permission denied (you must be root)")]
    PermissionDenied,
    /// ENOMEM: a table is full.
    #[error("Memory allocation problem")]
    OutOfMemory,
    /// A setting that does not exist.
    #[error("there is no setting '{name}'")]
    NoSuchSetting {
        /// As asked for.
        name: String,
    },
    /// A value that a setting does not take.
    #[error("'{value}' is no value for {name} ({takes})")]
    BadSetting {
        /// The setting.
        name: String,
        /// As given.
        value: String,
        /// What it takes.
        takes: String,
    },
    /// There is no port of this number.
    #[error("Invalid port {port}\nThe valid ports array is [ {}]", valid.iter().map(|port| format!("{port} ")).collect::<String>())]
    NoSuchPort {
        /// As asked for.
        port: u16,
        /// The numbers that there are.
        valid: Vec<u16>,
    },
    /// A marking rule that means nothing.
    #[error("bad marking rule: {why}")]
    BadMark {
        /// What is wrong with it.
        why: String,
    },
    /// An added marking rule is there already.
    #[error("Marking rule already exists")]
    MarkExists,
    /// A marking rule to be deleted is not there.
    #[error("No such marking rule")]
    NoSuchMark,
    /// There is no worker of this number.
    #[error("Invalid worker {worker}")]
    NoSuchWorker {
        /// As asked for.
        worker: u32,
    },
    /// A file cannot be read or written.
    #[error("{why}")]
    File {
        /// Which, and why not.
        why: String,
    },
    /// Forwarding was to be started twice.
    #[error("Packet forwarding already started")]
    Forwarding,
    /// Forwarding was to be stopped twice.
    #[error("Packet forwarding not started")]
    NotForwarding,
    /// A port's device can be removed only while the port is stopped.
    #[error("Port not stopped")]
    PortStarted,
    /// A port is stopped.
    #[error("Not all ports were started")]
    PortsStopped,
    /// A port did not do what it was told.
    #[error("port {port}: {why}")]
    Port {
        /// Its number.
        port: u16,
        /// What its driver says.
        why: String,
    },
    /// A command of a transaction was refused, so none of them took effect.
    #[error("{error}")]
    Transaction {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        #[serde(rename = "reason")]
        error: Box<Error>,
    },
    /// What does not belong in a transaction, or cannot be done by this director.
    #[error("{what} is not supported here")]
    Unsupported {
        /// The thing.
        what: String,
    },
    /// The line was no request.
    #[error("bad request: {why}")]
    BadRequest {
        /// What is wrong with it.
        why: String,
    },
    /// The daemon was started without a configuration file.
    #[error("rvsd was started without a configuration file (rvsd … -- --config FILE)")]
    NoConfig,
    /// The configuration file is bad.
    #[error("{why}")]
    BadConfig {
        /// Its mistakes, a line each.
        why: String,
    },
    /// The answer is longer than a line may be.
    #[error(
        "the answer is too long for one line; ask for a part of it (limit N), or page by page (the command connections)"
    )]
    TooLong,
    /// A line was refused.
    #[error("{why}")]
    Refused {
        /// In the words of whoever refused it.
        why: String,
    },
    /// The change was made, but a worker goes on without it.
    #[error("worker {worker} did not take the change in time; see `show worker`")]
    Stalled {
        /// Its number.
        worker: usize,
    },
    /// A worker does not answer: neither its connections can be listed, nor the frames be shown that it forwards.
    #[error("worker {worker} does not answer, so nothing of it is shown; see `show worker`")]
    Silent {
        /// Its number.
        worker: usize,
    },
    /// The director cannot be asked, or its answer broke off.
    #[error("{why}")]
    Unreachable {
        /// One line: what failed and what to do.
        why: String,
    },
}
